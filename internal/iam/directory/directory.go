// Package directory is who there is: tenants, the teams in them, people and the groups they are in,
// services, and agents with those on whose behalf they act. It says nothing about what anyone may do
// (package rbac) or how they prove who they are (packages session, jwtbearer, spiffe, apikey).
//
// A tenant's name is its id and is chosen by hand, since it is written in policies and in the record.
// Everything else has an id of its own that never changes and is never used again.
package directory

import (
	"crypto/rand"
	"encoding/base32"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"sallyport.dev/sallyport/internal/iam/document"
)

// Kinds of documents.
const (
	KindTenant  = "tenant"
	KindTeam    = "team"
	KindUser    = "user"
	KindGroup   = "group"
	KindService = "service"
	KindAgent   = "agent"
)

// DefaultTenant is where everything belongs that names no tenant. It exists from the start.
const DefaultTenant = "default"

// IssuerSPIFFE is the issuer of a subject that is a SPIFFE id. No configured issuer has its name.
const IssuerSPIFFE = "spiffe"

// Bounds.
const (
	maxName    = 200 // bytes
	maxMembers = 50_000
	maxLinks   = 16
	// maxPatterns bounds each list of a scope.
	maxPatterns = 64
)

// NewID makes an id: 20 characters of a-z2-7, 100 bits, after a prefix that says what it is of.
func NewID(prefix string) string {
	var b [13]byte
	rand.Read(b[:])
	return prefix + "_" + strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(b[:])[:20])
}

// Tenant is a company, or a part of one, that sees nothing of the others.
type Tenant struct {
	ID       string    `json:"id"` // lower-case letters, digits and hyphens
	Name     string    `json:"name"`
	Created  time.Time `json:"created"`
	Disabled bool      `json:"disabled,omitzero"` // nobody and nothing of it gets in
}

// Head implements document.Entity. A tenant belongs to itself.
func (t Tenant) Head() document.Head {
	return document.Head{Kind: KindTenant, ID: t.ID, Tenant: t.ID}
}

// Team is a part of a tenant. Keys, services and agents belong to one; people may be in several.
type Team struct {
	ID      string    `json:"id"`
	Tenant  string    `json:"tenant"`
	Name    string    `json:"name"` // unique in the tenant, case apart
	Members []string  `json:"members,omitempty"`
	Created time.Time `json:"created"`
}

// Head implements document.Entity.
func (t Team) Head() document.Head {
	return document.Head{Kind: KindTeam, ID: t.ID, Tenant: t.Tenant, Keys: []string{NameKey(t.Tenant, t.Name)}}
}

// Where a person or a group comes from. What SCIM brought, only SCIM changes.
const (
	OriginLocal = "local"
	OriginSCIM  = "scim"
	OriginOIDC  = "oidc"
	OriginSAML  = "saml"
)

// User is a person.
type User struct {
	ID       string `json:"id"`
	Tenant   string `json:"tenant"`
	UserName string `json:"user_name"` // unique in the tenant, case apart (RFC 7643 section 4.1.1)
	Name     string `json:"name"`
	Email    string `json:"email,omitempty"` // for people to read; never an identity
	Origin   string `json:"origin"`
	// ExternalID is the provisioning client's own id for them (RFC 7643 section 3.1).
	ExternalID string `json:"external_id,omitempty"`
	// Links are the accounts at identity providers that sign in as this person.
	Links []Link `json:"links,omitempty"`
	// Active is false for who was deprovisioned: sessions and keys are dead at once.
	Active     bool      `json:"active"`
	BreakGlass bool      `json:"break_glass,omitzero"` // a local account for emergencies, whose every use is an alarm
	Created    time.Time `json:"created"`
	Updated    time.Time `json:"updated"`
	// Attributes are what a provisioning client sent beyond these, as JSON, so that it reads back
	// what it wrote.
	Attributes map[string]any `json:"attributes,omitempty"`
}

// Link is an account at an identity provider: issuer and subject together, never an address.
type Link struct {
	Provider string `json:"provider"` // its name in the configuration
	Issuer   string `json:"issuer"`
	Subject  string `json:"subject"`
}

// Head implements document.Entity.
func (u User) Head() document.Head {
	h := document.Head{Kind: KindUser, ID: u.ID, Tenant: u.Tenant, Keys: []string{NameKey(u.Tenant, u.UserName)}}
	if u.ExternalID != "" {
		h.Keys = append(h.Keys, document.Key("external", u.Tenant, u.ExternalID))
	}
	for _, l := range u.Links {
		h.Keys = append(h.Keys, LinkKey(u.Tenant, l))
	}
	return h
}

