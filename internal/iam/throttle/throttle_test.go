package throttle_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sallyport.dev/sallyport/internal/iam/throttle"
	"sallyport.dev/sallyport/internal/store/memory"
)

type clock struct{ at time.Time }

func (c *clock) now() time.Time { return c.at }

func start() *clock { return &clock{time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)} }

// node is a throttle of one node.
type node struct {
	t *testing.T
	*throttle.Throttle
}

func nodes(t *testing.T, s throttle.Store) node {
	t.Helper()
	th, err := throttle.New(s, []byte("a key of this test, 32 bytes long"))
	if err != nil {
		t.Fatal(err)
	}
	return node{t, th}
}

func (n node) Allow(try throttle.Try) (time.Duration, bool) {
	after, ok, err := n.Throttle.Allow(context.Background(), try)
	if err != nil {
		n.t.Error(err)
	}
	return after, ok
}

func (n node) Held(try throttle.Try) (time.Duration, bool) {
	after, ok, err := n.Throttle.Held(context.Background(), try)
	if err != nil {
		n.t.Error(err)
	}
	return after, ok
}

func (n node) Failed(try throttle.Try) {
	if err := n.Throttle.Failed(context.Background(), try); err != nil {
		n.t.Error(err)
	}
}

func (n node) Done(try throttle.Try) { n.Throttle.Done(context.Background(), try) }

// addr is one of 1,000 addresses in 1,000 networks.
func addr(i int) netip.Addr {
	return netip.AddrFrom4([4]byte{10, byte(i % 1000 / 250), byte(i % 250), 9})
}

