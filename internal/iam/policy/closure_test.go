package policy

import (
	"net/netip"
	"testing"
	"time"

	cedar "github.com/cedar-policy/cedar-go"
	xast "github.com/cedar-policy/cedar-go/x/exp/ast"
	"github.com/cedar-policy/cedar-go/x/exp/eval"
	"pgregory.net/rapid"
)

// treeOf reads a statement without asking the schema.
func treeOf(t interface{ Fatal(...any) }, text string) *xast.Policy {
	list, err := cedar.NewPolicyListFromBytes("t", []byte(text))
	if err != nil || len(list) != 1 {
		t.Fatal(text, err)
	}
	return (*xast.Policy)(list[0].AST())
}

// wide is a request that has, or has not, everything that a condition can name.
func wide(t *rapid.T) *Request {
	r := genRequest(t, rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "tenant"))
	r.Streamed, r.ModelFree = rapid.Bool().Draw(t, "streamed"), rapid.Bool().Draw(t, "model free")
	r.Bytes = rapid.OneOf(rapid.Int64Range(-9, 9), rapid.Int64()).Draw(t, "size")
	r.Channels = someOf("user", "tool").Draw(t, "channels")
	r.AMR = append(r.AMR, r.AMR...) // a list may name one twice
	if rapid.Bool().Draw(t, "second factor") {
		r.MFA = r.Time.Add(-time.Duration(rapid.IntRange(-100, 100).Draw(t, "age")) * time.Second)
	}
	if rapid.Bool().Draw(t, "networks given") {
		r.Networks = append([]string{}, someOf("n1", "n2").Draw(t, "networks")...)
	}
	switch rapid.IntRange(0, 3).Draw(t, "kind of address") {
	case 0:
		r.IP = netip.MustParseAddr("::ffff:10.1.2.3")
	case 1:
		r.IP = netip.MustParseAddr("fe80::1%eth0")
	case 2:
		r.IP = netip.MustParseAddr("::1")
	}
	if i := r.Inspected; i != nil {
		i.Attacks, i.FoundIn, i.Unread = someOf("injection", "secret").Draw(t, "attacks"), someOf("user", "tool").Draw(t, "where"), rapid.Bool().Draw(t, "unread")
	}
	return r
}

// Every condition that is compiled holds where Cedar says so, fails where Cedar says so, and is unsure
// exactly where Cedar finds an error; nothing here was checked against the schema, so errors abound.
func TestCompiledConditionsSayWhatCedarSays(t *testing.T) {
	s := NewSet(nil, zones)
	var seen [3]int
	compiled, total := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		for range 20 {
			g := gen{t: t}
			text := "permit(principal, action, resource) when { " + g.bool(rapid.IntRange(0, 4).Draw(t, "depth")) + " }"
			if rapid.Bool().Draw(t, "unless too") {
				text += " unless { " + g.bool(2) + " }"
			}
			tree := treeOf(t, text+";")
			total++
			f := compileConditions(tree.Conditions)
			if f == nil {
				continue
			}
			compiled++
			r := wide(t)
			q := &question{}
			env := s.of(r.Principal.tenant).environment(q, r, r.Principal)
			v, err := eval.Eval(eval.PolicyToNode(tree).AsIsNode(), env)
			want := fails
			switch {
			case err != nil:
				want = unsure
			case v == cedar.Value(cedar.True):
				want = holds
			}
			if got := f(q); got != want {
				t.Fatalf("%s\ncompiled: %d, Cedar: %d (%v, %v)", text, got, want, v, err)
			}
			seen[want]++
		}
	})
	if t.Failed() {
		return
	}
	t.Logf("%d of %d compiled; held %d, failed %d, erred %d", compiled, total, seen[holds], seen[fails], seen[unsure])
	if compiled < total*3/4 || min(seen[holds], seen[fails], seen[unsure]) < total/20 {
		t.Error("too few of a kind: the test shows little")
	}
}

