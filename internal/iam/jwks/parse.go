// Package jwks keeps the public keys that an issuer signs its tokens with (RFC 7517). A Set is read
// in the background and served from memory: asking it takes no lock and makes no network call.
package jwks

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"errors"
	"fmt"
	"slices"

	"github.com/go-jose/go-jose/v4"

	"sallyport.dev/sallyport/internal/strictjson"
)

// Bounds of one document.
const (
	MaxBytes = 512 << 10
	MaxKeys  = 100
	maxKid   = 256
)

// Algorithms are the signature algorithms that a key can be used with (RFC 7518, RFC 8037). HS* and
// "none" are not among them and cannot be asked for.
var Algorithms = []string{"ES256", "ES384", "ES512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "EdDSA"}

// Key is one public key that may verify signatures.
type Key struct {
	ID     string
	Alg    string // the one algorithm the issuer names; empty: any that fits the key
	Public any    // *ecdsa.PublicKey, *rsa.PublicKey or ed25519.PublicKey
}

// Fits says whether the key may verify a signature of this algorithm: the key's type and curve
// decide, and what the issuer says of it, never the token alone (RFC 8725 section 3.1).
func (k *Key) Fits(alg string) bool {
	if k.Alg != "" && k.Alg != alg || !slices.Contains(Algorithms, alg) {
		return false
	}
	switch p := k.Public.(type) {
	case *ecdsa.PublicKey:
		switch p.Curve {
		case elliptic.P256():
			return alg == "ES256"
		case elliptic.P384():
			return alg == "ES384"
		case elliptic.P521():
			return alg == "ES512"
		}
	case *rsa.PublicKey:
		return alg[:2] == "RS" || alg[:2] == "PS"
	case ed25519.PublicKey:
		return alg == "EdDSA"
	}
	return false
}

// Parse reads a key set. The document must be plain JSON in one reading only (no member twice) with
// at most MaxBytes and MaxKeys. Of its keys it leaves out those that cannot verify: symmetric ones,
// private ones, those for another use, without an id, of unknown types or algorithms, RSA below
// 2048 or above 8192 bits or with an exponent below 65537, points off their curve. ignored is how
// many. A set without any usable key is an error.
func Parse(raw []byte) (keys []Key, ignored int, err error) {
	if len(raw) > MaxBytes {
		return nil, 0, fmt.Errorf("jwks: the key set is larger than %d bytes", MaxBytes)
	}
	d, err := strictjson.Parse(raw, strictjson.Limits{Depth: 8, Nodes: 20_000, Num: 32})
	if err != nil {
		return nil, 0, fmt.Errorf("jwks: read key set: %w", err)
	}
	list := d.Get(strictjson.Root, "keys")
	if d.Kind(list) != strictjson.Array {
		return nil, 0, errors.New(`jwks: read key set: no list "keys"`)
	}
	if d.Nodes[list].Len > MaxKeys {
		return nil, 0, fmt.Errorf("jwks: the key set has more than %d keys", MaxKeys)
	}
	for i := range d.Children(list) {
		if k, ok := parseKey(d, i); ok {
			keys = append(keys, k)
		} else {
			ignored++
		}
	}
	if len(keys) == 0 {
		return nil, ignored, fmt.Errorf("jwks: none of the %d keys of the set can verify a signature", ignored)
	}
	return keys, ignored, nil
}

func parseKey(d *strictjson.Doc, at int) (Key, bool) {
	if d.Kind(at) != strictjson.Object || d.Get(at, "d") >= 0 || d.Get(at, "k") >= 0 {
		return Key{}, false
	}
	switch d.Str(d.Get(at, "kty")) {
	case "EC", "RSA", "OKP":
	default:
		return Key{}, false
	}
	k := Key{ID: d.Str(d.Get(at, "kid"))}
	if k.ID == "" || len(k.ID) > maxKid {
		return Key{}, false
	}
	if u := d.Get(at, "use"); u >= 0 && d.Str(u) != "sig" {
		return Key{}, false
	}
	if ops := d.Get(at, "key_ops"); ops >= 0 {
		verify := false
		for i := range d.Children(ops) {
			verify = verify || d.Str(i) == "verify"
		}
		if !verify {
			return Key{}, false
		}
	}
	if a := d.Get(at, "alg"); a >= 0 {
		if k.Alg = d.Str(a); !slices.Contains(Algorithms, k.Alg) {
			return Key{}, false
		}
	}
	var j jose.JSONWebKey
	if err := j.UnmarshalJSON(d.Value(at)); err != nil || !j.Valid() || !j.IsPublic() {
		return Key{}, false
	}
	if r, ok := j.Key.(*rsa.PublicKey); ok && (r.N.BitLen() < 2048 || r.N.BitLen() > 8192 || r.E < 65537 || r.E%2 == 0) {
		return Key{}, false
	}
	k.Public = j.Key
	return k, slices.ContainsFunc(Algorithms, k.Fits)
}
