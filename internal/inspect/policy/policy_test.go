package policy

import (
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"sallyport.dev/sallyport/internal/gate"
)

func ptr[T any](v T) *T { return &v }

func mustNew(t testing.TB, rules ...Rule) *Policy {
	t.Helper()
	p, err := New(Options{Rules: rules})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// Every cell of the built-in policy, written out.
func TestBuiltInEveryCell(t *testing.T) {
	const table = `
category          direction  user   system  developer  assistant  tool      document
injection         request    block  flag    flag       block      sanitize  sanitize
injection         answer     block  flag    flag       block      sanitize  sanitize
jailbreak         request    block  flag    flag       block      sanitize  sanitize
jailbreak         answer     block  flag    flag       block      sanitize  sanitize
prompt_extraction request    block  flag    flag       block      sanitize  sanitize
prompt_extraction answer     block  flag    flag       block      sanitize  sanitize
secret            request    flag   flag    flag       flag       flag      flag
secret            answer     sanitize sanitize sanitize sanitize sanitize sanitize
uninspected       request    flag   flag    flag       flag       flag      flag
uninspected       answer     flag   flag    flag       flag       flag      flag
something_new     request    block  block   block      block      block     block
something_new     answer     block  block   block      block      block     block`
	p := mustNew(t)
	lines := strings.Split(strings.TrimSpace(table), "\n")
	head := strings.Fields(lines[0])[2:]
	cells := 0
	for _, line := range lines[1:] {
		f := strings.Fields(line)
		dir, ok := gate.ParseDirection(f[1])
		if !ok {
			t.Fatal(line)
		}
		for i, want := range f[2:] {
			ch, ok := gate.ParseChannel(head[i])
			if !ok {
				t.Fatal(head[i])
			}
			cells++
			if got := p.Action(gate.Category(f[0]), ch, dir, Scope{Model: "m"}); got.String() != want {
				t.Errorf("%s in %s text of the %s: %s, want %s", f[0], ch, dir, got, want)
			}
		}
	}
	if want := (len(gate.Categories()) + 1) * len(gate.Channels()) * 2; cells != want {
		t.Errorf("the table has %d cells, want %d", cells, want)
	}
	table2 := p.Base()
	if table2.Action(gate.Secret, gate.Channel(99), gate.Request) != gate.Block || table2.Action(gate.Secret, gate.ChannelUser, gate.Direction(9)) != gate.Block {
		t.Error("a channel or direction that does not exist must block")
	}
}

func TestOverrides(t *testing.T) {
	p := mustNew(t,
		Rule{Category: ptr(gate.Secret), Key: "key_audit*", Action: gate.Allow},
		Rule{Category: ptr(gate.Secret), Direction: ptr(gate.Request), Model: "gpt-*-mini", Action: gate.Block},
		Rule{Channel: ptr(gate.ChannelTool), Endpoint: "responses", Action: gate.Block},
		Rule{Upstream: "local", Action: gate.Flag},
		Rule{Upstream: "local", Action: gate.Block}, // never reached
	)
	for _, c := range []struct {
		name string
		cat  gate.Category
		ch   gate.Channel
		dir  gate.Direction
		s    Scope
		want gate.Action
	}{
		{"nothing fits", gate.Secret, gate.ChannelUser, gate.Request, Scope{Upstream: "openai", Model: "gpt-5"}, gate.Flag},
		{"model fits", gate.Secret, gate.ChannelUser, gate.Request, Scope{Model: "gpt-5-mini"}, gate.Block},
		{"model fits but not the direction", gate.Secret, gate.ChannelUser, gate.Answer, Scope{Model: "gpt-5-mini"}, gate.Sanitize},
		{"model fits but not the category", gate.Injection, gate.ChannelSystem, gate.Request, Scope{Model: "gpt-5-mini"}, gate.Flag},
		{"case counts", gate.Secret, gate.ChannelUser, gate.Request, Scope{Model: "GPT-5-mini"}, gate.Flag},
		{"half a model does not fit", gate.Secret, gate.ChannelUser, gate.Request, Scope{Model: "gpt-5-mini-2026"}, gate.Flag},
		{"overlapping ends do not fit", gate.Secret, gate.ChannelUser, gate.Request, Scope{Model: "gpt-mini"}, gate.Flag},
		{"the first rule wins", gate.Secret, gate.ChannelUser, gate.Request, Scope{Model: "gpt-5-mini", Key: "key_audit7"}, gate.Allow},
		{"the first rule wins over a later one that fits all", gate.Injection, gate.ChannelTool, gate.Request, Scope{Upstream: "local", Endpoint: "responses"}, gate.Block},
		{"one upstream", gate.Injection, gate.ChannelUser, gate.Request, Scope{Upstream: "local"}, gate.Flag},
		{"an unknown category is overridden too", "something_new", gate.ChannelUser, gate.Request, Scope{Upstream: "local"}, gate.Flag},
	} {
		if got := p.Action(c.cat, c.ch, c.dir, c.s); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	for name, r := range map[string]Rule{
		"category":  {Category: ptr(gate.Category("sarcasm")), Action: gate.Block},
		"channel":   {Channel: ptr(gate.Channel(6)), Action: gate.Block},
		"direction": {Direction: ptr(gate.Direction(2)), Action: gate.Block},
		"action":    {Action: gate.Block + 1},
	} {
		if p, err := New(Options{Rules: []Rule{{Action: gate.Flag}, r}}); err == nil || p != nil || !strings.Contains(err.Error(), "rule 2: unknown "+name) {
			t.Errorf("%s: policy %v, error %v", name, p, err)
		}
	}
}

func TestMatch(t *testing.T) {
	for _, c := range []struct {
		pattern, s string
		want       bool
	}{
		{"", "", true}, {"", "x", true}, {"*", "", true}, {"a", "a", true}, {"a", "", false}, {"a", "ab", false},
		{"a*", "a", true}, {"*a", "ba", true}, {"*a", "ab", false}, {"a*b*c", "abc", true}, {"a*b*c", "acb", false},
		{"a*a", "a", false}, {"a**b", "ab", true}, {"*.*", "gpt-4.1", true}, {"?", "x", false}, {"[a-z]", "b", false},
		{"*ab*ab", "ab", false}, {"*ab*ab", "xabab", true},
	} {
		if got := match(c.pattern, c.s); got != c.want {
			t.Errorf("match(%q, %q) = %v", c.pattern, c.s, got)
		}
	}
}

// slowMatch is the definition, tried in every way.
func slowMatch(p, s string) bool {
	switch {
	case p == "":
		return s == ""
	case p[0] == '*':
		return slowMatch(p[1:], s) || (s != "" && slowMatch(p, s[1:]))
	}
	return s != "" && p[0] == s[0] && slowMatch(p[1:], s[1:])
}

func TestMatchIsItsDefinition(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := rapid.StringMatching(`[ab*]{1,7}`).Draw(t, "pattern")
		s := rapid.StringMatching(`[ab]{0,8}`).Draw(t, "s")
		if match(p, s) != slowMatch(p, s) {
			t.Fatalf("match(%q, %q) = %v", p, s, match(p, s))
		}
	})
}

