package sso

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"sallyport.dev/sallyport/internal/iam/access"
	"sallyport.dev/sallyport/internal/iam/directory"
	"sallyport.dev/sallyport/internal/iam/document"
	"sallyport.dev/sallyport/internal/iam/federation"
	"sallyport.dev/sallyport/internal/iam/oidc"
	"sallyport.dev/sallyport/internal/iam/session"
	"sallyport.dev/sallyport/internal/secret"
)

// From is where somebody comes from.
type From struct {
	Addr  netip.Addr
	Agent string
	// Token is of the session that the browser has, for a step-up.
	Token secret.String
}

// Done is a sign-in that went well.
type Done struct {
	Session session.Session
	Token   secret.String
	StepUp  bool
}

// Start begins a sign-in. The browser is sent to Pending.URL with the cookie.
func (s *Service) Start(ctx context.Context, tenant, name string) (*federation.Pending, error) {
	return s.begin(ctx, tenant, name, federation.Ask{})
}

// StartStepUp has somebody who is signed in prove it again at the provider that they came from.
func (s *Service) StartStepUp(ctx context.Context, tenant, name string, in session.Session) (*federation.Pending, error) {
	u, _, err := document.Get[directory.User](ctx, s.o.Docs, in.User)
	if err != nil {
		return nil, fmt.Errorf("sso: step up: %w", err)
	}
	at := slices.IndexFunc(u.Links, func(l directory.Link) bool { return l.Provider == name })
	if in.Provider != name || in.Tenant != tenant || at < 0 {
		return nil, federation.Refuse("sso: the session is not of this provider")
	}
	p, _, err := s.find(ctx, tenant, name, "")
	if err != nil {
		return nil, err
	}
	l := u.Links[at]
	return s.begin(ctx, tenant, name, federation.Ask{StepUp: true, Issuer: l.Issuer, Subject: l.Subject, ACR: p.StrongACR, Return: in.ID})
}

func (s *Service) begin(ctx context.Context, tenant, name string, ask federation.Ask) (*federation.Pending, error) {
	_, m, err := s.find(ctx, tenant, name, "")
	if err != nil {
		return nil, err
	}
	if m.oidc != nil {
		return m.oidc.Start(ctx, ask)
	}
	return m.saml.Start(ctx, ask)
}

// FinishOIDC ends a sign-in with the query that the browser brought back. A *federation.Refusal says
// that it is refused, ErrNone that there is no such provider; any other error, that it could not be judged.
func (s *Service) FinishOIDC(ctx context.Context, tenant, name string, query url.Values, cookie string, from From) (Done, error) {
	p, m, err := s.find(ctx, tenant, name, OIDC)
	if err != nil {
		return Done{}, err
	}
	signed, err := m.oidc.Finish(ctx, query, cookie)
	return s.finish(ctx, p, signed, err, from)
}

// FinishSAML does so with what the browser posted.
func (s *Service) FinishSAML(ctx context.Context, tenant, name, response, cookie string, from From) (Done, error) {
	p, m, err := s.find(ctx, tenant, name, SAML)
	if err != nil {
		return Done{}, err
	}
	signed, err := m.saml.Finish(ctx, response, cookie)
	return s.finish(ctx, p, signed, err, from)
}

// finish decides about a person whom the provider has vouched for, and puts it on the record.
func (s *Service) finish(ctx context.Context, p Provider, signed *federation.Signed, err error, from From) (d Done, _ error) {
	e := Event{Name: "sso.signin", Tenant: p.Tenant, Provider: p.Name, Addr: from.Addr}
	if err == nil {
		e.Issuer, e.Subject, e.AMR, e.ACR = signed.Issuer, signed.Subject, signed.AMR, signed.ACR
		if signed.StepUp {
			e.Name = "sso.step_up"
			d, err = s.stepUp(ctx, &p, signed, from)
		} else {
			d, err = s.enter(ctx, &p, signed, from)
		}
	}
	e.OK, e.User = err == nil, d.Session.User
	if err != nil {
		e.Reason = reason(err)
	}
	s.o.Event(ctx, e)
	return d, err
}

func reason(err error) string {
	var r *federation.Refusal
	if errors.As(err, &r) {
		return r.Reason
	}
	return "it could not be judged"
}

