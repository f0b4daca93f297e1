package quota

import (
	"context"
	"fmt"
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"
)

// Options makes an Engine.
type Options struct {
	// Now is the clock; nil: time.Now.
	Now func() time.Time
	// Hold is how long a reservation may stay unsettled before its call counts as lost; 0: DefaultHold.
	// It must be longer than the longest call. A lost call has used what was reserved for it; its place
	// among the calls at once is given back then, and not earlier.
	Hold time.Duration
	// Shared makes the limits global; nil: they are this process's own.
	Shared *Shared
}

// DefaultHold is above any answer that a provider streams.
const DefaultHold = time.Hour

// Engine keeps the limits. It is safe for concurrent use. It outlives a configuration, so that a
// reload forgets nothing. Run must run beside it.
type Engine struct {
	now    func() time.Time
	hold   time.Duration
	start  time.Time
	floor  atomic.Int64 // no window that ended before this is opened again, Unix nanoseconds
	seed   maphash.Seed
	shared *sharing
	shards [shardCount]shard
}

const shardCount = 256

// shard holds the accounts of the subjects that hash to it, in one chain for each subject
// (and for those rare others that have the same hash).
type shard struct {
	mu   sync.Mutex
	m    map[uint64]*account
	peak int // of len(m) since m was made
	_    [40]byte
}

// find returns nil where there is no account. The shard is locked.
func (s *shard) find(id uint64, k *key) *account {
	a := s.m[id]
	for a != nil && !a.key.is(k) {
		a = a.next
	}
	return a
}

// locate says where a key's account is: all accounts of a subject stand in one chain.
func (e *Engine) locate(k *key) (*shard, uint64) {
	h := maphash.String(e.seed, k.subject)
	return &e.shards[h%shardCount], h
}

// New makes an engine without any use on its books.
func New(o Options) (*Engine, error) {
	e := &Engine{now: o.Now, hold: o.Hold, seed: maphash.MakeSeed()}
	if e.now == nil {
		e.now = time.Now
	}
	if e.hold == 0 {
		e.hold = DefaultHold
	}
	if e.hold < 0 {
		return nil, fmt.Errorf("quota: make engine: a hold of %v", e.hold)
	}
	e.start = e.now()
	e.floor.Store(-1 << 63)
	for i := range e.shards {
		e.shards[i].m = map[uint64]*account{}
	}
	if o.Shared != nil {
		var err error
		if e.shared, err = newSharing(o.Shared); err != nil {
			return nil, err
		}
	}
	return e, nil
}

// Reservation is what a call has reserved. Settle or Release ends it; the first of them counts, and
// it may be called from any goroutine.
type Reservation struct {
	e        *Engine
	done     atomic.Bool
	deadline time.Duration
	few      [4]line
	lines    []line
	place    hold // of the first bound of calls at once
	near     near
}

type line struct {
	in     *account
	index  int64 // of the window that was charged
	amount int64
	hold   *hold
}

// Reserve takes what est says from every bound, or from none. Exactly one of the results is set,
// unless the call was refused: then Exceeded names a bound that it did not fit. An error means that
// a bound makes no sense; the call must not pass.
//
// Bounds are taken one after the other, and given back when a later one refuses: a call that is going
// to be refused may for that moment make another be refused too, but two calls never both get what
// only one could have. With local limits it neither waits nor allocates more than the reservation.
// With shared ones it asks the store, for at most Shared.Wait, when the slice that this node has does
// not suffice.
func (e *Engine) Reserve(ctx context.Context, bounds []Bound, est Amounts) (*Reservation, *Exceeded, error) {
	p, err := Prepare(bounds)
	if err != nil {
		return nil, nil, err
	}
	r := &Reservation{}
	if ex := e.reserve(ctx, r, p, &est); ex != nil {
		return nil, ex, nil
	}
	return r, nil, nil
}

func (e *Engine) reserve(ctx context.Context, r *Reservation, p *Prepared, est *Amounts) *Exceeded {
	r.e = e
	if len(p.bounds) > len(r.few) {
		r.lines = make([]line, 0, len(p.bounds))
	} else {
		r.lines = r.few[:0]
	}
	for try := 0; ; try++ {
		ex := e.take(r, p, est)
		if ex == nil || e.shared == nil || ex.Never || try == maxTries || !e.obtain(ctx, p, est) {
			return ex
		}
	}
}

// maxTries bounds how often a call asks the store: others may use what it was just given.
const maxTries = 3

func (e *Engine) take(r *Reservation, p *Prepared, est *Amounts) *Exceeded {
	now := e.time()
	at := e.elapsed(now)
	r.deadline, r.near = at+e.hold, near{}
	mine := p.of(e)
	for i := range p.bounds {
		b := &p.bounds[i]
		a := e.account(b, mine, now)
		s, twice := a.home, b.twice
		if b.Unit == Concurrency {
			a.expire(at)
		}
		a.amount = b.Amount
		n := est.of(b.Unit)
		if twice {
			n = 0 // one account, two amounts: it is charged once and must fit both
		}
		if limit := e.limit(a, &b.Bound, now); n > 0 && n > limit-a.used || twice && a.used > limit {
			ex := exceeded(&b.Bound, a, est.of(b.Unit), limit, now)
			s.mu.Unlock()
			r.undo()
			return ex
		}
		if !twice {
			l := line{in: a, index: a.index, amount: n}
			if b.Unit == Concurrency {
				if l.hold = &r.place; l.hold.in != nil {
					l.hold = &hold{}
				}
				l.hold.deadline = r.deadline
				a.add(l.hold)
			} else {
				a.used = sum(a.used, n)
			}
			if a.lease != nil {
				a.lease.touched = at
			}
			r.lines = append(r.lines, l)
		}
		if b.Unit != Concurrency {
			r.near.see(&b.Bound, a, now)
		}
		s.mu.Unlock()
	}
	return nil
}

