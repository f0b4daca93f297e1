package test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/cookiejar"
	"os"
	"os/exec"
	"strings"
	"testing"

	"sallyport.dev/sallyport/test/gatetest"
)

// browser is somebody's browser at the console: it keeps cookies.
type browser struct {
	t   failer
	url string
	c   *http.Client
}

// failer is a test, or a story.
type failer interface {
	Helper()
	Fatal(...any)
	Fatalf(string, ...any)
}

func newBrowser(t failer, url string) *browser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &browser{t, url, &http.Client{Jar: jar}}
}

func (b *browser) send(method, path, body string, set ...string) (int, map[string]any) {
	b.t.Helper()
	r, err := http.NewRequest(method, b.url+"/admin/v1"+path, strings.NewReader(body))
	if err != nil {
		b.t.Fatal(err)
	}
	if method != "GET" {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(set); i += 2 {
		r.Header.Set(set[i], set[i+1])
	}
	res, err := b.c.Do(r)
	if err != nil {
		b.t.Fatal(err)
	}
	defer res.Body.Close()
	text, _ := io.ReadAll(res.Body)
	var m map[string]any
	_ = json.Unmarshal(text, &m)
	return res.StatusCode, m
}

func (b *browser) must(status int, method, path, body string, set ...string) map[string]any {
	b.t.Helper()
	got, m := b.send(method, path, body, set...)
	if got != status {
		b.t.Fatalf("%s %s: %d %v, want %d", method, path, got, m, status)
	}
	return m
}

// oathtool is somebody's authenticator: a real one.
func oathtool(t *testing.T, seed, when string) string {
	t.Helper()
	out, err := exec.Command("oathtool", "--totp", "--base32", "--now="+when, seed).Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

// The first owner's story: a link, a password, an authenticator, and what each of them may do.
func TestTheFirstOwner(t *testing.T) {
	if _, err := exec.LookPath("oathtool"); err != nil {
		if os.Getenv("SALLYPORT_TEST_REQUIRE") == "all" {
			t.Fatalf("oathtool: %v", err)
		}
		t.Skipf("oathtool: %v", err)
	}
	up := gatetest.NewUpstream(t)
	g := gatetest.Start(t, up, "console: {address: \"127.0.0.1:0\"}\n")
	a := administer(t, g)
	url := "http://" + g.Server.ConsoleAddr().String()
	owner := a.do("POST", "/tenants/default/users", `{"user_name":"ada","name":"Ada","active":true}`)["id"].(string)
	a.do("POST", "/tenants/default/bindings", `{"subject_kind":"user","subject":"`+owner+`","role":"owner"}`)
	_, link, _ := strings.Cut(a.do("POST", "/tenants/default/users/"+owner+"/invite", "")["link"].(string), "#")

	b := newBrowser(t, url)
	b.must(401, "GET", "/me", "")
	b.must(422, "POST", "/signin/link", `{"link":"`+link+`","password":"password1"}`)
	step := b.must(200, "POST", "/signin/link", `{"link":"`+link+`","password":"a walk along the quay"}`)
	if step["next"] != "enrol" {
		t.Fatalf("%v", step)
	}
	b.must(401, "GET", "/me", "") // a password alone is nobody yet
	newBrowser(t, url).must(401, "POST", "/signin/link", `{"link":"`+link+`","password":"a walk along the quay"}`)
	ticket := step["ticket"].(string)
	seed := b.must(200, "POST", "/signin/enrol", `{"ticket":"`+ticket+`"}`)["seed"].(string)
	b.must(401, "POST", "/signin/confirm", `{"ticket":"`+ticket+`","code":"000000"}`)
	done := b.must(200, "POST", "/signin/confirm", `{"ticket":"`+ticket+`","code":"`+oathtool(t, seed, "now")+`"}`)
	if done["next"] != "done" || len(done["recovery"].([]any)) != 10 {
		t.Fatalf("%v", done)
	}
	me := b.must(200, "GET", "/me", "")
	if u := me["user"].(map[string]any); u["user_name"] != "ada" || len(me["amr"].([]any)) < 2 {
		t.Errorf("%v", me)
	}

	// What they may do; and from another site's page, nothing.
	b.must(201, "POST", "/tenants/default/teams", `{"name":"Research"}`)
	b.must(403, "POST", "/tenants/default/teams", `{"name":"Evil"}`, "Origin", "https://evil.example", "Sec-Fetch-Site", "cross-site")
	b.must(415, "POST", "/tenants/default/teams", `{"name":"Evil"}`, "Content-Type", "text/plain")
	b.must(404, "GET", "/tenants/system/keys", "")
	sessions := b.must(200, "GET", "/me/sessions", "")["items"].([]any)
	if len(sessions) != 1 {
		t.Fatalf("%v", sessions)
	}

	// A second browser: the password, then the authenticator; a code works once.
	second := newBrowser(t, url)
	second.must(401, "POST", "/signin", `{"user_name":"ada","password":"a walk along the key"}`)
	second.must(401, "POST", "/signin", `{"user_name":"nobody","password":"a walk along the quay"}`)
	step = second.must(200, "POST", "/signin", `{"user_name":"ADA","password":"a walk along the quay"}`)
	if step["next"] != "second" {
		t.Fatalf("%v", step)
	}
	code := oathtool(t, seed, "+30 seconds")
	second.must(200, "POST", "/signin/second", `{"ticket":"`+step["ticket"].(string)+`","code":"`+code+`"}`)
	step = newBrowser(t, url).must(200, "POST", "/signin", `{"user_name":"ada","password":"a walk along the quay"}`)
	newBrowser(t, url).must(401, "POST", "/signin/second", `{"ticket":"`+step["ticket"].(string)+`","code":"`+code+`"}`)

	// Ended from the other one, it is out at once; deprovisioned, everybody is.
	for _, s := range b.must(200, "GET", "/me/sessions", "")["items"].([]any) {
		if s := s.(map[string]any); s["this"] != true {
			b.must(204, "DELETE", "/me/sessions/"+s["id"].(string), "")
		}
	}
	second.must(401, "GET", "/me", "")
	other := a.do("POST", "/tenants/default/users", `{"user_name":"grace","name":"Grace","active":true}`)["id"].(string)
	a.do("POST", "/tenants/default/bindings", `{"subject_kind":"user","subject":"`+other+`","role":"owner"}`)
	a.do("PUT", "/tenants/default/users/"+owner, `{"user_name":"ada","name":"Ada","active":false}`)
	b.must(401, "GET", "/me", "")
	b.must(401, "POST", "/signin", `{"user_name":"ada","password":"a walk along the quay"}`)

	g.Close()
	for _, s := range []string{"a walk along the quay", seed, code, link} {
		if f := holds(t, g.Dir, s); len(f) > 0 || strings.Contains(g.Log.String(), s) {
			t.Errorf("%.4s... is in %v or in the log", s, f)
		}
	}
}
