package admin_test

import (
	"net/http"
	"strings"
	"testing"

	"sallyport.dev/sallyport/internal/iam/access"
	"sallyport.dev/sallyport/internal/iam/directory"
	"sallyport.dev/sallyport/internal/iam/rbac"
)

const scopes = `"scopes":{"upstreams":["*"],"endpoints":["*"],"models":["*"]}`

// Nobody comes to hold more than they did by administering, whichever way they try.
func TestNobodyRaisesThemselves(t *testing.T) {
	for name, c := range map[string]struct {
		role                       string
		method, path, body, expect string
	}{
		"a role with more than one's own":   {"admin", "POST", "/tenants/acme/roles", `{"name":"x","permissions":["reveal:provider"]}`, "escalation"},
		"a role changed to hold more":       {"admin", "PUT", "/tenants/acme/roles/role_acme", `{"name":"custom","permissions":["reveal:provider"]}`, "escalation"},
		"a binding of a role one lacks":     {"admin", "POST", "/tenants/acme/bindings", `{"subject_kind":"user","subject":"admin_acme","role":"owner"}`, "escalation"},
		"a binding in all tenants":          {"owner", "POST", "/tenants/acme/bindings", `{"subject_kind":"user","subject":"owner_acme","role":"owner","all_tenants":true}`, "invalid"},
		"a binding in another tenant":       {"owner", "POST", "/tenants/other/bindings", `{"subject_kind":"user","subject":"owner_acme","role":"owner"}`, "not_found"},
		"somebody of another tenant":        {"owner", "POST", "/tenants/acme/bindings", `{"subject_kind":"user","subject":"victim_other","role":"owner"}`, "unknown_reference"},
		"into a group that holds more":      {"admin", "PUT", "/tenants/acme/groups/group_acme", `{"name":"group","members":["admin_acme"]}`, "escalation"},
		"out of a group that is denied":     {"admin", "PUT", "/tenants/acme/groups/denied_acme", `{"name":"denied"}`, "escalation"},
		"an own account for an owner":       {"admin", "PUT", "/tenants/acme/users/owner_acme", `{"user_name":"owner","name":"o","active":true,"links":[{"provider":"p","issuer":"https://idp","subject":"admin"}]}`, "escalation"},
		"an admin key of an owner":          {"admin", "POST", "/tenants/acme/keys", `{"name":"k",` + scopes + `,"principal":"service_acme","features":["admin"]}`, "escalation"},
		"the secret of an admin key":        {"operator", "POST", "/tenants/acme/keys/{key}/rotate", `{}`, "escalation"},
		"a link for an owner":               {"admin", "POST", "/tenants/acme/users/owner_acme/invite", "", "escalation"},
		"an owner's second factor":          {"admin", "DELETE", "/tenants/acme/users/owner_acme/second-factor", "", "escalation"},
		"a link for somebody elsewhere":     {"owner", "POST", "/tenants/acme/users/victim_other/invite", "", "not_found"},
		"a key for somebody else":           {"developer", "POST", "/tenants/acme/keys", `{"name":"k",` + scopes + `,"principal":"victim_acme"}`, "forbidden"},
		"a key of nobody":                   {"developer", "POST", "/tenants/acme/keys", `{"name":"k",` + scopes + `}`, "forbidden"},
		"a key without a role":              {"none", "POST", "/tenants/acme/keys", `{"name":"k",` + scopes + `,"principal":"none_acme"}`, "forbidden"},
		"a key of somebody else":            {"developer", "POST", "/tenants/acme/keys/{key}/rotate", `{}`, "forbidden"},
		"a built-in role by its name":       {"owner", "POST", "/tenants/acme/roles", `{"name":"auditor","permissions":["read:key"]}`, "invalid"},
		"a permission that there is not":    {"owner", "POST", "/tenants/acme/roles", `{"name":"x","permissions":["write:everything"]}`, "invalid"},
		"the platform's tenant by its name": {"owner", "POST", "/tenants/system/bindings", `{"subject_kind":"user","subject":"owner_acme","role":"owner"}`, "not_found"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t)
			insert(h, access.Binding{ID: "b_group", Tenant: "acme", Kind: rbac.Group, Subject: "group_acme", Role: rbac.Owner})
			insert(h, directory.Group{ID: "denied_acme", Tenant: "acme", Name: "denied", Origin: "local", Members: []string{"admin_acme"}})
			insert(h, access.Binding{ID: "b_denied", Tenant: "acme", Kind: rbac.Group, Subject: "denied_acme", Role: rbac.PolicyEditor, Deny: true})
			insert(h, access.Binding{ID: "b_service", Tenant: "acme", Kind: rbac.Machine, Subject: "service_acme", Role: rbac.Owner})
			check(t, h.mirror.Refresh(ctx))
			if strings.Contains(c.path, "{key}") {
				h.as("owner", "acme")
				status, out := h.sendFor("POST", "/tenants/acme/keys", `{"name":"k",`+scopes+`,"principal":"service_acme","features":["admin"]}`)
				if status != http.StatusCreated {
					t.Fatalf("%d %v", status, out)
				}
				c.path = strings.Replace(c.path, "{key}", out["key"].(map[string]any)["id"].(string), 1)
			}
			h.as(c.role, "acme")
			h.actor.Groups = []string{"denied_acme"}
			if c.role != "admin" || !strings.Contains(c.path, "denied") {
				h.actor.Groups = nil
			}
			if status, code := h.send(c.method, c.path, c.body); code != c.expect {
				t.Errorf("%d %s, want %s", status, code, c.expect)
			}
		})
	}
}

