package throttle

import (
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"
)

type clock struct{ at time.Time }

func (c *clock) now() time.Time { return c.at }

func start() *clock { return &clock{time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)} }

// addr is one of 1,000 addresses in 1,000 networks.
func addr(i int) netip.Addr {
	return netip.AddrFrom4([4]byte{10, byte(i % 1000 / 250), byte(i % 250), 9})
}

// The attack of the design: 1e5 guesses in an hour from 1,000 addresses on one account. Fails with no delay per account.
func TestAnAttackOnOneAccount(t *testing.T) {
	c := start()
	th := New(c.now)
	begin, evaluated := c.at, 0
	for i := range 100_000 {
		c.at = begin.Add(time.Duration(i) * time.Hour / 100_000)
		if _, ok := th.Allow(Try{Account: "acme/alice", Addr: addr(i)}); ok {
			evaluated++
		}
		if i%5000 == 2500 { // the real one, from the device she always uses, in the midst of it
			owner := Try{Account: "acme/alice", Addr: addr(i), Device: "dev_1"}
			if wait, ok := th.Allow(owner); !ok {
				t.Fatalf("the owner waits %v", wait)
			}
			th.Done(owner)
		}
	}
	t.Logf("%d of 100,000 guesses evaluated in an hour", evaluated)
	if evaluated > 100 || evaluated < 10 {
		t.Error("not within 10 to 100")
	}
	// And nobody is locked out for good: a minute after the attack even an unknown device is let in.
	c.at = c.at.Add(MaxDelay)
	if wait, ok := th.Allow(Try{Account: "acme/alice", Addr: netip.MustParseAddr("192.0.2.1")}); !ok {
		t.Errorf("after the attack the owner waits %v more", wait)
	}
}

// The owner's own sign-ins must not give guessers a new start.
func TestTheOwnersSuccessIsNoFreshStart(t *testing.T) {
	c := start()
	th := New(c.now)
	evaluated, came := 0, 0
	owner := func() {
		own := Try{Account: "a", Addr: netip.MustParseAddr("192.0.2.1")}
		if _, ok := th.Allow(own); ok {
			th.Done(own)
			came++
		}
	}
	for i := range 3600 {
		c.at = c.at.Add(time.Second)
		if i%2 == 0 { // now and then the owner is there before the guesser
			owner()
		}
		if _, ok := th.Allow(Try{Account: "a", Addr: addr(i)}); ok {
			evaluated++
		}
		owner()
	}
	t.Logf("%d guesses were looked at, the owner came %d times", evaluated, came)
	if evaluated > 100 || came < 2 {
		t.Error("too many guesses, or no owner")
	}
	c.at = c.at.Add(MaxDelay)
	before := came
	owner()
	if _, ok := th.Allow(Try{Account: "a", Addr: addr(1)}); ok || came == before {
		t.Error("after the owner came, a guess is looked at at once")
	}
}

func TestManyAtOnceAreCountedBeforeTheFirstAnswer(t *testing.T) {
	c := start()
	th := New(c.now)
	var ok atomic.Int32
	var wg sync.WaitGroup
	for i := range 1000 {
		wg.Go(func() {
			if _, yes := th.Allow(Try{Account: "a", Addr: addr(i)}); yes {
				ok.Add(1)
			}
		})
	}
	wg.Wait()
	if ok.Load() != Free {
		t.Errorf("%d", ok.Load())
	}
}

func TestDelays(t *testing.T) {
	c := start()
	th := New(c.now)
	try := Try{Account: "a", Addr: addr(0)}
	var got []time.Duration
	for len(got) < 12 {
		if wait, ok := th.Allow(try); !ok {
			got = append(got, wait)
			if again, ok := th.Allow(try); ok || again != wait {
				t.Fatal("knocking changes the wait")
			}
			c.at = c.at.Add(wait)
		}
	}
	want := []time.Duration{1, 2, 4, 8, 16, 32, 60, 60, 60, 60, 60, 60}
	for i := range want {
		if got[i] != want[i]*time.Second {
			t.Fatalf("%v", got)
		}
	}
	c.at = c.at.Add(Forget)
	if _, ok := th.Allow(try); !ok {
		t.Error("not forgotten")
	}
	c.at = c.at.Add(-48 * time.Hour) // the clock is set back
	if wait, _ := th.Allow(try); wait > MaxDelay {
		t.Errorf("%v", wait)
	}
}

