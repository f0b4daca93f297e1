package iam

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"sallyport.dev/sallyport/internal/gate"
	"sallyport.dev/sallyport/internal/iam/directory"
)

// Kinds of principals that are known by something else than one of our keys.
const (
	KindService = "service"
	KindAgent   = "agent" // a program that decides for itself, for somebody or alone
	KindPerson  = "person"
)

// MaxToken is the longest bearer token, in bytes, that is looked at.
const MaxToken = 16 << 10

// Identity is who a verified token or certificate speaks for. It is shared between calls and never
// changed after it was made. It holds no credential.
type Identity struct {
	Issuer  string // our name of who vouches: a configured issuer, or "spiffe"
	Subject string // as the issuer writes it
	// ID is the principal's id: issuer ":" subject. An issuer's name has no colon, so no two
	// principals share one. Printable ASCII.
	ID   string
	Kind string // KindService, KindAgent or KindPerson

	Tenant, Team string

	// OnBehalfOf is the person for whom this one acts; empty: for itself. Actors are all who act, this
	// one first (RFC 8693 section 4.1). Both are ids of the directory, and so is ID then.
	OnBehalfOf string
	Actors     []string
	// MayAct names the one party that may act for this principal; nil: the token does not say
	// (RFC 8693 section 4.4).
	MayAct *Actor

	// Claims are the few claims that the mapping looked at, by their path. At most 16, of at most
	// 512 bytes each.
	Claims map[string]string
	Scopes Scopes

	Issued, Expires time.Time
	// Token is issuer ":" jti, by which this one token can be revoked; empty when it has no jti.
	// Parents are those of the tokens that it was exchanged for, and Keys the ids of the API keys that
	// actors proved themselves with: what limits a key limits the token.
	Token   string
	Parents []string
	Keys    []string
}

// Actor names a party by its issuer's URL and its subject there.
type Actor struct{ Issuer, Subject string }

// TokenVerifier tells whose token it is. The error is a *Refusal when the token is not valid; any
// other error means that it could not be decided, and the call fails with gate.FailIdentity. It is
// safe for concurrent use and takes no lock that all calls share; for a token that it knows it
// makes no network call.
type TokenVerifier interface {
	Verify(ctx context.Context, token string) (*Identity, error)
}

// Refusal is why a credential is not valid. The reason is for the record, not for the caller, and
// holds nothing that the caller wrote.
type Refusal struct{ Reason string }

func (r *Refusal) Error() string { return "iam: refused: " + r.Reason }

var badToken = &gate.Problem{Status: http.StatusUnauthorized, Code: gate.CodeInvalidKey, Message: "The token is not valid."}

// byToken authenticates a call by a bearer token. A token may be used any number of times until it
// ends: it is bound to its audience and short-lived, not to one call (RFC 6750 section 5.3).
func (a authenticate) byToken(ctx context.Context, x *gate.Exchange, token string) (gate.Decision, error) {
	id, err := a.m.tokens.Verify(ctx, token)
	if err != nil {
		if r, ok := errors.AsType[*Refusal](err); ok {
			return deny(badToken, r.Reason), nil
		}
		return gate.Decision{}, gate.Fail(gate.FailIdentity, fmt.Errorf("iam: verifying a token: %w", err))
	}
	if id == nil {
		return gate.Decision{}, gate.Fail(gate.FailIdentity, errors.New("iam: a token verifier gave no identity"))
	}
	if id.OnBehalfOf != "" {
		return a.onBehalf(x, id)
	}
	tenant := id.Tenant
	if tenant == "" {
		tenant = directory.DefaultTenant
	}
	x.Principal = gate.Principal{Kind: id.Kind, ID: id.ID, Tenant: tenant, Team: id.Team, OnBehalfOf: id.OnBehalfOf, Grant: id}
	if a.m.roster == nil {
		return gate.Decision{}, nil
	}
	now := a.m.now()
	st, err := a.m.roster.Check(tenant, "", now)
	if err != nil {
		return gate.Decision{}, err
	}
	if st.Bad == "" {
		// Who is also in the directory, as a service or agent with this subject, must be in good standing.
		known, ok, err := a.m.roster.BySubject(directory.Subject{Issuer: id.Issuer, Subject: id.Subject}, now)
		if err != nil {
			return gate.Decision{}, err
		}
		if ok {
			st, x.Principal.Holder = known, known.ID
			if st.Bad == "" && st.Tenant != tenant {
				st.Bad = "principal of another tenant"
			}
		}
	}
	if st.Bad != "" {
		return deny(badToken, st.Bad), nil
	}
	return gate.Decision{}, nil
}

// jwtShaped says whether s is three parts of base64url with dots between (RFC 7515 section 7.1) and
// not too long to be looked at. It says nothing of what is in them.
func jwtShaped(s string) bool {
	if len(s) > MaxToken || strings.HasPrefix(s, ".") || strings.HasSuffix(s, ".") || strings.Contains(s, "..") {
		return false
	}
	dots := 0
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_':
		case c == '.':
			dots++
		default:
			return false
		}
	}
	return dots == 2
}

// scopesOf finds the scopes in what a stage before has granted.
func scopesOf(grant any) *Scopes {
	switch g := grant.(type) {
	case *Key:
		if g != nil {
			return &g.Scopes
		}
	case *Identity:
		if g != nil {
			return &g.Scopes
		}
	case *Delegation:
		if g != nil {
			return &g.Scopes
		}
	}
	return nil
}

// KeysOf are the keys whose own limits hold for a call: the one that it was made with, or those behind
// the token that it was made with.
func KeysOf(p *gate.Principal) []*Key {
	switch g := p.Grant.(type) {
	case *Key:
		if g != nil {
			return []*Key{g}
		}
	case *Delegation:
		if g != nil {
			return g.Via
		}
	}
	return nil
}
