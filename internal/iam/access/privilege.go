package access

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"sallyport.dev/sallyport/internal/iam/directory"
	"sallyport.dev/sallyport/internal/iam/document"
	"sallyport.dev/sallyport/internal/iam/rbac"
)

// marks are what is bound to each subject, as text: the same as long as that is.
type marks map[owner]string

func newMarks(roles []rbac.Role, bindings []rbac.Binding) marks {
	custom := map[[2]string]string{}
	for _, r := range roles {
		custom[[2]string{r.Tenant, r.Name}] = fmt.Sprintf("%q %q", sorted(r.Permissions), sorted(r.Own))
	}
	lines := map[owner][]string{}
	for _, b := range bindings {
		o := owner{b.Subject.Tenant, b.Subject.ID}
		lines[o] = append(lines[o], fmt.Sprintf("%q %q %q %v %v %s", b.Subject.Kind, b.Role, b.Team, b.Effect, b.AllTenants, custom[[2]string{b.Tenant, b.Role}]))
	}
	m := marks{}
	for o, ls := range lines {
		slices.Sort(ls)
		m[o] = strings.Join(ls, "\n")
	}
	return m
}

func sorted(ps []rbac.Permission) []rbac.Permission {
	ps = slices.Clone(ps)
	slices.Sort(ps)
	return ps
}

// of is the text of a person and the groups they are in.
func (m marks) of(tenant, id string, groups []string) string {
	groups = slices.Clone(groups)
	slices.Sort(groups)
	h := sha256.New()
	fmt.Fprintf(h, "%q\n%s\n", id, m[owner{tenant, id}])
	for _, g := range groups {
		fmt.Fprintf(h, "%q\n%s\n", g, m[owner{tenant, g}])
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// Privilege is what a person or program may do, as a short text that is another one whenever their roles,
// their groups, those groups' roles, or what a role of the tenant's own among them permits changes. It
// answers from memory.
func (a *Access) Privilege(tenant, id string, groups []string) string {
	return (*a.marks.Load()).of(tenant, id, groups)
}

// PrivilegeIn is Privilege as a transaction sees it.
func PrivilegeIn(ctx context.Context, r document.Reader, tenant, id string) (string, error) {
	roles, err := document.List[Role](ctx, r, &tenant)
	if err != nil {
		return "", err
	}
	bindings, err := document.List[Binding](ctx, r, &tenant)
	if err != nil {
		return "", err
	}
	all, err := document.List[directory.Group](ctx, r, &tenant)
	if err != nil {
		return "", err
	}
	var rs []rbac.Role
	for _, x := range roles {
		rs = append(rs, x.RBAC())
	}
	var bs []rbac.Binding
	for _, x := range bindings {
		bs = append(bs, x.RBAC())
	}
	var groups []string
	for _, g := range all {
		if slices.Contains(g.Members, id) {
			groups = append(groups, g.ID)
		}
	}
	return newMarks(rs, bs).of(tenant, id, groups), nil
}
