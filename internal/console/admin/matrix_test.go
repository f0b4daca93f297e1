package admin_test

import (
	"context"
	"crypto/sha256"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"sallyport.dev/sallyport/internal/console/admin"
	"sallyport.dev/sallyport/internal/console/api"
	"sallyport.dev/sallyport/internal/iam"
	"sallyport.dev/sallyport/internal/iam/access"
	"sallyport.dev/sallyport/internal/iam/account"
	"sallyport.dev/sallyport/internal/iam/approval"
	"sallyport.dev/sallyport/internal/iam/datakeys"
	"sallyport.dev/sallyport/internal/iam/directory"
	"sallyport.dev/sallyport/internal/iam/document"
	"sallyport.dev/sallyport/internal/iam/mirror"
	"sallyport.dev/sallyport/internal/iam/password"
	"sallyport.dev/sallyport/internal/iam/rbac"
	"sallyport.dev/sallyport/internal/iam/roster"
	"sallyport.dev/sallyport/internal/iam/session"
	"sallyport.dev/sallyport/internal/iam/sso"
	"sallyport.dev/sallyport/internal/iam/throttle"
	"sallyport.dev/sallyport/internal/iam/vault"
	"sallyport.dev/sallyport/internal/secret"
	"sallyport.dev/sallyport/internal/secret/envelope"
	"sallyport.dev/sallyport/internal/store/sqlite"
)

var update = flag.Bool("update", false, "write the golden files")

// house is the whole administrative interface over a real database, with a person for every built-in
// role in two tenants and in the platform's own.
type house struct {
	t      *testing.T
	api    *api.API
	docs   document.Store
	mirror *mirror.Mirror
	keys   *iam.Service
	made   map[string]string // ids of things that a test made
	notes  []map[string]string
	actor  *api.Actor
}

var ctx = context.Background()

type sealer struct{ ring *envelope.Keyring }

func (s sealer) Seal(_ context.Context, tenant, row, column string, v secret.String) ([]byte, error) {
	return s.ring.Seal(tenant, envelope.Place{Table: "login", Row: row, Column: column}, v)
}

func (s sealer) Open(_ context.Context, tenant, row, column string, b []byte) (secret.String, error) {
	return s.ring.Open(tenant, envelope.Place{Table: "login", Row: row, Column: column}, b)
}

func (h *house) Note(_ context.Context, event string, f map[string]string) error {
	f["event"] = event
	h.notes = append(h.notes, f)
	return nil
}

var tenants = []string{"acme", "other", rbac.System}