// One network guesses at many accounts.
func TestSprayingFromOneNetwork(t *testing.T) {
	c := start()
	th := New(c.now)
	n := 0
	for i := range 36_000 {
		c.at = c.at.Add(100 * time.Millisecond)
		if _, ok := th.Allow(Try{Account: fmt.Sprint("user", i), Addr: netip.MustParseAddr("2001:db8::").Next()}); ok {
			n++
		}
	}
	if n > 1220 || n < 1100 {
		t.Errorf("%d", n)
	}
	if _, ok := th.Allow(Try{Account: "someone", Addr: netip.MustParseAddr("2001:db8:0:1::1")}); !ok {
		t.Error("the neighbour network is refused too")
	}
}

func TestAllTogether(t *testing.T) {
	c := start()
	th := New(c.now)
	n := 0
	for i := range 100_000 {
		if _, ok := th.Allow(Try{Account: fmt.Sprint("user", i), Addr: netip.AddrFrom4([4]byte{byte(i >> 16), byte(i >> 8), byte(i), 1})}); ok {
			n++
		}
	}
	if n > GlobalBurst {
		t.Errorf("%d", n)
	}
	if _, ok := th.Allow(Try{Account: "alice", Addr: addr(1), Device: "d"}); !ok {
		t.Error("a known device is held up by the flood")
	}
}

func TestMemoryIsFixed(t *testing.T) {
	if s := unsafe.Sizeof(Throttle{}); s > 4<<20 {
		t.Errorf("%d bytes", s)
	}
}

func TestNetwork(t *testing.T) {
	for a, want := range map[string]string{"192.0.2.7": "192.0.2.0/24", "::ffff:192.0.2.7": "192.0.2.0/24", "2001:db8::1%eth0": "2001:db8::/64"} {
		if got := Network(netip.MustParseAddr(a)).String(); got != want {
			t.Errorf("%s: %s", a, got)
		}
	}
}

// A program that proves itself is held up by what was wrong only, however much it asks at once; all of them
// together are held to the rate of their lane.
func TestOnlyWhatWasWrongCounts(t *testing.T) {
	c := start()
	th := New(c.now)
	good := Try{Account: "a", Addr: netip.MustParseAddr("192.0.2.1"), Device: "d"}
	for i := range 50 {
		if wait, ok := th.Held(good); !ok {
			t.Fatalf("try %d waits %v", i, wait)
		}
	}
	c.at = c.at.Add(time.Minute)
	looked := 0
	for range 100 {
		if _, ok := th.Held(good); ok {
			looked++
			th.Failed(good)
		}
	}
	if looked != Free {
		t.Errorf("%d wrong tries were looked at, want %d", looked, Free)
	}
	if wait, ok := th.Held(good); ok || wait <= 0 || wait > time.Second {
		t.Errorf("%v %v", wait, ok)
	}
	other := good
	other.Account = "b"
	if _, ok := th.Held(other); !ok {
		t.Error("another account waits")
	}
	for range 20 {
		c.at = c.at.Add(MaxDelay)
		if _, ok := th.Held(good); !ok {
			t.Fatal("the delay grows beyond its bound")
		}
		th.Failed(good)
	}
	c.at = c.at.Add(MaxDelay)
	if _, ok := th.Held(good); !ok {
		t.Fatal("it waits for ever")
	}
	th.Done(good)
	for range Free + 1 {
		if _, ok := th.Held(good); !ok {
			t.Error("it was right, and waits")
		}
	}
	c.at = c.at.Add(time.Minute)
	n := 0
	for i := range 3 * GlobalBurst {
		try := good
		try.Account = string(rune('c' + i))
		if _, ok := th.Held(try); ok {
			n++
		}
	}
	if n != GlobalBurst {
		t.Errorf("%d of all accounts together, want %d", n, GlobalBurst)
	}
}
