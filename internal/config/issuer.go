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

// SPIFFE has callers come with certificates (mutual TLS 1.3), from a Workload API.
type SPIFFE struct {
	Socket string   `yaml:"socket"` // unix:///run/spire/agent.sock
	Allow  []string `yaml:"allow"`  // patterns of SPIFFE ids that may connect at all
}

var algorithms = []string{"ES256", "ES384", "ES512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "EdDSA"}

func (d *decoder) issuers(c *IAM) {
	names, urls := map[string]bool{}, map[string]bool{}
	for i := range c.Issuers {
		is, key := &c.Issuers[i], fmt.Sprintf("iam.issuers[%d]", i)
		if !namePattern.MatchString(is.Name) || len(is.Name) > 32 || names[is.Name] || is.Name == "sallyport" || is.Name == "spiffe" {
			d.invalid(key+".name", "expected a name of its own: 1 to 32 lower-case letters, digits and hyphens, not sallyport or spiffe")
		}
		if u, err := url.Parse(is.URL); err != nil || u.Host == "" || u.Scheme != "https" && is.JWKSFile == "" || urls[is.URL] {
			d.invalid(key+".url", "expected the issuer's https URL, as its tokens write it, once")
		}
		names[is.Name], urls[is.URL] = true, true
		if len(is.Audiences) == 0 || slices.Contains(is.Audiences, "") {
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
		if len(is.Rules) == 0 {
			d.invalid(key+".rules", "expected at least one: a token that fits none is refused")
		}
		for j := range is.Rules {
			d.rule(fmt.Sprintf("%s.rules[%d]", key, j), &is.Rules[j])
		}
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
	for what, l := range map[string][]string{"upstreams": r.Upstreams, "endpoints": r.Endpoints, "models": r.Models} {
		if len(l) == 0 {
			d.invalid(key+"."+what, `expected patterns, or ["*"] for all: an empty list allows nothing`)
		}
	}
	for i, c := range r.Claims {
		if len(c.Path) == 0 || c.Pattern == "" {
			d.invalid(fmt.Sprintf("%s.claims[%d]", key, i), "expected a path and a pattern")
		}
	}
}
