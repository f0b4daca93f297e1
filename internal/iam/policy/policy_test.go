package policy

import (
	"net/netip"
	"strings"
	"testing"
	"time"
)

func principal(t testing.TB, w Who) *Principal {
	t.Helper()
	if w.Tenant == "" {
		w.Tenant = "acme"
	}
	p, err := NewPrincipal(w)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC) // a Monday

func ask(p *Principal) *Request {
	return &Request{Principal: p, Upstream: "openai", Endpoint: "chat.completions", Model: "gpt-4o",
		Circumstances: Circumstances{Time: noon, ScopesGranted: true, IP: netip.MustParseAddr("10.1.2.3")}}
}

// own is a set with one tenant, acme, that has these policies and not the built-in ones.
func own(t testing.TB, texts ...string) *Set {
	t.Helper()
	var ps []Policy
	for i, text := range texts {
		ps = append(ps, Policy{ID: "p" + string(rune('0'+i)), Tenant: "acme", Text: text})
	}
	s := NewSet(ps, map[string]Tenant{"acme": {NoBase: true, Networks: []Network{{Name: "office", Prefixes: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}}}})
	if b := s.Broken(); len(b) > 0 {
		t.Fatal(b)
	}
	return s
}

func TestConditions(t *testing.T) {
	alice := Who{Kind: KindUser, ID: "alice", Name: "Alice", Tenant: "acme", Teams: []string{"research"}, Roles: []string{"developer"}}
	key := principal(t, Who{Kind: KindKey, ID: "k1", Class: "ci", Owner: &alice})
	for name, c := range map[string]struct {
		text  string
		edit  func(*Request)
		allow bool
	}{
		"nothing permits":                      {`forbid(principal, action, resource) when { false };`, nil, false},
		"a permit for all":                     {`permit(principal, action, resource);`, nil, true},
		"the owner's team":                     {`permit(principal in Team::"research", action, resource);`, nil, true},
		"another team":                         {`permit(principal in Team::"sales", action, resource);`, nil, false},
		"the owner":                            {`permit(principal in User::"alice", action, resource);`, nil, true},
		"the owner's role":                     {`permit(principal in Role::"developer", action, resource);`, nil, true},
		"the tenant":                           {`permit(principal in Tenant::"acme", action, resource);`, nil, true},
		"keys only":                            {`permit(principal is Key, action, resource) when { principal.class == "ci" };`, nil, true},
		"users only":                           {`permit(principal is User, action, resource);`, nil, false},
		"the upstream":                         {`permit(principal, action, resource in Upstream::"openai");`, nil, true},
		"another upstream":                     {`permit(principal, action, resource in Upstream::"anthropic");`, nil, false},
		"the endpoint":                         {`permit(principal, action, resource in Endpoint::"chat.completions");`, nil, true},
		"the endpoint of a call with no model": {`permit(principal, action, resource in Endpoint::"files");`, func(r *Request) { r.Model, r.Endpoint = "", "files" }, true},
		"its upstream":                         {`permit(principal, action, resource in Upstream::"openai");`, func(r *Request) { r.Model = "" }, true},
		"the model":                            {`permit(principal, action, resource == Model::"gpt-4o");`, nil, true},
		"another model":                        {`permit(principal, action, resource == Model::"gpt-4o");`, func(r *Request) { r.Model = "gpt-5" }, false},
		"models by pattern":                    {`permit(principal, action, resource) when { context has model && context.model like "gpt-4*" };`, nil, true},
		"an upstream's name is no model":       {`permit(principal, action, resource == Model::"openai");`, nil, false},
		"one action":                           {`permit(principal, action == Action::"use_tool", resource);`, nil, false},
		"a tool":                               {`permit(principal, action == Action::"use_tool", resource == Tool::"search");`, func(r *Request) { r.Action, r.Tool = UseTool, "search" }, true},
		"another tool":                         {`permit(principal, action == Action::"use_tool", resource == Tool::"search");`, func(r *Request) { r.Action, r.Tool = UseTool, "shell" }, false},
		"office hours":                         {`permit(principal, action, resource) when { context.hour >= 9 && context.hour < 17 && context.weekday <= 5 };`, nil, true},
		"at night":                             {`permit(principal, action, resource) when { context.hour >= 9 && context.hour < 17 };`, func(r *Request) { r.Time = noon.Add(8 * time.Hour) }, false},
		"on Sunday":                            {`permit(principal, action, resource) when { context.weekday == 7 };`, func(r *Request) { r.Time = noon.AddDate(0, 0, -1) }, true},
		"until a day":                          {`permit(principal, action, resource) when { context.now < datetime("2026-11-24") && context.epoch > 0 };`, nil, true},
		"an address range":                     {`permit(principal, action, resource) when { context has ip && context.ip.isInRange(ip("10.0.0.0/8")) };`, nil, true},
		"a mapped address":                     {`permit(principal, action, resource) when { context has ip && context.ip.isInRange(ip("10.0.0.0/8")) };`, func(r *Request) { r.IP = netip.MustParseAddr("::ffff:10.9.9.9") }, true},
		"another range":                        {`permit(principal, action, resource) when { context has ip && context.ip.isInRange(ip("192.168.0.0/16")) };`, nil, false},
		"no address":                           {`permit(principal, action, resource) unless { context has ip };`, func(r *Request) { r.IP = netip.Addr{} }, true},
		"a named network":                      {`permit(principal, action, resource) when { context.networks.contains("office") };`, nil, true},
		"outside the network":                  {`permit(principal, action, resource) when { context.networks.contains("office") };`, func(r *Request) { r.IP = netip.MustParseAddr("192.0.2.1") }, false},
		"a second factor":                      {`permit(principal, action, resource) when { context.amr.contains("hwk") && context has mfa_age && context.mfa_age < 600 };`, func(r *Request) { r.AMR, r.MFA = []string{"pwd", "hwk"}, noon.Add(-5*time.Minute) }, true},
		"an old second factor":                 {`permit(principal, action, resource) when { context has mfa_age && context.mfa_age < 600 };`, func(r *Request) { r.MFA = noon.Add(-time.Hour) }, false},
		"no second factor":                     {`permit(principal, action, resource) when { context has mfa_age && context.mfa_age < 600 };`, nil, false},
		"size and form":                        {`permit(principal, action, resource) when { context.bytes < 10 && !context.streamed && !context.model_free && context.channels.containsAll(["user"]) };`, func(r *Request) { r.Bytes, r.Channels = 9, []string{"user", "system"} }, true},
		"where it goes":                        {`permit(principal, action, resource) when { context.upstream == "openai" && context.endpoint == "chat.completions" };`, nil, true},
	} {
		r := ask(key)
		if c.edit != nil {
			c.edit(r)
		}
		d := own(t, c.text).Decide(r)
		if d.Allow != c.allow || len(d.Errors) > 0 {
			t.Errorf("%s: %v, errors %v", name, d, d.Errors)
		}
	}
}

