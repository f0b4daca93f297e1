package policy

import (
	"fmt"
	"runtime"
	"testing"
	"time"
)

// tenPolicies apply to one caller of a tenant: heads that name everybody or the caller's team, and
// the conditions that people write.
var tenPolicies = []string{
	`permit(principal in Team::"t1", action == Action::"call", resource) when { context.scopes_granted };`,
	`forbid(principal, action, resource) when { context.hour < 6 };`,
	`forbid(principal, action, resource) when { context has ip && context.ip.isInRange(ip("192.0.2.0/24")) };`,
	`forbid(principal in Team::"t1", action, resource == Model::"gpt-5");`,
	`forbid(principal, action, resource) when { context has model && context.model like "o1-*" };`,
	`forbid(principal is Key, action, resource) when { principal.class == "ci" && context.streamed };`,
	`forbid(principal, action, resource in Upstream::"other");`,
	`forbid(principal, action, resource) when { context.bytes > 1048576 };`,
	`forbid(principal in Role::"developer", action, resource in Endpoint::"batches");`,
	`forbid(principal, action, resource) when { context has data_classes && context.data_classes.contains("secret") };`,
}

// large is 1,000 policies over 100 tenants, of which 10 apply to each caller.
func large(tb testing.TB) *Set {
	var ps []Policy
	for t := range 100 {
		for i, text := range tenPolicies {
			ps = append(ps, Policy{ID: fmt.Sprintf("p%d", i), Tenant: fmt.Sprintf("tenant%d", t), Text: text})
		}
	}
	s := NewSet(ps, nil)
	if b := s.Broken(); len(b) > 0 {
		tb.Fatal(b)
	}
	return s
}

func callers(tb testing.TB, n int) []*Principal {
	out := make([]*Principal, n)
	for i := range out {
		tenant := fmt.Sprintf("tenant%d", i%100)
		owner := Who{Kind: KindUser, ID: fmt.Sprintf("u%d", i/10), Tenant: tenant, Teams: []string{"t1"}, Roles: []string{"developer"}}
		out[i] = principal(tb, Who{Kind: KindKey, ID: fmt.Sprintf("k%d", i), Tenant: tenant, Class: "web", Owner: &owner})
	}
	return out
}

// BenchmarkDecide is one decision with 100,000 keys, 1,000 policies, 100 tenants, 10 of them applying.
func BenchmarkDecide(b *testing.B) {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	ps := callers(b, 100_000)
	runtime.GC()
	runtime.ReadMemStats(&after)
	b.Logf("100,000 principals: %d MiB", (after.HeapAlloc-before.HeapAlloc)>>20)
	var e Engine
	start := time.Now()
	e.Use(large(b))
	b.Logf("1,000 policies compiled in %v", time.Since(start).Round(time.Millisecond))
	for _, c := range []struct {
		name      string
		inspected *Inspected
		callers   int // few: the memory of the callers is in the processor's cache
	}{
		{"admission", nil, len(ps)}, {"inspected", &Inspected{DataClasses: []string{"pii"}, Risk: 10}, len(ps)},
		{"admission, 100 busy keys", nil, 100},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			base := ask(nil)
			base.Inspected = c.inspected
			b.RunParallel(func(pb *testing.PB) {
				i := 0
				for pb.Next() {
					i += 7919
					r := *base
					r.Principal = ps[i%c.callers]
					if d := e.Decide(&r); !d.Allow {
						b.Error(d)
						return
					}
				}
			})
		})
	}
}
