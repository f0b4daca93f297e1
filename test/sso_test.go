package test

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"sallyport.dev/sallyport/internal/iam/federation/idptest"
	"sallyport.dev/sallyport/test/gatetest"
)

// elsewhere is somebody's browser that signs in at an identity provider.
type elsewhere struct {
	*browser
	b *idptest.Browser
}

func newElsewhere(t *testing.T, console string, fill map[string]string) *elsewhere {
	t.Helper()
	b := idptest.NewBrowser(t, "", fill)
	b.Home = console + "/console/"
	b.Client().Transport = &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	return &elsewhere{&browser{t, console, b.Client()}, b}
}

// visit goes to a page of the console and on, until it is back. It says whether the sign-in failed.
func (e *elsewhere) visit(path string) (failed bool) {
	e.t.Helper()
	at, _ := e.b.Visit(e.url + path)
	return at.Fragment == "failed"
}

func (e *elsewhere) in(path string) {
	e.t.Helper()
	if e.visit(path) {
		e.t.Fatalf("%s failed", path)
	}
}

// roles are what somebody may see: the teams of their tenant, its bindings.
func (e *elsewhere) may(method, path, body string) int {
	e.t.Helper()
	status, _ := e.send(method, path, body)
	return status
}

func quote(s any) string {
	b, _ := json.Marshal(s)
	return string(b)
}

// gone waits until a request is refused as nobody's, and says how long that took.
func gone(t *testing.T, what string, status func() int) {
	t.Helper()
	began := time.Now()
	for status() != http.StatusUnauthorized {
		if time.Since(began) > 2*time.Second {
			t.Fatalf("%s: still in after two seconds", what)
		}
		time.Sleep(5 * time.Millisecond) // another process's change has no other sign here
	}
	t.Logf("%s: out after %v", what, time.Since(began).Round(time.Millisecond))
}

// A person signs in with zitadel's example provider: refused while nobody is linked to the account, let in
// once somebody is; what the groups give is what the mappings make of them.
func TestSignInWithZitadel(t *testing.T) {
	console, op := idptest.Port(t), idptest.Port(t)
	url := idptest.Local(console)
	idptest.StartZitadel(t, op, url+"/console/sso/default/corp/callback")
	g := gatetest.Start(t, gatetest.NewUpstream(t), fmt.Sprintf("console: {address: \"127.0.0.1:%d\"}\n", console))
	a := administer(t, g)
	issuer := fmt.Sprintf("http://localhost:%d/", op)
	made := a.do("POST", "/tenants/default/identity-providers", quote(map[string]any{
		"name": "corp", "title": "Corp <b>", "protocol": "oidc", "issuer": issuer, "client_id": "web", "client_secret": "secret", "user_info": true,
		"scopes": []string{"profile", "email", "custom_scope"}, "groups": "custom_claim/other",
	}))
	if text := quote(made); strings.Contains(text, `"secret"`) || made["has_secret"] != true {
		t.Fatalf("%s", text)
	}
	a.do("POST", "/tenants/default/mappings", `{"provider":"corp","group":"stuff","role":"auditor"}`)

	who := map[string]string{"username": "test-user@localhost", "password": "verysecure"}
	e := newElsewhere(t, url, who)
	if got := e.must(200, "GET", "/signin/providers?tenant=default", "")["items"].([]any); len(got) != 1 {
		t.Fatalf("%v", got)
	}
	if !e.visit("/console/sso/default/corp/start") || e.may("GET", "/me", "") != 401 {
		t.Fatal("somebody whom nobody knows is let in")
	}
	user := a.do("POST", "/tenants/default/users", quote(map[string]any{
		"user_name": "test", "name": "Test", "active": true, "links": []map[string]string{{"provider": "corp", "issuer": issuer, "subject": "id1"}},
	}))["id"].(string)
	e.in("/console/sso/default/corp/start")
	me := e.must(200, "GET", "/me", "")
	if me["user"].(map[string]any)["id"] != user || fmt.Sprint(me["amr"]) != "[pwd]" {
		t.Fatalf("%v", me)
	}
	// An auditor reads all and changes nothing; one factor makes nothing fresh.
	if s := e.may("GET", "/tenants/default/bindings", ""); s != 200 {
		t.Errorf("an auditor cannot read: %d", s)
	}
	if s := e.may("POST", "/tenants/default/teams", `{"name":"x"}`); s != 403 {
		t.Errorf("an auditor changes things: %d", s)
	}
	// The provider showed no second factor, so the step-up is refused.
	if !e.visit("/console/sso/default/corp/step-up") || e.must(200, "GET", "/me", "")["fresh"] != nil {
		t.Error("a password alone steps up")
	}
	// With a denial for the same group the role is gone, and so is the session from before.
	a.do("POST", "/tenants/default/mappings", `{"provider":"corp","group":"st*","role":"auditor","deny":true}`)
	if s := e.may("GET", "/me", ""); s != 401 {
		t.Errorf("the session from before the change still works: %d", s)
	}
	e.in("/console/sso/default/corp/start")
	if s := e.may("GET", "/tenants/default/bindings", ""); s != 403 {
		t.Errorf("the denial does not win: %d", s)
	}
	// Switched off, they are out and stay out.
	a.do("PUT", "/tenants/default/users/"+user, quote(map[string]any{
		"user_name": "test", "name": "Test", "active": false, "links": []map[string]string{{"provider": "corp", "issuer": issuer, "subject": "id1"}},
	}))
	gone(t, "a person who was switched off", func() int { return e.may("GET", "/me", "") })
	if !e.visit("/console/sso/default/corp/start") {
		t.Error("somebody who was switched off signs in")
	}
	text := g.Record()
	for _, want := range []string{"nobody here has this account", "the person was switched off", "the provider showed no second factor", "sso.roles_changed"} {
		if !strings.Contains(text, want) {
			t.Errorf("the record does not say %q", want)
		}
	}
	if strings.Contains(text, "verysecure") {
		t.Error("a password is in the record")
	}
}