func TestForbidWinsAndIsNamed(t *testing.T) {
	p := principal(t, Who{Kind: KindUser, ID: "alice", Teams: []string{"research"}})
	s := own(t, `permit(principal, action, resource);`, `@id("not-4o") forbid(principal, action, resource == Model::"gpt-4o");
permit(principal, action, resource);`)
	if d := s.Decide(ask(p)); d.Allow || len(d.Policies) != 1 || d.Policies[0] != "p1/not-4o" {
		t.Errorf("%+v", d)
	}
	r := ask(p)
	r.Model = "gpt-5"
	if d := s.Decide(r); !d.Allow || strings.Join(d.Policies, " ") != "p0 p1/2" {
		t.Errorf("%+v", d)
	}
}

// A forbid that cannot be evaluated must not open. Cedar's own rule is that it is left out.
func TestAForbidThatCannotBeEvaluatedDenies(t *testing.T) {
	p := principal(t, Who{Kind: KindUser, ID: "alice"})
	s := own(t, `permit(principal, action, resource);`, `forbid(principal, action, resource) when { context.bytes * 9223372036854775807 > 7 };`)
	r := ask(p)
	if d := s.Decide(r); !d.Allow || d.Closed {
		t.Errorf("while it can be evaluated: %+v", d)
	}
	r.Bytes = 4
	if d := s.Decide(r); d.Allow || !d.Closed || len(d.Errors) != 1 || d.Errors[0].Policy != "p1" {
		t.Errorf("a forbid overflowed and the call passed: %+v", d)
	}
	s = own(t, `permit(principal, action, resource);`, `permit(principal, action, resource) when { context.bytes * 9223372036854775807 > 7 };`)
	if d := s.Decide(r); !d.Allow || d.Closed || len(d.Errors) != 1 {
		t.Errorf("a permit that cannot be evaluated only does not permit: %+v", d)
	}
}

