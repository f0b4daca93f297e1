package test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"sallyport.dev/sallyport/internal/iam/federation/idptest"
	"sallyport.dev/sallyport/test/gatetest"
)

// provisioner is a company's directory.
type provisioner struct {
	t          *testing.T
	url, token string
}

func (p *provisioner) send(method, path, body string) (int, map[string]any) {
	p.t.Helper()
	r, err := http.NewRequest(method, p.url+"/scim/v2"+path, strings.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+p.token)
	r.Header.Set("Content-Type", "application/scim+json")
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		p.t.Fatal(err)
	}
	defer res.Body.Close()
	b, _ := io.ReadAll(res.Body)
	var m map[string]any
	_ = json.Unmarshal(b, &m)
	return res.StatusCode, m
}

func (p *provisioner) must(status int, method, path, body string) map[string]any {
	p.t.Helper()
	got, m := p.send(method, path, body)
	if got != status {
		p.t.Fatalf("%s %s: %d %v, want %d", method, path, got, m, status)
	}
	return m
}

// callWith makes an ordinary call with a key.
func callWith(t *testing.T, g *gatetest.Gate, key string) int {
	t.Helper()
	return do(t, g.URL, chat(question).with("Authorization", "Bearer "+key)).status
}

// A directory brings a person and a group; the group has a role; the person signs in at the identity
// provider and has a key; the directory switches them off: session and key are dead within two seconds,
// although the provider would still vouch for them.
func TestProvisionedAndDeprovisioned(t *testing.T) {
	console := idptest.Port(t)
	url := idptest.Local(console)
	op := idptest.StartNode(t, url+"/console/sso/default/corp/callback")
	up := gatetest.NewUpstream(t)
	t.Setenv("PROVIDER_KEY", "sk-of-the-provider")
	g := gatetest.Start(t, up, fmt.Sprintf("iam: {mode: keys}\nconsole: {address: \"127.0.0.1:%d\"}\nproxy:\n  allow_private: [127.0.0.0/8]\n  upstreams:\n    - {name: openai, dialect: openai, base_url: %q, credential: {env: PROVIDER_KEY}}\n", console, up.URL))
	a := administer(t, g)
	made := a.do("POST", "/tenants/default/scim-tokens", `{"name":"entra"}`)
	p := &provisioner{t, url, made["secret"].(string)}
	a.do("POST", "/tenants/default/identity-providers", quote(map[string]any{
		"name": "corp", "protocol": "oidc", "issuer": op.Issuer(), "client_id": "sallyport", "client_secret": "a-secret-of-the-test", "match_external_id": true,
	}))

	// The token does nothing else, and nothing else provisions.
	_, plain := a.key("")
	if s, _ := (&provisioner{t, url, plain}).send("GET", "/Users", ""); s != 401 {
		t.Errorf("an ordinary key provisions: %d", s)
	}
	b := newBrowser(t, url)
	b.must(401, "GET", "/tenants/default/users", "", "Authorization", "Bearer "+p.token)
	if s := callWith(t, g, p.token); s != http.StatusForbidden {
		t.Errorf("a token for provisioning calls a model: %d", s)
	}

	const user = `"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"]`
	ada := p.must(201, "POST", "/Users", `{`+user+`,"userName":"ada@corp.test","externalId":"ada","name":{"givenName":"Ada","familyName":"L"}}`)["id"].(string)
	group := p.must(201, "POST", "/Groups", `{"schemas":["urn:ietf:params:scim:schemas:core:2.0:Group"],"displayName":"Admins","members":[{"value":"`+ada+`"}]}`)["id"].(string)
	a.do("POST", "/tenants/default/bindings", `{"subject_kind":"group","subject":"`+group+`","role":"admin"}`)
	e := newElsewhere(t, url, map[string]string{"login": "ada", "password": "any"})
	e.in("/console/sso/default/corp/start")
	if me := e.must(200, "GET", "/me", ""); me["user"].(map[string]any)["id"] != ada {
		t.Fatalf("%v", me)
	}
	e.must(201, "POST", "/tenants/default/teams", `{"name":"Research"}`)
	_, key := a.key(`,"principal":"` + ada + `"`)
	if s := callWith(t, g, key); s != http.StatusOK {
		t.Fatalf("a key of the person: %d", s)
	}
	// What the directory keeps, an administrator does not change.
	if s := e.may("PUT", "/tenants/default/users/"+ada, `{"user_name":"ada@corp.test","name":"Ada L","active":false}`); s != 409 {
		t.Errorf("changed behind the directory's back: %d", s)
	}
	// Out of the group: the role is gone with the session that had it.
	p.must(200, "PATCH", "/Groups/"+group, `{"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"],"Operations":[{"op":"Remove","path":"members[value eq \"`+ada+`\"]"}]}`)
	e.must(401, "GET", "/me", "")
	e.in("/console/sso/default/corp/start")
	e.must(403, "POST", "/tenants/default/teams", `{"name":"More"}`)

	// Switched off.
	p.must(200, "PATCH", "/Users/"+ada, `{"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"],"Operations":[{"op":"Replace","path":"active","value":"False"}]}`)
	gone(t, "session", func() int { return e.may("GET", "/me", "") })
	began := time.Now()
	for callWith(t, g, key) == http.StatusOK {
		if time.Since(began) > 2*time.Second {
			t.Fatal("the key of somebody who was switched off works after two seconds")
		}
	}
	t.Logf("key: dead after %v", time.Since(began).Round(time.Millisecond))
	if !e.visit("/console/sso/default/corp/start") {
		t.Error("somebody who was switched off signs in")
	}
	// Switched on again, then deleted.
	p.must(200, "PATCH", "/Users/"+ada, `{"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"],"Operations":[{"op":"Replace","path":"active","value":"True"}]}`)
	e.in("/console/sso/default/corp/start")
	p.must(204, "DELETE", "/Users/"+ada, "")
	gone(t, "session of somebody deleted", func() int { return e.may("GET", "/me", "") })
	if s := callWith(t, g, key); s == http.StatusOK {
		t.Error("the key of somebody who was deleted works")
	}
	// A token that was revoked provisions nobody.
	a.do("DELETE", "/tenants/default/scim-tokens/"+made["key"].(map[string]any)["id"].(string), "")
	if s, _ := p.send("GET", "/Users", ""); s != 401 {
		t.Errorf("a revoked token: %d", s)
	}
	text := g.Record()
	for _, want := range []string{"scim.users.create", "scim.users.patch", "scim.users.delete", "scim.groups.patch", "scim.denied"} {
		if !strings.Contains(text, want) {
			t.Errorf("the record does not hold %s", want)
		}
	}
	if strings.Contains(text, p.token) {
		t.Error("the token is in the record")
	}
}
