package quota

import (
	"context"
	"time"
)

const (
	// batch bounds how long one script holds the store up.
	batch = 200
	// syncWait bounds one call of a round.
	syncWait = time.Second
	// restAfter is how long an account goes unused before what it has left of its lease is given back.
	restAfter = time.Second
)

// Sync is one round with the store: it says that this node is alive, learns whether the store is,
// declares what was used without a lease, refills what is running out, renews places, and gives back
// what lies idle. Run does so by itself; it must not run twice at a time. Without a store it does
// nothing.
func (e *Engine) Sync(ctx context.Context) {
	if e.shared == nil {
		return
	}
	if e.ask(ctx, nil, syncWait) != nil {
		return
	}
	epoch := *e.shared.epoch.Load()
	if e.round(ctx, epoch != e.shared.declared, false) == nil {
		e.shared.declared = epoch
	}
}

func (e *Engine) giveBack() {
	ctx, cancel := context.WithTimeout(context.Background(), 2*syncWait)
	defer cancel()
	_ = e.round(ctx, false, true) // what the store does not hear of only goes unused
}

// round asks for every account that has something to say. lost: the store has forgotten what was leased.
func (e *Engine) round(ctx context.Context, lost, end bool) error {
	var qs []asked
	for i := range e.shards {
		now := e.time()
		sh := &e.shards[i]
		sh.mu.Lock()
		for _, a := range sh.m {
			for ; a != nil; a = a.next {
				a.roll(now)
				if q, ok := e.upkeep(a, now, lost, end); ok {
					qs = append(qs, q)
				}
			}
		}
		sh.mu.Unlock()
		if len(qs) >= batch || i == shardCount-1 && len(qs) > 0 {
			for len(qs) > 0 {
				n := min(batch, len(qs))
				if err := e.ask(ctx, qs[:n], syncWait); err != nil {
					e.abandon(qs[n:])
					return err
				}
				qs = qs[n:]
			}
			qs = nil
		}
	}
	return nil
}

// upkeep is what there is to say about one account.
func (e *Engine) upkeep(a *account, now time.Time, lost, end bool) (asked, bool) {
	s, l, at := e.shared, a.lease, e.elapsed(now)
	if l.asking != nil {
		return asked{}, false
	}
	if a.key.unit == Concurrency {
		a.expire(at)
		if l.granted == 0 && a.used == 0 {
			return asked{}, false
		}
		resting := end || at-l.touched > restAfter
		want := a.used
		if !resting {
			want += s.slice(a.amount)
		}
		// Lowered here before it is there.
		l.granted = min(l.granted, max(a.used, want))
		q := e.begin(a, now)
		q.Need, q.Want = a.used, want
		return q, true
	}
	if !s.local() && l.spared {
		if l.extra = min(l.extra, max(0, a.used-l.granted)); l.extra == 0 {
			l.spared = false
		}
	}
	left := l.granted - a.used
	active := at-l.touched <= restAfter
	switch {
	case left < 0, lost && l.granted > 0:
		return e.begin(a, now), true
	case left > 0 && (end || !active || l.known > a.amount):
		if !end && active { // others' debts have eaten what was leased here
			left = min(left, l.known-a.amount)
		}
		l.granted -= left
		q := e.begin(a, now)
		q.Return = left
		q.Held = l.granted + left // should the store have lost it, it takes this and gives that back
		return q, true
	case active && !end && l.granted > 0 && left < s.slice(a.amount)/2 && at >= l.deniedUntil && !s.local():
		q := e.begin(a, now)
		q.Want = s.slice(a.amount)
		return q, true
	case active && l.granted > 0:
		return e.begin(a, now), true // what the others have used, should the store go away
	}
	return asked{}, false
}
