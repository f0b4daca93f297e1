package saml

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/beevik/etree"
	dsig "github.com/russellhaering/goxmldsig"

	"sallyport.dev/sallyport/internal/iam/federation"
)

func TestSignIn(t *testing.T) {
	r := newRig(t)
	for name, f := range map[string]func(*said){
		"RSA, SHA-256":      nil,
		"RSA, SHA-512":      func(s *said) { s.method = dsig.RSASHA512SignatureMethod },
		"ECDSA":             func(s *said) { s.by = keys().ec },
		"response signed":   func(s *said) { s.whole = true },
		"no issuer outside": func(s *said) { s.response = func(el *etree.Element) { el.RemoveChildAt(0) } },
		"a declaration":     func(s *said) { s.response = func(*etree.Element) {} },
		"one-time condition": func(s *said) {
			s.assert = func(a *etree.Element) { a.FindElement("./Conditions").CreateElement("saml:OneTimeUse") }
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := r.signIn(federation.Ask{Return: "/keys"}, f)
			if err != nil {
				t.Fatal(err)
			}
			if s.Provider != "corp" || s.Issuer != idpID || s.Subject != "u-1" || s.Name != "Ada" || s.Email != "ada@example.test" || s.EmailVerified ||
				!slices.Equal(s.Groups, []string{"staff", "admins"}) || !strings.HasSuffix(s.ACR, ":PasswordProtectedTransport") || !s.AuthTime.Equal(noon) ||
				s.Session != "s-1" || !s.SessionEnds.Equal(noon.Add(8*time.Hour)) || s.Raw["department"][0] != "R&D" || len(s.Raw) != 1 || s.Return != "/keys" {
				t.Errorf("%+v", s)
			}
		})
	}
}

func TestRequest(t *testing.T) {
	r := newRig(t)
	p, req := r.begin(federation.Ask{StepUp: true, ACR: []string{"urn:mfa"}})
	if !strings.HasPrefix(p.URL, "https://idp.test/sso?SAMLRequest=") || !strings.HasSuffix(p.URL, "&tenant=1") || !p.CrossSite {
		t.Errorf("%+v", p)
	}
	if req.SelectAttrValue("ForceAuthn", "") != "true" || req.SelectAttrValue("AssertionConsumerServiceURL", "") != acsURL || req.FindElement("./Issuer").Text() != spID ||
		req.FindElement("./RequestedAuthnContext/AuthnContextClassRef").Text() != "urn:mfa" || req.FindElement("./NameIDPolicy").SelectAttrValue("Format", "") != formatPersist {
		t.Error(req)
	}
	_, second := r.begin(federation.Ask{})
	if id(req) == id(second) || len(id(req)) < 40 || second.SelectAttr("ForceAuthn") != nil {
		t.Errorf("%s, %s", id(req), id(second))
	}
}

func TestStepUp(t *testing.T) {
	r := newRig(t)
	authenticated := func(ago time.Duration) func(*said) {
		return func(s *said) {
			s.assert = func(a *etree.Element) {
				a.FindElement("./AuthnStatement").CreateAttr("AuthnInstant", r.clock.now().Add(-ago).Format(samlTime))
			}
		}
	}
	if s, err := r.signIn(federation.Ask{StepUp: true, Issuer: idpID, Subject: "u-1"}, authenticated(0)); err != nil || !s.StepUp {
		t.Error(err)
	}
	// ForceAuthn is the browser's to take out: what counts is when the person authenticated.
	_, err := r.signIn(federation.Ask{StepUp: true}, authenticated(time.Minute))
	refused(t, err, "not authenticated again")
	_, err = r.signIn(federation.Ask{}, authenticated(-time.Minute))
	refused(t, err, "future")
	_, err = r.signIn(federation.Ask{MaxAge: time.Hour}, authenticated(2*time.Hour))
	refused(t, err, "older")
	_, err = r.signIn(federation.Ask{Subject: "u-2"}, nil)
	refused(t, err, "somebody else")
	_, err = r.signIn(federation.Ask{ACR: []string{"urn:mfa"}}, nil)
	refused(t, err, "context")
}

