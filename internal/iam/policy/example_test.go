package policy

import (
	"errors"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"
)

func TestTheBuiltinExamplesComeOut(t *testing.T) {
	for _, p := range Builtin() {
		data, err := os.ReadFile("builtin/" + p.ID + ".examples.yaml")
		if err != nil {
			t.Fatal(err)
		}
		es, err := ParseExamples(p.ID, data)
		if err != nil {
			t.Fatal(err)
		}
		if fs, err := Try(p, es); err != nil || len(fs) > 0 {
			t.Errorf("%s: %+v, %v", p.ID, fs, err)
		}
	}
}

const good = `- name: x
  request: {principal: {kind: user, id: a}}
  want: allow
`

func TestExamplesThatCannotBeRead(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"nothing":              {"", "f: expected a list"},
		"a comment":            {"# x", "f: expected a list"},
		"no list":              {"name: x", "f:1:5: expected one list"},
		"two documents":        {good + "---\n" + good, "expected one list"},
		"an unknown key":       {good + "- nam: y", `f:4:3: unknown field "nam"`},
		"an unknown attribute": {"- name: x\n  request:\n    principal: {kind: user, id: a}\n    context: {riskk: 3}\n  want: allow", `f:4:15: unknown field "riskk"`},
		"a key twice":          {"- name: x\n  name: y\n  want: allow", "f:2:3: "},
		"no name":              {"- want: allow\n  request: {principal: {kind: user, id: a}}", "f:1:3: example \"\": it needs a name"},
		"no want":              {"- name: x\n  request: {principal: {kind: user, id: a}}\n  want: maybe", "want is allow or deny"},
		"nobody":               {"- name: x\n  want: deny", "no id"},
		"no kind":              {"- name: x\n  want: deny\n  request: {principal: {id: x}}", "unknown kind"},
		"no action":            {"- name: x\n  want: deny\n  request: {principal: {kind: user, id: x}, action: cal}", `no action "cal"`},
		"no time":              {"- name: x\n  want: deny\n  request: {principal: {kind: user, id: x}, context: {time: noon}}", "context.time"},
		"no address":           {"- name: x\n  want: deny\n  request: {principal: {kind: user, id: x}, context: {ip: here}}", "context.ip"},
		"a time to come":       {"- name: x\n  want: deny\n  request: {principal: {kind: user, id: x}, context: {mfa_age: -1}}", "context.mfa_age"},
		"a word for a number":  {"- name: x\n  want: deny\n  request: {principal: {kind: user, id: x}, context: {bytes: many}}", "f:3:"},
		"an anchor":            {"- &a\n  name: x", "without anchors"},
		"an alias":             {"- name: *a", "without anchors"},
		"a tag":                {"- name: !!str x", "without anchors"},
		"deep":                 {strings.Repeat("[", 100), "nested too deep"},
		"a tab":                {"- name: x\n\t- y", "f:2:1: expected"},
		"a carriage return":    {"- name: x\ry", "f:1:10: expected"},
		"not text":             {"\xff", "UTF-8"},
		"too long":             {strings.Repeat("\n", maxYAML+1), "at most"},
		"an open quote":        {"- name: \"x", "f:1:"},
	} {
		_, err := ParseExamples("f", []byte(c.text))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %s", name, err, c.want)
		}
	}
}

func TestExamplesHoldTheirPolicy(t *testing.T) {
	examples := func(s string) []Example {
		es, err := ParseExamples("f", []byte(s))
		if err != nil {
			t.Fatal(err)
		}
		return es
	}
	permit := Policy{ID: "a", Text: `permit(principal, action, resource);`}
	if fs, err := Try(permit, examples(good)); err != nil || len(fs) > 0 {
		t.Errorf("%+v, %v", fs, err)
	}
	for name, text := range map[string]string{
		"another decision":  strings.Replace(good, "want: allow", "want: deny", 1),
		"another statement": good + "  by: b\n",
		"a part of a name":  good + "  by: ''\n- name: y\n  request: {principal: {kind: user, id: a}}\n  want: allow\n  by: aa\n",
	} {
		if fs, err := Try(permit, examples(text)); err != nil || len(fs) != 1 {
			t.Errorf("%s: %+v, %v", name, fs, err)
		}
	}
	// Closed by an error is no denial that anybody wanted.
	broken := Policy{ID: "a", Text: `forbid(principal, action, resource) when { context.bytes * 9223372036854775807 > 7 };`}
	over := "- name: x\n  want: deny\n  request: {principal: {kind: user, id: a}, context: {bytes: 5}}\n"
	if fs, err := Try(broken, examples(over)); err != nil || len(fs) != 1 || !fs[0].Got.Closed {
		t.Errorf("%+v, %v", fs, err)
	}
	if _, err := Try(Policy{ID: "a", Text: "no"}, examples(good)); err == nil {
		t.Error("tried what cannot be read")
	}
}

