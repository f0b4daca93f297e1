package storetest

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sallyport.dev/sallyport/internal/iam/throttle"
	"sallyport.dev/sallyport/internal/store/memory"
)

// Tries runs the contract of throttle.Store, and of throttles of several nodes on one. open is as in Documents;
// its handles go by the clock.
func Tries(t *testing.T, open func(t *testing.T, c *Clock) func() throttle.Store) {
	for _, c := range []struct {
		name string
		run  func(t *testing.T, c *Clock, open func() throttle.Store)
	}{
		{"what was changed comes back, through another handle too", triesComeBack},
		{"a change that is refused, or fails, changes nothing", triesRefused},
		{"no change is lost between handles", triesCounter},
		{"of guesses at once on all nodes no more are tried than are free", triesAtOnce},
		{"a node that begins anew knows what was tried", triesRestart},
		{"any number of nodes let through what one does", triesModel},
		{"what has ended is swept, and nothing else", triesSweep},
	} {
		t.Run(c.name, func(t *testing.T) { clock := NewClock(); c.run(t, clock, open(t, clock)) })
	}
}

func place(n int) (p throttle.Place) {
	binary.BigEndian.PutUint64(p[8:], uint64(n)) //nolint:gosec // of a test
	p[0] = 0xff
	return p
}

func node(t require, s throttle.Store) *throttle.Throttle {
	t.Helper()
	th, err := throttle.New(s, []byte("a key of this test, 32 bytes long"))
	if err != nil {
		t.Fatal(err)
	}
	return th
}

func look(t require, s throttle.Store, places ...throttle.Place) (time.Time, []throttle.Cell) {
	t.Helper()
	now, cells, err := s.Look(bg, places)
	if err != nil || len(cells) != len(places) {
		t.Fatalf("%v, %v", cells, err)
	}
	for i := range cells { // times are moments, wherever
		cells[i].Last, cells[i].Ends = cells[i].Last.UTC(), cells[i].Ends.UTC()
	}
	return now, cells
}

