package quota

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// lease is what an account has of the shared amount. The account's lock guards it.
type lease struct {
	granted int64 // of this window; for concurrency: places
	extra   int64 // allowed beyond that while the store is away
	spared  bool  // extra has been reckoned
	known   int64 // used by all nodes, when last heard

	generation  string
	touched     time.Duration // when it was last used, on the engine's clock
	slotsUntil  time.Duration // concurrency: when the places lapse
	deniedUntil time.Duration // the store had no room for deniedNeed
	deniedNeed  int64
	asking      chan struct{} // closed when the ask that is under way has been answered
}

func (l *lease) idle() bool { return l == nil || l.granted == 0 && l.asking == nil }

// sharing is the state of the node towards the store.
type sharing struct {
	store       Store
	node        string
	least       int
	wait, every time.Duration
	slotTTL     time.Duration
	fault       func(error)

	away     atomic.Bool // the store does not answer
	settling atomic.Bool // it has lost its state and hears what the nodes hold
	nodes    atomic.Int64
	epoch    atomic.Pointer[string]
	sequence atomic.Int64
	more     atomic.Bool // nodes than were named have been heard of
	tell     func(nodes int)
	round    sync.Mutex // one round at a time; no call waits for it
	declared string     // the epoch that knows what this node holds; guarded by round
}

func newSharing(o *Shared) (*sharing, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	s := &sharing{store: o.Store, node: o.Node, least: max(o.Nodes, 1), wait: o.Wait, every: o.Every, slotTTL: o.SlotTTL, fault: o.Fault, tell: o.More}
	if s.tell == nil {
		s.tell = func(int) {}
	}
	if s.wait == 0 {
		s.wait = 50 * time.Millisecond
	}
	if s.every == 0 {
		s.every = 500 * time.Millisecond
	}
	if s.slotTTL == 0 {
		s.slotTTL = DefaultSlotTTL
	}
	if s.fault == nil {
		s.fault = func(error) {}
	}
	s.nodes.Store(int64(s.least))
	s.epoch.Store(new(string))
	return s, nil
}

// local says that limits are kept without the store.
func (s *sharing) local() bool { return s.away.Load() || s.settling.Load() }

// share is one node's part of an amount.
func (s *sharing) share(amount int64) int64 {
	n := s.nodes.Load()
	return amount/n + min(1, amount%n)
}

// recheck is how long a refusal of the store is believed.
const recheck = 200 * time.Millisecond

// limit is what this node may use in the account's window.
func (e *Engine) limit(a *account, b *Bound, now time.Time) int64 {
	s := e.shared
	if s == nil {
		return b.Amount
	}
	l := a.lease
	if b.Unit == Concurrency {
		if e.elapsed(now) < l.slotsUntil {
			return min(l.granted, b.Amount)
		}
		if s.local() {
			return s.share(b.Amount)
		}
		return 0
	}
	if s.local() && !l.spared {
		l.spared, l.extra = true, s.share(max(0, b.Amount-max(l.known, l.granted)))
	}
	return min(l.granted+l.extra, b.Amount)
}

// asked is an ask with the account that it is for.
type asked struct {
	Ask
	key  key
	at   *shard
	id   uint64
	done chan struct{}
}

// begin makes the account's next ask. The shard is locked and nothing is under way.
func (e *Engine) begin(a *account, now time.Time) asked {
	l, k := a.lease, a.key
	l.asking = make(chan struct{})
	q := asked{key: k, done: l.asking}
	q.at, q.id = e.locate(&k)
	q.Key = fmt.Sprintf("%d:%d:%s", k.unit, int64(k.window)/int64(time.Millisecond), k.subject)
	q.Amount, q.Index, q.Generation = a.amount, a.index, l.generation
	if k.unit == Concurrency {
		q.Slots, q.Index, q.TTL = true, e.shared.sequence.Add(1), e.shared.slotTTL
		q.Held = a.used
		if e.elapsed(now) < l.slotsUntil {
			q.Held = max(a.used, l.granted)
		}
		return q
	}
	q.Held, q.Debt = l.granted, max(0, a.used-l.granted)
	q.Length = k.window.length()
	q.TTL = time.Duration(max(0, a.end-now.UnixNano())) + q.Length
	return q
}

// slice is how much more than needed is leased at a time.
func (s *sharing) slice(amount int64) int64 { return amount / (8 * s.nodes.Load()) }

