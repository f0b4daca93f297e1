package admin_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"sallyport.dev/sallyport/internal/console/api"
	"sallyport.dev/sallyport/internal/iam/access"
	"sallyport.dev/sallyport/internal/iam/directory"
	"sallyport.dev/sallyport/internal/iam/document"
	"sallyport.dev/sallyport/internal/iam/rbac"
)

// written says how often anything was written, and what the keys are.
func (h *house) written() string {
	h.t.Helper()
	ds, _, err := h.docs.Changes(ctx, document.Position{}, 0)
	check(h.t, err)
	var last int64
	for _, d := range ds {
		last = max(last, d.Revision)
	}
	ks, err := h.keys.List(ctx)
	check(h.t, err)
	return fmt.Sprint(last, ks)
}

// in fills a pattern in with things that there are in a tenant.
func (h *house) in(pattern, tenant, of string) string {
	ids := map[string]string{
		"teams": "team_" + of, "groups": "group_" + of, "services": "service_" + of, "agents": "agent_" + of, "users": "victim_" + of, "bindings": "b_auditor_" + of, "roles": "role_" + of,
	}
	for k, v := range h.made {
		if what, ok := strings.CutSuffix(k, " of "+of); ok {
			ids[what] = v
		}
	}
	id := "nosuch"
	for part := range strings.SplitSeq(pattern, "/") {
		if v, ok := ids[part]; ok {
			id = v
		}
	}
	return strings.NewReplacer("{tenant}", tenant, "{id}", id, "{version}", "1").Replace(pattern)
}

// fill makes one of each other thing in a tenant.
func (h *house) fill(tenant string) {
	h.t.Helper()
	h.as("owner", tenant)
	for what, body := range map[string]string{
		"keys":               `{"name":"k",` + scopes + `}`,
		"providers":          `{"upstream":"openai","name":"n","value":"sk-1"}`,
		"policies":           `{"name":"p","text":"forbid(principal, action, resource);","off":true}`,
		"limits":             `{"of":"tenant","unit":"requests","amount":5,"window":"1m"}`,
		"mappings":           `{"provider":"corp","group":"g","role":"auditor"}`,
		"identity-providers": corp + "}",
		"scim-tokens":        `{"name":"entra"}`,
		"token-revocations":  `{"principal":"somebody"}`,
	} {
		status, out := h.sendFor("POST", "/tenants/"+tenant+"/"+what, body)
		if status != http.StatusCreated {
			h.t.Fatalf("%s: %d %v", what, status, out)
		}
		if k, ok := out["key"].(map[string]any); ok {
			out = k
		}
		if h.made == nil {
			h.made = map[string]string{}
		}
		h.made[what+" of "+tenant] = out["id"].(string)
	}
}

// Whoever may only read changes nothing: not by any route there is, on things that there are.
func TestTheAuditorChangesNothing(t *testing.T) {
	h := newHouse(t)
	h.fill("acme")
	before := h.written()
	tried := 0
	for _, role := range []string{rbac.Auditor, "none"} {
		for _, r := range h.api.Routes() {
			if r.Reads() || r.Permission == api.Public {
				continue
			}
			for _, b := range []string{body(r), `{"name":"x"}`, `{"name":"x","active":false,"disabled":true,"reason":"I want to"}`} {
				h.as(role, "acme")
				h.notes = nil
				status, code := h.send(r.Method, h.in(r.Pattern, "acme", "acme"), b)
				tried++
				if r.Permission == api.Self { // about themselves; there is nothing of theirs here
					continue
				}
				if status < 400 || !h.denied() && code != "forbidden" && code != "invalid_body" && code != "unexpected_body" && code != "escalation" && !(r.Own && code == "invalid") {
					t.Errorf("%s: %s %s %s: %d %s", role, r.Method, r.Pattern, b, status, code)
				}
			}
		}
	}
	if after := h.written(); after != before {
		t.Errorf("something was changed:\n%s\n%s", before, after)
	}
	t.Logf("%d requests", tried)
}

