// Package throttle slows down who guesses passwords and codes (OWASP ASVS 5.0.0, 6.3.1). Nobody is ever
// locked out for good by an outsider: an account's delay grows to a minute and no further, and whoever
// comes with a device that this account was used from before waits in a lane of its own.
//
// It counts in this process only: with n nodes, n times as many guesses are looked at. Its memory is
// fixed: places are cells of a table that a secret hash chooses, so nobody can push anybody out of it, nor
// choose whom to share a cell with.
package throttle

import (
	"hash/maphash"
	"net/netip"
	"sync"
	"time"
)

// Limits.
const (
	// Free is how many tries an account has before it waits: 1 s, 2 s, 4 s to MaxDelay.
	Free     = 3
	MaxDelay = time.Minute
	// Forget is how long after its last try an account starts afresh.
	Forget = time.Hour

	// A network (/24, /64) has PrefixBurst tries, and one more each PrefixEvery.
	PrefixBurst = 20
	PrefixEvery = 3 * time.Second
	// All tries together, in each lane: GlobalBurst, and one more each GlobalEvery.
	GlobalBurst = 100
	GlobalEvery = 50 * time.Millisecond

	cells = 1 << 16
)

// Try is somebody about to prove who they are.
type Try struct {
	Account string // tenant and name, as typed: it need not exist
	Addr    netip.Addr
	// Device is the id of a device that the account was used from before, proven by a token that
	// only the device has; "" for any other.
	Device string
}

// Throttle is safe for concurrent use.
type Throttle struct {
	seed maphash.Seed
	now  func() time.Time

	mu       sync.Mutex
	accounts [cells]cell
	prefixes [cells]bucket
	global   [2]bucket // others, known devices
}

// New makes a throttle. now: nil is time.Now.
func New(now func() time.Time) *Throttle {
	if now == nil {
		now = time.Now
	}
	return &Throttle{seed: maphash.MakeSeed(), now: now}
}

// cell is the tries of an account in one lane.
type cell struct {
	n    int
	last time.Time
}

func (c *cell) delay() time.Duration {
	if c.n < Free {
		return 0
	}
	return min(time.Second<<min(c.n-Free, 6), MaxDelay)
}

// bucket is a token bucket that is full at its zero value: the time at which it will be full.
type bucket struct{ full time.Time }

func (b *bucket) wait(now time.Time, burst int, every time.Duration) time.Duration {
	if !b.full.After(now) {
		return 0
	}
	if most := now.Add(time.Duration(burst) * every); b.full.After(most) {
		b.full = most // the clock was set back
	}
	return max(0, b.full.Sub(now)-time.Duration(burst-1)*every)
}

func (b *bucket) take(now time.Time, every time.Duration) {
	if b.full.Before(now) {
		b.full = now
	}
	b.full = b.full.Add(every)
}

// Allow says whether a try may be evaluated now, and otherwise in how long. A try that is allowed counts as failed
// from this moment, so that many at once cannot all come before the first answer; Done takes that back.
// One that is not allowed costs the account nothing: who knocks all day does not make the wait longer.
func (t *Throttle) Allow(try Try) (wait time.Duration, ok bool) { return t.admit(try, true) }

func (t *Throttle) admit(try Try, failed bool) (wait time.Duration, ok bool) {
	now := t.now()
	t.mu.Lock()
	defer t.mu.Unlock()
	a, p, g := t.places(try)
	a.refresh(now)
	if wait = t.wait(now, try, a, p, g); wait > 0 {
		return wait, false
	}
	if failed {
		a.fail(now)
	}
	t.take(now, try, p, g)
	return 0, true
}

// Done says that a try that was allowed was right. The lane of a device starts afresh; in the open lane only the
// try itself is taken back, or each sign-in of the owner would give the guessers a new start.
func (t *Throttle) Done(try Try) {
	t.mu.Lock()
	defer t.mu.Unlock()
	a, _, _ := t.places(try)
	if try.Device != "" {
		*a = cell{}
	} else if a.n > 0 {
		a.n--
	}
}

// Held is Allow where only what was wrong counts against the account: a program that proves itself many
// times at once is no guesser. What was wrong has to be told (Failed); how many tries are looked at until
// then, the caller bounds.
func (t *Throttle) Held(try Try) (wait time.Duration, ok bool) { return t.admit(try, false) }

// Failed says that a try that Held let through was wrong.
func (t *Throttle) Failed(try Try) {
	now := t.now()
	t.mu.Lock()
	defer t.mu.Unlock()
	a, _, _ := t.places(try)
	a.refresh(now)
	a.fail(now)
}

func (c *cell) fail(now time.Time) { c.n, c.last = min(c.n+1, 1<<20), now }

// refresh forgets what is long past.
func (c *cell) refresh(now time.Time) {
	// A clock that was set back must not turn a wait into days.
	if d := c.last.Sub(now); d > 0 {
		c.last = now
	}
	if now.Sub(c.last) >= Forget {
		*c = cell{}
	}
}

func (t *Throttle) wait(now time.Time, try Try, a *cell, p, g *bucket) (wait time.Duration) {
	if a.n > 0 {
		wait = max(0, a.last.Add(a.delay()).Sub(now))
	}
	wait = max(wait, g.wait(now, GlobalBurst, GlobalEvery))
	if try.Device == "" { // a known device is not held up by its neighbours
		wait = max(wait, p.wait(now, PrefixBurst, PrefixEvery))
	}
	return wait
}

func (t *Throttle) take(now time.Time, try Try, p, g *bucket) {
	g.take(now, GlobalEvery)
	if try.Device == "" {
		p.take(now, PrefixEvery)
	}
}

func (t *Throttle) places(try Try) (*cell, *bucket, *bucket) {
	var h maphash.Hash
	h.SetSeed(t.seed)
	h.WriteString(try.Account)
	h.WriteByte(0)
	h.WriteString(try.Device)
	a := &t.accounts[h.Sum64()%cells]
	p := &t.prefixes[maphash.Comparable(t.seed, Network(try.Addr))%cells]
	lane := 0
	if try.Device != "" {
		lane = 1
	}
	return a, p, &t.global[lane]
}

// Network is what counts as one place: the /24 of an IPv4 address, the /64 of an IPv6 one.
func Network(a netip.Addr) netip.Prefix {
	a = a.Unmap().WithZone("")
	bits := 24
	if a.Is6() {
		bits = 64
	}
	p, _ := a.Prefix(bits) // of no address: the zero prefix, which all such share
	return p
}
