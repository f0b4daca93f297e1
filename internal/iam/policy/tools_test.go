package policy

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"
	"sallyport.dev/sallyport/internal/gate"
)

// One look at many tools says what as many looks at one would say.
func TestToolsTogetherAreToolsOneByOne(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ps := rapid.SliceOfN(genPolicy("a", "b", Platform), 0, 8).Draw(t, "policies")
		if rapid.Bool().Draw(t, "a tool named") {
			ps = append(ps, Policy{Tenant: Platform, Text: rapid.SampledFrom([]string{"permit", "forbid"}).Draw(t, "effect") +
				rapid.SampledFrom([]string{`(principal, action, resource == Tool::"y");`, `(principal, action, resource) when { resource == Tool::"x" };`,
					`(principal, action, resource) when { context.bytes * 9223372036854775807 > 0 && resource == Tool::"x" };`,
					`(principal, action, resource) when { resource == Tool::"y" && context has risk && context.risk > 50 };`}).Draw(t, "condition")})
		}
		s := usable(t, distinct(ps))
		r := wide(t)
		tools := rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"x", "y", "z", "mcp:x", ""}), 0, 5, rapid.ID[string]).Draw(t, "tools")
		want, which, again := Decision{Allow: true}, "", false
		for _, name := range tools {
			one := *r
			one.Action, one.Tool = UseTool, name
			d := s.Decide(&one)
			again = again || d.Again
			if !d.Allow {
				want, which = d, name
				break
			}
		}
		got, tool := s.Tools(r, tools)
		if got.Allow != want.Allow || !got.Allow && r.Principal.person == nil && (tool != which || got.Closed != want.Closed || !slices.Equal(got.Policies, want.Policies) || len(got.Errors) != len(want.Errors)) {
			t.Fatalf("together: %+v of %q; one by one: %+v of %q", got, tool, want, which)
		}
		if got.Allow && got.Again != again {
			t.Fatalf("together again=%v, one by one %v", got.Again, again)
		}
	})
}

func TestStagesAskAboutTools(t *testing.T) {
	alice := principal(t, Who{Kind: KindUser, ID: "alice"})
	calls := `permit(principal, action == Action::"call", resource);`
	all := `permit(principal, action, resource);`
	many := make([]string, MaxTools+1)
	for i := range many {
		many[i] = fmt.Sprintf("t%d", i)
	}
	for name, c := range map[string]struct {
		texts         []string
		tools         []string
		before, after bool
		reason        string
	}{
		"none offered":                {[]string{calls}, nil, true, true, ""},
		"nothing permits tools":       {[]string{calls}, []string{"x"}, false, false, `tool "x": denied: no policy permits it`},
		"all permitted":               {[]string{all}, []string{"x", "y"}, true, true, ""},
		"the last forbidden":          {[]string{all, `forbid(principal, action == Action::"use_tool", resource == Tool::"shell");`}, []string{"x", "shell"}, false, false, `tool "shell": denied by [p1]`},
		"one permitted by name":       {[]string{calls, `permit(principal, action == Action::"use_tool", resource == Tool::"x");`}, []string{"x", "y"}, false, false, `tool "y"`},
		"of an upstream":              {[]string{calls, `permit(principal, action == Action::"use_tool", resource in Upstream::"openai");`}, []string{"x", "y"}, true, true, ""},
		"of a model":                  {[]string{all, `forbid(principal, action == Action::"use_tool", resource) when { context has model && context.model == "gpt-4o" };`}, []string{"x"}, false, false, `tool "x": denied by [p1]`},
		"of another upstream":         {[]string{calls, `permit(principal, action == Action::"use_tool", resource in Upstream::"other");`}, []string{"x"}, false, false, `tool "x"`},
		"an attack found, after":      {[]string{all, `forbid(principal, action == Action::"use_tool", resource == Tool::"shell") when { context has attacks && context.attacks.contains("injection") };`}, []string{"shell"}, true, false, `tool "shell": denied by [p1]`},
		"a permit that waits, after":  {[]string{calls, `permit(principal, action == Action::"use_tool", resource) when { context has attacks && context.attacks.isEmpty() };`}, []string{"x"}, true, false, `tool "x"`},
		"an error of one tool closes": {[]string{all, `forbid(principal, action == Action::"use_tool", resource == Tool::"y") when { context.bytes * 9223372036854775807 > 0 };`}, []string{"x", "y"}, false, false, `tool "y": denied: a policy could not be evaluated`},
		"an error of all closes":      {[]string{all, `forbid(principal, action == Action::"use_tool", resource) when { context.bytes * 9223372036854775807 > 0 };`}, []string{"x"}, false, false, "could not be evaluated"},
		"as many as are looked at":    {[]string{all}, many[:MaxTools], true, true, ""},
		"one more":                    {[]string{all}, many, false, false, "could not be evaluated"},
		"the last of many":            {[]string{all, `forbid(principal, action, resource == Tool::"t1023");`}, many[:MaxTools], false, false, `tool "t1023"`},
		"a hostile name":              {[]string{calls}, []string{"\x1b[2J\n" + strings.Repeat("x", 5000)}, false, false, `tool "\x1b[2J\nxx`},
	} {
		g := &Guard{Engine: &Engine{}, Caller: func(*gate.Exchange) (Caller, error) { return Caller{Principal: alice}, nil }}
		g.Engine.Use(own(t, c.texts...))
		x := &gate.Exchange{Upstream: "openai", Endpoint: "chat.completions", Body: []byte("body"), Reading: &gate.Reading{Model: "gpt-4o", Tools: c.tools},
			Record: &gate.Record{Findings: []gate.Finding{{Category: gate.Injection, Score: 0.9, Channel: gate.ChannelTool}}}}
		for _, s := range []struct {
			stage gate.Stage
			want  bool
		}{{g.Before(), c.before}, {g.After(), c.after}} {
			d, err := s.stage.Admit(context.Background(), x)
			if err != nil || d.Denied() == s.want {
				t.Errorf("%s, %s: %+v, %v", name, s.stage.Name(), d, err)
				continue
			}
			if !d.Denied() {
				continue
			}
			if !strings.Contains(d.Reason, c.reason) || len(d.Reason) > 400 {
				t.Errorf("%s: the record is told %q", name, d.Reason)
			}
			if d.Problem.Code != gate.CodeDenied || strings.Contains(d.Problem.Message, "shell") || strings.Contains(d.Problem.Message, "p1") {
				t.Errorf("%s: the caller is told %q", name, d.Problem.Message)
			}
		}
	}
}

