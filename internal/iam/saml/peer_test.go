package saml

import (
	"encoding/base64"
	"slices"
	"strings"
	"testing"
	"time"

	"sallyport.dev/sallyport/internal/iam/federation"
	"sallyport.dev/sallyport/internal/iam/federation/idptest"
)

const localACS = "http://127.0.0.1:1/signin/corp" // nobody listens there: the browser stops before

// simplesaml runs SimpleSAMLphp with one person, ada, for what these tests ask of it.
type simplesaml struct {
	t *testing.T
	*idptest.SimpleSAML
}

func startSimpleSAML(t *testing.T) *simplesaml {
	t.Helper()
	return &simplesaml{t, idptest.StartSimpleSAML(t, `
$metadata['`+spID+`'] = ['AssertionConsumerService' => '`+localACS+`', 'NameIDFormat' => 'urn:oasis:names:tc:SAML:2.0:nameid-format:persistent', 'saml20.sign.response' => true];
$metadata['`+spID+`/encrypted'] = ['AssertionConsumerService' => '`+localACS+`', 'assertion.encryption' => true, 'certificate' => 'idp.crt'];
$metadata['`+spID+`/sha1'] = ['AssertionConsumerService' => '`+localACS+`', 'signature.algorithm' => 'http://www.w3.org/2000/09/xmldsig#rsa-sha1'];`)}
}

func (s *simplesaml) service(entityID string) *Provider {
	s.t.Helper()
	idp, err := ParseMetadata(s.Metadata(), s.URL()+"/idp", time.Now())
	if err != nil {
		s.t.Fatal(err)
	}
	sealer, err := federation.NewSealer(make([]byte, 32))
	if err != nil {
		s.t.Fatal(err)
	}
	o := Options{Name: "corp", EntityID: entityID, ACS: localACS, IdP: *idp, Sealer: sealer, Once: federation.NewMemory(0, nil), Loopback: true}
	if entityID != spID {
		o.Subject = "uid"
	}
	p, err := New(o)
	if err != nil {
		s.t.Fatal(err)
	}
	return p
}

func (s *simplesaml) browser() *idptest.Browser {
	return idptest.NewBrowser(s.t, localACS, map[string]string{"username": "ada", "password": "right"})
}

func through(t *testing.T, p *Provider, b *idptest.Browser, ask federation.Ask) (*federation.Signed, string, error) {
	t.Helper()
	pending, err := p.Start(t.Context(), ask)
	if err != nil {
		t.Fatal(err)
	}
	_, post := b.Visit(pending.URL)
	s, err := p.Finish(t.Context(), post.Get("SAMLResponse"), pending.Cookie)
	if err == nil {
		_, again := p.Finish(t.Context(), post.Get("SAMLResponse"), pending.Cookie)
		refused(t, again)
	}
	return s, post.Get("SAMLResponse"), err
}

// The story of a person at SimpleSAMLphp: sign-in with groups, a second one that asks nothing, a
// step-up that asks for the password again, and a new key.
func TestSimpleSAMLphp(t *testing.T) {
	idp := startSimpleSAML(t)
	p := idp.service(spID)
	b := idp.browser()
	began := time.Now().Add(-2 * time.Second)
	s, raw, err := through(t, p, b, federation.Ask{Return: "/home"})
	if err != nil {
		doc, _ := base64.StdEncoding.DecodeString(raw)
		t.Fatalf("%v: %s", err, doc)
	}
	if s.Issuer != idp.URL()+"/idp" || len(s.Subject) < 16 || s.Name != "Ada Lovelace" || s.Email != "ada@example.test" || !slices.Equal(s.Groups, []string{"staff", "admins & owners"}) ||
		s.AuthTime.Before(began) || !strings.Contains(s.ACR, "Password") || s.Session == "" || s.SessionEnds.Before(time.Now()) || s.Return != "/home" || s.Raw["department"][0] != "R&D" {
		t.Errorf("%+v", s)
	}
	again, _, err := through(t, p, b, federation.Ask{})
	if err != nil || again.Key() != s.Key() || b.Passwords != 1 {
		t.Errorf("%+v, %v, %d passwords", again, err, b.Passwords)
	}
	up, _, err := through(t, p, b, federation.Ask{StepUp: true, Issuer: s.Issuer, Subject: s.Subject})
	if err != nil || !up.StepUp || b.Passwords != 2 || up.AuthTime.Before(s.AuthTime) {
		t.Errorf("%+v, %v, %d passwords", up, err, b.Passwords)
	}
	idp.Rotate()
	_, _, err = through(t, p, b, federation.Ask{})
	refused(t, err, "another key")
	if _, _, err = through(t, idp.service(spID), b, federation.Ask{}); err != nil {
		t.Error(err)
	}
}

// What it can be set to send, and must not be taken.
func TestSimpleSAMLphpRefused(t *testing.T) {
	idp := startSimpleSAML(t)
	_, _, err := through(t, idp.service(spID+"/encrypted"), idp.browser(), federation.Ask{})
	refused(t, err, "encrypted, which is not supported")
	_, _, err = through(t, idp.service(spID+"/sha1"), idp.browser(), federation.Ask{})
	refused(t, err, "not accepted")
	// The attacks on a response that a real provider signed.
	p := idp.service(spID)
	pending, err := p.Start(t.Context(), federation.Ask{})
	if err != nil {
		t.Fatal(err)
	}
	_, post := idp.browser().Visit(pending.URL)
	good, err := base64.StdEncoding.DecodeString(post.Get("SAMLResponse"))
	if err != nil {
		t.Fatal(err)
	}
	for name, bad := range map[string]string{
		"a group":   strings.Replace(string(good), ">staff<", ">owner<", 1),
		"a comment": strings.Replace(string(good), ">staff<", ">st<!-- -->aff<", 1),
		"a wrapped assertion": func() string {
			doc := read(t, good)
			a := doc.Root().FindElement("./Assertion")
			doc.Root().InsertChildAt(a.Index(), unsigned(evil(a)))
			return string(write(t, doc))
		}(),
		"no response signature": func() string {
			doc := read(t, good)
			doc.Root().RemoveChild(doc.Root().FindElement("./Signature"))
			a := doc.Root().FindElement("./Assertion")
			a.RemoveChild(a.FindElement("./Signature"))
			return string(write(t, doc))
		}(),
	} {
		if bad == string(good) {
			t.Fatalf("%s: nothing was changed", name)
		}
		_, err := p.Finish(t.Context(), base64.StdEncoding.EncodeToString([]byte(bad)), pending.Cookie)
		refused(t, err)
	}
	if _, err := p.Finish(t.Context(), post.Get("SAMLResponse"), pending.Cookie); err != nil {
		t.Error(err)
	}
}
