package access_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sallyport.dev/sallyport/internal/iam/access"
	"sallyport.dev/sallyport/internal/iam/document"
	"sallyport.dev/sallyport/internal/iam/rbac"
	"sallyport.dev/sallyport/internal/store/memory"
)

type house struct {
	docs *memory.Documents
	n    int
}

func (h *house) write(f func(tx document.Tx) error) {
	if err := h.docs.Write(context.Background(), f); err != nil {
		panic(err)
	}
}

func (h *house) add(m access.Mapping) {
	h.n++
	m.ID, m.Tenant = fmt.Sprint("m", h.n), "acme"
	h.write(func(tx document.Tx) error {
		_, err := document.Put(context.Background(), tx, m, 0)
		return err
	})
}

func (h *house) said(provider, user string, groups ...string) (changed bool) {
	h.write(func(tx document.Tx) (err error) {
		changed, err = access.SetGroups(context.Background(), tx, "acme", provider, user, groups, time.Unix(0, 0))
		return err
	})
	return changed
}

func (h *house) remap() (users []string) {
	h.write(func(tx document.Tx) (err error) {
		users, err = access.Remap(context.Background(), tx, "acme", time.Unix(0, 0))
		return err
	})
	slices.Sort(users)
	return users
}

// holds are the roles that are bound to somebody, with their teams.
func (h *house) holds(user string) (out []string) {
	all, err := document.List[access.Binding](context.Background(), h.docs, nil)
	if err != nil {
		panic(err)
	}
	for _, b := range all {
		if b.Subject == user {
			out = append(out, b.Role+"/"+b.Team)
		}
	}
	slices.Sort(out)
	return out
}

func TestGroupsOfProvidersAreApart(t *testing.T) {
	h := &house{docs: &memory.Documents{}}
	h.add(access.Mapping{Provider: "corp", Group: "staff", Role: rbac.Auditor})
	h.add(access.Mapping{Provider: "partner", Group: "staff", Role: rbac.Developer})
	if !h.said("corp", "ada", "staff") || h.said("corp", "ada", "staff") {
		t.Error("what changed is not what was said to have changed")
	}
	if !h.said("partner", "ada", "staff") || fmt.Sprint(h.holds("ada")) != "[auditor/ developer/]" {
		t.Error(h.holds("ada"))
	}
	// One provider takes away only what it gave.
	h.said("corp", "ada")
	if fmt.Sprint(h.holds("ada")) != "[developer/]" {
		t.Error(h.holds("ada"))
	}
	h.said("nobody", "eve", "staff")
	if len(h.holds("eve")) != 0 {
		t.Error("a provider without mappings gives ", h.holds("eve"))
	}
}

// A change of the mappings counts at once, and says for whom.
func TestRemap(t *testing.T) {
	h := &house{docs: &memory.Documents{}}
	h.said("corp", "ada", "staff")
	h.said("corp", "bob", "staff", "contractors")
	h.said("corp", "eve", "guests")
	h.add(access.Mapping{Provider: "corp", Group: "staff", Role: rbac.Admin})
	if got := fmt.Sprint(h.remap()); got != "[ada bob]" || len(h.remap()) != 0 {
		t.Error(got)
	}
	h.add(access.Mapping{Provider: "corp", Group: "contractors", Role: "*", Deny: true})
	if got := fmt.Sprint(h.remap()); got != "[bob]" || len(h.holds("bob")) != 0 || len(h.holds("ada")) != 1 {
		t.Error(got, h.holds("bob"), h.holds("ada"))
	}
	var users []string
	h.write(func(tx document.Tx) (err error) {
		users, err = access.Forget(context.Background(), tx, "acme", "corp", "")
		return err
	})
	if slices.Sort(users); fmt.Sprint(users) != "[ada bob eve]" || len(h.holds("ada")) != 0 {
		t.Error(users, h.holds("ada"))
	}
	if len(h.remap()) != 0 {
		t.Error("a provider that is forgotten gives roles")
	}
	// Who signs in again has them again.
	if !h.said("corp", "ada", "staff") || len(h.holds("ada")) != 1 {
		t.Error(h.holds("ada"))
	}
}

// More groups than are looked at give nothing: one that was cut off may be denied.
func TestTooManyGroups(t *testing.T) {
	h := &house{docs: &memory.Documents{}}
	h.add(access.Mapping{Provider: "corp", Group: "g*", Role: rbac.Auditor})
	groups := make([]string, rbac.MaxGroups+1)
	for i := range groups {
		groups[i] = fmt.Sprint("g", i)
	}
	err := h.docs.Write(t.Context(), func(tx document.Tx) error {
		_, err := access.SetGroups(t.Context(), tx, "acme", "corp", "ada", groups, time.Unix(0, 0))
		return err
	})
	if err == nil || len(h.holds("ada")) != 0 {
		t.Error(err, h.holds("ada"))
	}
}

// Whatever the mappings and groups are: to add a denial gives nobody anything, and what is bound in the
// end depends only on what was said last and the mappings that there are, not on what was before.
func TestDenialsOnlyTake(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		group := rapid.SampledFrom([]string{"a", "b", "ab", "b*", "a*", "c"})
		role := rapid.SampledFrom([]string{rbac.Auditor, rbac.Admin, rbac.Developer})
		team := rapid.SampledFrom([]string{"", "t1", "t2"})
		h, late := &house{docs: &memory.Documents{}}, &house{docs: &memory.Documents{}}
		said := rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"a", "b", "ab", "c", "bb"}), 0, 4, rapid.ID[string])
		h.said("corp", "ada", said.Draw(t, "first")...)
		for range rapid.IntRange(0, 6).Draw(t, "mappings") {
			m := access.Mapping{Provider: "corp", Group: group.Draw(t, "group"), Role: role.Draw(t, "role"), Team: team.Draw(t, "team"), Deny: rapid.Bool().Draw(t, "deny")}
			h.add(m)
			late.add(m)
			if rapid.Bool().Draw(t, "now") {
				h.remap()
			}
			if rapid.Bool().Draw(t, "in") {
				h.said("corp", "ada", said.Draw(t, "groups")...)
			}
		}
		last := said.Draw(t, "last")
		h.said("corp", "ada", last...)
		late.said("corp", "ada", last...)
		before := h.holds("ada")
		if !slices.Equal(before, late.holds("ada")) {
			t.Fatalf("%v, and from scratch %v", before, late.holds("ada"))
		}
		r := role.Draw(t, "denied")
		if rapid.Bool().Draw(t, "all") {
			r = "*"
		}
		h.add(access.Mapping{Provider: "corp", Group: group.Draw(t, "of"), Role: r, Team: team.Draw(t, "where"), Deny: true})
		h.remap()
		for _, x := range h.holds("ada") {
			if !slices.Contains(before, x) {
				t.Fatalf("a denial gives %s", x)
			}
		}
	})
}
