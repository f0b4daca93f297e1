package federation

import (
	"context"
	"errors"
	"sync"
	"time"
)

// Once remembers what may be used a single time: sign-ins, SAML assertions, logout tokens.
type Once interface {
	// First says whether id is seen for the first time. Of concurrent calls with one id exactly
	// one gets true, on whichever node; the id is remembered until then at least. An error means
	// that it is not known, and the sign-in fails.
	First(ctx context.Context, id string, until time.Time) (bool, error)
}

// ErrFull: the memory holds as much as it may. Forgetting something would let it be used again.
var ErrFull = errors.New("federation: too many sign-ins at once")

// Memory is the Once of a single node. It is safe for concurrent use.
type Memory struct {
	max int
	now func() time.Time

	mu   sync.Mutex
	seen map[string]time.Time
	next time.Time // when to look for what has ended
}

// NewMemory keeps at most limit ids (default 65,536) that have not ended. now: nil for time.Now.
func NewMemory(limit int, now func() time.Time) *Memory {
	if limit <= 0 {
		limit = 1 << 16
	}
	if now == nil {
		now = time.Now
	}
	return &Memory{max: limit, now: now, seen: map[string]time.Time{}}
}

// First implements Once.
func (m *Memory) First(_ context.Context, id string, until time.Time) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.now()
	if end, ok := m.seen[id]; ok && now.Before(end) {
		return false, nil
	}
	if len(m.seen) >= m.max || now.After(m.next) {
		// When full it sweeps at most once a second, so that a flood costs no more than a look.
		if now.After(m.next) {
			for k, end := range m.seen {
				if !now.Before(end) {
					delete(m.seen, k)
				}
			}
			m.next = now.Add(time.Second)
		}
		if len(m.seen) >= m.max {
			return false, ErrFull
		}
	}
	m.seen[id] = until
	return true, nil
}