// Run it with -fuzzminimizetime 5x, as .ci/fuzz does: Go's fuzzer tries to shorten each input of interest
// for a minute by default, counts nothing meanwhile, and so seems to stand still.
func FuzzExamples(f *testing.F) {
	f.Add([]byte(good))
	for _, p := range Builtin() {
		b, _ := os.ReadFile("builtin/" + p.ID + ".examples.yaml")
		f.Add(b)
	}
	f.Add([]byte("- name: 'x'\n  request:\n    principal:\n      kind: key\n      id: \"\\u001b\"\n      owner: {kind: agent, id: b, on_behalf_of: {kind: user, id: c}}\n    action: use_tool\n    context: {time: 2026-01-01T00:00:00Z, ip: '::1', mfa_age: 3, risk: 101}\n  want: deny\n  by: x\n"))
	f.Add([]byte("- ? a\n  : b\n- |\n  x\n- >-\n"))
	f.Add([]byte("- " + strings.TrimSpace(keys(maxYAMLKeys, "  k%d: {a: b}\n")) + "\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		es, err := ParseExamples("f", data)
		if err != nil {
			if list, ok := AsErrors(err); !ok || len(list) == 0 || list[0].File != "f" || list[0].Message == "" {
				t.Fatalf("no place: %v", err)
			}
			return
		}
		if _, err := Try(Builtin()[0], es); err != nil {
			t.Fatal(err)
		}
	})
}

func TestExplain(t *testing.T) {
	s := own(t, `permit(principal in Team::"research", action, resource) when { context.hour >= 8 && context.hour < 10 };`,
		`forbid(principal, action, resource) when { context.bytes * 9223372036854775807 > 7 };`,
		`forbid(principal, action, resource) unless { context has risk && context.risk < 3 };`,
		`permit(principal, action, resource) when { principal.name == "Alice" } unless { context has ip && context.ip.isLoopback() };`)
	r := ask(principal(t, Who{Kind: KindUser, ID: "alice", Name: "Alice", Teams: []string{"research"}}))
	r.Bytes = 4
	a, err := s.Explain(r)
	if err != nil || len(a.Statements) != 4 {
		t.Fatalf("%+v, %v", a, err)
	}
	first, second, third, fourth := a.Statements[0], a.Statements[1], a.Statements[2], a.Statements[3]
	if first.Result != Failed || len(first.Conditions) != 2 || !first.Conditions[0].Holds || first.Conditions[1].Holds ||
		first.Conditions[1].Text != "context.hour < 10" || strings.Join(first.Conditions[1].Values, "") != "context.hour = 12" {
		t.Errorf("%+v", first)
	}
	if second.Result != Errored || !strings.Contains(second.Why, "overflow") || !a.Decision.Closed {
		t.Errorf("%+v", second)
	}
	if third.Result != Waiting || third.Effect != "forbid" {
		t.Errorf("%+v", third)
	}
	if fourth.Result != Matched || len(fourth.Conditions) != 2 || !fourth.Conditions[1].Unless {
		t.Errorf("%+v", fourth)
	}
	r.Principal = principal(t, Who{Kind: KindUser, ID: "bob"})
	if a, _ = s.Explain(r); a.Statements[0].Why != "principal does not fit" {
		t.Errorf("%+v", a.Statements[0])
	}
	if _, err := s.Explain(&Request{}); err == nil {
		t.Error("explained nothing")
	}
	if _, err := NewSet([]Policy{{ID: "a", Tenant: "acme", Text: "no"}}, nil).Explain(r); err == nil {
		t.Error("explained what cannot be read")
	}
}

func TestWhatIf(t *testing.T) {
	alice := principal(t, Who{Kind: KindUser, ID: "alice"})
	calls := []Recorded{
		{ID: "1", Principal: alice, Model: "gpt-4o", Time: noon, Allowed: true},
		{ID: "2", Principal: alice, Model: "gpt-5", Time: noon, Allowed: true},
		{ID: "3", Principal: alice, Model: "gpt-4o", Time: noon, Allowed: true, Inspected: &Inspected{DataClasses: []string{"secret"}}, IP: netip.MustParseAddr("10.0.0.1")},
		{ID: "4", Principal: alice, Model: "gpt-4o", Time: noon.Add(12 * time.Hour), Allowed: false},
		{ID: "5", Principal: alice, Model: "gpt-5", Time: noon, Allowed: true},
	}
	all := func(yield func(Recorded, error) bool) {
		for _, c := range calls {
			if !yield(c, nil) {
				return
			}
		}
	}
	candidate := own(t, `permit(principal, action, resource);`, `forbid(principal, action, resource == Model::"gpt-5");`,
		`forbid(principal, action, resource) when { context has data_classes && context.data_classes.contains("secret") };`)
	rep, err := WhatIf(all, candidate, nil, 2)
	if err != nil || rep.Calls != 5 || rep.Denied != 3 || rep.Allowed != 1 || len(rep.NewlyDenied) != 2 || rep.NewlyDenied[0].ID != "2" || rep.NewlyAllowed[0].ID != "4" {
		t.Errorf("%+v, %v", rep, err)
	}
	rep, err = WhatIf(all, candidate, candidate, 2)
	if err != nil || rep.Denied+rep.Allowed != 0 || rep.Calls != 5 {
		t.Errorf("against itself: %+v, %v", rep, err)
	}
	away := errors.New("away")
	if _, err := WhatIf(func(yield func(Recorded, error) bool) { yield(Recorded{}, away) }, candidate, nil, 1); !errors.Is(err, away) {
		t.Errorf("%v", err)
	}
}
