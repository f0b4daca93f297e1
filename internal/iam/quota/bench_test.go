package quota_test

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sallyport.dev/sallyport/internal/iam/quota"
)

// BenchmarkReserve: four bounds a call, 100,000 keys of 1,000 teams in 100 tenants. Run with -cpu 1,2 to
// see that calls of different subjects do not wait for each other.
func BenchmarkReserve(b *testing.B) {
	e, _ := quota.New(quota.Options{})
	const keys = 100_000
	bounds := make([][]quota.Bound, keys)
	for i := range bounds {
		key := fmt.Sprint("key:", i)
		bounds[i] = []quota.Bound{
			{Subject: key, Unit: quota.Requests, Amount: 1 << 40, Window: quota.Minute},
			{Subject: key, Unit: quota.Tokens, Amount: 1 << 40, Window: quota.Day},
			{Subject: fmt.Sprint("team:", i%1000), Unit: quota.Cost, Amount: 1 << 40, Window: quota.Month},
			{Subject: fmt.Sprint("tenant:", i%100), Unit: quota.Cost, Amount: 1 << 40, Window: quota.Month},
		}
		r, _, _ := e.Reserve(bg, bounds[i], quota.Amounts{Requests: 1})
		r.Release()
	}
	est := quota.Amounts{Requests: 1, Tokens: 1000, Cost: 5000}
	for _, settle := range []bool{false, true} {
		b.Run(fmt.Sprintf("settle=%v", settle), func(b *testing.B) {
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					r, ex, err := e.Reserve(bg, bounds[rand.IntN(keys)], est)
					if r == nil {
						b.Fatal(ex, err)
					}
					if settle {
						r.Settle(quota.Amounts{Requests: 1, Tokens: 700, Cost: 3000})
					}
				}
			})
		})
	}
}

// Many calls at once, of calls that settle above, below and not at all: what was let through fits to
// the last unit, and when all have ended no place is taken.
func TestConcurrentCallsFitExactly(t *testing.T) {
	k := &clock{time.Unix(1e9, 0)}
	e, _ := quota.New(quota.Options{Now: k.now})
	tenant := one("tenant", quota.Tokens, 10_000, quota.Month)[0]
	var at, most, granted atomic.Int64
	var wg sync.WaitGroup
	for g := range 8 * runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			b := []quota.Bound{tenant, {Subject: "tenant", Unit: quota.Concurrency, Amount: 5}, {Subject: fmt.Sprint("key", g), Unit: quota.Requests, Amount: 400, Window: quota.Day}}
			for i := range 400 {
				r, ex, err := e.Reserve(bg, b, quota.Amounts{Requests: 1, Tokens: 10})
				if err != nil {
					t.Error(err)
					return
				}
				if ex != nil {
					runtime.Gosched()
					continue
				}
				n := at.Add(1)
				for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
				}
				used := int64(i % 11)
				granted.Add(used)
				runtime.Gosched()
				at.Add(-1)
				var both sync.WaitGroup
				both.Go(func() { r.Settle(quota.Amounts{Requests: 1, Tokens: used}) })
				r.Settle(quota.Amounts{Requests: 1, Tokens: used})
				both.Wait()
			}
		})
	}
	wg.Wait()
	if most.Load() > 5 {
		t.Errorf("%d calls at once of 5", most.Load())
	}
	if granted.Load() > 10_000 || e.Used(tenant) != granted.Load() {
		t.Errorf("%d used of 10000, %d on the books", granted.Load(), e.Used(tenant))
	}
	if n := e.Used(quota.Bound{Subject: "tenant", Unit: quota.Concurrency, Amount: 5}); n != 0 {
		t.Errorf("%d places are still taken", n)
	}
}
