package places

import (
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"
)

type world struct {
	t    testing.TB
	at   time.Time
	d    *Detector
	seen []Sighting
}

func newWorld(t testing.TB, o Options) *world {
	t.Helper()
	w := &world{t: t, at: time.Unix(1_800_000_000, 0)}
	o.Now = func() time.Time { return w.at }
	o.Report = func(s Sighting) { w.seen = append(w.seen, s) }
	var err error
	if w.d, err = New(o); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) note(addr string, after time.Duration) {
	w.at = w.at.Add(after)
	w.d.Note("k", netip.MustParseAddr(addr), false)
}

func (w *world) want(n int) {
	w.t.Helper()
	if len(w.seen) != n {
		w.t.Fatalf("%d reports, want %d: %v", len(w.seen), n, w.seen)
	}
}

const a, b, c, a6, b6 = "192.0.2.7", "198.51.100.9", "203.0.113.4", "2001:db8:1::1", "2001:db8:2::1"

func TestTwoPlacesAtOnce(t *testing.T) {
	for name, two := range map[string][2]string{"v4": {a, b}, "v6": {a6, b6}, "mapped": {"::ffff:" + a, b}} {
		w := newWorld(t, Options{})
		for range 5 {
			w.note(two[0], time.Second)
			w.note(two[1], time.Second)
		}
		if w.want(1); w.seen[0].Key != "k" || w.seen[0].From[0] == w.seen[0].From[1] || w.seen[0].At.IsZero() {
			t.Error(name, w.seen)
		}
		for range 100 { // once an hour only
			w.note(two[0], 15*time.Second)
			w.note(two[1], 15*time.Second)
		}
		w.want(1)
		for range 30 {
			w.note(two[0], time.Minute)
			w.note(two[1], 5*time.Second)
		}
		w.want(2)
	}
}

// A thief who is slow is found as well: each a call in turn every half minute.
func TestSlowAlternation(t *testing.T) {
	w := newWorld(t, Options{})
	for range 30 {
		w.note(a, 15*time.Second)
		w.note(b, 15*time.Second)
	}
	w.want(1)
}

// A thief who changes his address with every call does not hide: the owner always comes back.
func TestRotatingAddresses(t *testing.T) {
	w := newWorld(t, Options{})
	for i := range 6 {
		w.note(a, time.Second)
		w.note(fmt.Sprintf("203.0.%d.1", i), time.Second)
	}
	w.want(1)
}

func TestRoamingIsNone(t *testing.T) {
	w := newWorld(t, Options{})
	for i := range 200 { // a train: always new networks
		w.note(fmt.Sprintf("10.%d.%d.1", i/100, i%100), time.Second)
	}
	w.want(0)
	for range 50 { // home, road, office, road, home
		for _, x := range []string{a, b, c, b} {
			w.note(x, 11*time.Minute)
		}
	}
	w.want(0)
	for range 20 { // a link that flaps twice in a quarter of an hour
		for _, x := range []string{a, b, a} {
			w.note(x, 3*time.Second)
		}
		w.at = w.at.Add(8 * time.Minute)
	}
	w.want(0)
	for range 500 { // one network, many addresses
		w.note("192.0.2.1", time.Second)
		w.note("192.0.2.250", 0)
	}
	for range 500 { // IPv4 and IPv6 of one client, as it pleases
		w.note(a, 0)
		w.note(a6, time.Second)
	}
	w.want(0)
}

func TestExemptions(t *testing.T) {
	w := newWorld(t, Options{Pools: []netip.Prefix{netip.MustParsePrefix("198.51.0.0/16")}, Exempt: []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}})
	for i := range 100 {
		w.note(fmt.Sprintf("198.51.%d.1", i%7), time.Second) // a pool is one place
		w.note(c, time.Second)                               // exempt
		w.d.Note("shared", netip.MustParseAddr(a), true)
		w.d.Note("shared", netip.MustParseAddr(b), true)
		w.d.Note("k", netip.Addr{}, false)
	}
	w.want(0)
	for range 5 { // a pool is a place all the same
		w.note(a, time.Second)
		w.note("198.51.3.3", time.Second)
	}
	w.want(1)
}

func TestMemoryIsBounded(t *testing.T) {
	w := newWorld(t, Options{})
	for i := range MaxKeys + 10 {
		w.d.Note(fmt.Sprint(i), netip.MustParseAddr(a), false)
	}
	if w.d.Keys() != MaxKeys || w.d.Dropped() != 10 {
		t.Fatal(w.d.Keys(), w.d.Dropped())
	}
	w.at = w.at.Add(Quiet / 2)
	w.d.Note("1", netip.MustParseAddr(a), false)
	w.at = w.at.Add(Quiet / 2)
	w.d.Sweep()
	if w.d.Keys() != 1 {
		t.Fatal(w.d.Keys())
	}
}

func TestClockSetBack(t *testing.T) {
	w := newWorld(t, Options{})
	for range 20 {
		w.note(a, -time.Minute)
		w.note(b, -time.Minute)
	}
	w.want(0)
}

func TestConcurrentUseReportsOnce(t *testing.T) {
	var n atomic.Int64
	d, err := New(Options{Report: func(Sighting) { n.Add(1) }})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for i := range 8 {
		addr := netip.MustParseAddr([]string{a, b}[i%2])
		wg.Go(func() {
			for range 2000 {
				d.Note("k", addr, false)
			}
		})
	}
	wg.Go(func() {
		for range 50 {
			d.Sweep()
		}
	})
	wg.Wait()
	for range 5 { // in case each ran to its end before the next began
		d.Note("k", netip.MustParseAddr(a), false)
		d.Note("k", netip.MustParseAddr(b), false)
	}
	if n.Load() != 1 {
		t.Fatal(n.Load())
	}
}

// Whatever is done, no more than one report an hour and key, and none for a key that stays in a place.
func TestAnySequence(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld(t, Options{})
		addrs := rapid.SampledFrom([]string{a, b, c, a6, b6})
		w.at = w.at.Add(time.Duration(rapid.IntRange(0, 1000).Draw(rt, "start")) * time.Second)
		for range rapid.IntRange(0, 60).Draw(rt, "n") {
			w.note(addrs.Draw(rt, "addr"), time.Duration(rapid.IntRange(0, 900).Draw(rt, "s"))*time.Second)
			w.d.Note("still", netip.MustParseAddr(a), false)
		}
		last := time.Time{}
		for _, s := range w.seen {
			if s.Key != "k" || s.At.Sub(last) < Quiet {
				rt.Fatal(w.seen)
			}
			last = s.At
		}
	})
}

func TestRefusals(t *testing.T) {
	report := func(Sighting) {}
	for _, o := range []Options{{}, {Report: report, Pools: []netip.Prefix{{}}}, {Report: report, Exempt: []netip.Prefix{netip.MustParsePrefix("10.0.0.1/8")}}} {
		if _, err := New(o); err == nil {
			t.Errorf("%+v", o.Pools)
		}
	}
}

func BenchmarkNote(bb *testing.B) {
	d, _ := New(Options{Report: func(Sighting) {}})
	addr := netip.MustParseAddr(a)
	bb.ReportAllocs()
	bb.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			d.Note("k", addr, false)
		}
	})
}
