package test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"sallyport.dev/sallyport/internal/iam/exchange"
	"sallyport.dev/sallyport/internal/iam/federation/idptest"
	"sallyport.dev/sallyport/internal/store/pgtest"
	"sallyport.dev/sallyport/test/gatetest"
)

// fetch reads a document of an identity provider on the loopback.
func fetch(t *testing.T, where string) []byte {
	t.Helper()
	res, err := http.Get(where)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != 200 {
		t.Fatalf("%s: %d %s, %v", where, res.StatusCode, b, err)
	}
	return b
}

// about is the discovery document of a provider, and a file with its keys: the gateway itself reads keys
// over https only.
func about(t *testing.T, issuer string) (d struct {
	Issuer    string
	Authorize string `json:"authorization_endpoint"`
	Token     string `json:"token_endpoint"`
	Keys      string `json:"jwks_uri"`
}, keys string) {
	t.Helper()
	if err := json.Unmarshal(fetch(t, strings.TrimSuffix(issuer, "/")+"/.well-known/openid-configuration"), &d); err != nil {
		t.Fatal(err)
	}
	keys = filepath.Join(t.TempDir(), "keys.json")
	if err := os.WriteFile(keys, fetch(t, d.Keys), 0o600); err != nil {
		t.Fatal(err)
	}
	return d, keys
}

