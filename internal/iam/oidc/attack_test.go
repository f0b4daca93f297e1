package oidc

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"sallyport.dev/sallyport/internal/iam/federation"
	"sallyport.dev/sallyport/internal/iam/jwks"
)

// What the ID token says. Each of these differs from a good sign-in in one thing.
func TestClaimsRefused(t *testing.T) {
	r := newRig(t)
	now := r.clock.now().Unix()
	for name, more := range map[string]map[string]any{
		"issuer":                {"iss": "https://evil.test"},
		"issuer with a slash":   {"iss": r.op.issuer() + "/"},
		"no issuer":             {"iss": nil},
		"audience":              {"aud": "other"},
		"audiences":             {"aud": []string{"other", "another"}},
		"no audience":           {"aud": nil},
		"audience a number":     {"aud": []any{"client", 1}},
		"many audiences":        {"aud": strings.Split("client"+strings.Repeat(",x", 40), ","), "azp": "client"},
		"two, foreign azp":      {"aud": []string{"client", "other"}, "azp": "other"},
		"two, no azp":           {"aud": []string{"client", "other"}},
		"one, foreign azp":      {"azp": "other"},
		"azp no text":           {"azp": []string{"client"}},
		"expired":               {"exp": now - 31},
		"exp a text":            {"exp": "4102444800"},
		"no exp":                {"exp": nil},
		"exp beyond all years":  {"exp": 1e300},
		"issued in the future":  {"iat": now + 31},
		"issued before sign-in": {"iat": now - 3600},
		"no iat":                {"iat": nil},
		"not valid yet":         {"nbf": now + 31},
		"nbf no time":           {"nbf": "x"},
		"nonce":                 {"nonce": "other"},
		"no nonce":              {"nonce": nil},
		"empty nonce":           {"nonce": ""},
		"at_hash":               {"at_hash": "AAAAAAAAAAAAAAAAAAAAAA"},
		"no subject":            {"sub": nil},
		"empty subject":         {"sub": ""},
		"subject a number":      {"sub": 7},
		"long subject":          {"sub": strings.Repeat("u", 256)},
		"line break in subject": {"sub": "u-1\n"},
		"subject with padding":  {"sub": " u-1"},
	} {
		t.Run(name, func(t *testing.T) {
			r.op.claims = func(c map[string]any) {
				for k, v := range more {
					if c[k] = v; v == nil {
						delete(c, k)
					}
				}
			}
			_, err := r.signIn(federation.Ask{})
			refused(t, err)
		})
	}
	r.op.claims = func(c map[string]any) {
		c["aud"], c["azp"], c["at_hash"], c["nbf"] = []string{"other", "client"}, "client", halfHash("ES256", "at-1"), now
	}
	if _, err := r.signIn(federation.Ask{}); err != nil {
		t.Error(err)
	}
}

