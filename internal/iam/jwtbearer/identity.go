package jwtbearer

import (
	"slices"

	"sallyport.dev/sallyport/internal/iam"
	"sallyport.dev/sallyport/internal/strictjson"
)

// MaxActors is how many may stand in a chain of actors (RFC 8693 section 4.1).
const MaxActors = 3

// MaxParents is how many tokens may stand behind an exchanged one: the person's, one of each actor, and
// those of ours in between.
const MaxParents = 2 * MaxActors

// identity maps verified claims to a principal by the first rule that fits.
func (i *Issuer) identity(d *strictjson.Doc) (*iam.Identity, error) {
	sub, ok := text(d, strictjson.Root, "sub", maxSubject)
	if !ok || sub == "" {
		return nil, errSubject
	}
	jti, ok := text(d, strictjson.Root, "jti", maxJTI)
	if !ok {
		return nil, errClaims
	}
	id := &iam.Identity{Issuer: i.Name, Subject: sub, ID: i.Name + ":" + sub}
	if jti != "" {
		id.Token = i.Name + ":" + jti
	}
	var r *Rule
	for n := range i.Rules {
		if kept, fits := i.Rules[n].fits(sub, d); fits {
			r, id.Claims = &i.Rules[n], kept
			break
		}
	}
	if r == nil {
		return nil, errRule
	}
	id.Kind, id.Tenant, id.Team, id.Scopes = r.Kind, r.Tenant, r.Team, r.Scopes
	if i.Exchange {
		return id, exchanged(id, d, r)
	}
	// An actor named by somebody else's issuer is not one that we know how to judge.
	if d.Get(strictjson.Root, "act") >= 0 {
		return nil, errActor
	}
	if at := d.Get(strictjson.Root, "may_act"); at >= 0 {
		if id.MayAct, ok = mayAct(d, at, i.URL); !ok {
			return nil, errActor
		}
	}
	return id, nil
}

// mayAct reads who may act (RFC 8693 section 4.4): "sub", with or without "iss". What else it may
// hold is not understood, and what is not understood may restrict.
func mayAct(d *strictjson.Doc, at int, issuer string) (*iam.Actor, bool) {
	if d.Kind(at) != strictjson.Object {
		return nil, false
	}
	a := iam.Actor{Issuer: issuer}
	for i := range d.Children(at) {
		s := d.Str(i)
		switch string(d.Key(i)) {
		case "sub":
			a.Subject = s
		case "iss":
			a.Issuer = s
		default:
			return nil, false
		}
		if s == "" || len(s) > maxSubject {
			return nil, false
		}
	}
	return &a, a.Subject != ""
}

// exchanged reads what Sallyport itself wrote when it exchanged tokens (package exchange): the principal is
// the actor, on behalf of the subject. Both are ids of the directory.
func exchanged(id *iam.Identity, d *strictjson.Doc, r *Rule) error {
	for at := d.Get(strictjson.Root, "act"); at >= 0; at = d.Get(at, "act") {
		a, ok := text(d, at, "sub", maxSubject)
		if !ok || a == "" || len(id.Actors) == MaxActors || slices.Contains(id.Actors, a) {
			return errActor
		}
		id.Actors = append(id.Actors, a)
	}
	if len(id.Actors) == 0 || slices.Contains(id.Actors, id.Subject) {
		return errActor
	}
	id.OnBehalfOf, id.ID, id.Kind = id.Subject, id.Actors[0], iam.KindAgent
	var ok bool
	if id.Tenant, ok = text(d, strictjson.Root, "tenant", 200); !ok || id.Tenant == "" {
		return errClaims
	}
	s, err := iam.ParseScopes(d.Str(d.Get(strictjson.Root, "scope")))
	if err != nil || s.Void() || !r.Scopes.Covers(s) {
		return errScope
	}
	id.Scopes = s
	if id.Parents, ok = list(d, "parents", MaxParents); !ok {
		return errClaims
	}
	if id.Keys, ok = list(d, "keys", MaxActors); !ok {
		return errClaims
	}
	return nil
}

// list reads a claim that is a list of at most limit printable texts; missing gives nil, true.
func list(d *strictjson.Doc, name string, limit int) (out []string, ok bool) {
	at := d.Get(strictjson.Root, name)
	if at < 0 {
		return nil, true
	}
	if d.Kind(at) != strictjson.Array {
		return nil, false
	}
	for i := range d.Children(at) {
		s := d.Str(i)
		if d.Kind(i) != strictjson.String || s == "" || !printable(s) || len(out) == limit {
			return nil, false
		}
		out = append(out, s)
	}
	return out, true
}
