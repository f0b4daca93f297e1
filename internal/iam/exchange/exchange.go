// Package exchange issues tokens that say who an agent acts for (RFC 8693, delegation). An agent of the
// directory, proven by its own credential, brings a token of a person; what it gets names the person as the
// subject and the agent as the actor, is for this gateway alone, lives for a quarter of an hour at most and
// no longer than what it was made of, and allows what agent and person both may do, and never more.
//
// The agent is who authenticates, never who a parameter names: so nobody makes another act. Whom a person's
// token speaks for is said by the configuration, by one claim of one issuer, and by the directory; what is
// not said there is refused. The token that is issued is judged anew at every call (iam.IAM.Delegated).
package exchange

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"sallyport.dev/sallyport/internal/gate"
	"sallyport.dev/sallyport/internal/iam"
	"sallyport.dev/sallyport/internal/iam/directory"
	"sallyport.dev/sallyport/internal/iam/document"
	"sallyport.dev/sallyport/internal/iam/jwtbearer"
	"sallyport.dev/sallyport/internal/iam/peer"
	"sallyport.dev/sallyport/internal/iam/roster"
	"sallyport.dev/sallyport/internal/iam/signing"
	"sallyport.dev/sallyport/internal/iam/throttle"
)

// Name is ours as an issuer, in principal ids and lists of what is revoked. No configured issuer has it.
const Name = "sallyport"

// How the value of a claim finds the person.
const (
	MatchLink       = "link"        // an account that is linked to them: the issuer's URL and the value
	MatchExternalID = "external_id" // the id that their provisioning client gave them
)

// Subject says whom the tokens of an issuer speak for.
type Subject struct {
	URL   string // of the issuer
	Claim []string
	Match string
}

// Who knows callers; *iam.IAM does.
type Who interface {
	Authenticate() gate.Stage
	Delegated(x *gate.Exchange, id *iam.Identity) (*iam.Delegation, string, error)
}

// Signer signs claims; *signing.Keys does.
type Signer interface {
	Sign(claims []byte) (string, error)
}

// Options makes an Exchanger. All but Now is required.
type Options struct {
	// Issuer is the URL that our tokens name as iss and as aud.
	Issuer   string
	Lifetime time.Duration // of a token, 1 min to signing.MaxLifetime
	// Subjects are the issuers of persons' tokens, by our name of them. Verifier verifies their tokens
	// and our own: it holds them to their audiences, tells of the claim, and gives tenant and scopes.
	Subjects map[string]Subject
	Verifier iam.TokenVerifier
	// URLs are those of all issuers, by our name, for may_act.
	URLs     map[string]string
	Who      Who
	Roster   *roster.Roster
	People   document.Reader
	Keys     Signer
	Throttle *throttle.Throttle
	// Record returns nil only when the event is durable.
	Record func(ctx context.Context, event string, fields map[string]string) error
	Now    func() time.Time // nil: time.Now
}

// Exchanger exchanges tokens. It is safe for concurrent use.
type Exchanger struct{ o Options }

