package quota_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sallyport.dev/sallyport/internal/iam/quota"
)

type clock struct{ at atomic.Int64 }

func (c *clock) now() time.Time          { return time.Unix(0, c.at.Load()).UTC() }
func (c *clock) advance(d time.Duration) { c.at.Add(int64(d)) }

func newQuotas() (*quota.Quotas, *clock) {
	c := &clock{}
	c.at.Store(time.Date(2031, 5, 6, 7, 0, 0, 0, time.UTC).UnixNano())
	return quota.New(c.now), c
}

func bound(u quota.Unit, n int64, w time.Duration) quota.Bound {
	return quota.Bound{Subject: "key:a", Unit: u, Amount: n, Window: w}
}

func TestWindows(t *testing.T) {
	q, c := newQuotas()
	b := []quota.Bound{bound(quota.Requests, 2, time.Hour)}
	take := func() *quota.Exceeded {
		r, e := q.Reserve(b, quota.Use{})
		r.Settle(quota.Use{})
		return e
	}
	if take() != nil || take() != nil {
		t.Fatal("within the limit")
	}
	c.advance(20 * time.Minute)
	if e := take(); e == nil || e.Used != 2 || e.Reset != 40*time.Minute || e.Bound != b[0] {
		t.Fatalf("%+v", e)
	}
	c.advance(40*time.Minute - 1)
	if take() == nil {
		t.Error("a moment before the hour")
	}
	c.advance(1)
	if take() != nil {
		t.Error("in the next hour")
	}
	c.advance(-2 * time.Hour) // a clock that steps back opens nothing
	if take() != nil || take() == nil {
		t.Error("after the clock stepped back")
	}
}

func TestAllOrNothing(t *testing.T) {
	q, _ := newQuotas()
	wide, narrow := bound(quota.Tokens, 1000, time.Hour), quota.Bound{Subject: "team:x", Unit: quota.Tokens, Amount: 10, Window: time.Hour}
	if _, e := q.Reserve([]quota.Bound{wide, narrow}, quota.Use{Tokens: 11}); e == nil || e.Bound != narrow {
		t.Fatalf("%+v", e)
	}
	if n := q.Used(wide); n != 0 {
		t.Errorf("%d are held of a call that was refused", n)
	}
}

func TestSettling(t *testing.T) {
	q, c := newQuotas()
	b := []quota.Bound{bound(quota.Tokens, 100, time.Hour)}
	r, _ := q.Reserve(b, quota.Use{Tokens: 90})
	if _, e := q.Reserve(b, quota.Use{Tokens: 20}); e == nil {
		t.Fatal("what is reserved was given away")
	}
	r.Settle(quota.Use{Tokens: 30})
	r.Settle(quota.Use{Tokens: 0}) // once only
	r.Release()
	if n := q.Used(b[0]); n != 30 {
		t.Fatalf("%d used", n)
	}
	r, _ = q.Reserve(b, quota.Use{Tokens: 70})
	r.Settle(quota.Use{Tokens: 400}) // more than was thought: a debt
	for i, passes := range []bool{false, false, false, false, true} {
		r, e := q.Reserve(b, quota.Use{Tokens: 60})
		if (e == nil) != passes {
			t.Errorf("%d hours later: %+v", i, e)
		}
		r.Release()
		c.advance(time.Hour)
	}
	// A call that outlives its window gives nothing back to the next one.
	b[0].Subject = "key:b"
	r, _ = q.Reserve(b, quota.Use{Tokens: 90})
	c.advance(time.Hour)
	next, _ := q.Reserve(b, quota.Use{Tokens: 50})
	r.Settle(quota.Use{Tokens: 10})
	if n := q.Used(b[0]); n != 50 {
		t.Errorf("%d used in the next window", n)
	}
	next.Release()
	if n := q.Used(b[0]); n != 0 {
		t.Errorf("%d used after a release", n)
	}
}

func TestCallsAtOnce(t *testing.T) {
	q, c := newQuotas()
	b := []quota.Bound{bound(quota.Calls, 2, 0)}
	one, _ := q.Reserve(b, quota.Use{})
	two, _ := q.Reserve(b, quota.Use{})
	c.advance(100 * time.Hour)
	if _, e := q.Reserve(b, quota.Use{}); e == nil || e.Reset != 0 {
		t.Fatalf("%+v", e)
	}
	one.Settle(quota.Use{Tokens: 5})
	two.Release()
	if q.Used(b[0]) != 0 {
		t.Error("ended calls are held")
	}
}

func TestNothingIsRefusedAlways(t *testing.T) {
	q, _ := newQuotas()
	if _, e := q.Reserve([]quota.Bound{bound(quota.Requests, 0, time.Hour)}, quota.Use{}); e == nil {
		t.Error("a limit of nothing lets a call through")
	}
	if _, e := q.Reserve([]quota.Bound{bound(quota.Tokens, 10, time.Hour)}, quota.Use{Tokens: 11}); e == nil {
		t.Error("a call larger than the whole limit passes")
	}
}

