package quota_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sallyport.dev/sallyport/internal/iam/quota"
)

type clock struct{ t time.Time }

func (c *clock) now() time.Time { return c.t }

type pending struct {
	r      *quota.Reservation
	est    quota.Amounts
	bounds []quota.Bound
	in     []int64 // window of each bound when reserved
	at     time.Time
	ended  bool
	lost   bool // its deadline has passed
}

func number(w quota.Window, t time.Time) int64 {
	switch w {
	case 0:
		return 0
	case quota.Month:
		return int64(t.Year())*12 + int64(t.Month()) - 1
	}
	return t.UnixNano() / int64(w)
}

func of(a quota.Amounts, u quota.Unit) int64 {
	return [...]int64{a.Requests, a.Tokens, a.Cost, a.Bytes, 1}[u]
}

// Budgets never overspend under any interleaving: whatever is reserved, settled below or above its
// estimate, released, settled twice or lost, over window edges, sweeps and a clock that steps both ways,
// the estimates granted in one window and what was charged to it never pass its amount; what calls used
// beyond their estimates is paid off later, by granting less; nothing is taken where one bound refuses.
func TestBudgetsNeverOverspend(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := &clock{time.Date(2026, 1, 31, 23, 59, 58, 0, time.UTC)}
		hold := time.Hour
		e, err := quota.New(quota.Options{Now: c.now, Hold: hold})
		if err != nil {
			t.Fatal(err)
		}
		pool := []quota.Bound{
			{Subject: "key:a", Unit: quota.Requests, Amount: 3, Window: quota.Second},
			{Subject: "key:a", Unit: quota.Tokens, Amount: 50, Window: quota.Minute},
			{Subject: "key:b", Unit: quota.Tokens, Amount: 50, Window: quota.Minute},
			{Subject: "tenant:t", Unit: quota.Tokens, Amount: 80, Window: quota.Hour},
			{Subject: "tenant:t", Unit: quota.Cost, Amount: 200, Window: quota.Month},
			{Subject: "tenant:t", Unit: quota.Bytes, Amount: 100, Window: quota.Day},
			{Subject: "key:a", Unit: quota.Concurrency, Amount: 2},
			{Subject: "tenant:t", Unit: quota.Concurrency, Amount: 3},
		}
		// A caller's bounds are prepared once, or with each call.
		known := map[string]*quota.Prepared{}
		reserve := func(bounds []quota.Bound, est quota.Amounts) (*quota.Reservation, *quota.Exceeded, error) {
			if rapid.Bool().Draw(t, "anew") {
				return e.Reserve(context.Background(), bounds, est)
			}
			id := fmt.Sprint(bounds)
			if known[id] == nil {
				if known[id], err = quota.Prepare(bounds); err != nil {
					t.Fatal(err)
				}
			}
			return e.ReservePrepared(context.Background(), known[id], est)
		}
		type window struct {
			b quota.Bound
			n int64
		}
		granted := map[window]int64{} // estimates granted, less what was given back
		total := map[quota.Bound]int64{}
		seen := map[quota.Bound]map[int64]bool{}
		open := map[quota.Bound]bool{}    // there is an account
		latest := map[quota.Bound]int64{} // the window that it is in
		var calls []*pending
		floor := c.t // when it was last swept: no time before it comes again
		floor = floor.Add(-1000 * 24 * time.Hour)
		now := func() time.Time {
			if c.t.Before(floor) {
				return floor
			}
			return c.t
		}
		enter := func(b quota.Bound) int64 {
			n := number(b.Window, now())
			if open[b] {
				n = max(n, latest[b])
			}
			open[b], latest[b] = true, n
			if seen[b] == nil {
				seen[b] = map[int64]bool{}
			}
			seen[b][n] = true
			return n
		}
		running := func(b quota.Bound) (n int64) {
			for _, p := range calls {
				for _, x := range p.bounds {
					if x == b && !p.ended && !p.lost {
						n++
					}
				}
			}
			return n
		}
		t.Repeat(map[string]func(*rapid.T){
			"reserve": func(t *rapid.T) {
				p := &pending{bounds: rapid.SliceOfNDistinct(rapid.SampledFrom(pool), 1, len(pool), rapid.ID[quota.Bound]).Draw(t, "bounds"), at: now()}
				p.est = quota.Amounts{Requests: 1, Tokens: rapid.Int64Range(0, 90).Draw(t, "tokens"), Cost: rapid.Int64Range(0, 90).Draw(t, "cost"), Bytes: rapid.Int64Range(0, 60).Draw(t, "bytes")}
				before := map[quota.Bound]int64{}
				for _, b := range pool {
					before[b] = e.Used(b)
					if open[b] {
						enter(b)
					}
				}
				r, ex, err := reserve(p.bounds, p.est)
				if err != nil || (r == nil) == (ex == nil) {
					t.Fatal(r, ex, err)
				}
				if ex != nil {
					if ex.Retry <= 0 && !ex.Never {
						t.Fatalf("%+v: no time to retry", ex)
					}
					fits, tried := true, true
					for _, b := range pool {
						if got := e.Used(b); got != before[b] {
							t.Fatalf("refused, and yet %v went from %d to %d", b, before[b], got)
						}
					}
					for _, b := range p.bounds {
						if tried {
							enter(b)
						}
						tried = tried && b != ex.Bound
						n := of(p.est, b.Unit)
						fits = fits && (n == 0 || n <= b.Amount-before[b])
					}
					if fits {
						t.Fatalf("refused by %+v though there was room: %v", ex, before)
					}
					return
				}
				p.r = r
				calls = append(calls, p)
				for _, b := range p.bounds {
					n := enter(b)
					p.in = append(p.in, n)
					granted[window{b, n}] += of(p.est, b.Unit)
					total[b] += of(p.est, b.Unit)
					if b.Unit == quota.Concurrency {
						if k := running(b); k > b.Amount {
							t.Fatalf("%d calls at once for %v", k, b)
						}
					} else if g := granted[window{b, n}]; g > b.Amount && of(p.est, b.Unit) > 0 {
						t.Fatalf("%d granted of %+v", g, b)
					}
				}
			},
			"settle": func(t *rapid.T) {
				if len(calls) == 0 {
					t.Skip()
				}
				p := rapid.SampledFrom(calls).Draw(t, "call")
				used := quota.Amounts{Requests: 1, Tokens: rapid.Int64Range(0, 200).Draw(t, "tokens"), Cost: rapid.Int64Range(0, 500).Draw(t, "cost"), Bytes: rapid.Int64Range(0, 100).Draw(t, "bytes")}
				if rapid.Bool().Draw(t, "release") {
					used = quota.Amounts{}
				}
				if p.r.Settle(used) == p.ended {
					t.Fatal("ended twice, or not once")
				}
				if p.ended {
					return
				}
				p.ended = true
				for i, b := range p.bounds {
					if b.Unit == quota.Concurrency {
						continue
					}
					more := of(used, b.Unit) - of(p.est, b.Unit)
					if more == 0 {
						continue
					}
					n := enter(b)
					switch {
					case more > 0:
						total[b] += more
						granted[window{b, n}] += more // charged to the window that is now
					case n == p.in[i] && now().Before(p.at.Add(hold)):
						total[b] += more
						granted[window{b, n}] += more
					}
				}
			},
			"step": func(t *rapid.T) {
				d := rapid.SampledFrom([]time.Duration{time.Millisecond, time.Second, 20 * time.Second, time.Minute, 30 * time.Minute, time.Hour, 24 * time.Hour, 40 * 24 * time.Hour, -time.Second, -time.Hour, -48 * time.Hour}).Draw(t, "d")
				c.t = c.t.Add(d)
			},
			"sweep": func(t *rapid.T) {
				floor = now()
				for _, b := range pool {
					// What says nothing is forgotten.
					if open[b] && enter(b) <= number(b.Window, floor) && e.Used(b) == 0 {
						open[b] = false
					}
				}
				e.Sweep()
			},
			"": func(t *rapid.T) {
				for _, p := range calls {
					p.lost = p.lost || !now().Before(p.at.Add(hold))
				}
				for _, b := range pool {
					if b.Unit == quota.Concurrency {
						continue
					}
					if !open[b] {
						continue
					}
					n, used := enter(b), e.Used(b)
					if g := granted[window{b, n}]; used < g {
						t.Fatalf("%+v: %d on the books of this window, %d were used", b, used, g)
					}
					// Nothing is lost: what all windows were charged is what they could pay for, at most
					// their amount each, and the rest is still on the books.
					first := n
					for k := range seen[b] {
						first = min(first, k)
					}
					windows := n - first
					if paid := total[b] - used; paid > windows*b.Amount {
						t.Fatalf("%+v: %d charged, %d on the books after %d windows", b, total[b], used, windows)
					}
				}
			},
		})
	})
}
