// Package quota keeps calls within their limits: so many requests, tokens, bytes or so much cost in a
// window of time, and so many calls at once, for a key, a team, a tenant or a model.
//
// What a call may use is reserved before it leaves, in all of its limits or in none, and settled when it
// has ended. So calls that run at once never use more than there is, as long as no call uses more than
// was reserved for it; what one uses beyond that is a debt that later calls of the window pay.
//
// Windows are fixed: an hour is from one full hour (UTC) to the next. That is exact and easy to explain,
// and two nodes agree on it without talking; its price is that what is allowed in an hour can be used up
// around one full hour twice. A shorter limit beside a longer one bounds that.
//
// There is no lock that all calls share: each limit of each subject has its own.
package quota

import (
	"sync"
	"sync/atomic"
	"time"
)

// Unit is what is counted.
type Unit uint8

const (
	Requests Unit = iota
	Tokens        // of the request and of the answer
	Cost          // in millionths of the currency of the price list
	Bytes         // of the request and of the answer
	Calls         // at the same time; it has no window
	units
)

var unitNames = [...]string{"requests", "tokens", "cost", "bytes", "concurrency"}

func (u Unit) String() string {
	if u < units {
		return unitNames[u]
	}
	return "unknown"
}

// ParseUnit is the inverse of String.
func ParseUnit(s string) (Unit, bool) {
	for i, n := range unitNames {
		if n == s {
			return Unit(i), true
		}
	}
	return 0, false
}

// Bound is one limit of one subject.
type Bound struct {
	Subject string // whose it is: "key:abc", "team:x", "tenant:y/model:gpt-5*"
	Unit    Unit
	Amount  int64
	Window  time.Duration // none for Calls
}

// Use is how much a call uses, or is thought to use at most. Every call is one request.
type Use struct{ Tokens, Cost, Bytes int64 }

func (u *Use) of(unit Unit) int64 {
	switch unit {
	case Tokens:
		return u.Tokens
	case Cost:
		return u.Cost
	case Bytes:
		return u.Bytes
	}
	return 1
}

// Exceeded says which limit a call met.
type Exceeded struct {
	Bound Bound
	Used  int64         // of the window, reservations included
	Reset time.Duration // until the window ends; 0 for Calls
}

// Quotas counts. It is safe for concurrent use.
type Quotas struct {
	now      func() time.Time
	counters sync.Map // counterKey -> *counter
	n        atomic.Int64
}

// New makes an empty one. now may be nil: time.Now.
func New(now func() time.Time) *Quotas {
	if now == nil {
		now = time.Now
	}
	return &Quotas{now: now}
}

type counterKey struct {
	subject string
	unit    Unit
	window  time.Duration
}

// counter counts one unit of one subject in the current window.
type counter struct {
	mu    sync.Mutex
	start int64 // of the window, in its own lengths since 1970
	used  int64 // settled and reserved
	open  int64 // reservations that are not settled, of any window
	dead  bool  // it was taken out of the map
}

// roll begins a new window when the time has come. What was used beyond the last window's amount is not
// forgiven by its end: it is carried over. A clock that steps back changes nothing.
func (c *counter) roll(window int64, amount int64) {
	if window <= c.start {
		return
	}
	debt := max(0, c.used-amount)
	if window > c.start+1 {
		debt = max(0, debt-amount*min(window-c.start-1, 1<<20)) // paid by the windows between
	}
	c.start, c.used = window, debt
}

// Reservation is what one call holds. It is settled exactly once; later calls do nothing.
type Reservation struct {
	q     *Quotas
	held  []held
	done  atomic.Bool
	spare [6]held
}

type held struct {
	c      *counter
	bound  Bound
	amount int64
	start  int64
}

