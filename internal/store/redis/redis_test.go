package redis_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sallyport.dev/sallyport/internal/iam/quota"
	"sallyport.dev/sallyport/internal/secret"
	"sallyport.dev/sallyport/internal/store/redis"
	"sallyport.dev/sallyport/internal/store/redistest"
)

var bg = context.Background()

// node is one gateway's engine, and what it was told about the store.
type node struct {
	*quota.Engine
	mu     sync.Mutex
	faults []error
}

func (n *node) told() []error {
	n.mu.Lock()
	defer n.mu.Unlock()
	return append([]error(nil), n.faults...)
}

const settle = 150 * time.Millisecond

var names atomic.Int64

// newNode makes a node on a clock that begins at noon, so that no day ends within a test.
func newNode(t testing.TB, url secret.String, prefix string, nodes int, change ...func(*quota.Shared)) *node {
	t.Helper()
	st, err := redis.Open(redis.Options{URL: url, Prefix: prefix, Settle: settle})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close() })
	n := &node{}
	noon, start := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), time.Now()
	o := &quota.Shared{Store: st, Node: fmt.Sprint("node", names.Add(1)), Nodes: nodes, Wait: time.Second, Every: 20 * time.Millisecond, Fault: func(err error) {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.faults = append(n.faults, err)
	}}
	for _, c := range change {
		c(o)
	}
	n.Engine, err = quota.New(quota.Options{Shared: o, Now: func() time.Time { return noon.Add(time.Since(start)) }})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// settled waits until the store grants.
func settled(t testing.TB, ns ...*node) {
	t.Helper()
	for _, n := range ns {
		waitFor(t, "the store grants", func() bool { n.Sync(bg); return !n.Local() })
	}
}

func waitFor(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within 20 s: %s", what)
		}
	}
}

// run lets nodes keep in step with the store until the test ends.
func run(t testing.TB, ns ...*node) {
	ctx, cancel := context.WithCancel(bg)
	var wg sync.WaitGroup
	for _, n := range ns {
		wg.Go(func() { n.Run(ctx) })
	}
	t.Cleanup(func() { cancel(); wg.Wait() })
}

func tokens(subject string, n int64) []quota.Bound {
	return []quota.Bound{{Subject: subject, Unit: quota.Tokens, Amount: n, Window: quota.Day}}
}

// spend makes calls of up to most tokens until each node was refused many times; it returns what was
// used and what was not settled.
func spend(ns []*node, b []quota.Bound, each int64, until func() bool) int64 {
	var total atomic.Int64
	var wg sync.WaitGroup
	for _, n := range ns {
		for range 4 {
			wg.Go(func() {
				for i := int64(0); !until(); i++ {
					r, ex, _ := n.Reserve(bg, b, quota.Amounts{Tokens: each})
					if r == nil {
						_ = ex
						continue
					}
					used := i % (each + 1)
					r.Settle(quota.Amounts{Tokens: used})
					total.Add(used)
				}
			})
		}
	}
	wg.Wait()
	return total.Load()
}

func forAWhile(d time.Duration) func() bool {
	end := time.Now().Add(d)
	return func() bool { return time.Now().After(end) }
}

// Two nodes under load: together they use the amount and never a token more, and little is left over.
func TestTwoNodesNeverPassTheAmount(t *testing.T) {
	s := redistest.Start(t)
	a, b := newNode(t, s.URL(), "", 2), newNode(t, s.URL(), "", 2)
	settled(t, a, b)
	run(t, a, b)
	const amount = 20_000
	got := spend([]*node{a, b}, tokens("tenant:x", amount), 10, forAWhile(1500*time.Millisecond))
	t.Logf("%d of %d used", got, amount)
	if got > amount || got < amount*9/10 {
		t.Errorf("%d of %d used", got, amount)
	}
	if len(a.told())+len(b.told()) != 0 {
		t.Errorf("faults: %v %v", a.told(), b.told())
	}
}

