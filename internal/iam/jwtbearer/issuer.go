package jwtbearer

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"sallyport.dev/sallyport/internal/iam"
	"sallyport.dev/sallyport/internal/iam/glob"
	"sallyport.dev/sallyport/internal/iam/jwks"
	"sallyport.dev/sallyport/internal/strictjson"
)

// DefaultLifetime is the longest life of a token, from iat to exp, that is accepted unless an
// issuer says otherwise.
const DefaultLifetime = time.Hour

// Bounds of what one issuer may be configured with and of what is kept of a token.
const (
	maxRules, maxRuleClaims  = 256, 16
	maxSubject, maxJTI       = 255, 256
	maxClaimText, maxClaimOf = 512, 64
)

// Issuer is one party whose tokens are believed.
type Issuer struct {
	// Name is ours, for principal ids and the record: 1 to 32 of a-z, 0-9 and "-".
	Name string
	// URL is what "iss" must be, byte for byte: a slash at the end counts.
	URL string
	// Audiences are ours: "aud" must hold one of them. At least one.
	Audiences []string
	// Algs are the algorithms accepted, of jwks.Algorithms. Default: ES256, RS256, EdDSA.
	Algs []string
	// Keys are the issuer's.
	Keys *jwks.Set
	// MaxLifetime bounds exp - iat; default DefaultLifetime.
	MaxLifetime time.Duration
	// Rules map tokens to principals. The first that fits decides; a token that fits none is
	// refused.
	Rules []Rule
	// Exchange marks Sallyport's own issuer of exchanged tokens: subjects and actors are ids of the
	// directory, tenant and scope come from the token, and the rule's scopes are what a token may have
	// at most.
	Exchange bool
}

// Rule says who a token speaks for.
type Rule struct {
	// Subject is what "sub" must fit; * stands for any run of characters. Required: write "*" for any.
	Subject string
	// Claims must all fit, too.
	Claims []Claim

	Kind         string // iam.KindService, KindAgent or KindPerson
	Tenant, Team string
	Scopes       iam.Scopes
}

// Claim is a condition on one claim: a text, a boolean as "true" or "false", or a list of texts of
// which one fits.
type Claim struct {
	Path    []string // names from the outside in: {"kubernetes.io", "namespace"}
	Pattern string
	Text    bool // only a text fits, no list
}

// Key is how the claim is named in iam.Identity.Claims.
func (c Claim) Key() string { return strings.Join(c.Path, "/") }

// ServiceAccount is the rule for a Kubernetes service account. Its token must be bound to a pod, so
// that it ends with it: tokens of secrets and those asked for by hand do not fit. The claims are
// those that a Kubernetes API server writes; namespace and name may hold *.
func ServiceAccount(namespace, name string) Rule {
	return Rule{
		Subject: "system:serviceaccount:" + namespace + ":" + name,
		Claims: []Claim{
			{Path: []string{"kubernetes.io", "namespace"}, Pattern: namespace},
			{Path: []string{"kubernetes.io", "serviceaccount", "name"}, Pattern: name},
			{Path: []string{"kubernetes.io", "pod", "uid"}, Pattern: "*"},
		},
		Kind: iam.KindService,
	}
}

func (i *Issuer) check() error {
	switch {
	case i.Name == "" || len(i.Name) > 32 || strings.Trim(i.Name, "abcdefghijklmnopqrstuvwxyz0123456789-") != "":
		return errors.New("expected a name of 1 to 32 of a-z, 0-9 and -")
	case i.URL == "":
		return errors.New("no issuer URL is given")
	case len(i.Audiences) == 0 || slices.Contains(i.Audiences, ""):
		return errors.New("no audience is given: a token for anybody else would be accepted")
	case i.Keys == nil:
		return errors.New("no keys are given")
	case i.MaxLifetime < 0 || i.MaxLifetime > 24*time.Hour:
		return errors.New("expected a longest lifetime of at most 24h")
	case len(i.Rules) == 0 || len(i.Rules) > maxRules:
		return fmt.Errorf("expected 1 to %d rules", maxRules)
	}
	for _, a := range i.Algs {
		if !slices.Contains(jwks.Algorithms, a) {
			return fmt.Errorf("expected algorithms of %s", strings.Join(jwks.Algorithms, ", "))
		}
	}
	for n, r := range i.Rules {
		if err := r.check(); err != nil {
			return fmt.Errorf("rule %d: %w", n+1, err)
		}
	}
	return nil
}

func (r *Rule) check() error {
	switch {
	case r.Subject == "":
		return errors.New(`no subject is given; write "*" for any`)
	case r.Kind != iam.KindService && r.Kind != iam.KindAgent && r.Kind != iam.KindPerson:
		return errors.New("expected the kind service, agent or person")
	case r.Scopes.Void():
		return errors.New(`a scope is empty, so the caller could do nothing; name upstreams, endpoints and models, or "*" for all`)
	case len(r.Claims) > maxRuleClaims:
		return fmt.Errorf("more than %d claims", maxRuleClaims)
	}
	for _, c := range r.Claims {
		if len(c.Path) == 0 || c.Pattern == "" {
			return errors.New("a claim has no path or no pattern")
		}
	}
	return nil
}

// fits says whether a token is one that the rule is about, and what it looked at.
func (r *Rule) fits(subject string, d *strictjson.Doc) (map[string]string, bool) {
	if !glob.Match(r.Subject, subject) {
		return nil, false
	}
	var kept map[string]string
	for _, c := range r.Claims {
		at := strictjson.Root
		for _, name := range c.Path {
			if at = d.Get(at, name); at < 0 {
				return nil, false
			}
		}
		v, ok := c.fits(d, at)
		if !ok {
			return nil, false
		}
		if kept == nil {
			kept = make(map[string]string, len(r.Claims))
		}
		kept[c.Key()] = v
	}
	return kept, true
}

func (c *Claim) fits(d *strictjson.Doc, at int) (string, bool) {
	if c.Text && d.Kind(at) != strictjson.String {
		return "", false
	}
	switch d.Kind(at) {
	case strictjson.String:
		s := d.Str(at)
		return s, s != "" && len(s) <= maxClaimText && printable(s) && glob.Match(c.Pattern, s)
	case strictjson.True, strictjson.False:
		s := string(d.Value(at))
		return s, s == c.Pattern
	case strictjson.Array:
		n := 0
		for i := range d.Children(at) {
			if n++; n > maxClaimOf {
				return "", false
			}
			if d.Kind(i) != strictjson.String {
				continue
			}
			if s := d.Str(i); s != "" && len(s) <= maxClaimText && printable(s) && glob.Match(c.Pattern, s) {
				return s, true
			}
		}
	}
	return "", false
}

// printable keeps to ASCII that a log and a terminal can show.
func printable(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}