func TestTwoMoments(t *testing.T) {
	p := principal(t, Who{Kind: KindUser, ID: "alice"})
	leak := `forbid(principal, action, resource) when { context has data_classes && context.data_classes.contains("secret") };`
	unread := `forbid(principal, action, resource) unless { context has unread && !context.unread };`
	clean := `permit(principal, action, resource) when { context has risk && context.risk < 50 };`
	all := `permit(principal, action, resource);`
	found := func(risk int, classes ...string) *Inspected { return &Inspected{DataClasses: classes, Risk: risk} }
	for name, c := range map[string]struct {
		texts        []string
		inspected    *Inspected
		final        bool
		allow, again bool
	}{
		"a leak is not known before":              {[]string{all, leak}, nil, false, true, true},
		"a leak is stopped after":                 {[]string{all, leak}, found(90, "secret"), false, false, false},
		"none is not":                             {[]string{all, leak}, found(0), false, true, false},
		"what must be read waits":                 {[]string{all, unread}, nil, false, true, true},
		"what was not read is stopped":            {[]string{all, unread}, &Inspected{Unread: true}, false, false, false},
		"nothing will be read":                    {[]string{all, unread}, nil, true, false, false},
		"a permit that waits does not deny yet":   {[]string{clean}, nil, false, true, true},
		"a permit that waited permits":            {[]string{clean}, found(10), false, true, false},
		"a permit that waited denies by default":  {[]string{clean}, found(50), false, false, false},
		"a permit that waits in vain":             {[]string{clean}, nil, true, false, false},
		"a forbid that waits permits nothing":     {[]string{leak}, nil, false, false, false},
		"a forbid at once does not wait for more": {[]string{clean, `forbid(principal, action, resource);`}, nil, false, false, false},
	} {
		r := ask(p)
		r.Inspected, r.Final = c.inspected, c.final
		if d := own(t, c.texts...).Decide(r); d.Allow != c.allow || d.Again != c.again {
			t.Errorf("%s: %+v", name, d)
		}
	}
}

func TestAnAgentMayOnlyWhatItsPersonMayToo(t *testing.T) {
	alice := Who{Kind: KindUser, ID: "alice", Tenant: "acme", Teams: []string{"sales"}}
	agent := Who{Kind: KindAgent, ID: "bot", Tenant: "acme", Teams: []string{"bots"}, OnBehalfOf: &alice}
	key := Who{Kind: KindKey, ID: "k", Tenant: "acme", Owner: &agent}
	for name, c := range map[string]struct {
		texts []string
		allow bool
	}{
		"both":            {[]string{`permit(principal in Team::"bots", action, resource);`, `permit(principal in Team::"sales", action, resource);`}, true},
		"the agent alone": {[]string{`permit(principal in Team::"bots", action, resource);`}, false},
		"the person alone does not carry over to the agent": {[]string{`permit(principal in Team::"sales", action, resource);`}, false},
		"what is forbidden to the person":                   {[]string{`permit(principal, action, resource);`, `forbid(principal in User::"alice", action, resource);`}, false},
	} {
		for _, w := range []Who{agent, key} {
			if d := own(t, c.texts...).Decide(ask(principal(t, w))); d.Allow != c.allow {
				t.Errorf("%s, %s: %+v", name, w.Kind, d)
			}
		}
	}
	d := own(t, `permit(principal, action, resource) when { !(principal is Agent) || (principal has on_behalf_of && principal.on_behalf_of in Team::"sales") };`).Decide(ask(principal(t, agent)))
	if !d.Allow {
		t.Errorf("a policy can look at the person: %+v", d)
	}
}

func TestBaseAndPlatformPolicies(t *testing.T) {
	p := principal(t, Who{Kind: KindUser, ID: "alice"})
	guard := Policy{ID: "guard", Tenant: Platform, Text: `forbid(principal, action, resource == Model::"gpt-4o");`}
	s := NewSet(nil, nil)
	r := ask(p)
	if d := s.Decide(r); !d.Allow || d.Policies[0] != "builtin/base-scopes" {
		t.Errorf("a tenant with nothing of its own: %+v", d)
	}
	r.ScopesGranted = false
	if d := s.Decide(r); d.Allow {
		t.Errorf("outside the scopes: %+v", d)
	}
	r.ScopesGranted = true
	if d := NewSet(nil, map[string]Tenant{"acme": {NoBase: true}}).Decide(r); d.Allow {
		t.Errorf("without the base nothing passes: %+v", d)
	}
	if d := NewSet([]Policy{guard}, nil).Decide(r); d.Allow || d.Policies[0] != "platform/guard" {
		t.Errorf("a guard of the platform holds for all: %+v", d)
	}
	same := Policy{ID: "guard", Tenant: "acme", Text: `permit(principal, action, resource);`}
	if d := NewSet([]Policy{guard, same}, nil).Decide(r); d.Allow {
		t.Errorf("a tenant's policy of the same name replaced the platform's: %+v", d)
	}
}