// Any sequence of calls on two nodes, with estimates above and below, rounds in between, and the rest of
// a lease given back: what was granted never passes the amount, but for what calls used beyond their
// estimates, and that is charged to both.
func TestLeasesNeverOverspend(t *testing.T) {
	s := redistest.Start(t)
	trial := 0
	warm := newNode(t, s.URL(), "trial", 2)
	settled(t, warm)
	rapid.Check(t, func(t *rapid.T) {
		trial++
		const amount = 100
		bound := tokens(fmt.Sprint("subject", trial), amount)
		var clock [2]time.Time
		var ns [2]*quota.Engine
		for i := range ns {
			clock[i] = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
			st, err := redis.Open(redis.Options{URL: s.URL(), Prefix: "trial", Settle: settle})
			if err != nil {
				t.Fatal(err)
			}
			defer st.Close()
			ns[i], _ = quota.New(quota.Options{Now: func() time.Time { return clock[i] }, Shared: &quota.Shared{Store: st, Node: fmt.Sprint(trial, "n", i), Nodes: 2, Wait: 5 * time.Second}})
		}
		type call struct {
			r *quota.Reservation
			n int64
		}
		var open []call
		used, beyond := int64(0), int64(0) // reserved or settled; settled beyond the estimates
		t.Repeat(map[string]func(*rapid.T){
			"reserve": func(t *rapid.T) {
				n := rapid.Int64Range(1, 60).Draw(t, "n")
				r, _, err := ns[rapid.IntRange(0, 1).Draw(t, "node")].Reserve(bg, bound, quota.Amounts{Tokens: n})
				if err != nil {
					t.Fatal(err)
				}
				if r != nil {
					open = append(open, call{r, n})
					if used += n; used-beyond > amount {
						t.Fatalf("%d of %d are used, %d of them beyond estimates", used, amount, beyond)
					}
				}
			},
			"settle": func(t *rapid.T) {
				if len(open) == 0 {
					t.Skip()
				}
				i := rapid.IntRange(0, len(open)-1).Draw(t, "call")
				n := rapid.Int64Range(0, 80).Draw(t, "n")
				c := open[i]
				open = append(open[:i], open[i+1:]...)
				c.r.Settle(quota.Amounts{Tokens: n})
				used += n - c.n
				beyond += max(0, n-c.n)
			},
			"sync": func(t *rapid.T) { ns[rapid.IntRange(0, 1).Draw(t, "node")].Sync(bg) },
			"wait": func(t *rapid.T) {
				i := rapid.IntRange(0, 1).Draw(t, "node")
				clock[i] = clock[i].Add(time.Duration(rapid.IntRange(1, 3000).Draw(t, "ms")) * time.Millisecond)
			},
			"all in step": func(t *rapid.T) {
				for range 3 { // say it, hear it, give back
					ns[0].Sync(bg)
					ns[1].Sync(bg)
				}
				if used < amount {
					return
				}
				for _, e := range ns {
					if r, _, _ := e.Reserve(bg, bound, quota.Amounts{Tokens: 1}); r != nil {
						t.Fatalf("%d of %d are used, both nodes have said so, and one more passes", used, amount)
					}
				}
			},
		})
	})
}

// A node that was told of fewer than there are says so, once.
func TestMoreNodesThanNamedAreReported(t *testing.T) {
	s := redistest.Start(t)
	var heard []int
	a := newNode(t, s.URL(), "", 1, func(o *quota.Shared) { o.More = func(n int) { heard = append(heard, n) } })
	settled(t, a)
	if len(heard) != 0 {
		t.Errorf("alone, it hears of %v", heard)
	}
	settled(t, newNode(t, s.URL(), "", 1))
	a.Sync(bg)
	a.Sync(bg)
	if len(heard) != 1 || heard[0] != 2 {
		t.Errorf("heard of %v", heard)
	}
}

// What a call used beyond its estimate on one node is charged to all.
func TestADebtReachesTheOtherNode(t *testing.T) {
	s := redistest.Start(t)
	a, b := newNode(t, s.URL(), "", 2), newNode(t, s.URL(), "", 2)
	settled(t, a, b)
	bound := tokens("x", 100)
	r, _, _ := a.Reserve(bg, bound, quota.Amounts{Tokens: 10})
	if !r.Settle(quota.Amounts{Tokens: 95}) {
		t.Fatal("not settled")
	}
	a.Sync(bg)
	if _, ex, _ := b.Reserve(bg, bound, quota.Amounts{Tokens: 6}); ex == nil {
		t.Error("the other node does not know")
	}
	if r, ex, _ := b.Reserve(bg, bound, quota.Amounts{Tokens: 5}); r == nil {
		t.Errorf("what is left: %+v", ex)
	}
}

