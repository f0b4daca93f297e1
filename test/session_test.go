package test

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	vwa "github.com/descope/virtualwebauthn"

	"sallyport.dev/sallyport/internal/iam/passkey/passkeytest"
	"sallyport.dev/sallyport/internal/iam/session"
	"sallyport.dev/sallyport/internal/store/pgtest"
	"sallyport.dev/sallyport/test/gatetest"
)

// holder is somebody with a security key, whichever browser they use.
type holder struct {
	t    *testing.T
	id   string
	site vwa.RelyingParty
	auth vwa.Authenticator
	cred vwa.Credential
}

// local makes a console whose passkeys are for one address of this machine.
func local(t *testing.T, more string) (yaml, origin string) {
	port := freePort(t)
	origin = fmt.Sprintf("http://localhost:%d", port)
	return fmt.Sprintf("console: {address: \"localhost:%d\", public_url: %q}\n%s", port, origin, more), origin
}

func consoleOf(g *gatetest.Gate) string { return "http://" + g.Server.ConsoleAddr().String() }

// newHolder makes a person with a passkey.
func newHolder(t *testing.T, a *administrator, origin, at, name string) *holder {
	t.Helper()
	id := a.do("POST", "/tenants/default/users", `{"user_name":"`+name+`","name":"`+name+`","active":true}`)["id"].(string)
	_, link, _ := strings.Cut(a.do("POST", "/tenants/default/users/"+id+"/invite", "")["link"].(string), "#")
	h := &holder{t, id, vwa.RelyingParty{ID: "localhost", Origin: origin}, vwa.NewAuthenticatorWithOptions(vwa.AuthenticatorOptions{UserHandle: []byte(id)}), passkeytest.Credential()}
	b := newBrowser(t, at)
	step := b.must(200, "POST", "/signin/link", `{"link":"`+link+`","password":"a walk along the quay"}`)
	asked := b.must(200, "POST", "/signin/enrol/passkey", `{"ticket":"`+step["ticket"].(string)+`"}`)
	o, err := vwa.ParseAttestationOptions(quote(asked["options"]))
	if err != nil {
		t.Fatal(err)
	}
	b.must(200, "POST", "/signin/confirm/passkey", `{"ticket":"`+asked["ticket"].(string)+`","name":"key","answer":`+vwa.CreateAttestationResponse(h.site, h.auth, h.cred, *o)+`}`)
	return h
}

func (h *holder) sign(asked map[string]any) string {
	h.t.Helper()
	o, err := vwa.ParseAssertionOptions(quote(asked["options"]))
	if err != nil {
		h.t.Fatal(err)
	}
	h.cred.Counter++
	return `{"ticket":"` + asked["ticket"].(string) + `","answer":` + vwa.CreateAssertionResponse(h.site, h.auth, h.cred, *o) + `}`
}

func (h *holder) signIn(b *browser) *browser {
	h.t.Helper()
	b.must(200, "POST", "/signin/passkey/answer", h.sign(b.must(200, "POST", "/signin/passkey", "")))
	return b
}

// token is the session's, as the browser has it.
func (b *browser) token() string {
	b.t.Helper()
	u, err := url.Parse(b.url)
	if err != nil {
		b.t.Fatal(err)
	}
	for _, c := range b.c.Jar.Cookies(u) {
		if c.Name == session.PlainCookieName {
			return c.Value
		}
	}
	return ""
}

// plant is a browser that has a token of somebody else's choice.
func plant(t *testing.T, at, token string) *browser {
	t.Helper()
	b := newBrowser(t, at)
	u, err := url.Parse(at)
	if err != nil {
		t.Fatal(err)
	}
	b.c.Jar.SetCookies(u, []*http.Cookie{{Name: session.PlainCookieName, Value: token, Path: "/"}})
	return b
}

// A cookie from before the sign-in is worth nothing after it; one from before a step-up neither; and
// logging out everywhere is that.
func TestSessionsOfABrowser(t *testing.T) {
	yaml, origin := local(t, "")
	g := gatetest.Start(t, gatetest.NewUpstream(t), yaml)
	a, at := administer(t, g), consoleOf(g)
	h := newHolder(t, a, origin, at, "ada")

	planted := base64.RawURLEncoding.EncodeToString([]byte(strings.Repeat("known", 7))[:32])
	victim := h.signIn(plant(t, at, planted))
	if victim.token() == planted || victim.token() == "" {
		t.Fatal("the planted token was taken over")
	}
	plant(t, at, planted).must(401, "GET", "/me", "")
	victim.must(200, "GET", "/me", "")

	stolen := victim.token()
	victim.must(204, "POST", "/me/step-up/passkey/answer", h.sign(victim.must(200, "POST", "/me/step-up/passkey", "")))
	plant(t, at, stolen).must(401, "GET", "/me", "")
	victim.must(200, "GET", "/me", "")

	other, third := h.signIn(newBrowser(t, at)), h.signIn(newBrowser(t, at))
	third.must(204, "DELETE", "/me/sessions", "")
	other.must(401, "GET", "/me", "")
	victim.must(401, "GET", "/me", "")
	last := third.token()
	third.must(204, "POST", "/me/sign-out", "")
	plant(t, at, last).must(401, "GET", "/me", "")
	victim = h.signIn(newBrowser(t, at))
	a.do("DELETE", "/tenants/default/users/"+h.id+"/sessions", "")
	victim.must(401, "GET", "/me", "")
}

