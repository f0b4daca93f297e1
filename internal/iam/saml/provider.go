// Package saml signs people in with a SAML 2.0 identity provider: the Web Browser SSO profile begun
// by us (AuthnRequest by redirect, Response by POST). It speaks no HTTP: the caller redirects, keeps
// a cookie and hands over what was posted.
//
// XML signatures cover bytes that parsers disagree about. So the document is refused unless it can
// be read in one way; it must have the one shape that is expected, with the signature of the
// assertion where it belongs; and everything that is believed is read from the bytes that the
// signature was verified over, never from the document that came.
package saml

import (
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"

	"sallyport.dev/sallyport/internal/iam/federation"
)

// DefaultSkew is what two clocks may differ by.
const DefaultSkew = 30 * time.Second

// IdP is an identity provider, as its metadata describes it.
type IdP struct {
	EntityID string
	SSO      string // of the HTTP-Redirect binding
	// Certificates are those that it signs with: RSA of at least 2048 bits or ECDSA. They are
	// trusted by themselves, whoever issued them, until they end. Two during a rotation.
	Certificates []*x509.Certificate
}

// Options makes a Provider.
type Options struct {
	// Name is ours, for the record and for rules: 1 to 32 of a-z, 0-9 and "-".
	Name string
	// EntityID is ours: what the provider must name as the audience.
	EntityID string
	// ACS is our assertion consumer service, one for each provider: where the provider posts to.
	ACS string
	IdP IdP
	// Subject is the attribute that says who it is. Empty: the NameID, which must then be neither
	// transient nor an email address.
	Subject string
	// Groups, DisplayName and Email are attributes; default "groups", "displayName" and "mail".
	Groups, DisplayName, Email string
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

// Provider is one identity provider, as a service provider sees it. It is safe for concurrent use.
type Provider struct{ o Options }

const protocol = "saml"

// New checks the options.
func New(o Options) (*Provider, error) {
	fail := func(format string, a ...any) (*Provider, error) {
		return nil, fmt.Errorf("saml: provider %q: "+format, append([]any{o.Name}, a...)...)
	}
	switch {
	case o.Name == "" || len(o.Name) > 32 || strings.Trim(o.Name, "abcdefghijklmnopqrstuvwxyz0123456789-") != "":
		return fail("expected a name of 1 to 32 of a-z, 0-9 and -")
	case !federation.Printable(o.EntityID, federation.MaxIssuer):
		return fail("no entity id of ours is given")
	case !federation.Printable(o.IdP.EntityID, federation.MaxIssuer):
		return fail("no entity id of the provider is given")
	case o.EntityID == o.IdP.EntityID:
		return fail("the provider has our entity id")
	case o.Sealer == nil || o.Once == nil:
		return fail("no sealer or memory of what was used is given")
	case o.Skew < 0 || o.Skew > 5*time.Minute:
		return fail("expected a clock skew of at most 5m")
	case len(o.IdP.Certificates) == 0 || len(o.IdP.Certificates) > maxCertificates:
		return fail("expected 1 to %d certificates of the provider", maxCertificates)
	}
	if err := checkURL(o.ACS, o.Loopback); err != nil {
		return fail("ACS: %w", err)
	}
	if err := checkURL(o.IdP.SSO, o.Loopback); err != nil {
		return fail("the provider's sign-on URL: %w", err)
	}
	for _, c := range o.IdP.Certificates {
		if err := checkKey(c); err != nil {
			return fail("%w", err)
		}
	}
	for _, d := range []struct {
		v   *string
		def string
	}{{&o.Groups, "groups"}, {&o.DisplayName, "displayName"}, {&o.Email, "mail"}} {
		if *d.v == "" {
			*d.v = d.def
		}
	}
	if o.Skew == 0 {
		o.Skew = DefaultSkew
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Provider{o}, nil
}

// Name is ours for the provider.
func (p *Provider) Name() string { return p.o.Name }

func checkKey(c *x509.Certificate) error {
	if c == nil {
		return errors.New("a certificate of the provider is missing")
	}
	switch k := c.PublicKey.(type) {
	case *rsa.PublicKey:
		if k.N.BitLen() >= 2048 && k.N.BitLen() <= 8192 {
			return nil
		}
	case *ecdsa.PublicKey:
		if k.Curve.Params().BitSize >= 256 {
			return nil
		}
	}
	return errors.New("a certificate of the provider has a key that is too weak or of an unknown kind; expected RSA of 2048 to 8192 bits or ECDSA")
}

func checkURL(raw string, loopback bool) error {
	u, err := url.Parse(raw)
	if err == nil && u.Host != "" && u.User == nil && u.Opaque == "" && !strings.Contains(raw, "#") {
		ip := net.ParseIP(u.Hostname())
		if u.Scheme == "https" || loopback && u.Scheme == "http" && (u.Hostname() == "localhost" || ip != nil && ip.IsLoopback()) {
			return nil
		}
	}
	return errors.New("expected an https URL with a host and without user or fragment")
}