// A stored policy that cannot be read any more closes its tenant, and no other.
func TestABrokenPolicyClosesItsTenantOnly(t *testing.T) {
	bad := Policy{ID: "bad", Tenant: "acme", Text: `forbid(principal, action, resource) when { context.riskscore > 3 };`}
	s := NewSet([]Policy{bad}, nil)
	if d := s.Decide(ask(principal(t, Who{Kind: KindUser, ID: "alice"}))); d.Allow || !d.Closed {
		t.Errorf("%+v", d)
	}
	if d := s.Decide(ask(principal(t, Who{Kind: KindUser, ID: "bob", Tenant: "other"}))); !d.Allow {
		t.Errorf("another tenant: %+v", d)
	}
	if len(s.Broken()) != 1 || s.Broken()["acme"] == nil {
		t.Errorf("%v", s.Broken())
	}
	for name, ps := range map[string][]Policy{
		"the platform's":  {{ID: "bad", Tenant: Platform, Text: "no"}},
		"nobody's":        {{ID: "a", Text: `permit(principal, action, resource);`}},
		"one given twice": {{ID: "a", Tenant: Platform, Text: `permit(principal, action, resource);`}, {ID: "a", Tenant: Platform, Text: `permit(principal, action, resource);`}},
	} {
		if d := NewSet(ps, nil).Decide(ask(principal(t, Who{Kind: KindUser, ID: "bob", Tenant: "other"}))); d.Allow || !d.Closed {
			t.Errorf("%s: %+v", name, d)
		}
	}
}

func TestNothingIsAllowedToNobody(t *testing.T) {
	var e Engine
	r := ask(principal(t, Who{Kind: KindUser, ID: "alice"}))
	if d := e.Decide(r); d.Allow || !d.Closed {
		t.Errorf("before the first set: %+v", d)
	}
	e.Use(own(t, `permit(principal, action, resource);`))
	if d := e.Decide(r); !d.Allow {
		t.Errorf("%+v", d)
	}
	if d := e.Decide(&Request{}); d.Allow || !d.Closed {
		t.Errorf("no principal: %+v", d)
	}
	r.Action = actions
	if d := e.Decide(r); d.Allow || !d.Closed {
		t.Errorf("no such action: %+v", d)
	}
}

func TestPrincipalsThatCannotBe(t *testing.T) {
	user := &Who{Kind: KindUser, ID: "u", Tenant: "acme"}
	for name, w := range map[string]Who{
		"no tenant":                  {Kind: KindUser, ID: "u"},
		"the platform":               {Kind: KindUser, ID: "u", Tenant: Platform},
		"no id":                      {Kind: KindUser, Tenant: "acme"},
		"no kind":                    {ID: "u", Tenant: "acme"},
		"an owner of another tenant": {Kind: KindKey, ID: "k", Tenant: "other", Owner: user},
		"a person of another tenant": {Kind: KindAgent, ID: "a", Tenant: "other", OnBehalfOf: user},
		"a key of a key":             {Kind: KindKey, ID: "k", Tenant: "acme", Owner: &Who{Kind: KindKey, ID: "l", Tenant: "acme"}},
		"an agent for a service":     {Kind: KindAgent, ID: "a", Tenant: "acme", OnBehalfOf: &Who{Kind: KindService, ID: "s", Tenant: "acme"}},
		"a user for a user":          {Kind: KindUser, ID: "a", Tenant: "acme", OnBehalfOf: user},
		"an owned user":              {Kind: KindUser, ID: "a", Tenant: "acme", Owner: user},
	} {
		if p, err := NewPrincipal(w); err == nil {
			t.Errorf("%s: %v", name, p)
		}
	}
}

func TestTheSchemaAndTheAttributesAgree(t *testing.T) {
	if len(attrNames) != len(attrByName) || attrs(1)<<len(attrNames) != attrEnd {
		t.Fatal("names and bits differ")
	}
	p := principal(t, Who{Kind: KindUser, ID: "alice"})
	full := ask(p)
	full.MFA, full.Inspected = noon, &Inspected{}
	for _, uid := range actionUIDs {
		want := rules.Actions[uid].AppliesTo.Context
		if len(want) != len(attrNames) {
			t.Errorf("%s: %d attributes in the schema, %d in code", uid, len(want), len(attrNames))
		}
		for name, a := range want {
			bit, ok := attrByName[string(name)]
			if !ok {
				t.Errorf("%s: nobody fills %s", uid, name)
			}
			if bit&afterInspection != 0 && !a.Optional {
				t.Errorf("%s is not known before inspection and must be optional", name)
			}
		}
	}
	for _, r := range []*Request{ask(p), full} {
		for _, to := range []struct {
			a     Action
			model string
		}{{Call, "gpt-4o"}, {Call, ""}, {UseTool, "x"}} {
			q := *r
			q.Action, q.Model, q.Tool = to.a, to.model, "t"
			req, _ := plain(&q, p, NewSet(nil, nil).of("acme"))
			if err := validator.Request(req); err != nil {
				t.Errorf("a request is not what the schema says: %v", err)
			}
		}
	}
}

func TestBuiltinPoliciesAreSound(t *testing.T) {
	if len(Builtin()) == 0 {
		t.Fatal("none")
	}
	for _, p := range Builtin() {
		if err := Check(p); err != nil {
			t.Error(err)
		}
	}
}
