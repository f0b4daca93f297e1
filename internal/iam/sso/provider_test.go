package sso

import (
	"errors"
	"strings"
	"testing"

	"sallyport.dev/sallyport/internal/iam/document"
	"sallyport.dev/sallyport/internal/iam/federation"
	"sallyport.dev/sallyport/internal/secret"
)

func TestProvidersRefused(t *testing.T) {
	good := func() Provider {
		return Provider{Name: "corp", Title: "Corp", Protocol: OIDC, Issuer: issuer, ClientID: "us"}
	}
	g := good()
	if err := g.Check(); err != nil {
		t.Fatal(err)
	}
	for name, f := range map[string]func(*Provider){
		"a name for paths":        func(p *Provider) { p.Name = "../x" },
		"no name":                 func(p *Provider) { p.Name = "" },
		"a long name":             func(p *Provider) { p.Name = strings.Repeat("a", 33) },
		"a title with a line":     func(p *Provider) { p.Title = "a\nb" },
		"no title":                func(p *Provider) { p.Title = "" },
		"no issuer":               func(p *Provider) { p.Issuer = "" },
		"another scheme":          func(p *Provider) { p.Issuer = "file:///etc/passwd" },
		"a password in it":        func(p *Provider) { p.Issuer = "https://a:b@login.example" },
		"a query in it":           func(p *Provider) { p.Issuer += "?x=1" },
		"no client":               func(p *Provider) { p.ClientID = "" },
		"metadata":                func(p *Provider) { p.Metadata = "<x/>" },
		"no protocol":             func(p *Provider) { p.Protocol = "" },
		"saml without metadata":   func(p *Provider) { p.Protocol, p.ClientID = SAML, "" },
		"saml with a client":      func(p *Provider) { p.Protocol, p.Metadata = SAML, "<x/>" },
		"saml with a secret":      func(p *Provider) { p.Protocol, p.ClientID, p.Metadata, p.HasSecret = SAML, "", "<x/>", true },
		"many scopes":             func(p *Provider) { p.Scopes = make([]string, 17) },
		"a scope that is no word": func(p *Provider) { p.Scopes = []string{"a\x00"} },
		"much metadata":           func(p *Provider) { p.Protocol, p.ClientID, p.Metadata = SAML, "", strings.Repeat("x", 513<<10) },
	} {
		p := good()
		f(&p)
		if err := p.Check(); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
	b := open(t)
	for name, f := range map[string]func(*Provider){
		"an algorithm of shared keys": func(p *Provider) { p.Algorithms = []string{"HS256"} },
		"none":                        func(p *Provider) { p.Algorithms = []string{"none"} },
		"plain HTTP":                  func(p *Provider) { p.Issuer = "http://login.example" },
		"metadata that is none":       func(p *Provider) { p.Protocol, p.ClientID, p.Metadata = SAML, "", "<x/>" },
	} {
		p := good()
		p.Tenant = "acme"
		f(&p)
		if err := b.nodes[0].Try(p); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}

// A client secret is sealed, bound to its provider, in no document that is shown, and gone with it.
func TestClientSecret(t *testing.T) {
	b := open(t)
	ctx, s := t.Context(), b.nodes[0]
	sealed, err := s.Seal(ctx, "acme", "corp", secret.New("canary-of-the-test"))
	ok(t, err)
	set := func(v []byte) {
		ok(t, b.docs.Write(ctx, func(tx document.Tx) error {
			p, rev, err := document.Get[Provider](ctx, tx, "idp_1")
			if err != nil {
				return err
			}
			if err := s.SetSecret(ctx, tx, &p, v); err != nil {
				return err
			}
			_, err = document.Put(ctx, tx, p, rev)
			return err
		}))
	}
	set(sealed)
	if _, err := b.nodes[1].Start(ctx, "acme", "nosuch"); !errors.Is(err, ErrNone) {
		t.Error(err)
	}
	if _, _, err := b.nodes[1].find(ctx, "acme", "corp", OIDC); err != nil {
		t.Fatal(err)
	}
	all, _, err := b.docs.Changes(ctx, document.Position{}, 0)
	ok(t, err)
	for _, d := range all {
		if strings.Contains(string(d.Body), "canary") {
			t.Errorf("%s %s holds the secret", d.Kind, d.ID)
		}
	}
	// Moved to another provider, it does not open.
	other := b.p
	other.ID, other.Name, other.Issuer, other.HasSecret = "idp_2", "other", issuer+"/2", true
	put(b, other)
	put(b, secretRow{"idp_2", "acme", sealed})
	if _, _, err := b.nodes[0].find(ctx, "acme", "other", OIDC); err == nil {
		t.Error("a secret opens for another provider")
	}
	set(nil)
	if _, _, err := document.Get[secretRow](ctx, b.docs, "idp_1"); !errors.Is(err, document.ErrNotFound) {
		t.Error("the secret is still there: ", err)
	}
}

// A provider that is switched off, of another protocol, or of another tenant is none.
func TestNoProvider(t *testing.T) {
	b := open(t)
	ctx := t.Context()
	edit(b, "idp_1", func(p *Provider) { p.Disabled = true })
	list, err := b.nodes[0].List(ctx, "acme")
	if err != nil || len(list) != 0 {
		t.Error(list, err)
	}
	for name, f := range map[string]func() error{
		"switched off":   func() error { _, err := b.nodes[0].Start(ctx, "acme", "corp"); return err },
		"another tenant": func() error { _, err := b.nodes[0].Start(ctx, "other", "corp"); return err },
		"callback":       func() error { _, err := b.nodes[0].FinishOIDC(ctx, "acme", "corp", nil, "", From{}); return err },
		"acs":            func() error { _, err := b.nodes[0].FinishSAML(ctx, "acme", "corp", "", "", From{}); return err },
		"metadata":       func() error { _, err := b.nodes[0].Metadata(ctx, "acme", "corp"); return err },
		"logout":         func() error { return b.nodes[0].Logout(ctx, "acme", "corp", "x") },
	} {
		if err := f(); !errors.Is(err, ErrNone) {
			t.Errorf("%s: %v", name, err)
		}
	}
	edit(b, "idp_1", func(p *Provider) { p.Disabled = false })
	if _, err := b.nodes[0].FinishSAML(ctx, "acme", "corp", "", "", From{}); !errors.Is(err, ErrNone) {
		t.Error("SAML is taken by a provider of OpenID Connect: ", err)
	}
}

// The cookie of one tenant's sign-in opens for no other, even at a provider of the same name.
func TestCookiesOfTenants(t *testing.T) {
	b := open(t)
	mine, err := b.nodes[0].cookies("acme")
	ok(t, err)
	theirs, err := b.nodes[1].cookies("other")
	ok(t, err)
	l, err := federation.NewLogin(federation.Ask{}, b.now())
	ok(t, err)
	c, err := mine.Seal("oidc", "corp", l)
	ok(t, err)
	if _, err := theirs.Open("oidc", "corp", c, b.now()); err == nil {
		t.Error("a sign-in of one tenant is finished in another")
	}
	same, err := b.nodes[1].cookies("acme")
	ok(t, err)
	if _, err := same.Open("oidc", "corp", c, b.now()); err != nil {
		t.Error("another node does not finish it: ", err)
	}
}
