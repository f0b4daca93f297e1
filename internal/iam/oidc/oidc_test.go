package oidc

import (
	"errors"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"sallyport.dev/sallyport/internal/iam/federation"
	"sallyport.dev/sallyport/internal/secret"
)

func TestSignIn(t *testing.T) {
	for _, alg := range []jose.SignatureAlgorithm{jose.ES256, jose.RS256, jose.PS256, jose.EdDSA} {
		t.Run(string(alg), func(t *testing.T) {
			r := newRig(t)
			r.op.rotate("k", alg)
			s, err := r.signIn(federation.Ask{Return: "/keys"})
			if err != nil {
				t.Fatal(err)
			}
			if s.Provider != "corp" || s.Issuer != r.op.issuer() || s.Subject != "u-1" || s.Name != "Ada" || s.Email != "ada@example.test" || !s.EmailVerified ||
				!slices.Equal(s.Groups, []string{"staff", "admins"}) || !slices.Equal(s.AMR, []string{"pwd", "otp"}) || s.ACR != "mfa" ||
				!s.AuthTime.Equal(r.clock.now()) || s.Session != "s-1" || s.Return != "/keys" || s.StepUp || s.Raw["department"][0] != "R&D" || len(s.Raw) != 1 {
				t.Errorf("%+v", s)
			}
		})
	}
}

// The identity is issuer and subject: whoever has the same address is not the same person.
func TestEmailIsNotTheIdentity(t *testing.T) {
	r := newRig(t)
	a, err := r.signIn(federation.Ask{})
	if err != nil {
		t.Fatal(err)
	}
	r.op.claims = func(c map[string]any) { c["sub"] = "u-2" }
	b, err := r.signIn(federation.Ask{})
	if err != nil {
		t.Fatal(err)
	}
	if a.Email != b.Email || a.Key() == b.Key() {
		t.Errorf("%q and %q", a.Key(), b.Key())
	}
}

func TestPublicClientAndPostedSecret(t *testing.T) {
	r := newRig(t, func(o *Options) { o.ClientSecret = secret.String{} })
	if _, err := r.signIn(federation.Ask{}); err == nil {
		t.Error("the provider wants a secret")
	}
	r = newRig(t)
	r.op.discovery = func(d map[string]any) {
		d["token_endpoint_auth_methods_supported"] = []string{"private_key_jwt"}
	}
	if _, err := r.Start(t.Context(), federation.Ask{}); err == nil || !strings.Contains(err.Error(), "client_secret") {
		t.Errorf("%v", err)
	}
}

func TestStepUp(t *testing.T) {
	r := newRig(t)
	p := r.start(federation.Ask{StepUp: true, ACR: []string{"mfa", "phr"}, Hint: "ada"})
	u, _ := url.Parse(p.URL)
	if q := u.Query(); q.Get("prompt") != "login" || q.Get("max_age") != "0" || q.Get("acr_values") != "mfa phr" || q.Get("login_hint") != "ada" {
		t.Error(p.URL)
	}
	s, err := r.Finish(t.Context(), r.op.authorize(p.URL), p.Cookie)
	if err != nil || !s.StepUp {
		t.Fatal(err)
	}
	// The person who takes prompt and max_age out of the URL is not authenticated again.
	for name, c := range map[string]struct {
		ask    federation.Ask
		claims func(map[string]any)
	}{
		"old auth_time":      {federation.Ask{StepUp: true}, func(c map[string]any) { c["auth_time"] = r.clock.now().Add(-time.Minute).Unix() }},
		"no auth_time":       {federation.Ask{StepUp: true}, func(c map[string]any) { delete(c, "auth_time") }},
		"auth_time to come":  {federation.Ask{StepUp: true}, func(c map[string]any) { c["auth_time"] = r.clock.now().Add(time.Hour).Unix() }},
		"auth_time a text":   {federation.Ask{StepUp: true}, func(c map[string]any) { c["auth_time"] = "now" }},
		"older than max_age": {federation.Ask{MaxAge: time.Hour}, func(c map[string]any) { c["auth_time"] = r.clock.now().Add(-61 * time.Minute).Unix() }},
		"no time, max_age":   {federation.Ask{MaxAge: time.Hour}, func(c map[string]any) { delete(c, "auth_time") }},
		"weaker acr":         {federation.Ask{ACR: []string{"phr"}}, nil},
		"no acr":             {federation.Ask{ACR: []string{"phr"}}, func(c map[string]any) { delete(c, "acr") }},
		"somebody else":      {federation.Ask{StepUp: true, Subject: "u-1"}, func(c map[string]any) { c["sub"] = "u-2" }},
		"another issuer":     {federation.Ask{Issuer: "https://other.test", Subject: "u-1"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			r.op.claims = c.claims
			_, err := r.signIn(c.ask)
			refused(t, err)
		})
	}
	r.op.claims = func(c map[string]any) { c["auth_time"] = r.clock.now().Add(-59 * time.Minute).Unix() }
	if _, err := r.signIn(federation.Ask{MaxAge: time.Hour, Subject: "u-1"}); err != nil {
		t.Error(err)
	}
}

func refused(t *testing.T, err error) {
	t.Helper()
	var r *federation.Refusal
	if !errors.As(err, &r) {
		t.Errorf("expected a refusal, not %v", err)
	}
}

