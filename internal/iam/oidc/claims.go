package oidc

import (
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"math"
	"slices"
	"strconv"
	"time"

	"sallyport.dev/sallyport/internal/iam/federation"
	"sallyport.dev/sallyport/internal/strictjson"
)

const maxAudiences = 32

// checkIDToken holds the claims against OpenID Connect Core 1.0 section 3.1.3.7.
func (p *Provider) checkIDToken(d *strictjson.Doc, alg, access string, l *federation.Login) error {
	if err := p.checkParties(d); err != nil {
		return err
	}
	_, issued, err := p.checkTimes(d)
	if err != nil {
		return err
	}
	if issued.Before(l.Started.Truncate(time.Second).Add(-p.o.Skew)) {
		return federation.Refuse("oidc: the token was issued before the sign-in began")
	}
	if !federation.Same(str(d, strictjson.Root, "nonce"), l.Nonce) {
		return federation.Refuse("oidc: the token is not for this sign-in: its nonce differs")
	}
	// Optional in this flow; when it is there it holds.
	if at := d.Get(strictjson.Root, "at_hash"); at >= 0 && str(d, strictjson.Root, "at_hash") != halfHash(alg, access) {
		return federation.Refuse("oidc: the access token is not the ID token's")
	}
	return nil
}

// checkParties: who issued the token, and for whom.
func (p *Provider) checkParties(d *strictjson.Doc) error {
	if str(d, strictjson.Root, "iss") != p.o.Issuer {
		return federation.Refuse("oidc: the token is another issuer's")
	}
	var audiences []string
	switch at := d.Get(strictjson.Root, "aud"); d.Kind(at) {
	case strictjson.String:
		audiences = []string{d.Str(at)}
	case strictjson.Array:
		audiences = list(d, at)
		if len(audiences) > maxAudiences || len(audiences) != int(d.Nodes[at].Len) {
			return federation.Refuse("oidc: the token's audiences cannot be read")
		}
	}
	if !slices.Contains(audiences, p.o.ClientID) {
		return federation.Refuse("oidc: the token is for another client")
	}
	azp := d.Get(strictjson.Root, "azp")
	if azp >= 0 && str(d, strictjson.Root, "azp") != p.o.ClientID || azp < 0 && len(audiences) > 1 {
		return federation.Refuse("oidc: the token was issued to another client")
	}
	return nil
}

// checkTimes: exp and iat are required, nbf holds when it is there.
func (p *Provider) checkTimes(d *strictjson.Doc) (expires, issued time.Time, err error) {
	now := p.o.Now()
	expires, ok := numericDate(d, "exp")
	issued, ok2 := numericDate(d, "iat")
	if !ok || !ok2 {
		return expires, issued, federation.Refuse("oidc: the token's exp or iat is missing or no time")
	}
	if !now.Before(expires.Add(p.o.Skew)) {
		return expires, issued, federation.Refuse("oidc: the token has expired")
	}
	if issued.After(now.Add(p.o.Skew)) {
		return expires, issued, federation.Refuse("oidc: the token was issued in the future")
	}
	if d.Get(strictjson.Root, "nbf") >= 0 {
		if nbf, ok := numericDate(d, "nbf"); !ok || nbf.After(now.Add(p.o.Skew)) {
			return expires, issued, federation.Refuse("oidc: the token is not valid yet")
		}
	}
	return expires, issued, nil
}

// numericDate reads a NumericDate (RFC 7519 section 2), rounded down to seconds.
func numericDate(d *strictjson.Doc, name string) (time.Time, bool) {
	at := d.Get(strictjson.Root, name)
	if d.Kind(at) != strictjson.Number {
		return time.Time{}, false
	}
	f, err := strconv.ParseFloat(string(d.Value(at)), 64)
	if err != nil || f < 0 || f > 253402300799 { // the end of the year 9999
		return time.Time{}, false
	}
	return time.Unix(int64(math.Floor(f)), 0).UTC(), true
}

// halfHash is at_hash: the left half of the hash that the signature's algorithm uses.
func halfHash(alg, s string) string {
	var h []byte
	switch {
	case alg == "EdDSA", alg[2:] == "512":
		sum := sha512.Sum512([]byte(s))
		h = sum[:]
	case alg[2:] == "384":
		sum := sha512.Sum384([]byte(s))
		h = sum[:]
	default:
		sum := sha256.Sum256([]byte(s))
		h = sum[:]
	}
	return base64.RawURLEncoding.EncodeToString(h[:len(h)/2])
}
