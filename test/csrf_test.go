package test

import (
	"fmt"
	"net/http"
	"testing"

	"sallyport.dev/sallyport/test/gatetest"
)

// What another site's page can have a browser send, with the person's own cookie, changes nothing (OWASP
// ASVS 5.0.0, 3.5.1 to 3.5.3). The cookie is SameSite=Lax besides; here a browser that sends it anyway is
// assumed.
func TestRequestsOfOtherSites(t *testing.T) {
	yaml, origin := local(t, "")
	g := gatetest.Start(t, gatetest.NewUpstream(t), yaml)
	a, at := administer(t, g), consoleOf(g)
	h := newHolder(t, a, origin, at, "ada")
	a.do("POST", "/tenants/default/bindings", `{"subject_kind":"user","subject":"`+h.id+`","role":"owner"}`)
	b := h.signIn(newBrowser(t, at))
	const (
		form      = "application/x-www-form-urlencoded"
		multipart = "multipart/form-data; boundary=x"
		plain     = "text/plain"
	)
	made := 0
	for i, c := range []struct {
		what   string
		status int
		set    []string
	}{
		{"the console's own page", 201, []string{"Sec-Fetch-Site", "same-origin", "Origin", at}},
		{"no page: the person", 201, []string{"Sec-Fetch-Site", "none"}},
		{"a program, which has no such headers", 201, nil},
		{"an old browser on the own page", 201, []string{"Origin", at}},
		{"a program, in UTF-8", 201, []string{"Content-Type", "application/json; charset=utf-8"}},

		{"fetch of another site", 403, []string{"Sec-Fetch-Site", "cross-site", "Origin", "https://evil.example"}},
		{"fetch of another site, without Origin", 403, []string{"Sec-Fetch-Site", "cross-site"}},
		{"fetch of a sub-domain", 403, []string{"Sec-Fetch-Site", "same-site", "Origin", "http://x.localhost"}},
		{"fetch of a sub-domain, without Origin", 403, []string{"Sec-Fetch-Site", "same-site"}},
		{"fetch of another port", 403, []string{"Sec-Fetch-Site", "same-site", "Origin", "http://localhost:1"}},
		{"a site that is not known", 403, []string{"Sec-Fetch-Site", "something-new"}},
		{"a site in capitals", 403, []string{"Sec-Fetch-Site", "CROSS-SITE"}},
		{"an old browser on another site", 403, []string{"Origin", "https://evil.example"}},
		{"an old browser on a sub-domain", 403, []string{"Origin", "http://x." + at[len("http://"):]}},
		{"an old browser on another port", 403, []string{"Origin", "http://localhost:1"}},
		{"an old browser in a sandbox", 403, []string{"Origin", "null"}},
		{"a form of another site", 403, []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Origin", "https://evil.example", "Content-Type", form}},
		{"a form of another site in an old browser", 403, []string{"Origin", "https://evil.example", "Content-Type", form}},
		{"a form of a sandbox", 403, []string{"Origin", "null", "Content-Type", multipart}},
		{"a form of who hides where it is", 415, []string{"Content-Type", form}},
		{"a form with files", 415, []string{"Content-Type", multipart}},
		{"text, as no-cors fetch sends", 415, []string{"Content-Type", plain}},
		{"text that says JSON", 415, []string{"Content-Type", plain + "; application/json"}},
		{"no type", 415, []string{"Content-Type", ""}},
		{"a form of the own page", 415, []string{"Sec-Fetch-Site", "same-origin", "Origin", at, "Content-Type", form}},
	} {
		status, answer := b.send("POST", "/tenants/default/teams", fmt.Sprintf(`{"name":"t%d"}`, i), c.set...)
		if status != c.status {
			t.Errorf("%s: %d %v, want %d", c.what, status, answer, c.status)
		}
		if c.status == 201 {
			made++
		}
	}
	if teams := b.must(200, "GET", "/tenants/default/teams", "")["items"].([]any); len(teams) != made {
		t.Errorf("%d teams, want %d", len(teams), made)
	}
	// Every other way to change something, too: the check is before the routes.
	for _, c := range [][2]string{{"POST", "/me/sign-out"}, {"DELETE", "/me/sessions"}, {"PUT", "/tenants/default/users/" + h.id}, {"DELETE", "/tenants/default/users/" + h.id},
		{"POST", "/signin"}, {"POST", "/signin/passkey"}, {"PATCH", "/me"}, {"POST", "/nowhere"}} {
		if status, _ := b.send(c[0], c[1], "", "Sec-Fetch-Site", "cross-site"); status != http.StatusForbidden {
			t.Errorf("%s %s: %d", c[0], c[1], status)
		}
	}
	b.must(200, "GET", "/me", "")
}