// idToken signs a person in at a real provider, as the application would through which they talk to an
// agent, and returns their ID token.
func idToken(t *testing.T, authorize, token, client, secret, back string, fill map[string]string) string {
	t.Helper()
	const verifier = "a-verifier-of-the-test-that-is-long-enough-0123456789"
	sum := sha256.Sum256([]byte(verifier))
	v := url.Values{"client_id": {client}, "redirect_uri": {back}, "response_type": {"code"}, "scope": {"openid"}, "state": {"s"}, "nonce": {"n"},
		"code_challenge": {base64.RawURLEncoding.EncodeToString(sum[:])}, "code_challenge_method": {"S256"}}
	at, _ := idptest.NewBrowser(t, back, fill).Visit(authorize + "?" + v.Encode())
	r, _ := http.NewRequest("POST", token, strings.NewReader(url.Values{"grant_type": {"authorization_code"}, "code": {at.Query().Get("code")}, "redirect_uri": {back}, "code_verifier": {verifier}}.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.SetBasicAuth(client, secret)
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var out struct {
		ID string `json:"id_token"`
	}
	b, _ := io.ReadAll(res.Body)
	if err := json.Unmarshal(b, &out); err != nil || out.ID == "" {
		t.Fatalf("%d %s", res.StatusCode, b)
	}
	return out.ID
}

// exchanging is a request for a token.
func exchanging(credential, subject string, kv ...string) request {
	v := url.Values{"grant_type": {exchange.GrantType}, "subject_token": {subject}, "subject_token_type": {exchange.TypeIDToken}}
	for i := 0; i < len(kv); i += 2 {
		v.Set(kv[i], kv[i+1])
	}
	return request{method: "POST", target: exchange.TokenPath, contentType: "application/x-www-form-urlencoded", body: []byte(v.Encode())}.with("Authorization", "Bearer "+credential)
}

func issued(t *testing.T, res got) string {
	t.Helper()
	var m struct {
		Token string `json:"access_token"`
	}
	if err := json.Unmarshal(res.body, &m); err != nil || res.status != 200 || m.Token == "" || res.header.Get("Cache-Control") != "no-store" {
		t.Fatalf("%d %v %s", res.status, res.header, res.body)
	}
	return m.Token
}

// exchangeConfig is a gateway that takes the people of a provider.
func exchangeConfig(up *gatetest.Upstream, issuer, keys, client, more string) string {
	return fmt.Sprintf(`
iam:
  mode: keys%s
  issuers:
    - {name: corp, url: %q, jwks_file: %q}
  exchange:
    issuer: https://gateway.example
    subjects:
      - {issuer: corp, audiences: [%s], claim: [sub], match: link, upstreams: [openai], endpoints: ["chat.*"], models: ["m*"]}
proxy:
  allow_private: [127.0.0.0/8]
  upstreams:
    - {name: openai, dialect: openai, base_url: %q, credential: {env: PROVIDER_KEY}}
`, more, issuer, keys, client, up.URL)
}

// delegation is a person with a linked account, and an agent with a key that may act for them.
func delegation(a *administrator, issuer, subject string) (user, agent, keyID, key string) {
	a.t.Helper()
	user = a.do("POST", "/tenants/default/users", quote(map[string]any{"user_name": "p", "name": "P", "active": true, "links": []map[string]string{{"provider": "corp", "issuer": issuer, "subject": subject}}}))["id"].(string)
	agent = a.do("POST", "/tenants/default/agents", quote(map[string]any{"name": "planner", "for": []string{user}}))["id"].(string)
	keyID, key = a.key(`,"principal":"` + agent + `"`)
	return user, agent, keyID, key
}

// A person signs in at a real provider; an agent with a key takes their ID token to the gateway and gets
// one that names both, with which it calls; and what the directory says later counts within two seconds.
func testExchange(t *testing.T, issuer, client, secret, subject, back string, fill map[string]string) {
	d, keys := about(t, issuer)
	t.Setenv("PROVIDER_KEY", "sk-of-the-provider")
	up := gatetest.NewUpstream(t)
	g := gatetest.Start(t, up, exchangeConfig(up, d.Issuer, keys, client, ""))
	a := administer(t, g)
	user, agent, keyID, key := delegation(a, d.Issuer, subject)
	id := idToken(t, d.Authorize, d.Token, client, secret, back, fill)
	ask := exchanging(key, id)
	res := soon3(t, g.URL, ask)
	token := issued(t, res)
	for _, part := range []string{`"issued_token_type":"` + exchange.TypeAccessToken + `"`, `"token_type":"Bearer"`, `"scope":"upstream:openai endpoint:chat.* model:m*"`} {
		if !strings.Contains(string(res.body), part) {
			t.Errorf("%s", res.body)
		}
	}
	call := bearer(token)
	if res = do(t, g.URL, call); res.status != 200 {
		t.Fatalf("%d %s\n%s", res.status, res.body, g.Text())
	}
	if p := toJSON(g.Event(res.header.Get("Sallyport-Id"))["principal"]); !strings.Contains(p, `"id":"`+agent+`"`) || !strings.Contains(p, `"on_behalf_of":"`+user+`"`) {
		t.Errorf("the record names %s", p)
	}
	if s := up.Seen(); s[len(s)-1].Header.Get("Authorization") != "Bearer sk-of-the-provider" || strings.Contains(toJSON(s[len(s)-1].Header), token) {
		t.Errorf("the provider got %v", s[len(s)-1].Header)
	}
	// The person's own token opens nothing, and neither does ours with another end, or for what is outside.
	for name, c := range map[string]struct {
		r      request
		status int
	}{
		"the person's own":  {bearer(id), 401},
		"with another end":  {bearer(token[:len(token)-8] + "AAAAAAAA"), 401},
		"another endpoint":  {request{method: "GET", target: "/v1/files"}.with("Authorization", "Bearer "+token), 403},
		"another model":     {chat(`{"model":"x","messages":[]}`).with("Authorization", "Bearer "+token), 403},
		"a path of its own": {request{method: "POST", target: "/-/other"}.with("Authorization", "Bearer "+token), 404},
		"beneath":           {request{method: "POST", target: "/-/token/x"}.with("Authorization", "Bearer "+token), 404},
	} {
		if res := do(t, g.URL, c.r); res.status != c.status {
			t.Errorf("%s: %d %s", name, res.status, res.body)
		}
	}
	// The keys are public, and verify what we signed.
	var set jose.JSONWebKeySet
	if err := json.Unmarshal(fetch(t, g.URL+exchange.KeysPath), &set); err != nil || len(set.Keys) == 0 || !set.Keys[0].IsPublic() {
		t.Fatalf("%v %v", set, err)
	}
	j, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := j.Verify(set.Key(j.Signatures[0].Header.KeyID)[0]); err != nil {
		t.Error(err)
	}
	// Cedar sees the agent and the person.
	p := a.do("POST", "/tenants/default/policies", quote(map[string]any{"name": "not for them", "text": `forbid (principal is Agent, action, resource) when { principal has on_behalf_of && principal.on_behalf_of == User::"` + user + `" };`}))["id"].(string)
	soon(t, g.URL, call, 403)
	a.do("DELETE", "/tenants/default/policies/"+p, "")
	soon(t, g.URL, call, 200)
	// A limit of the agent counts all calls that it makes for anybody.
	l := a.do("POST", "/tenants/default/limits", quote(map[string]any{"of": "principal", "subject": agent, "unit": "requests", "amount": 0, "window": "1h"}))["id"].(string)
	soon(t, g.URL, call, 429)
	a.do("DELETE", "/tenants/default/limits/"+l, "")
	soon(t, g.URL, call, 200)
	before := len(up.Seen())

	// It is ended before its time, and another one is not.
	again := bearer(issued(t, do(t, g.URL, ask)))
	a.do("POST", "/tenants/default/token-revocations", quote(map[string]string{"token": "sallyport:" + jti(t, token)}))
	soon(t, g.URL, call, 401)
	if res := do(t, g.URL, again); res.status != 200 {
		t.Errorf("another token: %d %s", res.status, res.body)
	}
	call = again
	person := func(active bool) {
		a.do("PUT", "/tenants/default/users/"+user, quote(map[string]any{"user_name": "p", "name": "P", "active": active, "links": []map[string]string{{"provider": "corp", "issuer": d.Issuer, "subject": subject}}}))
	}
	actor := func(disabled bool, who ...string) {
		a.do("PUT", "/tenants/default/agents/"+agent, quote(map[string]any{"name": "planner", "for": who, "disabled": disabled}))
	}
	person(false)
	soon(t, g.URL, call, 401)
	if res := do(t, g.URL, ask); res.status != 400 {
		t.Errorf("a token for who was deprovisioned: %d %s", res.status, res.body)
	}
	person(true)
	soon(t, g.URL, call, 200)
	actor(true, user)
	soon(t, g.URL, call, 401)
	actor(false)
	soon(t, g.URL, bearer(key), 200) // the agent itself is back, and acts for nobody
	soon(t, g.URL, call, 401)
	actor(false, user)
	soon(t, g.URL, call, 200)
	a.do("POST", "/tenants/default/keys/"+keyID+"/revoke", "")
	soon(t, g.URL, call, 401)
	if n := len(up.Seen()); n == before {
		t.Error("nothing went on to the provider")
	}

	g.Close()
	rec := g.Record()
	for _, want := range []string{"token.exchange", `"agent":"` + agent + `"`, `"user":"` + user + `"`, "person is not active"} {
		if !strings.Contains(rec, want) {
			t.Errorf("the record does not say %s", want)
		}
	}
	for _, s := range []string{token, id} {
		if sig := s[strings.LastIndex(s, ".")+1:]; strings.Contains(rec, sig) || strings.Contains(g.Text(), sig) || len(holds(t, g.Dir, sig)) > 0 {
			t.Error("a token was kept")
		}
	}
}

func jti(t *testing.T, token string) string {
	t.Helper()
	b, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[1])
	if err != nil {
		t.Fatal(err)
	}
	var c struct{ JTI string }
	if err := json.Unmarshal(b, &c); err != nil || c.JTI == "" {
		t.Fatalf("%s, %v", b, err)
	}
	return c.JTI
}

// soon3 waits for a token: the first key is published for three seconds before it signs.
func soon3(t *testing.T, url string, r request) got {
	t.Helper()
	for start := time.Now(); ; time.Sleep(50 * time.Millisecond) { // a poll of another's work, bounded
		res := do(t, url, r)
		if res.status != 503 || time.Since(start) > 15*time.Second {
			return res
		}
		if res.header.Get("Retry-After") == "" {
			t.Errorf("%v", res.header)
		}
	}
}

func TestExchangeWithZitadel(t *testing.T) {
	port := idptest.Port(t)
	const back = "http://127.0.0.1:1/callback" // nobody listens there: the browser stops before
	idptest.StartZitadel(t, port, back)
	testExchange(t, fmt.Sprintf("http://localhost:%d/", port), "web", "secret", "id1", back, map[string]string{"username": "test-user@localhost", "password": "verysecure"})
}

func TestExchangeWithOIDCProvider(t *testing.T) {
	const back = "http://127.0.0.1:1/callback"
	op := idptest.StartNode(t, back)
	testExchange(t, op.Issuer(), "sallyport", "a-secret-of-the-test", "ada", back, map[string]string{"login": "ada", "password": "any"})
}

// Where the exchange is off nothing answers, and nothing that was sent there goes on to a provider.
func TestExchangeIsOff(t *testing.T) {
	t.Setenv("PROVIDER_KEY", "sk-of-the-provider")
	up := gatetest.NewUpstream(t)
	g := gatetest.Start(t, up, fmt.Sprintf(`
iam: {mode: keys}
proxy:
  allow_private: [127.0.0.0/8]
  upstreams:
    - {name: openai, dialect: openai, base_url: %q, credential: {env: PROVIDER_KEY}}
`, up.URL))
	_, key := administer(t, g).key("")
	soon(t, g.URL, bearer(key), 200)
	before := len(up.Seen())
	for _, r := range []request{exchanging(key, "a.b.c"), {method: "GET", target: exchange.KeysPath}} {
		if res := do(t, g.URL, r); res.status != 404 {
			t.Errorf("%s: %d %s", r.target, res.status, res.body)
		}
	}
	if n := len(up.Seen()); n != before {
		t.Error("it went on to the provider")
	}
}

// Two gateways on one PostgreSQL take each other's tokens, have one set of keys, and refuse who was
// deprovisioned at either; the database holds no key that could sign.
func TestTwoGatewaysExchange(t *testing.T) {
	pg := pgtest.Start(t)
	t.Setenv("DATABASE", pg.Database(t))
	t.Setenv("PROVIDER_KEY", "sk-of-the-provider")
	dir := t.TempDir()
	pepper, master := keep(t, dir, "pepper", "a pepper that two gateways share"), keep(t, dir, "master", "K7gNU3sdo+OL0wNhqoVWhr3g6s1xYv72ol/pe/Unols=")
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	doc, _ := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: k.Public(), KeyID: "k", Use: "sig"}}})
	up := gatetest.NewUpstream(t)
	const issuer = "https://corp.example"
	yaml := exchangeConfig(up, issuer, keep(t, dir, "keys.json", string(doc)), "app", fmt.Sprintf("\n  database: {env: DATABASE}\n  pepper: {file: %q}\n  master_key: {file: %q}", pepper, master))
	gates := [2]*gatetest.Gate{gatetest.Start(t, up, yaml), gatetest.Start(t, up, yaml)}
	a := administer(t, gates[0])
	user, _, _, key := delegation(a, issuer, "p")
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: k, KeyID: "k"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now().Unix()
	j, err := s.Sign([]byte(fmt.Sprintf(`{"iss":%q,"sub":"p","aud":"app","iat":%d,"exp":%d}`, issuer, now, now+600)))
	if err != nil {
		t.Fatal(err)
	}
	id, _ := j.CompactSerialize()
	for _, g := range gates {
		soon(t, g.URL, bearer(key), 200)
	}
	var tokens []string
	for i, g := range gates {
		token := issued(t, soon3(t, g.URL, exchanging(key, id)))
		tokens = append(tokens, token)
		for n, other := range gates {
			if res := do(t, other.URL, bearer(token)); res.status != 200 {
				t.Errorf("the token of gateway %d at gateway %d: %d %s", i, n, res.status, res.body)
			}
		}
	}
	if one, two := fetch(t, gates[0].URL+exchange.KeysPath), fetch(t, gates[1].URL+exchange.KeysPath); string(one) != string(two) {
		t.Errorf("%s and %s", one, two)
	}
	// All keys are replaced: the tokens end at once, and new ones are issued a moment later.
	if n := a.do("POST", "/system/signing-keys/rotate", "")["ended"]; n != 1.0 {
		t.Errorf("%v keys ended", n)
	}
	for _, g := range gates {
		soon(t, g.URL, bearer(tokens[0]), 401)
	}
	tokens = []string{issued(t, soon3(t, gates[0].URL, exchanging(key, id)))}
	for _, g := range gates {
		soon(t, g.URL, bearer(tokens[0]), 200)
	}
	administer(t, gates[1]).do("PUT", "/tenants/default/users/"+user, quote(map[string]any{"user_name": "p", "name": "P", "active": false, "links": []map[string]string{{"provider": "corp", "issuer": issuer, "subject": "p"}}}))
	for _, g := range gates {
		for _, token := range tokens {
			soon(t, g.URL, bearer(token), 401)
		}
	}
}
