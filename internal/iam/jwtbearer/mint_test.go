package jwtbearer

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"maps"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"sallyport.dev/sallyport/internal/iam"
	"sallyport.dev/sallyport/internal/iam/jwks"
)

var (
	start = time.Date(2031, 5, 6, 7, 8, 9, 0, time.UTC)
	all   = iam.Scopes{Upstreams: []string{"*"}, Endpoints: []string{"*"}, Models: []string{"*"}}
)

type claims = map[string]any

// keypair is an issuer's private key. Tokens are made by hand here, so that the tests do not lean on
// the library that they are about.
type keypair struct {
	kid string
	key crypto.Signer
}

func newEC(t testing.TB, kid string) keypair {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return keypair{kid, k}
}

// oneRSA is made once, since making one takes long.
var oneRSA = sync.OnceValue(func() *rsa.PrivateKey {
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return k
})

func newRSA(_ testing.TB, kid string) keypair { return keypair{kid, oneRSA()} }

func newEd(t testing.TB, kid string) keypair {
	_, k, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return keypair{kid, k}
}

func (k keypair) alg() string {
	switch k.key.(type) {
	case *rsa.PrivateKey:
		return "RS256"
	case ed25519.PrivateKey:
		return "EdDSA"
	}
	return "ES256"
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// sign signs any two texts, whatever they are.
func (k keypair) sign(t testing.TB, head, body string) string {
	in := b64([]byte(head)) + "." + b64([]byte(body))
	sum := sha256.Sum256([]byte(in))
	var sig []byte
	var err error
	switch p := k.key.(type) {
	case *rsa.PrivateKey:
		sig, err = rsa.SignPKCS1v15(rand.Reader, p, crypto.SHA256, sum[:])
	case *ecdsa.PrivateKey:
		r, s, e := ecdsa.Sign(rand.Reader, p, sum[:])
		sig, err = append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...), e
	case ed25519.PrivateKey:
		sig = ed25519.Sign(p, []byte(in))
	}
	if err != nil {
		t.Fatal(err)
	}
	return in + "." + b64(sig)
}

func hmacToken(secret []byte, head, body string) string {
	in := b64([]byte(head)) + "." + b64([]byte(body))
	m := hmac.New(sha256.New, secret)
	m.Write([]byte(in))
	return in + "." + b64(m.Sum(nil))
}

func (k keypair) head(kv ...any) string {
	return text2(claims{"alg": k.alg(), "kid": k.kid, "typ": "JWT"}, kv...)
}

func (k keypair) token(t testing.TB, kv ...any) string { return k.sign(t, k.head(), body(kv...)) }

// body is the claims of a good token with changes: name, value pairs; a nil value leaves one out.
func body(kv ...any) string {
	return text2(claims{
		"iss": "https://a.example", "sub": "agent-1", "aud": "sallyport", "jti": "1",
		"iat": start.Unix(), "nbf": start.Unix(), "exp": start.Add(10 * time.Minute).Unix(),
	}, kv...)
}

func text2(m claims, kv ...any) string {
	m = maps.Clone(m)
	for i := 0; i < len(kv); i += 2 {
		if kv[i+1] == nil {
			delete(m, kv[i].(string))
			continue
		}
		m[kv[i].(string)] = kv[i+1]
	}
	raw, err := json.Marshal(m)
	if err != nil {
		panic(err)
	}
	return string(raw)
}

// published is a source that a test changes.
type published struct {
	doc   atomic.Pointer[[]byte]
	err   atomic.Pointer[error]
	reads atomic.Int32
}

func (p *published) set(t testing.TB, ks ...keypair) {
	var set jose.JSONWebKeySet
	for _, k := range ks {
		set.Keys = append(set.Keys, jose.JSONWebKey{Key: k.key.Public(), KeyID: k.kid, Use: "sig"})
	}
	raw, err := json.Marshal(set)
	if err != nil {
		t.Fatal(err)
	}
	p.doc.Store(&raw)
}

func (p *published) JWKS(context.Context) ([]byte, error) {
	p.reads.Add(1)
	if e := p.err.Load(); e != nil && *e != nil {
		return nil, *e
	}
	return *p.doc.Load(), nil
}

// clock is a time that a test moves.
type clock struct{ at atomic.Pointer[time.Time] }

func newClock() *clock {
	c := &clock{}
	c.set(start)
	return c
}
func (c *clock) moment() time.Time       { return *c.at.Load() }
func (c *clock) set(t time.Time)         { c.at.Store(&t) }
func (c *clock) advance(d time.Duration) { c.set(c.moment().Add(d)) }

type world struct {
	*Verifier
	*clock
	a, b keypair // of issuers A and B, under the same key id
	pa   *published
	setA *jwks.Set
	rsaA keypair // A's other key
}

func newWorld(t testing.TB, edit ...func(a *Issuer)) *world {
	w := &world{clock: newClock(), a: newEC(t, "k1"), b: newEC(t, "k1"), rsaA: newRSA(t, "k-rsa"), pa: &published{}}
	w.pa.set(t, w.a, w.rsaA)
	pb := &published{}
	pb.set(t, w.b)
	w.setA = w.keys(t, w.pa)
	a := Issuer{Name: "a", URL: "https://a.example", Audiences: []string{"sallyport", "sallyport-2"}, Keys: w.setA,
		Rules: []Rule{{Subject: "agent-*", Kind: iam.KindAgent, Tenant: "acme", Team: "core", Scopes: all}}}
	for _, e := range edit {
		e(&a)
	}
	var err error
	w.Verifier, err = New(Options{Now: w.moment, Issuers: []Issuer{a, {Name: "b", URL: "https://b.example", Audiences: []string{"sallyport"}, Keys: w.keys(t, pb),
		Rules: []Rule{{Subject: "*", Kind: iam.KindService, Scopes: all}}}}})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) keys(t testing.TB, src jwks.Source) *jwks.Set {
	s, err := jwks.New(jwks.Options{Source: src, Now: w.moment})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Refresh(context.Background()); err != nil {
		t.Fatal(err)
	}
	return s
}
