package test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"sallyport.dev/sallyport/internal/config"
	"sallyport.dev/sallyport/internal/server"
	"sallyport.dev/sallyport/internal/store/pgtest"
	"sallyport.dev/sallyport/test/gatetest"
)

func TestMain(m *testing.M) {
	code := m.Run()
	pgtest.Stop()
	os.Exit(code)
}

const question = `{"model":"m1","messages":[{"role":"user","content":"Which roses like half shade?"}]}`

// soon waits for a call to end with a status, which a change elsewhere brings about within two
// seconds; the answer is returned.
func soon(t *testing.T, url string, r request, status int) got {
	t.Helper()
	start := time.Now()
	for {
		res := do(t, url, r)
		took := time.Since(start)
		if res.status == status {
			if took > 2500*time.Millisecond { // a call beside it, on a busy machine
				t.Errorf("%d only after %v", status, took)
			}
			return res
		}
		if took > 10*time.Second {
			t.Fatalf("still %d: %s", res.status, res.body)
		}
		time.Sleep(20 * time.Millisecond) // a poll of another process's work, bounded above
	}
}

// administrator talks to a gate's administrative interface over its socket.
type administrator struct {
	t *testing.T
	c *http.Client
}

func administer(t *testing.T, g *gatetest.Gate) *administrator {
	t.Helper()
	cfg, err := config.Load(g.Config)
	if err != nil {
		t.Fatal(err)
	}
	c, done, err := server.Admin(context.Background(), cfg, slog.New(slog.NewTextHandler(io.Discard, nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(done)
	return &administrator{t, c}
}

func (a *administrator) do(method, path, body string) map[string]any {
	a.t.Helper()
	r, err := http.NewRequest(method, "http://local/admin/v1"+path, strings.NewReader(body))
	if err != nil {
		a.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	res, err := a.c.Do(r)
	if err != nil {
		a.t.Fatal(err)
	}
	defer res.Body.Close()
	b, _ := io.ReadAll(res.Body)
	if res.StatusCode >= 300 {
		a.t.Fatalf("%s %s: %d %s", method, path, res.StatusCode, b)
	}
	var m map[string]any
	_ = json.Unmarshal(b, &m)
	return m
}

func (a *administrator) key(more string) (id, secret string) {
	a.t.Helper()
	m := a.do("POST", "/tenants/default/keys", `{"name":"k","scopes":{"upstreams":["*"],"endpoints":["*"],"models":["*"]}`+more+`}`)
	return m["key"].(map[string]any)["id"].(string), m["secret"].(string)
}

// A workload calls with a token of an issuer that is trusted, and with nothing else.
func TestWorkloadsCallWithTokens(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	var issuer *httptest.Server
	issuer = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		switch r.URL.Path {
		case "/.well-known/openid-configuration":
			fmt.Fprintf(w, `{"issuer":%q,"jwks_uri":%q}`, issuer.URL, issuer.URL+"/keys")
		case "/keys":
			_ = json.NewEncoder(w).Encode(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "k1", Algorithm: "ES256", Use: "sig"}}})
		}
	}))
	defer issuer.Close()
	mint := func(subject, audience string) string {
		s, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: key, KeyID: "k1"}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		now := time.Now().Unix()
		body, _ := json.Marshal(map[string]any{"iss": issuer.URL, "sub": subject, "aud": audience, "iat": now, "exp": now + 600, "jti": subject})
		j, err := s.Sign(body)
		if err != nil {
			t.Fatal(err)
		}
		token, err := j.CompactSerialize()
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: issuer.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PROVIDER_KEY", "sk-of-the-provider")
	up := gatetest.NewUpstream(t)
	g := gatetest.Start(t, up, fmt.Sprintf(`
iam:
  mode: keys
  issuers:
    - name: ci
      url: %s
      audiences: [sallyport]
      ca_file: %q
      rules:
        - {subject: "repo:example/*", upstreams: [openai], endpoints: ["chat.*"], models: ["m*"]}
proxy:
  allow_private: [127.0.0.0/8]
  upstreams:
    - {name: openai, dialect: openai, base_url: %q, credential: {env: PROVIDER_KEY}}
`, issuer.URL, ca, up.URL))
	token := mint("repo:example/app", "sallyport")
	ask := func(token string) request { return chat(question).with("Authorization", "Bearer "+token) }
	res := do(t, g.URL, ask(token))
	if res.status != 200 {
		t.Fatalf("%d %s\n%s", res.status, res.body, g.Log)
	}
	if p := toJSON(g.Event(res.header.Get("Sallyport-Id"))["principal"]); !strings.Contains(p, "ci:repo:example/app") || !strings.Contains(p, `"tenant":"default"`) {
		t.Errorf("the record names %s", p)
	}
	if s := up.Seen(); s[len(s)-1].Header.Get("Authorization") != "Bearer sk-of-the-provider" || strings.Contains(toJSON(s[len(s)-1].Header), token) {
		t.Errorf("the provider got %v", s[len(s)-1].Header)
	}
	for name, c := range map[string]struct {
		r      request
		status int
	}{
		"for another audience": {ask(mint("repo:example/app", "somebody")), 401},
		"of somebody else":     {ask(mint("repo:evil/app", "sallyport")), 401},
		"with another end":     {ask(token[:len(token)-4] + "AAAA"), 401},
		"beside a key":         {ask(token).with("X-Api-Key", "other"), 400},
		"for another model":    {chat(`{"model":"x","messages":[]}`).with("Authorization", "Bearer "+token), 403},
		"for another endpoint": {request{method: "GET", target: "/v1/files"}.with("Authorization", "Bearer "+token), 403},
	} {
		if res := do(t, g.URL, c.r); res.status != c.status || strings.Contains(string(res.body), token) {
			t.Errorf("%s: %d %s", name, res.status, res.body)
		}
	}
	// The directory knows it as a service: switched off there, its token is worth nothing.
	a := administer(t, g)
	id := a.do("POST", "/tenants/default/services", `{"name":"app","subjects":[{"issuer":"ci","subject":"repo:example/app"}]}`)["id"].(string)
	soon(t, g.URL, ask(token), 200)
	a.do("PUT", "/tenants/default/services/"+id, `{"name":"app","disabled":true,"subjects":[{"issuer":"ci","subject":"repo:example/app"}]}`)
	soon(t, g.URL, ask(token), 401)
}

