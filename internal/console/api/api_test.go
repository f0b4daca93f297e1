package api_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"sallyport.dev/sallyport/internal/console/api"
	"sallyport.dev/sallyport/internal/iam/document"
	"sallyport.dev/sallyport/internal/iam/quota"
)

// desk is an API whose actor, permissions and record a test sets.
type desk struct {
	actor   *api.Actor
	verdict api.Verdict
	access  error
	notes   []map[string]string
	full    bool // the record takes nothing
	asked   []api.Pending
	given   map[string]api.Pending
	faults  []error
	now     time.Time
	did     int
}

func (d *desk) Can(_ *api.Actor, permission string, _ api.Resource) (api.Verdict, error) {
	return d.verdict, d.access
}

func (d *desk) Note(_ context.Context, event string, f map[string]string) error {
	if d.full {
		return errors.New("no room on /dev/sda1")
	}
	f["event"] = event
	d.notes = append(d.notes, f)
	return nil
}

func (d *desk) Ask(_ context.Context, _ *api.Actor, p api.Pending) (string, error) {
	d.asked = append(d.asked, p)
	return "ap_1", nil
}

func (d *desk) Use(_ context.Context, _ *api.Actor, id string, p api.Pending) error {
	if d.given[id] != p {
		return errors.New("for another request")
	}
	delete(d.given, id)
	return nil
}

type thing struct {
	Name   string         `json:"name"`
	Size   int            `json:"size,omitzero"`
	Wait   *document.Span `json:"wait,omitempty"`
	Per    quota.Window   `json:"per,omitzero"`
	Nested struct {
		On bool `json:"on,omitzero"`
	} `json:"nested,omitzero"`
}