// How the ID token is signed.
func TestSignaturesRefused(t *testing.T) {
	seg := func(v any) string {
		b, ok := v.([]byte)
		if !ok {
			b, _ = json.Marshal(v)
		}
		return base64.RawURLEncoding.EncodeToString(b)
	}
	evil, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	for name, mint := range map[string]func(r *rig, c map[string]any) string{
		"alg none": func(_ *rig, c map[string]any) string {
			return seg(map[string]any{"alg": "none", "kid": "k1"}) + "." + seg(c) + "."
		},
		"alg None, with a signature": func(_ *rig, c map[string]any) string {
			return seg(map[string]any{"alg": "None", "kid": "k1"}) + "." + seg(c) + "." + seg([]byte("x"))
		},
		"another key of the same name": func(r *rig, c map[string]any) string { return signWith(t, evil, jose.ES256, "k1", c, nil) },
		"an unknown key":               func(r *rig, c map[string]any) string { return signWith(t, evil, jose.ES256, "k2", c, nil) },
		"kid climbs directories":       func(r *rig, c map[string]any) string { return signWith(t, evil, jose.ES256, "../../etc/k1", c, nil) },
		"kid is SQL":                   func(r *rig, c map[string]any) string { return signWith(t, evil, jose.ES256, "k1' OR '1'='1", c, nil) },
		"no kid":                       func(r *rig, c map[string]any) string { return signWith(t, r.op.signer, jose.ES256, "", c, nil) },
		"own key in jwk": func(r *rig, c map[string]any) string {
			return signWith(t, evil, jose.ES256, "k1", c, map[string]any{"jwk": jose.JSONWebKey{Key: evil.Public(), KeyID: "k1"}})
		},
		"own key at jku": func(r *rig, c map[string]any) string {
			return signWith(t, evil, jose.ES256, "k9", c, map[string]any{"jku": r.op.issuer() + "/evil", "x5u": r.op.issuer() + "/evil"})
		},
		"crit": func(r *rig, c map[string]any) string {
			return r.op.sign(c, map[string]any{"crit": []string{"exp"}, "exp": 1})
		},
		"b64":          func(r *rig, c map[string]any) string { return r.op.sign(c, map[string]any{"b64": true}) },
		"nested":       func(r *rig, c map[string]any) string { return r.op.sign(c, map[string]any{"cty": "JWT"}) },
		"access token": func(r *rig, c map[string]any) string { return r.op.sign(c, map[string]any{"typ": "at+jwt"}) },
		"logout token": func(r *rig, c map[string]any) string { return r.op.sign(c, map[string]any{"typ": "logout+jwt"}) },
		"changed claims": func(r *rig, c map[string]any) string {
			return swapClaims(r.op.sign(c, nil), with(c, map[string]any{"sub": "root"}))
		},
		"sub twice": func(r *rig, c map[string]any) string {
			b, _ := json.Marshal(c)
			return r.op.sign(append([]byte(`{"sub":"root",`), b[1:]...), nil)
		},
		"no JSON":    func(r *rig, c map[string]any) string { return r.op.sign([]byte("[]"), nil) },
		"four parts": func(r *rig, c map[string]any) string { return r.op.sign(c, nil) + ".x" },
		"too long": func(r *rig, c map[string]any) string {
			return r.op.sign(with(c, map[string]any{"x": strings.Repeat("x", maxToken)}), nil)
		},
		"empty": func(*rig, map[string]any) string { return "" },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.op.handle["/evil"] = func(w http.ResponseWriter, _ *http.Request) {
				_ = json.NewEncoder(w).Encode(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: evil.Public(), KeyID: "k9"}}})
			}
			r.op.token = func(c map[string]any) string { return mint(r, c) }
			_, err := r.signIn(federation.Ask{})
			refused(t, err)
			if r.op.asked("/evil") != 0 {
				t.Error("an address out of a token was asked")
			}
		})
	}
	// An honest provider may say where its key is; nobody looks.
	r := newRig(t)
	r.op.token = func(c map[string]any) string {
		return r.op.sign(c, map[string]any{"jku": "https://169.254.169.254/keys", "x5t": "x"})
	}
	if _, err := r.signIn(federation.Ask{}); err != nil {
		t.Error(err)
	}
}

func swapClaims(token string, c map[string]any) string {
	p := strings.Split(token, ".")
	b, _ := json.Marshal(c)
	return p[0] + "." + base64.RawURLEncoding.EncodeToString(b) + "." + p[2]
}

// The public key is known to everybody: a MAC made with it proves nothing (CVE-2015-9235).
func TestPublicKeyIsNoSecret(t *testing.T) {
	r := newRig(t)
	r.op.rotate("k1", jose.RS256)
	pub := r.op.signer.Public()
	der, _ := x509.MarshalPKIXPublicKey(pub)
	asJWK, _ := json.Marshal(jose.JSONWebKey{Key: pub, KeyID: "k1"})
	for name, k := range map[string][]byte{"PEM": pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), "DER": der, "JWK": asJWK} {
		for _, alg := range []jose.SignatureAlgorithm{jose.HS256, jose.HS384, jose.HS512} {
			r.op.token = func(c map[string]any) string { return signWith(t, k, alg, "k1", c, nil) }
			_, err := r.signIn(federation.Ask{})
			if refused(t, err); t.Failed() {
				t.Fatal(name, alg)
			}
		}
	}
}

