package directory

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"sallyport.dev/sallyport/internal/iam/peer"
)

var tenantID = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

// Check says what is wrong with a tenant.
func (t *Tenant) Check() error {
	if !tenantID.MatchString(t.ID) {
		return fmt.Errorf("directory: tenant id: expected 1 to 63 lower-case letters, digits and hyphens")
	}
	return Name("tenant name", t.Name)
}

// Check says what is wrong with a team.
func (t *Team) Check() error {
	if err := Name("team name", t.Name); err != nil {
		return err
	}
	return members(t.Members)
}

// Check says what is wrong with a person.
func (u *User) Check() error {
	if err := Name("user name", u.UserName); err != nil {
		return err
	}
	for what, s := range map[string]string{"name": u.Name, "email": u.Email, "external id": u.ExternalID} {
		if err := label(what, s); err != nil {
			return err
		}
	}
	if !slices.Contains([]string{OriginLocal, OriginSCIM, OriginOIDC, OriginSAML}, u.Origin) {
		return fmt.Errorf("directory: unknown origin %q", u.Origin)
	}
	if len(u.Links) > maxLinks {
		return fmt.Errorf("directory: more than %d linked accounts", maxLinks)
	}
	for _, l := range u.Links {
		if l.Issuer == "" || l.Subject == "" {
			return fmt.Errorf("directory: a linked account needs an issuer and a subject")
		}
	}
	return nil
}

// Check says what is wrong with a group.
func (g *Group) Check() error {
	if err := Name("group name", g.Name); err != nil {
		return err
	}
	if err := label("external id", g.ExternalID); err != nil {
		return err
	}
	return members(g.Members)
}

// Check says what is wrong with a service.
func (s *Service) Check() error { return program("service name", s.Name, s.Subjects, s.Scopes) }

// Check says what is wrong with an agent.
func (a *Agent) Check() error {
	if err := members(a.For); err != nil {
		return err
	}
	return program("agent name", a.Name, a.Subjects, a.Scopes)
}

func program(what, name string, subjects []Subject, scopes Scopes) error {
	if err := Name(what, name); err != nil {
		return err
	}
	if len(subjects) > maxLinks {
		return fmt.Errorf("directory: more than %d subjects", maxLinks)
	}
	for _, s := range subjects {
		if s.Issuer == "" || s.Subject == "" {
			return fmt.Errorf("directory: a subject needs an issuer (or \"spiffe\") and a name")
		}
		if s.Issuer == IssuerSPIFFE {
			if err := peer.Check(s.Subject); err != nil {
				return fmt.Errorf("directory: subject: %w", err)
			}
		}
	}
	for _, l := range [][]string{scopes.Upstreams, scopes.Endpoints, scopes.Models} {
		if len(l) > maxPatterns {
			return fmt.Errorf("directory: a scope has more than %d patterns", maxPatterns)
		}
		for _, p := range l {
			if p == "" || len(p) > maxName || strings.ContainsFunc(p, func(r rune) bool { return r <= ' ' || r > '~' }) {
				return fmt.Errorf("directory: scope: expected patterns of 1 to %d printable ASCII characters without spaces", maxName)
			}
		}
	}
	return nil
}

func members(ids []string) error {
	if len(ids) > maxMembers {
		return fmt.Errorf("directory: more than %d members", maxMembers)
	}
	seen := make(map[string]bool, len(ids))
	for _, id := range ids {
		if id == "" || len(id) > 128 {
			return fmt.Errorf("directory: a member is an id of 1 to 128 bytes")
		}
		if seen[id] {
			return fmt.Errorf("directory: a member is named twice")
		}
		seen[id] = true
	}
	return nil
}