func TestWhatTheRolesAreFor(t *testing.T) {
	h := newHouse(t)
	for name, c := range map[string]struct {
		role, method, path, body string
		status                   int
	}{
		"a developer's own key":    {"developer", "POST", "/tenants/acme/keys", `{"name":"k",` + scopes + `,"principal":"developer_acme"}`, 201},
		"an owner's role":          {"owner", "POST", "/tenants/acme/roles", `{"name":"revealer","permissions":["reveal:provider"]}`, 201},
		"an admin's team":          {"admin", "POST", "/tenants/acme/teams", `{"name":"new","members":["victim_acme","service_acme"]}`, 201},
		"an admin's other admin":   {"admin", "POST", "/tenants/acme/bindings", `{"subject_kind":"user","subject":"victim_acme","role":"admin"}`, 201},
		"a team of another tenant": {"admin", "POST", "/tenants/acme/teams", `{"name":"other","members":["victim_other"]}`, 422},
		"a credential":             {"owner", "POST", "/tenants/acme/providers", `{"upstream":"openai","name":"n","value":"sk-1"}`, 201},
		"a credential's reason":    {"owner", "POST", "/tenants/acme/providers/nosuch/versions/1/reveal", `{"reason":"x"}`, 422},
		"an auditor's look":        {"auditor", "GET", "/tenants/acme/keys", "", 200},
	} {
		h.as(c.role, "acme")
		if status, code := h.send(c.method, c.path, c.body); status != c.status {
			t.Errorf("%s: %d %s, want %d", name, status, code, c.status)
		}
	}
}

// A tenant keeps an owner, whichever way somebody tries to take the last one.
func TestTheLastOwnerStays(t *testing.T) {
	for name, c := range map[string][3]string{
		"the binding":  {"DELETE", "/tenants/acme/bindings/b_owner_acme", ""},
		"a denial":     {"POST", "/tenants/acme/bindings", `{"subject_kind":"user","subject":"owner_acme","role":"owner","deny":true}`},
		"not active":   {"PUT", "/tenants/acme/users/owner_acme", `{"user_name":"owner","name":"o","active":false}`},
		"the person":   {"DELETE", "/tenants/acme/users/owner_acme", ""},
		"of a changed": {"PUT", "/tenants/acme/bindings/b_owner_acme", `{"subject_kind":"user","subject":"victim_acme","role":"owner"}`},
	} {
		h := newHouse(t)
		h.as("owner", rbac.System)
		status, code := h.send(c[0], c[1], c[2])
		if code != "last_owner" && status != http.StatusMethodNotAllowed {
			t.Errorf("%s: %d %s", name, status, code)
		}
	}
	h := newHouse(t)
	insert(h, access.Binding{ID: "b_second", Tenant: "acme", Kind: rbac.User, Subject: "victim_acme", Role: rbac.Owner})
	check(t, h.mirror.Refresh(ctx))
	h.as("owner", rbac.System)
	if status, code := h.send("DELETE", "/tenants/acme/users/owner_acme", ""); status != http.StatusNoContent {
		t.Errorf("with another owner: %d %s", status, code)
	}
}

// What is kept by the identity provider is changed there.
func TestProvisionedPeopleAreLeftAlone(t *testing.T) {
	h := newHouse(t)
	insert(h, directory.User{ID: "scim_acme", Tenant: "acme", UserName: "scim", Origin: directory.OriginSCIM, Active: true})
	insert(h, directory.Group{ID: "scimgroup", Tenant: "acme", Name: "scim", Origin: directory.OriginSCIM})
	h.as("owner", "acme")
	for _, c := range [][3]string{
		{"PUT", "/tenants/acme/users/scim_acme", `{"user_name":"scim","name":"","active":false}`},
		{"DELETE", "/tenants/acme/users/scim_acme", ""},
		{"PUT", "/tenants/acme/groups/scimgroup", `{"name":"scim","members":["victim_acme"]}`},
		{"DELETE", "/tenants/acme/groups/scimgroup", ""},
	} {
		if status, code := h.send(c[0], c[1], c[2]); code != "provisioned" {
			t.Errorf("%s %s: %d %s", c[0], c[1], status, code)
		}
	}
}

