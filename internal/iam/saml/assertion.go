package saml

import (
	"time"

	"github.com/beevik/etree"

	"sallyport.dev/sallyport/internal/iam/federation"
)

const (
	bearer = "urn:oasis:names:tc:SAML:2.0:cm:bearer"
	// longest bounds how long an assertion's id is remembered. It may be less than the assertion
	// says: the sign-in that it answers ends long before.
	longest = 24 * time.Hour
)

// assertion judges a signed assertion (core section 2.3.3, profiles section 4.1.4.3) and reads it.
// id is to be spent until then.
func (p *Provider) assertion(a *etree.Element, l *federation.Login, now time.Time) (out *federation.Assertion, id string, until time.Time, err error) {
	fail := func(why string) (*federation.Assertion, string, time.Time, error) {
		return nil, "", time.Time{}, refuse(why)
	}
	id = attribute(a, "ID")
	if attribute(a, "Version") != "2.0" || !federation.Printable(id, 256) {
		return fail("the assertion has no id, or is not of SAML 2.0")
	}
	if t, ok := instant(attribute(a, "IssueInstant")); !ok || t.After(now.Add(p.o.Skew)) {
		return fail("the assertion was issued in the future, or at no time")
	}
	issuer := only(a, nsAssertion, "Issuer")
	if iss, ok := text(issuer); !ok || iss != p.o.IdP.EntityID || attribute(issuer, "Format") != "" && attribute(issuer, "Format") != formatEntity {
		return fail("the assertion is another issuer's")
	}
	if err := p.conditions(a, now); err != nil {
		return nil, "", time.Time{}, err
	}
	subject := only(a, nsAssertion, "Subject")
	if subject == nil {
		return fail("the assertion is about nobody, or about several")
	}
	ends, ok := p.confirmed(subject, l, now)
	if !ok {
		return fail("the assertion was not given to this place for this sign-in, or its time is over")
	}
	until = ends.Add(p.o.Skew)
	if last := now.Add(longest); until.After(last) {
		until = last
	}
	out = &federation.Assertion{Provider: p.o.Name, Issuer: p.o.IdP.EntityID}
	if err := p.authentication(out, a, now); err != nil {
		return nil, "", time.Time{}, err
	}
	if err := p.attributes(out, a); err != nil {
		return nil, "", time.Time{}, err
	}
	if p.o.Subject == "" {
		if err := p.nameID(out, subject); err != nil {
			return nil, "", time.Time{}, err
		}
	}
	return out, id, until, out.Bound()
}

// conditions must name us and the present. One that is not understood refuses (core section 2.5.1.1).
func (p *Provider) conditions(a *etree.Element, now time.Time) error {
	c := only(a, nsAssertion, "Conditions")
	if c == nil {
		return refuse("the assertion has no conditions, or several")
	}
	if s := attribute(c, "NotBefore"); s != "" {
		if t, ok := instant(s); !ok || now.Before(t.Add(-p.o.Skew)) {
			return refuse("the assertion is not valid yet")
		}
	}
	if t, ok := instant(attribute(c, "NotOnOrAfter")); !ok || !now.Before(t.Add(p.o.Skew)) {
		return refuse("the assertion has expired, or says not when it does")
	}
	named := false
	for _, e := range c.ChildElements() {
		switch {
		case is(e, nsAssertion, "AudienceRestriction"):
			us := false // each restriction must name us; its audiences are alternatives
			for _, aud := range children(e, nsAssertion, "Audience") {
				s, ok := text(aud)
				us = us || ok && s == p.o.EntityID
			}
			if !us {
				return refuse("the assertion is for another audience")
			}
			named = true
		case is(e, nsAssertion, "OneTimeUse"), is(e, nsAssertion, "ProxyRestriction"): // held anyway
		default:
			return refuse("the assertion has a condition that is not understood")
		}
	}
	if !named {
		return refuse("the assertion names no audience")
	}
	return nil
}