// account finds the account of a bound, in the window of now, and locks its shard. Where the bound is kept, it
// need not be looked for again.
func (e *Engine) account(b *prepared, kept bool, now time.Time) *account {
	if a := b.at.Load(); kept && a != nil {
		a.home.mu.Lock()
		if !a.gone {
			a.roll(now)
			return a
		}
		a.home.mu.Unlock()
	}
	k := key{b.Subject, b.Unit, b.Window}
	s, id := e.locate(&k)
	s.mu.Lock()
	a := s.open(e, id, &k, now)
	if kept {
		b.at.Store(a)
	}
	return a
}

// longestRetry bounds the wait that a debt is told with.
const longestRetry = 365 * 24 * time.Hour

func exceeded(b *Bound, a *account, asked, limit int64, now time.Time) *Exceeded {
	x := &Exceeded{Bound: *b, Used: a.used, Asked: asked, Remaining: max(0, limit-a.used), Never: asked > b.Amount}
	if b.Unit == Concurrency {
		if !x.Never {
			x.Retry = time.Second
		}
		return x
	}
	x.Reset = time.Duration(max(0, a.end-now.UnixNano()))
	if !x.Never {
		x.Retry = x.Reset
		// A debt takes windows to pay off.
		if b.Amount > 0 && a.used > b.Amount {
			over := min((a.used-b.Amount+asked-1)/b.Amount, int64(longestRetry/b.Window.length()))
			x.Retry = time.Duration(max(0, b.Window.end(a.index+over)-now.UnixNano()))
		}
		x.Retry = max(x.Retry, time.Millisecond)
	}
	return x
}

// undo takes a reservation back that was never handed out.
func (r *Reservation) undo() {
	for i := range r.lines {
		l := &r.lines[i]
		a, s := l.in, l.in.home
		s.mu.Lock()
		switch {
		case a.gone: // with nothing on its books
		case l.hold != nil:
			a.drop(l.hold)
		case a.index == l.index:
			a.used = max(0, a.used-l.amount)
		}
		s.mu.Unlock()
	}
	r.lines = r.lines[:0]
}

// Settle replaces the estimate by what the call used. Less than reserved is given back, as long as
// the window and the deadline have not passed; more is charged in any case, to the window that is now
// if the call's own is over, and stands above the amount as a debt where there was no room. It returns
// false when the reservation had ended before.
func (r *Reservation) Settle(used Amounts) bool {
	if r == nil || r.e == nil || !r.done.CompareAndSwap(false, true) {
		return false
	}
	now := r.e.time()
	late := r.e.elapsed(now) >= r.deadline
	for i := range r.lines {
		l := &r.lines[i]
		a, s := l.in, l.in.home
		more := used.of(a.key.unit) - l.amount
		if l.hold == nil && more == 0 {
			continue
		}
		s.mu.Lock()
		if a.gone {
			a = s.open(r.e, a.id, &a.key, now)
		} else {
			a.roll(now)
		}
		switch {
		case l.hold != nil:
			a.drop(l.hold)
		case more > 0:
			a.used = sum(a.used, more)
		case a.index == l.index && !late:
			a.used = max(0, a.used+more)
		}
		s.mu.Unlock()
	}
	return true
}

// Release ends a reservation whose call used nothing.
func (r *Reservation) Release() bool { return r.Settle(Amounts{}) }

// open finds the account, in the window of now. The shard is locked.
func (s *shard) open(e *Engine, id uint64, k *key, now time.Time) *account {
	a := s.find(id, k)
	if a == nil {
		if f := e.floor.Load(); now.UnixNano() < f {
			now = time.Unix(0, f).UTC() // swept since now was read
		}
		a = &account{key: *k, home: s, id: id, next: s.m[id]}
		a.index, a.end = k.window.index(now)
		if e.shared != nil {
			a.lease = &lease{}
		}
		s.m[id] = a
		s.peak = max(s.peak, len(s.m))
		return a
	}
	a.roll(now)
	return a
}

// time is the clock, but never before the last sweep: an account that was forgotten because its
// window was over must not come back empty in the same window.
func (e *Engine) time() time.Time {
	now := e.now()
	if f := e.floor.Load(); now.UnixNano() < f {
		return time.Unix(0, f).UTC()
	}
	return now
}

// elapsed is the engine's own clock, which a step of the wall clock does not touch where the clock has
// a monotonic reading.
func (e *Engine) elapsed(now time.Time) time.Duration { return now.Sub(e.start) }
