package iam

import (
	"errors"
	"slices"
	"time"

	"sallyport.dev/sallyport/internal/gate"
	"sallyport.dev/sallyport/internal/iam/directory"
)

// Delegation is what a call with an exchanged token (RFC 8693) may do: what the token says, within what
// the keys say that stand behind it.
type Delegation struct {
	*Identity
	Via []*Key // as they are now
}

// onBehalf authenticates a call by a token that Sallyport exchanged. The token is not believed about the
// present: at each call the person and everybody who acts must be in good standing, everybody who acts must
// still be allowed to act for that person, and the keys behind it must still be good.
func (a authenticate) onBehalf(x *gate.Exchange, id *Identity) (gate.Decision, error) {
	x.Principal = gate.Principal{Kind: KindAgent, ID: id.ID, Tenant: id.Tenant, Holder: id.ID, OnBehalfOf: id.OnBehalfOf}
	g, bad, err := a.m.Delegated(x, id)
	if err != nil {
		return gate.Decision{}, err
	}
	if bad != "" {
		return deny(badToken, bad), nil
	}
	x.Principal.Grant = g
	return gate.Decision{}, nil
}

// Delegated says what an exchanged token is worth to this call, or why nothing. It sets the team of the
// call's principal when that is who acts. The error is a gate.Fault: it could not be decided.
func (m *IAM) Delegated(x *gate.Exchange, id *Identity) (g *Delegation, bad string, err error) {
	if m.roster == nil {
		return nil, "", gate.Fail(gate.FailIdentity, errors.New("iam: exchanged tokens cannot be judged without a directory"))
	}
	now := m.now()
	st, err := m.roster.Check(id.Tenant, id.OnBehalfOf, now)
	switch {
	case err != nil:
		return nil, "", err
	case st.Bad != "":
		return nil, "on behalf of: " + st.Bad, nil
	case st.Kind != directory.KindUser:
		return nil, "on behalf of nobody", nil
	}
	for _, actor := range id.Actors {
		st, err := m.roster.Check(id.Tenant, actor, now)
		switch {
		case err != nil:
			return nil, "", err
		case st.Bad != "":
			return nil, "actor: " + st.Bad, nil
		case !m.roster.MayActFor(actor, id.OnBehalfOf):
			return nil, "actor may not act for this person", nil
		}
		if actor == x.Principal.ID {
			x.Principal.Team = st.Team
		}
	}
	g = &Delegation{Identity: id}
	for _, kid := range id.Keys {
		k, bad, err := m.behind(x, id, kid, now)
		if err != nil || bad != "" {
			return nil, bad, err
		}
		g.Via = append(g.Via, k)
	}
	return g, "", nil
}

// behind finds a key that an actor proved itself with when the token was made.
func (m *IAM) behind(x *gate.Exchange, id *Identity, key string, now time.Time) (*Key, string, error) {
	e, known, err := m.ring.find(key, now)
	switch {
	case err != nil:
		return nil, "", err
	case !known:
		return nil, "the actor's key is gone", nil
	}
	k := &e.key
	if _, bad := m.ended(k, x, now); bad != "" {
		return nil, "the actor's " + bad, nil
	}
	if k.Tenant != id.Tenant || !slices.Contains(id.Actors, k.Principal) {
		return nil, "the actor's key is another's", nil
	}
	if !k.Rotated.IsZero() && id.Issued.Before(k.Rotated) && !now.Before(k.PreviousUntil) {
		return nil, "the secret of the actor's key was rotated away", nil
	}
	return k, "", nil
}