func newHouse(t *testing.T) *house {
	t.Helper()
	db, err := sqlite.Open(ctx, t.TempDir())
	check(t, err)
	t.Cleanup(func() { _ = db.Close() })
	h := &house{t: t, docs: db.Documents()}
	h.mirror = mirror.New(h.docs, nil, nil)
	kek, err := envelope.ParseKEK(secret.New(fmt.Sprintf("%x", sha256.Sum256([]byte("kek")))))
	check(t, err)
	seals, err := envelope.New(ctx, envelope.Options{Store: datakeys.Store{Docs: h.docs}, Current: kek})
	check(t, err)
	people, who := roster.New(h.mirror), access.New(h.mirror)
	safe, err := vault.New(vault.Options{Store: h.docs, Sealer: seals, Mirror: h.mirror, Record: func(ctx context.Context, c vault.Change) error {
		return h.Note(ctx, c.Action, map[string]string{"reason": c.Reason})
	}})
	check(t, err)
	keys, err := iam.NewService(db.Keys(), secret.New("a pepper for tests, long enough"), nil)
	check(t, err)
	h.keys = keys
	sessions, err := session.New(session.Options{Store: h.docs})
	check(t, err)
	slow, err := throttle.New(db.Tries(), make([]byte, 32))
	check(t, err)
	accounts, err := account.New(account.Options{
		Store: h.docs, Sessions: sessions, Hasher: password.New(password.Options{}), Throttle: slow, Sealer: sealer{seals},
		Event: func(context.Context, account.Event) {},
	})
	check(t, err)
	elsewhere, err := sso.New(sso.Options{
		Docs: h.docs, Sealer: sealer{seals}, Sessions: sessions, CookieKey: make([]byte, 32), Base: func() string { return "https://console.test" }, Loopback: true,
		Client: func(string) (*http.Client, error) { return &http.Client{}, nil }, Event: func(context.Context, sso.Event) {},
	})
	check(t, err)
	d := &admin.Deps{
		Approvals: &approval.Service{Store: approval.Documents{Docs: h.docs}, People: approval.People{Docs: h.docs, Roster: people, Access: who}},
		Accounts:  accounts, Sessions: sessions, SSO: elsewhere,
		Docs: h.docs, Keys: keys, Classes: func() iam.Classes { return nil }, Vault: safe, Seals: seals, Now: time.Now,
		Tenants: func() []string {
			ids := []string{""}
			for id := range people.Tenants() {
				ids = append(ids, id)
			}
			return ids
		},
	}
	h.api, err = api.New(api.Options{
		Identify: func(*http.Request) (*api.Actor, error) {
			if h.actor == nil {
				return nil, api.ErrNobody
			}
			return h.actor, nil
		},
		Access: &admin.Access{Access: who, Deps: d}, Record: h, Routes: admin.Routes(d),
		After: func() { check(t, h.mirror.Refresh(ctx)) },
		Fault: func(id string, err error) { t.Errorf("%s: %v", id, err) },
	})
	check(t, err)
	for _, tenant := range tenants {
		insert(h, directory.Tenant{ID: tenant, Name: tenant})
		insert(h, directory.Team{ID: "team_" + tenant, Tenant: tenant, Name: "team"})
		insert(h, directory.Group{ID: "group_" + tenant, Tenant: tenant, Name: "group", Origin: "local"})
		insert(h, directory.Service{ID: "service_" + tenant, Tenant: tenant, Name: "service"})
		insert(h, directory.Agent{ID: "agent_" + tenant, Tenant: tenant, Name: "agent"})
		insert(h, directory.User{ID: "victim_" + tenant, Tenant: tenant, UserName: "victim", Origin: "local", Active: true})
		for _, r := range append(rbac.Builtin(), rbac.Role{Name: "none"}) {
			id := r.Name + "_" + tenant
			insert(h, directory.User{ID: id, Tenant: tenant, UserName: r.Name, Origin: "local", Active: true})
			if r.Name == "none" {
				continue
			}
			insert(h, access.Binding{ID: "b_" + id, Tenant: tenant, Kind: rbac.User, Subject: id, Role: r.Name, AllTenants: tenant == rbac.System})
		}
		insert(h, access.Role{ID: "role_" + tenant, Tenant: tenant, Name: "custom", Permissions: []rbac.Permission{"read:team"}})
	}
	check(t, h.mirror.Refresh(ctx))
	return h
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func insert[T document.Entity](h *house, v T) {
	h.t.Helper()
	if _, err := document.Insert(ctx, h.docs, v); err != nil {
		h.t.Fatalf("%T: %v", v, err)
	}
}

// as acts for somebody: a role's person in a tenant, who proved a second factor a moment ago.
func (h *house) as(role, tenant string) {
	h.actor = &api.Actor{Kind: "user", ID: role + "_" + tenant, Tenant: tenant, AMR: []string{"pwd", "otp"}, Fresh: time.Now().Add(time.Minute)}
}

func (h *house) send(method, path, body string) (int, string) {
	r := httptest.NewRequest(method, api.Base+path, strings.NewReader(body))
	if method != http.MethodGet && (method != http.MethodDelete || body != "") {
		r.Header.Set("Content-Type", "application/json")
	}
	w := httptest.NewRecorder()
	h.api.ServeHTTP(w, r)
	var p struct {
		Code string `json:"code"`
	}
	_ = json.Unmarshal(w.Body.Bytes(), &p)
	return w.Code, p.Code
}

// path fills a pattern in for a tenant.
func path(pattern, tenant string) string {
	return strings.NewReplacer("{tenant}", tenant, "{id}", "nosuch", "{version}", "1").Replace(pattern)
}

// body is what gets past the reading of any route's input: of the documented form, and wrong in what it
// says, so that nothing is changed by asking.
func body(r api.Route) string {
	if r.Method == http.MethodGet || r.Method == http.MethodDelete {
		return ""
	}
	for _, end := range []string{"/revoke", "/invite", "/sign-out", "/activate", "/retire", "/rewrap", "/data-keys/rotate", "/signing-keys/rotate"} {
		if strings.HasSuffix(r.Pattern, end) {
			return ""
		}
	}
	return "{}"
}

// TestMatrix holds who may use which route to a golden file, for every route there is, every built-in
// role and three places: their own tenant, another tenant, and another tenant for somebody of the
// platform. A route that is new, or a permission that changed, fails it until a person has looked.
func TestMatrix(t *testing.T) {
	h := newHouse(t)
	var lines []string
	for _, r := range h.api.Routes() {
		cells := []string{fmt.Sprintf("%-7s%-62s%-24s", r.Method, r.Pattern, r.Permission)}
		for _, role := range []string{rbac.Owner, rbac.Admin, rbac.PolicyEditor, rbac.Operator, rbac.Auditor, rbac.Developer, rbac.Service, "none"} {
			cell := ""
			for _, place := range [][2]string{{"acme", "acme"}, {"acme", "other"}, {rbac.System, "acme"}} {
				h.as(role, place[0])
				h.notes = nil
				status, code := h.send(r.Method, path(r.Pattern, place[1]), body(r))
				if h.denied() {
					cell += "-"
					if place[0] != place[1] && strings.Contains(r.Pattern, "{tenant}") && code != "not_found" {
						t.Errorf("%s %s: to somebody of another tenant it says %d %s", r.Method, r.Pattern, status, code)
					}
				} else {
					cell += "x"
				}
				if status == http.StatusInternalServerError {
					t.Errorf("%s %s as %s: %d", r.Method, r.Pattern, role, status)
				}
			}
			cells = append(cells, cell)
		}
		lines = append(lines, strings.TrimRight(strings.Join(cells, " "), " "))
		h.actor = nil
		if status, _ := h.send(r.Method, path(r.Pattern, "acme"), body(r)); r.Permission != api.Public && status != http.StatusUnauthorized {
			t.Errorf("%s %s: nobody gets %d", r.Method, r.Pattern, status)
		}
	}
	sort.Strings(lines)
	got := "# x: may use it, -: may not. Three marks a role: in the own tenant, in another tenant, and of the\n# platform (bound in all tenants) in another tenant.\n" +
		fmt.Sprintf("#%-92s", "") + " own adm pol ope aud dev svc none\n" + strings.Join(lines, "\n") + "\n"
	const file = "testdata/matrix.txt"
	if *update {
		check(t, os.MkdirAll("testdata", 0o755))
		check(t, os.WriteFile(file, []byte(got), 0o644))
	}
	want, err := os.ReadFile(file)
	check(t, err)
	if string(want) != got {
		t.Errorf("the matrix is another than in %s; look at what changed, then run with -update:\n%s", file, diff(string(want), got))
	}
}

// denied says whether the last request was stopped for who sent it.
func (h *house) denied() bool {
	return len(h.notes) > 0 && h.notes[len(h.notes)-1]["event"] == "admin.denied"
}

func diff(want, got string) string {
	in := map[string]bool{}
	for _, l := range strings.Split(want, "\n") {
		in[l] = true
	}
	var out []string
	for _, l := range strings.Split(got, "\n") {
		if !in[l] {
			out = append(out, "+ "+l)
		}
	}
	return strings.Join(out, "\n")
}

// text is the whole answer.
func (h *house) text(method, path, body string) string {
	r := httptest.NewRequest(method, api.Base+path, strings.NewReader(body))
	if method != http.MethodGet {
		r.Header.Set("Content-Type", "application/json")
	}
	w := httptest.NewRecorder()
	h.api.ServeHTTP(w, r)
	return w.Body.String()
}

// sendFor is the answer as an object.
func (h *house) sendFor(method, path, body string) (int, map[string]any) {
	r := httptest.NewRequest(method, api.Base+path, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	h.api.ServeHTTP(w, r)
	var m map[string]any
	_ = json.Unmarshal(w.Body.Bytes(), &m)
	return w.Code, m
}
