package admin_test

import (
	"net/http"
	"sallyport.dev/sallyport/internal/iam/document"
	"strings"
	"testing"

	"sallyport.dev/sallyport/internal/iam/rbac"
)

// No GET changes anything, whoever sends it: what a link or an image of another site can have a browser
// send does nothing (OWASP ASVS 5.0.0, 3.5.3).
func TestNoGetChangesAnything(t *testing.T) {
	h := newHouse(t)
	last := func() (rev int64) {
		ds, _, err := h.docs.Changes(ctx, document.Position{}, 0)
		check(t, err)
		for _, d := range ds {
			rev = max(rev, d.Revision)
		}
		return rev
	}
	asked := 0
	for _, r := range h.api.Routes() {
		if r.Method != http.MethodGet {
			continue
		}
		for _, who := range []string{rbac.Owner, "none"} {
			for _, id := range []string{"victim_acme", "role_acme", "team_acme", "nosuch"} {
				h.as(who, "acme")
				before, notes := last(), len(h.notes)
				h.send("GET", strings.NewReplacer("{tenant}", "acme", "{version}", "1", "{id}", id).Replace(r.Pattern), "")
				if after := last(); after != before {
					t.Errorf("GET %s changes something", r.Pattern)
				}
				for _, n := range h.notes[notes:] {
					if n["phase"] == "intent" {
						t.Errorf("GET %s means to change something", r.Pattern)
					}
				}
				asked++
			}
		}
	}
	if asked < 100 {
		t.Errorf("%d requests", asked)
	}
}