func TestHash(t *testing.T) {
	seen := map[string]string{}
	for i, rules := range [][]Rule{
		nil,
		{{Action: gate.Allow}},
		{{Action: gate.Flag}},
		{{Action: gate.Flag}, {Action: gate.Allow}},
		{{Action: gate.Allow}, {Action: gate.Flag}},
		{{Upstream: "a", Action: gate.Flag}},
		{{Model: "a", Action: gate.Flag}},
		{{Endpoint: "a", Action: gate.Flag}},
		{{Key: "a", Action: gate.Flag}},
		{{Upstream: "a", Model: "b", Action: gate.Flag}},
		{{Upstream: `a""b`, Action: gate.Flag}},
		{{Channel: ptr(gate.ChannelUser), Action: gate.Flag}},
		{{Direction: ptr(gate.Request), Action: gate.Flag}},
		{{Category: ptr(gate.Secret), Action: gate.Flag}},
	} {
		h := mustNew(t, rules...).Hash()
		if h != mustNew(t, rules...).Hash() {
			t.Errorf("case %d: the hash is not stable", i)
		}
		if was, ok := seen[h]; ok {
			t.Errorf("case %d has the hash of case %s", i, was)
		}
		seen[h] = fmt.Sprint(i)
	}
	if p := mustNew(t); p.Hash() != "" && len(p.Hash()) != 32 {
		t.Errorf("hash %q", p.Hash())
	}
}

// The policy keeps its own copy of the rules: who made it cannot change it afterwards.
func TestRulesAreCopied(t *testing.T) {
	rules := []Rule{{Upstream: "u", Action: gate.Allow}}
	p := mustNew(t, rules...)
	rules[0].Action = gate.Block
	if got := p.Action(gate.Injection, gate.ChannelUser, gate.Request, Scope{Upstream: "u"}); got != gate.Allow {
		t.Errorf("%s, want allow", got)
	}
}

func TestLookupAllocatesNothing(t *testing.T) {
	p := mustNew(t, Rule{Model: "gpt-*", Key: "*", Action: gate.Flag})
	s := Scope{Upstream: "openai", Model: "gpt-5", Endpoint: "responses", Key: "k"}
	if n := testing.AllocsPerRun(100, func() {
		if p.Action(gate.Injection, gate.ChannelUser, gate.Request, s) != gate.Flag {
			t.Fatal("wrong action")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
