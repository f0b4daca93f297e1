package limits_test

import (
	"context"
	"testing"

	"sallyport.dev/sallyport/internal/gate"
	"sallyport.dev/sallyport/internal/iam"
	"sallyport.dev/sallyport/internal/iam/document"
	"sallyport.dev/sallyport/internal/iam/limits"
	"sallyport.dev/sallyport/internal/iam/mirror"
	"sallyport.dev/sallyport/internal/iam/quota"
	"sallyport.dev/sallyport/internal/store/memory"
)

func TestWhichLimitsHold(t *testing.T) {
	ctx := context.Background()
	s := &memory.Documents{}
	m := mirror.New(s, nil, nil)
	l := limits.New(m)
	hour := quota.Hour
	for _, x := range []limits.Limit{
		{ID: "all", Tenant: "acme", Of: limits.OfTenant, Unit: "tokens", Amount: 1, Window: hour},
		{ID: "other", Tenant: "other", Of: limits.OfTenant, Unit: "tokens", Amount: 1, Window: hour},
		{ID: "team", Tenant: "acme", Of: limits.OfTeam, Subject: "team_a", Unit: "tokens", Amount: 1, Window: hour},
		{ID: "ada", Tenant: "acme", Of: limits.OfPrincipal, Subject: "user_a", Unit: "tokens", Amount: 1, Window: hour},
		{ID: "each", Tenant: "acme", Of: limits.EachKey, Unit: "concurrency", Amount: 1},
		{ID: "dear", Tenant: "acme", Of: limits.OfTenant, Model: "gpt-5*", Unit: "cost", Amount: 1, Window: hour},
	} {
		if err := x.Check(); err != nil {
			t.Fatal(err)
		}
		if _, err := document.Insert(ctx, s, x); err != nil {
			t.Fatal(err)
		}
	}
	if err := m.Refresh(ctx); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		p     gate.Principal
		model string
		want  []string
	}{
		"a key of the team":    {gate.Principal{ID: "k1", Tenant: "acme", Team: "team_a", Grant: &iam.Key{ID: "k1", Detail: iam.Detail{Budgets: []iam.Budget{{Unit: "requests", Amount: 1, Window: hour}}}}}, "m", []string{"key:k1", "limit:all", "limit:team", "limit:each/k1"}},
		"a key of a person":    {gate.Principal{ID: "k2", Tenant: "acme", Holder: "user_a", Grant: &iam.Key{ID: "k2"}}, "gpt-5-mini", []string{"limit:all", "limit:ada", "limit:each/k2", "limit:dear"}},
		"a token":              {gate.Principal{ID: "ci:repo", Tenant: "acme", Grant: &iam.Identity{}}, "", []string{"limit:all", "limit:each/ci:repo"}},
		"a token for somebody": {gate.Principal{ID: "agent_a", Holder: "agent_a", OnBehalfOf: "user_b", Tenant: "acme", Grant: &iam.Delegation{Identity: &iam.Identity{}}}, "", []string{"limit:all", "limit:each/agent_a"}},
		"one with keys behind": {gate.Principal{ID: "agent_a", Holder: "agent_a", Tenant: "acme", Grant: &iam.Delegation{Identity: &iam.Identity{}, Via: []*iam.Key{
			{ID: "k5", Detail: iam.Detail{Team: "team_a", Budgets: []iam.Budget{{Unit: "requests", Amount: 1, Window: hour}}}}, {ID: "k6"},
		}}}, "", []string{"limit:all", "limit:team", "key:k5", "limit:each/k5", "limit:each/k6"}},
		"of another tenant":   {gate.Principal{ID: "k3", Tenant: "other", Team: "team_a", Grant: &iam.Key{ID: "k3"}}, "m", []string{"limit:other"}},
		"of a third":          {gate.Principal{ID: "k4", Tenant: "third", Grant: &iam.Key{ID: "k4"}}, "m", nil},
		"a credential passed": {gate.Principal{ID: "cred_x"}, "m", nil},
	} {
		got := map[string]bool{}
		p, err := l.Bounds(&gate.Exchange{Principal: c.p, Reading: &gate.Reading{Model: c.model}})
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range p.Bounds() {
			got[b.Subject] = true
		}
		if len(got) != len(c.want) {
			t.Errorf("%s: %v", name, got)
		}
		for _, w := range c.want {
			if !got[w] {
				t.Errorf("%s: %s does not hold, %v", name, w, got)
			}
		}
	}
}

// So many budgets behind one token that not all could count are an error: none pushes out another.
func TestTooManyBudgetsBehindAToken(t *testing.T) {
	l := limits.New(mirror.New(&memory.Documents{}, nil, nil))
	var via []*iam.Key
	for _, id := range []string{"a", "b", "c"} {
		k := &iam.Key{ID: id}
		for i := range 30 {
			k.Budgets = append(k.Budgets, iam.Budget{Unit: "requests", Amount: 1, Window: quota.Window(i+1) * quota.Hour})
		}
		via = append(via, k)
	}
	if p, err := l.Bounds(&gate.Exchange{Principal: gate.Principal{Tenant: "acme", Grant: &iam.Delegation{Identity: &iam.Identity{}, Via: via}}}); err == nil {
		t.Errorf("%d of 90 count", len(p.Bounds()))
	}
}

func TestLimitsThatAreRefused(t *testing.T) {
	hour := quota.Hour
	for name, l := range map[string]limits.Limit{
		"of nobody":                {Unit: "tokens", Amount: 1, Window: hour},
		"a team without one":       {Of: limits.OfTeam, Unit: "tokens", Amount: 1, Window: hour},
		"a tenant's subject":       {Of: limits.OfTenant, Subject: "x", Unit: "tokens", Amount: 1, Window: hour},
		"no unit":                  {Of: limits.OfTenant, Amount: 1, Window: hour},
		"no window":                {Of: limits.OfTenant, Unit: "tokens", Amount: 1},
		"a window of calls":        {Of: limits.OfTenant, Unit: "concurrency", Amount: 1, Window: hour},
		"a negative amount":        {Of: limits.OfTenant, Unit: "tokens", Amount: -1, Window: hour},
		"a huge amount":            {Of: limits.OfTenant, Unit: "tokens", Amount: 1 << 60, Window: hour},
		"part of a second":         {Of: limits.OfTenant, Unit: "tokens", Amount: 1, Window: hour + 1},
		"another calendar":         {Of: limits.OfTenant, Unit: "tokens", Amount: 1, Window: -2},
		"calls at once in a month": {Of: limits.OfTenant, Unit: "concurrency", Amount: 1, Window: quota.Month},
	} {
		if l.Check() == nil {
			t.Errorf("%s: taken", name)
		}
	}
}
