package quota

import (
	"context"
	"maps"
	"time"
)

// sweepEvery is how often the memory of idle subjects is given back.
const sweepEvery = 10 * time.Second

// Run gives back the memory of idle subjects and, with a store, keeps what is leased in step with it,
// until ctx ends. Then it returns what it holds to the store.
func (e *Engine) Run(ctx context.Context) {
	sweep := time.NewTicker(sweepEvery)
	defer sweep.Stop()
	var sync <-chan time.Time
	if e.shared != nil {
		t := time.NewTicker(e.shared.every)
		defer t.Stop()
		sync = t.C
	}
	for {
		select {
		case <-sweep.C:
			e.Sweep()
		case <-sync:
			e.Sync(ctx)
		case <-ctx.Done():
			if e.shared != nil {
				e.giveBack()
			}
			return
		}
	}
}

// Sweep forgets the accounts that say nothing: no use in the current window, no debt, no call in
// flight, nothing leased. Run does so by itself.
func (e *Engine) Sweep() {
	now := e.time()
	// Before anything is forgotten, so that a clock that goes back meanwhile finds it.
	for f := e.floor.Load(); f < now.UnixNano() && !e.floor.CompareAndSwap(f, now.UnixNano()); f = e.floor.Load() {
	}
	at := e.elapsed(now)
	for i := range e.shards {
		s := &e.shards[i]
		s.mu.Lock()
		for id, a := range s.m {
			var keep *account
			for a != nil {
				next := a.next
				a.roll(now)
				a.expire(at)
				// One whose window the clock has left backwards stays: it knows that the windows before
				// it are over.
				if n, _ := a.key.window.index(now); a.used != 0 || a.index > n || !a.lease.idle() {
					a.next, keep = keep, a
				} else {
					a.gone = true
				}
				a = next
			}
			if keep == nil {
				delete(s.m, id)
			} else {
				s.m[id] = keep
			}
		}
		// A map keeps its memory when its entries go; a new one does not have it.
		if s.peak > 64 && len(s.m)*4 < s.peak {
			m := make(map[uint64]*account, len(s.m))
			maps.Copy(m, s.m)
			s.m, s.peak = m, len(m)
		}
		s.mu.Unlock()
	}
}

// Accounts is the number of subjects, units and windows that are remembered.
func (e *Engine) Accounts() int {
	n := 0
	for i := range e.shards {
		s := &e.shards[i]
		s.mu.Lock()
		for _, a := range s.m {
			for ; a != nil; a = a.next {
				n++
			}
		}
		s.mu.Unlock()
	}
	return n
}

// Used is what the bound's subject has used in the current window, as far as this node knows.
func (e *Engine) Used(b Bound) int64 {
	now := e.time()
	k := key{b.Subject, b.Unit, b.Window}
	s, id := e.locate(&k)
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.find(id, &k)
	if a == nil {
		return 0
	}
	a.roll(now)
	a.expire(e.elapsed(now))
	return a.used
}
