package oidc

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"sallyport.dev/sallyport/internal/iam/federation"
	"sallyport.dev/sallyport/internal/secret"
)

// op is an OpenID provider that a test can have lie in any way. What it does not lie about, it does
// properly: codes are used once, belong to a client and a redirect URL, and PKCE is checked.
type op struct {
	t   *testing.T
	srv *httptest.Server
	now func() time.Time

	mu       sync.Mutex
	codes    map[string]url.Values
	keys     []jose.JSONWebKey
	signer   crypto.Signer
	alg      jose.SignatureAlgorithm
	kid      string
	requests map[string]int
	bearer   string

	discovery func(map[string]any)
	claims    func(map[string]any)
	token     func(claims map[string]any) string // mints instead of sign
	userinfo  map[string]any
	handle    map[string]http.HandlerFunc // instead of ours
}

func newOP(t *testing.T, now func() time.Time) *op {
	o := &op{t: t, now: now, codes: map[string]url.Values{}, requests: map[string]int{}, handle: map[string]http.HandlerFunc{}}
	o.srv = httptest.NewServer(o)
	t.Cleanup(o.srv.Close)
	o.rotate("k1", jose.ES256)
	return o
}

var rsaKeys = sync.OnceValue(func() *rsa.PrivateKey {
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return k
})

// rotate has the provider sign with a new key, and publish only that.
func (o *op) rotate(kid string, alg jose.SignatureAlgorithm) {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch alg {
	case jose.ES256:
		o.signer, _ = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case jose.EdDSA:
		_, k, _ := ed25519.GenerateKey(rand.Reader)
		o.signer = k
	default:
		o.signer = rsaKeys()
	}
	o.kid, o.alg = kid, alg
	o.keys = []jose.JSONWebKey{{Key: o.signer.Public(), KeyID: kid, Use: "sig"}}
}

func (o *op) issuer() string { return o.srv.URL }

func (o *op) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	o.mu.Lock()
	o.requests[r.URL.Path]++
	own := o.handle[r.URL.Path]
	o.mu.Unlock()
	if own != nil {
		own(w, r)
		return
	}
	answer := func(v any) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(v)
	}
	switch r.URL.Path {
	case "/.well-known/openid-configuration":
		d := map[string]any{
			"issuer": o.issuer(), "authorization_endpoint": o.issuer() + "/authorize", "token_endpoint": o.issuer() + "/token",
			"jwks_uri": o.issuer() + "/keys", "userinfo_endpoint": o.issuer() + "/userinfo", "end_session_endpoint": o.issuer() + "/logout?x=1",
			"authorization_response_iss_parameter_supported": true,
		}
		if o.discovery != nil {
			o.discovery(d)
		}
		answer(d)
	case "/keys":
		o.mu.Lock()
		defer o.mu.Unlock()
		answer(jose.JSONWebKeySet{Keys: o.keys})
	case "/userinfo":
		o.mu.Lock()
		o.bearer = r.Header.Get("Authorization")
		o.mu.Unlock()
		answer(o.userinfo)
	case "/token":
		o.serveToken(w, r, answer)
	default:
		http.NotFound(w, r)
	}
}

func (o *op) serveToken(w http.ResponseWriter, r *http.Request, answer func(any)) {
	_ = r.ParseForm()
	o.mu.Lock()
	ask, ok := o.codes[r.PostForm.Get("code")]
	delete(o.codes, r.PostForm.Get("code"))
	o.mu.Unlock()
	id, pw, _ := r.BasicAuth()
	sum := sha256.Sum256([]byte(r.PostForm.Get("code_verifier")))
	if !ok || ask.Get("code_challenge") != base64.RawURLEncoding.EncodeToString(sum[:]) || id != "client" || pw != "s3cret" || r.PostForm.Get("redirect_uri") != ask.Get("redirect_uri") {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(400)
		_, _ = w.Write([]byte(`{"error":"invalid_grant"}`))
		return
	}
	now := o.now().Unix()
	c := map[string]any{
		"iss": o.issuer(), "sub": "u-1", "aud": "client", "exp": now + 300, "iat": now, "nonce": ask.Get("nonce"),
		"name": "Ada", "email": "ada@example.test", "email_verified": true, "groups": []string{"staff", "admins", "staff"},
		"auth_time": now, "acr": "mfa", "amr": []string{"pwd", "otp"}, "sid": "s-1", "department": "R&D",
	}
	if o.claims != nil {
		o.claims(c)
	}
	mint := o.token
	if mint == nil {
		mint = func(c map[string]any) string { return o.sign(c, nil) }
	}
	answer(map[string]any{"access_token": "at-1", "token_type": "Bearer", "expires_in": 60, "id_token": mint(c)})
}

