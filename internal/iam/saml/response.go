package saml

import (
	"context"
	"encoding/base64"
	"fmt"
	"time"

	"github.com/beevik/etree"

	"sallyport.dev/sallyport/internal/iam/federation"
)

const success = "urn:oasis:names:tc:SAML:2.0:status:Success"

func refuse(why string) error { return federation.Refuse("saml: " + why) }

// Finish ends a sign-in with what the browser posted (the form value SAMLResponse) and the cookie of
// Start. A *federation.Refusal says that the sign-in is refused; any other error, that it could not
// be judged. The caller deletes the cookie, whatever came of it. Without a cookie nobody began: a
// sign-in that the provider begins is refused.
func (p *Provider) Finish(ctx context.Context, response, cookie string) (*federation.Signed, error) {
	now := p.o.Now()
	l, err := p.o.Sealer.Open(protocol, p.o.Name, cookie, now)
	if err != nil {
		return nil, err
	}
	if len(response) > base64.StdEncoding.EncodedLen(maxDocument)+(8<<10) { // room for line breaks
		return nil, refuse("the response is too large")
	}
	raw, err := base64.StdEncoding.DecodeString(response)
	if err != nil {
		return nil, refuse("the response is not base64")
	}
	root, err := parse(raw, maxDocument, false)
	if err != nil {
		return nil, refuse("the response is " + err.Error())
	}
	if n := count(root); n > maxTree {
		return nil, refuse(fmt.Sprintf("the response has %d elements; at most %d can be verified: let the provider send fewer groups", n, maxTree))
	}
	if err := p.checkResponse(root, l); err != nil {
		return nil, err
	}
	signed, err := p.signedAssertion(root, now)
	if err != nil {
		return nil, err
	}
	a, id, until, err := p.assertion(signed, l, now)
	if err != nil {
		return nil, err
	}
	if err := l.Check(a, now, p.o.Skew); err != nil {
		return nil, err
	}
	// Spent last: what is forged spends nothing.
	first, err := p.o.Once.First(ctx, "saml\n"+p.o.IdP.EntityID+"\n"+id, until)
	if err != nil {
		return nil, fmt.Errorf("saml: spend assertion: %w", err)
	}
	if !first {
		return nil, refuse("the assertion was used before")
	}
	if err := l.Use(ctx, p.o.Once); err != nil {
		return nil, err
	}
	return &federation.Signed{Assertion: *a, Return: l.Return, StepUp: l.StepUp}, nil
}

// checkResponse reads the envelope (core section 3.2.2, profiles section 4.1.4.2). What it says
// counts against a response, never for it: only the assertion is sure to be signed.
func (p *Provider) checkResponse(root *etree.Element, l *federation.Login) error {
	if !is(root, nsProtocol, "Response") || attribute(root, "Version") != "2.0" {
		return refuse("the document is no SAML 2.0 Response")
	}
	if !federation.Same(attribute(root, "InResponseTo"), l.Request) {
		return refuse("the response is not for the sign-in of this browser")
	}
	if attribute(root, "Destination") != p.o.ACS {
		return refuse("the response is for another place")
	}
	if issuers := children(root, nsAssertion, "Issuer"); len(issuers) > 0 {
		if iss, ok := text(issuers[0]); !ok || iss != p.o.IdP.EntityID || len(issuers) > 1 {
			return refuse("the response is another issuer's")
		}
	}
	status := only(root, nsProtocol, "Status")
	if status == nil {
		return refuse("the response has no status")
	}
	code := only(status, nsProtocol, "StatusCode")
	if code == nil || attribute(code, "Value") != success {
		why := "something unreadable"
		if code != nil {
			if inner := only(code, nsProtocol, "StatusCode"); inner != nil {
				code = inner
			}
			if v := attribute(code, "Value"); federation.Printable(v, 128) {
				why = v
			}
		}
		return refuse("the provider answers " + why)
	}
	return nil
}

// signedAssertion is the one assertion, as it was signed. A signature of the whole response, where
// there is one, must be right, too; it does not stand in for the assertion's own.
func (p *Provider) signedAssertion(root *etree.Element, now time.Time) (*etree.Element, error) {
	a, err := shape(root)
	if err != nil {
		return nil, refuse(err.Error())
	}
	if len(children(root, nsSignature, "Signature")) > 0 {
		if root, err = p.verify(root, now); err != nil {
			return nil, refuse("the response: " + err.Error())
		}
		if a, err = shape(root); err != nil {
			return nil, refuse(err.Error())
		}
	}
	signed, err := p.verify(a, now)
	if err != nil {
		return nil, refuse("the assertion: " + err.Error())
	}
	return signed, nil
}
