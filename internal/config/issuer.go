package config

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"sallyport.dev/sallyport/internal/secret"
)

// Issuer is a party whose tokens are believed (JWT bearer tokens, RFC 9068 and OpenID Connect).
type Issuer struct {
	// Name is ours: 1 to 32 lower-case letters, digits and hyphens.
	Name string `yaml:"name"`
	// URL is what the token's iss must be, byte for byte.
	URL       string   `yaml:"url"`
	Audiences []string `yaml:"audiences"` // at least one; aud must hold one of them
	// JWKSURL is where the keys are; empty: found by discovery at URL. JWKSFile reads them from a file
	// instead.
	JWKSURL  string `yaml:"jwks_url"`
	JWKSFile string `yaml:"jwks_file"`
	// Bearer is sent when reading the keys, as a Kubernetes API server wants a token.
	Bearer      *secret.Ref   `yaml:"bearer"`
	Algorithms  []string      `yaml:"algorithms"`
	MaxLifetime time.Duration `yaml:"max_lifetime"`
	CAFile      string        `yaml:"ca_file"`
	Rules       []TokenRule   `yaml:"rules"`
}

func (i *Issuer) setDefaults() {
	*i = Issuer{Algorithms: []string{"ES256", "RS256", "EdDSA"}, MaxLifetime: time.Hour}
}

// TokenRule says who a token speaks for. The first that fits decides; a token that fits none is refused.
type TokenRule struct {
	// Subject is a pattern of sub. ServiceAccount, "namespace/name" with *, stands for a Kubernetes
	// service account's instead, whose token must be bound to a pod.
	Subject        string       `yaml:"subject"`
	ServiceAccount string       `yaml:"service_account"`
	Claims         []TokenClaim `yaml:"claims"` // all must fit too
	Kind           string       `yaml:"kind"`   // service, agent, person
	Tenant         string       `yaml:"tenant"`
	Team           string       `yaml:"team"`
	Upstreams      []string     `yaml:"upstreams"`
	Endpoints      []string     `yaml:"endpoints"`
	Models         []string     `yaml:"models"`
}

func (r *TokenRule) setDefaults() { *r = TokenRule{Kind: "service", Tenant: "default"} }

// TokenClaim is a condition on one claim.
type TokenClaim struct {
	Path    []string `yaml:"path"` // names from the outside in
	Pattern string   `yaml:"pattern"`
}

// Exchange has agents exchange a person's token for one of the gateway's own that names both (RFC 8693).
type Exchange struct {
	// Issuer is the https URL that these tokens name as their issuer and audience. All gateways of an
	// installation have the same.
	Issuer   string            `yaml:"issuer"`
	Lifetime time.Duration     `yaml:"lifetime"` // of a token: 1m to 15m
	Subjects []ExchangeSubject `yaml:"subjects"`
}

func (e *Exchange) setDefaults() { *e = Exchange{Lifetime: 15 * time.Minute} }

// ExchangeSubject says whose tokens of an issuer are a person's, and whose. A token that does not fit is
// refused.
type ExchangeSubject struct {
	Issuer    string       `yaml:"issuer"`    // name of one of iam.issuers
	Audiences []string     `yaml:"audiences"` // at least one; aud must hold one of them
	Claims    []TokenClaim `yaml:"claims"`    // all must fit too
	Tenant    string       `yaml:"tenant"`
	// Claim is the one that says who it is, names from the outside in. Match says how: link, an account
	// that is linked to a person, by the issuer's URL and this; external_id, the id that their
	// provisioning client gave them.
	Claim []string `yaml:"claim"`
	Match string   `yaml:"match"`
	// What may be done for the people of this issuer, at most.
	Upstreams []string `yaml:"upstreams"`
	Endpoints []string `yaml:"endpoints"`
	Models    []string `yaml:"models"`
}

func (s *ExchangeSubject) setDefaults() { *s = ExchangeSubject{Tenant: "default"} }

// SPIFFE has callers come with certificates (mutual TLS 1.3), from a Workload API.
type SPIFFE struct {
	Socket string   `yaml:"socket"` // unix:///run/spire/agent.sock
	Allow  []string `yaml:"allow"`  // patterns of SPIFFE ids that may connect at all
}

