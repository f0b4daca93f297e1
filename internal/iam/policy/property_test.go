package policy

import (
	"context"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	cedar "github.com/cedar-policy/cedar-go"
	"pgregory.net/rapid"

	"sallyport.dev/sallyport/internal/gate"
)

// plain is the same question for Cedar itself: the whole context, and every entity with its
// immediate parents only.
func plain(r *Request, p *Principal, t *tenant) (cedar.Request, cedar.EntityMap) {
	es := cedar.EntityMap{}
	for _, q := range []*Principal{p, p.person} {
		if q == nil {
			continue
		}
		es[q.uid] = q.entity()
		for _, id := range q.in[1:] {
			if _, ok := es[id]; !ok {
				e := cedar.Entity{UID: id}
				if id.Type == typeTeam {
					e.Parents = cedar.NewEntityUIDSet(cedar.NewEntityUID(typeTenant, cedar.String(q.tenant)))
				}
				es[id] = e
			}
		}
	}
	up, end := cedar.NewEntityUID(typeUpstream, cedar.String(r.Upstream)), cedar.NewEntityUID(typeEndpoint, cedar.String(r.Endpoint))
	es[up] = cedar.Entity{UID: up}
	es[end] = cedar.Entity{UID: end, Parents: cedar.NewEntityUIDSet(up)}
	res := end
	switch {
	case r.Action == UseTool:
		res = cedar.NewEntityUID(typeTool, cedar.String(r.Tool))
		es[res] = cedar.Entity{UID: res, Parents: cedar.NewEntityUIDSet(up)}
	case r.Model != "":
		res = cedar.NewEntityUID(typeModel, cedar.String(r.Model))
		es[res] = cedar.Entity{UID: res, Parents: cedar.NewEntityUIDSet(end)}
	}
	return cedar.Request{Principal: p.uid, Action: actionUIDs[r.Action], Resource: res, Context: r.record(allAttrs, t)}, es
}

// texts are statements of every kind that the index knows, and some that fail.
var texts = []string{
	`(principal, action, resource);`,
	`(principal in Team::"t1", action, resource);`,
	`(principal in Team::"t2", action == Action::"call", resource);`,
	`(principal == User::"u1", action in [Action::"call", Action::"use_tool"], resource);`,
	`(principal in User::"u1", action, resource in Upstream::"openai");`,
	`(principal is Key, action, resource is Model);`,
	`(principal is Key in Team::"t1", action, resource);`,
	`(principal is Agent, action, resource) when { principal has on_behalf_of && principal.on_behalf_of in Team::"t1" };`,
	`(principal in Role::"r1", action == Action::"use_tool", resource == Tool::"x");`,
	`(principal in Group::"g1", action, resource in Endpoint::"e1");`,
	`(principal in Tenant::"a", action, resource) when { context.hour < 12 };`,
	`(principal, action, resource) when { context has model && context.model like "gpt-*" };`,
	`(principal, action, resource) unless { context.networks.contains("n1") };`,
	`(principal, action, resource) when { context has ip && context.ip.isInRange(ip("10.0.0.0/8")) };`,
	`(principal, action, resource) when { context.bytes * 4611686018427387904 > 0 };`,
	`(principal in Team::"t1", action, resource) when { context.bytes - 9223372036854775807 - 9 < 0 };`,
	`(principal, action, resource) when { context has data_classes && context.data_classes.contains("secret") };`,
	`(principal, action, resource) unless { context has risk && context.risk < 50 };`,
	`(principal, action, resource) when { principal.name == "n" || context.amr.contains("hwk") };`,
	`(principal, action, resource in [Upstream::"openai"]) ;`,
}

func init() { texts = texts[:len(texts)-1] } // Cedar has no list of resources in a head

// wildPassed of the wildTried generated conditions are in keeping with the schema.
var wildTried, wildPassed atomic.Int64

