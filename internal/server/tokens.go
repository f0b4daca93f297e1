package server

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	"sallyport.dev/sallyport/internal/config"
	"sallyport.dev/sallyport/internal/iam"
	"sallyport.dev/sallyport/internal/iam/jwks"
	"sallyport.dev/sallyport/internal/iam/jwtbearer"
	"sallyport.dev/sallyport/internal/secret"
)

// keyset is the keys of one issuer, read again and again until nobody needs them.
type keyset struct {
	set  *jwks.Set
	stop context.CancelFunc
}

// tokens builds the verifier of a configuration's issuers; nil when it has none. Key sets that an
// earlier graph reads already are taken over.
func (s *Server) tokens(ctx context.Context, cfg *config.Config, g *graph) (iam.TokenVerifier, error) {
	o := jwtbearer.Options{Revocations: s.people.revoked}
	for _, c := range cfg.IAM.Issuers {
		if len(c.Rules) == 0 {
			continue // of people only, see iam.exchange
		}
		set, err := s.keyset(ctx, cfg, c, g)
		if err != nil {
			return nil, fmt.Errorf("iam.issuers %s: %w", c.Name, err)
		}
		is := jwtbearer.Issuer{Name: c.Name, URL: c.URL, Audiences: c.Audiences, Algs: c.Algorithms, Keys: set, MaxLifetime: c.MaxLifetime}
		for _, r := range c.Rules {
			is.Rules = append(is.Rules, tokenRule(r))
		}
		o.Issuers = append(o.Issuers, is)
	}
	if cfg.IAM.Exchange != nil {
		o.Issuers = append(o.Issuers, s.ownIssuer(cfg))
	}
	if len(o.Issuers) == 0 {
		return nil, nil
	}
	v, err := jwtbearer.New(o)
	if err != nil {
		return nil, fmt.Errorf("iam.issuers: %w", err)
	}
	return v, nil
}

func tokenRule(c config.TokenRule) jwtbearer.Rule {
	r := jwtbearer.Rule{Subject: c.Subject}
	if c.ServiceAccount != "" {
		ns, name, _ := strings.Cut(c.ServiceAccount, "/")
		r = jwtbearer.ServiceAccount(ns, name)
	}
	r.Claims = append(r.Claims, tokenClaims(c.Claims)...)
	kinds := map[string]string{"service": iam.KindService, "agent": iam.KindAgent, "person": iam.KindPerson}
	r.Kind, r.Tenant, r.Team = kinds[c.Kind], c.Tenant, c.Team
	r.Scopes = iam.Scopes{Upstreams: c.Upstreams, Endpoints: c.Endpoints, Models: c.Models}
	return r
}

func tokenClaims(cs []config.TokenClaim) (out []jwtbearer.Claim) {
	for _, c := range cs {
		out = append(out, jwtbearer.Claim{Path: c.Path, Pattern: c.Pattern})
	}
	return out
}

// keyset finds or begins the reading of an issuer's keys. An issuer that does not answer does not keep
// the gateway from starting: its tokens are refused until it does.
func (s *Server) keyset(ctx context.Context, cfg *config.Config, c config.Issuer, g *graph) (*jwks.Set, error) {
	name := fmt.Sprintf("%s|%s|%s|%v|%s|%v", c.URL, c.JWKSURL, c.JWKSFile, c.Bearer, c.CAFile, cfg.Proxy.AllowPrivate)
	if g.keysets[name] != nil {
		return g.keysets[name].set, nil
	}
	if old := s.graph.Load(); old != nil && old.keysets[name] != nil {
		g.keysets[name] = old.keysets[name]
		return g.keysets[name].set, nil
	}
	source, err := keySource(cfg, c)
	if err != nil {
		return nil, err
	}
	set, err := jwks.New(jwks.Options{Source: source, Fault: func(err error) {
		if err != nil {
			s.log.Error("the keys of a token issuer cannot be read", "issuer", c.Name, "error", err)
		} else {
			s.log.Info("the keys of a token issuer can be read again", "issuer", c.Name)
		}
	}})
	if err != nil {
		return nil, err
	}
	first, cancel := context.WithTimeout(ctx, 5*time.Second)
	_ = set.Refresh(first) // the log says what went wrong
	cancel()
	run, stop := context.WithCancel(context.Background())
	g.keysets[name] = &keyset{set, stop}
	s.ran.Go(func() { set.Run(run) })
	return set, nil
}

func keySource(cfg *config.Config, c config.Issuer) (jwks.Source, error) {
	if c.JWKSFile != "" {
		return jwks.File(c.JWKSFile), nil
	}
	t, err := newTransport(config.Upstream{
		Name: c.Name, CAFile: c.CAFile, Protocol: config.ProtocolAuto,
		Timeouts: config.UpstreamTimeouts{Dial: 5 * time.Second, TLS: 5 * time.Second, ResponseHeader: 5 * time.Second},
	}, cfg.Proxy.AllowPrivate)
	if err != nil {
		return nil, err
	}
	h := &jwks.HTTP{Client: &http.Client{Transport: t}, URL: c.JWKSURL, Issuer: c.URL}
	if c.Bearer != nil {
		ref := *c.Bearer
		h.Bearer = func() (secret.String, error) { return ref.Resolve() } // read anew: such tokens are rotated
		if ref.File != "" {
			if _, err := os.Stat(ref.File); err != nil {
				return nil, fmt.Errorf("bearer: %w", err)
			}
		}
	}
	return h, nil
}
