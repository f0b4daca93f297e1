package provision

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"sallyport.dev/sallyport/internal/iam/directory"
	"sallyport.dev/sallyport/internal/iam/document"
	"sallyport.dev/sallyport/internal/iam/scim"
	"sallyport.dev/sallyport/internal/store/memory"
)

// desk is the interface over a store in memory, whose only token is "right".
type desk struct {
	t    *testing.T
	docs *memory.Documents
	h    http.Handler

	mu     sync.Mutex
	events []string
	full   error // what the record says
}

func (d *desk) Note(_ context.Context, event string, f map[string]string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.full != nil {
		return d.full
	}
	b, _ := json.Marshal(f)
	d.events = append(d.events, event+" "+string(b))
	return nil
}

func newDesk(t *testing.T) *desk {
	t.Helper()
	d := &desk{t: t, docs: &memory.Documents{}}
	if _, err := document.Insert(t.Context(), d.docs, directory.Tenant{ID: "acme", Name: "acme"}); err != nil {
		t.Fatal(err)
	}
	d.h = Handler(Options{
		Service: &scim.Service{Docs: d.docs, Base: func() string { return "https://console.test" + Base }},
		Identify: func(r *http.Request) (*Client, error) {
			if r.Header.Get("Authorization") != "Bearer right" {
				return nil, ErrNobody
			}
			return &Client{Key: "key_1", Tenant: "acme"}, nil
		},
		Record: d, After: func() {}, Fault: func(id string, err error) {
			if d.full == nil {
				t.Errorf("%s: %v", id, err)
			}
		},
	})
	return d
}