// enter opens a session for a person.
func (s *Service) enter(ctx context.Context, p *Provider, a *federation.Signed, from From) (Done, error) {
	var u directory.User
	var made, changed bool
	err := s.o.Docs.Write(ctx, func(tx document.Tx) (err error) {
		if u, made, err = s.person(ctx, tx, p, &a.Assertion); err != nil {
			return err
		}
		changed, err = access.SetGroups(ctx, tx, p.Tenant, p.Name, u.ID, a.Groups, s.o.Now().UTC().Truncate(time.Microsecond))
		if err != nil || !changed {
			return err
		}
		// What they could do before and what they can do now are not the same: who had a session has none.
		_, err = session.End(ctx, tx, p.Tenant, func(x *session.Session) bool { return x.User == u.ID })
		return err
	})
	if err != nil {
		return Done{}, wrap("sign in", err)
	}
	of := Event{OK: true, Tenant: p.Tenant, Provider: p.Name, User: u.ID, Issuer: a.Issuer, Subject: a.Subject, Addr: from.Addr}
	if made {
		of.Name = "sso.person_made"
		s.o.Event(ctx, of)
	}
	if changed {
		of.Name = "sso.roles_changed"
		s.o.Event(ctx, of)
	}
	in := session.Start{User: u.ID, Tenant: u.Tenant, AMR: amr(p, &a.Assertion), Addr: from.Addr, Agent: from.Agent,
		Auth: a.AuthTime, Provider: p.Name, Remote: a.Session, Ends: a.SessionEnds}
	if in.Auth.IsZero() { // not said, so nothing about it is fresh
		in.Auth = s.o.Now().Add(-session.Absolute)
	}
	ses, tok, err := s.o.Sessions.Create(ctx, in)
	if err != nil {
		return Done{}, wrap("sign in", err)
	}
	return Done{Session: ses, Token: tok}, nil
}

// person finds who an assertion is about, links or makes them where the settings allow it, and refuses
// who may not come in.
func (s *Service) person(ctx context.Context, tx document.Tx, p *Provider, a *federation.Assertion) (u directory.User, made bool, err error) {
	t, _, err := document.Get[directory.Tenant](ctx, tx, p.Tenant)
	if err != nil {
		return u, false, err
	}
	if t.Disabled {
		return u, false, federation.Refuse("sso: the tenant is disabled")
	}
	link := directory.Link{Provider: p.Name, Issuer: a.Issuer, Subject: a.Subject}
	u, _, err = document.Find[directory.User](ctx, tx, directory.LinkKey(p.Tenant, link))
	if errors.Is(err, document.ErrNotFound) {
		u, made, err = s.newcomer(ctx, tx, p, a, link)
	}
	switch {
	case err != nil:
		return u, false, err
	case !u.Active:
		return u, false, federation.Refuse("sso: the person was switched off")
	case u.BreakGlass:
		return u, false, federation.Refuse("sso: an account for emergencies signs in by itself")
	}
	return u, made, nil
}

// newcomer links or makes a person at their first sign-in.
func (s *Service) newcomer(ctx context.Context, tx document.Tx, p *Provider, a *federation.Assertion, link directory.Link) (u directory.User, made bool, err error) {
	now := s.o.Now().UTC().Truncate(time.Microsecond)
	if p.MatchExternalID {
		u, rev, err := document.Find[directory.User](ctx, tx, document.Key("external", p.Tenant, a.Subject))
		if err == nil && u.Origin == directory.OriginSCIM {
			u.Links, u.Updated = append(u.Links, link), now
			if err := u.Check(); err != nil {
				return u, false, federation.Refuse("sso: the person cannot be linked to another account")
			}
			_, err = document.Put(ctx, tx, u, rev)
			return u, false, err
		}
		if err != nil && !errors.Is(err, document.ErrNotFound) {
			return u, false, err
		}
	}
	if !p.Create {
		return u, false, federation.Refuse("sso: nobody here has this account, and the provider's settings make nobody")
	}
	origin := map[string]string{OIDC: directory.OriginOIDC, SAML: directory.OriginSAML}[p.Protocol]
	u = directory.User{
		ID: directory.NewID("user"), Tenant: p.Tenant, UserName: a.Email, Name: a.Name, Email: a.Email,
		Origin: origin, Links: []directory.Link{link}, Active: true, Created: now, Updated: now,
	}
	if u.UserName == "" {
		u.UserName = a.Subject
	}
	if u.Name == "" {
		u.Name = u.UserName
	}
	if err := u.Check(); err != nil {
		return u, false, federation.Refuse("sso: what the provider says of the person cannot be kept")
	}
	// A name that somebody has already is theirs: an address must not lead into another's account.
	if _, _, err := document.Find[directory.User](ctx, tx, directory.NameKey(p.Tenant, u.UserName)); err == nil {
		return u, false, federation.Refuse("sso: somebody else has this user name; link the account by hand")
	} else if !errors.Is(err, document.ErrNotFound) {
		return u, false, err
	}
	_, err = document.Put(ctx, tx, u, 0)
	return u, err == nil, err
}

