package jwks

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// ErrUnavailable: no keys were read yet, or the last that were are too old to be trusted.
var ErrUnavailable = errors.New("jwks: the issuer's keys are not available")

// Source is where a key set comes from. A Source is safe for concurrent use.
type Source interface {
	// JWKS returns the document as it is now. It honours ctx.
	JWKS(ctx context.Context) ([]byte, error)
}

// Options makes a Set. Zero durations mean the defaults.
type Options struct {
	Source Source
	// Every is how often the keys are read again; default 5 min, jittered by a tenth.
	Every time.Duration
	// Unknown is the shortest time between two readings that unknown key ids cause; default 10 s.
	// However many tokens name keys that do not exist, there is one reading in that time.
	Unknown time.Duration
	// MaxStale is how long keys serve after the last reading that went well; then every token of
	// the issuer fails. Default 1 h.
	MaxStale time.Duration
	// Timeout bounds one reading; default 5 s.
	Timeout time.Duration
	// Now is the clock; nil: time.Now.
	Now func() time.Time
	// Fault, when set, is told when a reading fails, and when one goes well again (nil), one call
	// after the other. It must not call the Set.
	Fault func(error)
}

// waiters is how many callers may wait for one reading that their unknown key caused; others are
// refused at once, so that a slow issuer cannot hold up calls without number.
const waiters = 32

// Keys is a key set at one moment. It never changes.
type Keys struct {
	byID map[string][]*Key
	// Generation changes when the issuer's document does.
	Generation uint64
}

// Find returns the keys with this id, compared as a plain string, that fit the algorithm.
func (k *Keys) Find(kid, alg string) []*Key {
	var out []*Key
	for _, key := range k.byID[kid] {
		if key.Fits(alg) {
			out = append(out, key)
		}
	}
	return out
}

type snapshot struct {
	keys    *Keys
	sum     [sha256.Size]byte
	expires time.Time
}

// Set is one issuer's keys, kept fresh. It is safe for concurrent use.
type Set struct {
	o    Options
	snap atomic.Pointer[snapshot]
	last atomic.Pointer[time.Time] // when a reading last began

	mu      sync.Mutex // reading; never taken by Keys
	reading chan struct{}
	failing bool
	waiting atomic.Int32
}

// New checks the options. It reads nothing: Refresh or Run does.
func New(o Options) (*Set, error) {
	if o.Source == nil {
		return nil, errors.New("jwks: no source is given")
	}
	for _, d := range []struct {
		v   *time.Duration
		def time.Duration
	}{{&o.Every, 5 * time.Minute}, {&o.Unknown, 10 * time.Second}, {&o.MaxStale, time.Hour}, {&o.Timeout, 5 * time.Second}} {
		if *d.v < 0 {
			return nil, errors.New("jwks: a duration is negative")
		}
		if *d.v == 0 {
			*d.v = d.def
		}
	}
	if o.MaxStale <= o.Every {
		return nil, fmt.Errorf("jwks: keys would serve for %v but be read every %v; expected a longer time to serve", o.MaxStale, o.Every)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Fault == nil {
		o.Fault = func(error) {}
	}
	return &Set{o: o}, nil
}

// Keys returns the keys of the moment, or ErrUnavailable. It takes no lock.
func (s *Set) Keys(now time.Time) (*Keys, error) {
	p := s.snap.Load()
	if p == nil || !now.Before(p.expires) {
		return nil, ErrUnavailable
	}
	return p.keys, nil
}

// Run reads the keys at once and then again and again until ctx ends; after a failure sooner, from
// 1 s on and doubling.
func (s *Set) Run(ctx context.Context) {
	retry := time.Second
	for {
		wait := s.o.Every - rand.N(s.o.Every/10+1)
		if err := s.Refresh(ctx); err != nil {
			wait = min(retry, s.o.Every)
			retry *= 2
		} else {
			retry = time.Second
		}
		t := time.NewTimer(wait)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return
		}
	}
}

// Refresh reads the keys now, or waits for the reading that is under way.
func (s *Set) Refresh(ctx context.Context) error {
	done := s.begin(true)
	select {
	case <-done:
	case <-ctx.Done():
		return ctx.Err()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failing {
		return ErrUnavailable
	}
	return nil
}

// Missing is told that a token names a key that is not in the set. It causes a reading unless one
// began less than Unknown ago, and waits for it, for at most wait. It says whether it is worth to
// look again.
func (s *Set) Missing(ctx context.Context, wait time.Duration) bool {
	if s.waiting.Add(1) > waiters {
		s.waiting.Add(-1)
		return false
	}
	defer s.waiting.Add(-1)
	done := s.begin(false)
	if done == nil {
		return false
	}
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-done:
		return true
	case <-t.C:
	case <-ctx.Done():
	}
	return false
}

// begin starts a reading, or joins the one under way. Without force it starts none so soon after
// the last, and returns nil.
func (s *Set) begin(force bool) <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.reading != nil {
		return s.reading
	}
	now := s.o.Now()
	if last := s.last.Load(); !force && last != nil && now.Sub(*last) < s.o.Unknown {
		return nil
	}
	s.last.Store(&now)
	done := make(chan struct{})
	s.reading = done
	// It is not the caller's: who leaves does not end it for the others.
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), s.o.Timeout)
		defer cancel()
		err := s.read(ctx, now)
		if err != nil || s.failing { // only one reading at a time writes it
			s.o.Fault(err)
		}
		s.mu.Lock()
		s.reading, s.failing = nil, err != nil
		s.mu.Unlock()
		close(done)
	}()
	return done
}

// read takes a new document. Its age counts from before the question.
func (s *Set) read(ctx context.Context, asked time.Time) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("jwks: reading the keys: panic: %v", r)
		}
	}()
	raw, err := s.o.Source.JWKS(ctx)
	if err != nil {
		return fmt.Errorf("jwks: fetch the keys: %w", err)
	}
	next := &snapshot{sum: sha256.Sum256(raw), expires: asked.Add(s.o.MaxStale)}
	old := s.snap.Load()
	if old != nil && old.sum == next.sum {
		next.keys = old.keys
		s.snap.Store(next)
		return nil
	}
	keys, _, err := Parse(raw)
	if err != nil {
		return err
	}
	next.keys = &Keys{byID: make(map[string][]*Key, len(keys)), Generation: 1}
	if old != nil {
		next.keys.Generation = old.keys.Generation + 1
	}
	for i := range keys {
		k := &keys[i]
		next.keys.byID[k.ID] = append(next.keys.byID[k.ID], k)
	}
	s.snap.Store(next)
	return nil
}