func (d *desk) send(method, path, body string, set ...string) (*http.Response, map[string]any) {
	d.t.Helper()
	r := httptest.NewRequest(method, Base+path, strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer right")
	if body != "" {
		r.Header.Set("Content-Type", "application/scim+json")
	}
	for i := 0; i < len(set); i += 2 {
		r.Header.Set(set[i], set[i+1])
	}
	w := httptest.NewRecorder()
	d.h.ServeHTTP(w, r)
	res := w.Result()
	b, _ := io.ReadAll(res.Body)
	var m map[string]any
	if len(b) > 0 {
		if err := json.Unmarshal(b, &m); err != nil {
			d.t.Fatalf("%s %s: %v: %s", method, path, err, b)
		}
	}
	return res, m
}

func (d *desk) must(status int, method, path, body string, set ...string) map[string]any {
	d.t.Helper()
	res, m := d.send(method, path, body, set...)
	if res.StatusCode != status {
		d.t.Fatalf("%s %s: %d %v, want %d", method, path, res.StatusCode, m, status)
	}
	if status >= 400 && (m["status"] != itoa(status) || m["schemas"] == nil || m["detail"] == "") {
		d.t.Errorf("%s %s: %v is no SCIM error", method, path, m)
	}
	return m
}

func itoa(n int) string { b, _ := json.Marshal(n); return string(b) }

const (
	u = `"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"]`
	g = `"schemas":["urn:ietf:params:scim:schemas:core:2.0:Group"]`
	p = `"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"]`
)

// What Microsoft Entra ID sends, as its documents describe it: it asks before it makes, writes operations
// with capitals, booleans as text, names of parts as paths, and switches people off before it deletes them.
func TestEntra(t *testing.T) {
	d := newDesk(t)
	if m := d.must(200, "GET", `/Users?filter=userName+eq+%22Test_User_00%22`, ""); m["totalResults"] != 0.0 || m["Resources"] == nil {
		t.Fatalf("%v", m)
	}
	made := d.must(201, "POST", "/Users", `{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User","urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"],
		"externalId":"0a21f0f2","userName":"Test_User_00","active":true,"displayName":"A Person",
		"emails":[{"primary":true,"type":"work","value":"person@work.test"}],"meta":{"resourceType":"User"},
		"name":{"formatted":"given family","familyName":"family","givenName":"given"},"roles":[]}`)
	id := made["id"].(string)
	if made["meta"].(map[string]any)["location"] != "https://console.test/scim/v2/Users/"+id || made["active"] != true {
		t.Errorf("%v", made)
	}
	d.must(409, "POST", "/Users", `{`+u+`,"userName":"test_user_00","externalId":"other"}`)
	d.must(409, "POST", "/Users", `{`+u+`,"userName":"other","externalId":"0a21f0f2"}`)
	if m := d.must(200, "GET", `/Users?filter=externalId+eq+%220a21f0f2%22&startIndex=1&count=1`, ""); m["totalResults"] != 1.0 || m["itemsPerPage"] != 1.0 {
		t.Errorf("%v", m)
	}
	m := d.must(200, "PATCH", "/Users/"+id, `{`+p+`,"Operations":[
		{"op":"Replace","path":"emails[type eq \"work\"].value","value":"updated@work.test"},
		{"op":"Replace","path":"name.familyName","value":"updated"},
		{"op":"Add","path":"phoneNumbers[type eq \"mobile\"].value","value":"555"},
		{"op":"Add","path":"urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department","value":"R&D"},
		{"op":"Add","path":"urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:manager","value":"m1"}]}`)
	if m["name"].(map[string]any)["familyName"] != "updated" || !strings.Contains(text(m), `"type":"mobile"`) || !strings.Contains(text(m), `"manager":{"value":"m1"}`) {
		t.Errorf("%v", m)
	}
	m = d.must(200, "PATCH", "/Users/"+id, `{`+p+`,"Operations":[{"op":"Replace","value":{"displayName":"New","name.givenName":"newer","active":"False"}}]}`)
	if m["active"] != false || m["displayName"] != "New" || m["name"].(map[string]any)["givenName"] != "newer" {
		t.Errorf("%v", m)
	}
	d.must(200, "PATCH", "/Users/"+id, `{`+p+`,"Operations":[{"op":"Replace","path":"active","value":"True"}]}`)

	group := d.must(201, "POST", "/Groups", `{"schemas":["urn:ietf:params:scim:schemas:core:2.0:Group","http://schemas.example.test/extension"],"externalId":"8aa1a0c0","displayName":"Admins","members":[],"meta":{"resourceType":"Group"}}`)
	gid := group["id"].(string)
	d.must(200, "PATCH", "/Groups/"+gid, `{`+p+`,"Operations":[{"op":"Add","path":"members","value":[{"value":"`+id+`"}]}]}`)
	if m := d.must(200, "GET", "/Users/"+id+"?attributes=groups,userName", ""); !strings.Contains(text(m), gid) || m["emails"] != nil {
		t.Errorf("%v", m)
	}
	if m := d.must(200, "GET", `/Groups?excludedAttributes=members&filter=displayName+eq+%22admins%22`, ""); m["totalResults"] != 1.0 || strings.Contains(text(m), id) {
		t.Errorf("%v", m)
	}
	if m := d.must(200, "GET", `/Groups?filter=id+eq+%22`+gid+`%22+and+members+eq+%22`+id+`%22&attributes=id`, ""); m["totalResults"] != 1.0 {
		t.Errorf("%v", m)
	}
	d.must(200, "PATCH", "/Groups/"+gid, `{`+p+`,"Operations":[{"op":"Replace","path":"displayName","value":"Owners"}]}`)
	d.must(200, "PATCH", "/Groups/"+gid, `{`+p+`,"Operations":[{"op":"Remove","path":"members","value":[{"value":"`+id+`"}]}]}`)
	if m := d.must(200, "GET", "/Groups/"+gid, ""); m["members"] != nil || m["displayName"] != "Owners" {
		t.Errorf("%v", m)
	}
	d.must(204, "DELETE", "/Groups/"+gid, "")
	d.must(204, "DELETE", "/Users/"+id, "")
	d.must(404, "GET", "/Users/"+id, "")
	d.must(404, "DELETE", "/Users/"+id, "")
}

// What Okta sends: whole people with PUT, a password that it makes up, members with PATCH, groups by their name.
func TestOkta(t *testing.T) {
	d := newDesk(t)
	if m := d.must(200, "GET", `/Users?filter=userName%20eq%20%22test.user%40okta.test%22&startIndex=1&count=100`, ""); m["totalResults"] != 0.0 {
		t.Fatalf("%v", m)
	}
	made := d.must(201, "POST", "/Users", `{`+u+`,"userName":"test.user@okta.test","name":{"givenName":"Test","familyName":"User"},"emails":[{"primary":true,"value":"test.user@okta.test","type":"work"}],
		"displayName":"Test User","locale":"en-US","externalId":"00ujl29u0le5T6Aj10h7","groups":[],"password":"1mz050nq","active":true}`, "Content-Type", "application/json")
	if strings.Contains(text(made), "1mz050nq") {
		t.Error("a password is shown")
	}
	id := made["id"].(string)
	d.must(200, "GET", "/Users/"+id, "")
	m := d.must(200, "PUT", "/Users/"+id, `{`+u+`,"id":"`+id+`","userName":"test.user@okta.test","name":{"givenName":"Another","familyName":"User","middleName":"Excited"},"active":true,"groups":[],"meta":{"resourceType":"User"}}`)
	if m["emails"] != nil || m["name"].(map[string]any)["middleName"] != "Excited" || m["externalId"] != nil {
		t.Errorf("a replacement keeps what it does not say: %v", m)
	}
	m = d.must(200, "PATCH", "/Users/"+id, `{`+p+`,"Operations":[{"op":"replace","value":{"active":false}}]}`)
	if m["active"] != false {
		t.Errorf("%v", m)
	}
	gid := d.must(201, "POST", "/Groups", `{`+g+`,"displayName":"Test SCIMv2","members":[{"value":"`+id+`","display":"test.user@okta.test"}]}`)["id"].(string)
	d.must(200, "PATCH", "/Groups/"+gid, `{`+p+`,"Operations":[{"op":"replace","value":{"id":"`+gid+`","displayName":"Test SCIMv0"}}]}`)
	d.must(200, "PATCH", "/Groups/"+gid, `{`+p+`,"Operations":[{"op":"remove","path":"members[value eq \"`+id+`\"]"},{"op":"add","path":"members","value":[{"value":"`+id+`","display":"x"}]}]}`)
	m = d.must(200, "PUT", "/Groups/"+gid, `{`+g+`,"id":"`+gid+`","displayName":"Test SCIMv0","members":[{"value":"`+id+`","display":"x"}]}`)
	if l := m["members"].([]any); len(l) != 1 || l[0].(map[string]any)["value"] != id {
		t.Errorf("%v", m)
	}
	if m := d.must(200, "GET", "/Groups?startIndex=1&count=100", ""); m["totalResults"] != 1.0 {
		t.Errorf("%v", m)
	}
	d.must(204, "DELETE", "/Groups/"+gid, "")
}

func TestRefused(t *testing.T) {
	d := newDesk(t)
	id := d.must(201, "POST", "/Users", `{`+u+`,"userName":"ada"}`)["id"].(string)
	for name, c := range map[string]struct {
		status             int
		method, path, body string
		set                []string
	}{
		"no token":               {401, "GET", "/Users", "", []string{"Authorization", ""}},
		"a wrong token":          {401, "POST", "/Users", `{` + u + `,"userName":"x"}`, []string{"Authorization", "Bearer wrong"}},
		"a form":                 {415, "POST", "/Users", `userName=x`, []string{"Content-Type", "application/x-www-form-urlencoded"}},
		"not JSON":               {400, "POST", "/Users", `{`, nil},
		"a name twice":           {400, "POST", "/Users", `{` + u + `,"userName":"x","userName":"y"}`, nil},
		"a name in two cases":    {400, "POST", "/Users", `{` + u + `,"userName":"x","USERNAME":"y"}`, nil},
		"a list":                 {400, "POST", "/Users", `[]`, nil},
		"no schemas":             {400, "POST", "/Users", `{"userName":"x"}`, nil},
		"the schema of a group":  {400, "POST", "/Users", `{` + g + `,"userName":"x"}`, nil},
		"no name":                {400, "POST", "/Users", `{` + u + `}`, nil},
		"a name of spaces":       {400, "POST", "/Users", `{` + u + `,"userName":"  "}`, nil},
		"a name that hides":      {400, "POST", "/Users", "{" + u + ",\"userName\":\"a\u202eb\"}", nil},
		"a number as a name":     {400, "POST", "/Users", `{` + u + `,"userName":7}`, nil},
		"a bad filter":           {400, "GET", `/Users?filter=userName+is+%22x%22`, "", nil},
		"a count that is none":   {400, "GET", `/Users?count=many`, "", nil},
		"bulk":                   {501, "POST", "/Bulk", `{}`, nil},
		"me":                     {501, "GET", "/Me", "", nil},
		"an unknown endpoint":    {404, "GET", "/Things", "", nil},
		"an unknown schema":      {404, "GET", "/Schemas/urn:x", "", nil},
		"an older version":       {412, "PUT", "/Users/" + id, `{` + u + `,"userName":"ada"}`, []string{"If-Match", `W/"1"`}},
		"delete an older one":    {412, "DELETE", "/Users/" + id, "", []string{"If-Match", `W/"1"`}},
		"a patch without schema": {400, "PATCH", "/Users/" + id, `{"Operations":[{"op":"remove","path":"title"}]}`, nil},
		"a nested group":         {400, "POST", "/Groups", `{` + g + `,"displayName":"x","members":[{"value":"` + id + `","type":"Group"}]}`, nil},
		"nobody as a member":     {400, "POST", "/Groups", `{` + g + `,"displayName":"x","members":[{"value":"user_nobody"}]}`, nil},
		"a member without value": {400, "POST", "/Groups", `{` + g + `,"displayName":"x","members":[{"display":"y"}]}`, nil},
		"too large":              {413, "POST", "/Users", `{` + u + `,"userName":"` + strings.Repeat("x", 5<<20) + `"}`, nil},
		"too deep":               {400, "POST", "/Users", strings.Repeat(`{"a":`, 20000) + `1` + strings.Repeat(`}`, 20000), nil},
	} {
		res, m := d.send(c.method, c.path, c.body, c.set...)
		if res.StatusCode != c.status || m["detail"] == nil || m["status"] != itoa(c.status) {
			t.Errorf("%s: %d %v, want %d", name, res.StatusCode, m, c.status)
		}
		if c.status == 401 && res.Header.Get("WWW-Authenticate") == "" {
			t.Errorf("%s: no challenge", name)
		}
	}
	if m := d.must(200, "GET", "/Users", ""); m["totalResults"] != 1.0 {
		t.Errorf("%v", m)
	}
}

// What cannot be recorded is not done; what was done is on the record, with before and after.
func TestTheRecord(t *testing.T) {
	d := newDesk(t)
	d.full = errors.New("the disk is full")
	d.must(503, "POST", "/Users", `{`+u+`,"userName":"ada"}`)
	d.full = nil
	if m := d.must(200, "GET", "/Users", ""); m["totalResults"] != 0.0 {
		t.Error("somebody was made off the record")
	}
	id := d.must(201, "POST", "/Users", `{`+u+`,"userName":"ada","password":"hunter22"}`)["id"].(string)
	d.must(200, "PATCH", "/Users/"+id, `{`+p+`,"Operations":[{"op":"replace","path":"active","value":false}]}`)
	all := strings.Join(d.events, "\n")
	for _, want := range []string{`scim.users.create {"actor":"key_1"`, `"phase":"intent"`, `"phase":"done"`, `scim.users.patch`, `\"active\":true`, `\"active\":false`} {
		if !strings.Contains(all, want) {
			t.Errorf("the record does not hold %s:\n%s", want, all)
		}
	}
	if strings.Contains(all, "hunter22") {
		t.Error("a password is on the record")
	}
}

func TestVersions(t *testing.T) {
	d := newDesk(t)
	res, m := d.send("POST", "/Users", `{`+u+`,"userName":"ada"}`)
	tag := res.Header.Get("ETag")
	id := m["id"].(string)
	if tag == "" || m["meta"].(map[string]any)["version"] != tag || res.Header.Get("Location") == "" {
		t.Fatalf("%v %v", res.Header, m)
	}
	if res, _ := d.send("GET", "/Users/"+id, "", "If-None-Match", tag); res.StatusCode != http.StatusNotModified {
		t.Error(res.StatusCode)
	}
	d.must(200, "PUT", "/Users/"+id, `{`+u+`,"userName":"ada","title":"x"}`, "If-Match", tag)
	d.must(412, "PUT", "/Users/"+id, `{`+u+`,"userName":"ada","title":"y"}`, "If-Match", tag)
	d.must(200, "PUT", "/Users/"+id, `{`+u+`,"userName":"ada","title":"y"}`, "If-Match", "*")
	for _, path := range []string{"/ServiceProviderConfig", "/ResourceTypes", "/ResourceTypes/User", "/Schemas", "/Schemas/" + scim.UserSchema} {
		d.must(200, "GET", path, "")
	}
	if m := d.must(200, "POST", "/Users/.search", `{"schemas":["urn:ietf:params:scim:api:messages:2.0:SearchRequest"],"filter":"title eq \"y\"","count":5}`); m["totalResults"] != 1.0 {
		t.Errorf("%v", m)
	}
}