// What is of another tenant is not there: by id in the path, in the body, or as where to read on from.
func TestIDsOfAnotherTenant(t *testing.T) {
	h := newHouse(t)
	h.fill("acme")
	h.fill("other")
	check(t, h.mirror.Refresh(ctx))
	for _, r := range h.api.Routes() {
		if !strings.Contains(r.Pattern, "{tenant}") || !strings.Contains(r.Pattern, "{id}") || strings.Contains(r.Pattern, "/changes/") {
			continue
		}
		h.as("owner", "other")
		if own := h.in(r.Pattern, "other", "other"); r.Method == "GET" {
			if status, code := h.send("GET", own, ""); status != http.StatusOK {
				t.Errorf("%s is not there for its own: %d %s", own, status, code)
			}
		}
		before := h.written()
		for _, b := range []string{body(r), `{"reason":"because I say so"}`, `{"name":"x","value":"sk-x"}`} {
			if r.Method == "GET" || r.Method == "DELETE" {
				b = ""
			}
			h.as("owner", "acme")
			status, code := h.send(r.Method, h.in(r.Pattern, "acme", "other"), b)
			if status != http.StatusNotFound && status != http.StatusBadRequest && status != http.StatusUnprocessableEntity && !(strings.HasSuffix(r.Pattern, "/users/{id}/sessions") && status < 300) {
				t.Errorf("%s %s: %d %s", r.Method, r.Pattern, status, code)
			}
		}
		if h.written() != before {
			t.Errorf("%s %s changed something", r.Method, r.Pattern)
		}
	}
	key := h.made["keys of other"]
	before := h.written()
	for _, c := range [][3]string{
		{"/teams", `{"name":"x","members":["victim_other"]}`, "unknown_reference"},
		{"/teams", `{"name":"x","members":["service_other"]}`, "unknown_reference"},
		{"/groups", `{"name":"x","members":["victim_other"]}`, "unknown_reference"},
		{"/bindings", `{"subject_kind":"user","subject":"victim_other","role":"auditor"}`, "unknown_reference"},
		{"/bindings", `{"subject_kind":"group","subject":"group_other","role":"auditor"}`, "unknown_reference"},
		{"/bindings", `{"subject_kind":"service","subject":"agent_other","role":"auditor"}`, "unknown_reference"},
		{"/bindings", `{"subject_kind":"user","subject":"victim_acme","role":"auditor","team":"team_other"}`, "unknown_reference"},
		{"/bindings", `{"subject_kind":"user","subject":"agent_acme","role":"auditor"}`, "unknown_reference"},
		{"/keys", `{"name":"k",` + scopes + `,"principal":"victim_other"}`, "unknown_reference"},
		{"/keys", `{"name":"k",` + scopes + `,"team":"team_other"}`, "unknown_reference"},
		{"/services", `{"name":"x","team":"team_other"}`, "unknown_reference"},
		{"/agents", `{"name":"x","for":["victim_other"]}`, "unknown_reference"},
		{"/mappings", `{"provider":"corp","group":"g2","role":"auditor","team":"team_other"}`, "unknown_reference"},
		{"/keys-rotate", `{"ids":["` + key + `"]}`, ""},
		{"/keys-revoke", `{"ids":["` + key + `"]}`, ""},
		{"/keys-revoke", `{"principal":"victim_other"}`, ""},
		{"/keys-revoke", `{"team":"team_other"}`, ""},
	} {
		h.as("owner", "acme")
		status, out := h.sendFor("POST", "/tenants/acme"+c[0], c[1])
		code, _ := out["code"].(string)
		if code != c[2] || status < 300 && fmt.Sprint(out["done"]) != "<nil>" && len(out["done"].([]any)) > 0 {
			t.Errorf("%s %s: %d %v", c[0], c[1], status, out)
		}
	}
	if h.written() != before {
		t.Error("something was changed")
	}
	// Lists, from wherever one reads on.
	for _, r := range h.api.Routes() {
		if r.Method != "GET" || !strings.Contains(r.Pattern, "{tenant}") || strings.Contains(r.Pattern, "{id}") {
			continue
		}
		for _, q := range []string{"", "?after=victim_other", "?after=" + key, "?after=%00", "?after=a"} {
			if q != "" && len(r.Query) == 0 {
				continue
			}
			for _, of := range []string{"acme", rbac.System} { // who may see both asks about one
				h.as("owner", of)
				text := h.text("GET", path(r.Pattern, "acme")+q, "")
				for what, id := range h.made {
					if strings.HasSuffix(what, " of other") && strings.Contains(text, id) {
						t.Errorf("%s%s shows %s", r.Pattern, q, what)
					}
				}
				if strings.Contains(text, "_other") {
					t.Errorf("%s%s shows something of another tenant: %s", r.Pattern, q, text)
				}
			}
		}
		h.as("owner", "acme")
		if status, code := h.send("GET", path(r.Pattern, "acme")+"?tenant=other", ""); code != "unknown_parameter" {
			t.Errorf("%s takes another tenant: %d %s", r.Pattern, status, code)
		}
	}
}

