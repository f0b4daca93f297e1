package jwtbearer

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"strings"
	"testing"

	jsonv2 "github.com/go-json-experiment/json"

	"sallyport.dev/sallyport/internal/iam"
)

// FuzzVerify: nothing but what the issuer signed is accepted, and nothing panics.
func FuzzVerify(f *testing.F) {
	// The key is fixed, since each fuzzing process makes its own world from the same seeds.
	w := &world{clock: newClock(), a: keypair{"k1", ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))}, pa: &published{}}
	w.pa.set(f, w.a)
	var err error
	if w.Verifier, err = New(Options{Now: w.moment, Issuers: []Issuer{{Name: "a", URL: "https://a.example", Audiences: []string{"sallyport"}, Keys: w.keys(f, w.pa),
		Rules: []Rule{{Subject: "*", Kind: iam.KindAgent, Scopes: all}}}}}); err != nil {
		f.Fatal(err)
	}
	good := w.a.token(f)
	if got := refused(f, w.Verifier, good); got != "" {
		f.Fatal(got)
	}
	f.Add(good)
	f.Add(w.a.token(f, "aud", "other"))
	f.Add(hmacToken([]byte("x"), `{"alg":"HS256","kid":"k1"}`, body()))
	f.Add(b64([]byte(`{"alg":"none","kid":"k1"}`)) + "." + b64([]byte(body())) + ".")
	f.Add("..")
	f.Add(strings.Repeat("a.", 9))
	signed := strings.Split(good, ".")
	w.Verifier.known = newCache(1) // what is known is not what is looked for
	f.Fuzz(func(t *testing.T, token string) {
		id, err := w.Verify(ctx, token)
		if err != nil {
			return
		}
		p := strings.Split(token, ".")
		if id == nil || len(p) != 3 {
			t.Fatal("accepted without an identity")
		}
		// One seed alone is good, and Ed25519 has one signature for it.
		if p[0] != signed[0] || p[1] != signed[1] || p[2] != signed[2] {
			t.Fatalf("accepted: %q", token)
		}
	})
}

// FuzzParts: a header and claims that are taken are read the same by another strict parser.
func FuzzParts(f *testing.F) {
	f.Add([]byte(`{"alg":"ES256","kid":"k1","typ":"JWT"}`), []byte(body()))
	f.Add([]byte(`{"alg":"ES256","kid":"k1","x5t":"a"}`), []byte(`{"aud":["a"],"exp":1.5,"iat":1e0}`))
	f.Add([]byte(`{"alg":"ES256","\u006bid":"k1"}`), []byte(`{"exp":-0,"iat":0,"nbf":"x"}`))
	f.Add([]byte(`{"ALG":"none","alg":"ES256","kid":"k"}`), []byte(`{"act":{"sub":"a","act":{}}}`))
	f.Fuzz(func(t *testing.T, head, claims []byte) {
		token := b64(head) + "." + b64(claims) + ".AA"
		h, c, err := parts(token)
		if err != nil {
			return
		}
		if !bytes.Equal(h, head) || !bytes.Equal(c, claims) || token != base64.RawURLEncoding.EncodeToString(h)+"."+b64(c)+".AA" {
			t.Fatal("decoded to something else")
		}
		if got, err := parseHeader(h); err == nil {
			var m map[string]any
			if err := jsonv2.Unmarshal(head, &m); err != nil {
				t.Fatalf("the other parser refuses %q: %v", head, err)
			}
			if m["alg"] != got.alg || m["kid"] != got.kid {
				t.Fatalf("%q: %v", head, got)
			}
			for _, name := range []string{"jku", "jwk", "x5u", "x5c", "crit", "b64", "enc", "zip", "cty", "epk", "JKU", "Crit"} {
				if _, ok := m[name]; ok {
					t.Fatalf("%q passed", head)
				}
			}
		}
		if d, err := parseClaims(c); err == nil {
			if tm, err := parseTimes(d); err == nil && !tm.expires.After(tm.issued) {
				t.Fatal("ends before it begins")
			}
			audience(d, []string{"sallyport"})
			i := &Issuer{Name: "x", Rules: []Rule{{Subject: "*"}}}
			if id, err := i.identity(d); err == nil && !printable(id.ID) {
				t.Fatalf("%q", id.ID)
			}
			i.Exchange = true
			if id, err := i.identity(d); err == nil && (len(id.Actors) == 0 || len(id.Actors) > MaxActors) {
				t.Fatalf("%q", id.Actors)
			}
		}
	})
}
