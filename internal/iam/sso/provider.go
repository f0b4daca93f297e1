// Package sso signs people in with the identity providers of their tenant: OpenID Connect (package oidc)
// and SAML 2.0 (package saml), both administered, sealed and kept as documents.
//
// What it promises: who comes in is found by issuer and subject, never by an address; groups give what
// the mappings of the tenant make of them, a denial winning, and no more than the last sign-in said; a
// person who was switched off stays out however valid the assertion; nobody is created unless the
// provider's settings say so; every sign-in begun can be finished once, on whichever node.
package sso

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"sallyport.dev/sallyport/internal/iam/directory"
	"sallyport.dev/sallyport/internal/iam/document"
	"sallyport.dev/sallyport/internal/iam/federation"
)

// Kinds of documents.
const (
	KindProvider = "identity_provider"
	KindSecret   = "identity_provider_secret"
	KindOnce     = "once"
)

// Protocols.
const (
	OIDC = "oidc"
	SAML = "saml"
)

// Provider is an identity provider of a tenant.
type Provider struct {
	ID       string `json:"id"`
	Tenant   string `json:"tenant"`
	Name     string `json:"name"`  // in addresses and mappings: 1 to 32 of a-z, 0-9 and "-"; it never changes
	Title    string `json:"title"` // on the sign-in page
	Protocol string `json:"protocol"`
	Disabled bool   `json:"disabled,omitzero"`
	// Issuer is the OpenID Connect issuer or the SAML entity id, byte for byte.
	Issuer string `json:"issuer"`

	// Of OpenID Connect. HasSecret says that a client secret is kept, sealed.
	ClientID   string   `json:"client_id,omitempty"`
	HasSecret  bool     `json:"has_secret,omitzero"`
	Scopes     []string `json:"scopes,omitempty"`
	Algorithms []string `json:"algorithms,omitempty"`
	UserInfo   bool     `json:"user_info,omitzero"` // ask its userinfo endpoint for what the ID token lacks

	// Of SAML: the provider's metadata document, and the attribute that says who it is (empty: NameID).
	Metadata string `json:"metadata,omitempty"`
	Subject  string `json:"subject,omitempty"`

	// Groups is where the groups are: a claim (names from the outside in, separated by "/") or an attribute.
	Groups string `json:"groups,omitempty"`
	// Create makes a person at their first sign-in. Without it they must be there: linked by hand, or
	// provisioned (MatchExternalID).
	Create bool `json:"create,omitzero"`
	// MatchExternalID links somebody whom SCIM provisioned to the account whose subject is their external id.
	MatchExternalID bool `json:"match_external_id,omitzero"`
	// StrongAMR and StrongACR are what the provider says of a sign-in in two ways; default: the method mfa.
	StrongAMR []string `json:"strong_amr,omitempty"`
	StrongACR []string `json:"strong_acr,omitempty"`
	// CA is the PEM of the authorities that its certificate must come from; empty: the system's.
	CA      string    `json:"ca,omitempty"`
	Created time.Time `json:"created"`
}

// Head implements document.Entity. A tenant has a name and an issuer once.
func (p Provider) Head() document.Head {
	return document.Head{Kind: KindProvider, ID: p.ID, Tenant: p.Tenant, Keys: []string{
		document.Key("name", p.Tenant, p.Name), document.Key("issuer", p.Tenant, p.Issuer),
	}}
}

// secretRow is the sealed client secret of a provider. Only this package sees it.
type secretRow struct {
	ID     string `json:"id"` // the provider's
	Tenant string `json:"tenant"`
	Sealed []byte `json:"sealed"`
}

func (s secretRow) Head() document.Head {
	return document.Head{Kind: KindSecret, ID: s.ID, Tenant: s.Tenant}
}

var name = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$`)

// Check says what is wrong with a provider. Whether it answers is seen at the first sign-in.
func (p *Provider) Check() error {
	if !name.MatchString(p.Name) {
		return fmt.Errorf("sso: name: expected 1 to 32 of a-z, 0-9 and -")
	}
	if err := directory.Name("title", p.Title); err != nil {
		return err
	}
	if !federation.Printable(p.Issuer, federation.MaxIssuer) {
		return fmt.Errorf("sso: issuer: expected up to %d bytes of printable text", federation.MaxIssuer)
	}
	for what, list := range map[string][]string{"scopes": p.Scopes, "algorithms": p.Algorithms, "strong_amr": p.StrongAMR, "strong_acr": p.StrongACR} {
		if len(list) > 16 || slices.ContainsFunc(list, func(s string) bool { return !federation.Printable(s, 256) }) {
			return fmt.Errorf("sso: %s: expected at most 16 printable names", what)
		}
	}
	if len(p.CA) > 64<<10 || len(p.Metadata) > 512<<10 {
		return fmt.Errorf("sso: ca or metadata is too long")
	}
	switch p.Protocol {
	case OIDC:
		u, err := url.Parse(p.Issuer)
		if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.Scheme != "https" && u.Scheme != "http" {
			return fmt.Errorf("sso: issuer: expected the address of an OpenID Connect provider")
		}
		if p.ClientID == "" || p.Metadata != "" || p.Subject != "" {
			return fmt.Errorf("sso: an OpenID Connect provider needs a client_id, and no metadata or subject")
		}
	case SAML:
		if p.Metadata == "" || p.ClientID != "" || p.HasSecret || len(p.Scopes)+len(p.Algorithms) > 0 || p.UserInfo {
			return fmt.Errorf("sso: a SAML provider needs its metadata, and no client_id, secret, scopes, algorithms or user_info")
		}
	default:
		return fmt.Errorf("sso: protocol: expected %s or %s", OIDC, SAML)
	}
	return nil
}

// Strong says whether an assertion shows a sign-in in two ways.
func (p *Provider) Strong(a *federation.Assertion) bool {
	amr := p.StrongAMR
	if len(amr) == 0 && len(p.StrongACR) == 0 {
		amr = []string{"mfa"}
	}
	return slices.Contains(p.StrongACR, a.ACR) && a.ACR != "" ||
		slices.ContainsFunc(a.AMR, func(m string) bool { return slices.Contains(amr, m) })
}

// groupPath is Groups as package oidc takes it.
func (p *Provider) groupPath() []string {
	if p.Groups == "" {
		return nil
	}
	return strings.Split(p.Groups, "/")
}
