package approval

import (
	"context"
	"slices"
	"sync"
)

// Memory is a Store of one process. What waits is lost when it ends, which is closed: a change must
// be asked for and approved again.
type Memory struct {
	mu sync.Mutex
	m  map[[2]string]Change
}

// Insert implements Store.
func (m *Memory) Insert(_ context.Context, c Change) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	key := [2]string{c.Tenant, c.ID}
	if _, taken := m.m[key]; taken {
		return ErrChanged
	}
	if m.m == nil {
		m.m = map[[2]string]Change{}
	}
	m.m[key] = c
	return nil
}

// Get implements Store.
func (m *Memory) Get(_ context.Context, tenant, id string) (Change, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	c, ok := m.m[[2]string{tenant, id}]
	if !ok {
		return Change{}, ErrNotFound
	}
	return c, nil
}

// Swap implements Store.
func (m *Memory) Swap(_ context.Context, c Change) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	key := [2]string{c.Tenant, c.ID}
	if old, ok := m.m[key]; !ok || old.Version != c.Version {
		return ErrChanged
	}
	c.Version++
	m.m[key] = c
	return nil
}

// List implements Store.
func (m *Memory) List(_ context.Context, tenant string) ([]Change, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []Change
	for _, c := range m.m {
		if c.Tenant == tenant {
			out = append(out, c)
		}
	}
	slices.SortFunc(out, func(a, b Change) int {
		if c := b.Created.Compare(a.Created); c != 0 {
			return c
		}
		if a.ID < b.ID {
			return -1
		}
		return 1
	})
	return out, nil
}
