package iam

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"sallyport.dev/sallyport/internal/gate"
)

// flushEvery is how often times of use are written; useGrain is how coarse they are.
const (
	flushEvery = time.Minute
	useGrain   = time.Hour
)

// entry is one key in memory. The key never changes; only the time of use does, once an hour.
type entry struct {
	key   Key
	memo  Memo
	noted atomic.Int64  // of used, what was seen or written here: it is looked at with each call, used seldom
	used  *atomic.Int64 // Unix seconds, a multiple of useGrain; shared by successive snapshots
}

// snapshot is all keys as they were at one version. It never changes.
type snapshot struct {
	version int64
	keys    *table
	checked time.Time // when the store last said that this is how things are
}

// keyring serves keys from memory. find takes no lock: it loads one pointer.
type keyring struct {
	store KeyReader
	now   func() time.Time

	maxAge time.Duration
	snap   atomic.Pointer[snapshot]

	mu      sync.Mutex       // one refresh or flush at a time; never taken by find
	written map[string]int64 // times of use that the store has
	same    same
}

func newKeyring(s KeyReader, now func() time.Time) *keyring {
	return &keyring{store: s, now: now, maxAge: MaxAge, written: map[string]int64{}}
}

// find looks a key up. The error is a gate.Fault when what is in memory is too old to be trusted.
//
// Where there is no such key it is another one (see table), which is compared with in the same way.
func (r *keyring) find(id string, now time.Time) (e *entry, known bool, err error) {
	s := r.snap.Load()
	if s == nil {
		return nil, false, gate.Fail(gate.FailIdentity, fmt.Errorf("iam: no keys were read yet"))
	}
	if age := now.Sub(s.checked); age > r.maxAge {
		return nil, false, gate.Fail(gate.FailIdentity, fmt.Errorf("iam: the key store has not answered for %v", age.Round(time.Second)))
	}
	if e, known = s.keys.find(id); e == nil {
		return nobody, false, nil
	}
	return e, known, nil
}

// refresh asks the store for its version, and when it is a new one for the keys that changed.
func (r *keyring) refresh(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	// The age counts from before the question: an answer that took long says how things were then.
	asked, old := r.now(), r.snap.Load()
	if old == nil {
		return r.load(ctx, asked, 0, &snapshot{})
	}
	v, err := r.store.Version(ctx)
	if err != nil {
		return fmt.Errorf("iam: reading the version of the key store: %w", err)
	}
	if v == old.version {
		r.snap.Store(&snapshot{version: v, keys: old.keys, checked: asked})
		return nil
	}
	return r.load(ctx, asked, old.version, old)
}

// load takes the keys that changed after a version over what is known.
func (r *keyring) load(ctx context.Context, asked time.Time, after int64, old *snapshot) error {
	keys, whole, v, err := r.store.Changed(ctx, after)
	if err != nil {
		return fmt.Errorf("iam: reading the keys: %w", err)
	}
	read := make([]*entry, 0, len(keys))
	r.same.begin(whole)
	for i := range keys {
		e := &entry{key: keys[i]}
		e.key.memo = &e.memo
		r.same.of(&e.key)
		if was, ok := old.keys.find(e.key.ID); ok {
			e.used = was.used
		} else {
			e.used = new(atomic.Int64)
			if !e.key.LastUsed.IsZero() {
				e.used.Store(e.key.LastUsed.Unix())
				r.written[e.key.ID] = e.key.LastUsed.Unix()
			}
		}
		read = append(read, e)
	}
	had := old.keys
	if whole {
		had = nil
	}
	r.snap.Store(&snapshot{version: v, keys: newTable(had, read), checked: asked})
	return nil
}

// note remembers that a key was used. It writes shared memory at most once an hour per key.
func (e *entry) note(now time.Time) {
	if t := now.Truncate(useGrain).Unix(); e.noted.Load() < t {
		e.noted.Store(t)
		if e.used.Load() < t {
			e.used.Store(t)
		}
	}
}

// flushUse tells the store which keys were used, if it wants to know.
func (r *keyring) flushUse(ctx context.Context) error {
	rec, ok := r.store.(UseRecorder)
	s := r.snap.Load()
	if !ok || s == nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	last := map[string]time.Time{}
	for e := range s.keys.all() {
		if id, t := e.key.ID, e.used.Load(); t > r.written[id] {
			last[id] = time.Unix(t, 0).UTC()
		}
	}
	if len(last) == 0 {
		return nil
	}
	if err := rec.Used(ctx, last); err != nil {
		return fmt.Errorf("iam: writing when keys were used: %w", err)
	}
	for id, t := range last {
		r.written[id] = t.Unix()
	}
	return nil
}