// confirmed says whether one of the confirmations is for us, this sign-in and the present.
func (p *Provider) confirmed(subject *etree.Element, l *federation.Login, now time.Time) (ends time.Time, ok bool) {
	for _, c := range children(subject, nsAssertion, "SubjectConfirmation") {
		d := only(c, nsAssertion, "SubjectConfirmationData")
		if attribute(c, "Method") != bearer || d == nil || attribute(d, "NotBefore") != "" {
			continue
		}
		t, isTime := instant(attribute(d, "NotOnOrAfter"))
		if attribute(d, "Recipient") == p.o.ACS && federation.Same(attribute(d, "InResponseTo"), l.Request) && isTime && now.Before(t.Add(p.o.Skew)) {
			return t, true
		}
	}
	return time.Time{}, false
}

// nameID reads who it is. It must stay the same person's: a transient id is another at each sign-in,
// an address may be given to somebody else.
func (p *Provider) nameID(out *federation.Assertion, subject *etree.Element) error {
	n := only(subject, nsAssertion, "NameID")
	s, ok := text(n)
	if !ok {
		return refuse("the assertion has no NameID, or one that is not text")
	}
	switch attribute(n, "Format") {
	case formatTransient:
		return refuse("the NameID is transient; have the provider send a persistent one, or configure the attribute that says who it is")
	case formatEmail:
		return refuse("the NameID is an email address, which may be given to somebody else; have the provider send a persistent one, or configure the attribute that says who it is")
	}
	// An id within another space of names is another person's (core section 8.3.7).
	if q := attribute(n, "NameQualifier"); q != "" && q != p.o.IdP.EntityID {
		return refuse("the NameID is another provider's")
	}
	if q := attribute(n, "SPNameQualifier"); q != "" && q != p.o.EntityID {
		return refuse("the NameID is for another service")
	}
	out.Subject = s
	return nil
}

// authentication reads when and how the person authenticated.
func (p *Provider) authentication(out *federation.Assertion, a *etree.Element, now time.Time) error {
	s := only(a, nsAssertion, "AuthnStatement")
	if s == nil {
		return refuse("the assertion says not, or more than once, how the person authenticated")
	}
	t, ok := instant(attribute(s, "AuthnInstant"))
	if !ok {
		return refuse("AuthnInstant is no time")
	}
	out.AuthTime, out.Session = t, attribute(s, "SessionIndex")
	if e := attribute(s, "SessionNotOnOrAfter"); e != "" {
		if out.SessionEnds, ok = instant(e); !ok || !now.Before(out.SessionEnds.Add(p.o.Skew)) {
			return refuse("the provider's session is over")
		}
	}
	if c := only(s, nsAssertion, "AuthnContext"); c != nil {
		out.ACR, _ = text(only(c, nsAssertion, "AuthnContextClassRef"))
	}
	return nil
}

// groupsElsewhere is what Entra ID sends instead of more than 150 groups.
const groupsElsewhere = "http://schemas.microsoft.com/claims/groups.link"

// attributes reads what the provider says of the person.
func (p *Provider) attributes(out *federation.Assertion, a *etree.Element) error {
	seen := map[string]bool{}
	for _, st := range children(a, nsAssertion, "AttributeStatement") {
		for _, at := range children(st, nsAssertion, "Attribute") {
			name := attribute(at, "Name")
			if name == "" || seen[name] {
				return refuse("an attribute stands twice, or has no name")
			}
			seen[name] = true
			values, plain := attributeValues(at)
			if !plain && (name == p.o.Groups || name == p.o.Subject) {
				return refuse("the groups or the subject are not plain text")
			}
			if name == groupsElsewhere {
				return refuse("the provider left the groups out since they are too many; let it send only those that matter here")
			}
			if name == p.o.Subject {
				if len(values) != 1 {
					return refuse("the attribute that says who it is has not one value")
				}
				out.Subject = values[0]
			}
			switch name {
			case p.o.Subject: // said
			case p.o.Groups:
				out.Groups = values
			case p.o.DisplayName:
				if len(values) > 0 {
					out.Name = values[0]
				}
			case p.o.Email:
				if len(values) > 0 {
					out.Email = values[0]
				}
			default:
				if plain {
					out.Add(name, values...)
				}
			}
		}
	}
	return nil
}

// attributeValues are the texts of an attribute, without empty ones. plain: there was nothing else.
func attributeValues(at *etree.Element) (values []string, plain bool) {
	plain = true
	for _, v := range children(at, nsAssertion, "AttributeValue") {
		s, ok := text(v)
		if !ok {
			plain = false
		} else if s != "" {
			values = append(values, s)
		}
	}
	return values, plain
}