// Whatever changes what a person may do, a cookie stolen before is dead after it, on the node where it
// was changed at once and on the other within two seconds; also after the change was taken back.
func TestAStolenCookieAfterAChange(t *testing.T) {
	pg := pgtest.Start(t)
	t.Setenv("DATABASE", pg.Database(t))
	t.Setenv("PEPPER", "a pepper of this test, long enough for it")
	t.Setenv("MASTER", "K7gNU3sdo+OL0wNhqoVWhr3g6s1xYv72ol/pe/Unols=")
	const shared = "iam: {database: {env: DATABASE}, pepper: {env: PEPPER}, master_key: {env: MASTER}}\n"
	yaml, origin := local(t, shared)
	up := gatetest.NewUpstream(t)
	one := gatetest.Start(t, up, yaml)
	two := gatetest.Start(t, up, fmt.Sprintf("console: {address: \"localhost:0\", public_url: %q}\n%s", origin, shared))
	a := administer(t, one)
	ada, bob := newHolder(t, a, origin, consoleOf(one), "ada"), newHolder(t, a, origin, consoleOf(two), "bob")
	group := a.do("POST", "/tenants/default/groups", `{"name":"g"}`)["id"].(string)
	a.do("POST", "/tenants/default/roles", `{"name":"custom","permissions":["read:team"]}`)
	role := a.do("GET", "/tenants/default/roles", "")["items"].([]any)[0].(map[string]any)["id"].(string)
	a.do("POST", "/tenants/default/bindings", `{"subject_kind":"user","subject":"`+bob.id+`","role":"owner"}`)
	bystander := bob.signIn(newBrowser(t, consoleOf(two)))
	var binding, ofGroup string
	bind := func(kind, subject, role string) string {
		return a.do("POST", "/tenants/default/bindings", `{"subject_kind":"`+kind+`","subject":"`+subject+`","role":"`+role+`"}`)["id"].(string)
	}
	user := func(active string) {
		a.do("PUT", "/tenants/default/users/"+ada.id, `{"user_name":"ada","name":"Ada","active":`+active+`}`)
	}
	for _, c := range []struct {
		what   string
		change func()
	}{
		{"a role given", func() { binding = bind("user", ada.id, "developer") }},
		{"a role taken", func() { a.do("DELETE", "/tenants/default/bindings/"+binding, "") }},
		{"into a group", func() {
			a.do("PUT", "/tenants/default/groups/"+group, `{"name":"g","members":["`+ada.id+`"]}`)
		}},
		{"a role of the group", func() { ofGroup = bind("group", group, "custom") }},
		{"what the role permits", func() {
			a.do("PUT", "/tenants/default/roles/"+role, `{"name":"custom","permissions":["read:team","read:key"]}`)
		}},
		{"the role of the group taken", func() { a.do("DELETE", "/tenants/default/bindings/"+ofGroup, "") }},
		{"out of the group", func() { a.do("PUT", "/tenants/default/groups/"+group, `{"name":"g"}`) }},
		{"the tenant disabled, and let in again", func() {
			a.do("PUT", "/tenants/default", `{"name":"Default","disabled":true}`)
			a.do("PUT", "/tenants/default", `{"name":"Default","disabled":false}`)
		}},
		{"disabled, and let in again", func() { user("false"); user("true") }},
	} {
		if strings.HasPrefix(c.what, "the tenant") {
			bystander.must(200, "GET", "/me", "") // nothing of what was done concerns him, but this
		}
		here, there := ada.signIn(newBrowser(t, consoleOf(one))), ada.signIn(newBrowser(t, consoleOf(two)))
		there.must(200, "GET", "/me", "")
		stolen := plant(t, consoleOf(one), here.token())
		stolen.must(200, "GET", "/me", "")
		c.change()
		began := time.Now()
		if status, _ := stolen.send("GET", "/me", ""); status != 401 {
			t.Errorf("%s: a stolen cookie opens with %d", c.what, status)
		}
		for {
			status, _ := there.send("GET", "/me", "")
			if status == 401 {
				break
			}
			if time.Since(began) > 2*time.Second {
				t.Errorf("%s: on the other node it opens with %d after two seconds", c.what, status)
				break
			}
			time.Sleep(20 * time.Millisecond) // a poll of another process's work, bounded above
		}
		if took := time.Since(began); took > 50*time.Millisecond {
			t.Logf("%s: %v on the other node", c.what, took.Round(time.Millisecond))
		}
	}
	bystander = bob.signIn(newBrowser(t, consoleOf(two)))

	// Who changes what they may do themselves goes on, with another token; who else has the old one does not.
	old := bystander.token()
	bystander.must(200, "PUT", "/tenants/default/groups/"+group, `{"name":"g","members":["`+bob.id+`"]}`)
	if bystander.token() == old {
		t.Error("the token was not rotated")
	}
	plant(t, consoleOf(two), old).must(401, "GET", "/me", "")
	bystander.must(200, "GET", "/me", "")
	a.do("DELETE", "/tenants/default/users/"+ada.id, "")
	bystander.must(401, "POST", "/signin", `{"user_name":"ada","password":"a walk along the quay"}`)
}
