package admin_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"sallyport.dev/sallyport/internal/iam/access"
	"sallyport.dev/sallyport/internal/iam/directory"
	"sallyport.dev/sallyport/internal/iam/document"
	"sallyport.dev/sallyport/internal/iam/rbac"
	"sallyport.dev/sallyport/internal/iam/session"
)

const corp = `{"name":"corp","protocol":"oidc","issuer":"https://login.example","client_id":"us","client_secret":"canary-of-the-client"`

// Nobody comes to hold more than they did by what they map, whichever way they try.
func TestMappingsRaiseNobody(t *testing.T) {
	for name, c := range map[string]struct {
		role                       string
		method, path, body, expect string
	}{
		"a role one lacks":                    {"admin", "POST", "/mappings", `{"provider":"corp","group":"g","role":"owner"}`, "escalation"},
		"a mapping changed to more":           {"admin", "PUT", "/mappings/m_staff", `{"provider":"corp","group":"staff","role":"owner"}`, "escalation"},
		"somebody else's, to one's own group": {"admin", "PUT", "/mappings/m_owner", `{"provider":"corp","group":"mine","role":"auditor"}`, "escalation"},
		"somebody else's":                     {"admin", "DELETE", "/mappings/m_owner", "", "escalation"},
		"a denial of what one lacks":          {"admin", "DELETE", "/mappings/m_deny", "", "escalation"},
		"a denial made narrower":              {"admin", "PUT", "/mappings/m_deny", `{"provider":"corp","group":"nobody","role":"*","deny":true}`, "escalation"},
		"everybody":                           {"owner", "POST", "/mappings", `{"provider":"corp","group":"*","role":"auditor"}`, "invalid"},
		"every role":                          {"owner", "POST", "/mappings", `{"provider":"corp","group":"g","role":"*"}`, "invalid"},
		"a role that there is not":            {"owner", "POST", "/mappings", `{"provider":"corp","group":"g","role":"nosuch"}`, "invalid"},
		"any provider":                        {"owner", "POST", "/mappings", `{"provider":"c*","group":"g","role":"auditor"}`, "invalid"},
		"a team of another tenant":            {"owner", "POST", "/mappings", `{"provider":"corp","group":"g","role":"auditor","team":"team_other"}`, "unknown_reference"},
		"a role that a mapping gives":         {"owner", "DELETE", "/bindings/b_mapped", "", "mapped"},
		"who vouches":                         {"admin", "POST", "/identity-providers", corp + "}", "forbidden"},
		"a secret for another":                {"owner", "PUT", "/identity-providers/{idp}", strings.Replace(corp, `,"client_secret":"canary-of-the-client"`, "", 1) + `,"issuer2":""}`, "invalid_body"},
		"a secret for another issuer":         {"owner", "PUT", "/identity-providers/{idp}", `{"name":"corp","protocol":"oidc","issuer":"https://login.example.evil","client_id":"us"}`, "invalid"},
		"another name":                        {"owner", "PUT", "/identity-providers/{idp}", strings.Replace(corp, `"corp"`, `"crop"`, 1) + "}", "invalid"},
		"shared keys":                         {"owner", "PUT", "/identity-providers/{idp}", corp + `,"algorithms":["HS256"]}`, "invalid"},
		"an own account for an owner":         {"admin", "PUT", "/users/owner_acme", `{"user_name":"owner","name":"","active":true,"links":[{"provider":"corp","issuer":"https://login.example","subject":"admin"}]}`, "escalation"},
		"what an admin may map":               {"admin", "POST", "/mappings", `{"provider":"corp","group":"g","role":"auditor"}`, ""},
		"what an owner may take away":         {"owner", "DELETE", "/mappings/m_deny", "", ""},
		"a denial of somebody's roles":        {"admin", "POST", "/mappings", `{"provider":"corp","group":"g","role":"*","deny":true}`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t)
			insert(h, access.Mapping{ID: "m_staff", Tenant: "acme", Provider: "corp", Group: "staff", Role: rbac.Auditor})
			insert(h, access.Mapping{ID: "m_owner", Tenant: "acme", Provider: "corp", Group: "bosses", Role: rbac.Owner})
			insert(h, access.Mapping{ID: "m_deny", Tenant: "acme", Provider: "corp", Group: "contractors", Role: "*", Deny: true})
			insert(h, access.Binding{ID: "b_mapped", Tenant: "acme", Kind: rbac.User, Subject: "victim_acme", Role: rbac.Auditor, Source: "corp"})
			h.as("owner", "acme")
			status, out := h.sendFor("POST", "/tenants/acme/identity-providers", corp+"}")
			if status != http.StatusCreated {
				t.Fatalf("%d %v", status, out)
			}
			if text := fmt.Sprint(out, h.notes); strings.Contains(text, "canary") {
				t.Errorf("the secret is shown: %s", text)
			}
			h.as(c.role, "acme")
			if status, code := h.send(c.method, "/tenants/acme"+strings.Replace(c.path, "{idp}", out["id"].(string), 1), c.body); code != c.expect || c.expect == "" && status >= 300 {
				t.Errorf("%d %s, want %q", status, code, c.expect)
			}
		})
	}
}

