// Package oidc signs people in with an OpenID Connect provider: the authorization code flow with
// PKCE (RFC 7636), state and nonce (OpenID Connect Core 1.0, RFC 9700). It speaks no HTTP to
// browsers: the caller redirects, keeps a cookie and hands over what came back.
package oidc

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"sallyport.dev/sallyport/internal/iam/federation"
	"sallyport.dev/sallyport/internal/iam/jwks"
	"sallyport.dev/sallyport/internal/secret"
)

// DefaultAlgs are the signature algorithms accepted unless others are configured.
var DefaultAlgs = []string{"RS256", "PS256", "ES256", "EdDSA"}

// DefaultSkew is what two clocks may differ by.
const DefaultSkew = 30 * time.Second

// timeout bounds one request to the provider, its answer included.
const timeout = 10 * time.Second

// keysServe is how long keys serve after they were read: a provider that withdraws a key is obeyed
// within this time. keysAgain is the shortest time between two readings that unknown keys cause.
const (
	keysServe = 10 * time.Minute
	keysAgain = 5 * time.Second
)

// Options makes a Provider.
type Options struct {
	// Name is ours, for the record and for rules: 1 to 32 of a-z, 0-9 and "-".
	Name string
	// Issuer is the provider's, byte for byte: a slash at the end counts.
	Issuer string
	// ClientID and ClientSecret are what the provider gave us. Without a secret we are a public
	// client, which PKCE alone protects.
	ClientID     string
	ClientSecret secret.String
	// RedirectURL is ours, one for each provider: it is exact and registered there.
	RedirectURL string
	// Scopes to ask for; default openid, profile, email. openid is always among them.
	Scopes []string
	// Algs are the accepted signature algorithms, of jwks.Algorithms; default DefaultAlgs.
	Algs []string
	// Groups is the claim with the person's groups, names from the outside in; default {"groups"}.
	Groups []string
	// UserInfo asks the provider's userinfo endpoint for what the ID token lacks.
	UserInfo bool
	// Client sends; it brings the guard against addresses that must not be dialled, and the roots.
	// Required. Its CheckRedirect and Jar are not used: no redirect is followed.
	Client *http.Client
	// Sealer and Once keep sign-ins under way apart and single. Required.
	Sealer *federation.Sealer
	Once   federation.Once
	// Skew is what two clocks may differ by; default DefaultSkew, at most 5 min.
	Skew time.Duration
	// Loopback accepts plain http for hosts on this machine's loopback, for trials.
	Loopback bool
	// Now is the clock; nil: time.Now.
	Now func() time.Time
}

// Provider is one OpenID Connect provider, as a relying party sees it. It is safe for concurrent use.
type Provider struct {
	o      Options
	client *http.Client
	keys   *jwks.Set
	about  *discovery
	fault  atomic.Pointer[error] // why the keys could not be read the last time
}

const protocol = "oidc"

// New checks the options. It makes no request.
func New(o Options) (*Provider, error) {
	fail := func(format string, a ...any) (*Provider, error) {
		return nil, fmt.Errorf("oidc: provider %q: "+format, append([]any{o.Name}, a...)...)
	}
	switch {
	case o.Name == "" || len(o.Name) > 32 || strings.Trim(o.Name, "abcdefghijklmnopqrstuvwxyz0123456789-") != "":
		return fail("expected a name of 1 to 32 of a-z, 0-9 and -")
	case o.ClientID == "" || !federation.Printable(o.ClientID, 256):
		return fail("no client id is given")
	case o.Client == nil || o.Sealer == nil || o.Once == nil:
		return fail("no HTTP client, sealer or memory of what was used is given")
	case o.Skew < 0 || o.Skew > 5*time.Minute:
		return fail("expected a clock skew of at most 5m")
	}
	if err := checkURL(o.Issuer, o.Loopback); err != nil || strings.Contains(o.Issuer, "?") {
		return fail("issuer: expected an https URL without query or fragment")
	}
	if err := checkURL(o.RedirectURL, o.Loopback); err != nil {
		return fail("redirect URL: %w", err)
	}
	if len(o.Scopes) == 0 {
		o.Scopes = []string{"openid", "profile", "email"}
	}
	if !slices.Contains(o.Scopes, "openid") {
		o.Scopes = append([]string{"openid"}, o.Scopes...)
	}
	if len(o.Algs) == 0 {
		o.Algs = DefaultAlgs
	}
	for _, a := range o.Algs {
		if !slices.Contains(jwks.Algorithms, a) {
			return fail("algorithm %q: expected one of %s", a, strings.Join(jwks.Algorithms, ", "))
		}
	}
	if len(o.Groups) == 0 {
		o.Groups = []string{"groups"}
	}
	if slices.Contains(o.Groups, "") {
		return fail("groups: a name of the path is empty")
	}
	if o.Skew == 0 {
		o.Skew = DefaultSkew
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	p := &Provider{o: o, client: guarded(o.Client)}
	p.about = &discovery{p: p, turn: make(chan struct{}, 1)}
	var err error
	p.keys, err = jwks.New(jwks.Options{
		Source: (*keySource)(p), Every: keysServe / 2, MaxStale: keysServe, Unknown: keysAgain, Timeout: timeout, Now: o.Now,
		Fault: func(err error) { p.fault.Store(&err) },
	})
	if err != nil {
		return fail("%w", err)
	}
	return p, nil
}

// Name is ours for the provider.
func (p *Provider) Name() string { return p.o.Name }

// checkURL accepts https, and plain http on the loopback where that is configured.
func checkURL(raw string, loopback bool) error {
	u, err := url.Parse(raw)
	if err == nil && loopback && u.Scheme == "http" && onLoopback(u.Hostname()) {
		raw = "https" + strings.TrimPrefix(raw, "http")
	}
	if err := jwks.CheckURL(raw); err != nil {
		return errors.New("expected an https URL with a host and without user or fragment")
	}
	return nil
}

func onLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
