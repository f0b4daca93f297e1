package redis_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"sallyport.dev/sallyport/internal/iam/quota"
	"sallyport.dev/sallyport/internal/secret"
	"sallyport.dev/sallyport/internal/store/redis"
	"sallyport.dev/sallyport/internal/store/redistest"
)

// Redis is killed under load, stays away, and comes back empty: the nodes go on with their shares, what
// is used stays within the stated overshoot, each is told once that it is away and once that it is back,
// and once it is back it knows what was used.
func TestRedisIsKilledUnderLoad(t *testing.T) {
	for _, back := range []bool{false, true} {
		t.Run(fmt.Sprintf("back=%v", back), func(t *testing.T) {
			s := redistest.Start(t)
			a, b := newNode(t, s.URL(), "", 2), newNode(t, s.URL(), "", 2)
			settled(t, a, b)
			run(t, a, b)
			const amount = 30_000
			bound := tokens("tenant:x", amount)
			used := spend([]*node{a, b}, bound, 10, forAWhile(15*time.Millisecond))
			var wg sync.WaitGroup
			wg.Go(func() {
				s.Kill()
				if back {
					waitFor(t, "both notice", func() bool { return len(a.told()) == 1 && len(b.told()) == 1 })
					s.Up()
				}
			})
			used += spend([]*node{a, b}, bound, 10, forAWhile(time.Second))
			wg.Wait()
			if back {
				waitFor(t, "both are told", func() bool { return len(a.told()) == 2 && len(b.told()) == 2 })
				settled(t, a, b)
			} else {
				waitFor(t, "both notice", func() bool { return len(a.told()) == 1 && len(b.told()) == 1 })
			}
			used += spend([]*node{a, b}, bound, 10, forAWhile(300*time.Millisecond))
			t.Logf("%d of %d used, overshoot %.1f %%", used, amount, 100*float64(used-amount)/amount)
			if used > amount+amount/2+2 {
				t.Errorf("%d used: more than %d and the stated overshoot", used, amount)
			}
			if used < amount/2 {
				t.Errorf("%d used: the nodes stopped", used)
			}
			for _, n := range []*node{a, b} {
				fs := n.told()
				if fs[0] == nil || back && fs[1] != nil || len(fs) > 2 {
					t.Errorf("told %v", fs)
				}
			}
			if back {
				c := newNode(t, s.URL(), "", 2)
				settled(t, c)
				waitFor(t, "a new node is told what was used", func() bool {
					_, ex, _ := c.Reserve(bg, bound, quota.Amounts{Tokens: max(1, amount-used+1)})
					return ex != nil
				})
			}
		})
	}
}

// A Redis that was never there, one that wants a password, one that hangs: the node has its share, and a
// call waits at most once.
func TestWithoutRedisANodeHasItsShare(t *testing.T) {
	wrong, hung := redistest.Start(t, "--requirepass", "secret"), redistest.Start(t)
	hung.Freeze()
	defer hung.Thaw()
	for what, url := range map[string]secret.String{"refused": secret.New("redis://127.0.0.1:1/0"), "password": wrong.URL(), "hung": hung.URL()} {
		n := newNode(t, url, "", 4, func(o *quota.Shared) { o.Wait = 100 * time.Millisecond })
		passed := int64(0)
		start := time.Now()
		for range 2000 {
			if r, _, err := n.Reserve(bg, tokens("x", 1000), quota.Amounts{Tokens: 1}); r != nil {
				passed++
			} else if err != nil {
				t.Fatal(err)
			}
		}
		took := time.Since(start)
		t.Logf("%s: %d passed, 2000 calls took %v, told %v", what, passed, took, n.told())
		if passed != 250 || len(n.told()) != 1 || n.told()[0] == nil || took > 2*time.Second {
			t.Errorf("%s: %d of a share of 250, %v, told %v", what, passed, took, n.told())
		}
		var places int
		for range 10 {
			if r, _, _ := n.Reserve(bg, []quota.Bound{{Subject: "x", Unit: quota.Concurrency, Amount: 8}}, quota.Amounts{}); r != nil {
				places++
			}
		}
		if places != 2 {
			t.Errorf("%s: %d places of a share of 2", what, places)
		}
		if strings.Contains(fmt.Sprint(n.told()), "secret") {
			t.Error("the password is in the error")
		}
	}
}

// Everything in Redis is deleted at once, under a node that has used half: it says so again, and nothing
// is given out twice.
func TestLostStateIsDeclaredAgain(t *testing.T) {
	s := redistest.Start(t)
	a, b := newNode(t, s.URL(), "", 2), newNode(t, s.URL(), "", 2)
	settled(t, a, b)
	bound := tokens("x", 1000)
	for range 8 {
		if r, ex, _ := a.Reserve(bg, bound, quota.Amounts{Tokens: 100}); r == nil {
			t.Fatal(ex)
		}
	}
	s.Kill()
	s.Up()
	a.Sync(bg) // may notice the broken connection only
	a.Sync(bg)
	b.Sync(bg)
	b.Sync(bg)
	settled(t, a, b)
	n := 0
	for _, e := range []*node{b, a, b} {
		for range 100 {
			if r, _, _ := e.Reserve(bg, bound, quota.Amounts{Tokens: 10}); r != nil {
				n += 10
			}
		}
		e.Sync(bg)
	}
	if n > 200 {
		t.Errorf("%d more of the 200 that were left", n)
	}
	if n < 100 {
		t.Errorf("only %d of the 200 that were left", n)
	}
}

// A Redis that came back empty grants nothing before the nodes have said what they hold: until then a
// node that knows of nothing has its share, not the whole amount once more.
func TestAnEmptyRedisGrantsNothingYet(t *testing.T) {
	s := redistest.Start(t)
	a := newNode(t, s.URL(), "", 2)
	settled(t, a)
	bound := tokens("x", 1000)
	for range 8 {
		if r, ex, _ := a.Reserve(bg, bound, quota.Amounts{Tokens: 100}); r == nil {
			t.Fatal(ex)
		}
	}
	s.Kill()
	s.Up()
	patient, err := redis.Open(redis.Options{URL: s.URL(), Settle: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	defer patient.Close()
	b := newNode(t, s.URL(), "", 2, func(o *quota.Shared) { o.Store = patient })
	n := 0
	for range 200 {
		if r, _, _ := b.Reserve(bg, bound, quota.Amounts{Tokens: 10}); r != nil {
			n += 10
		}
	}
	if n != 500 || !b.Local() || len(b.told()) != 0 {
		t.Errorf("%d of a share of 500, local %v, told %v", n, b.Local(), b.told())
	}
	// Once all have spoken everybody knows, and nothing more passes anywhere.
	a.Sync(bg)
	a.Sync(bg)
	b.Sync(bg)
	settled(t, a)
	for _, e := range []*node{a, b} {
		if r, _, _ := e.Reserve(bg, bound, quota.Amounts{Tokens: 10}); r != nil {
			t.Error("more still passes")
		}
	}
}