func genPolicy(tenants ...string) *rapid.Generator[Policy] {
	return rapid.Custom(func(t *rapid.T) Policy {
		effect := rapid.SampledFrom([]string{"permit", "forbid"}).Draw(t, "effect")
		p := Policy{
			ID:     fmt.Sprintf("p%d", rapid.IntRange(0, 1<<40).Draw(t, "id")),
			Tenant: rapid.SampledFrom(tenants).Draw(t, "tenant"),
			Text:   effect + rapid.SampledFrom(texts).Draw(t, "text"),
		}
		if rapid.Bool().Draw(t, "any condition") {
			g := gen{t: t, guarded: true}
			wild := p
			wild.Text = effect + `(principal, action, resource) when { ` + g.bool(rapid.IntRange(1, 3).Draw(t, "depth")) + ` };`
			wildTried.Add(1)
			if Check(wild) == nil { // of the right types
				wildPassed.Add(1)
				return wild
			}
		}
		return p
	})
}

var someOf = func(ss ...string) *rapid.Generator[[]string] {
	return rapid.Custom(func(t *rapid.T) []string {
		var out []string
		for _, s := range ss {
			if rapid.Bool().Draw(t, s) {
				out = append(out, s)
			}
		}
		return out
	})
}

func genWho(tenant string, kinds ...Kind) *rapid.Generator[Who] {
	return rapid.Custom(func(t *rapid.T) Who {
		w := Who{Kind: rapid.SampledFrom(kinds).Draw(t, "kind"), ID: rapid.SampledFrom([]string{"u1", "u2"}).Draw(t, "id"), Tenant: tenant,
			Name: rapid.SampledFrom([]string{"", "n"}).Draw(t, "name"), Teams: someOf("t1", "t2").Draw(t, "teams"),
			Roles: someOf("r1").Draw(t, "roles"), Groups: someOf("g1").Draw(t, "groups")}
		if w.Kind == KindAgent && rapid.Bool().Draw(t, "for somebody") {
			u := genWho(tenant, KindUser).Draw(t, "person")
			w.OnBehalfOf = &u
		}
		if w.Kind == KindKey && rapid.Bool().Draw(t, "owned") {
			u := genWho(tenant, KindUser, KindService, KindAgent).Draw(t, "owner")
			w.Owner = &u
		}
		return w
	})
}

func genRequest(t *rapid.T, tenant string) *Request {
	p, err := NewPrincipal(genWho(tenant, KindUser, KindService, KindAgent, KindKey).Draw(t, "who"))
	if err != nil {
		t.Fatal(err)
	}
	r := &Request{Principal: p, Action: Action(rapid.IntRange(0, int(actions)-1).Draw(t, "action")),
		Upstream: rapid.SampledFrom([]string{"openai", "other"}).Draw(t, "upstream"), Endpoint: rapid.SampledFrom([]string{"e1", "e2"}).Draw(t, "endpoint"),
		Model: rapid.SampledFrom([]string{"", "gpt-4o", "x"}).Draw(t, "model"), Tool: rapid.SampledFrom([]string{"x", "y"}).Draw(t, "tool"),
		Final: rapid.Bool().Draw(t, "final"),
		Circumstances: Circumstances{Time: time.Unix(rapid.Int64Range(0, 1e10).Draw(t, "time"), 0), ScopesGranted: rapid.Bool().Draw(t, "scopes"),
			Bytes: rapid.Int64Range(-9, 9).Draw(t, "bytes"), AMR: someOf("pwd", "hwk").Draw(t, "amr")}}
	if rapid.Bool().Draw(t, "ip") {
		r.IP = netip.AddrFrom4([4]byte{byte(rapid.IntRange(9, 11).Draw(t, "net")), 1, 2, 3})
	}
	if rapid.Bool().Draw(t, "inspected") {
		r.Inspected = &Inspected{DataClasses: someOf("secret").Draw(t, "classes"), Risk: rapid.IntRange(0, 100).Draw(t, "risk")}
	}
	return r
}