// Two gateways share one PostgreSQL: what is changed at one holds at the other within two seconds. The
// database is killed under them: who is known goes on, and nothing is lost when it is back.
func TestTwoGatewaysOnPostgreSQL(t *testing.T) {
	pg := pgtest.Start(t)
	t.Setenv("DATABASE", pg.Database(t))
	t.Setenv("PROVIDER_KEY", "sk-of-the-provider")
	dir := t.TempDir()
	for name, text := range map[string]string{"pepper": "a pepper that two gateways share", "master": "K7gNU3sdo+OL0wNhqoVWhr3g6s1xYv72ol/pe/Unols="} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	up := gatetest.NewUpstream(t)
	yaml := fmt.Sprintf(`
iam: {mode: keys, database: {env: DATABASE}, pepper: {file: %q}, master_key: {file: %q}}
proxy:
  allow_private: [127.0.0.0/8]
  upstreams:
    - {name: openai, dialect: openai, base_url: %q, credential: {env: PROVIDER_KEY}}
`, filepath.Join(dir, "pepper"), filepath.Join(dir, "master"), up.URL)
	one, two := gatetest.Start(t, up, yaml), gatetest.Start(t, up, yaml)
	a := administer(t, one)
	ask := func(key string) request { return chat(question).with("Authorization", "Bearer "+key) }

	id, key := a.key("")
	soon(t, two.URL, ask(key), 200)
	p := a.do("POST", "/tenants/default/policies", `{"name":"stop","text":"forbid (principal, action, resource);"}`)["id"].(string)
	soon(t, two.URL, ask(key), 403)
	a.do("DELETE", "/tenants/default/policies/"+p, "")
	soon(t, two.URL, ask(key), 200)
	a.do("POST", "/providers", `{"upstream":"openai","name":"n","value":"sk-sealed-elsewhere"}`)
	for start := time.Now(); ; {
		soon(t, two.URL, ask(key), 200)
		if s := up.Seen(); s[len(s)-1].Header.Get("Authorization") == "Bearer sk-sealed-elsewhere" {
			break
		}
		if time.Since(start) > 5*time.Second {
			t.Fatal("the other gateway does not send the sealed credential")
		}
	}
	a.do("POST", "/tenants/default/keys/"+id+"/revoke", "")
	soon(t, two.URL, ask(key), 401)
	soon(t, one.URL, ask(key), 401)

	last, lastKey := a.key("")
	soon(t, two.URL, ask(lastKey), 200)
	pg.Kill(t)
	for _, g := range []*gatetest.Gate{one, two} {
		if res := do(t, g.URL, ask(lastKey)); res.status != 200 {
			t.Errorf("without the database: %d %s", res.status, res.body)
		}
		if res := do(t, g.URL, ask(key)); res.status != 401 {
			t.Errorf("a key that was revoked, without the database: %d", res.status)
		}
	}
	pg.Restart(t)
	for start := time.Now(); ; time.Sleep(50 * time.Millisecond) { // until its pool has connected again
		r, _ := http.NewRequest("POST", "http://local/admin/v1/tenants/default/keys/"+last+"/revoke", bytes.NewReader(nil))
		r.Header.Set("Content-Type", "application/json")
		res, err := a.c.Do(r)
		if err == nil {
			_ = res.Body.Close()
			if res.StatusCode == 200 {
				break
			}
		}
		if time.Since(start) > 10*time.Second {
			t.Fatalf("administration does not come back: %v", err)
		}
	}
	soon(t, two.URL, ask(lastKey), 401)
	soon(t, one.URL, ask(lastKey), 401)
	for _, s := range []string{"sk-sealed-elsewhere", strings.Split(key, "_")[3], strings.Split(lastKey, "_")[3]} {
		for _, g := range []*gatetest.Gate{one, two} {
			if f := holds(t, g.Dir, s); len(f) > 0 || strings.Contains(g.Log.String(), s) {
				t.Errorf("a usable secret is in %v or in the log", f)
			}
		}
	}
}

// status is that of an answer, for what is refused.
func (a *administrator) status(method, path string) int {
	a.t.Helper()
	r, err := http.NewRequest(method, "http://local/admin/v1"+path, http.NoBody)
	if err != nil {
		a.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	res, err := a.c.Do(r)
	if err != nil {
		a.t.Fatal(err)
	}
	_ = res.Body.Close()
	return res.StatusCode
}