// No route takes what only the gateway sets.
func TestMassAssignment(t *testing.T) {
	h := newHouse(t)
	h.fill("acme")
	// What a route documents as its own; a new entry here is looked at by a person.
	takes := []string{
		"tenants.create id", "signin.password tenant",
	}
	members := []string{"id", "tenant", "origin", "source", "created", "updated", "created_at", "revoked", "rotated", "last_used", "current", "previous", "previous_until", "hash",
		"pepper_version", "secret", "generation", "revision", "roles", "is_admin", "status", "sealed", "active_version", "last_seen", "fresh", "amr", "actor", "approved"}
	before := h.written()
	for _, r := range h.api.Routes() {
		if r.Reads() || r.Method == http.MethodDelete {
			continue
		}
		for _, m := range members {
			if slices.Contains(takes, r.Operation+" "+m) {
				continue
			}
			h.as("owner", "acme")
			p := h.in(r.Pattern, "acme", "acme")
			if !strings.Contains(r.Pattern, "{tenant}") {
				h.as("owner", rbac.System)
			}
			if status, code := h.send(r.Method, p, `{"`+m+`":"x"}`); code != "invalid_body" && code != "unexpected_body" {
				t.Errorf("%s takes %q: %d %s", r.Operation, m, status, code)
			}
		}
	}
	if h.written() != before {
		t.Error("something was changed")
	}
}

