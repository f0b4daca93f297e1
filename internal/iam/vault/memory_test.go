package vault

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"sync"

	"sallyport.dev/sallyport/internal/iam/document"
	"sallyport.dev/sallyport/internal/secret/envelope"
)

var errDown = errors.New("the store is down")

// memory is a document store and a store of data keys. It notes all it was ever given.
type memory struct {
	mu   sync.Mutex
	docs map[string]document.Doc
	rev  int64
	seen bytes.Buffer
	down bool
}

func newMemory() *memory {
	return &memory{docs: map[string]document.Doc{}}
}

func (m *memory) with(f func() error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.down {
		return errDown
	}
	return f()
}

func (m *memory) setDown(v bool) { m.mu.Lock(); m.down = v; m.mu.Unlock() }

type tx struct{ docs map[string]document.Doc }

func (t tx) Get(_ context.Context, kind, id string) (document.Doc, error) {
	d, ok := t.docs[kind+"/"+id]
	if !ok || d.Deleted {
		return document.Doc{}, document.ErrNotFound
	}
	d.Body = bytes.Clone(d.Body)
	return d, nil
}

func (t tx) Find(_ context.Context, kind, key string) (document.Doc, error) {
	for _, d := range t.docs {
		if d.Kind == kind && !d.Deleted && slices.Contains(d.Keys, key) {
			return d, nil
		}
	}
	return document.Doc{}, document.ErrNotFound
}

func (t tx) List(_ context.Context, q document.Query) (ds []document.Doc, err error) {
	for _, d := range t.docs {
		if d.Kind == q.Kind && !d.Deleted && (q.Tenant == nil || *q.Tenant == d.Tenant) {
			ds = append(ds, d)
		}
	}
	slices.SortFunc(ds, func(a, b document.Doc) int { return cmp.Compare(a.ID, b.ID) })
	return ds, nil
}

type writing struct {
	tx
	m *memory
}

func (w writing) Put(ctx context.Context, d document.Doc) (int64, error) {
	if err := document.Check(&d); err != nil {
		return 0, err
	}
	w.m.seen.Write(d.Body)
	_ = json.NewEncoder(&w.m.seen).Encode(d)
	old, exists := w.docs[d.Kind+"/"+d.ID]
	if d.Revision == 0 && exists {
		return 0, document.ErrExists
	}
	if d.Revision != 0 && (!exists || old.Revision != d.Revision) {
		return 0, document.ErrConflict
	}
	for _, k := range d.Keys {
		if o, err := w.Find(ctx, d.Kind, k); err == nil && o.ID != d.ID {
			return 0, document.ErrExists
		}
	}
	w.m.rev++
	d.Revision = w.m.rev
	w.docs[d.Kind+"/"+d.ID] = d
	return d.Revision, nil
}

func (w writing) Delete(ctx context.Context, kind, id string) error {
	d, err := w.Get(ctx, kind, id)
	if err != nil {
		return err
	}
	w.m.rev++
	w.docs[kind+"/"+id] = document.Doc{Kind: kind, ID: id, Tenant: d.Tenant, Revision: w.m.rev, Deleted: true}
	return nil
}

func (m *memory) Get(ctx context.Context, kind, id string) (d document.Doc, err error) {
	err = m.with(func() error { d, err = tx{m.docs}.Get(ctx, kind, id); return err })
	return d, err
}

func (m *memory) Find(ctx context.Context, kind, key string) (d document.Doc, err error) {
	err = m.with(func() error { d, err = tx{m.docs}.Find(ctx, kind, key); return err })
	return d, err
}

func (m *memory) List(ctx context.Context, q document.Query) (ds []document.Doc, err error) {
	err = m.with(func() error { ds, err = tx{m.docs}.List(ctx, q); return err })
	return ds, err
}

func (m *memory) Changes(_ context.Context, at document.Position, _ int) (ds []document.Doc, next document.Position, err error) {
	next = at
	err = m.with(func() error {
		for _, d := range m.docs {
			if d.Revision > at.Revision {
				ds = append(ds, d)
				next.Revision = max(next.Revision, d.Revision)
			}
		}
		slices.SortFunc(ds, func(a, b document.Doc) int { return cmp.Compare(a.Revision, b.Revision) })
		return nil
	})
	return ds, next, err
}

func (m *memory) Write(_ context.Context, f func(document.Tx) error) error {
	return m.with(func() error {
		draft := maps.Clone(m.docs)
		if err := f(writing{tx{draft}, m}); err != nil {
			return err
		}
		m.docs = draft
		return nil
	})
}

// dataKeys is the other store in memory. It has a lock of its own, as another table does: data keys
// may be read while a document is written.
type dataKeys struct {
	mu   sync.Mutex
	rows map[string]map[uint32]envelope.Wrapped
	down bool
	seen bytes.Buffer
}

func (k *dataKeys) Get(_ context.Context, tenant string, version uint32) (envelope.Wrapped, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.down {
		return envelope.Wrapped{}, errDown
	}
	w, ok := k.rows[tenant][version]
	if !ok {
		return w, envelope.ErrNotFound
	}
	return w, nil
}

func (k *dataKeys) List(_ context.Context, tenant *string) (ws []envelope.Wrapped, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.down {
		return nil, errDown
	}
	for t, vs := range k.rows {
		for _, w := range vs {
			if tenant == nil || *tenant == t {
				ws = append(ws, w)
			}
		}
	}
	return ws, nil
}

func (k *dataKeys) Put(_ context.Context, w envelope.Wrapped) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.seen.Write(w.Blob)
	if k.down {
		return errDown
	}
	if _, ok := k.rows[w.Tenant][w.Version]; ok {
		return envelope.ErrExists
	}
	if k.rows == nil {
		k.rows = map[string]map[uint32]envelope.Wrapped{}
	}
	if k.rows[w.Tenant] == nil {
		k.rows[w.Tenant] = map[uint32]envelope.Wrapped{}
	}
	k.rows[w.Tenant][w.Version] = w
	return nil
}

func (k *dataKeys) Swap(_ context.Context, old []byte, w envelope.Wrapped) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !bytes.Equal(k.rows[w.Tenant][w.Version].Blob, old) {
		return envelope.ErrConflict
	}
	k.rows[w.Tenant][w.Version] = w
	return nil
}

func (k *dataKeys) setDown(v bool) { k.mu.Lock(); k.down = v; k.mu.Unlock() }