// oidc-provider, which is certified: people are made at their first sign-in, a step-up asks for the
// password again, a logout there ends the session here, another group is another role.
func TestSignInWithOIDCProvider(t *testing.T) {
	console := idptest.Port(t)
	url := idptest.Local(console)
	op := idptest.StartNode(t, url+"/console/sso/default/corp/callback", "BACKCHANNEL="+url+"/console/sso/default/corp/logout", "ACR=urn:two")
	g := gatetest.Start(t, gatetest.NewUpstream(t), fmt.Sprintf("console: {address: \"127.0.0.1:%d\"}\n", console))
	a := administer(t, g)
	a.do("POST", "/tenants/default/identity-providers", quote(map[string]any{
		"name": "corp", "protocol": "oidc", "issuer": op.Issuer(), "client_id": "sallyport", "client_secret": "a-secret-of-the-test", "user_info": true,
		"scopes": []string{"profile", "email", "groups"}, "create": true, "strong_acr": []string{"urn:two"},
	}))
	a.do("POST", "/tenants/default/mappings", `{"provider":"corp","group":"admins","role":"admin"}`)
	e := newElsewhere(t, url, map[string]string{"login": "ada", "password": "any", "logout": "yes"})
	e.in("/console/sso/default/corp/start")
	me := e.must(200, "GET", "/me", "")
	if u := me["user"].(map[string]any); u["user_name"] != "ada@example.test" || u["origin"] != "oidc" || u["name"] != "Name of ada" {
		t.Fatalf("%v", me)
	}
	e.must(201, "POST", "/tenants/default/teams", `{"name":"Research"}`)
	// What is dangerous wants a fresh second factor, which only the provider can show.
	role := `{"name":"reader","permissions":["read:team"]}`
	if got := e.must(403, "POST", "/tenants/default/roles", role); got["code"] != "step_up_required" {
		t.Fatalf("%v", got)
	}
	before := e.b.Passwords
	old := e.b.Client().Jar.Cookies(mustURL(t, url))
	e.in("/console/sso/default/corp/step-up")
	if e.b.Passwords != before+1 {
		t.Errorf("the step-up asked for %d passwords", e.b.Passwords-before)
	}
	e.must(201, "POST", "/tenants/default/roles", role)
	stolen := newBrowser(t, url)
	stolen.c.Jar.SetCookies(mustURL(t, url), old)
	stolen.must(401, "GET", "/me", "") // the token from before the step-up is dead

	// Somebody else's step-up does not raise this session.
	e.b.Fill["login"] = "eve"
	other := newElsewhere(t, url, map[string]string{"login": "eve", "password": "any"})
	other.in("/console/sso/default/corp/start")
	other.must(200, "GET", "/me", "")

	// The provider ends the session over the back channel.
	e.b.Home = op.Issuer() + "/session/end/success"
	e.b.Fill["login"] = "ada"
	e.b.Visit(op.Issuer() + "/session/end")
	gone(t, "back-channel logout", func() int { return e.may("GET", "/me", "") })
	e.b.Home = url + "/console/"
	other.must(200, "GET", "/me", "")

	// Without the group the role goes at the next sign-in, and the session that had it.
	e.in("/console/sso/default/corp/start")
	second := newElsewhere(t, url, map[string]string{"login": "ada", "password": "any"})
	op.Restart("k1", "GROUPS=staff")
	second.in("/console/sso/default/corp/start")
	second.must(403, "POST", "/tenants/default/teams", `{"name":"More"}`)
	e.must(401, "GET", "/me", "")

	// A forged logout token ends nobody's session.
	res, err := http.PostForm(url+"/console/sso/default/corp/logout", map[string][]string{"logout_token": {"eyJhbGciOiJub25lIn0.e30."}})
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusBadRequest {
		t.Errorf("a forged logout token: %d", res.StatusCode)
	}
	second.must(200, "GET", "/me", "")
	// The provider is switched off: so is everybody who came with it.
	id := a.do("GET", "/tenants/default/identity-providers", "")["items"].([]any)[0].(map[string]any)["id"].(string)
	a.do("DELETE", "/tenants/default/identity-providers/"+id, "")
	second.must(401, "GET", "/me", "")
	if !second.visit("/console/sso/default/corp/start") {
		t.Error("a provider that is gone signs people in")
	}
}

