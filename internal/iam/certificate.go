package iam

import (
	"net/http"
	"sync"
	"sync/atomic"

	"sallyport.dev/sallyport/internal/gate"
	"sallyport.dev/sallyport/internal/iam/directory"
	"sallyport.dev/sallyport/internal/iam/roster"
)

var badCertificate = &gate.Problem{Status: http.StatusUnauthorized, Code: gate.CodeInvalidKey, Message: "The client certificate alone is not enough here. Send a Sallyport key, too."}

// maxCertified bounds how many identities of certificates are remembered.
const maxCertified = 10_000

// certified remembers who verified certificates speak for, so that a call makes nothing anew. It takes no
// lock for who is known.
type certified struct {
	by sync.Map // by SPIFFE id: *certifiedAs
	n  atomic.Int64
}

type certifiedAs struct {
	program *roster.Program // that it was made from
	id      *Identity
}

func (c *certified) identity(p *roster.Program, peer string) *Identity {
	v, known := c.by.Load(peer)
	if known && v.(*certifiedAs).program == p {
		return v.(*certifiedAs).id
	}
	id := &Identity{Issuer: directory.IssuerSPIFFE, Subject: peer, ID: directory.IssuerSPIFFE + ":" + peer, Kind: p.Kind, Tenant: p.Tenant, Scopes: Scopes(p.Scopes)}
	if !known && c.n.Add(1) > maxCertified {
		c.by.Clear()
		c.n.Store(1)
	}
	c.by.Store(peer, &certifiedAs{p, id})
	return id
}

// byPeer authenticates a call by its certificate alone: exactly one service or agent of the directory has
// the SPIFFE id, which the listener has verified, and what it may do stands with it there.
func (a authenticate) byPeer(x *gate.Exchange) (gate.Decision, error) {
	now := a.m.now()
	p, n, err := a.m.roster.ByCertificate(x.Peer, now)
	switch {
	case err != nil:
		return gate.Decision{}, err
	case n == 0:
		return deny(noKey, "no key, and no service or agent has this SPIFFE id"), nil
	case n > 1:
		return deny(badCertificate, "more than one service or agent has this SPIFFE id"), nil
	}
	st, err := a.m.roster.Check(p.Tenant, p.ID, now)
	if err != nil {
		return gate.Decision{}, err
	}
	id := a.m.certified.identity(p, x.Peer)
	x.Principal = gate.Principal{Kind: p.Kind, ID: id.ID, Name: p.Name, Tenant: p.Tenant, Team: st.Team, Holder: p.ID, Grant: id}
	if st.Bad != "" {
		return deny(badCertificate, st.Bad), nil
	}
	return gate.Decision{}, nil
}