// New checks the options.
func New(o Options) (*Exchanger, error) {
	if o.Issuer == "" || o.Verifier == nil || o.Who == nil || o.Roster == nil || o.People == nil || o.Keys == nil || o.Throttle == nil || o.Record == nil {
		return nil, errors.New("exchange: something that is needed is not given")
	}
	if o.Lifetime < time.Minute || o.Lifetime > signing.MaxLifetime {
		return nil, errors.New("exchange: expected a lifetime from 1m to 15m")
	}
	for _, s := range o.Subjects {
		if s.URL == "" || len(s.Claim) == 0 || s.Match != MatchLink && s.Match != MatchExternalID {
			return nil, errors.New("exchange: a subject needs an issuer, a claim, and how it is matched")
		}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Exchanger{o}, nil
}

// Issued is a token that was made, and what is known of who it was asked for by the time it was refused.
type Issued struct {
	Token   string
	ID      string // jti
	Scope   string
	Expires time.Time

	Tenant, Agent, Person string
	Actors                []string
	Issuer, Subject       string // of the person's token, once that was verified
}

// actor is who asks.
type actor struct {
	id, tenant string
	scopes     iam.Scopes
	until      time.Time // zero: without end
	token, key string    // what it proved itself with, if that has a name
	names      []iam.Actor
}

// Exchange makes a token for the agent that x was authenticated as. until is when its certificate ends,
// where it has one. What it returns beside an *Error says how far it came. Any other error means that it
// could not be decided.
func (e *Exchanger) Exchange(ctx context.Context, r *Request, x *gate.Exchange, until time.Time) (*Issued, error) {
	now, out := e.o.Now(), &Issued{Tenant: x.Principal.Tenant, Agent: x.Principal.Holder}
	a, err := e.actor(x, until, now)
	if err != nil {
		return out, err
	}
	if slices.ContainsFunc(r.Targets, func(t string) bool { return t != e.o.Issuer }) {
		return out, badTarget
	}
	id, err := e.o.Verifier.Verify(ctx, r.SubjectToken)
	if err != nil {
		if no, ok := errors.AsType[*iam.Refusal](err); ok {
			return out, badSubject("subject " + no.Reason)
		}
		return out, err
	}
	out.Issuer, out.Subject = id.Issuer, id.Subject
	ends := least(now.Add(e.o.Lifetime), id.Expires, a.until)
	switch {
	case !ends.After(now):
		return out, badSubject("subject or actor has ended")
	case id.Tenant != a.tenant:
		return out, badSubject("subject of another tenant")
	case id.MayAct != nil && !slices.Contains(a.names, *id.MayAct):
		return out, badSubject("may_act names another party")
	}
	if out.Person, err = e.person(ctx, r, x, id); err != nil {
		return out, err
	}
	if !e.o.Roster.MayActFor(a.id, out.Person) {
		return out, badSubject("agent may not act for this person")
	}
	out.Actors = append([]string{a.id}, id.Actors...)
	if slices.Contains(id.Actors, a.id) || len(out.Actors) > jwtbearer.MaxActors {
		return out, badSubject("chain of actors is too long, or has the agent already")
	}
	if out.Scope, err = scope(a.scopes.Meet(id.Scopes), r.Scope); err != nil {
		return out, err
	}
	out.Expires, out.ID = ends.Truncate(time.Second), directory.NewID("at")
	if !out.Expires.After(now) {
		return out, badSubject("subject or actor ends within the second")
	}
	out.Token, err = e.mint(out, now, behind(a.token, id.Token, id.Parents), behind(a.key, "", id.Keys))
	return out, err
}

// behind puts together what stands behind a token, each once.
func behind(own, subject string, before []string) (all []string) {
	for _, s := range append([]string{own, subject}, before...) {
		if s != "" && !slices.Contains(all, s) {
			all = append(all, s)
		}
	}
	return all
}

// least is the first moment of those that are not zero.
func least(first time.Time, more ...time.Time) time.Time {
	for _, t := range more {
		if !t.IsZero() && t.Before(first) {
			first = t
		}
	}
	return first
}

// actor finds out who asks: an agent of the directory, as itself.
func (e *Exchanger) actor(x *gate.Exchange, until, now time.Time) (*actor, error) {
	p := &x.Principal
	a := &actor{id: p.Holder, tenant: p.Tenant}
	switch g := p.Grant.(type) {
	case *iam.Key:
		a.scopes, a.key, a.until = g.Scopes, g.ID, g.Expires
	case *iam.Identity:
		a.scopes, a.token, a.until = g.Scopes, g.Token, g.Expires
		if g.Issuer == directory.IssuerSPIFFE {
			a.until = until
		}
	default:
		return nil, unauthorized("client: acts for somebody already, or is not known by a key, token or certificate")
	}
	if a.id == "" {
		return nil, unauthorized("client: nobody of the directory")
	}
	st, err := e.o.Roster.Check(a.tenant, a.id, now)
	if err != nil {
		return nil, err
	}
	about, ok := e.o.Roster.Agent(a.id)
	if st.Bad != "" || st.Kind != directory.KindAgent || !ok {
		return nil, unauthorized("client: no agent in good standing")
	}
	a.names = append(a.names, iam.Actor{Issuer: e.o.Issuer, Subject: a.id})
	for _, s := range about.Subjects {
		if url := e.o.URLs[s.Issuer]; url != "" {
			a.names = append(a.names, iam.Actor{Issuer: url, Subject: s.Subject})
		}
		// A SPIFFE id is a name in all the world, whichever issuer writes it.
		if s.Issuer == directory.IssuerSPIFFE && peer.Check(s.Subject) == nil && !strings.Contains(s.Subject, "*") {
			for _, url := range e.o.URLs {
				a.names = append(a.names, iam.Actor{Issuer: url, Subject: s.Subject})
			}
		}
	}
	return a, nil
}

// person finds out whom a verified token speaks for.
func (e *Exchanger) person(ctx context.Context, r *Request, x *gate.Exchange, id *iam.Identity) (string, error) {
	user := id.OnBehalfOf
	if user != "" { // one of ours, from a chain
		if r.SubjectTokenType == TypeIDToken {
			return "", badSubject("subject is no ID token")
		}
		if _, bad, err := e.o.Who.Delegated(x, id); err != nil || bad != "" {
			if err == nil {
				err = badSubject("subject: " + bad)
			}
			return user, err
		}
		return user, nil
	}
	s, ok := e.o.Subjects[id.Issuer]
	if !ok {
		return "", badSubject("subject of an issuer whose people are not known")
	}
	value := id.Claims[jwtbearer.Claim{Path: s.Claim}.Key()]
	key := document.Key("external", id.Tenant, value)
	if s.Match == MatchLink {
		key = directory.LinkKey(id.Tenant, directory.Link{Issuer: s.URL, Subject: value})
	}
	if value == "" || !document.ValidKey(key) {
		return "", badSubject("subject says nothing that a person is known by")
	}
	// The database is asked, not the memory of the hot path: whose link was taken away is gone at once.
	u, _, err := document.Find[directory.User](ctx, e.o.People, key)
	switch {
	case errors.Is(err, document.ErrNotFound):
		return "", badSubject("subject is nobody of the directory")
	case err != nil:
		return "", err
	case u.Tenant != id.Tenant:
		return "", badSubject("subject of another tenant")
	case !u.Active:
		return u.ID, badSubject("person is not active")
	}
	st, err := e.o.Roster.Check(u.Tenant, u.ID, e.o.Now())
	if err == nil && st.Bad != "" {
		err = badSubject(st.Bad)
	}
	return u.ID, err
}

// scope narrows what is possible to what is asked for. Asking for more is an error, not a smaller token:
// who asked would not know.
func scope(possible iam.Scopes, asked string) (string, error) {
	if asked != "" {
		want, err := iam.ParseScopes(asked)
		if err != nil || !possible.Covers(want) {
			return "", badScope("scope: malformed, or wider than both may")
		}
		possible = want
	}
	text := possible.Text()
	if possible.Void() {
		return "", badScope("scope: nothing that both may")
	}
	if _, err := iam.ParseScopes(text); err != nil {
		return "", badScope("scope: too long, or not to be written in a token; ask for a narrower one")
	}
	return text, nil
}

// act is the claim of RFC 8693 section 4.1.
type act struct {
	Subject string `json:"sub"`
	Actor   *act   `json:"act,omitempty"`
}

// claims are what our tokens say (RFC 9068 section 2.2, RFC 8693 section 4).
type claims struct {
	Issuer   string   `json:"iss"`
	Subject  string   `json:"sub"`
	Audience string   `json:"aud"`
	Issued   int64    `json:"iat"`
	Expires  int64    `json:"exp"`
	ID       string   `json:"jti"`
	Client   string   `json:"client_id"`
	Actor    *act     `json:"act"`
	Scope    string   `json:"scope"`
	Tenant   string   `json:"tenant"`
	Parents  []string `json:"parents,omitempty"`
	Keys     []string `json:"keys,omitempty"`
}

func (e *Exchanger) mint(o *Issued, now time.Time, parents, keys []string) (string, error) {
	c := claims{
		Issuer: e.o.Issuer, Subject: o.Person, Audience: e.o.Issuer, Issued: now.Unix(), Expires: o.Expires.Unix(), ID: o.ID,
		Client: o.Agent, Scope: o.Scope, Tenant: o.Tenant, Parents: parents, Keys: keys,
	}
	for _, a := range slices.Backward(o.Actors) {
		c.Actor = &act{a, c.Actor}
	}
	body, err := json.Marshal(c)
	if err != nil {
		return "", err
	}
	token, err := e.o.Keys.Sign(body)
	if err == nil && len(token) > iam.MaxToken {
		return "", badScope("scope: the token would be too long")
	}
	return token, err
}