// Whose roles change by a mapping, or whose account is unlinked, has no session from before; others keep theirs.
func TestChangesEndSessions(t *testing.T) {
	for name, c := range map[string]struct {
		method, path, body string
		ended              string
	}{
		"a mapping":             {"POST", "/mappings", `{"provider":"corp","group":"staff","role":"admin"}`, "victim_acme"},
		"one of another group":  {"POST", "/mappings", `{"provider":"corp","group":"others","role":"admin"}`, ""},
		"a denial":              {"POST", "/mappings", `{"provider":"corp","group":"st*","role":"*","deny":true}`, "victim_acme"},
		"unlinked":              {"PUT", "/users/victim_acme", `{"user_name":"victim","name":"","active":true}`, "victim_acme"},
		"deactivated":           {"PUT", "/users/victim_acme", `{"user_name":"victim","name":"","active":false,"links":[{"provider":"corp","issuer":"https://login.example","subject":"s"}]}`, "victim_acme"},
		"deleted":               {"DELETE", "/users/victim_acme", "", "victim_acme"},
		"renamed":               {"PUT", "/users/victim_acme", `{"user_name":"victim","name":"V","active":true,"links":[{"provider":"corp","issuer":"https://login.example","subject":"s"}]}`, ""},
		"the provider deleted":  {"DELETE", "/identity-providers/{idp}", "", "victim_acme"},
		"the provider disabled": {"PUT", "/identity-providers/{idp}", corp + `,"disabled":true}`, "victim_acme"},
		"a role by hand":        {"POST", "/bindings", `{"subject_kind":"user","subject":"victim_acme","role":"developer"}`, "victim_acme"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t)
			h.as("owner", "acme")
			_, out := h.sendFor("POST", "/tenants/acme/identity-providers", corp+"}")
			if status, code := h.send("PUT", "/tenants/acme/users/victim_acme", `{"user_name":"victim","name":"","active":true,"links":[{"provider":"corp","issuer":"https://login.example","subject":"s"}]}`); status != 200 {
				t.Fatal(status, code)
			}
			insert(h, access.Mapping{ID: "m_staff", Tenant: "acme", Provider: "corp", Group: "staff", Role: rbac.Auditor})
			check(t, h.docs.Write(ctx, func(tx document.Tx) error {
				_, err := access.SetGroups(ctx, tx, "acme", "corp", "victim_acme", []string{"staff"}, time.Now())
				return err
			}))
			for i, s := range []session.Session{{User: "victim_acme", Provider: "corp"}, {User: "operator_acme"}, {User: "owner_acme"}} {
				s.ID, s.Tenant, s.Hash = fmt.Sprint("ses_", i), "acme", fmt.Sprint(i)
				insert(h, s)
			}
			check(t, h.mirror.Refresh(ctx))
			h.as("owner", "acme")
			h.actor.Session = "ses_2"
			if status, code := h.send(c.method, "/tenants/acme"+strings.Replace(c.path, "{idp}", out["id"].(string), 1), c.body); status >= 300 {
				t.Fatal(status, code)
			}
			left, err := document.List[session.Session](ctx, h.docs, nil)
			check(t, err)
			here := map[string]bool{}
			for _, s := range left {
				here[s.User] = true
			}
			if here["victim_acme"] != (c.ended == "") || !here["operator_acme"] || !here["owner_acme"] {
				t.Errorf("sessions of %v are left", here)
			}
			if strings.Contains(name, "unlinked") || strings.Contains(name, "deleted") {
				all, err := document.List[access.Binding](ctx, h.docs, nil)
				check(t, err)
				for _, b := range all {
					if b.Source != "" {
						t.Errorf("%+v is left", b)
					}
				}
			}
		})
	}
}

// The page of sign-in shows the providers of the tenant that it names, by name and title alone.
func TestProvidersOfTheSignInPage(t *testing.T) {
	h := newHouse(t)
	h.as("owner", "acme")
	h.send("POST", "/tenants/acme/identity-providers", strings.Replace(corp, `"name"`, `"title":"<b>Corp</b>","name"`, 1)+"}")
	insert(h, directory.Tenant{ID: "third", Name: "Third"})
	h.actor = nil
	for tenant, want := range map[string]string{"acme": `{"items":[{"name":"corp","title":"<b>Corp</b>","start":"/console/sso/acme/corp/start"}]}`, "third": `{"items":null}`, "nosuch": `{"items":null}`} {
		got := strings.TrimSpace(h.text("GET", "/signin/providers?tenant="+tenant, ""))
		if strings.NewReplacer(`\u003c`, "<", `\u003e`, ">", `{"items":[]}`, `{"items":null}`).Replace(got) != want {
			t.Errorf("%s: %s", tenant, got)
		}
	}
}