func TestIdleSubjectsAreForgotten(t *testing.T) {
	q, c := newQuotas()
	for i := range 100 {
		r, _ := q.Reserve([]quota.Bound{{Subject: fmt.Sprint(i), Unit: quota.Requests, Amount: 5, Window: time.Minute}}, quota.Use{})
		r.Settle(quota.Use{})
	}
	held, _ := q.Reserve([]quota.Bound{bound(quota.Calls, 5, 0)}, quota.Use{})
	q.Sweep()
	if q.Len() != 101 {
		t.Fatalf("%d while their window runs", q.Len())
	}
	c.advance(2 * time.Minute)
	q.Sweep()
	if q.Len() != 1 {
		t.Errorf("%d after their window", q.Len())
	}
	held.Release()
	q.Sweep()
	if q.Len() != 0 {
		t.Errorf("%d after the last call ended", q.Len())
	}
}

// Under any order of reserving, settling within what was reserved, releasing, sweeping and time going
// on, no more is used in a window than its limit.
func TestNeverOverspent(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		q, c := newQuotas()
		limit := rapid.Int64Range(0, 50).Draw(t, "limit")
		bounds := []quota.Bound{
			{Subject: "key", Unit: quota.Tokens, Amount: limit, Window: time.Minute},
			{Subject: "team", Unit: quota.Tokens, Amount: 2 * limit, Window: 3 * time.Minute},
			{Subject: "key", Unit: quota.Calls, Amount: 3},
		}
		type open struct {
			r      *quota.Reservation
			n      int64
			minute int64
		}
		var calls []open
		spent := map[int64]int64{} // by the minute in which it was reserved
		minute := func() int64 { return c.now().Unix() / 60 }
		end := func(t *rapid.T) open {
			if len(calls) == 0 {
				t.Skip()
			}
			i := rapid.IntRange(0, len(calls)-1).Draw(t, "which")
			o := calls[i]
			calls = append(calls[:i], calls[i+1:]...)
			return o
		}
		t.Repeat(map[string]func(*rapid.T){
			"reserve": func(t *rapid.T) {
				n := rapid.Int64Range(0, 20).Draw(t, "n")
				if r, e := q.Reserve(bounds, quota.Use{Tokens: n}); e == nil {
					calls = append(calls, open{r, n, minute()})
				}
				if len(calls) > 3 {
					t.Fatalf("%d calls at once", len(calls))
				}
			},
			"settle": func(t *rapid.T) {
				o := end(t)
				n := rapid.Int64Range(0, o.n).Draw(t, "used")
				spent[o.minute] += n
				o.r.Settle(quota.Use{Tokens: n})
			},
			"release": func(t *rapid.T) { end(t).r.Release() },
			"sweep":   func(*rapid.T) { q.Sweep() },
			"time":    func(t *rapid.T) { c.advance(time.Duration(rapid.IntRange(0, 90).Draw(t, "s")) * time.Second) },
			"": func(t *rapid.T) {
				for m, n := range spent {
					held := int64(0)
					for _, o := range calls {
						if o.minute == m {
							held += o.n
						}
					}
					if n+held > limit {
						t.Fatalf("%d of %d in one minute", n+held, limit)
					}
				}
			},
		})
	})
}

func TestAtOnce(t *testing.T) {
	q, _ := newQuotas()
	b := []quota.Bound{bound(quota.Tokens, 1000, time.Hour), bound(quota.Calls, 7, 0)}
	var spent, calls, most atomic.Int64
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for i := range 500 {
				r, e := q.Reserve(b, quota.Use{Tokens: 5})
				if e != nil {
					if i%50 == 0 {
						q.Sweep()
					}
					continue
				}
				if n := calls.Add(1); n > most.Load() {
					most.Store(n)
				}
				spent.Add(3)
				calls.Add(-1)
				r.Settle(quota.Use{Tokens: 3})
			}
		})
	}
	wg.Wait()
	if spent.Load() > 1000 || most.Load() > 7 || q.Used(b[0]) != spent.Load() || q.Used(b[1]) != 0 {
		t.Errorf("%d spent, %d counted, %d at once", spent.Load(), q.Used(b[0]), most.Load())
	}
}

func BenchmarkReserve(b *testing.B) {
	q := quota.New(nil)
	const n = 100_000
	names := make([][4]quota.Bound, n)
	for i := range names {
		key, team := fmt.Sprintf("key:%d", i), fmt.Sprintf("team:%d", i%1000)
		names[i] = [4]quota.Bound{
			{Subject: key, Unit: quota.Requests, Amount: 1 << 40, Window: time.Minute}, {Subject: key, Unit: quota.Tokens, Amount: 1 << 40, Window: time.Hour},
			{Subject: key, Unit: quota.Calls, Amount: 1 << 40}, {Subject: team, Unit: quota.Cost, Amount: 1 << 40, Window: 24 * time.Hour},
		}
	}
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		i := 0
		for pb.Next() {
			i = (i + 7919) % n
			r, e := q.Reserve(names[i][:], quota.Use{Tokens: 1000, Cost: 5})
			if e != nil {
				b.Fatal(e)
			}
			r.Settle(quota.Use{Tokens: 100, Cost: 1})
		}
	})
}