// An algorithm counts when it is configured, not when the provider or the token likes it.
func TestAlgorithmsAreConfigured(t *testing.T) {
	r := newRig(t, func(o *Options) { o.Algs = []string{"EdDSA"} })
	r.op.discovery = func(d map[string]any) { d["id_token_signing_alg_values_supported"] = []string{"ES256"} }
	_, err := r.signIn(federation.Ask{})
	refused(t, err)
}

// A response must come back to the browser that began, for the sign-in that it began, once.
func TestStateBelongsToTheBrowser(t *testing.T) {
	r := newRig(t)
	mallory, victim := r.start(federation.Ask{}), r.start(federation.Ask{})
	hers, his := r.op.authorize(victim.URL), r.op.authorize(mallory.URL)
	for name, c := range map[string]struct {
		query  url.Values
		cookie string
	}{
		"his response in her browser": {his, victim.Cookie},
		"her response in his browser": {hers, mallory.Cookie},
		"no cookie":                   {his, ""},
		"nonsense":                    {his, "x"},
		"a long cookie":               {his, strings.Repeat("A", 5000)},
		"changed cookie":              {his, mallory.Cookie[:len(mallory.Cookie)-2] + "AA"},
		"no state":                    {url.Values{"code": his["code"], "iss": his["iss"]}, mallory.Cookie},
		"empty state":                 {url.Values{"code": his["code"], "iss": his["iss"], "state": {""}}, mallory.Cookie},
		"two states":                  {url.Values{"code": his["code"], "iss": his["iss"], "state": {his.Get("state"), "x"}}, mallory.Cookie},
		"two codes":                   {url.Values{"code": {"x", his.Get("code")}, "iss": his["iss"], "state": his["state"]}, mallory.Cookie},
	} {
		_, err := r.Finish(t.Context(), c.query, c.cookie)
		if refused(t, err); t.Failed() {
			t.Fatal(name)
		}
	}
	if r.op.asked("/token") != 0 {
		t.Error("a code was spent")
	}
	// None of that spoilt the real ones.
	for _, p := range []struct {
		q url.Values
		c string
	}{{hers, victim.Cookie}, {his, mallory.Cookie}} {
		if _, err := r.Finish(t.Context(), p.q, p.c); err != nil {
			t.Error(err)
		}
	}
}

func TestCookieHidesAndHolds(t *testing.T) {
	r := newRig(t)
	p := r.start(federation.Ask{Return: "/secret-page"})
	u, _ := url.Parse(p.URL)
	raw, _ := base64.RawURLEncoding.DecodeString(p.Cookie)
	for _, s := range []string{u.Query().Get("state"), u.Query().Get("nonce"), "verifier", "/secret-page"} {
		if s == "" || bytes.Contains(raw, []byte(s)) || strings.Contains(p.URL, "secret-page") {
			t.Errorf("%q stands in the cookie", s)
		}
	}
	if len(p.Cookie) > 1500 || p.CrossSite || !p.Expires.Equal(r.clock.now().Add(10*time.Minute)) {
		t.Errorf("%+v", p)
	}
	r.clock.add(10 * time.Minute)
	_, err := r.Finish(t.Context(), r.op.authorize(p.URL), p.Cookie)
	refused(t, err)
}

func TestCodeReplay(t *testing.T) {
	r := newRig(t)
	p := r.start(federation.Ask{})
	q := r.op.authorize(p.URL)
	var wg sync.WaitGroup
	var good, bad atomic.Int32
	for range 8 {
		wg.Go(func() {
			if _, err := r.Finish(t.Context(), q, p.Cookie); err == nil {
				good.Add(1)
			} else {
				bad.Add(1)
			}
		})
	}
	wg.Wait()
	if good.Load() != 1 || bad.Load() != 7 || r.op.asked("/token") != 1 {
		t.Errorf("%d went well, %d did not, the code was sent %d times", good.Load(), bad.Load(), r.op.asked("/token"))
	}
	// A code of somebody else's sign-in is of no use here: the provider holds it against the verifier.
	p2, theirs := r.start(federation.Ask{}), r.op.authorize(r.start(federation.Ask{}).URL)
	u, _ := url.Parse(p2.URL)
	_, err := r.Finish(t.Context(), url.Values{"code": theirs["code"], "iss": theirs["iss"], "state": {u.Query().Get("state")}}, p2.Cookie)
	refused(t, err)
}

