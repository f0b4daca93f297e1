package jwks

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"strings"
	"testing"
)

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func rsaJWK(bits int, e int) map[string]any {
	n := new(big.Int).Lsh(big.NewInt(1), uint(bits-1))
	n.SetBit(n, 0, 1)
	return map[string]any{"kty": "RSA", "kid": "k", "n": b64(n.Bytes()), "e": b64(big.NewInt(int64(e)).Bytes())}
}

func ecJWK(t testing.TB, c elliptic.Curve, name string) map[string]any {
	k, err := ecdsa.GenerateKey(c, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := k.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	n := (len(raw) - 1) / 2
	return map[string]any{"kty": "EC", "kid": "k", "crv": name, "x": b64(raw[1 : 1+n]), "y": b64(raw[1+n:])}
}

func doc(t testing.TB, keys ...map[string]any) []byte {
	raw, err := json.Marshal(map[string]any{"keys": keys})
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func with(m map[string]any, kv ...any) map[string]any {
	out := map[string]any{}
	for k, v := range m {
		out[k] = v
	}
	for i := 0; i < len(kv); i += 2 {
		if kv[i+1] == nil {
			delete(out, kv[i].(string))
			continue
		}
		out[kv[i].(string)] = kv[i+1]
	}
	return out
}

func TestParseLeavesOutWhatCannotVerify(t *testing.T) {
	good := ecJWK(t, elliptic.P256(), "P-256")
	r := rsaJWK(2048, 65537)
	pub, priv, _ := ed25519.GenerateKey(rand.Reader)
	ed := map[string]any{"kty": "OKP", "crv": "Ed25519", "kid": "k", "x": b64(pub)}
	for name, c := range map[string]struct {
		key  map[string]any
		algs string // that it fits; empty: left out
	}{
		"P-256":                     {good, "ES256"},
		"P-384":                     {ecJWK(t, elliptic.P384(), "P-384"), "ES384"},
		"P-521":                     {ecJWK(t, elliptic.P521(), "P-521"), "ES512"},
		"RSA":                       {r, "RS256 RS384 RS512 PS256 PS384 PS512"},
		"RSA for one algorithm":     {with(r, "alg", "PS256"), "PS256"},
		"Ed25519":                   {ed, "EdDSA"},
		"use sig":                   {with(good, "use", "sig", "key_ops", []string{"verify"}), "ES256"},
		"use enc":                   {with(good, "use", "enc"), ""},
		"use no text":               {with(good, "use", 1), ""},
		"key_ops sign":              {with(good, "key_ops", []string{"sign"}), ""},
		"key_ops empty":             {with(good, "key_ops", []string{}), ""},
		"symmetric":                 {map[string]any{"kty": "oct", "kid": "k", "k": b64([]byte("0123456789abcdef0123456789abcdef"))}, ""},
		"symmetric named RSA":       {with(r, "k", "AAAA"), ""},
		"private":                   {with(ed, "d", b64(priv.Seed())), ""},
		"alg HS256":                 {with(good, "alg", "HS256"), ""},
		"alg none":                  {with(good, "alg", "none"), ""},
		"alg of another curve":      {with(good, "alg", "ES384"), ""},
		"alg of another type":       {with(r, "alg", "ES256"), ""},
		"kty unknown":               {with(good, "kty", "XX"), ""},
		"kty in another case":       {with(good, "kty", "ec"), ""},
		"no kid":                    {with(good, "kid", nil), ""},
		"kid a number":              {with(good, "kid", 7), ""},
		"kid too long":              {with(good, "kid", strings.Repeat("k", 257)), ""},
		"RSA of 1024 bits":          {rsaJWK(1024, 65537), ""},
		"RSA of 16384 bits":         {rsaJWK(16384, 65537), ""},
		"RSA with exponent 3":       {rsaJWK(2048, 3), ""},
		"RSA with an even exponent": {rsaJWK(2048, 65538), ""},
		"a point off the curve":     {with(good, "y", good["x"]), ""},
		"curve of another key":      {with(good, "crv", "P-384"), ""},
		"curve unknown":             {with(good, "crv", "secp256k1"), ""},
		"Ed25519 too short":         {with(ed, "x", "AAAA"), ""},
	} {
		keys, ignored, err := Parse(doc(t, c.key))
		if c.algs == "" {
			if err == nil || len(keys) != 0 || ignored != 1 {
				t.Errorf("%s: kept", name)
			}
			// Beside a good key it does not keep that from being used.
			if keys, ignored, err := Parse(doc(t, c.key, with(good, "kid", "other"))); err != nil || len(keys) != 1 || ignored != 1 || keys[0].ID != "other" {
				t.Errorf("%s beside a good one: %v, %d, %v", name, keys, ignored, err)
			}
			continue
		}
		if err != nil || len(keys) != 1 {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var fit []string
		for _, a := range append([]string{"none", "HS256", "HS384", "HS512", "", "RSA-OAEP", "ES256K"}, Algorithms...) {
			if keys[0].Fits(a) {
				fit = append(fit, a)
			}
		}
		if strings.Join(fit, " ") != c.algs {
			t.Errorf("%s fits %v, want %s", name, fit, c.algs)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	one, _ := json.Marshal(ecJWK(t, elliptic.P256(), "P-256"))
	many := make([]map[string]any, MaxKeys+1)
	for i := range many {
		many[i] = rsaJWK(2048, 65537)
	}
	for name, raw := range map[string]string{
		"nothing":           "",
		"no object":         "[]",
		"no list":           `{"keys":{}}`,
		"no keys":           `{"keys":[]}`,
		"keys of no form":   `{"keys":[1,null,"x",[]]}`,
		"keys twice":        fmt.Sprintf(`{"keys":[%s],"keys":[%s]}`, one, one),
		"keys escaped":      fmt.Sprintf(`{"keys":[%s],"\u006beys":[]}`, one),
		"a member twice":    `{"keys":[{"kty":"EC","kty":"oct"}]}`,
		"something after":   fmt.Sprintf(`{"keys":[%s]} {}`, one),
		"too many":          string(doc(t, many...)),
		"10 MB":             `{"keys":[` + string(one) + `],"x":"` + strings.Repeat("x", 10<<20) + `"}`,
		"deep":              `{"keys":` + strings.Repeat("[", 100) + strings.Repeat("]", 100) + `}`,
		"a byte-order mark": "\ufeff" + fmt.Sprintf(`{"keys":[%s]}`, one),
	} {
		if keys, _, err := Parse([]byte(raw)); err == nil || keys != nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// FuzzParse: whatever is kept is public, of a known type, and fits an algorithm, none of them symmetric.
func FuzzParse(f *testing.F) {
	f.Add(doc(f, ecJWK(f, elliptic.P256(), "P-256"), rsaJWK(2048, 65537)))
	f.Add([]byte(`{"keys":[{"kty":"oct","kid":"a","k":"AAAA"}]}`))
	f.Add([]byte(`{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"a","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","use":"sig","alg":"EdDSA","x5c":["AA=="]}]}`))
	f.Add([]byte(`{"keys":[{"kty":"EC","crv":"P-256","kid":"a","x":"","y":""}]}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		keys, _, err := Parse(raw)
		if (err == nil) != (len(keys) > 0) || len(keys) > MaxKeys {
			t.Fatal(len(keys), err)
		}
		for _, k := range keys {
			switch p := k.Public.(type) {
			case *ecdsa.PublicKey:
			case ed25519.PublicKey:
				if len(p) != ed25519.PublicKeySize {
					t.Fatal("length")
				}
			case *rsa.PublicKey:
				if p.N.BitLen() < 2048 || p.N.BitLen() > 8192 {
					t.Fatal("size")
				}
			default:
				t.Fatalf("%T", p)
			}
			if k.ID == "" || k.Fits("HS256") || k.Fits("none") || k.Fits("") {
				t.Fatalf("%+v", k)
			}
		}
	})
}
