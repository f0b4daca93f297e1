package oidc

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sallyport.dev/sallyport/internal/iam/federation"
	"sallyport.dev/sallyport/internal/iam/federation/idptest"
	"sallyport.dev/sallyport/internal/secret"
)

func TestMain(m *testing.M) {
	code := m.Run()
	idptest.Remove()
	os.Exit(code)
}

const callback = "http://127.0.0.1:1/signin/corp" // nobody listens there: the browser stops before

func relying(t *testing.T, o Options) *Provider {
	t.Helper()
	o.Name, o.RedirectURL, o.Loopback, o.Client = "corp", callback, true, &http.Client{}
	o.Sealer, o.Once = sealer(t), federation.NewMemory(0, nil)
	p, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// through signs in with a browser.
func through(t *testing.T, p *Provider, b *idptest.Browser, ask federation.Ask) *federation.Signed {
	t.Helper()
	pending, err := p.Start(t.Context(), ask)
	if err != nil {
		t.Fatal(err)
	}
	back, _ := b.Visit(pending.URL)
	s, err := p.Finish(t.Context(), back.Query(), pending.Cookie)
	if err != nil {
		t.Fatalf("%v, after %s", err, back)
	}
	if _, err := p.Finish(t.Context(), back.Query(), pending.Cookie); err == nil {
		t.Error("the response is good for two sign-ins")
	}
	return s
}

func startZitadel(t *testing.T, port int) *idptest.Process {
	t.Helper()
	return idptest.StartZitadel(t, port, callback)
}

// The story of a person at zitadel's example provider.
func TestZitadel(t *testing.T) {
	port := idptest.Port(t)
	op := startZitadel(t, port)
	issuer := fmt.Sprintf("http://localhost:%d/", port)
	var ahead atomic.Int64
	p := relying(t, Options{
		Now:    func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) },
		Issuer: issuer, ClientID: "web", ClientSecret: secret.New("secret"), UserInfo: true,
		Scopes: []string{"profile", "email", "custom_scope"}, Groups: []string{"custom_claim", "other"},
	})
	who := map[string]string{"username": "test-user@localhost", "password": "verysecure"}
	began := time.Now().Add(-time.Second)
	s := through(t, p, idptest.NewBrowser(t, callback, who), federation.Ask{Return: "/home"})
	if s.Issuer != issuer || s.Subject != "id1" || s.Name != "Test User" || s.Email != "test-user@zitadel.ch" || !s.EmailVerified ||
		!slices.Equal(s.Groups, []string{"stuff"}) || !slices.Equal(s.AMR, []string{"pwd"}) || s.AuthTime.Before(began) || s.Return != "/home" {
		t.Errorf("%+v", s)
	}
	b := idptest.NewBrowser(t, callback, who)
	if s = through(t, p, b, federation.Ask{StepUp: true, Issuer: issuer, Subject: "id1"}); !s.StepUp || b.Passwords != 1 {
		t.Errorf("%+v, %d passwords", s, b.Passwords)
	}
	// It comes back with another key, while a person is at its page.
	pending, err := p.Start(t.Context(), federation.Ask{})
	if err != nil {
		t.Fatal(err)
	}
	op.Stop()
	startZitadel(t, port)
	back, _ := idptest.NewBrowser(t, callback, who).Visit(pending.URL)
	ahead.Store(int64(keysAgain))
	if _, err := p.Finish(t.Context(), back.Query(), pending.Cookie); err != nil {
		t.Error(err)
	}
	if u, err := p.LogoutURL(t.Context(), ""); err != nil || !strings.HasPrefix(u, issuer+"end_session?client_id=web") {
		t.Errorf("%s, %v", u, err)
	}
}

func TestZitadelRefuses(t *testing.T) {
	port := idptest.Port(t)
	startZitadel(t, port)
	p := relying(t, Options{Issuer: fmt.Sprintf("http://localhost:%d/", port), ClientID: "web", ClientSecret: secret.New("wrong")})
	who := map[string]string{"username": "test-user@localhost", "password": "verysecure"}
	pending, err := p.Start(t.Context(), federation.Ask{})
	if err != nil {
		t.Fatal(err)
	}
	back, _ := idptest.NewBrowser(t, callback, who).Visit(pending.URL)
	if _, err = p.Finish(t.Context(), back.Query(), pending.Cookie); err == nil || strings.Contains(err.Error(), "wrong") {
		t.Errorf("with a wrong secret: %v", err)
	}
	// Its PKCE is real: the code of one sign-in with the verifier of another.
	p = relying(t, Options{Issuer: p.o.Issuer, ClientID: "web", ClientSecret: secret.New("secret")})
	one, err1 := p.Start(t.Context(), federation.Ask{})
	two, err2 := p.Start(t.Context(), federation.Ask{})
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	back, _ = idptest.NewBrowser(t, callback, who).Visit(one.URL)
	u, _ := url.Parse(two.URL)
	q := back.Query()
	q.Set("state", u.Query().Get("state"))
	_, err = p.Finish(t.Context(), q, two.Cookie)
	refused(t, err)
	// Without its slash the issuer is another one.
	p = relying(t, Options{Issuer: strings.TrimSuffix(p.o.Issuer, "/"), ClientID: "web", ClientSecret: secret.New("secret")})
	_, err = p.Start(t.Context(), federation.Ask{})
	failed(t, err)
}