// Without PKCE at the provider, an injected code still ends at the nonce.
func TestNonceSwap(t *testing.T) {
	r := newRig(t)
	other := r.start(federation.Ask{})
	u, _ := url.Parse(other.URL)
	r.op.claims = func(c map[string]any) { c["nonce"] = u.Query().Get("nonce") }
	_, err := r.signIn(federation.Ask{})
	refused(t, err)
	if !strings.Contains(err.Error(), "nonce") {
		t.Error(err)
	}
}

// Two providers are configured and one is hostile: it answers for the other, or has us send the
// other's code to its token endpoint (RFC 9700 section 4.4).
func TestMixUp(t *testing.T) {
	honest := newRig(t)
	evil := newRig(t, func(o *Options) { o.Name, o.Once = "evil", honest.once })
	// The person begins with the hostile one, which sends the browser on to the honest one.
	p := evil.start(federation.Ask{})
	code := honest.op.authorize(p.URL)
	_, err := evil.Finish(t.Context(), code, p.Cookie)
	refused(t, err)
	code.Del("iss") // and takes the tell-tale out, while it says that it always gives it
	_, err = evil.Finish(t.Context(), code, p.Cookie)
	refused(t, err)
	if evil.op.asked("/token") != 0 {
		t.Error("the honest provider's code went to the hostile one")
	}
	// A sign-in that began at one provider does not end at another's redirect URL.
	q := honest.start(federation.Ask{})
	_, err = evil.Finish(t.Context(), evil.op.authorize(q.URL), q.Cookie)
	refused(t, err)
	// The hostile one copies the honest one's issuer into its tokens.
	evil.op.claims = func(c map[string]any) { c["iss"] = honest.op.issuer() }
	_, err = evil.signIn(federation.Ask{})
	refused(t, err)
}

func TestIssuerOfTheResponse(t *testing.T) {
	for _, c := range []struct {
		advertised bool
		iss        []string
		ok         bool
	}{
		{true, []string{""}, false}, {true, nil, false}, {true, []string{"good"}, true}, {true, []string{"good", "good"}, false},
		{false, nil, true}, {false, []string{""}, false}, {false, []string{"https://evil.test"}, false}, {false, []string{"good"}, true},
	} {
		r := newRig(t)
		r.op.discovery = func(d map[string]any) { d["authorization_response_iss_parameter_supported"] = c.advertised }
		p := r.start(federation.Ask{})
		q := r.op.authorize(p.URL)
		delete(q, "iss")
		for _, iss := range c.iss {
			q.Add("iss", strings.Replace(iss, "good", r.op.issuer(), 1))
		}
		if _, err := r.Finish(t.Context(), q, p.Cookie); (err == nil) != c.ok {
			t.Errorf("advertised %v, iss %q: %v", c.advertised, c.iss, err)
		}
	}
}

func TestErrorResponse(t *testing.T) {
	r := newRig(t)
	p := r.start(federation.Ask{})
	q := r.op.authorize(p.URL)
	q.Del("code")
	q.Set("error", "login_required\x1b[2J")
	_, err := r.Finish(t.Context(), q, p.Cookie)
	refused(t, err)
	if strings.ContainsRune(err.Error(), 0x1b) {
		t.Errorf("%q", err)
	}
}