// The attack of the design: 1e5 guesses in an hour from 1,000 addresses on one account. Fails with no delay per account.
func TestAnAttackOnOneAccount(t *testing.T) {
	c := start()
	th := nodes(t, &memory.Tries{Now: c.now})
	begin, evaluated := c.at, 0
	for i := range 100_000 {
		c.at = begin.Add(time.Duration(i) * time.Hour / 100_000)
		if _, ok := th.Allow(throttle.Try{Account: "acme/alice", Addr: addr(i)}); ok {
			evaluated++
		}
		if i%5000 == 2500 { // the real one, from the device she always uses, in the midst of it
			owner := throttle.Try{Account: "acme/alice", Addr: addr(i), Device: "dev_1"}
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
	c.at = c.at.Add(throttle.MaxDelay)
	if wait, ok := th.Allow(throttle.Try{Account: "acme/alice", Addr: netip.MustParseAddr("192.0.2.1")}); !ok {
		t.Errorf("after the attack the owner waits %v more", wait)
	}
}

// The owner's own sign-ins must not give guessers a new start.
func TestTheOwnersSuccessIsNoFreshStart(t *testing.T) {
	c := start()
	th := nodes(t, &memory.Tries{Now: c.now})
	evaluated, came := 0, 0
	owner := func() {
		own := throttle.Try{Account: "a", Addr: netip.MustParseAddr("192.0.2.1")}
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
		if _, ok := th.Allow(throttle.Try{Account: "a", Addr: addr(i)}); ok {
			evaluated++
		}
		owner()
	}
	t.Logf("%d guesses were looked at, the owner came %d times", evaluated, came)
	if evaluated > 100 || came < 2 {
		t.Error("too many guesses, or no owner")
	}
	c.at = c.at.Add(throttle.MaxDelay)
	before := came
	owner()
	if _, ok := th.Allow(throttle.Try{Account: "a", Addr: addr(1)}); ok || came == before {
		t.Error("after the owner came, a guess is looked at at once")
	}
}

func TestManyAtOnceAreCountedBeforeTheFirstAnswer(t *testing.T) {
	c := start()
	th := nodes(t, &memory.Tries{Now: c.now})
	var ok atomic.Int32
	var wg sync.WaitGroup
	for i := range 1000 {
		wg.Go(func() {
			if _, yes := th.Allow(throttle.Try{Account: "a", Addr: addr(i)}); yes {
				ok.Add(1)
			}
		})
	}
	wg.Wait()
	if ok.Load() != throttle.Free {
		t.Errorf("%d", ok.Load())
	}
}

func TestDelays(t *testing.T) {
	c := start()
	th := nodes(t, &memory.Tries{Now: c.now})
	try := throttle.Try{Account: "a", Addr: addr(0)}
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
	c.at = c.at.Add(throttle.Forget)
	if _, ok := th.Allow(try); !ok {
		t.Error("not forgotten")
	}
	c.at = c.at.Add(-48 * time.Hour) // the clock is set back
	if wait, _ := th.Allow(try); wait > throttle.MaxDelay {
		t.Errorf("%v", wait)
	}
}

// One network guesses at many accounts.
func TestSprayingFromOneNetwork(t *testing.T) {
	c := start()
	th := nodes(t, &memory.Tries{Now: c.now})
	n := 0
	for i := range 36_000 {
		c.at = c.at.Add(100 * time.Millisecond)
		if _, ok := th.Allow(throttle.Try{Account: fmt.Sprint("user", i), Addr: netip.MustParseAddr("2001:db8::").Next()}); ok {
			n++
		}
	}
	if n > 1220 || n < 1100 {
		t.Errorf("%d", n)
	}
	if _, ok := th.Allow(throttle.Try{Account: "someone", Addr: netip.MustParseAddr("2001:db8:0:1::1")}); !ok {
		t.Error("the neighbour network is refused too")
	}
}

func TestAllTogether(t *testing.T) {
	c := start()
	th := nodes(t, &memory.Tries{Now: c.now})
	n := 0
	for i := range 100_000 {
		if _, ok := th.Allow(throttle.Try{Account: fmt.Sprint("user", i), Addr: netip.AddrFrom4([4]byte{byte(i >> 16), byte(i >> 8), byte(i), 1})}); ok {
			n++
		}
	}
	if n > throttle.GlobalBurst {
		t.Errorf("%d", n)
	}
	if _, ok := th.Allow(throttle.Try{Account: "alice", Addr: addr(1), Device: "d"}); !ok {
		t.Error("a known device is held up by the flood")
	}
}

// A flood of names makes no more cells than there are tries that may be evaluated, and they end.
func TestCellsAreBounded(t *testing.T) {
	c := start()
	store := &memory.Tries{Now: c.now}
	th := nodes(t, store)
	most := 0
	for i := range 360_000 { // an hour, 100 each second
		c.at = c.at.Add(10 * time.Millisecond)
		th.Allow(throttle.Try{Account: fmt.Sprint("user", i), Addr: netip.AddrFrom4([4]byte{byte(i >> 16), byte(i >> 8), byte(i), 1})})
		if i%6000 == 0 {
			if _, err := th.Sweep(context.Background()); err != nil {
				t.Fatal(err)
			}
		}
		most = max(most, store.Len())
	}
	if allowed := int(time.Hour/throttle.GlobalEvery) + throttle.GlobalBurst; most > allowed+allowed/10 {
		t.Errorf("%d cells", most)
	}
	c.at = c.at.Add(throttle.Forget)
	if n, err := th.Sweep(context.Background()); err != nil || n == 0 || store.Len() != 0 {
		t.Errorf("%d are gone and %d left, %v", n, store.Len(), err)
	}
}

// Who only asks for a challenge, or signs in, leaves nothing of an account behind, nor of a network: there is no
// bound to how many sign in from one office, but that of all together. Who guesses beside them gains nothing.
func TestASuccessLeavesNoCell(t *testing.T) {
	c := start()
	store := &memory.Tries{Now: c.now}
	th := nodes(t, store)
	for i := range throttle.GlobalBurst / 2 {
		try := throttle.Try{Account: fmt.Sprint(i), Addr: addr(0)}
		if _, ok := th.Allow(try); !ok {
			t.Fatal(i)
		}
		th.Done(try)
	}
	if n := store.Len(); n != 1 { // all
		t.Errorf("%d cells", n)
	}
	guesses := 0
	for i := range 1000 {
		c.at = c.at.Add(2 * throttle.GlobalEvery)
		if _, ok := th.Allow(throttle.Try{Account: fmt.Sprint("guess", i), Addr: addr(0)}); ok {
			guesses++
		}
		own := throttle.Try{Account: "own", Addr: addr(0)}
		if _, ok := th.Allow(own); ok {
			th.Done(own)
		}
	}
	took := 1000 * 2 * throttle.GlobalEvery
	if most := throttle.PrefixBurst + int(took/throttle.PrefixEvery) + 1; guesses > most || guesses < throttle.PrefixBurst {
		t.Errorf("%d guesses were looked at, want %d to %d", guesses, throttle.PrefixBurst, most)
	}
	c.at = c.at.Add(throttle.Forget)
	late := throttle.Try{Account: "late", Addr: addr(1)}
	if _, ok := th.Allow(late); !ok {
		t.Fatal("not allowed")
	}
	c.at = c.at.Add(2 * throttle.Forget) // its answer comes when everything has ended
	th.Done(late)
	if _, err := th.Sweep(context.Background()); err != nil || store.Len() != 0 {
		t.Errorf("%d cells, %v", store.Len(), err)
	}
}

// A store of one process can do without a Sweep.
func TestCellsThatEndAreSweptByTheWay(t *testing.T) {
	c := start()
	store := &memory.Tries{Now: c.now, Every: time.Minute}
	th := nodes(t, store)
	most := 0
	for i := range 10 * 3600 {
		c.at = c.at.Add(time.Second)
		th.Allow(throttle.Try{Account: fmt.Sprint(i), Addr: addr(i)})
		most = max(most, store.Len())
	}
	if limit := 3600 + 2*60 + 10; most > limit { // accounts of an hour; networks and all end sooner
		t.Errorf("%d cells, want %d at most", most, limit)
	}
}

// What somebody typed cannot be told from what is kept, without the key.
func TestPlacesAreKeyed(t *testing.T) {
	seen := map[throttle.Place]bool{}
	for _, key := range []string{"a key of this test, 32 bytes long", "another key, that is as long as it"} {
		s := &places{}
		th, err := throttle.New(s, []byte(key))
		if err != nil {
			t.Fatal(err)
		}
		for _, try := range []throttle.Try{{Account: "a"}, {Account: "a", Device: "b"}, {Account: "ab"}, {Account: "b", Device: "a"}} {
			if _, _, err := th.Allow(context.Background(), try); err != nil {
				t.Fatal(err)
			}
		}
		for p := range s.seen {
			if seen[p] {
				t.Errorf("%x twice", p)
			}
			seen[p] = true
		}
	}
	if len(seen) != 2*(4+2+1) { // accounts, lanes, one network
		t.Errorf("%d places", len(seen))
	}
	if _, err := throttle.New(&places{}, make([]byte, 31)); err == nil {
		t.Error("a short key")
	}
}

// places notes what it is asked for.
type places struct {
	memory.Tries
	seen map[throttle.Place]bool
}

func (s *places) Look(ctx context.Context, ps []throttle.Place) (time.Time, []throttle.Cell, error) {
	if s.seen == nil {
		s.seen = map[throttle.Place]bool{}
	}
	for _, p := range ps {
		s.seen[p] = true
	}
	return s.Tries.Look(ctx, ps)
}

// A store that does not answer when the try is to be counted, or whose answer is lost.
type failing struct {
	memory.Tries
	err error
}

func (s *failing) Change(context.Context, []throttle.Place, func(time.Time, []throttle.Cell) bool) error {
	return s.err
}

func TestWithoutTheStoreNothingMayBeTried(t *testing.T) {
	boom := errors.New("boom")
	th, err := throttle.New(&failing{err: boom}, make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	if _, ok, err := th.Allow(context.Background(), throttle.Try{Account: "a"}); ok || !errors.Is(err, boom) {
		t.Errorf("%v, %v", ok, err)
	}
	if _, ok, err := th.Held(context.Background(), throttle.Try{Account: "a"}); ok || !errors.Is(err, boom) {
		t.Errorf("%v, %v", ok, err)
	}
	if err := th.Failed(context.Background(), throttle.Try{Account: "a"}); !errors.Is(err, boom) {
		t.Error(err)
	}
	th.Done(context.Background(), throttle.Try{Account: "a"})
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	if _, ok, err := nodes(t, &memory.Tries{}).Throttle.Allow(gone, throttle.Try{Account: "a"}); ok || !errors.Is(err, context.Canceled) {
		t.Errorf("%v, %v", ok, err)
	}
}

// One try at a time is counted on a node; those that waited too long are sent away, and none is let through.
func TestAStoreThatIsSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &slow{at: make(chan struct{}), free: make(chan struct{})}
		th := nodes(t, s)
		first := make(chan bool)
		go func() { _, ok := th.Allow(throttle.Try{Account: "a"}); first <- ok }()
		<-s.at
		begin := time.Now()
		if after, ok := th.Allow(throttle.Try{Account: "b"}); ok || after <= 0 || time.Since(begin) != 3*time.Second {
			t.Errorf("%v, %v after %v", after, ok, time.Since(begin))
		}
		close(s.free)
		if !<-first {
			t.Error("the first was refused")
		}
		if _, ok := th.Allow(throttle.Try{Account: "b"}); !ok {
			t.Error("its turn did not come")
		}
	})
}