// stepUp makes a session fresh, when the very person of it proved themselves again, in two ways.
func (s *Service) stepUp(ctx context.Context, p *Provider, a *federation.Signed, from From) (Done, error) {
	ses, err := s.o.Sessions.Find(ctx, from.Token)
	if errors.Is(err, session.ErrNone) {
		return Done{}, federation.Refuse("sso: the browser has no session to step up")
	}
	if err != nil {
		return Done{}, wrap("step up", err)
	}
	if ses.ID != a.Return || ses.Provider != p.Name || ses.Tenant != p.Tenant {
		return Done{}, federation.Refuse("sso: another session began the step-up")
	}
	if !p.Strong(&a.Assertion) {
		return Done{}, federation.Refuse("sso: the provider showed no second factor")
	}
	var u directory.User
	err = s.o.Docs.Write(ctx, func(tx document.Tx) (err error) {
		if u, _, err = s.person(ctx, tx, p, &a.Assertion); err == nil && u.ID != ses.User {
			err = federation.Refuse("sso: somebody else came back")
		}
		return err
	})
	if err != nil {
		return Done{}, wrap("step up", err)
	}
	ses, tok, err := s.o.Sessions.StepUp(ctx, from.Token, amr(p, &a.Assertion))
	if err != nil {
		return Done{}, wrap("step up", err)
	}
	return Done{Session: ses, Token: tok, StepUp: true}, nil
}

// amr is how a session says that its person proved themselves: what the provider said, and mfa only
// when its settings take that for two ways.
func amr(p *Provider, a *federation.Assertion) []string {
	out := slices.DeleteFunc(slices.Clone(a.AMR), func(m string) bool { return m == "mfa" })
	if len(out) == 0 {
		out = append(out, "fed")
	}
	if p.Strong(a) {
		out = append(out, "mfa")
	}
	return out
}

// Logout ends the sessions that a provider's logout token names (back-channel logout).
func (s *Service) Logout(ctx context.Context, tenant, name, token string) (err error) {
	p, m, err := s.find(ctx, tenant, name, OIDC)
	if err != nil {
		return err
	}
	e := Event{Name: "sso.logout", Tenant: p.Tenant, Provider: p.Name}
	defer func() {
		e.OK = err == nil
		if err != nil {
			e.Reason = reason(err)
		}
		s.o.Event(ctx, e)
	}()
	var l *oidc.Logout
	if l, err = m.oidc.Logout(ctx, token); err != nil {
		return err
	}
	e.Issuer, e.Subject = l.Issuer, l.Subject
	if l.Subject == "" { // only the session is named
		_, err = s.o.Sessions.EndRemote(ctx, tenant, p.Name, "", l.Session)
		return err
	}
	u, _, err := document.Find[directory.User](ctx, s.o.Docs, directory.LinkKey(tenant, directory.Link{Issuer: l.Issuer, Subject: l.Subject}))
	if errors.Is(err, document.ErrNotFound) {
		return nil // nobody of ours
	}
	if err != nil {
		return wrap("logout", err)
	}
	e.User = u.ID
	_, err = s.o.Sessions.EndRemote(ctx, tenant, p.Name, u.ID, l.Session)
	return err
}

func wrap(verb string, err error) error {
	var r *federation.Refusal
	if errors.As(err, &r) || strings.HasPrefix(err.Error(), "sso: ") {
		return err
	}
	return fmt.Errorf("sso: %s: %w", verb, err)
}
