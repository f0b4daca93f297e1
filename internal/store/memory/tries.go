package memory

import (
	"context"
	"sync"
	"time"

	"sallyport.dev/sallyport/internal/iam/throttle"
)

// Tries is a throttle.Store of one process. It is empty as its zero value.
type Tries struct {
	Now func() time.Time // nil: time.Now
	// Every is how often a change also takes away what has ended; 0: only Sweep does.
	Every time.Duration

	mu    sync.Mutex
	cells map[throttle.Place]throttle.Cell
	swept time.Time
}

var _ throttle.Store = (*Tries)(nil)

func (s *Tries) now() time.Time {
	if s.Now != nil {
		return s.Now()
	}
	return time.Now()
}

func (s *Tries) read(places []throttle.Place) []throttle.Cell {
	cells := make([]throttle.Cell, len(places))
	for i, p := range places {
		cells[i] = s.cells[p]
	}
	return cells
}

// Look implements throttle.Store.
func (s *Tries) Look(ctx context.Context, places []throttle.Place) (time.Time, []throttle.Cell, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now(), s.read(places), ctx.Err()
}

// Change implements throttle.Store.
func (s *Tries) Change(ctx context.Context, places []throttle.Place, f func(time.Time, []throttle.Cell) bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	now, cells := s.now(), s.read(places)
	if !f(now, cells) {
		return nil
	}
	if s.Every > 0 && now.Sub(s.swept).Abs() >= s.Every {
		s.sweep(now)
	}
	if s.cells == nil {
		s.cells = map[throttle.Place]throttle.Cell{}
	}
	for i, p := range places {
		if s.cells[p] = cells[i]; cells[i] == (throttle.Cell{}) {
			delete(s.cells, p)
		}
	}
	return nil
}

// Sweep implements throttle.Store.
func (s *Tries) Sweep(ctx context.Context) (n int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	return s.sweep(s.now()), nil
}

func (s *Tries) sweep(now time.Time) (n int) {
	s.swept = now
	for p, c := range s.cells {
		if !c.Ends.After(now) {
			delete(s.cells, p)
			n++
		}
	}
	return n
}

// Len is how many cells there are.
func (s *Tries) Len() int { s.mu.Lock(); defer s.mu.Unlock(); return len(s.cells) }