// What lies idle on one node is given back for the other; an ending node gives back all.
func TestIdleLeasesAreGivenBack(t *testing.T) {
	s := redistest.Start(t)
	a, b := newNode(t, s.URL(), "", 2), newNode(t, s.URL(), "", 2)
	settled(t, a, b)
	bound := tokens("x", 1000)
	r, _, _ := a.Reserve(bg, bound, quota.Amounts{Tokens: 900})
	r.Settle(quota.Amounts{Tokens: 100})
	if _, ex, _ := b.Reserve(bg, bound, quota.Amounts{Tokens: 900}); ex == nil {
		t.Fatal("it was not leased")
	}
	run(t, a)
	waitFor(t, "the rest is the other's", func() bool {
		r, _, _ := b.Reserve(bg, bound, quota.Amounts{Tokens: 900})
		return r != nil
	})
	if _, ex, _ := a.Reserve(bg, bound, quota.Amounts{Tokens: 1}); ex == nil {
		t.Error("and still ours")
	}
	c := newNode(t, s.URL(), "", 2)
	settled(t, c)
	bound = tokens("y", 1000)
	r, _, _ = c.Reserve(bg, bound, quota.Amounts{Tokens: 900})
	r.Release()
	ctx, cancel := context.WithCancel(bg)
	cancel()
	c.Run(ctx)
	if r, ex, _ := b.Reserve(bg, bound, quota.Amounts{Tokens: 1000}); r == nil {
		t.Errorf("an ended node holds a lease: %+v", ex)
	}
}

// Calls at once are counted over both nodes; a node that dies gives its places back when they lapse.
func TestSharedConcurrency(t *testing.T) {
	s := redistest.Start(t)
	short := func(o *quota.Shared) { o.SlotTTL = 400 * time.Millisecond }
	a, b := newNode(t, s.URL(), "", 2, short), newNode(t, s.URL(), "", 2, short)
	settled(t, a, b)
	run(t, a)
	ctx, die := context.WithCancel(bg)
	defer die()
	bound := []quota.Bound{{Subject: "x", Unit: quota.Concurrency, Amount: 6}}
	var at, most atomic.Int64
	var wg sync.WaitGroup
	until := forAWhile(700 * time.Millisecond)
	for _, n := range []*node{a, b} {
		wg.Go(func() {
			if n == b {
				for !until() {
					n.Sync(ctx)
				}
			}
		})
		for range 6 {
			wg.Go(func() {
				for !until() {
					r, _, _ := n.Reserve(bg, bound, quota.Amounts{})
					if r == nil {
						time.Sleep(time.Millisecond)
						continue
					}
					k := at.Add(1)
					for m := most.Load(); k > m && !most.CompareAndSwap(m, k); m = most.Load() {
					}
					time.Sleep(time.Millisecond)
					at.Add(-1)
					r.Release()
				}
			})
		}
	}
	wg.Wait()
	t.Logf("%d at once of 6", most.Load())
	if most.Load() > 6 || most.Load() < 3 {
		t.Errorf("%d at once of 6", most.Load())
	}
	// b holds all it can get and is never heard of again.
	held := 0
	waitFor(t, "all places", func() bool {
		if r, _, _ := b.Reserve(bg, bound, quota.Amounts{}); r != nil {
			held++
		}
		b.Sync(bg)
		return held == 6
	})
	if r, _, _ := a.Reserve(bg, bound, quota.Amounts{}); r != nil {
		t.Error("a seventh call")
	}
	waitFor(t, "its places lapse", func() bool {
		r, _, _ := a.Reserve(bg, bound, quota.Amounts{})
		return r != nil
	})
}

func TestOpenRefusesNonsense(t *testing.T) {
	for _, o := range []redis.Options{{}, {URL: secret.New("http://user:hunter2@x")}, {URL: secret.New("redis://x"), Prefix: "a{b}"}} {
		if _, err := redis.Open(o); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%v", err)
		}
	}
	if _, err := quota.New(quota.Options{Shared: &quota.Shared{Node: "n"}}); err == nil {
		t.Error("no store")
	}
	if _, err := quota.New(quota.Options{Shared: &quota.Shared{Store: broken{}}}); err == nil {
		t.Error("no name")
	}
}

type broken struct{}

func (broken) Lease(context.Context, string, []quota.Ask) (quota.Answer, error) {
	return quota.Answer{}, errors.New("no")
}
