package saml

import (
	"bytes"
	"compress/flate"
	"context"
	"encoding/base64"
	"fmt"
	"net/url"
	"time"

	"github.com/beevik/etree"

	"sallyport.dev/sallyport/internal/iam/federation"
)

const (
	bindingPOST     = "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-POST"
	bindingRedirect = "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect"
	formatPersist   = "urn:oasis:names:tc:SAML:2.0:nameid-format:persistent"
	formatTransient = "urn:oasis:names:tc:SAML:2.0:nameid-format:transient"
	formatEmail     = "urn:oasis:names:tc:SAML:1.1:nameid-format:emailAddress"
	formatEntity    = "urn:oasis:names:tc:SAML:2.0:nameid-format:entity"
	samlTime        = "2006-01-02T15:04:05Z"
)

// Start begins a sign-in. The caller sends the browser to Pending.URL with the cookie, which must
// come back with a POST from the provider's site.
func (p *Provider) Start(_ context.Context, ask federation.Ask) (*federation.Pending, error) {
	now := p.o.Now()
	l, err := federation.NewLogin(ask, now)
	if err != nil {
		return nil, err
	}
	l.Request = "_" + federation.Random() // an xs:ID may not start with a digit
	doc, err := p.request(l, now)
	if err != nil {
		return nil, err
	}
	// The HTTP-Redirect binding (bindings section 3.4).
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, flate.BestCompression)
	if err != nil {
		return nil, fmt.Errorf("saml: write request: %w", err)
	}
	if _, err := w.Write(doc); err != nil {
		return nil, fmt.Errorf("saml: write request: %w", err)
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("saml: write request: %w", err)
	}
	u, err := url.Parse(p.o.IdP.SSO)
	if err != nil {
		return nil, fmt.Errorf("saml: write request: %w", err)
	}
	q := u.Query()
	q.Set("SAMLRequest", base64.StdEncoding.EncodeToString(b.Bytes()))
	u.RawQuery = q.Encode()
	cookie, err := p.o.Sealer.Seal(protocol, p.o.Name, l)
	if err != nil {
		return nil, err
	}
	return &federation.Pending{URL: u.String(), Cookie: cookie, CrossSite: true, Expires: l.Expires}, nil
}

func (p *Provider) request(l *federation.Login, now time.Time) ([]byte, error) {
	doc := etree.NewDocument()
	r := doc.CreateElement("samlp:AuthnRequest")
	for _, a := range [][2]string{
		{"xmlns:samlp", nsProtocol}, {"xmlns:saml", nsAssertion}, {"ID", l.Request}, {"Version", "2.0"}, {"IssueInstant", now.UTC().Format(samlTime)},
		{"Destination", p.o.IdP.SSO}, {"AssertionConsumerServiceURL", p.o.ACS}, {"ProtocolBinding", bindingPOST},
	} {
		r.CreateAttr(a[0], a[1])
	}
	if l.StepUp {
		r.CreateAttr("ForceAuthn", "true")
	}
	r.CreateElement("saml:Issuer").SetText(p.o.EntityID)
	if p.o.Subject == "" {
		n := r.CreateElement("samlp:NameIDPolicy")
		n.CreateAttr("Format", formatPersist)
		n.CreateAttr("AllowCreate", "true")
	}
	if len(l.ACR) > 0 {
		c := r.CreateElement("samlp:RequestedAuthnContext")
		c.CreateAttr("Comparison", "exact")
		for _, ref := range l.ACR {
			c.CreateElement("saml:AuthnContextClassRef").SetText(ref)
		}
	}
	out, err := doc.WriteToBytes()
	if err != nil {
		return nil, fmt.Errorf("saml: write request: %w", err)
	}
	return out, nil
}

// Metadata is our own description, for the provider.
func (p *Provider) Metadata() ([]byte, error) {
	doc := etree.NewDocument()
	e := doc.CreateElement("md:EntityDescriptor")
	e.CreateAttr("xmlns:md", nsMetadata)
	e.CreateAttr("entityID", p.o.EntityID)
	sp := e.CreateElement("md:SPSSODescriptor")
	sp.CreateAttr("protocolSupportEnumeration", nsProtocol)
	sp.CreateAttr("AuthnRequestsSigned", "false")
	sp.CreateAttr("WantAssertionsSigned", "true")
	if p.o.Subject == "" {
		sp.CreateElement("md:NameIDFormat").SetText(formatPersist)
	}
	acs := sp.CreateElement("md:AssertionConsumerService")
	acs.CreateAttr("Binding", bindingPOST)
	acs.CreateAttr("Location", p.o.ACS)
	acs.CreateAttr("index", "0")
	acs.CreateAttr("isDefault", "true")
	doc.Indent(2)
	out, err := doc.WriteToBytes()
	if err != nil {
		return nil, fmt.Errorf("saml: write metadata: %w", err)
	}
	return out, nil
}