// obtain leases what the call lacks. It returns true when it is worth trying again.
func (e *Engine) obtain(ctx context.Context, p *Prepared, est *Amounts) bool {
	s := e.shared
	if s.local() {
		return false
	}
	now := e.time()
	at := e.elapsed(now)
	var qs []asked
	var wait <-chan struct{}
	for i := range p.bounds {
		b := &p.bounds[i].Bound
		n := est.of(b.Unit)
		k := key{b.Subject, b.Unit, b.Window}
		sh, id := e.locate(&k)
		sh.mu.Lock()
		a := sh.open(e, id, &k, now)
		l := a.lease
		if limit := e.limit(a, b, now); n > limit-a.used {
			switch {
			case limit >= b.Amount, at < l.deniedUntil && n >= l.deniedNeed:
				sh.mu.Unlock()
				e.abandon(qs)
				return false
			case l.asking != nil:
				wait = l.asking
			default:
				a.amount = b.Amount
				q := e.begin(a, now)
				q.Need = n
				if q.Slots {
					q.Need = a.used + n
				}
				q.Want = q.Need + s.slice(b.Amount)
				qs = append(qs, q)
			}
		}
		sh.mu.Unlock()
	}
	switch {
	case len(qs) > 0:
		_ = e.ask(context.WithoutCancel(ctx), qs, s.wait) // what it says is in the accounts, or in away
	case wait != nil:
		t := time.NewTimer(s.wait)
		defer t.Stop()
		select {
		case <-wait:
		case <-t.C:
		case <-ctx.Done():
			return false
		}
	}
	return true
}

// ask puts the asks to the store and applies what it says. An error has been reported.
func (e *Engine) ask(ctx context.Context, qs []asked, wait time.Duration) error {
	s := e.shared
	asks := make([]Ask, len(qs))
	for i := range qs {
		asks[i] = qs[i].Ask
	}
	began := e.elapsed(e.time())
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	defer e.abandon(qs)
	ans, err := s.store.Lease(ctx, s.node, asks)
	if err == nil && len(ans.Grants) != len(asks) {
		err = fmt.Errorf("quota: lease: %d answers to %d asks", len(ans.Grants), len(asks))
	}
	if err != nil {
		if !s.away.Swap(true) {
			s.fault(fmt.Errorf("quota: the shared store does not answer, limits are kept locally: %w", err))
		}
		return err
	}
	s.heard(&ans)
	for i := range qs {
		e.apply(&qs[i], &ans, &ans.Grants[i], began)
	}
	if s.away.Swap(false) {
		s.fault(nil)
	}
	return nil
}

// heard takes what the store says about itself.
func (s *sharing) heard(ans *Answer) {
	n := int64(max(ans.Nodes, s.least))
	if ans.Nodes > s.least && !s.more.Swap(true) {
		s.tell(ans.Nodes)
	}
	if !ans.Settling || n > s.nodes.Load() {
		s.nodes.Store(n)
	}
	s.settling.Store(ans.Settling)
	s.epoch.Store(&ans.Epoch)
}

// apply puts a grant into its account.
func (e *Engine) apply(q *asked, ans *Answer, g *Grant, began time.Duration) {
	now := e.time()
	q.at.mu.Lock()
	defer q.at.mu.Unlock()
	a := q.at.find(q.id, &q.key)
	if a == nil || a.lease.asking != q.done {
		return
	}
	l := a.lease
	if q.Slots {
		if ans.Settling {
			return
		}
		l.granted, l.slotsUntil = g.Granted, began+e.shared.slotTTL
		l.deny(g.Granted < q.Need, q.Need-a.used, e.elapsed(now))
		return
	}
	a.roll(now)
	a.turn(g.Index, q.key.window.end(g.Index))
	if a.index != g.Index {
		return // granted of a window that is over here
	}
	l.granted += q.Debt + g.Granted
	l.extra = max(0, l.extra-q.Debt)
	l.known, l.generation = g.Used, g.Generation
	if !ans.Settling {
		l.extra, l.spared = 0, false
		l.deny(g.Granted < q.Need, q.Need, e.elapsed(now))
	}
}

func (l *lease) deny(denied bool, need int64, at time.Duration) {
	l.deniedUntil = 0
	if denied {
		l.deniedUntil, l.deniedNeed = at+recheck, need
	}
}

// abandon ends asks, answered or not.
func (e *Engine) abandon(qs []asked) {
	for i := range qs {
		sh := qs[i].at
		sh.mu.Lock()
		if a := sh.find(qs[i].id, &qs[i].key); a != nil && a.lease.asking == qs[i].done {
			a.lease.asking = nil
			close(qs[i].done)
		}
		sh.mu.Unlock()
	}
}
