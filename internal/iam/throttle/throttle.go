// Package throttle slows down who guesses passwords and codes (OWASP ASVS 5.0.0, 6.3.1). Nobody is ever
// locked out for good by an outsider: an account's delay grows to a minute and no further, and whoever
// comes with a device that this account was used from before waits in a lane of its own.
//
// It counts in the store that sign-in needs anyway, so that any number of nodes let through what one does.
// Where the store does not answer nothing may be tried. Only tries that may be evaluated are written, and
// those are bounded in all: so are the cells, and nobody can be pushed out of one. Cells have for a name the
// keyed hash of what they are of, so what somebody typed is not kept.
package throttle

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
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

	// turn is how long a try waits for those before it on this node, of which one at a time is counted, so
	// that a flood holds one connection to the store.
	turn = 3 * time.Second
)

// Place names a cell: its first byte says of what kind, the others are a keyed hash.
type Place [16]byte

// Cell is what is known of a place. The zero value is nothing.
type Cell struct {
	N    int64     // tries of an account that count
	Last time.Time // the last of them; of a network or of all, when it will be full again
	Ends time.Time // from then on the cell says nothing
}

// Store keeps cells, for all nodes. It says what time it is by one clock for all of them, to the microsecond.
type Store interface {
	// Look reads cells as they are at one moment.
	Look(ctx context.Context, places []Place) (now time.Time, cells []Cell, err error)
	// Change runs f on cells, with no other Change between its reading and its writing, on any node. What f
	// made of the cells is kept when it returns true and Change returns nil; a cell that is zero is taken
	// away. f may run more than once.
	Change(ctx context.Context, places []Place, f func(now time.Time, cells []Cell) bool) error
	// Sweep takes away cells that have ended, and says how many.
	Sweep(ctx context.Context) (int, error)
}

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
	store Store
	key   []byte
	turns chan struct{}
}

// New makes a throttle. All nodes must have the same key, of 32 bytes or more.
func New(s Store, key []byte) (*Throttle, error) {
	if s == nil || len(key) < sha256.Size {
		return nil, errors.New("throttle: new: a store and a key of 32 bytes are needed")
	}
	return &Throttle{store: s, key: key, turns: make(chan struct{}, 1)}, nil
}

// Sweep takes away what has ended. Call it every few minutes, on as many nodes as there are.
func (t *Throttle) Sweep(ctx context.Context) (int, error) {
	n, err := t.store.Sweep(ctx)
	if err != nil {
		return n, fmt.Errorf("throttle: sweep: %w", err)
	}
	return n, nil
}

// delay is how long an account waits after its last try.
func (c *Cell) delay() time.Duration {
	if c.N < Free {
		return 0
	}
	return min(time.Second<<min(c.N-Free, 6), MaxDelay)
}

// account is how long it waits now. What ended is forgotten.
func (c *Cell) account(now time.Time) time.Duration {
	// A clock that was set back must not turn a wait into days.
	if c.Last.After(now) {
		c.Last = now
	}
	if now.Sub(c.Last) >= Forget {
		*c = Cell{}
	}
	if c.N <= 0 {
		return 0
	}
	return max(0, c.Last.Add(c.delay()).Sub(now))
}

// bucket is how long a token bucket has none, which is full when its cell is zero.
func (c *Cell) bucket(now time.Time, burst int, every time.Duration) time.Duration {
	if !c.Last.After(now) {
		return 0
	}
	if most := now.Add(time.Duration(burst) * every); c.Last.After(most) {
		c.Last = most // the clock was set back
	}
	return max(0, c.Last.Sub(now)-time.Duration(burst-1)*every)
}

func (c *Cell) take(now time.Time, every time.Duration) {
	if c.Last.Before(now) {
		c.Last = now
	}
	c.Last = c.Last.Add(every)
	c.Ends = c.Last
}

func (c *Cell) giveBack(now time.Time, every time.Duration) {
	c.Last = c.Last.Add(-every)
	if c.Ends = c.Last; !c.Last.After(now) {
		*c = Cell{}
	}
}

// Where the cells of a try are: its account, all together, and its network, which a known device has none of:
// it is not held up by its neighbours.
const (
	ofAccount = iota
	ofAll
	ofNetwork
)

func wait(now time.Time, cells []Cell) time.Duration {
	w := max(cells[ofAccount].account(now), cells[ofAll].bucket(now, GlobalBurst, GlobalEvery))
	if len(cells) > ofNetwork {
		w = max(w, cells[ofNetwork].bucket(now, PrefixBurst, PrefixEvery))
	}
	return w
}