var algorithms = []string{"ES256", "ES384", "ES512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "EdDSA"}

func (d *decoder) issuers(c *IAM) {
	names, urls := map[string]bool{}, map[string]bool{}
	people := map[string]bool{}
	if c.Exchange != nil {
		for _, s := range c.Exchange.Subjects {
			people[s.Issuer] = true
		}
	}
	for i := range c.Issuers {
		is, key := &c.Issuers[i], fmt.Sprintf("iam.issuers[%d]", i)
		if !namePattern.MatchString(is.Name) || len(is.Name) > 32 || names[is.Name] || is.Name == "sallyport" || is.Name == "spiffe" {
			d.invalid(key+".name", "expected a name of its own: 1 to 32 lower-case letters, digits and hyphens, not sallyport or spiffe")
		}
		if u, err := url.Parse(is.URL); err != nil || u.Host == "" || u.Scheme != "https" && is.JWKSFile == "" || urls[is.URL] {
			d.invalid(key+".url", "expected the issuer's https URL, as its tokens write it, once")
		}
		names[is.Name], urls[is.URL] = true, true
		calls := len(is.Rules) > 0 || !people[is.Name] // its tokens open the gateway by themselves
		if calls && len(is.Audiences) == 0 || slices.Contains(is.Audiences, "") {
			d.invalid(key+".audiences", "expected at least one: without it a token for anybody else would be accepted")
		}
		for _, a := range is.Algorithms {
			if !slices.Contains(algorithms, a) {
				d.invalid(key+".algorithms", "expected "+oneOf(algorithms))
			}
		}
		if is.MaxLifetime < time.Minute || is.MaxLifetime > 24*time.Hour {
			d.invalid(key+".max_lifetime", "expected from 1m to 24h")
		}
		if is.JWKSURL != "" && is.JWKSFile != "" {
			d.invalid(key+".jwks_file", "expected jwks_url or jwks_file, not both")
		}
		if is.JWKSURL != "" {
			if msg := checkBaseURL(is.JWKSURL); msg != "" || !strings.HasPrefix(is.JWKSURL, "https:") {
				d.invalid(key+".jwks_url", "expected an https URL without user, query or fragment")
			}
		}
		d.path(key+".jwks_file", is.JWKSFile, true)
		d.path(key+".ca_file", is.CAFile, true)
		if len(is.Rules) == 0 && calls {
			d.invalid(key+".rules", "expected at least one, or a subject of iam.exchange: a token that fits none is refused")
		}
		for j := range is.Rules {
			d.rule(fmt.Sprintf("%s.rules[%d]", key, j), &is.Rules[j])
		}
	}
}

func (d *decoder) exchange(c *IAM) {
	const at = "iam.exchange"
	e := c.Exchange
	if e == nil {
		return
	}
	if c.Mode != IAMKeys {
		d.invalid(at, "with iam.mode: passthrough callers bring the provider's credential; expected iam.mode: keys")
	}
	issuers := map[string]bool{}
	for _, i := range c.Issuers {
		issuers[i.Name] = true
		if i.URL == e.Issuer {
			d.invalid(at+".issuer", "this is the URL of another issuer; expected one of the gateway's own")
		}
	}
	if msg := checkBaseURL(e.Issuer); msg != "" || !strings.HasPrefix(e.Issuer, "https:") {
		d.invalid(at+".issuer", "expected an https URL of the gateway's own, without user, query or fragment")
	}
	if e.Lifetime < time.Minute || e.Lifetime > 15*time.Minute {
		d.invalid(at+".lifetime", "expected from 1m to 15m")
	}
	if len(e.Subjects) == 0 {
		d.invalid(at+".subjects", "expected at least one: nobody's token would be taken")
	}
	seen := map[string]bool{}
	for i, s := range e.Subjects {
		key := fmt.Sprintf("%s.subjects[%d]", at, i)
		if !issuers[s.Issuer] || seen[s.Issuer] {
			d.invalid(key+".issuer", "expected the name of one of iam.issuers, once")
		}
		seen[s.Issuer] = true
		if len(s.Audiences) == 0 || slices.Contains(s.Audiences, "") {
			d.invalid(key+".audiences", "expected at least one: without it a token for anybody else would be accepted")
		}
		if s.Tenant == "" {
			d.invalid(key+".tenant", "expected the id of a tenant")
		}
		if len(s.Claim) == 0 || slices.Contains(s.Claim, "") {
			d.invalid(key+".claim", "expected the path of the claim that says who it is, such as [sub]")
		}
		d.choice(key+".match", s.Match, "link", "external_id")
		d.scopes(key, s.Upstreams, s.Endpoints, s.Models)
		d.claims(key, s.Claims)
	}
}

func (d *decoder) rule(key string, r *TokenRule) {
	ns, name, ok := strings.Cut(r.ServiceAccount, "/")
	switch {
	case (r.Subject == "") == (r.ServiceAccount == ""):
		d.invalid(key+".subject", `expected a subject ("*" for any), or a service_account`)
	case r.ServiceAccount != "" && (!ok || ns == "" || name == ""):
		d.invalid(key+".service_account", "expected namespace/name")
	}
	d.choice(key+".kind", r.Kind, "service", "agent", "person")
	d.scopes(key, r.Upstreams, r.Endpoints, r.Models)
	d.claims(key, r.Claims)
}

func (d *decoder) scopes(key string, upstreams, endpoints, models []string) {
	for what, l := range map[string][]string{"upstreams": upstreams, "endpoints": endpoints, "models": models} {
		if len(l) == 0 {
			d.invalid(key+"."+what, `expected patterns, or ["*"] for all: an empty list allows nothing`)
		}
	}
}

func (d *decoder) claims(key string, claims []TokenClaim) {
	for i, c := range claims {
		if len(c.Path) == 0 || c.Pattern == "" {
			d.invalid(fmt.Sprintf("%s.claims[%d]", key, i), "expected a path and a pattern")
		}
	}
}