func failed(t *testing.T, err error) {
	t.Helper()
	var r *federation.Refusal
	if err == nil || errors.As(err, &r) {
		t.Errorf("expected a failure, not %v", err)
	}
}

func TestGroups(t *testing.T) {
	many := make([]string, federation.MaxGroups+1)
	for i := range many {
		many[i] = "g" + strings.Repeat("x", i%7)
	}
	for name, c := range map[string]struct {
		value any
		want  []string
	}{
		"one":             {"staff", []string{"staff"}},
		"none":            {[]string{}, nil},
		"not there":       {nil, nil},
		"too many":        {many, []string{"refused"}},
		"a number":        {[]any{"a", 1}, []string{"refused"}},
		"an object":       {map[string]any{"a": 1}, []string{"refused"}},
		"a line break":    {[]string{"a\nb"}, []string{"refused"}},
		"right to left":   {[]string{"a\u202eb"}, []string{"refused"}},
		"empty":           {[]string{""}, []string{"refused"}},
		"too long":        {[]string{strings.Repeat("g", federation.MaxGroup+1)}, []string{"refused"}},
		"comma, space, é": {[]string{"CN=Équipe A,OU=x"}, []string{"CN=Équipe A,OU=x"}},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, func(o *Options) { o.Groups = []string{"realm", "roles"} })
			r.op.claims = func(m map[string]any) { m["realm"] = map[string]any{"roles": c.value} }
			s, err := r.signIn(federation.Ask{})
			if slices.Equal(c.want, []string{"refused"}) {
				refused(t, err)
			} else if err != nil || !slices.Equal(s.Groups, c.want) {
				t.Errorf("%v, %v", s, err)
			}
		})
	}
}

// A provider that leaves the groups out because they are too many may have left one out that denies.
func TestGroupsElsewhere(t *testing.T) {
	r := newRig(t)
	r.op.claims = func(m map[string]any) {
		delete(m, "groups")
		m["_claim_names"] = map[string]any{"groups": "src1"}
		m["_claim_sources"] = map[string]any{"src1": map[string]any{"endpoint": r.op.issuer() + "/elsewhere"}}
	}
	_, err := r.signIn(federation.Ask{})
	refused(t, err)
	if r.op.asked("/elsewhere") != 0 {
		t.Error("an address out of a token was asked")
	}
}

func TestUserInfo(t *testing.T) {
	r := newRig(t, func(o *Options) { o.UserInfo = true })
	r.op.claims = func(m map[string]any) { delete(m, "groups"); delete(m, "email"); delete(m, "name") }
	r.op.userinfo = map[string]any{"sub": "u-1", "groups": []string{"eng"}, "name": "Ada L", "email": "a@b.test", "email_verified": "true", "zone": "eu"}
	s, err := r.signIn(federation.Ask{})
	if err != nil || !slices.Equal(s.Groups, []string{"eng"}) || s.Name != "Ada L" || s.Email != "a@b.test" || s.EmailVerified || s.Raw["zone"][0] != "eu" {
		t.Fatalf("%+v, %v", s, err)
	}
	if r.op.bearer != "Bearer at-1" {
		t.Error(r.op.bearer)
	}
	r.op.claims = nil // what the ID token says counts
	if s, err = r.signIn(federation.Ask{}); err != nil || !slices.Equal(s.Groups, []string{"staff", "admins"}) || s.Name != "Ada" {
		t.Fatalf("%+v, %v", s, err)
	}
	for name, sub := range map[string]any{"somebody else": "u-2", "nobody": nil, "a number": 1} {
		r.op.userinfo["sub"] = sub
		_, err = r.signIn(federation.Ask{})
		if refused(t, err); t.Failed() {
			t.Fatal(name)
		}
	}
}

func TestLogoutURL(t *testing.T) {
	r := newRig(t)
	u, err := r.LogoutURL(t.Context(), "https://gateway.test/")
	if err != nil || u != r.op.issuer()+"/logout?client_id=client&post_logout_redirect_uri=https%3A%2F%2Fgateway.test%2F&x=1" {
		t.Errorf("%s, %v", u, err)
	}
}

func TestOptions(t *testing.T) {
	r := newRig(t)
	for name, f := range map[string]func(*Options){
		"no name":            func(o *Options) { o.Name = "" },
		"name":               func(o *Options) { o.Name = "A b" },
		"plain http":         func(o *Options) { o.Issuer = "http://idp.test" },
		"loopback is off":    func(o *Options) { o.Loopback = false },
		"issuer with query":  func(o *Options) { o.Issuer = "https://idp.test/?x" },
		"issuer with user":   func(o *Options) { o.Issuer = "https://a@idp.test/" },
		"no client":          func(o *Options) { o.ClientID = "" },
		"no HTTP client":     func(o *Options) { o.Client = nil },
		"no sealer":          func(o *Options) { o.Sealer = nil },
		"no once":            func(o *Options) { o.Once = nil },
		"symmetric":          func(o *Options) { o.Algs = []string{"HS256"} },
		"none":               func(o *Options) { o.Algs = []string{"none"} },
		"skew":               func(o *Options) { o.Skew = time.Hour },
		"redirect over http": func(o *Options) { o.RedirectURL = "http://gateway.test/x" },
		"group path":         func(o *Options) { o.Groups = []string{"a", ""} },
	} {
		o := r.o
		f(&o)
		if _, err := New(o); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