var zones = map[string]Tenant{
	"a": {NoBase: true, Networks: []Network{{Name: "n1", Prefixes: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}}},
	"b": {},
}

func distinct(ps []Policy) []Policy {
	for i := range ps {
		ps[i].ID = fmt.Sprintf("p%d", i)
	}
	return ps
}

func usable(t *rapid.T, ps []Policy) *Set {
	s := NewSet(ps, zones)
	if b := s.Broken(); len(b) > 0 {
		t.Fatal(b)
	}
	return s
}

// The index, the flat memberships and the cut-down context change nothing: what Cedar says of the
// whole set is what we say.
func TestTheIndexDecidesLikeCedarItself(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := usable(t, distinct(rapid.SliceOfN(genPolicy("a", "b", Platform), 0, 12).Draw(t, "policies")))
		r := wide(t)
		r.Final = true // everything decides
		tn := s.of(r.Principal.tenant)
		whole := cedar.NewPolicySet()
		for _, st := range tn.all {
			whole.Add(st.id, st.text) // with its head
		}
		want, policies := true, []string(nil)
		closed, failed := false, []string(nil)
		for _, p := range []*Principal{r.Principal, r.Principal.person} {
			if p == nil {
				continue
			}
			req, es := plain(r, p, tn)
			ok, diag := cedar.Authorize(whole, es, req)
			bad := slices.ContainsFunc(diag.Errors, func(e cedar.DiagnosticError) bool {
				return whole.Get(e.PolicyID).Effect() == cedar.Forbid
			})
			one := []string(nil)
			if !bad || ok == cedar.Deny {
				for _, d := range diag.Reasons {
					one = append(one, string(d.PolicyID))
				}
			}
			closed = closed || bad
			for _, e := range diag.Errors {
				failed = append(failed, string(e.PolicyID)+": "+e.Message)
			}
			if ok == cedar.Deny || bad {
				slices.Sort(one)
				want, policies = false, one
				break
			}
			policies = union(policies, one)
		}
		got := s.Decide(r)
		if got.Allow != want || got.Closed != closed || !reflect.DeepEqual(append([]string{}, got.Policies...), append([]string{}, policies...)) {
			t.Fatalf("got %+v, Cedar says allow=%v closed=%v by %v", got, want, closed, policies)
		}
		var erred []string
		for _, e := range got.Errors {
			erred = append(erred, e.Policy+": "+e.Message)
		}
		slices.Sort(erred)
		if slices.Sort(failed); !slices.Equal(erred, failed) {
			t.Fatalf("errors %q, Cedar's are %q", erred, failed)
		}
	})
	if tried, passed := wildTried.Load(), wildPassed.Load(); !t.Failed() && passed*3 < tried {
		t.Errorf("of %d conditions only %d pass the schema: the test shows little", tried, passed)
	}
}

func TestAddingAForbidNeverAllowsAndAPermitNeverDenies(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ps := rapid.SliceOfN(genPolicy("a", Platform), 0, 8).Draw(t, "policies")
		more := genPolicy("a", Platform).Draw(t, "more")
		all := distinct(append(slices.Clone(ps), more))
		r := genRequest(t, "a")
		before, after := usable(t, all[:len(ps)]).Decide(r), usable(t, all).Decide(r)
		if more.Text[:6] == "forbid" && after.Allow && !before.Allow {
			t.Fatalf("a forbid allowed: %+v, then %+v", before, after)
		}
		if more.Text[:6] == "permit" && before.Allow && !after.Allow {
			t.Fatalf("a permit denied: %+v, then %+v", before, after)
		}
	})
}

