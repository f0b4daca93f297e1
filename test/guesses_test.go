package test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"sallyport.dev/sallyport/internal/audit/repeats"
	"sallyport.dev/sallyport/internal/iam/apikey"
	"sallyport.dev/sallyport/test/gatetest"
)

// Guessing at the console, through the running gateway: who guesses waits and is told so, whether or not there
// is such a person; the record does not grow with the guesses, and accounts for all of them.
func TestGuessesThroughTheConsole(t *testing.T) {
	g := gatetest.Start(t, gatetest.NewUpstream(t), "console: {address: \"127.0.0.1:0\"}\n")
	a, at := administer(t, g), consoleOf(g)
	a.do("POST", "/tenants/default/users", `{"user_name":"ada","name":"Ada","active":true}`)
	const guesses = 400
	send := func(method, path, body string, set ...string) (int, http.Header) {
		r, err := http.NewRequest(method, at+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/json")
		for i := 0; i < len(set); i += 2 {
			r.Header.Set(set[i], set[i+1])
		}
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, res.Body)
		res.Body.Close()
		return res.StatusCode, res.Header
	}
	statuses := map[string]map[int]int{}
	for i := range guesses {
		name := []string{"ada", "nobody"}[i%2]
		status, h := send("POST", "/admin/v1/signin", fmt.Sprintf(`{"user_name":%q,"password":"a guess, number %d"}`, name, i))
		if statuses[name] == nil {
			statuses[name] = map[int]int{}
		}
		statuses[name][status]++
		if after, err := strconv.Atoi(h.Get("Retry-After")); (status == 429) != (err == nil && after >= 1) {
			t.Errorf("%d with Retry-After %q", status, h.Get("Retry-After"))
		}
	}
	for name, s := range statuses {
		if s[401]+s[429] != guesses/2 || s[401] > 6 || s[401] == 0 {
			t.Errorf("%s: %v", name, s)
		}
	}
	stranger := apikey.Generate(apikey.NewID()).Secret().Reveal()
	for range guesses {
		if status, _ := send("GET", "/admin/v1/tenants", "", "Authorization", "Bearer "+stranger); status != 401 {
			t.Fatal(status)
		}
		if status, _ := send("GET", "/scim/v2/Users", "", "Authorization", "Bearer "+stranger); status != 401 {
			t.Fatal(status)
		}
	}
	g.Close()                 // writes what was counted
	kinds := map[string]int{} // refusals on the record, listed or counted, by event
	events := 0
	for line := range strings.Lines(g.Record()) {
		var e struct {
			Event  string            `json:"event"`
			Fields map[string]string `json:"fields"`
		}
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatal(err)
		}
		name, n := e.Event, 1
		switch {
		case name == repeats.EventCount:
			n, _ = strconv.Atoi(e.Fields["count"])
			name = e.Fields["event"]
			if e.Fields["source"] != "127.0.0.0/24" {
				t.Errorf("%v", e.Fields)
			}
			if p := e.Fields["phase"]; p != "" {
				name += " " + p
			}
		case strings.HasPrefix(name, "admin.signin."):
			name += " " + e.Fields["phase"]
		}
		kinds[name] += n
		if strings.Contains(name, "signin.") || strings.Contains(name, "denied") {
			events++
		}
	}
	for name, want := range map[string]int{"signin.password": guesses, "admin.signin.password intent": guesses, "admin.signin.password failed": guesses, "admin.denied": guesses, "scim.denied": guesses} {
		if kinds[name] != want {
			t.Errorf("%s: the record accounts for %d of %d", name, kinds[name], want)
		}
	}
	if events > 160 {
		t.Errorf("%d guesses are %d events", 3*guesses, events)
	}
	t.Logf("%d requests are %d events: %v", 3*guesses, events, kinds)
}

// What provisions does nothing else, and nothing else provisions; each in its tenant.
func TestATokenForProvisioning(t *testing.T) {
	t.Setenv("PROVIDER_KEY", "sk-of-the-provider")
	up := gatetest.NewUpstream(t)
	g := gatetest.Start(t, up, fmt.Sprintf("iam: {mode: keys}\nconsole: {address: \"127.0.0.1:0\"}\nproxy:\n  allow_private: [127.0.0.0/8]\n  upstreams:\n    - {name: openai, dialect: openai, base_url: %q, credential: {env: PROVIDER_KEY}}\n", up.URL))
	a, at := administer(t, g), consoleOf(g)
	a.do("POST", "/tenants", `{"id":"acme","name":"Acme"}`)
	token := a.do("POST", "/tenants/default/scim-tokens", `{"name":"entra"}`)["secret"].(string)
	acme := a.do("POST", "/tenants/acme/scim-tokens", `{"name":"okta"}`)["secret"].(string)
	service := a.do("POST", "/tenants/default/services", `{"name":"robot"}`)["id"].(string)
	a.do("POST", "/tenants/default/bindings", `{"subject_kind":"service","subject":"`+service+`","role":"owner"}`)
	_, admin := a.key(`,"principal":"` + service + `","features":["admin"]`)
	_, plain := a.key("")
	scim := func(token string) *provisioner { return &provisioner{t, at, token} }
	id := scim(token).must(201, "POST", "/Users", `{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"userName":"ada"}`)["id"].(string)
	for name, tok := range map[string]string{"a plain key": plain, "a key that administers": admin, "nothing": "", "a stranger's": apikey.Generate(apikey.NewID()).Secret().Reveal()} {
		if s, _ := scim(tok).send("GET", "/Users", ""); s != 401 {
			t.Errorf("%s provisions: %d", name, s)
		}
	}
	scim(acme).must(404, "GET", "/Users/"+id, "")
	scim(acme).must(404, "DELETE", "/Users/"+id, "")
	if l := scim(acme).must(200, "GET", "/Users", ""); l["totalResults"] != 0.0 {
		t.Errorf("another tenant's people: %v", l)
	}
	scim(token).must(200, "GET", "/Users/"+id, "")
	b := newBrowser(t, at)
	b.must(401, "GET", "/tenants/default/users", "", "Authorization", "Bearer "+token)
	b.must(401, "GET", "/tenants/default/users", "", "Authorization", "Bearer "+plain)
	b.must(200, "GET", "/tenants/default/users", "", "Authorization", "Bearer "+admin)
	b.must(403, "POST", "/tenants/default/bindings", `{"subject_kind":"user","subject":"`+id+`","role":"owner"}`, "Authorization", "Bearer "+admin)
	if s := callWith(t, g, token); s != http.StatusForbidden {
		t.Errorf("a token that provisions calls a model: %d", s)
	}
	soon(t, g.URL, chat(question).with("Authorization", "Bearer "+plain), 200)
}

// A key of ours in the words of a call is found like any other secret, and does not leave.
func TestAKeyOfOursElsewhere(t *testing.T) {
	up := gatetest.NewUpstream(t)
	g := gatetest.Start(t, up, "inspect:\n  policy:\n    - {category: secret, action: block}\n")
	key := apikey.Generate(apikey.NewID()).Secret().Reveal()
	res := do(t, g.URL, chat(`{"model":"m","messages":[{"role":"user","content":"My key is `+key+` and it does not work."}]}`))
	if res.status != 400 || len(up.Seen()) != 0 || strings.Contains(string(res.body), key) {
		t.Errorf("%d %s", res.status, res.body)
	}
}
