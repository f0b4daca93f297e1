package rbac

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"sallyport.dev/sallyport/internal/iam/glob"
)

// Rule maps a group of an identity provider to a role, or takes it away again. Group names are taken
// as the provider writes them; * stands for any run of characters. The issuer is exact: another
// provider's group of the same name is another group.
type Rule struct {
	ID     string
	Tenant string
	Issuer string
	Group  string
	Role   string // "*", in a denying rule: every role
	Team   string // empty: the whole tenant
	Effect Effect
}

// Grant is a role that groups give.
type Grant struct {
	Role, Team string
	Rule       string // the first rule, by id, that gives it
}

// Mapping is the rules of one tenant. It never changes and is safe for concurrent use.
type Mapping struct {
	tenant string
	rules  []Rule
}

// MaxGroups is how many groups of one person are looked at. Who has more gets nothing: which of
// them a provider left out cannot be known, and one may be denied.
const MaxGroups = 1000

// NewMapping checks the rules and keeps those of one tenant.
func NewMapping(tenant string, rules []Rule) (*Mapping, error) {
	m := &Mapping{tenant: tenant}
	for _, r := range rules {
		if r.Tenant != tenant {
			continue
		}
		switch {
		case r.Issuer == "" || r.Group == "" || r.Role == "":
			return nil, fmt.Errorf("rbac: rule %q: it needs an issuer, a group and a role", r.ID)
		case strings.Contains(r.Issuer, "*"):
			return nil, fmt.Errorf("rbac: rule %q: the issuer is exact", r.ID)
		case r.Effect != Allow && r.Effect != Deny:
			return nil, fmt.Errorf("rbac: rule %q: it neither allows nor denies", r.ID)
		case r.Effect == Allow && strings.Contains(r.Role, "*"):
			return nil, fmt.Errorf("rbac: rule %q: it must name one role", r.ID)
		case r.Effect == Allow && strings.Trim(r.Group, "*") == "":
			return nil, fmt.Errorf("rbac: rule %q: it would give role %s to everybody; name a group", r.ID, r.Role)
		}
		m.rules = append(m.rules, r)
	}
	slices.SortFunc(m.rules, func(a, b Rule) int { return strings.Compare(a.ID, b.ID) })
	return m, nil
}

// ErrTooManyGroups refuses somebody whose groups cannot all be looked at.
var ErrTooManyGroups = errors.New("rbac: too many groups")

// Grants is what somebody's groups give, by role and team. A denying rule takes a role away in its
// team, or, without a team, everywhere; whatever else gives it.
func (m *Mapping) Grants(issuer string, groups []string) ([]Grant, error) {
	if len(groups) > MaxGroups {
		return nil, fmt.Errorf("%w: %d, and at most %d are read", ErrTooManyGroups, len(groups), MaxGroups)
	}
	got := map[[2]string]Grant{}
	for _, effect := range []Effect{Allow, Deny} {
		for _, r := range m.rules {
			if r.Effect != effect || r.Issuer != issuer || !slices.ContainsFunc(groups, func(g string) bool { return glob.Match(r.Group, g) }) {
				continue
			}
			if effect == Allow {
				if key := [2]string{r.Role, r.Team}; got[key].Rule == "" {
					got[key] = Grant{r.Role, r.Team, r.ID}
				}
				continue
			}
			for key := range got {
				// A role for the whole tenant reaches the denied team too, so it goes with it.
				if (r.Role == "*" || r.Role == key[0]) && (r.Team == "" || r.Team == key[1] || key[1] == "") {
					delete(got, key)
				}
			}
		}
	}
	out := make([]Grant, 0, len(got))
	for _, g := range got {
		out = append(out, g)
	}
	slices.SortFunc(out, func(a, b Grant) int {
		if c := strings.Compare(a.Role, b.Role); c != 0 {
			return c
		}
		return strings.Compare(a.Team, b.Team)
	})
	return out, nil
}

// CheckRule says whether somebody may make a rule: what it gives, they must hold.
func (s *Set) CheckRule(author []Subject, r Rule) error {
	if _, err := NewMapping(r.Tenant, []Rule{r}); err != nil {
		return err
	}
	where := Resource{Tenant: r.Tenant, Team: r.Team}
	if !s.Can(author, "write:mapping", where).Allow {
		return fmt.Errorf("%w: write:mapping", ErrEscalation)
	}
	if r.Effect == Deny {
		return nil
	}
	role, ok := s.Role(r.Tenant, r.Role)
	if !ok {
		return fmt.Errorf("rbac: there is no role %q in tenant %s", r.Role, r.Tenant)
	}
	return s.holds(author, role, where)
}
