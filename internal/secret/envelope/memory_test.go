package envelope

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"sync"
)

var errStore = errors.New("the store is down")

// memory is a store as a database is one: it keeps copies, and notes all it was ever given.
type memory struct {
	mu     sync.Mutex
	rows   map[string]map[uint32]Wrapped
	seen   bytes.Buffer
	calls  int
	down   bool
	before func(op string) error // fails before the effect
	after  func(op string) error // fails after it, as a lost answer does
}

func newMemory() *memory { return &memory{rows: map[string]map[uint32]Wrapped{}} }

func (m *memory) begin(op string, what any) (func(*error), error) {
	m.mu.Lock()
	m.calls++
	if w, ok := what.(Wrapped); ok {
		m.seen.Write(w.Blob)
	}
	_ = json.NewEncoder(&m.seen).Encode(what)
	if m.down {
		m.mu.Unlock()
		return nil, errStore
	}
	if m.before != nil {
		if err := m.before(op); err != nil {
			m.mu.Unlock()
			return nil, err
		}
	}
	return func(err *error) {
		if *err == nil && m.after != nil {
			*err = m.after(op)
		}
		m.mu.Unlock()
	}, nil
}

func (m *memory) Get(_ context.Context, tenant string, version uint32) (w Wrapped, err error) {
	end, err := m.begin("get", tenant)
	if err != nil {
		return w, err
	}
	defer end(&err)
	w, ok := m.rows[tenant][version]
	if !ok {
		return w, ErrNotFound
	}
	w.Blob = bytes.Clone(w.Blob)
	return w, nil
}

func (m *memory) List(_ context.Context, tenant *string) (ws []Wrapped, err error) {
	end, err := m.begin("list", tenant)
	if err != nil {
		return nil, err
	}
	defer end(&err)
	for t, vs := range m.rows {
		if tenant != nil && t != *tenant {
			continue
		}
		for _, w := range vs {
			w.Blob = bytes.Clone(w.Blob)
			ws = append(ws, w)
		}
	}
	return ws, nil
}

func (m *memory) Put(_ context.Context, w Wrapped) (err error) {
	end, err := m.begin("put", w)
	if err != nil {
		return err
	}
	defer end(&err)
	if _, ok := m.rows[w.Tenant][w.Version]; ok {
		return ErrExists
	}
	if m.rows[w.Tenant] == nil {
		m.rows[w.Tenant] = map[uint32]Wrapped{}
	}
	w.Blob = bytes.Clone(w.Blob)
	m.rows[w.Tenant][w.Version] = w
	return nil
}

func (m *memory) Swap(_ context.Context, old []byte, w Wrapped) (err error) {
	end, err := m.begin("swap", w)
	if err != nil {
		return err
	}
	defer end(&err)
	is, ok := m.rows[w.Tenant][w.Version]
	if !ok || !bytes.Equal(is.Blob, old) {
		return ErrConflict
	}
	is.KEK, is.Blob = w.KEK, bytes.Clone(w.Blob)
	m.rows[w.Tenant][w.Version] = is
	return nil
}

func (m *memory) count() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.calls
}

func (m *memory) setDown(v bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.down = v
}