// sign makes a compact token of the claims with the current key.
func (o *op) sign(claims any, header map[string]any) string {
	o.t.Helper()
	o.mu.Lock()
	defer o.mu.Unlock()
	return signWith(o.t, o.signer, o.alg, o.kid, claims, header)
}

func signWith(t *testing.T, key any, alg jose.SignatureAlgorithm, kid string, claims any, header map[string]any) string {
	t.Helper()
	opts := &jose.SignerOptions{}
	opts.WithType("JWT")
	for k, v := range header {
		opts.WithHeader(jose.HeaderKey(k), v)
	}
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: jose.JSONWebKey{Key: key, KeyID: kid}}, opts)
	if err != nil {
		t.Fatal(err)
	}
	raw, ok := claims.([]byte)
	if !ok {
		if raw, err = json.Marshal(claims); err != nil {
			t.Fatal(err)
		}
	}
	jws, err := s.Sign(raw)
	if err != nil {
		t.Fatal(err)
	}
	out, err := jws.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// authorize is the person's browser at the provider: it gives a code for what the URL asks.
func (o *op) authorize(where string) url.Values {
	o.t.Helper()
	u, err := url.Parse(where)
	if err != nil {
		o.t.Fatal(err)
	}
	q := u.Query()
	if q.Get("code_challenge_method") != "S256" || len(q.Get("code_challenge")) != 43 || q.Get("response_type") != "code" {
		o.t.Fatalf("no PKCE S256 in %s", where)
	}
	code := federation.Random()
	o.mu.Lock()
	o.codes[code] = q
	o.mu.Unlock()
	return url.Values{"code": {code}, "state": {q.Get("state")}, "iss": {o.issuer()}}
}

func (o *op) asked(path string) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.requests[path]
}

// rig is a provider of ours with the hostile one behind it, and a clock.
type rig struct {
	t  *testing.T
	op *op
	*Provider
	clock *clock
	once  federation.Once
}

type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) now() time.Time { c.mu.Lock(); defer c.mu.Unlock(); return c.at }
func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

func sealer(t *testing.T) *federation.Sealer {
	t.Helper()
	s, err := federation.NewSealer(make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func newRig(t *testing.T, change ...func(*Options)) *rig {
	t.Helper()
	c := &clock{at: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
	r := &rig{t: t, op: newOP(t, c.now), clock: c, once: federation.NewMemory(0, c.now)}
	o := Options{
		Name: "corp", Issuer: r.op.issuer(), ClientID: "client", ClientSecret: secret.New("s3cret"),
		RedirectURL: "https://gateway.test/signin/corp", Client: r.op.srv.Client(), Sealer: sealer(t), Once: r.once,
		Loopback: true, Now: c.now,
	}
	for _, f := range change {
		f(&o)
	}
	p, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	r.Provider = p
	return r
}

func (r *rig) start(ask federation.Ask) *federation.Pending {
	r.t.Helper()
	p, err := r.Start(r.t.Context(), ask)
	if err != nil {
		r.t.Fatal(err)
	}
	return p
}

// signIn does all of it.
func (r *rig) signIn(ask federation.Ask) (*federation.Signed, error) {
	r.t.Helper()
	p := r.start(ask)
	return r.Finish(r.t.Context(), r.op.authorize(p.URL), p.Cookie)
}

func with(m map[string]any, more map[string]any) map[string]any {
	m = maps.Clone(m)
	maps.Copy(m, more)
	return m
}