func set(t require, s throttle.Store, c throttle.Cell, places ...throttle.Place) {
	t.Helper()
	err := s.Change(bg, places, func(_ time.Time, cells []throttle.Cell) bool {
		for i := range cells {
			cells[i] = c
		}
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
}

func triesComeBack(t *testing.T, c *Clock, open func() throttle.Store) {
	s := open()
	full := throttle.Cell{N: 7, Last: c.Now().Add(time.Microsecond), Ends: c.Now().Add(time.Hour)}
	now, cells := look(t, s, place(1), place(2))
	if !now.Equal(c.Now()) || !reflect.DeepEqual(cells, make([]throttle.Cell, 2)) {
		t.Errorf("of an empty store: %v, %v", now, cells)
	}
	set(t, s, full, place(2))
	if _, cells := look(t, open(), place(1), place(2), place(3)); !reflect.DeepEqual(cells, []throttle.Cell{{}, full, {}}) {
		t.Errorf("%+v", cells)
	}
	set(t, open(), throttle.Cell{}, place(2))
	if _, cells := look(t, s, place(2)); cells[0] != (throttle.Cell{}) {
		t.Errorf("%+v", cells)
	}
}

func triesRefused(t *testing.T, c *Clock, open func() throttle.Store) {
	s := open()
	set(t, s, throttle.Cell{N: 1, Last: c.Now(), Ends: c.Now()}, place(1))
	_, was := look(t, s, place(1), place(2))
	spoil := func(cells []throttle.Cell) {
		for i := range cells {
			cells[i] = throttle.Cell{N: 9}
		}
	}
	ps := []throttle.Place{place(1), place(2)}
	if err := s.Change(bg, ps, func(now time.Time, cells []throttle.Cell) bool {
		if !now.Equal(c.Now()) {
			t.Errorf("%v", now)
		}
		spoil(cells)
		return false
	}); err != nil {
		t.Error(err)
	}
	gone, cancel := context.WithCancel(bg)
	cancel()
	if err := s.Change(gone, ps, func(_ time.Time, cells []throttle.Cell) bool { spoil(cells); return true }); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if _, _, err := s.Look(gone, ps); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if _, is := look(t, open(), ps...); !reflect.DeepEqual(is, was) {
		t.Errorf("%+v, and was %+v", is, was)
	}
}

func triesCounter(t *testing.T, c *Clock, open func() throttle.Store) {
	const nodes, each = 4, 25
	var wg sync.WaitGroup
	for range nodes {
		s := open()
		wg.Go(func() {
			for range each {
				if err := s.Change(bg, []throttle.Place{place(1), place(2)}, func(now time.Time, cells []throttle.Cell) bool {
					for i := range cells {
						cells[i].N++
						cells[i].Ends = now.Add(time.Hour)
					}
					return true
				}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if _, cells := look(t, open(), place(1), place(2)); cells[0].N != nodes*each || cells[1].N != nodes*each {
		t.Errorf("%+v", cells)
	}
}

// Time stands still: each limit is met exactly, however many nodes are asked at once.
func triesAtOnce(t *testing.T, c *Clock, open func() throttle.Store) {
	const nodes, guesses = 4, 240
	var ths [nodes]*throttle.Throttle
	for i := range ths {
		ths[i] = node(t, open())
	}
	for _, x := range []struct {
		name string
		try  func(i int) throttle.Try
		want int
	}{
		{"one account, from everywhere", func(i int) throttle.Try {
			return throttle.Try{Account: "acme/alice", Addr: netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 1})}
		}, throttle.Free},
		{"one network, at every account", func(i int) throttle.Try {
			return throttle.Try{Account: fmt.Sprint("user", i), Addr: netip.AddrFrom4([4]byte{192, 0, 2, byte(i)})}
		}, throttle.PrefixBurst},
		{"everything at once", func(i int) throttle.Try {
			return throttle.Try{Account: fmt.Sprint("other", i), Addr: netip.AddrFrom4([4]byte{172, byte(i >> 8), byte(i), 1})}
		}, throttle.GlobalBurst},
	} {
		c.Advance(2 * throttle.Forget)
		var allowed atomic.Int64
		var wg sync.WaitGroup
		gate := make(chan struct{})
		for i := range guesses {
			wg.Go(func() {
				<-gate
				_, ok, err := ths[i%nodes].Allow(bg, x.try(i))
				if err != nil {
					t.Error(err)
				}
				if ok {
					allowed.Add(1)
				}
			})
		}
		close(gate)
		wg.Wait()
		// A machine that is slow sends some away before their turn: fewer, never more.
		if n := int(allowed.Load()); n > x.want || n < min(x.want, throttle.PrefixBurst) {
			t.Errorf("%s: %d are tried, %d may be", x.name, n, x.want)
		}
	}
}

func triesRestart(t *testing.T, _ *Clock, open func() throttle.Store) {
	try := throttle.Try{Account: "acme/alice", Addr: netip.MustParseAddr("192.0.2.1")}
	for n := range 2 * throttle.Free {
		_, ok, err := node(t, open()).Allow(bg, try)
		if err != nil || ok != (n < throttle.Free) {
			t.Errorf("try %d: %v, %v", n, ok, err)
		}
	}
	try.Device = "a known one"
	if _, ok, err := node(t, open()).Allow(bg, try); err != nil || !ok {
		t.Errorf("the owner, from a known device: %v, %v", ok, err)
	}
}

func triesModel(t *testing.T, c *Clock, open func() throttle.Store) {
	var ths [3]*throttle.Throttle
	for i := range ths {
		ths[i] = node(t, open())
	}
	stores := [3]throttle.Store{open(), open(), open()}
	round := 0
	rapid.Check(t, func(r *rapid.T) {
		round++
		c.Advance(2 * throttle.Forget)
		alone := &memory.Tries{Now: c.Now}
		one := node(r, alone)
		var open []throttle.Try // those that were allowed
		draw := func(r *rapid.T) (throttle.Try, *throttle.Throttle) {
			return throttle.Try{
				Account: fmt.Sprint(round, rapid.IntRange(0, 2).Draw(r, "account")),
				Addr:    netip.AddrFrom4([4]byte{10, 0, byte(rapid.IntRange(0, 1).Draw(r, "network")), 1}),
				Device:  rapid.SampledFrom([]string{"", "", "d"}).Draw(r, "device"),
			}, ths[rapid.IntRange(0, 2).Draw(r, "node")]
		}
		r.Repeat(map[string]func(*rapid.T){
			"try": func(r *rapid.T) {
				try, th := draw(r)
				after, ok, err := th.Allow(bg, try)
				want, wantOK, _ := one.Allow(bg, try)
				if err != nil || ok != wantOK || after != want {
					r.Fatalf("%v, %v, %v; one node says %v, %v", after, ok, err, want, wantOK)
				}
				if ok {
					open = append(open, try)
				}
			},
			"right": func(r *rapid.T) {
				if len(open) == 0 {
					return
				}
				i := rapid.IntRange(0, len(open)-1).Draw(r, "which")
				_, th := draw(r)
				th.Done(bg, open[i])
				one.Done(bg, open[i])
				open = slices.Delete(open, i, i+1)
			},
			"time": func(r *rapid.T) {
				c.Advance(rapid.SampledFrom([]time.Duration{time.Second, 7 * time.Second, time.Minute, time.Hour, -time.Minute}).Draw(r, "time"))
			},
			"sweep": func(r *rapid.T) {
				if _, err := stores[rapid.IntRange(0, 2).Draw(r, "node")].Sweep(bg); err != nil {
					r.Fatal(err)
				}
				_, _ = alone.Sweep(bg) // a clock that is set back afterwards finds the same
			},
		})
	})
}

func triesSweep(t *testing.T, c *Clock, open func() throttle.Store) {
	s := open()
	const n = 1203 // more than two batches
	ps := make([]throttle.Place, 0, n)
	for i := range n {
		ps = append(ps, place(i))
	}
	ends := c.Now().Add(time.Hour)
	for part := range slices.Chunk(ps, 9) {
		set(t, s, throttle.Cell{N: 1, Last: c.Now(), Ends: ends}, part...)
	}
	set(t, s, throttle.Cell{N: 1, Last: c.Now(), Ends: ends.Add(time.Microsecond)}, place(n))
	sweep := func(want int) {
		t.Helper()
		if got, err := open().Sweep(bg); err != nil || got != want {
			t.Errorf("%d are gone, want %d, %v", got, want, err)
		}
	}
	c.Advance(time.Hour - time.Microsecond)
	sweep(0)
	c.Advance(time.Microsecond)
	sweep(n)
	sweep(0)
	if _, cells := look(t, s, place(0), place(n)); cells[0] != (throttle.Cell{}) || cells[1].N != 1 {
		t.Errorf("%+v", cells)
	}
}
