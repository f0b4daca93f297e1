package iam_test

import (
	"net/netip"
	"testing"
	"time"

	"sallyport.dev/sallyport/internal/iam"
	"sallyport.dev/sallyport/internal/iam/quota"
)

const day = 24 * time.Hour

func TestASecretPastItsAgeIsRefused(t *testing.T) {
	classes := iam.Classes{iam.DefaultClass: {MaxAge: 90 * day, Warn: 14 * day}, "ci": {MaxAge: day, Warn: time.Hour}}
	h := newHouse(t)
	id, standard := h.create(t, iam.NewKey{})
	_, ci := h.create(t, iam.NewKey{Detail: iam.Detail{Class: "ci"}})
	_, unknown := h.create(t, iam.NewKey{Detail: iam.Detail{Class: "no-such-class"}})
	m, err := iam.New(iam.Options{Mode: iam.ModeKeys, Pepper: pepper, Keys: openStore(t, h.dir).Keys(), Now: h.clock, Classes: classes})
	if err != nil {
		t.Fatal(err)
	}
	passes := func(token string) bool {
		t.Helper()
		if err := m.Refresh(ctx); err != nil {
			t.Fatal(err)
		}
		code, _, _ := admit(t, m, call(token))
		return code == ""
	}
	if !passes(standard) || !passes(ci) || !passes(unknown) {
		t.Fatal("a new key is refused")
	}
	h.advance(day - time.Nanosecond)
	if !passes(ci) {
		t.Error("refused before its age")
	}
	h.advance(time.Nanosecond)
	if passes(ci) || !passes(standard) {
		t.Error("at the age of its class")
	}
	h.advance(75 * day) // day 76 of 90
	due, err := h.admin.Due(ctx, classes)
	if err != nil || len(due) != 3 || !due[0].Over || due[1].Over {
		t.Fatalf("%+v, %v", due, err)
	}
	_, fresh, err := h.admin.Rotate(ctx, id, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	h.advance(14 * day)
	if passes(standard) || !passes(fresh.Reveal()) || passes(unknown) {
		t.Error("at the age of the default class: the rotated key goes on, the others end")
	}
}

func TestActsOnManyKeys(t *testing.T) {
	h := newHouse(t)
	a, _ := h.create(t, iam.NewKey{Tenant: "acme", Detail: iam.Detail{Team: "team_a"}})
	b, _ := h.create(t, iam.NewKey{Tenant: "acme", Detail: iam.Detail{Principal: "user_b", Class: "ci"}})
	c, _ := h.create(t, iam.NewKey{})
	gone, _ := h.create(t, iam.NewKey{Tenant: "acme"})
	if _, err := h.admin.Revoke(ctx, gone); err != nil {
		t.Fatal(err)
	}
	for name, x := range map[string]struct {
		f    iam.Filter
		want []string
	}{
		"all":       {iam.Filter{All: true}, []string{a, b, c}},
		"tenant":    {iam.Filter{Tenant: "acme"}, []string{a, b}},
		"team":      {iam.Filter{Team: "team_a"}, []string{a}},
		"principal": {iam.Filter{Principal: "user_b"}, []string{b}},
		"class":     {iam.Filter{Class: "standard"}, []string{a, c}},
		"both":      {iam.Filter{Tenant: "acme", Class: "ci"}, []string{b}},
		"ids":       {iam.Filter{IDs: []string{c, gone}}, []string{c}},
		"since":     {iam.Filter{UsedSince: h.clock()}, []string{a, b, c}},
		"later":     {iam.Filter{UsedSince: h.clock().Add(2 * time.Hour)}, nil},
	} {
		ks, err := h.admin.Matching(ctx, x.f)
		got := map[string]bool{}
		for _, k := range ks {
			got[k.ID] = true
		}
		if err != nil || len(got) != len(x.want) {
			t.Errorf("%s: %v, %v", name, got, err)
		}
		for _, id := range x.want {
			if !got[id] {
				t.Errorf("%s: %s is missing", name, id)
			}
		}
	}
	if _, err := h.admin.Matching(ctx, iam.Filter{}); err == nil {
		t.Error("an empty filter named something")
	}
}

func TestNewKeysAreChecked(t *testing.T) {
	h := newHouse(t)
	long := make([]string, 65)
	for i := range long {
		long[i] = "x"
	}
	for name, d := range map[string]iam.Detail{
		"a tool with a space":     {Tools: []string{"a b"}},
		"too many features":       {Features: long},
		"a budget without unit":   {Budgets: []iam.Budget{{Amount: 1, Window: quota.Hour}}},
		"a budget without window": {Budgets: []iam.Budget{{Unit: iam.UnitTokens, Amount: 1}}},
		"a negative budget":       {Budgets: []iam.Budget{{Unit: iam.UnitTokens, Amount: -1, Window: quota.Hour}}},
		"concurrency in a window": {Budgets: []iam.Budget{{Unit: iam.UnitConcurrency, Amount: 1, Window: quota.Hour}}},
		"a purpose that escapes":  {Purpose: "\x1b[2J"},
		"a team that is a key":    {Team: "sp_live_x"},
	} {
		_, _, err := h.admin.Create(ctx, iam.NewKey{Name: "n", Scopes: all, Detail: d, CIDRs: []netip.Prefix{}})
		if err == nil {
			t.Errorf("%s: made", name)
		}
	}
}