type slow struct {
	memory.Tries
	once     sync.Once
	at, free chan struct{}
}

func (s *slow) Change(ctx context.Context, ps []throttle.Place, f func(time.Time, []throttle.Cell) bool) error {
	s.once.Do(func() { close(s.at); <-s.free })
	return s.Tries.Change(ctx, ps, f)
}

func TestNetwork(t *testing.T) {
	for a, want := range map[string]string{"192.0.2.7": "192.0.2.0/24", "::ffff:192.0.2.7": "192.0.2.0/24", "2001:db8::1%eth0": "2001:db8::/64"} {
		if got := throttle.Network(netip.MustParseAddr(a)).String(); got != want {
			t.Errorf("%s: %s", a, got)
		}
	}
}

// A program that proves itself is held up by what was wrong only, however much it asks at once; all of them
// together are held to the rate of their lane.
func TestOnlyWhatWasWrongCounts(t *testing.T) {
	c := start()
	th := nodes(t, &memory.Tries{Now: c.now})
	good := throttle.Try{Account: "a", Addr: netip.MustParseAddr("192.0.2.1"), Device: "d"}
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
	if looked != throttle.Free {
		t.Errorf("%d wrong tries were looked at, want %d", looked, throttle.Free)
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
		c.at = c.at.Add(throttle.MaxDelay)
		if _, ok := th.Held(good); !ok {
			t.Fatal("the delay grows beyond its bound")
		}
		th.Failed(good)
	}
	c.at = c.at.Add(throttle.MaxDelay)
	if _, ok := th.Held(good); !ok {
		t.Fatal("it waits for ever")
	}
	th.Done(good)
	for range throttle.Free + 1 {
		if _, ok := th.Held(good); !ok {
			t.Error("it was right, and waits")
		}
	}
	c.at = c.at.Add(time.Minute)
	n := 0
	for i := range 3 * throttle.GlobalBurst {
		try := good
		try.Account = string(rune('c' + i))
		if _, ok := th.Held(try); ok {
			n++
		}
	}
	if n != throttle.GlobalBurst {
		t.Errorf("%d of all accounts together, want %d", n, throttle.GlobalBurst)
	}
}