// Who acts for somebody may offer only what that person may.
func TestToolsOfAnAgentAreThePersonsToo(t *testing.T) {
	agent := principal(t, Who{Kind: KindAgent, ID: "bot", OnBehalfOf: &Who{Kind: KindUser, ID: "alice", Tenant: "acme"}})
	s := own(t, `permit(principal, action, resource);`, `forbid(principal == User::"alice", action == Action::"use_tool", resource == Tool::"shell");`)
	if d, tool := s.Tools(ask(agent), []string{"x", "shell"}); d.Allow || tool != "shell" {
		t.Errorf("%+v of %q", d, tool)
	}
	if d, _ := s.Tools(ask(agent), []string{"x"}); !d.Allow {
		t.Errorf("%+v", d)
	}
	if d, _ := (*Set)(nil).Tools(ask(agent), []string{"x"}); d.Allow || !d.Closed {
		t.Errorf("without policies: %+v", d)
	}
}

// Questions are used again, but never by two at once, and what one left behind is not seen by the next.
func TestQuestionsAreNotMixedUp(t *testing.T) {
	s := own(t, `permit(principal == User::"u1", action, resource) when { context.bytes == 1 || context.networks.contains("office") };`,
		`permit(principal == User::"u2", action, resource) unless { context.networks.contains("office") };`,
		`forbid(principal, action, resource) when { context.bytes * 9223372036854775807 < 0 };`)
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			who := principal(t, Who{Kind: KindUser, ID: fmt.Sprintf("u%d", g%3)})
			for i := range 500 {
				r := ask(who)
				if r.Bytes = int64(i % 2); i%3 == 0 {
					r.IP = r.IP.Next()
				}
				r.Networks = [][]string{nil, {}, {"office"}}[i%3]
				in := i%3 != 1
				want := g%3 == 1 && (r.Bytes == 1 || in) || g%3 == 2 && !in
				if d := s.Decide(r); d.Allow != want || d.Closed {
					t.Errorf("user %d, question %d: %+v", g%3, i, d)
					return
				}
			}
		})
	}
	wg.Wait()
}