func TestKeyRotation(t *testing.T) {
	r := newRig(t)
	if _, err := r.signIn(federation.Ask{}); err != nil {
		t.Fatal(err)
	}
	p := r.start(federation.Ask{})
	q := r.op.authorize(p.URL)
	r.op.rotate("k2", jose.RS256) // while the person types their password
	r.clock.add(20 * time.Second)
	if _, err := r.Finish(t.Context(), q, p.Cookie); err != nil {
		t.Fatal(err)
	}
	// Unknown keys cause few readings, whoever sends them.
	before := r.op.asked("/keys")
	evil, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	for i := range 50 {
		_, err := r.Logout(t.Context(), signWith(t, evil, jose.ES256, fmt.Sprint("x", i), map[string]any{}, nil))
		refused(t, err)
	}
	r.clock.add(keysAgain)
	_, _ = r.Logout(t.Context(), signWith(t, evil, jose.ES256, "x", map[string]any{}, nil))
	if n := r.op.asked("/keys") - before; n != 1 {
		t.Errorf("51 tokens with unknown keys caused %d readings", n)
	}
	// A key that was withdrawn serves for ten minutes at most.
	old := r.op.signer
	r.op.rotate("k3", jose.ES256)
	r.clock.add(keysServe)
	r.op.token = func(c map[string]any) string { return signWith(t, old, jose.RS256, "k2", c, nil) }
	_, err := r.signIn(federation.Ask{})
	refused(t, err)
}

// What the provider's documents may not do. None of it is a refusal: it could not be judged.
func TestDocumentsRefused(t *testing.T) {
	big := bytes.Repeat([]byte(" "), 10<<20)
	redirect := func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/elsewhere", http.StatusFound) }
	send := func(b []byte) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(b) }
	}
	for name, lie := range map[string]func(o *op){
		"discovery: issuer":      func(o *op) { o.discovery = func(d map[string]any) { d["issuer"] = "https://evil.test" } },
		"discovery: slash":       func(o *op) { o.discovery = func(d map[string]any) { d["issuer"] = o.issuer() + "/" } },
		"discovery: no issuer":   func(o *op) { o.discovery = func(d map[string]any) { delete(d, "issuer") } },
		"discovery: plain http":  func(o *op) { o.discovery = func(d map[string]any) { d["token_endpoint"] = "http://evil.test/token" } },
		"discovery: file":        func(o *op) { o.discovery = func(d map[string]any) { d["jwks_uri"] = "file:///etc/passwd" } },
		"discovery: user in URL": func(o *op) { o.discovery = func(d map[string]any) { d["jwks_uri"] = "https://a:b@evil.test/" } },
		"discovery: no token":    func(o *op) { o.discovery = func(d map[string]any) { delete(d, "token_endpoint") } },
		"discovery: javascript": func(o *op) {
			o.discovery = func(d map[string]any) { d["authorization_endpoint"] = "javascript:alert(1)" }
		},
		"discovery: redirect": func(o *op) { o.handle["/.well-known/openid-configuration"] = redirect },
		"discovery: 10 MB":    func(o *op) { o.handle["/.well-known/openid-configuration"] = send(big) },
		"discovery: issuer twice": func(o *op) {
			o.handle["/.well-known/openid-configuration"] = send([]byte(`{"issuer":"a","issuer":"b"}`))
		},
		"keys: 10 MB":     func(o *op) { o.handle["/keys"] = send(big) },
		"keys: redirect":  func(o *op) { o.handle["/keys"] = redirect },
		"keys: too many":  func(o *op) { o.keys = append(o.keys, make([]jose.JSONWebKey, jwks.MaxKeys)...) },
		"keys: gone":      func(o *op) { o.handle["/keys"] = http.NotFound },
		"token: redirect": func(o *op) { o.handle["/token"] = redirect },
		"token: 307": func(o *op) {
			o.handle["/token"] = func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
			}
		},
		"token: 10 MB":       func(o *op) { o.handle["/token"] = send(append(big, `{"access_token":"a","id_token":"b"}`...)) },
		"token: fails":       func(o *op) { o.handle["/token"] = func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) } },
		"userinfo: redirect": func(o *op) { o.handle["/userinfo"] = redirect },
		"userinfo: 10 MB":    func(o *op) { o.handle["/userinfo"] = send(big) },
		"userinfo: a JWT": func(o *op) {
			o.handle["/userinfo"] = func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "application/jwt")
				_, _ = w.Write([]byte("a.b.c"))
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, func(o *Options) { o.UserInfo = true })
			r.op.userinfo = map[string]any{"sub": "u-1"}
			lie(r.op)
			p, err := r.Start(t.Context(), federation.Ask{})
			if err == nil {
				_, err = r.Finish(t.Context(), r.op.authorize(p.URL), p.Cookie)
			}
			failed(t, err)
			if r.op.asked("/elsewhere") != 0 {
				t.Error("a redirect was followed")
			}
		})
	}
}