// Ways to more, or out of a denial, that go around making or taking away a binding.
func TestWaysAroundBindings(t *testing.T) {
	for name, c := range map[string]struct {
		role, method, path, body, expect string
	}{
		"their own role made to hold more":           {"editor", "PUT", "/roles/role_wide", `{"name":"wide","permissions":["write:role","reveal:provider"]}`, "escalation"},
		"their own role for what is theirs":          {"editor", "PUT", "/roles/role_wide", `{"name":"wide","permissions":["write:role"],"own":["reveal:provider"]}`, "escalation"},
		"a role that denies them made to deny less":  {"admin", "PUT", "/roles/role_barred", `{"name":"barred","permissions":["write:team"]}`, "escalation"},
		"the same by somebody who is not denied":     {"owner", "PUT", "/roles/role_barred", `{"name":"barred","permissions":["write:team"]}`, ""},
		"a role that denies them made to deny more":  {"admin", "PUT", "/roles/role_barred", `{"name":"barred","permissions":["read:team","delete:limit","write:limit"]}`, "escalation"},
		"a group that denies them deleted":           {"admin", "DELETE", "/groups/denied_acme", "", "escalation"},
		"a group that gives more deleted":            {"admin", "DELETE", "/groups/boss_acme", "", "escalation"},
		"a group that gives nothing deleted":         {"admin", "DELETE", "/groups/group_acme", "", ""},
		"a denial of oneself taken away":             {"admin", "DELETE", "/bindings/b_denied", "", "escalation"},
		"an owner's binding taken away":              {"admin", "DELETE", "/bindings/b_owner_acme", "", "last_owner"},
		"a program's subject, which has an owner's":  {"admin", "PUT", "/services/service_acme", `{"name":"service","subjects":[{"issuer":"ci","subject":"mine"}]}`, "escalation"},
		"a program's subject, which has nothing":     {"admin", "PUT", "/agents/agent_acme", `{"name":"agent","subjects":[{"issuer":"ci","subject":"mine"}]}`, ""},
		"a token that provisions, by who may not":    {"operator", "POST", "/keys", `{"name":"k",` + scopes + `,"features":["scim"]}`, "forbidden"},
		"a token that provisions, as a key of one's": {"developer", "POST", "/keys", `{"name":"k",` + scopes + `,"principal":"developer_acme","features":["scim"]}`, "forbidden"},
		"a role of another tenant's name":            {"owner", "POST", "/bindings", `{"subject_kind":"user","subject":"victim_acme","role":"only-other"}`, "invalid"},
		"oneself, as an emergency account":           {"developer", "PUT", "/users/developer_acme", `{"user_name":"developer","name":"","active":true,"break_glass":true}`, "forbidden"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t)
			insert(h, directory.User{ID: "editor_acme", Tenant: "acme", UserName: "editor", Origin: "local", Active: true})
			insert(h, access.Role{ID: "role_wide", Tenant: "acme", Name: "wide", Permissions: []rbac.Permission{"write:role", "read:team"}})
			insert(h, access.Binding{ID: "b_editor", Tenant: "acme", Kind: rbac.User, Subject: "editor_acme", Role: "wide"})
			insert(h, access.Role{ID: "role_only", Tenant: "other", Name: "only-other", Permissions: []rbac.Permission{"read:team"}})
			insert(h, access.Role{ID: "role_barred", Tenant: "acme", Name: "barred", Permissions: []rbac.Permission{"read:team", "delete:limit"}})
			insert(h, access.Binding{ID: "b_barred", Tenant: "acme", Kind: rbac.User, Subject: "admin_acme", Role: "barred", Deny: true})
			insert(h, directory.Group{ID: "denied_acme", Tenant: "acme", Name: "denied", Origin: "local", Members: []string{"admin_acme"}})
			insert(h, directory.Group{ID: "boss_acme", Tenant: "acme", Name: "boss", Origin: "local", Members: []string{"victim_acme"}})
			insert(h, access.Binding{ID: "b_denied", Tenant: "acme", Kind: rbac.Group, Subject: "denied_acme", Role: rbac.PolicyEditor, Deny: true})
			insert(h, access.Binding{ID: "b_boss", Tenant: "acme", Kind: rbac.Group, Subject: "boss_acme", Role: rbac.Owner})
			insert(h, access.Binding{ID: "b_service", Tenant: "acme", Kind: rbac.Machine, Subject: "service_acme", Role: rbac.Owner})
			check(t, h.mirror.Refresh(ctx))
			h.as(c.role, "acme")
			if c.role == "admin" {
				h.actor.Groups = []string{"denied_acme"}
			}
			before := h.written()
			status, code := h.send(c.method, "/tenants/acme"+c.path, c.body)
			if code != c.expect || (status < 300) != (c.expect == "") {
				t.Errorf("%d %s, want %q", status, code, c.expect)
			}
			if c.expect != "" && h.written() != before {
				t.Error("something was changed")
			}
		})
	}
}