func (d *desk) serve(t *testing.T) *api.API {
	t.Helper()
	d.now = time.Date(2031, 1, 2, 3, 4, 5, 0, time.UTC)
	do := func(ctx context.Context, c *api.Call, in thing) (thing, error) {
		d.did++
		switch in.Name {
		case "panic":
			panic("a secret: hunter2")
		case "inside":
			return in, errors.New("pq: password authentication failed for user postgres at db.internal")
		case "gone":
			return in, document.ErrNotFound
		case "taken":
			return in, document.ErrExists
		case "stale":
			return in, document.ErrConflict
		}
		c.Changed(in.Name, thing{Name: "before"}, in)
		return in, nil
	}
	read := func(_ context.Context, c *api.Call, _ api.None) (thing, error) {
		return thing{Name: c.Path("id") + c.Query("q")}, nil
	}
	a, err := api.New(api.Options{
		Identify: func(*http.Request) (*api.Actor, error) {
			if d.actor == nil {
				return nil, api.ErrNobody
			}
			return d.actor, nil
		},
		Access: d, Record: d, Approvals: d, Version: "test", Now: func() time.Time { return d.now },
		Fault: func(_ string, err error) { d.faults = append(d.faults, err) },
		Routes: []api.Route{
			api.Do(api.Route{Method: "PUT", Pattern: "/tenants/{tenant}/things/{id}", Operation: "things.put", Summary: "Put", Permission: "write:thing"}, do),
			api.Do(api.Route{Method: "GET", Pattern: "/tenants/{tenant}/things/{id}", Operation: "things.get", Summary: "Get", Permission: "read:thing", Query: []api.Param{{Name: "q"}}}, read),
			api.Do(api.Route{Method: "GET", Pattern: "/me/{id}", Operation: "me.get", Summary: "Me", Permission: api.Self}, read),
			api.Do(api.Route{Method: "GET", Pattern: "/open/{id}", Operation: "open.get", Summary: "Open", Permission: api.Public}, read),
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func send(a http.Handler, method, path, body string, set ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, api.Base+path, strings.NewReader(body))
	if method != "GET" {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(set); i += 2 {
		r.Header.Set(set[i], set[i+1])
	}
	w := httptest.NewRecorder()
	a.ServeHTTP(w, r)
	return w
}

func codeOf(t *testing.T, w *httptest.ResponseRecorder) string {
	t.Helper()
	var p struct {
		Code   string `json:"code"`
		Status int    `json:"status"`
	}
	if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil {
		t.Fatalf("%s: %v", w.Body, err)
	}
	if p.Code != "" && (p.Status != w.Code || w.Header().Get("Content-Type") != "application/problem+json") {
		t.Errorf("a problem of %d that says %d as %s", w.Code, p.Status, w.Header().Get("Content-Type"))
	}
	return p.Code
}

func owner() *api.Actor {
	return &api.Actor{Kind: "user", ID: "user_a", Tenant: "acme", AMR: []string{"pwd", "otp"}}
}

func TestNothingChangesUnrecorded(t *testing.T) {
	d := &desk{actor: owner(), verdict: api.Verdict{Allowed: true}}
	a := d.serve(t)
	if w := send(a, "PUT", "/tenants/acme/things/1", `{"name":"x","size":3}`); w.Code != 200 {
		t.Fatal(w.Code, w.Body)
	}
	if len(d.notes) != 2 || d.notes[0]["phase"] != "intent" || d.notes[1]["phase"] != "done" {
		t.Fatalf("%v", d.notes)
	}
	n := d.notes[1]
	if n["event"] != "admin.things.put" || n["actor"] != "user_a" || n["amr"] != "pwd otp" || n["tenant"] != "acme" || n["subject"] != "x" ||
		!strings.Contains(n["before"], "before") || !strings.Contains(n["after"], `"size":3`) {
		t.Errorf("%v", n)
	}
	d.full, d.did = true, 0
	w := send(a, "PUT", "/tenants/acme/things/1", `{"name":"x"}`)
	if w.Code != 503 || d.did != 0 || codeOf(t, w) != "record_unavailable" || strings.Contains(w.Body.String(), "sda1") {
		t.Errorf("%d %s, done %d times", w.Code, w.Body, d.did)
	}
}

func TestWhoMayNot(t *testing.T) {
	for name, c := range map[string]struct {
		set        func(*desk)
		path, code string
		status     int
	}{
		"nobody":                          {func(d *desk) { d.actor = nil }, "/tenants/acme/things/1", "unauthenticated", 401},
		"no permission":                   {func(d *desk) { d.verdict.Allowed = false }, "/tenants/acme/things/1", "forbidden", 403},
		"in a tenant of others":           {func(d *desk) { d.verdict.Allowed = false }, "/tenants/other/things/1", "not_found", 404},
		"no fresh second factor":          {func(d *desk) { d.verdict.StepUp = true }, "/tenants/acme/things/1", "step_up_required", 403},
		"a second factor that is too old": {func(d *desk) { d.verdict.StepUp, d.actor.Fresh = true, d.now }, "/tenants/acme/things/1", "step_up_required", 403},
		"what decides does not answer":    {func(d *desk) { d.access = errors.New("bindings: broken") }, "/tenants/acme/things/1", "internal", 500},
	} {
		t.Run(name, func(t *testing.T) {
			d := &desk{actor: owner(), verdict: api.Verdict{Allowed: true, Reason: "binding zz-b1"}}
			a := d.serve(t)
			c.set(d)
			w := send(a, "PUT", c.path, `{"name":"x"}`)
			if w.Code != c.status || codeOf(t, w) != c.code || d.did != 0 {
				t.Errorf("%d %s, done %d times", w.Code, w.Body, d.did)
			}
			if strings.Contains(w.Body.String(), "zz-b1") || strings.Contains(w.Body.String(), "broken") {
				t.Errorf("the reason is told: %s", w.Body)
			}
			if len(d.notes) != 1 || d.notes[0]["event"] != "admin.denied" || d.notes[0]["reason"] == "" {
				t.Errorf("record: %v", d.notes)
			}
		})
	}
	d := &desk{actor: owner(), verdict: api.Verdict{Allowed: true, StepUp: true}}
	a := d.serve(t)
	d.actor.Fresh = d.now.Add(time.Second)
	if w := send(a, "PUT", "/tenants/acme/things/1", `{"name":"x"}`); w.Code != 200 {
		t.Errorf("with a fresh factor: %d %s", w.Code, w.Body)
	}
}

func TestSelfAndPublic(t *testing.T) {
	d := &desk{}
	a := d.serve(t)
	for path, want := range map[string]int{"/me/1": 401, "/open/1": 200, "/openapi.json": 200, "/nowhere": 404} {
		if w := send(a, "GET", path, ""); w.Code != want {
			t.Errorf("%s: %d", path, w.Code)
		}
	}
	d.actor = owner()
	if w := send(a, "GET", "/me/1", ""); w.Code != 200 {
		t.Errorf("%d", w.Code)
	}
	if w := send(a, "POST", "/me/1", "{}"); w.Code != 405 || w.Header().Get("Allow") == "" {
		t.Errorf("%d %v", w.Code, w.Header())
	}
}

func TestBodiesThatAreRefused(t *testing.T) {
	for name, c := range map[string]struct {
		body, typ string
		status    int
	}{
		"none":                    {"", "application/json", 400},
		"a form":                  {"name=x", "application/x-www-form-urlencoded", 415},
		"a form that is JSON":     {`{"name":"x"}`, "text/plain", 415},
		"no type":                 {`{"name":"x"}`, "", 415},
		"not JSON":                {`{"name":`, "application/json", 400},
		"an unknown member":       {`{"name":"x","role":"owner"}`, "application/json", 400},
		"a repeated member":       {`{"name":"x","name":"y"}`, "application/json", 400},
		"another case":            {`{"Name":"x"}`, "application/json", 400},
		"a wrong type":            {`{"name":7}`, "application/json", 400},
		"a wrong type further in": {`{"name":"x","nested":{"on":"yes"}}`, "application/json", 400},
		"a number for a duration": {`{"name":"x","wait":5}`, "application/json", 400},
		"two values":              {`{"name":"x"}{"name":"y"}`, "application/json", 400},
		"a list":                  {`[{"name":"x"}]`, "application/json", 400},
		"not UTF-8":               {"{\"name\":\"\xff\"}", "application/json", 400},
		"too large":               {`{"name":"` + strings.Repeat("x", api.MaxBody) + `"}`, "application/json", 413},
	} {
		d := &desk{actor: owner(), verdict: api.Verdict{Allowed: true}}
		w := send(d.serve(t), "PUT", "/tenants/acme/things/1", c.body, "Content-Type", c.typ)
		if w.Code != c.status || d.did != 0 {
			t.Errorf("%s: %d %s, done %d times", name, w.Code, w.Body, d.did)
		}
	}
	d := &desk{actor: owner(), verdict: api.Verdict{Allowed: true}}
	a := d.serve(t)
	if w := send(a, "GET", "/tenants/acme/things/1?x=1", ""); w.Code != 400 {
		t.Errorf("an unknown parameter: %d", w.Code)
	}
	if w := send(a, "PUT", "/tenants/acme/things/1", `{"name":"x","wait":"1h"}`); w.Code != 200 || !strings.Contains(w.Body.String(), `"wait":"1h0m0s"`) {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestWhatGoesWrongInsideIsNotTold(t *testing.T) {
	for name, status := range map[string]int{"panic": 500, "inside": 500, "gone": 404, "taken": 409, "stale": 412} {
		d := &desk{actor: owner(), verdict: api.Verdict{Allowed: true}}
		w := send(d.serve(t), "PUT", "/tenants/acme/things/1", `{"name":"`+name+`"}`)
		if w.Code != status || strings.Contains(w.Body.String(), "hunter2") || strings.Contains(w.Body.String(), "postgres") {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
		if (status == 500) != (len(d.faults) == 1) {
			t.Errorf("%s: the operator is told %v", name, d.faults)
		}
		if name != "panic" && (len(d.notes) != 2 || d.notes[1]["phase"] != "failed") {
			t.Errorf("%s: %v", name, d.notes)
		}
	}
}

func TestASecondPersonApprovesExactlyThis(t *testing.T) {
	d := &desk{actor: owner(), verdict: api.Verdict{Allowed: true, Approve: true}, given: map[string]api.Pending{}}
	a := d.serve(t)
	w := send(a, "PUT", "/tenants/acme/things/1", `{"name":"x"}`)
	if w.Code != 202 || codeOf(t, w) != "approval_required" || !strings.Contains(w.Body.String(), "ap_1") || d.did != 0 || len(d.asked) != 1 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	d.given["ap_1"] = d.asked[0]
	for name, c := range map[string][2]string{
		"another body":  {"/tenants/acme/things/1", `{"name":"y"}`},
		"another thing": {"/tenants/acme/things/2", `{"name":"x"}`},
	} {
		if w := send(a, "PUT", c[0], c[1], "Sallyport-Approval", "ap_1"); w.Code != 403 || d.did != 0 {
			t.Errorf("%s: %d", name, w.Code)
		}
	}
	if w := send(a, "PUT", "/tenants/acme/things/1", `{"name":"x"}`, "Sallyport-Approval", "ap_1", "If-Match", `"7"`); w.Code != 403 {
		t.Errorf("another revision: %d", w.Code)
	}
	if w := send(a, "PUT", "/tenants/acme/things/1", `{"name":"x"}`, "Sallyport-Approval", "ap_1"); w.Code != 200 || d.did != 1 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if w := send(a, "PUT", "/tenants/acme/things/1", `{"name":"x"}`, "Sallyport-Approval", "ap_1"); w.Code != 403 || d.did != 1 {
		t.Errorf("a second time: %d", w.Code)
	}
}

func TestTheDocumentNamesEveryRoute(t *testing.T) {
	d := &desk{}
	a := d.serve(t)
	var doc struct {
		Paths map[string]map[string]struct {
			OperationID string `json:"operationId"`
		} `json:"paths"`
	}
	if err := json.Unmarshal(send(a, "GET", "/openapi.json", "").Body.Bytes(), &doc); err != nil {
		t.Fatal(err)
	}
	for _, r := range a.Routes() {
		if doc.Paths[api.Base+r.Pattern][strings.ToLower(r.Method)].OperationID != r.Operation {
			t.Errorf("%s is missing", r.Operation)
		}
	}
}

// What is written as text says how, in the document and to whoever wrote it in another way.
func TestTextsSayHowTheyAreWritten(t *testing.T) {
	d := &desk{actor: owner(), verdict: api.Verdict{Allowed: true}}
	a := d.serve(t)
	var doc struct {
		Components struct {
			Schemas map[string]struct {
				Properties map[string]struct {
					Type        string `json:"type"`
					Pattern     string `json:"pattern"`
					Description string `json:"description"`
				} `json:"properties"`
			} `json:"schemas"`
		} `json:"components"`
	}
	if err := json.Unmarshal(send(a, "GET", "/openapi.json", "").Body.Bytes(), &doc); err != nil {
		t.Fatal(err)
	}
	props := doc.Components.Schemas["thing"].Properties
	for member, c := range map[string]struct {
		good, bad []string
		words     string
	}{
		"wait": {[]string{"90m", "720h", "0s", "1h30m", "1.5s"}, []string{"", "-1s", "month", "5"}, "720h"},
		"per":  {[]string{"month", "day", "1m", "1m0s", "24h0m0s"}, []string{"", "months", "-1ns", "1mo", "Month", "1 m"}, "month (calendar, in UTC)"},
	} {
		p := props[member]
		if p.Type != "string" || !strings.Contains(p.Description, c.words) {
			t.Errorf("%s: %+v", member, p)
		}
		re := regexp.MustCompile(p.Pattern)
		for i, text := range append(c.good, c.bad...) {
			w := send(a, "PUT", "/tenants/acme/things/1", `{"name":"x","`+member+`":"`+text+`"}`)
			good := i < len(c.good)
			if (w.Code == 200) != good || re.MatchString(text) != good {
				t.Errorf("%s %q: %d %s; the pattern says %v", member, text, w.Code, w.Body, re.MatchString(text))
			}
			if !good && !strings.Contains(w.Body.String(), c.words) {
				t.Errorf("%s %q: %s", member, text, w.Body)
			}
		}
	}
}

func TestTablesThatAreRefused(t *testing.T) {
	ok := func(r api.Route) api.Route {
		return api.Do(r, func(context.Context, *api.Call, api.None) (api.None, error) { return api.None{}, nil })
	}
	good := api.Route{Method: "GET", Pattern: "/x", Operation: "x.get", Summary: "X", Permission: "read:x"}
	for name, r := range map[string]api.Route{
		"no permission": func() api.Route { r := good; r.Permission = ""; return ok(r) }(),
		"no operation":  func() api.Route { r := good; r.Operation = ""; return ok(r) }(),
		"no summary":    func() api.Route { r := good; r.Summary = ""; return ok(r) }(),
		"no handler":    good,
		"a method":      func() api.Route { r := good; r.Method = "BREW"; return ok(r) }(),
		"a read with a body": api.Do(good, func(context.Context, *api.Call, thing) (api.None, error) {
			return api.None{}, nil
		}),
		"twice the same": ok(good),
	} {
		rs := []api.Route{r}
		if name == "twice the same" {
			second := good
			second.Pattern = "/y"
			rs = append(rs, ok(second))
		}
		if _, err := api.New(api.Options{Routes: rs}); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