// What an error is worth: it counts where Cedar looks, and only there.
func TestErrorsCountWhereCedarLooks(t *testing.T) {
	u := principal(t, Who{Kind: KindUser, ID: "u1"})
	s := NewSet(nil, nil)
	const bad = "context.bytes * 9223372036854775807 > 0"
	for text, want := range map[string]verdict{
		"when { " + bad + " }":                                                           unsure,
		"unless { " + bad + " }":                                                         unsure,
		"when { false && " + bad + " }":                                                  fails,
		"when { " + bad + " && false }":                                                  unsure,
		"when { true || " + bad + " }":                                                   holds,
		"when { " + bad + " || true }":                                                   unsure,
		"when { (false && " + bad + ") || true }":                                        holds,
		"when { (true || " + bad + ") && (false || " + bad + ") }":                       unsure,
		"when { if true then true else " + bad + " }":                                    holds,
		"when { if " + bad + " then true else true }":                                    unsure,
		"when { false } when { " + bad + " }":                                            fails,
		"when { " + bad + " } when { false }":                                            unsure,
		"unless { true } when { " + bad + " }":                                           fails,
		"when { principal is Key in principal.on_behalf_of }":                            fails,
		"when { principal is User in principal.on_behalf_of }":                           unsure,
		"when { (" + bad + ") == (" + bad + ") }":                                        unsure,
		"when { [1, 2].contains(context.bytes * 9223372036854775807) }":                  unsure,
		"when { -(context.bytes - 9223372036854775807 - 3) > 0 }":                        unsure,
		"when { context.bytes + 9223372036854775807 > 0 }":                               unsure,
		"when { (-9223372036854775808) * (1 - context.bytes) > 0 }":                      unsure,
		"when { context.model == \"x\" }":                                                unsure,
		"when { principal.class == \"x\" }":                                              unsure,
		"when { User::\"u2\".name == \"\" }":                                             unsure,
		"when { User::\"u1\".name == \"\" }":                                             holds,
		"when { User::\"u2\" has name }":                                                 fails,
		"when { context.risk > 3 }":                                                      unsure,
		"when { context.now.offset(duration(\"9223372036854775807ms\")) > context.now }": unsure,
	} {
		tree := treeOf(t, "forbid(principal, action, resource) "+text+";")
		r := &Request{Principal: u, Upstream: "o", Endpoint: "e", Circumstances: Circumstances{Time: noon, Bytes: 2}}
		q := &question{}
		env := s.of("acme").environment(q, r, u)
		f := compileConditions(tree.Conditions)
		if f == nil {
			t.Errorf("%s: not compiled", text)
			continue
		}
		if got := f(q); got != want {
			t.Errorf("%s: %d, want %d", text, got, want)
		}
		if _, err := eval.Eval(eval.PolicyToNode(tree).AsIsNode(), env); (err != nil) != (want == unsure) {
			t.Errorf("%s: Cedar says %v", text, err)
		}
	}
}

// What people write is compiled; else it would be slow and nobody would know.
func TestWhatIsCompiled(t *testing.T) {
	yes := append([]string{}, tenPolicies...)
	for _, x := range texts {
		yes = append(yes, "permit"+x)
	}
	for _, p := range Builtin() {
		yes = append(yes, p.Text)
	}
	for _, n := range attrNames {
		yes = append(yes, `permit(principal, action, resource) when { context has `+n+` && context.`+n+` == context.`+n+` };`)
	}
	for _, text := range yes {
		if compileConditions(treeOf(t, text).Conditions) == nil {
			t.Errorf("not compiled: %s", text)
		}
	}
	for _, text := range []string{ // Cedar's
		`context == {}`, `{a: 1}.a == 1`, `[context.bytes].contains(1)`, `[1, "x"].contains(1)`, `ip("x").isIpv4()`, `1 == "1"`, `principal.getTag("x") == 1`,
		`1 && true`, `"1" < 2`, `context.nothing == 1`, `context.bytes like "*"`, `!1`, `-"x" == 1`, `1 in principal`, `principal in 1`, `(if 1 then 2 else 3) == 2`,
		`(if true then 2 else "3") == 2`, `1.contains(2)`, `["x"].contains(2)`, `context.bytes.isEmpty()`, `1 is User`, `decimal("x").lessThan(decimal("1.0"))`,
		`datetime("x") < context.now`, `context.now.offset(3) < context.now`, `duration("x") < duration("1h")`, `1 has x`, `action like "x"`,
	} {
		if compileConditions(treeOf(t, "permit(principal, action, resource) when { "+text+" };").Conditions) != nil {
			t.Errorf("compiled, and not known what it means: %s", text)
		}
	}
}

// A decision of compiled statements makes next to nothing that must be collected.
func TestADecisionAllocatesLittle(t *testing.T) {
	s := large(t)
	r := ask(callers(t, 1)[0])
	s.Decide(r)
	if n := testing.AllocsPerRun(200, func() { s.Decide(r) }); n > 1 {
		t.Errorf("%v allocations", n)
	}
}