// What gives somebody roles, or a way to act as somebody who has roles, takes a fresh second factor,
// whichever way it is done.
func TestWhatTakesAFreshFactor(t *testing.T) {
	for name, c := range map[string]struct {
		method, path, body string
		fresh              bool
	}{
		"a binding":                          {"POST", "/bindings", `{"subject_kind":"user","subject":"victim_acme","role":"auditor"}`, true},
		"a role":                             {"POST", "/roles", `{"name":"x","permissions":["read:team"]}`, true},
		"a mapping":                          {"POST", "/mappings", `{"provider":"corp","group":"g","role":"auditor"}`, true},
		"a link for who has roles":           {"POST", "/users/auditor_acme/invite", "", true},
		"a link for who has none":            {"POST", "/users/victim_acme/invite", "", true},
		"a link for oneself":                 {"POST", "/users/owner_acme/invite", "", true},
		"somebody's second factors":          {"DELETE", "/users/victim_acme/second-factor", "", true},
		"an account for who has roles":       {"PUT", "/users/auditor_acme", `{"user_name":"auditor","name":"","active":true,"links":[{"provider":"corp","issuer":"https://login.example","subject":"s"}]}`, true},
		"into a group that has roles":        {"PUT", "/groups/boss_acme", `{"name":"boss","members":["victim_acme"]}`, true},
		"into a group that has none":         {"PUT", "/groups/group_acme", `{"name":"group","members":["victim_acme"]}`, false},
		"a key that administers":             {"POST", "/keys", `{"name":"k",` + scopes + `,"principal":"service_acme","features":["admin"]}`, true},
		"a key that calls":                   {"POST", "/keys", `{"name":"k",` + scopes + `,"principal":"service_acme"}`, false},
		"a token that provisions":            {"POST", "/scim-tokens", `{"name":"k"}`, true},
		"a key that provisions":              {"POST", "/keys", `{"name":"k",` + scopes + `,"features":["scim"]}`, true},
		"a subject for a program with roles": {"PUT", "/services/service_acme", `{"name":"service","subjects":[{"issuer":"ci","subject":"mine"}]}`, true},
		"the end of a person":                {"DELETE", "/users/victim_acme", "", true},
		"a provider's credential":            {"POST", "/providers", `{"upstream":"openai","name":"n","value":"sk-1"}`, true},
		"a policy":                           {"POST", "/policies", `{"name":"p","text":"forbid(principal, action, resource);"}`, true},
		"a team":                             {"POST", "/teams", `{"name":"x"}`, false},
	} {
		t.Run(name, func(t *testing.T) {
			for _, fresh := range []bool{false, true} {
				h := newHouse(t)
				insert(h, directory.Group{ID: "boss_acme", Tenant: "acme", Name: "boss", Origin: "local"})
				insert(h, access.Binding{ID: "b_boss", Tenant: "acme", Kind: rbac.Group, Subject: "boss_acme", Role: rbac.Auditor})
				insert(h, access.Binding{ID: "b_service", Tenant: "acme", Kind: rbac.Machine, Subject: "service_acme", Role: rbac.Auditor})
				check(t, h.mirror.Refresh(ctx))
				h.as("owner", "acme")
				if !fresh {
					h.actor.Fresh = time.Now().Add(-time.Second)
				}
				status, code := h.send(c.method, "/tenants/acme"+c.path, c.body)
				if refused := code == "step_up_required"; refused != (c.fresh && !fresh) || !refused && status >= 300 && code != "not_found" {
					t.Errorf("fresh %v: %d %s", fresh, status, code)
				}
				if c.fresh && !fresh { // nor by a program, which has no second factor
					h.actor.Kind, h.actor.ID, h.actor.Fresh = "service", "program_acme", time.Time{}
					insert(h, access.Binding{ID: "b_program", Tenant: "acme", Kind: rbac.Machine, Subject: "program_acme", Role: rbac.Owner})
					check(t, h.mirror.Refresh(ctx))
					if status, code := h.send(c.method, "/tenants/acme"+c.path, c.body); code != "step_up_required" {
						t.Errorf("a program: %d %s", status, code)
					}
				}
			}
		})
	}
}
