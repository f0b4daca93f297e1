package scim

import (
	"strings"
	"testing"
)

// What is of the right form and too much of it is refused, by its size alone.
func TestBounds(t *testing.T) {
	h := newHouse(t)
	id := h.user("acme", ada)
	long := `title eq "` + strings.Repeat("a", maxFilter) + `"`
	for s, ok := range map[string]bool{long: false, long[:maxFilter-1] + `"`: true} {
		if _, err := parseFilter(&userKind, s); (err == nil) != ok {
			t.Errorf("a filter of %d bytes: %v", len(s), err)
		}
	}
	at := `emails[value eq "` + strings.Repeat("a", maxFilter) + `"]`
	for s, ok := range map[string]bool{at: false, at[:maxFilter-2] + `"]`: true} {
		if _, err := parsePath(&userKind, s); (err == nil) != ok {
			t.Errorf("a path of %d bytes: %v", len(s), err)
		}
	}
	ops := make([]Operation, maxOperations+1)
	for i := range ops {
		ops[i] = Operation{Op: "replace", Path: "title", Value: "x"}
	}
	if _, err := h.PatchUser(t.Context(), "acme", id, "", ops); err == nil {
		t.Errorf("%d operations", len(ops))
	}
	if _, err := h.PatchUser(t.Context(), "acme", id, "", ops[1:]); err != nil {
		t.Errorf("%d operations: %v", len(ops)-1, err)
	}
}

// Somebody who was switched off stays so under a client that writes the whole person and says nothing of it,
// as Okta may; only who says so switches them on.
func TestNotSaidIsNotSwitchedOn(t *testing.T) {
	h := newHouse(t)
	id := h.user("acme", ada)
	if _, err := h.PatchUser(t.Context(), "acme", id, "", []Operation{{Op: "replace", Path: "active", Value: false}}); err != nil {
		t.Fatal(err)
	}
	whole := parse(t, ada)
	delete(whole, "active")
	r, err := h.ReplaceUser(t.Context(), "acme", id, "", whole)
	if err != nil || r.Resource["active"] != false {
		t.Errorf("%v, %v", r.Resource["active"], err)
	}
	whole["active"] = true
	if r, err = h.ReplaceUser(t.Context(), "acme", id, "", whole); err != nil || r.Resource["active"] != true {
		t.Errorf("%v, %v", r.Resource["active"], err)
	}
}