// Group is a set of people, as a provisioning client or an administrator keeps it.
type Group struct {
	ID         string         `json:"id"`
	Tenant     string         `json:"tenant"`
	Name       string         `json:"name"` // unique in the tenant, case apart
	Origin     string         `json:"origin"`
	ExternalID string         `json:"external_id,omitempty"`
	Members    []string       `json:"members,omitempty"` // ids of users
	Created    time.Time      `json:"created"`
	Updated    time.Time      `json:"updated"`
	Attributes map[string]any `json:"attributes,omitempty"`
}

// Head implements document.Entity.
func (g Group) Head() document.Head {
	h := document.Head{Kind: KindGroup, ID: g.ID, Tenant: g.Tenant, Keys: []string{NameKey(g.Tenant, g.Name)}}
	if g.ExternalID != "" {
		h.Keys = append(h.Keys, document.Key("external", g.Tenant, g.ExternalID))
	}
	return h
}

// Service is a program that calls for itself. It proves who it is with a key of its own, a token of an
// issuer that is trusted, or a certificate.
type Service struct {
	ID       string    `json:"id"`
	Tenant   string    `json:"tenant"`
	Team     string    `json:"team,omitempty"` // id
	Name     string    `json:"name"`           // unique in the tenant
	Owner    string    `json:"owner,omitempty"`
	Subjects []Subject `json:"subjects,omitempty"`
	// Scopes is what it may reach with a certificate alone. Keys and tokens bring their own.
	Scopes   Scopes    `json:"scopes,omitzero"`
	Disabled bool      `json:"disabled,omitzero"`
	Created  time.Time `json:"created"`
}

// Scopes is what may be reached, as iam.Scopes says: an empty list allows nothing.
type Scopes struct {
	Upstreams []string `json:"upstreams"`
	Endpoints []string `json:"endpoints"`
	Models    []string `json:"models"`
}

// Subject is another proof of who a service or an agent is: a token's issuer and subject, or, with
// the issuer "spiffe", a SPIFFE id, or a pattern of them (peer.Check) within one trust domain.
type Subject struct {
	Issuer  string `json:"issuer"`
	Subject string `json:"subject"`
}

// Head implements document.Entity.
func (s Service) Head() document.Head {
	return document.Head{Kind: KindService, ID: s.ID, Tenant: s.Tenant, Keys: append([]string{NameKey(s.Tenant, s.Name)}, subjectKeys(s.Subjects)...)}
}

// Agent is a program that calls on behalf of people. For says whom; none means that it may act for
// nobody, and "*" for everyone of its tenant.
type Agent struct {
	ID       string    `json:"id"`
	Tenant   string    `json:"tenant"`
	Team     string    `json:"team,omitempty"`
	Name     string    `json:"name"`
	Owner    string    `json:"owner,omitempty"`
	For      []string  `json:"for,omitempty"` // ids of users
	Subjects []Subject `json:"subjects,omitempty"`
	Scopes   Scopes    `json:"scopes,omitzero"` // see Service
	Disabled bool      `json:"disabled,omitzero"`
	Created  time.Time `json:"created"`
}

// Head implements document.Entity.
func (a Agent) Head() document.Head {
	return document.Head{Kind: KindAgent, ID: a.ID, Tenant: a.Tenant, Keys: append([]string{NameKey(a.Tenant, a.Name)}, subjectKeys(a.Subjects)...)}
}

// NameKey finds what has a name that is unique in its tenant, case apart.
func NameKey(tenant, name string) string {
	return document.Key("name", tenant, strings.ToLower(name))
}

// LinkKey finds the person who signs in with an account of an identity provider.
func LinkKey(tenant string, l Link) string {
	return document.Key("link", tenant, l.Issuer, l.Subject)
}

// SubjectKey finds the service or agent that a token or a certificate speaks for.
func SubjectKey(s Subject) string { return document.Key("subject", s.Issuer, s.Subject) }

func subjectKeys(ss []Subject) []string {
	var keys []string
	for _, s := range ss {
		keys = append(keys, SubjectKey(s))
	}
	return keys
}

// Name checks a name that people give and read: 1 to 200 bytes of printable text. It keeps out what
// would hurt a terminal, a log or a page.
func Name(what, s string) error {
	if strings.TrimSpace(s) == "" {
		return fmt.Errorf("directory: %s is missing", what)
	}
	return label(what, s)
}

func label(what, s string) error {
	if len(s) > maxName || !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return fmt.Errorf("directory: %s: expected at most %d bytes of printable text", what, maxName)
	}
	return nil
}
