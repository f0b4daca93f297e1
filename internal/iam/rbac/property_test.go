package rbac

import (
	"fmt"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

var (
	genSubject = rapid.Custom(func(t *rapid.T) Subject {
		return Subject{rapid.SampledFrom([]string{"a", "b", System}).Draw(t, "tenant"), rapid.SampledFrom([]Kind{User, Group}).Draw(t, "kind"), rapid.SampledFrom([]string{"x", "y"}).Draw(t, "id")}
	})
	genBinding = rapid.Custom(func(t *rapid.T) Binding {
		who := genSubject.Draw(t, "who")
		b := Binding{ID: fmt.Sprint(rapid.IntRange(0, 1<<30).Draw(t, "id")), Subject: who, Tenant: who.Tenant,
			Role: rapid.SampledFrom([]string{Owner, Admin, PolicyEditor, Operator, Auditor, Developer, "custom"}).Draw(t, "role"),
			Team: rapid.SampledFrom([]string{"", "t"}).Draw(t, "team"), Effect: rapid.SampledFrom([]Effect{Allow, Allow, Deny}).Draw(t, "effect")}
		b.AllTenants = who.Tenant == System && b.Team == "" && rapid.Bool().Draw(t, "all")
		return b
	})
	genPermission = rapid.Custom(func(t *rapid.T) Permission { return rapid.SampledFrom(list).Draw(t, "p").Permission })
	genResource   = rapid.Custom(func(t *rapid.T) Resource {
		return Resource{Tenant: rapid.SampledFrom([]string{"a", "b", System}).Draw(t, "on"), Team: rapid.SampledFrom([]string{"", "t", "u"}).Draw(t, "in"), Owner: genSubject.Draw(t, "owner")}
	})
	custom = []Role{{Name: "custom", Tenant: "a", Permissions: []Permission{"read:key"}, Own: []Permission{"write:key"}}}
)

func TestADenyWinsInAnyOrderAndNothingCrossesTenants(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		bs := rapid.SliceOfN(genBinding, 0, 8).Draw(t, "bindings")
		who := rapid.SliceOfN(genSubject, 1, 3).Draw(t, "who")
		p, on := genPermission.Draw(t, "permission"), genResource.Draw(t, "resource")
		make := func(bs []Binding) Decision {
			s, err := NewSet(custom, bs)
			if err != nil {
				t.Fatal(err)
			}
			return s.Can(who, p, on)
		}
		d := make(bs)
		for _, b := range bs { // whatever allows it besides
			role := builtin[b.Role]
			if b.Role == "custom" && b.Tenant == "a" {
				role = custom[0]
			}
			about := (b.Tenant == on.Tenant || b.AllTenants) && (b.Team == "" || b.Team == on.Team) && slices.Contains(who, b.Subject)
			if b.Effect == Deny && about && (role.Name == "" || slices.Contains(role.Permissions, p) || slices.Contains(role.Own, p)) && d.Allow {
				t.Fatalf("%+v denies %s on %+v, and it is allowed: %+v", b, p, on, d)
			}
		}
		if again := make(rapid.Permutation(bs).Draw(t, "order")); again.Allow != d.Allow {
			t.Fatalf("the order decided: %+v, %+v", d, again)
		}
		more := genBinding.Draw(t, "more")
		after := make(append(slices.Clone(bs), more))
		if more.Effect == Deny && after.Allow && !d.Allow {
			t.Fatal("a deny allowed")
		}
		if more.Effect == Allow && d.Allow && !after.Allow {
			t.Fatal("an allow denied")
		}
		if more.Tenant != on.Tenant && !more.AllTenants && !reflect.DeepEqual(d, after) {
			t.Fatalf("a binding of %s changed %s: %+v, %+v", more.Tenant, on.Tenant, d, after)
		}
	})
}

// Whatever roles and bindings there are: who may make a role could do all that it allows before.
func TestACustomRoleNeverExceedsItsAuthor(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		bs := rapid.SliceOfN(genBinding, 1, 6).Draw(t, "bindings")
		s, err := NewSet(custom, bs)
		if err != nil {
			t.Fatal(err)
		}
		author := append(rapid.SliceOfN(genSubject, 0, 2).Draw(t, "author"), bs[0].Subject)
		r := Role{Name: "new", Tenant: rapid.SampledFrom([]string{"a", "b"}).Draw(t, "tenant"),
			Permissions: rapid.SliceOfN(genPermission, 1, 3).Draw(t, "permissions"), Own: rapid.SliceOfN(genPermission, 0, 1).Draw(t, "own")}
		if s.CheckRole(author, r) != nil {
			return
		}
		victim := Subject{r.Tenant, User, "somebody new"}
		with, err := NewSet(append(slices.Clone(custom), r), append(slices.Clone(bs), bind("new", victim, "new", Allow)))
		if err != nil {
			t.Fatal(err)
		}
		p, on := genPermission.Draw(t, "permission"), genResource.Draw(t, "resource")
		if with.Can([]Subject{victim}, p, on).Allow && !s.Can(author, p, on).Allow {
			t.Fatalf("the role gives %s on %+v, which its author %v does not hold", p, on, author)
		}
	})
}

// A denial wins whichever of the two was made first, whoever of those asked about it is of, and by whatever
// role; and a permission that is in no list is held by nobody, although a stored role names it.
func TestADenialWinsWhicheverComesFirst(t *testing.T) {
	ann, ops := user("a", "ann"), group("a", "ops")
	for _, ids := range [][2]string{{"1", "2"}, {"2", "1"}} {
		for _, of := range [][2]Subject{{ann, ann}, {ann, ops}, {ops, ann}, {ops, ops}} {
			for _, who := range [][]Subject{{ann, ops}, {ops, ann}} {
				s := newSet(t, custom, bind(ids[0], of[0], Owner, Allow), bind(ids[1], of[1], "custom", Deny))
				if s.Can(who, "read:key", Resource{Tenant: "a"}).Allow || s.Can(who, "write:key", Resource{Tenant: "a"}).Allow {
					t.Errorf("allowed by %s, denied by %s, asked of %v: it is allowed", of[0], of[1], who)
				}
				if !s.Can(who, "read:team", Resource{Tenant: "a"}).Allow {
					t.Error("what is not denied is")
				}
			}
		}
	}
	s := newSet(t, []Role{{Name: "old", Tenant: "a", Permissions: []Permission{"write:everything"}}}, bind("1", ann, "old", Allow))
	if s.Can([]Subject{ann}, "write:everything", Resource{Tenant: "a"}).Allow {
		t.Error("a permission that there is not is held")
	}
}
