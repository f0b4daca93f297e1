package approval

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"sallyport.dev/sallyport/internal/iam/access"
	"sallyport.dev/sallyport/internal/iam/directory"
	"sallyport.dev/sallyport/internal/iam/document"
	"sallyport.dev/sallyport/internal/iam/glob"
	"sallyport.dev/sallyport/internal/iam/rbac"
	"sallyport.dev/sallyport/internal/iam/roster"
)

// People implements Directory: persons as they are stored now, groups and roles as of the last two
// seconds. Services, agents and whoever runs the machine are no persons.
type People struct {
	Docs   document.Reader
	Roster *roster.Roster
	Access *access.Access
	Now    func() time.Time // nil: time.Now
}

var _ Directory = People{}

func (p People) now() time.Time {
	if p.Now != nil {
		return p.Now()
	}
	return time.Now()
}

// Person implements Directory. Somebody who is not in the directory is a person who is not active.
func (p People) Person(ctx context.Context, id string) (Person, error) {
	u, _, err := document.Get[directory.User](ctx, p.Docs, id)
	if errors.Is(err, document.ErrNotFound) {
		return Person{ID: id}, nil
	}
	if err != nil {
		return Person{}, err
	}
	st, err := p.Roster.Check(u.Tenant, u.ID, p.now())
	if err != nil {
		return Person{}, err
	}
	// An address is no proof of who somebody is, but two accounts with the same one are taken for one
	// person's: that only refuses more.
	who := Person{ID: u.ID, Tenant: u.Tenant, Active: u.Active && st.Bad == "", Mail: strings.ToLower(u.Email)}
	for _, l := range u.Links {
		who.Logins = append(who.Logins, Login{l.Issuer, l.Subject})
	}
	return who, nil
}

// MayApprove implements Directory.
func (p People) MayApprove(_ context.Context, who Person, tenant, action string) (bool, error) {
	now := p.now()
	st, err := p.Roster.Check(who.Tenant, who.ID, now)
	if err != nil {
		return false, err
	}
	if st.Bad != "" || st.Kind != directory.KindUser {
		return false, nil
	}
	subjects := []rbac.Subject{{Tenant: who.Tenant, Kind: rbac.User, ID: who.ID}}
	for _, g := range st.Groups {
		subjects = append(subjects, rbac.Subject{Tenant: who.Tenant, Kind: rbac.Group, ID: g})
	}
	for _, need := range []rbac.Permission{"approve:change", rbac.Permission(action)} {
		d, err := p.Access.Can(subjects, need, rbac.Resource{Tenant: tenant}, now)
		if err != nil || !d.Allow {
			return false, err
		}
	}
	return true, nil
}

// Rules say which permissions wait for a second person: a permission by its name, or a pattern with *
// for those of it that the list of permissions marks as dangerous. None: nothing waits.
type Rules []string

// Check says what is wrong with them: a rule that holds nothing back is a mistake.
func (rs Rules) Check() error {
	for _, r := range rs {
		holds := false
		for _, i := range rbac.Permissions() {
			holds = holds || Rules{r}.Hold(i)
		}
		if !holds {
			return fmt.Errorf("approval: %q holds nothing back; expected a permission that changes something, such as write:policy, or a pattern such as * or *:policy", r)
		}
	}
	return nil
}

// Hold says whether a permission waits. Reading never does, nor does approving.
func (rs Rules) Hold(i rbac.Info) bool {
	if i.Permission.Verb() == "read" || i.Permission == "approve:change" {
		return false
	}
	// Who is in a group has its roles, so what holds back bindings holds back groups.
	if i.Permission == "write:group" && slices.ContainsFunc(rs, func(r string) bool { return glob.Match(r, "write:binding") }) {
		return true
	}
	for _, r := range rs {
		if r == string(i.Permission) || i.FourEyes && glob.Match(r, string(i.Permission)) {
			return true
		}
	}
	return false
}