// Reserve takes what a call may use out of all bounds, or nothing out of any, and then says which one
// did not have it. The most that a bound lets through at once is its Amount: a call that alone would
// use more is refused.
func (q *Quotas) Reserve(bounds []Bound, use Use) (*Reservation, *Exceeded) {
	r := &Reservation{q: q}
	r.held = r.spare[:0]
	now := q.now().UnixNano()
	for _, b := range bounds {
		n := use.of(b.Unit)
		c := q.counter(b)
		window, length := int64(0), int64(b.Window)
		if b.Unit != Calls && length > 0 {
			window = now / length
		}
		c.roll(window, b.Amount)
		if n > b.Amount-c.used {
			e := &Exceeded{Bound: b, Used: c.used}
			if length > 0 && b.Unit != Calls {
				e.Reset = time.Duration((c.start+1)*length - now)
			}
			c.mu.Unlock()
			r.release()
			return nil, e
		}
		c.used += n
		c.open++
		r.held = append(r.held, held{c, b, n, c.start})
		c.mu.Unlock()
	}
	return r, nil
}

// counter finds or makes a counter and locks it.
func (q *Quotas) counter(b Bound) *counter {
	k := counterKey{b.Subject, b.Unit, b.Window}
	for {
		v, ok := q.counters.Load(k)
		if !ok {
			var loaded bool
			if v, loaded = q.counters.LoadOrStore(k, &counter{}); !loaded {
				q.n.Add(1)
			}
		}
		c := v.(*counter)
		c.mu.Lock()
		if !c.dead {
			return c
		}
		c.mu.Unlock() // swept in this moment
	}
}

// Settle replaces what was reserved by what was used.
func (r *Reservation) Settle(use Use) {
	if r == nil || r.done.Swap(true) {
		return
	}
	now := r.q.now().UnixNano()
	for i := range r.held {
		h := &r.held[i]
		n := use.of(h.bound.Unit)
		h.c.mu.Lock()
		h.c.open--
		switch {
		case h.bound.Unit == Calls:
			h.c.used--
		default:
			if length := int64(h.bound.Window); length > 0 {
				h.c.roll(now/length, h.bound.Amount)
			}
			if h.c.start == h.start {
				h.c.used += n - h.amount
			} else {
				h.c.used += max(0, n-h.amount) // its window is over; only what it owes counts
			}
		}
		h.c.mu.Unlock()
	}
}

// Release gives everything back, as if there had been no call.
func (r *Reservation) Release() {
	if r == nil || r.done.Swap(true) {
		return
	}
	r.release()
}

func (r *Reservation) release() {
	for i := range r.held {
		h := &r.held[i]
		h.c.mu.Lock()
		h.c.open--
		if h.bound.Unit == Calls || h.c.start == h.start {
			h.c.used -= h.amount
		}
		h.c.mu.Unlock()
	}
}

// Used is what a bound has used in its current window, for people to see.
func (q *Quotas) Used(b Bound) int64 {
	v, ok := q.counters.Load(counterKey{b.Subject, b.Unit, b.Window})
	if !ok {
		return 0
	}
	c := v.(*counter)
	c.mu.Lock()
	defer c.mu.Unlock()
	if b.Unit != Calls && b.Window > 0 {
		c.roll(q.now().UnixNano()/int64(b.Window), b.Amount)
	}
	return c.used
}

// Sweep gives back the memory of subjects that have no open call, no debt and nothing used in the
// current window. Call it now and then.
func (q *Quotas) Sweep() {
	now := q.now().UnixNano()
	q.counters.Range(func(k, v any) bool {
		key, c := k.(counterKey), v.(*counter)
		c.mu.Lock()
		over := key.window > 0 && c.start < now/int64(key.window)
		// A debt is not known here without the amount: two idle windows later it is taken as paid.
		paid := key.window > 0 && c.start+1 < now/int64(key.window)
		if c.open == 0 && (c.used == 0 || over && paid) {
			c.dead = true
			q.counters.Delete(k)
			q.n.Add(-1)
		}
		c.mu.Unlock()
		return true
	})
}

// Len is how many counters there are.
func (q *Quotas) Len() int { return int(q.n.Load()) }
