package server

import (
	"context"
	"crypto/rand"
	"fmt"
	"time"

	"sallyport.dev/sallyport/internal/config"
	"sallyport.dev/sallyport/internal/iam"
	"sallyport.dev/sallyport/internal/iam/exchange"
	"sallyport.dev/sallyport/internal/iam/jwtbearer"
	"sallyport.dev/sallyport/internal/iam/signing"
	"sallyport.dev/sallyport/internal/iam/throttle"
	"sallyport.dev/sallyport/internal/store/memory"
)

// ownIssuer is the gateway as an issuer of exchanged tokens. What they allow stands in them.
func (s *Server) ownIssuer(cfg *config.Config) jwtbearer.Issuer {
	any := []string{"*"}
	url := cfg.IAM.Exchange.Issuer
	return jwtbearer.Issuer{
		Name: exchange.Name, URL: url, Audiences: []string{url}, Algs: []string{signing.Alg}, Keys: s.people.signing.Set(),
		MaxLifetime: signing.MaxLifetime, Exchange: true,
		Rules: []jwtbearer.Rule{{Subject: "*", Kind: iam.KindAgent, Scopes: iam.Scopes{Upstreams: any, Endpoints: any, Models: any}}},
	}
}

// exchanger builds what exchanges tokens; nil where the configuration does not say so.
func (s *Server) exchanger(ctx context.Context, cfg *config.Config, g *graph) (*exchange.Handler, error) {
	c := cfg.IAM.Exchange
	if c == nil {
		return nil, nil
	}
	o := exchange.Options{
		Issuer: c.Issuer, Lifetime: c.Lifetime, Subjects: map[string]exchange.Subject{}, URLs: map[string]string{},
		Who: g.who, Roster: s.people.roster, People: s.store.docs, Keys: s.people.signing, Record: s.audit.Note,
	}
	v := jwtbearer.Options{Revocations: s.people.revoked, Issuers: []jwtbearer.Issuer{s.ownIssuer(cfg)}}
	byName := map[string]config.Issuer{}
	for _, is := range cfg.IAM.Issuers {
		byName[is.Name], o.URLs[is.Name] = is, is.URL
	}
	for _, sub := range c.Subjects {
		is := byName[sub.Issuer]
		keys, err := s.keyset(ctx, cfg, is, g)
		if err != nil {
			return nil, fmt.Errorf("iam.exchange: issuer %s: %w", is.Name, err)
		}
		who := jwtbearer.Claim{Path: sub.Claim, Pattern: "*", Text: true}
		o.Subjects[is.Name] = exchange.Subject{URL: is.URL, Claim: sub.Claim, Match: sub.Match}
		v.Issuers = append(v.Issuers, jwtbearer.Issuer{
			Name: is.Name, URL: is.URL, Audiences: sub.Audiences, Algs: is.Algorithms, Keys: keys, MaxLifetime: is.MaxLifetime,
			Rules: []jwtbearer.Rule{{
				Subject: "*", Claims: append(tokenClaims(sub.Claims), who), Kind: iam.KindPerson, Tenant: sub.Tenant,
				Scopes: iam.Scopes{Upstreams: sub.Upstreams, Endpoints: sub.Endpoints, Models: sub.Models},
			}},
		})
	}
	var err error
	if o.Verifier, err = jwtbearer.New(v); err != nil {
		return nil, fmt.Errorf("iam.exchange: %w", err)
	}
	if s.tries == nil { // graphs are built one at a time
		// Of this process alone: who exchanges is known already, and tokens are exchanged while the database is away.
		key := make([]byte, 32)
		_, _ = rand.Read(key) // it never fails
		if s.tries, err = throttle.New(&memory.Tries{Every: time.Minute}, key); err != nil {
			return nil, err
		}
	}
	o.Throttle = s.tries
	e, err := exchange.New(o)
	if err != nil {
		return nil, fmt.Errorf("iam.exchange: %w", err)
	}
	h := exchange.Handler{Exchanger: e, JWKS: s.people.signing.JWKS, Log: s.log}
	if s.certs != nil {
		h.Peer = s.certs.Identity
	}
	return exchange.NewHandler(h), nil
}
