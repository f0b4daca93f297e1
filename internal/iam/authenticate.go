package iam

import (
	"context"
	"net/http"
	"strings"
	"time"

	"sallyport.dev/sallyport/internal/gate"
	"sallyport.dev/sallyport/internal/iam/apikey"
	"sallyport.dev/sallyport/internal/iam/peer"
)

// Principal kinds.
const (
	KindCredential = "credential"
	KindKey        = "key"
	KindAnonymous  = "anonymous"
)

var (
	ambiguous = &gate.Problem{Status: http.StatusBadRequest, Code: gate.CodeAmbiguous, Message: "The request carries more than one credential. Send one, in one header."}
	strayKey  = &gate.Problem{Status: http.StatusBadRequest, Code: gate.CodeAmbiguous, Message: "A Sallyport key stands where none is looked for. Send it in one header, as you would send the provider's."}
	noKey     = &gate.Problem{Status: http.StatusUnauthorized, Code: gate.CodeInvalidKey, Message: "No API key was given. Send a Sallyport key as you would send the provider's."}
	badKey    = &gate.Problem{Status: http.StatusUnauthorized, Code: gate.CodeInvalidKey, Message: "The API key is not valid."}
	badPlace  = &gate.Problem{Status: http.StatusForbidden, Code: gate.CodeDenied, Message: "The API key may not be used from this address."}
)

type authenticate struct{ m *IAM }

func (authenticate) Name() string { return "authenticate" }

func (a authenticate) Admit(ctx context.Context, x *gate.Exchange) (gate.Decision, error) {
	x.ClientAddr = clientAddr(x.ClientAddr, x.Header, a.m.trusted)
	x.Principal = gate.Principal{Kind: KindAnonymous, ID: KindAnonymous}
	d, err := a.identify(ctx, x)
	if x.Record != nil {
		x.Record.Principal, x.Record.ClientAddr = x.Principal, x.ClientAddr
		x.Record.Principal.Grant = nil // the record tells who, not what they may
	}
	return d, err
}

func (a authenticate) identify(ctx context.Context, x *gate.Exchange) (gate.Decision, error) {
	cred, ok := credential(x.Header)
	if !ok {
		return deny(ambiguous, "more than one credential"), nil
	}
	if a.m.mode == ModePassthrough {
		if cred != "" {
			x.Principal = gate.Principal{Kind: KindCredential, ID: a.m.hashKey.name(cred)}
		}
		return gate.Decision{}, nil // without one the provider refuses
	}
	if stray(x) {
		return deny(strayKey, "a key outside the credential headers"), nil
	}
	if cred == "" && x.Peer != "" && a.m.roster != nil {
		return a.byPeer(x)
	}
	if cred == "" {
		return deny(noKey, "no key"), nil
	}
	// The shape tells the kind: a key has our prefix, a token has two dots and a key has none.
	if a.m.tokens != nil && !strings.HasPrefix(cred, apikey.Prefix) && jwtShaped(cred) {
		return a.byToken(ctx, x, cred)
	}
	t, ok := apikey.Parse(cred)
	if !ok {
		return deny(badKey, "not a well-formed key"), nil
	}
	return a.byKey(x, t)
}

// byKey does the same work for an unknown id as for a wrong secret: the same lookups, one HMAC, two
// comparisons. What is wrong with a key that is otherwise right, only its holder learns.
func (a authenticate) byKey(x *gate.Exchange, t apikey.Token) (gate.Decision, error) {
	now := a.m.now()
	e, known, err := a.m.ring.find(t.ID, now)
	if err != nil {
		return gate.Decision{}, err
	}
	k := &e.key
	sum := a.m.hasher.Sum(t)
	current, previous := sum.Equal(k.Current), sum.Equal(k.Previous)
	if !known || (!current && !previous) {
		return deny(badKey, "unknown key or wrong secret"), nil
	}
	x.Principal = gate.Principal{Kind: KindKey, ID: k.ID, Name: k.Name, Tenant: k.Tenant, Team: k.Team, Holder: k.Principal, Grant: k}
	if !current && !now.Before(k.PreviousUntil) {
		return deny(badKey, "secret was rotated away"), nil
	}
	if p, bad := a.m.ended(k, x, now); p != nil {
		return deny(p, bad), nil
	}
	if a.m.roster != nil {
		st, err := a.m.roster.Check(k.Tenant, k.Principal, now)
		if err != nil {
			return gate.Decision{}, err
		}
		if st.Bad != "" {
			return deny(badKey, st.Bad), nil
		}
	}
	if a.m.leaked != nil && a.m.leaked.Presented(t) {
		return deny(badKey, "key is in a list of leaked keys"), nil
	}
	if a.m.places != nil {
		a.m.places.NoteAt(k.memo.place(), k.ID, x.ClientAddr, k.Shared)
	}
	e.note(now)
	return gate.Decision{}, nil
}

// ended says why a key is of no use to this call, whoever has it; nil: it is.
func (m *IAM) ended(k *Key, x *gate.Exchange, now time.Time) (*gate.Problem, string) {
	switch {
	case m.classes.Status(k, now) != "active":
		return badKey, "key is " + m.classes.Status(k, now)
	case m.recalls != nil && m.recalls.Recalled(k.ID):
		return badKey, "key is revoked"
	case len(k.CIDRs) > 0 && !contains(k.CIDRs, x.ClientAddr):
		return badPlace, "address outside the key's ranges"
	case len(k.SPIFFE) > 0 && !peer.Bound(k.SPIFFE, x.Peer):
		return badPlace, "certificate outside the key's SPIFFE ids"
	}
	return nil, ""
}

// nobody stands in for a key that does not exist where there are none. Whatever stands in is refused by name,
// whatever the comparison says.
var nobody = &entry{}

// deny gives each call a problem of its own, since others may add to it.
func deny(p *gate.Problem, reason string) gate.Decision {
	own := *p
	return gate.Deny(&own, reason)
}