// Allow says whether a try may be evaluated now, and otherwise in how long. A try that is allowed counts as failed
// from this moment, so that many at once, on however many nodes, cannot all come before the first answer; Done
// takes that back. One that is not allowed costs the account nothing: who knocks all day does not make the wait
// longer. An error says that the store did not answer: nothing may be tried.
func (t *Throttle) Allow(ctx context.Context, try Try) (after time.Duration, ok bool, err error) {
	return t.admit(ctx, try, true)
}

func (t *Throttle) admit(ctx context.Context, try Try, failed bool) (after time.Duration, ok bool, err error) {
	places := t.places(try)
	now, cells, err := t.store.Look(ctx, places)
	if err != nil {
		return 0, false, fmt.Errorf("throttle: %w", err)
	}
	if after = wait(now, cells); after > 0 {
		return after, false, nil // without a lock or a write
	}
	late := time.NewTimer(turn)
	defer late.Stop()
	select {
	case t.turns <- struct{}{}:
		defer func() { <-t.turns }()
	case <-late.C:
		return time.Second, false, nil
	case <-ctx.Done():
		return 0, false, fmt.Errorf("throttle: %w", ctx.Err())
	}
	err = t.store.Change(ctx, places, func(now time.Time, cells []Cell) bool {
		if after = wait(now, cells); after > 0 {
			return false
		}
		if failed {
			cells[ofAccount].fail(now)
		}
		cells[ofAll].take(now, GlobalEvery)
		if len(cells) > ofNetwork {
			cells[ofNetwork].take(now, PrefixEvery)
		}
		return true
	})
	if err != nil {
		return 0, false, fmt.Errorf("throttle: %w", err)
	}
	return after, after == 0, nil
}

// Done says that a try that was allowed was right. The lane of a device starts afresh; in the open lane only the
// try itself is taken back, or each sign-in of the owner would give the guessers a new start. Its network gets its
// try back too: an office where everybody signs in is no attack. All together do not, for what a try costs to
// evaluate was spent. Where the store does not answer the try goes on counting as failed.
func (t *Throttle) Done(ctx context.Context, try Try) {
	places := t.places(try)
	places = append(places[:1], places[min(ofNetwork, len(places)):]...)
	_ = t.store.Change(ctx, places, func(now time.Time, cells []Cell) bool {
		if len(cells) > 1 {
			cells[1].giveBack(now, PrefixEvery)
		}
		a := &cells[0]
		if a.N--; try.Device != "" || a.N <= 0 { // below 0: it has ended meanwhile
			*a = Cell{}
		}
		return true
	})
}

// Held is Allow where only what was wrong counts against the account: a program that proves itself many
// times at once is no guesser. What was wrong has to be told (Failed); how many tries are looked at until
// then, the caller bounds.
func (t *Throttle) Held(ctx context.Context, try Try) (after time.Duration, ok bool, err error) {
	return t.admit(ctx, try, false)
}

// Failed says that a try that Held let through was wrong. An error says that it is not counted.
func (t *Throttle) Failed(ctx context.Context, try Try) error {
	err := t.store.Change(ctx, t.places(try)[:1], func(now time.Time, cells []Cell) bool {
		cells[0].account(now) // what ended is forgotten
		cells[0].fail(now)
		return true
	})
	if err != nil {
		return fmt.Errorf("throttle: %w", err)
	}
	return nil
}

func (c *Cell) fail(now time.Time) { c.N, c.Last, c.Ends = min(c.N+1, 1<<20), now, now.Add(Forget) }

func (t *Throttle) places(try Try) []Place {
	lane := "others"
	if try.Device != "" {
		lane = "devices"
	}
	p := []Place{ofAccount: t.place(ofAccount, try.Account, try.Device), ofAll: t.place(ofAll, lane)}
	if try.Device == "" {
		p = append(p, t.place(ofNetwork, Network(try.Addr).String()))
	}
	return p
}

// place hashes parts so that no other parts give the same.
func (t *Throttle) place(kind byte, parts ...string) (p Place) {
	h := hmac.New(sha256.New, t.key)
	h.Write([]byte{kind})
	for _, s := range parts {
		h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(s))))
		h.Write([]byte(s))
	}
	copy(p[1:], h.Sum(nil))
	p[0] = kind
	return p
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