// No answer and no event shows a secret, but the one that a key is made with.
func TestSecretsAreShownOnce(t *testing.T) {
	h := newHouse(t)
	h.as("owner", "acme")
	_, out := h.sendFor("POST", "/tenants/acme/keys", `{"name":"k",`+scopes+`}`)
	key, _ := out["secret"].(string)
	if !strings.HasPrefix(key, "sp_live_") {
		t.Fatalf("%v", out)
	}
	_, out = h.sendFor("POST", "/tenants/acme/providers", `{"upstream":"openai","name":"n","value":"sk-canary"}`)
	id, _ := out["id"].(string)
	for _, c := range [][3]string{
		{"GET", "/tenants/acme/keys", ""}, {"GET", "/tenants/acme/providers", ""},
		{"POST", "/tenants/acme/providers/" + id + "/versions", `{"value":"sk-canary-2","activate":true}`},
		{"POST", "/tenants/acme/providers", `{"upstream":"openai","name":"n","value":"sk-canary"}`},
		{"POST", "/tenants/acme/providers", `{"upstream":"x","name":"n","value":"sk-canary\n"}`},
		{"POST", "/tenants/acme/providers", `{"upstream":"x","name":"n","value":["sk-canary"]}`},
	} {
		if text := h.text(c[0], c[1], c[2]); strings.Contains(text, "canary") || strings.Contains(text, key) {
			t.Errorf("%s %s: %s", c[0], c[1], text)
		}
	}
	for _, n := range h.notes {
		for k, v := range n {
			if strings.Contains(v, "canary") || strings.Contains(v, "sp_live_") {
				t.Errorf("event %s: %s=%s", n["event"], k, v)
			}
		}
	}
	if text := h.text("POST", "/tenants/acme/providers/"+id+"/versions/2/reveal", `{"reason":"the provider asks which key it is"}`); !strings.Contains(text, "sk-canary-2") {
		t.Errorf("revealed: %s", text)
	}
	found := false
	for _, n := range h.notes {
		found = found || n["event"] == "provider.reveal" && strings.Contains(n["reason"], "which key")
	}
	if !found {
		t.Error("a value was revealed without a record")
	}
}

// A certificate that opens the data plane is as good as a key: who may make services but no keys gives none.
func TestScopesOfAProgramWantTheRightToMakeKeys(t *testing.T) {
	h := newHouse(t)
	insert(h, access.Role{ID: "role_programs", Tenant: "acme", Name: "programs", Permissions: []rbac.Permission{"read:service", "write:service"}})
	insert(h, access.Binding{ID: "b_programs", Tenant: "acme", Kind: rbac.User, Subject: "none_acme", Role: "programs"})
	insert(h, directory.Service{ID: "service_open", Tenant: "acme", Name: "open", Scopes: directory.Scopes{Upstreams: []string{"*"}, Endpoints: []string{"*"}, Models: []string{"*"}}})
	check(t, h.mirror.Refresh(ctx))
	const subject = `,"subjects":[{"issuer":"spiffe","subject":"spiffe://acme/x"}]`
	for _, c := range []struct{ name, role, method, path, body, expect string }{
		{"a service without scopes", "none", "POST", "services", `{"name":"x"` + subject + `}`, ""},
		{"a service with them", "none", "POST", "services", `{"name":"y",` + scopes + `}`, "forbidden"},
		{"an agent with them", "none", "POST", "agents", `{"name":"y",` + scopes + `}`, "forbidden"},
		{"scopes for one there is", "none", "PUT", "services/service_acme", `{"name":"service",` + scopes + `}`, "forbidden"},
		{"a certificate for one with scopes", "none", "PUT", "services/service_open", `{"name":"open",` + scopes + `,"subjects":[{"issuer":"spiffe","subject":"spiffe://acme/mine"}]}`, "forbidden"},
		{"another name for it", "none", "PUT", "services/service_open", `{"name":"opened",` + scopes + `}`, ""},
		{"fewer scopes", "none", "PUT", "services/service_open", `{"name":"opened"}`, ""},
		{"an admin", "admin", "PUT", "agents/agent_acme", `{"name":"agent",` + scopes + `}`, ""},
		{"no pattern", "admin", "PUT", "agents/agent_acme", `{"name":"agent","scopes":{"upstreams":["a b"],"endpoints":[],"models":[]}}`, "invalid"},
		{"no SPIFFE id", "admin", "PUT", "agents/agent_acme", `{"name":"agent","subjects":[{"issuer":"spiffe","subject":"acme/x"}]}`, "invalid"},
		{"every trust domain", "admin", "PUT", "agents/agent_acme", `{"name":"agent","subjects":[{"issuer":"spiffe","subject":"spiffe://*/x"}]}`, "invalid"},
		{"a trust domain alone", "admin", "PUT", "agents/agent_acme", `{"name":"agent","subjects":[{"issuer":"spiffe","subject":"spiffe://acme"}]}`, "invalid"},
		{"more than a segment", "admin", "PUT", "agents/agent_acme", `{"name":"agent","subjects":[{"issuer":"spiffe","subject":"spiffe://acme/**"}]}`, "invalid"},
	} {
		h.as(c.role, "acme")
		if status, code := h.send(c.method, "/tenants/acme/"+c.path, c.body); code != c.expect {
			t.Errorf("%s: %d %s, want %s", c.name, status, code, c.expect)
		}
	}
}