func TestSubject(t *testing.T) {
	nameID := func(f func(*etree.Element)) func(*said) {
		return func(s *said) { s.assert = func(a *etree.Element) { f(a.FindElement("./Subject/NameID")) } }
	}
	r := newRig(t)
	for name, c := range map[string]struct {
		f   func(*etree.Element)
		why string
	}{
		"transient":          {func(n *etree.Element) { n.CreateAttr("Format", formatTransient) }, "transient"},
		"email":              {func(n *etree.Element) { n.CreateAttr("Format", formatEmail) }, "email"},
		"another service's":  {func(n *etree.Element) { n.CreateAttr("SPNameQualifier", "https://other.test") }, "another service"},
		"another provider's": {func(n *etree.Element) { n.CreateAttr("NameQualifier", "https://other.test") }, "another provider"},
		"empty":              {func(n *etree.Element) { n.SetText("") }, "subject"},
		"a line break":       {func(n *etree.Element) { n.SetText("u-1\nroot") }, "subject"},
		"an element in it":   {func(n *etree.Element) { n.CreateElement("x") }, "not text"},
		"too long":           {func(n *etree.Element) { n.SetText(strings.Repeat("u", 300)) }, "subject"},
		"gone":               {func(n *etree.Element) { n.Parent().RemoveChild(n) }, "NameID"},
		"two":                {func(n *etree.Element) { n.Parent().AddChild(n.Copy()) }, "NameID"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := r.signIn(federation.Ask{}, nameID(c.f))
			refused(t, err, c.why)
		})
	}
	// An attribute says who it is: then the NameID does not matter.
	r = newRig(t, func(o *Options) { o.Subject = "department" })
	s, err := r.signIn(federation.Ask{}, nameID(func(n *etree.Element) { n.CreateAttr("Format", formatTransient) }))
	if err != nil || s.Subject != "R&D" {
		t.Errorf("%+v, %v", s, err)
	}
	r = newRig(t, func(o *Options) { o.Subject = "groups" })
	_, err = r.signIn(federation.Ask{}, nil)
	refused(t, err, "one value")
	r = newRig(t, func(o *Options) { o.Subject = "missing" })
	_, err = r.signIn(federation.Ask{}, nil)
	refused(t, err, "subject")
}

func TestAttributes(t *testing.T) {
	r := newRig(t)
	groups := func(a *etree.Element) *etree.Element {
		return a.FindElement("./AttributeStatement/Attribute[@Name='groups']")
	}
	for name, c := range map[string]struct {
		f   func(a *etree.Element)
		why string
	}{
		"an element":   {func(a *etree.Element) { groups(a).CreateElement("saml:AttributeValue").CreateElement("x") }, "plain text"},
		"a line break": {func(a *etree.Element) { groups(a).CreateElement("saml:AttributeValue").SetText("a\nb") }, "group"},
		"twice":        {func(a *etree.Element) { a.FindElement("./AttributeStatement").AddChild(groups(a).Copy()) }, "twice"},
		"elsewhere":    {func(a *etree.Element) { groups(a).CreateAttr("Name", groupsElsewhere) }, "too many"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := r.signIn(federation.Ask{}, func(s *said) { s.assert = c.f })
			refused(t, err, c.why)
		})
	}
	s, err := r.signIn(federation.Ask{}, func(s *said) {
		s.assert = func(a *etree.Element) {
			groups(a).CreateElement("saml:AttributeValue")
			groups(a).CreateAttr("Name", "roles")
		}
	})
	if err != nil || len(s.Groups) != 0 || len(s.Raw["roles"]) != 2 {
		t.Errorf("%+v, %v", s, err)
	}
}

func TestMetadata(t *testing.T) {
	r := newRig(t)
	raw, err := r.Metadata()
	if err != nil {
		t.Fatal(err)
	}
	el := read(t, raw).Root()
	sp := el.FindElement("./SPSSODescriptor")
	if el.SelectAttrValue("entityID", "") != spID || sp.SelectAttrValue("WantAssertionsSigned", "") != "true" ||
		sp.FindElement("./AssertionConsumerService").SelectAttrValue("Location", "") != acsURL {
		t.Errorf("%s", raw)
	}
	if _, err := ParseMetadata(raw, "", noon); err == nil {
		t.Error("ours is no identity provider's")
	}
}

func TestOptions(t *testing.T) {
	r := newRig(t)
	for name, f := range map[string]func(*Options){
		"no name":        func(o *Options) { o.Name = "" },
		"no entity":      func(o *Options) { o.EntityID = "" },
		"same entity":    func(o *Options) { o.EntityID = idpID },
		"http":           func(o *Options) { o.ACS = "http://gateway.test/" },
		"http sso":       func(o *Options) { o.IdP.SSO = "http://127.0.0.1/" },
		"javascript":     func(o *Options) { o.IdP.SSO = "javascript:alert(1)" },
		"no certificate": func(o *Options) { o.IdP.Certificates = nil },
		"no sealer":      func(o *Options) { o.Sealer = nil },
		"no once":        func(o *Options) { o.Once = nil },
		"skew":           func(o *Options) { o.Skew = time.Hour },
	} {
		o := r.o
		f(&o)
		if _, err := New(o); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