// The answers of a token endpoint may hold secrets; an error repeats none of them.
func TestErrorsRepeatNothing(t *testing.T) {
	r := newRig(t)
	r.op.handle["/token"] = func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(401)
		_, _ = w.Write([]byte(`{"error":"invalid_client","error_description":"s3cret is not it \u001b[2J","access_token":"canary"}`))
	}
	_, err := r.signIn(federation.Ask{})
	failed(t, err)
	if s := fmt.Sprintf("%v %+v", err, err); strings.Contains(s, "s3cret") || strings.Contains(s, "canary") || strings.ContainsRune(s, 0x1b) {
		t.Error(s)
	}
}

// However many begin sign-ins while the provider is away, it is asked seldom.
func TestProviderAway(t *testing.T) {
	r := newRig(t)
	r.op.handle["/.well-known/openid-configuration"] = func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) }
	for range 20 {
		_, err := r.Start(t.Context(), federation.Ask{})
		failed(t, err)
	}
	if n := r.op.asked("/.well-known/openid-configuration"); n != 1 {
		t.Errorf("asked %d times", n)
	}
	delete(r.op.handle, "/.well-known/openid-configuration")
	r.clock.add(metadataRest)
	if _, err := r.signIn(federation.Ask{}); err != nil {
		t.Error(err)
	}
}

func TestLogoutToken(t *testing.T) {
	r := newRig(t)
	now := r.clock.now().Unix()
	event := map[string]any{"http://schemas.openid.net/event/backchannel-logout": map[string]any{}}
	good := map[string]any{"iss": r.op.issuer(), "aud": "client", "iat": now, "exp": now + 120, "jti": "j1", "events": event, "sub": "u-1", "sid": "s-1"}
	typ := map[string]any{"typ": "logout+jwt"}
	l, err := r.Logout(t.Context(), r.op.sign(good, typ))
	if err != nil || *l != (Logout{r.op.issuer(), "u-1", "s-1"}) {
		t.Fatalf("%+v, %v", l, err)
	}
	_, err = r.Logout(t.Context(), r.op.sign(good, typ))
	refused(t, err) // the same jti
	n := 0
	for name, more := range map[string]map[string]any{
		"a nonce":          {"nonce": "n"},
		"no events":        {"events": nil},
		"another event":    {"events": map[string]any{"x": map[string]any{}}},
		"event no object":  {"events": map[string]any{"http://schemas.openid.net/event/backchannel-logout": true}},
		"nobody":           {"sub": nil, "sid": nil},
		"no jti":           {"jti": nil},
		"another audience": {"aud": "other"},
		"another issuer":   {"iss": "https://evil.test"},
		"expired":          {"exp": now - 60},
		"no exp":           {"exp": nil},
		"for ever":         {"exp": now + 1e6},
		"in the future":    {"iat": now + 60},
	} {
		n++
		c := with(good, map[string]any{"jti": fmt.Sprint("n", n)})
		for k, v := range more {
			if c[k] = v; v == nil {
				delete(c, k)
			}
		}
		_, err := r.Logout(t.Context(), r.op.sign(c, typ))
		if refused(t, err); t.Failed() {
			t.Fatal(name)
		}
	}
	_, err = r.Logout(t.Context(), r.op.sign(with(good, map[string]any{"jti": "at"}), map[string]any{"typ": "at+jwt"}))
	refused(t, err)
	if l, err = r.Logout(t.Context(), r.op.sign(with(good, map[string]any{"jti": "j2", "sub": nil}), nil)); err != nil || l.Session != "s-1" {
		t.Errorf("%+v, %v", l, err)
	}
}