// The story of a person at oidc-provider, which is certified: sign-in with groups, a step-up that
// asks for the password again, a new key, and a logout that comes over the back channel.
func TestNodeProvider(t *testing.T) {
	tokens := make(chan string, 4)
	ours := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { tokens <- r.PostFormValue("logout_token") }))
	defer ours.Close()
	op := idptest.StartNode(t, callback, "BACKCHANNEL="+ours.URL+"/logout")
	var ahead atomic.Int64
	o := Options{
		Now:    func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) },
		Issuer: op.Issuer(), ClientID: "sallyport", ClientSecret: secret.New("a-secret-of-the-test"),
		Scopes: []string{"profile", "email", "groups"}, UserInfo: true,
	}
	p := relying(t, o)
	who := map[string]string{"login": "ada", "password": "any", "logout": "yes"}
	b := idptest.NewBrowser(t, callback, who)
	s := through(t, p, b, federation.Ask{MaxAge: time.Hour})
	if s.Issuer != op.Issuer() || s.Subject != "ada" || s.Name != "Name of ada" || s.Email != "ada@example.test" || !s.EmailVerified ||
		!slices.Equal(s.Groups, []string{"staff", "admins"}) || s.AuthTime.IsZero() || s.Session == "" {
		t.Errorf("%+v", s)
	}
	// The same browser again: the provider knows the person and asks nothing.
	if s = through(t, p, b, federation.Ask{}); s.Subject != "ada" || b.Passwords != 1 {
		t.Errorf("%+v, %d passwords", s, b.Passwords)
	}
	before := s.AuthTime
	if s = through(t, p, b, federation.Ask{StepUp: true, Issuer: op.Issuer(), Subject: "ada"}); b.Passwords != 2 || s.AuthTime.Before(before) {
		t.Errorf("%+v, %d passwords", s, b.Passwords)
	}
	// The sid of this sign-in ends over the back channel.
	s = through(t, p, b, federation.Ask{})
	out, err := p.LogoutURL(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	b.Stop = op.Issuer() + "/session/end/success"
	b.Visit(out)
	var token string
	select {
	case token = <-tokens:
	case <-time.After(20 * time.Second): // another process
		t.Fatal("no logout token came")
	}
	l, err := p.Logout(t.Context(), token)
	if err != nil || l.Subject != "ada" || l.Session != s.Session {
		t.Errorf("%+v, %v; expected the session %s", l, err, s.Session)
	}

	// Another key, mid-login.
	b = idptest.NewBrowser(t, callback, who)
	pending, err := p.Start(t.Context(), federation.Ask{})
	if err != nil {
		t.Fatal(err)
	}
	op.Restart("k2")
	back, _ := b.Visit(pending.URL)
	ahead.Store(int64(keysAgain))
	if _, err := p.Finish(t.Context(), back.Query(), pending.Cookie); err != nil {
		t.Error(err)
	}
}

// With its claims in the ID token, and a person who says no.
func TestNodeProviderIDToken(t *testing.T) {
	op := idptest.StartNode(t, callback, "IN_ID_TOKEN=1")
	p := relying(t, Options{
		Issuer: op.Issuer(), ClientID: "sallyport", ClientSecret: secret.New("a-secret-of-the-test"), Scopes: []string{"profile", "groups"},
	})
	b := idptest.NewBrowser(t, callback, map[string]string{"login": "eve", "password": "any"})
	if s := through(t, p, b, federation.Ask{}); !slices.Equal(s.Groups, []string{"staff", "admins"}) || s.Name != "Name of eve" {
		t.Errorf("%+v", s)
	}
	// prompt=none without a session there is an error response, with state and iss.
	pending, err := p.Start(t.Context(), federation.Ask{})
	if err != nil {
		t.Fatal(err)
	}
	back, _ := idptest.NewBrowser(t, callback, nil).Visit(pending.URL + "&prompt=none")
	_, err = p.Finish(t.Context(), back.Query(), pending.Cookie)
	refused(t, err)
	if !strings.Contains(err.Error(), "login_required") {
		t.Error(err)
	}
}
