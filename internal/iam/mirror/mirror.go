// Package mirror keeps chosen kinds of documents in memory, up to date with the store, for the hot
// path: a call looks things up in an immutable snapshot, behind one atomic pointer, and never asks a
// database or takes a lock.
//
// A mirror follows the store's feed of changes. Every node that runs one sees a change within two
// seconds (PollEvery and one question). While the store does not answer, the last snapshot is served
// for MaxAge; after that Check fails and calls are refused, since a revocation could be missed.
package mirror

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"sallyport.dev/sallyport/internal/gate"
	"sallyport.dev/sallyport/internal/iam/document"
)

const (
	// PollEvery is how often the store is asked what changed.
	PollEvery = 500 * time.Millisecond
	// MaxAge is how long a snapshot is served while the store does not answer.
	MaxAge = 30 * time.Second
	// pollTimeout bounds one question.
	pollTimeout = 5 * time.Second
	// batch is how many changes are read at once.
	batch = 5000
	// anewMost bounds how often a reading from the start is begun again within one refresh, because
	// something was purged meanwhile. The next refresh goes on.
	anewMost = 3
)

// Mirror follows one store. Views and hooks are added before the first Refresh.
type Mirror struct {
	store document.Store
	now   func() time.Time
	fault func(error)

	maxAge time.Duration

	mu      sync.Mutex // one refresh at a time; never taken by a reader
	parts   map[string]part
	hooks   []hook
	at      document.Position // what was applied
	checked atomic.Int64
}

type part interface {
	stage(d *document.Doc) error
	publish()
	drop()
	anew()
}

type hook struct {
	kinds map[string]bool
	f     func() error
}

// New makes a mirror. now may be nil: time.Now. fault, when not nil, is told when the store stops
// answering, and with nil when it answers again.
func New(store document.Store, now func() time.Time, fault func(error)) *Mirror {
	if now == nil {
		now = time.Now
	}
	if fault == nil {
		fault = func(error) {}
	}
	return &Mirror{store: store, now: now, fault: fault, maxAge: MaxAge, parts: map[string]part{}}
}

// Age shortens how long a snapshot is served while the store does not answer. Call it before the first
// Refresh.
func (m *Mirror) Age(d time.Duration) { m.maxAge = min(d, MaxAge) }

// View is one kind of entity as it was at one moment. It is safe for concurrent use.
type View[T document.Entity] struct {
	now  atomic.Pointer[map[string]T]
	next map[string]T // being staged; nil when nothing changed
}

// Add makes a view of a kind.
func Add[T document.Entity](m *Mirror) *View[T] {
	v := &View[T]{}
	v.now.Store(&map[string]T{})
	var z T
	m.parts[z.Head().Kind] = v
	return v
}

// All are the entities by id. The map and what is in it must not be changed.
func (v *View[T]) All() map[string]T { return *v.now.Load() }

// Get looks one up.
func (v *View[T]) Get(id string) (T, bool) {
	x, ok := (*v.now.Load())[id]
	return x, ok
}

func (v *View[T]) stage(d *document.Doc) error {
	if v.next == nil {
		v.next = maps.Clone(*v.now.Load())
	}
	if d.Deleted {
		delete(v.next, d.ID)
		return nil
	}
	x, err := document.Decode[T](d)
	if err != nil {
		return err
	}
	v.next[d.ID] = x
	return nil
}

func (v *View[T]) publish() {
	if next := v.next; next != nil {
		v.now.Store(&next)
		v.next = nil
	}
}

func (v *View[T]) drop() { v.next = nil }

// anew stages from nothing.
func (v *View[T]) anew() { v.next = map[string]T{} }

// After has f called after changes of these kinds were published, and once at the first refresh, before
// the age is renewed: an error is one of the refresh, and f is called again at the next.
func (m *Mirror) After(f func() error, kinds ...string) {
	h := hook{kinds: map[string]bool{}, f: f}
	for _, k := range kinds {
		h.kinds[k] = true
	}
	m.hooks = append(m.hooks, h)
}

// Refresh asks the store once and takes what changed, all of it or nothing.
func (m *Mirror) Refresh(ctx context.Context) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, pollTimeout)
	defer cancel()
	asked := m.now() // an answer that took long says how things were then
	err := m.take(ctx)
	if err != nil {
		for _, p := range m.parts {
			p.drop()
		}
		return fmt.Errorf("mirror: %w", err)
	}
	m.checked.Store(asked.UnixNano())
	return nil
}

// take reads what changed. Where changes were missed, everything is read anew: what is in memory and no
// longer in the store is gone when that is published.
func (m *Mirror) take(ctx context.Context) error {
	first := m.checked.Load() == 0
	at, changed, err := m.stage(ctx, m.at)
	for n := 0; errors.Is(err, document.ErrGap) && n < anewMost; n++ {
		first = true
		for _, p := range m.parts {
			p.anew()
		}
		at, changed, err = m.stage(ctx, document.Position{})
	}
	if err != nil {
		return err
	}
	if !first && len(changed) == 0 {
		m.at = at
		return nil
	}
	for _, p := range m.parts {
		p.publish()
	}
	for _, h := range m.hooks {
		run := first
		for k := range changed {
			run = run || h.kinds[k]
		}
		if !run {
			continue
		}
		if err := h.f(); err != nil {
			return err // the position stays: the same changes are taken again, and the hook with them
		}
	}
	m.at = at
	return nil
}

// stage has the parts take what changed since a position, and says of which kinds.
func (m *Mirror) stage(ctx context.Context, at document.Position) (document.Position, map[string]bool, error) {
	changed := map[string]bool{}
	for {
		ds, next, err := m.store.Changes(ctx, at, batch)
		if err != nil {
			return at, nil, err
		}
		for i := range ds {
			if p := m.parts[ds[i].Kind]; p != nil {
				if err := p.stage(&ds[i]); err != nil {
					return at, nil, err
				}
				changed[ds[i].Kind] = true
			}
		}
		if at = next; len(ds) < batch {
			return at, changed, nil
		}
	}
}

// Check returns a gate.Fault when what is in memory is too old to decide by.
func (m *Mirror) Check(now time.Time) error {
	at := m.checked.Load()
	if at == 0 {
		return gate.Fail(gate.FailIdentity, fmt.Errorf("mirror: nothing was read yet"))
	}
	if age := now.Sub(time.Unix(0, at)); age > m.maxAge {
		return gate.Fail(gate.FailIdentity, fmt.Errorf("mirror: the store has not answered for %v", age.Round(time.Second)))
	}
	return nil
}

// Run keeps the mirror fresh until ctx ends.
func (m *Mirror) Run(ctx context.Context) {
	poll := time.NewTicker(PollEvery)
	defer poll.Stop()
	failing := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-poll.C:
		}
		err := m.Refresh(ctx)
		if ctx.Err() == nil && (err != nil) != failing {
			failing = err != nil
			m.fault(err)
		}
	}
}