func mustURL(t *testing.T, s string) *url.URL {
	t.Helper()
	u, err := url.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// SimpleSAMLphp, over TLS: the answer comes as a post from another site, which is taken there and nowhere
// else; a post that nobody asked for, or one for another browser, lets nobody in.
func TestSignInWithSAML(t *testing.T) {
	console := idptest.Port(t)
	url := fmt.Sprintf("https://127.0.0.1:%d", console)
	cert, key, _ := certificate(t)
	here := url + "/console/sso/default/corp/"
	idp := idptest.StartSimpleSAML(t, `$metadata['`+here+`metadata'] = ['AssertionConsumerService' => '`+here+`acs', 'NameIDFormat' => 'urn:oasis:names:tc:SAML:2.0:nameid-format:persistent', 'saml20.sign.response' => true];`)
	g := gatetest.Start(t, gatetest.NewUpstream(t), fmt.Sprintf("console: {address: \"127.0.0.1:%d\", tls: {cert: %q, key: %q}}\n", console, cert, key))
	a := administer(t, g)
	a.do("POST", "/tenants/default/identity-providers", quote(map[string]any{
		"name": "corp", "protocol": "saml", "issuer": idp.URL() + "/idp", "metadata": string(idp.Metadata()), "create": true,
	}))
	a.do("POST", "/tenants/default/mappings", `{"provider":"corp","group":"staff","role":"admin"}`)
	a.do("POST", "/tenants/default/mappings", `{"provider":"corp","group":"admins & owners","role":"admin","deny":true}`)
	a.do("POST", "/tenants/default/mappings", `{"provider":"corp","group":"staff","role":"auditor"}`)

	who := map[string]string{"username": "ada", "password": "right"}
	e := newElsewhere(t, url, who)
	e.in("/console/sso/default/corp/start")
	me := e.must(200, "GET", "/me", "")
	if u := me["user"].(map[string]any); u["origin"] != "saml" || u["name"] != "Ada Lovelace" || u["user_name"] != "ada@example.test" {
		t.Fatalf("%v", me)
	}
	if e.may("GET", "/tenants/default/bindings", "") != 200 || e.may("POST", "/tenants/default/teams", `{"name":"x"}`) != 403 {
		t.Error("the denial of a group does not win over another's role")
	}

	// What the provider posts, caught before it arrives.
	e.b.Stop = here + "acs"
	at, post := e.b.Visit(here + "start")
	for what, c := range map[string]struct {
		client *http.Client
		site   string
		body   string
		in     bool
	}{
		"in another browser": {newElsewhere(t, url, who).c, "cross-site", post.Encode(), false},
		"changed":            {e.c, "cross-site", strings.Replace(post.Encode(), "SAMLResponse=", "SAMLResponse=A", 1), false},
		"nothing":            {e.c, "cross-site", "", false},
	} {
		req, _ := http.NewRequest(http.MethodPost, at.String(), strings.NewReader(c.body))
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.Header.Set("Sec-Fetch-Site", c.site)
		req.Header.Set("Origin", idp.URL())
		res, err := c.client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, res.Body)
		res.Body.Close()
		if !strings.HasSuffix(res.Header.Get("Location"), "#failed") || strings.Contains(fmt.Sprint(res.Header["Set-Cookie"]), "__Host-sallyport=") {
			t.Errorf("%s: %d %v", what, res.StatusCode, res.Header)
		}
	}
	// Everywhere else a post from another site is refused.
	req, _ := http.NewRequest(http.MethodPost, url+"/admin/v1/me/sign-out", nil)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Sec-Fetch-Site", "cross-site")
	res, err := e.c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusForbidden {
		t.Errorf("a post of another site: %d", res.StatusCode)
	}
	// Our own description is what the provider was given.
	res, err = e.c.Get(here + "metadata")
	if err != nil {
		t.Fatal(err)
	}
	b, _ := io.ReadAll(res.Body)
	res.Body.Close()
	if !bytes.Contains(b, []byte(here+"acs")) {
		t.Errorf("%s", b)
	}
}
