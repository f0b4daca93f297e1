package scim

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"sallyport.dev/sallyport/internal/iam/access"
	"sallyport.dev/sallyport/internal/iam/directory"
	"sallyport.dev/sallyport/internal/iam/document"
	"sallyport.dev/sallyport/internal/iam/rbac"
	"sallyport.dev/sallyport/internal/iam/session"
	"sallyport.dev/sallyport/internal/store/memory"
)

func parse(t testing.TB, s string) map[string]any {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal([]byte(s), &m); err != nil {
		t.Fatal(err)
	}
	return m
}

const ada = `{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"userName":"Ada","externalId":"E1","name":{"givenName":"Ada","familyName":"Lovelace"},
	"emails":[{"value":"ada@work.test","type":"work","primary":true},{"value":"ada@home.test","type":"home"}],"active":true,"title":"Engineer",
	"urn:ietf:params:scim:schemas:extension:enterprise:2.0:User":{"department":"R&D","manager":{"value":"m1"}}}`

func cleaned(t testing.TB) map[string]any {
	t.Helper()
	m, err := userKind.body(parse(t, ada))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestFilters(t *testing.T) {
	m := cleaned(t)
	m["id"], m["meta"] = "u1", map[string]any{"lastModified": "2026-03-01T10:00:00Z"}
	for f, want := range map[string]bool{
		`userName eq "ada"`: true, `USERNAME EQ "ADA"`: true, `userName eq "bob"`: false, `userName ne "bob"`: true, `userName sw "a"`: true, `userName co "d"`: true, `userName ew "x"`: false,
		`externalId eq "e1"`: false, `externalId eq "E1"`: true, // case counts
		`emails[type eq "work" and value co "@work"]`: true, `emails[type eq "home" and value co "@work"]`: false, `emails.value eq "ada@home.test"`: true, `emails eq "ada@home.test"`: true,
		`emails.type eq "work" and emails.value eq "ada@home.test"`: true, // of any two
		`title pr`: true, `nickName pr`: false, `not (title pr)`: false, `title pr or nickName pr`: true, `nickName pr and title pr or title pr`: true, `title pr and (nickName pr or active eq true)`: true,
		`active eq true`: true, `active eq "True"`: true, `active eq false`: false, `name.familyName eq "lovelace"`: true,
		`urn:ietf:params:scim:schemas:core:2.0:User:userName eq "ada"`:                     true,
		`urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department eq "r&d"`:   true,
		`urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:manager.value eq "m1"`: true,
		`meta.lastModified gt "2026-03-01T09:00:00+00:00"`:                                 true, `meta.lastModified lt "2026-03-01T09:59:59-05:00"`: true, `meta.lastModified ge "2027-01-01T00:00:00Z"`: false,
		`nickName eq null`: true, `title eq null`: false, `id eq "u1"`: true, `userName gt "aa"`: true, `userName le "ada"`: true, `userName eq "a\"da"`: false,
	} {
		p, err := parseFilter(&userKind, f)
		if err != nil {
			t.Errorf("%s: %v", f, err)
			continue
		}
		if got := p.match(m); got != want {
			t.Errorf("%s: %t", f, got)
		}
	}
	deep := strings.Repeat("(", 40) + `title pr` + strings.Repeat(")", 40)
	wide := `title pr` + strings.Repeat(` or title pr`, 100)
	for _, f := range []string{
		"", " ", "userName", `userName eq`, `userName eq ada`, `userName eq "ada`, `userName xx "a"`, `"ada" eq userName`, `unknown eq "a"`, `emails.unknown pr`, `emails[unknown pr]`,
		`userName[value eq "a"]`, `emails[type eq "work"`, `emails[type eq "work"].value eq "x"`, `emails[emails[type pr]]`, `(title pr`, `title pr)`, `not title pr`, `title pr and`, `and title pr`,
		`title pr title pr`, `userName eq {}`, `userName eq []`, `userName eq "a" "b"`, `urn:x:userName pr`, `userName eq "\u"`, `title pr or or title pr`, deep, wide, strings.Repeat("a", 3000),
	} {
		var e *Error
		if _, err := parseFilter(&userKind, f); !errors.As(err, &e) || e.Status != 400 || e.Type != "invalidFilter" {
			t.Errorf("%.60q: %v", f, err)
		}
	}
}

func TestPatches(t *testing.T) {
	for name, c := range map[string]struct {
		ops  string
		want string // of the attribute, as JSON; or the scimType of the refusal, after "!"
		at   string
	}{
		"add":                     {`[{"op":"add","path":"nickName","value":"A"}]`, `"A"`, "nickName"},
		"capitals":                {`[{"op":"Add","path":"NICKNAME","value":"A"}]`, `"A"`, "nickName"},
		"replace":                 {`[{"op":"replace","path":"title","value":"Countess"}]`, `"Countess"`, "title"},
		"remove":                  {`[{"op":"remove","path":"title"}]`, `null`, "title"},
		"null removes":            {`[{"op":"replace","path":"title","value":null}]`, `null`, "title"},
		"sub":                     {`[{"op":"replace","path":"name.familyName","value":"King"}]`, `{"familyName":"King","givenName":"Ada"}`, "name"},
		"sub of nothing":          {`[{"op":"remove","path":"name.givenName"},{"op":"remove","path":"name.familyName"}]`, `null`, "name"},
		"merge":                   {`[{"op":"add","path":"name","value":{"middleName":"Augusta"}}]`, `{"familyName":"Lovelace","givenName":"Ada","middleName":"Augusta"}`, "name"},
		"without a path":          {`[{"op":"replace","value":{"title":"X","active":"False"}}]`, `false`, "active"},
		"a path as a name":        {`[{"op":"replace","value":{"name.familyName":"King"}}]`, `{"familyName":"King","givenName":"Ada"}`, "name"},
		"a filter as a name":      {`[{"op":"replace","value":{"emails[type eq \"home\"].value":"new@home.test"}}]`, `[{"primary":true,"type":"work","value":"ada@work.test"},{"type":"home","value":"new@home.test"}]`, "emails"},
		"the extension":           {`[{"op":"replace","value":{"urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department":"Sales"}}]`, `{"department":"Sales","manager":{"value":"m1"}}`, EnterpriseSchema},
		"the extension, inside":   {`[{"op":"add","value":{"urn:ietf:params:scim:schemas:extension:enterprise:2.0:User":{"costCenter":"7"}}}]`, `{"costCenter":"7","department":"R\u0026D","manager":{"value":"m1"}}`, EnterpriseSchema},
		"the extension, gone":     {`[{"op":"remove","path":"urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department"},{"op":"remove","path":"urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:manager"}]`, `null`, EnterpriseSchema},
		"one of several":          {`[{"op":"replace","path":"emails[type eq \"work\"].value","value":"a@new.test"}]`, `[{"primary":true,"type":"work","value":"a@new.test"},{"type":"home","value":"ada@home.test"}]`, "emails"},
		"one taken out":           {`[{"op":"remove","path":"emails[type eq \"work\"]"}]`, `[{"type":"home","value":"ada@home.test"}]`, "emails"},
		"one that is new":         {`[{"op":"Add","path":"phoneNumbers[type eq \"mobile\"].value","value":"+1"}]`, `[{"type":"mobile","value":"+1"}]`, "phoneNumbers"},
		"primary moves":           {`[{"op":"add","path":"emails","value":[{"value":"c@x.test","type":"other","primary":true}]}]`, `[{"type":"work","value":"ada@work.test"},{"type":"home","value":"ada@home.test"},{"primary":true,"type":"other","value":"c@x.test"}]`, "emails"},
		"primary is set":          {`[{"op":"replace","path":"emails[type eq \"home\"].primary","value":true}]`, `[{"type":"work","value":"ada@work.test"},{"primary":true,"type":"home","value":"ada@home.test"}]`, "emails"},
		"added twice":             {`[{"op":"add","path":"emails","value":[{"value":"ada@home.test","type":"home"}]}]`, `[{"primary":true,"type":"work","value":"ada@work.test"},{"type":"home","value":"ada@home.test"}]`, "emails"},
		"removed by value":        {`[{"op":"Remove","path":"emails","value":[{"value":"ada@home.test"}]}]`, `[{"primary":true,"type":"work","value":"ada@work.test"}]`, "emails"},
		"all replaced":            {`[{"op":"replace","path":"emails","value":[{"value":"z@z.test"}]}]`, `[{"value":"z@z.test"}]`, "emails"},
		"all of a sub-attribute":  {`[{"op":"replace","path":"emails.display","value":"d"}]`, `[{"display":"d","primary":true,"type":"work","value":"ada@work.test"},{"display":"d","type":"home","value":"ada@home.test"}]`, "emails"},
		"unknown, in an object":   {`[{"op":"add","value":{"favouriteColour":"red","nickName":"A"}}]`, `"A"`, "nickName"},
		"read-only, in an object": {`[{"op":"replace","value":{"id":"x","meta":{"version":"1"},"groups":[{"value":"g"}],"nickName":"A"}}]`, `"A"`, "nickName"},

		"no such target":        {`[{"op":"replace","path":"emails[type eq \"other\"].value","value":"x"}]`, "!noTarget", ""},
		"remove without a path": {`[{"op":"remove"}]`, "!noTarget", ""},
		"an unknown path":       {`[{"op":"add","path":"favouriteColour","value":"red"}]`, "!invalidPath", ""},
		"a bad path":            {`[{"op":"add","path":"emails[type eq","value":"red"}]`, "!invalidFilter", ""},
		"after a path":          {`[{"op":"add","path":"emails[type eq \"work\"].value.x","value":"red"}]`, "!invalidPath", ""},
		"read-only":             {`[{"op":"replace","path":"id","value":"x"}]`, "!mutability", ""},
		"read-only groups":      {`[{"op":"add","path":"groups","value":[{"value":"g"}]}]`, "!mutability", ""},
		"required":              {`[{"op":"remove","path":"userName"}]`, "!mutability", ""},
		"required, empty":       {`[{"op":"replace","path":"userName","value":""}]`, "!invalidValue", ""},
		"a wrong type":          {`[{"op":"replace","path":"active","value":"perhaps"}]`, "!invalidValue", ""},
		"a number":              {`[{"op":"replace","path":"title","value":7}]`, "!invalidValue", ""},
		"two primaries":         {`[{"op":"replace","path":"emails","value":[{"value":"a","primary":true},{"value":"b","primary":true}]}]`, "!invalidValue", ""},
		"an unknown operation":  {`[{"op":"move","path":"title","value":"x"}]`, "!invalidSyntax", ""},
		"none":                  {`[]`, "!invalidSyntax", ""},
		"text as an object":     {`[{"op":"add","value":"x"}]`, "!invalidValue", ""},
		"control characters":    {`[{"op":"add","path":"title","value":"a\u0000b"}]`, "!invalidValue", ""},
	} {
		m := cleaned(t)
		before, _ := json.Marshal(m)
		ops, err := Patch(parse(t, `{"schemas":["`+patchMessage+`"],"Operations":`+c.ops+`}`))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		got, err := userKind.apply(m, ops)
		if after, _ := json.Marshal(m); string(after) != string(before) {
			t.Errorf("%s: the resource itself was changed", name)
		}
		if want, refused := strings.CutPrefix(c.want, "!"); refused {
			var e *Error
			if !errors.As(err, &e) || e.Type != want || e.Status != 400 {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if b, _ := json.Marshal(got[c.at]); string(b) != c.want {
			t.Errorf("%s: %s", name, b)
		}
	}
}

// house is a service on a store in memory, with two tenants.
type house struct {
	*Service
	t    *testing.T
	docs *memory.Documents
}

func newHouse(t *testing.T) *house {
	t.Helper()
	h := &house{t: t, docs: &memory.Documents{}}
	h.Service = &Service{Docs: h.docs, Base: func() string { return "https://console.test/scim/v2" }}
	for _, id := range []string{"acme", "other"} {
		put(h, directory.Tenant{ID: id, Name: id})
	}
	put(h, directory.User{ID: "user_local", Tenant: "acme", UserName: "root", Origin: directory.OriginLocal, Active: true})
	return h
}

func put[T document.Entity](h *house, v T) {
	h.t.Helper()
	if _, err := document.Insert(h.t.Context(), h.docs, v); err != nil {
		h.t.Fatal(err)
	}
}

func (h *house) user(tenant, body string) string {
	h.t.Helper()
	r, err := h.CreateUser(h.t.Context(), tenant, parse(h.t, body))
	if err != nil {
		h.t.Fatal(err)
	}
	return r.Resource["id"].(string)
}

func named(name string) string {
	return fmt.Sprintf(`{"schemas":[%q],"userName":%q}`, UserSchema, name)
}

func refused(t *testing.T, what string, err error, status int, scimType string) {
	t.Helper()
	if e := AsError(err); e == nil || e.Status != status || e.Type != scimType {
		t.Errorf("%s: %v", what, err)
	}
}

func TestAnotherTenantsPeopleAreNotThere(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	theirs, ours := h.user("other", named("eve")), h.user("acme", named("ada"))
	g, err := h.CreateGroup(ctx, "acme", parse(t, `{"schemas":["`+GroupSchema+`"],"displayName":"g","members":[{"value":"`+ours+`"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	patch := []Operation{{Op: "replace", Path: "active", Value: false}}
	for _, id := range []string{theirs, "user_local", "user_none", g.Resource["id"].(string)} {
		_, _, err := h.User(ctx, "acme", id)
		refused(t, "get "+id, err, 404, "")
		_, err = h.PatchUser(ctx, "acme", id, "", patch)
		refused(t, "patch "+id, err, 404, "")
		_, err = h.ReplaceUser(ctx, "acme", id, "", parse(t, named("x")))
		refused(t, "replace "+id, err, 404, "")
		_, err = h.DeleteUser(ctx, "acme", id, "")
		refused(t, "delete "+id, err, 404, "")
		if id == g.Resource["id"] {
			continue
		}
		_, err = h.PatchGroup(ctx, "acme", g.Resource["id"].(string), "", []Operation{{Op: "add", Path: "members", Value: []any{map[string]any{"value": id}}}})
		refused(t, "member "+id, err, 400, "invalidValue")
	}
	for _, f := range []string{``, `userName eq "eve"`, `userName eq "root"`, `id eq "` + theirs + `"`, `id eq "user_local"`} {
		l, err := h.Users(ctx, "acme", Query{Filter: f, Count: 10})
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range l.Resources {
			if r["id"] != ours {
				t.Errorf("%q shows %v", f, r)
			}
		}
	}
	// A name that a local account has is taken.
	_, err = h.CreateUser(ctx, "acme", parse(t, named("ROOT")))
	refused(t, "a taken name", err, 409, "uniqueness")
	_, err = h.CreateUser(ctx, "acme", parse(t, named("ADA")))
	refused(t, "the same name", err, 409, "uniqueness")
	if _, err := h.CreateUser(ctx, "other", parse(t, named("ada"))); err != nil {
		t.Error(err)
	}
}

func TestAPatchIsWholeOrNot(t *testing.T) {
	h := newHouse(t)
	id := h.user("acme", ada)
	_, err := h.PatchUser(t.Context(), "acme", id, "", []Operation{{Op: "replace", Path: "title", Value: "Changed"}, {Op: "replace", Path: "active", Value: false}, {Op: "remove", Path: "userName"}})
	refused(t, "a patch whose end is wrong", err, 400, "mutability")
	res, rev, err := h.User(t.Context(), "acme", id)
	if err != nil || res["title"] != "Engineer" || res["active"] != true {
		t.Errorf("%v %v", res, err)
	}
	_, err = h.PatchUser(t.Context(), "acme", id, Tag(rev-1), []Operation{{Op: "replace", Path: "title", Value: "x"}})
	refused(t, "an older version", err, 412, "")
	r, err := h.PatchUser(t.Context(), "acme", id, Tag(rev), []Operation{{Op: "replace", Path: "title", Value: "x"}})
	if err != nil || r.Revision <= rev {
		t.Error(r, err)
	}
	again, err := h.PatchUser(t.Context(), "acme", id, "", []Operation{{Op: "replace", Path: "title", Value: "x"}})
	if err != nil || again.Revision != r.Revision {
		t.Errorf("a patch that changes nothing makes version %d of %d: %v", again.Revision, r.Revision, err)
	}
}

// What a client wrote reads back; what decides anything is taken over, and nothing gives a role.
func TestWhatIsKept(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	in := strings.Replace(ada, `"title"`, `"id":"mine","meta":{"version":"9"},"password":"hunter22","roles":[{"value":"owner"}],"entitlements":[{"value":"all"}],"favouriteColour":"red","title"`, 1)
	id := h.user("acme", in)
	u, _, err := document.Get[directory.User](ctx, h.docs, id)
	if err != nil || id == "mine" || u.UserName != "Ada" || u.Name != "Ada Lovelace" || u.Email != "ada@work.test" || u.ExternalID != "E1" || !u.Active || u.Origin != directory.OriginSCIM || u.BreakGlass {
		t.Fatalf("%+v %v", u, err)
	}
	b, _ := json.Marshal(u)
	if strings.Contains(string(b), "hunter22") || strings.Contains(string(b), "favourite") {
		t.Errorf("%s", b)
	}
	if all, _ := document.List[access.Binding](ctx, h.docs, nil); len(all) != 0 {
		t.Errorf("a role that was sent is given: %+v", all)
	}
	res, _, err := h.User(ctx, "acme", id)
	if err != nil {
		t.Fatal(err)
	}
	want := cleaned(t)
	for k, v := range want {
		if !same(res[k], v) {
			t.Errorf("%s: %v, not %v", k, res[k], v)
		}
	}
	// A whole resource that says nothing of active does not switch anybody on.
	if _, err := h.PatchUser(ctx, "acme", id, "", []Operation{{Op: "Replace", Path: "active", Value: "False"}}); err != nil {
		t.Fatal(err)
	}
	r, err := h.ReplaceUser(ctx, "acme", id, "", parse(t, named("ada")))
	if err != nil || r.Resource["active"] != false || r.Resource["title"] != nil {
		t.Errorf("%v %v", r.Resource, err)
	}
}

// Who is switched off, deleted, or put into or out of a group that gives roles has no session from then.
func TestSessionsEnd(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	ss, err := session.New(session.Options{Store: h.docs})
	if err != nil {
		t.Fatal(err)
	}
	a, b := h.user("acme", named("a")), h.user("acme", named("b"))
	enter := func(id string) {
		t.Helper()
		if _, _, err := ss.Create(ctx, session.Start{User: id, Tenant: "acme", AMR: []string{"fed"}}); err != nil {
			t.Fatal(err)
		}
	}
	in := func(id string) int {
		l, err := ss.List(ctx, "acme", id)
		if err != nil {
			t.Fatal(err)
		}
		return len(l)
	}
	member := func(verb, id string) Operation {
		return Operation{Op: verb, Path: "members", Value: []any{map[string]any{"value": id}}}
	}
	g, err := h.CreateGroup(ctx, "acme", parse(t, `{"schemas":["`+GroupSchema+`"],"displayName":"Admins"}`))
	if err != nil {
		t.Fatal(err)
	}
	gid := g.Resource["id"].(string)
	enter(a)
	enter(b)
	if _, err := h.PatchGroup(ctx, "acme", gid, "", []Operation{member("add", a)}); err != nil || in(a) != 1 {
		t.Errorf("a group that gives nothing ends a session: %v", err)
	}
	put(h, access.Binding{ID: "b1", Tenant: "acme", Kind: rbac.Group, Subject: gid, Role: rbac.Admin})
	if _, err := h.PatchGroup(ctx, "acme", gid, "", []Operation{member("add", b)}); err != nil || in(b) != 0 || in(a) != 1 {
		t.Errorf("put into a group of admins: %d %d %v", in(a), in(b), err)
	}
	if _, err := h.PatchGroup(ctx, "acme", gid, "", []Operation{{Op: "remove", Path: `members[value eq "` + a + `"]`}}); err != nil || in(a) != 0 {
		t.Errorf("taken out of a group of admins: %d %v", in(a), err)
	}
	enter(a)
	enter(b)
	if _, err := h.PatchUser(ctx, "acme", a, "", []Operation{{Op: "replace", Path: "active", Value: false}}); err != nil || in(a) != 0 || in(b) != 1 {
		t.Errorf("switched off: %d %d %v", in(a), in(b), err)
	}
	if _, err := h.DeleteUser(ctx, "acme", b, ""); err != nil || in(b) != 0 {
		t.Errorf("deleted: %d %v", in(b), err)
	}
	if res, _, err := h.Group(ctx, "acme", gid); err != nil || res["members"] != nil {
		t.Errorf("%v %v", res, err)
	}
}

func TestPagesSortingAndSelection(t *testing.T) {
	h := newHouse(t)
	ctx := context.Background()
	for i := range 25 {
		h.user("acme", fmt.Sprintf(`{"schemas":[%q],"userName":"u%02d","title":"t%d"}`, UserSchema, i, i%3))
	}
	seen := map[string]bool{}
	for at := 1; at <= 25; at += 10 {
		l, err := h.Users(ctx, "acme", Query{StartIndex: at, Count: 10, SortBy: "userName", Descending: true, Attributes: []string{"userName"}})
		if err != nil || l.Total != 25 || l.StartIndex != at {
			t.Fatalf("%+v %v", l, err)
		}
		for i, r := range l.Resources {
			if want := fmt.Sprintf("u%02d", 25-at-i); r["userName"] != want || len(r) != 3 {
				t.Errorf("%v, not %s", r, want)
			}
			seen[r["id"].(string)] = true
		}
	}
	if len(seen) != 25 {
		t.Errorf("%d of 25", len(seen))
	}
	l, err := h.Users(ctx, "acme", Query{Filter: `title eq "T1"`, Count: 0})
	if err != nil || l.Total != 8 || len(l.Resources) != 0 {
		t.Errorf("%+v %v", l, err)
	}
	l, _ = h.Users(ctx, "acme", Query{StartIndex: 1 << 30, Count: 5})
	if l.Total != 25 || len(l.Resources) != 0 {
		t.Errorf("%+v", l)
	}
	if _, err := h.Users(ctx, "acme", Query{SortBy: "nothing"}); AsError(err) == nil {
		t.Error(err)
	}
}

func FuzzFilter(f *testing.F) {
	for _, s := range []string{`userName eq "a"`, `emails[type eq "work" and not (value co "x")]`, `title pr or (a.b pr)`, `urn:ietf:params:scim:schemas:core:2.0:User:name.familyName sw "x"`, `meta.lastModified gt "2026-01-01T00:00:00Z"`, `((((`, `not not`, `a eq "\"`} {
		f.Add(s)
	}
	m := cleaned(f)
	f.Fuzz(func(t *testing.T, s string) {
		p, err := parseFilter(&userKind, s)
		if err != nil {
			var e *Error
			if !errors.As(err, &e) || e.Status != 400 {
				t.Fatal(err)
			}
			return
		}
		neg, err := parseFilter(&userKind, "not ("+s+")")
		if err == nil && neg.match(m) == p.match(m) {
			t.Fatalf("%q and its negation agree", s)
		}
	})
}

func FuzzPatch(f *testing.F) {
	for _, s := range []string{`emails[type eq "work"].value`, `name.familyName`, `emails`, `members[value eq "x"]`, EnterpriseSchema + `:manager.value`, `active`, `emails[primary eq true]`, `[`, `.`, `a.b.c`} {
		for _, v := range []string{`"x"`, `true`, `[{"value":"y","primary":true}]`, `{"value":"z"}`, `null`, `7`, `{"emails":[]}`} {
			f.Add("add", s, v)
			f.Add("replace", s, v)
			f.Add("remove", s, v)
		}
	}
	f.Fuzz(func(t *testing.T, op, path, text string) {
		var v any
		if json.Unmarshal([]byte(text), &v) != nil {
			return
		}
		m := cleaned(t)
		got, err := userKind.apply(m, []Operation{{op, path, v}})
		if err != nil {
			return
		}
		if got["userName"] == nil {
			t.Fatalf("%s %s %s takes the name away", op, path, text)
		}
		// What comes of it is what a client may send, and stays what it is.
		b, err := json.Marshal(got)
		if err != nil {
			t.Fatal(err)
		}
		again, err := userKind.clean(parse(t, string(b)))
		if err != nil {
			t.Fatalf("%s %s %s makes what cannot be kept: %v", op, path, text, err)
		}
		if !same(got, again) {
			t.Fatalf("%s %s %s: %s", op, path, text, b)
		}
	})
}
