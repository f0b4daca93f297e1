// Package memory is a document.Store that forgets everything when the process ends: for tests, and for
// a gateway that is only tried out.
package memory

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"sallyport.dev/sallyport/internal/iam/document"
)

// Documents is an empty store after its zero value. It is safe for concurrent use.
type Documents struct {
	Now func() time.Time // nil: time.Now

	mu     sync.RWMutex
	state  state
	purged int64
	marks  []mark // by time
}

// mark is how far the revisions had come at a time.
type mark struct {
	at       time.Time
	revision int64
}

// state is everything that is kept. A transaction works on a copy of its maps.
type state struct {
	docs map[[2]string]document.Doc // by kind and id, tombstones included
	keys map[[2]string]string       // id by kind and key, of the living
	last int64
}

var (
	_ document.Store  = (*Documents)(nil)
	_ document.Purger = (*Documents)(nil)
)

func (s *Documents) read(ctx context.Context) (*state, func(), error) {
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	s.mu.RLock()
	return &s.state, s.mu.RUnlock, nil
}

// Get implements document.Reader.
func (s *Documents) Get(ctx context.Context, kind, id string) (document.Doc, error) {
	st, done, err := s.read(ctx)
	if err != nil {
		return document.Doc{}, err
	}
	defer done()
	return st.get(kind, id)
}

// Find implements document.Reader.
func (s *Documents) Find(ctx context.Context, kind, key string) (document.Doc, error) {
	st, done, err := s.read(ctx)
	if err != nil {
		return document.Doc{}, err
	}
	defer done()
	return st.find(kind, key)
}

// List implements document.Reader.
func (s *Documents) List(ctx context.Context, q document.Query) ([]document.Doc, error) {
	st, done, err := s.read(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	return st.list(q), nil
}

// Changes implements document.Store.
func (s *Documents) Changes(ctx context.Context, at document.Position, limit int) ([]document.Doc, document.Position, error) {
	st, done, err := s.read(ctx)
	if err != nil {
		return nil, at, err
	}
	defer done()
	next, err := at.Next(s.purged, st.last)
	if err != nil {
		return nil, at, err
	}
	var out []document.Doc
	for _, d := range st.docs {
		if d.Revision > at.Revision {
			out = append(out, clone(d))
		}
	}
	slices.SortFunc(out, func(a, b document.Doc) int { return int(a.Revision - b.Revision) })
	if limit > 0 && len(out) > limit {
		out = out[:limit]
	}
	if len(out) > 0 {
		next.Revision = out[len(out)-1].Revision
	}
	return out, next, nil
}

// Purge implements document.Purger.
func (s *Documents) Purge(ctx context.Context, keep time.Duration, forever []string) (n int, err error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if s.Now != nil {
		now = s.Now()
	}
	s.marks = slices.DeleteFunc(s.marks, func(m mark) bool { return m.at.After(now) }) // the clock was set back
	if l := len(s.marks); l > 0 && now.Sub(s.marks[l-1].at) < document.PurgeEvery {
		return 0, nil
	}
	s.marks = append(s.marks, mark{now, s.state.last})
	var upTo int64
	for len(s.marks) > 1 && now.Sub(s.marks[1].at) >= keep {
		s.marks = s.marks[1:]
	}
	if now.Sub(s.marks[0].at) >= keep {
		upTo = s.marks[0].revision
	}
	for at, d := range s.state.docs {
		if d.Deleted && d.Revision <= upTo && !slices.Contains(forever, d.Kind) && n < document.PurgeMost {
			delete(s.state.docs, at)
			s.purged = max(s.purged, d.Revision)
			n++
		}
	}
	return n, nil
}

// Write implements document.Store.
func (s *Documents) Write(ctx context.Context, f func(document.Tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	tx := &tx{state{docs: map[[2]string]document.Doc{}, keys: map[[2]string]string{}, last: s.state.last}}
	maps.Copy(tx.docs, s.state.docs)
	maps.Copy(tx.keys, s.state.keys)
	if err := f(tx); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	s.state = tx.state
	return nil
}

type tx struct{ state }

func (t *tx) Get(_ context.Context, kind, id string) (document.Doc, error) { return t.get(kind, id) }
func (t *tx) Find(_ context.Context, kind, key string) (document.Doc, error) {
	return t.find(kind, key)
}
func (t *tx) List(_ context.Context, q document.Query) ([]document.Doc, error) {
	return t.list(q), nil
}

func (t *tx) Put(_ context.Context, d document.Doc) (int64, error) {
	if err := document.Check(&d); err != nil {
		return 0, err
	}
	at := [2]string{d.Kind, d.ID}
	old, known := t.docs[at]
	switch {
	case d.Revision == 0 && known:
		return 0, document.ErrExists
	case d.Revision != 0 && (!known || old.Deleted):
		return 0, document.ErrNotFound
	case d.Revision != old.Revision:
		return 0, document.ErrConflict
	}
	for _, k := range d.Keys {
		if holder, taken := t.keys[[2]string{d.Kind, k}]; taken && holder != d.ID {
			return 0, document.ErrExists
		}
	}
	t.free(old)
	for _, k := range d.Keys {
		t.keys[[2]string{d.Kind, k}] = d.ID
	}
	t.last++
	d = clone(d)
	d.Revision, d.Deleted = t.last, false
	t.docs[at] = d
	return t.last, nil
}

func (t *tx) Delete(_ context.Context, kind, id string) error {
	at := [2]string{kind, id}
	old, ok := t.docs[at]
	if !ok || old.Deleted {
		return document.ErrNotFound
	}
	t.free(old)
	t.last++
	t.docs[at] = document.Doc{Kind: kind, ID: id, Tenant: old.Tenant, Revision: t.last, Deleted: true}
	return nil
}

func (t *tx) free(d document.Doc) {
	for _, k := range d.Keys {
		delete(t.keys, [2]string{d.Kind, k})
	}
}

func (s *state) get(kind, id string) (document.Doc, error) {
	d, ok := s.docs[[2]string{kind, id}]
	if !ok || d.Deleted {
		return document.Doc{}, document.ErrNotFound
	}
	return clone(d), nil
}

func (s *state) find(kind, key string) (document.Doc, error) {
	id, ok := s.keys[[2]string{kind, key}]
	if !ok {
		return document.Doc{}, document.ErrNotFound
	}
	return s.get(kind, id)
}

func (s *state) list(q document.Query) []document.Doc {
	var out []document.Doc
	for _, d := range s.docs {
		if d.Kind == q.Kind && !d.Deleted && d.ID > q.After && (q.Tenant == nil || d.Tenant == *q.Tenant) {
			out = append(out, clone(d))
		}
	}
	slices.SortFunc(out, func(a, b document.Doc) int {
		if a.ID < b.ID {
			return -1
		}
		return 1
	})
	if q.Limit > 0 && len(out) > q.Limit {
		out = out[:q.Limit]
	}
	return out
}

// clone shares no memory, so that nobody changes what is kept.
func clone(d document.Doc) document.Doc {
	d.Keys, d.Body = slices.Clone(d.Keys), slices.Clone(d.Body)
	return d
}