func TestNoPolicyOfOneTenantReachesAnother(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		mine := rapid.SliceOfN(genPolicy("a", Platform), 0, 6).Draw(t, "mine")
		theirs := rapid.SliceOfN(genPolicy("b"), 1, 6).Draw(t, "theirs")
		all := distinct(append(slices.Clone(mine), theirs...))
		if rapid.Bool().Draw(t, "the same ids") {
			for i := range theirs {
				all[len(mine)+i].ID = fmt.Sprintf("p%d", i)
			}
		}
		if rapid.Bool().Draw(t, "one broken") {
			all[len(mine)].Text = "forbid(principal"
		}
		r := genRequest(t, "a")
		alone, together := usable(t, all[:len(mine)]).Decide(r), NewSet(all, zones).Decide(r)
		if !reflect.DeepEqual(alone, together) {
			t.Fatalf("alone %+v, together %+v", alone, together)
		}
	})
}

// What passes at admission and is found clean passes after; what the first look denies, the second
// denies too, however little was found.
func TestTheFirstLookDeniesOnlyWhatTheSecondWould(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := usable(t, distinct(rapid.SliceOfN(genPolicy("a", Platform), 0, 8).Draw(t, "policies")))
		r := genRequest(t, "a")
		r.Inspected, r.Final = nil, false
		first := s.Decide(r)
		r.Inspected = &Inspected{DataClasses: someOf("secret").Draw(t, "found"), Risk: rapid.IntRange(0, 100).Draw(t, "score")}
		second := s.Decide(r)
		if !first.Allow && second.Allow {
			t.Fatalf("first %+v, second %+v", first, second)
		}
		if first.Allow && !second.Allow && !first.Again {
			t.Fatalf("first %+v said nothing would change, second %+v", first, second)
		}
	})
}

// Asking the second time only those that waited decides as asking everybody anew: with findings, tools, other
// policies or another caller meanwhile.
func TestTheSecondStageDecidesAsIfAskedAnew(t *testing.T) {
	resumed, denied := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		engine := &Engine{}
		engine.Use(usable(t, distinct(append(rapid.SliceOfN(genPolicy("a", "b"), 0, 8).Draw(t, "policies"), Policy{Tenant: "a", Text: `permit(principal, action, resource);`}))))
		who := genRequest(t, "a")
		g := &Guard{Engine: engine, Now: func() time.Time { return who.Time }, Caller: func(*gate.Exchange) (Caller, error) {
			return Caller{Principal: who.Principal, AMR: who.AMR}, nil
		}}
		x := &gate.Exchange{Upstream: who.Upstream, Endpoint: who.Endpoint, ClientAddr: who.IP, Body: []byte("body"), Record: &gate.Record{},
			Reading: &gate.Reading{Model: who.Model, Tools: someOf("x", "y").Draw(t, "tools"), Segments: []gate.Segment{{Channel: gate.ChannelTool}}}}
		if d, err := g.Before().Admit(context.Background(), x); err != nil || d.Denied() {
			return
		}
		if rapid.Bool().Draw(t, "found") {
			x.Record.Findings = []gate.Finding{{Category: gate.Secret, Score: rapid.Float64Range(0, 1).Draw(t, "score"), Channel: gate.ChannelTool}}
		}
		switch rapid.IntRange(0, 4).Draw(t, "meanwhile") {
		case 0:
			engine.Use(usable(t, distinct(rapid.SliceOfN(genPolicy("a"), 0, 8).Draw(t, "new policies"))))
		case 1:
			who = genRequest(t, "a")
			who.Time = time.Unix(0, 0)
		}
		anew := *x
		anew.Asked = nil
		if x.Asked != nil {
			resumed++
		}
		got, err := g.After().Admit(context.Background(), x)
		want, err2 := g.After().Admit(context.Background(), &anew)
		if (err == nil) != (err2 == nil) || !reflect.DeepEqual(got, want) {
			t.Fatalf("resumed: %+v %v, anew: %+v %v", got, err, want, err2)
		}
		if got.Denied() {
			denied++
		}
	})
	if !t.Failed() && (resumed < 10 || denied < 3) {
		t.Errorf("%d were resumed, %d denied: the test shows little", resumed, denied)
	}
}
