package federated_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"sallyport.dev/sallyport/internal/console/federated"
	"sallyport.dev/sallyport/internal/iam/datakeys"
	"sallyport.dev/sallyport/internal/iam/document"
	"sallyport.dev/sallyport/internal/iam/session"
	"sallyport.dev/sallyport/internal/iam/sso"
	"sallyport.dev/sallyport/internal/secret"
	"sallyport.dev/sallyport/internal/secret/envelope"
	"sallyport.dev/sallyport/internal/store/memory"
)

type sealer struct{ ring *envelope.Keyring }

func (s sealer) Seal(_ context.Context, tenant, row, column string, v secret.String) ([]byte, error) {
	return s.ring.Seal(tenant, envelope.Place{Table: sso.KindSecret, Row: row, Column: column}, v)
}

func (s sealer) Open(_ context.Context, tenant, row, column string, b []byte) (secret.String, error) {
	return s.ring.Open(tenant, envelope.Place{Table: sso.KindSecret, Row: row, Column: column}, b)
}

// What strangers send: nobody comes in, nothing is told, no page of ours runs or frames anything, and the
// cookie of a sign-in under way is spent, whatever came of it. The stories in test/ hold what goes well.
func TestStrangers(t *testing.T) {
	docs := &memory.Documents{}
	kek, err := envelope.ParseKEK(secret.New(fmt.Sprintf("%x", sha256.Sum256([]byte("a key of this test")))))
	if err != nil {
		t.Fatal(err)
	}
	ring, err := envelope.New(t.Context(), envelope.Options{Store: datakeys.Store{Docs: docs}, Current: kek})
	if err != nil {
		t.Fatal(err)
	}
	sessions, err := session.New(session.Options{Store: docs})
	if err != nil {
		t.Fatal(err)
	}
	events := 0
	service, err := sso.New(sso.Options{
		Docs: docs, Sealer: sealer{ring}, Sessions: sessions, CookieKey: make([]byte, 32), Base: func() string { return "https://console.example" },
		Client: func(string) (*http.Client, error) {
			return &http.Client{Transport: away{}}, nil
		}, Event: func(_ context.Context, e sso.Event) {
			if events++; e.OK {
				t.Errorf("%+v", e)
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := document.Insert(t.Context(), docs, sso.Provider{ID: "idp_1", Tenant: "acme", Name: "corp", Title: "Corp", Protocol: sso.OIDC, Issuer: "https://login.example", ClientID: "us"}); err != nil {
		t.Fatal(err)
	}
	var faults []error
	h := federated.Handler(federated.Options{Service: service, Sessions: sessions, Secure: true, Home: "/console/", Fault: func(err error) { faults = append(faults, err) }})
	big := "SAMLResponse=" + strings.Repeat("A", 2<<20)
	for name, c := range map[string]struct {
		method, path, body string
		status             int
		fault              bool // it could not be judged
	}{
		"no such provider":         {"GET", "acme/nosuch/start", "", 303, false},
		"another tenant":           {"GET", "other/corp/start", "", 303, false},
		"the provider is away":     {"GET", "acme/corp/start", "", 303, true},
		"a callback of nobody":     {"GET", "acme/corp/callback?code=x&state=y", "", 303, false},
		"a step-up of nobody":      {"GET", "acme/corp/step-up", "", 303, false},
		"no response":              {"POST", "acme/corp/acs", "", 303, false},
		"two responses":            {"POST", "acme/corp/acs", "SAMLResponse=a&SAMLResponse=b", 303, false},
		"a response in the query":  {"POST", "acme/corp/acs?SAMLResponse=a", "", 303, false},
		"2 MB":                     {"POST", "acme/corp/acs", big, 303, false},
		"SAML at another protocol": {"POST", "acme/corp/acs", "SAMLResponse=a", 303, false},
		"acs by GET":               {"GET", "acme/corp/acs?SAMLResponse=a", "", 405, false},
		"callback by POST":         {"POST", "acme/corp/callback", "code=x", 405, false},
		"metadata":                 {"GET", "acme/corp/metadata", "", 404, false},
		"a logout of nothing":      {"POST", "acme/corp/logout", "", 400, false},
		"two logouts":              {"POST", "acme/corp/logout", "logout_token=a&logout_token=b", 400, false},
		"a logout of nobody":       {"POST", "acme/nosuch/logout", "logout_token=a", 400, false},
		"a forged logout":          {"POST", "acme/corp/logout", "logout_token=eyJhbGciOiJub25lIn0.e30.", 400, false},
	} {
		t.Run(name, func(t *testing.T) {
			faults = nil
			r := httptest.NewRequest(c.method, sso.Path+c.path, strings.NewReader(c.body))
			if c.method == http.MethodPost {
				r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			}
			r.AddCookie(&http.Cookie{Name: "__Host-sallyport-sso", Value: "forged"})
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if w.Code != c.status || (len(faults) > 0) != c.fault {
				t.Errorf("%d %v", w.Code, faults)
			}
			if to := w.Header().Get("Location"); c.status == 303 && to != "/console/#failed" && !strings.HasSuffix(c.path, "step-up") {
				t.Errorf("to %q", to)
			}
			for k, want := range map[string]string{"Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'", "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"} {
				if got := w.Header().Get(k); got != want {
					t.Errorf("%s: %q", k, got)
				}
			}
			u, _ := url.Parse("https://console.example" + sso.Path + c.path)
			back := strings.HasSuffix(u.Path, "/callback") || strings.HasSuffix(u.Path, "/acs")
			cookies := w.Result().Cookies()
			if spent := len(cookies) == 1 && cookies[0].Name == "__Host-sallyport-sso" && cookies[0].MaxAge < 0; spent != (back && c.status == 303) {
				t.Errorf("cookies %v", cookies)
			}
		})
	}
	if events == 0 {
		t.Error("the record says nothing")
	}
	all, err := document.List[session.Session](t.Context(), docs, nil)
	if err != nil || len(all) != 0 {
		t.Error(all, err)
	}
}

// away is a network without the provider.
type away struct{}

func (away) RoundTrip(*http.Request) (*http.Response, error) { return nil, errors.New("away") }
