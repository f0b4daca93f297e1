package server

import (
	"bytes"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"sallyport.dev/sallyport/internal/audit"
	"sallyport.dev/sallyport/internal/gate"
	"sallyport.dev/sallyport/internal/iam/policy"
)

var whatIfTime = time.Date(2026, 1, 5, 12, 0, 0, 0, time.UTC)

// exportOf records calls in a log of their own and exports it.
func exportOf(t *testing.T, calls ...gate.Record) []byte {
	t.Helper()
	dir := t.TempDir()
	l, err := audit.Open(dir, audit.Options{ReserveBytes: -1})
	if err != nil {
		t.Fatal(err)
	}
	for i := range calls {
		begin := calls[i]
		if err := l.Begin(t.Context(), &begin); err != nil {
			t.Fatal(err)
		}
		if err := l.Finish(t.Context(), &calls[i]); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := ExportAudit(t.Context(), dir, &b, time.Time{}, time.Time{}, nil, true); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func recordedCall(id string, edit func(*gate.Record)) gate.Record {
	r := gate.Record{ID: id, Received: whatIfTime, Principal: gate.Principal{Kind: "key", ID: "k1", Name: "web", Tenant: "acme", Team: "t1", Holder: "service_x"},
		ClientAddr: netip.MustParseAddr("10.1.2.3"), Upstream: "openai", Endpoint: "chat.completions", Model: "gpt-4o", Mode: "enforce",
		Status: 200, Outcome: gate.OutcomeCompleted, RequestBytes: 400}
	if edit != nil {
		edit(&r)
	}
	return r
}

func deniedBy(stage string, code gate.Code, param string) func(*gate.Record) {
	return func(r *gate.Record) {
		r.Outcome, r.Status = gate.OutcomeRefused, 403
		r.Decision = gate.Decision{Verdict: gate.Block, Stage: stage, Reason: "x", Problem: &gate.Problem{Status: 403, Code: code, Message: "x", Param: param}}
	}
}

func TestWhatIfReadsWhatTheRecordHolds(t *testing.T) {
	found := func(direction gate.Direction, excused string) func(*gate.Record) {
		return func(r *gate.Record) {
			r.Findings = []gate.Finding{{Category: gate.Secret, Direction: direction, Channel: gate.ChannelUser, Score: 0.9, Excused: excused}}
		}
	}
	export := exportOf(t,
		recordedCall("plain", nil),
		recordedCall("leak", found(gate.Request, "")),
		recordedCall("excused", found(gate.Request, "e1")),
		recordedCall("answer", found(gate.Answer, "")),
		recordedCall("unread", func(r *gate.Record) { r.Uninspected = []gate.Uninspected{{Direction: gate.Request}} }),
		recordedCall("agent", func(r *gate.Record) {
			r.Principal = gate.Principal{Kind: "agent", ID: "bot", Tenant: "acme", OnBehalfOf: "alice"}
		}),
		recordedCall("other", func(r *gate.Record) { r.Principal.Tenant, r.Principal.Holder = "other", "user_y" }),
		recordedCall("nobody", func(r *gate.Record) { r.Principal = gate.Principal{Kind: "credential", ID: "c1"} }),
		recordedCall("policy", deniedBy(policy.StageBefore, gate.CodeDenied, "")),
		recordedCall("findings", func(r *gate.Record) { found(gate.Request, "")(r); deniedBy(policy.StageAfter, gate.CodeDenied, "")(r) }),
		recordedCall("tool", deniedBy(policy.StageBefore, gate.CodeDenied, "tools")),
		recordedCall("failed", deniedBy(policy.StageBefore, gate.CodeInternal, "")),
		recordedCall("scope", deniedBy("authorize", gate.CodeDenied, "")),
	)
	for name, c := range map[string]struct {
		text            string
		denied, allowed string
		untold          string
	}{
		"nothing of its own": {`permit(principal, action, resource);`, "", "policy findings", ""},
		"a leak":             {`forbid(principal, action, resource) when { context has data_classes && context.data_classes.contains("secret") };`, "leak", "policy", ""},
		"unread":             {`forbid(principal, action, resource) when { context has unread && context.unread };`, "unread", "policy findings", ""},
		"risk":               {`forbid(principal, action, resource) when { context has risk && context.risk >= 90 };`, "leak", "policy", ""},
		"a tenant":           {`forbid(principal in Tenant::"other", action, resource);`, "other", "policy findings", ""},
		"a team and a model": {`forbid(principal in Team::"t1", action, resource == Model::"gpt-4o") when { principal is Key };`, "plain leak excused answer unread other", "", ""},
		"the holder":         {`forbid(principal in Service::"service_x", action, resource);`, "plain leak excused answer unread", "", ""},
		"a person's key":     {`forbid(principal in User::"user_y", action, resource);`, "other", "policy findings", ""},
		"for whom":           {`forbid(principal == User::"alice", action, resource);`, "agent", "policy findings", ""},
		"address, size":      {`forbid(principal is Agent, action, resource) when { context has ip && context.ip == ip("10.1.2.3") && context.bytes == 400 && context.hour == 12 };`, "agent", "policy findings", ""},
		"not in the record":  {`forbid(principal in Role::"r", action, resource) unless { context.amr.contains("hwk") };`, "", "policy findings", "Role amr"},
		"tools":              {`forbid(principal, action == Action::"use_tool", resource);`, "", "policy findings", "Tool"},
	} {
		w, err := WhatIfPolicies(bytes.NewReader(export), []policy.Policy{{ID: "p", Text: c.text}}, nil, true, 100)
		if err != nil {
			t.Fatal(name, err)
		}
		ids := func(ts []policy.Turned) string {
			var out []string
			for _, x := range ts {
				out = append(out, x.ID)
			}
			return strings.Join(out, " ")
		}
		if ids(w.NewlyDenied) != c.denied || ids(w.NewlyAllowed) != c.allowed || strings.Join(w.Untold, " ") != c.untold {
			t.Errorf("%s: denied %q, allowed %q, untold %q", name, ids(w.NewlyDenied), ids(w.NewlyAllowed), w.Untold)
		}
		if w.Calls != 9 || w.Elsewhere != 3 || w.Unnamed != 1 {
			t.Errorf("%s: %+v", name, w)
		}
	}
	// Against other policies, not against the record; and without the built-in ones.
	deny := []policy.Policy{{ID: "p", Text: `forbid(principal, action, resource);`}}
	w, err := WhatIfPolicies(bytes.NewReader(export), deny, deny, true, 1)
	if err != nil || w.Denied+w.Allowed != 0 || w.Calls != 9 {
		t.Errorf("%+v, %v", w, err)
	}
	w, err = WhatIfPolicies(bytes.NewReader(export), []policy.Policy{{ID: "p", Text: `permit(principal in Tenant::"other", action, resource);`}}, nil, false, 2)
	if err != nil || w.Denied != 6 || len(w.NewlyDenied) != 2 || w.Allowed != 0 {
		t.Errorf("%+v, %v", w, err)
	}
}

func TestWhatIfRefusesWhatIsNoExport(t *testing.T) {
	good := []policy.Policy{{ID: "p", Text: `permit(principal, action, resource);`}}
	line := `{"kind":"call","id":"a","received":"2026-01-05T12:00:00Z","principal":{"kind":"key","id":"k","tenant":"t"},"decision":{"verdict":"allow"}}` + "\n"
	for name, text := range map[string]string{
		"no JSON": line + "no\n", "no kind": line + `{"id":"a"}` + "\n", "a name twice": line + `{"kind":"call","kind":"note"}` + "\n",
		"another type": line + `{"kind":"call","id":7}` + "\n", "cut": line + line[:50], "an array": line + "[]\n", "bad time": line + `{"kind":"call","received":"now"}` + "\n",
	} {
		w, err := WhatIfPolicies(strings.NewReader(text), good, nil, true, 1)
		if err == nil || !strings.Contains(err.Error(), "line 2") || w.Calls != 1 {
			t.Errorf("%s: %+v, %v", name, w, err)
		}
	}
	if _, err := WhatIfPolicies(strings.NewReader(line), []policy.Policy{{ID: "p", Text: `permit(`}}, nil, true, 1); err == nil {
		t.Error("a policy that cannot be read was tried")
	}
	w, err := WhatIfPolicies(strings.NewReader("\n"+`{"kind":"note","seq":1}`+"\n\n"), good, nil, true, 1)
	if err != nil || !reflect.DeepEqual(w, WhatIf{}) {
		t.Errorf("%+v, %v", w, err)
	}
}
