package envelope

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"sallyport.dev/sallyport/internal/secret"
)

const (
	// storeTimeout bounds what Seal and Open wait for the store when a data key is not in memory.
	storeTimeout = 5 * time.Second
	// forget is how long a data key that the store did not have is not asked for again, and maxMissing
	// how many such are remembered: ciphertexts that name invented keys do not become load.
	forget     = time.Second
	maxMissing = 1024
)

// Options makes a Keyring.
type Options struct {
	Store   Store
	Current KEK   // wraps new data keys, and all of them after Rewrap
	Old     []KEK // can still unwrap
	// Now is the clock; nil: time.Now.
	Now func() time.Time
}

// Keyring seals and opens. It is safe for concurrent use, and several processes may use one store.
// Once a data key is in memory neither Seal nor Open asks the store or takes a lock.
type Keyring struct {
	store Store
	now   func() time.Time
	keks  atomic.Pointer[keks]
	keys  atomic.Pointer[keys]

	mu      sync.Mutex // one read of, or change to, the store at a time; never taken when the key is in memory
	missing map[ref]time.Time
}

// keks and keys are never changed once published.
type keks struct {
	current KEK
	all     map[string]KEK
}

type keys struct {
	byRef   map[ref]*dataKey
	current map[string]*dataKey // the newest of each tenant
}

type dataKey struct {
	ref  ref
	xaes *xaes
}

// New reads all data keys. It fails when one of them cannot be unwrapped: a gateway whose secrets do
// not open should say so when it starts.
func New(ctx context.Context, o Options) (*Keyring, error) {
	if o.Store == nil {
		return nil, errors.New("envelope: no store")
	}
	k := &Keyring{store: o.Store, now: o.Now, missing: map[ref]time.Time{}}
	if k.now == nil {
		k.now = time.Now
	}
	k.keys.Store(&keys{byRef: map[ref]*dataKey{}, current: map[string]*dataKey{}})
	if err := k.SetKEKs(o.Current, o.Old...); err != nil {
		return nil, err
	}
	return k, k.Refresh(ctx)
}

// SetKEKs changes which KEKs there are, without a restart. To rotate where several processes run: give
// the new one to all as an old one, then make it current, then Rewrap, then take the former away (see
// InUse).
func (k *Keyring) SetKEKs(current KEK, old ...KEK) error {
	if current.IsZero() {
		return errors.New("envelope: no key-encryption key")
	}
	next := &keks{current: current, all: map[string]KEK{current.id: current}}
	for _, o := range old {
		if o.IsZero() {
			return errors.New("envelope: an old key-encryption key is empty")
		}
		next.all[o.id] = o
	}
	k.keks.Store(next)
	return nil
}

// Refresh takes in the data keys that other processes made. Open finds those it needs by itself; what
// Refresh adds is that Seal uses the newest.
func (k *Keyring) Refresh(ctx context.Context) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	ws, err := k.store.List(ctx, nil)
	if err != nil {
		return fmt.Errorf("envelope: list data keys: %w", err)
	}
	return k.adopt(ws)
}

// adopt publishes the data keys it can unwrap and returns what was wrong with the others. k.mu is held.
func (k *Keyring) adopt(ws []Wrapped) error {
	old, ks := k.keys.Load(), k.keks.Load()
	var next *keys
	var errs []error
	for i := range ws {
		r, err := ws[i].ref()
		if err != nil {
			errs = append(errs, fmt.Errorf("data key %d of tenant %q: %w", ws[i].Version, ws[i].Tenant, err))
			continue
		}
		if old.byRef[r] != nil {
			continue
		}
		key, err := ws[i].unwrap(ks.all)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		d := &dataKey{ref: r, xaes: newXAES(&key)}
		clear(key[:])
		if next == nil {
			next = &keys{byRef: maps.Clone(old.byRef), current: maps.Clone(old.current)}
		}
		next.byRef[r] = d
		if c := next.current[r.tenant]; c == nil || c.ref.version < r.version {
			next.current[r.tenant] = d
		}
	}
	if next != nil {
		k.keys.Store(next)
	}
	return errors.Join(errs...)
}

// Seal encrypts s for one place of a tenant. The tenant's first data key is made when it is needed.
func (k *Keyring) Seal(tenant string, at Place, s secret.String) ([]byte, error) {
	if err := at.check(tenant); err != nil {
		return nil, err
	}
	plain := s.Reveal()
	if len(plain) > MaxPlain {
		return nil, fmt.Errorf("envelope: the secret is longer than %d bytes", MaxPlain)
	}
	d := k.keys.Load().current[tenant]
	if d == nil {
		var err error
		if d, err = k.first(tenant); err != nil {
			return nil, err
		}
	}
	b := []byte(plain)
	defer clear(b)
	head := d.ref.header()
	out := append(make([]byte, 0, Overhead+len(b)), head...)
	return d.xaes.seal(out, b, at.aad(&d.ref)), nil
}

// Open decrypts what Seal made for this very tenant and place.
func (k *Keyring) Open(tenant string, at Place, box []byte) (secret.String, error) {
	if err := at.check(tenant); err != nil {
		return secret.String{}, err
	}
	r, err := header(tenant, box)
	if err != nil {
		return secret.String{}, err
	}
	d := k.keys.Load().byRef[r]
	if d == nil {
		if d, err = k.fetch(r); err != nil {
			return secret.String{}, err
		}
	}
	p, err := d.xaes.open(box[headSize:], at.aad(&r))
	if err != nil {
		return secret.String{}, ErrOpen
	}
	defer clear(p)
	return secret.New(string(p)), nil
}

// Reseal gives a ciphertext under the tenant's newest data key. changed is false, and the ciphertext the
// same, when it is under it already.
func (k *Keyring) Reseal(tenant string, at Place, box []byte) (out []byte, changed bool, err error) {
	s, err := k.Open(tenant, at, box)
	if err != nil {
		return nil, false, err
	}
	if r, _ := header(tenant, box); k.keys.Load().current[tenant].ref == r {
		return box, false, nil
	}
	out, err = k.Seal(tenant, at, s)
	return out, err == nil, err
}

// fetch reads one data key that is not in memory.
func (k *Keyring) fetch(r ref) (*dataKey, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if d := k.keys.Load().byRef[r]; d != nil {
		return d, nil // another caller read it while this one waited
	}
	now := k.now()
	if t, ok := k.missing[r]; ok && now.Sub(t) < forget && now.Sub(t) >= 0 {
		return nil, ErrUnknownKey
	}
	ctx, cancel := context.WithTimeout(context.Background(), storeTimeout)
	defer cancel()
	w, err := k.store.Get(ctx, r.tenant, r.version)
	switch {
	case errors.Is(err, ErrNotFound):
		k.miss(r, now)
		return nil, ErrUnknownKey
	case err != nil:
		return nil, fmt.Errorf("envelope: read a data key: %w", err)
	}
	if w.Tenant != r.tenant || w.Version != r.version {
		return nil, fmt.Errorf("envelope: read a data key: the store gave another: %w", ErrWrapped)
	}
	if got, err := w.ref(); err != nil || got != r {
		k.miss(r, now) // this version of the tenant's key is another key
		return nil, ErrUnknownKey
	}
	if err := k.adopt([]Wrapped{w}); err != nil {
		return nil, err
	}
	return k.keys.Load().byRef[r], nil
}

func (k *Keyring) miss(r ref, now time.Time) {
	if len(k.missing) >= maxMissing {
		clear(k.missing)
	}
	k.missing[r] = now
}

// first finds a tenant's newest data key, or makes its first.
func (k *Keyring) first(tenant string) (*dataKey, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if d := k.keys.Load().current[tenant]; d != nil {
		return d, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), storeTimeout)
	defer cancel()
	ws, err := k.store.List(ctx, &tenant)
	if err != nil {
		return nil, fmt.Errorf("envelope: list data keys: %w", err)
	}
	if len(ws) == 0 {
		return k.make(ctx, tenant, 1)
	}
	if err := k.adopt(ws); err != nil {
		return nil, err
	}
	if d := k.keys.Load().current[tenant]; d != nil {
		return d, nil
	}
	return nil, fmt.Errorf("envelope: list data keys: the store gave those of another tenant: %w", ErrWrapped)
}

// make puts a new data key in the store and uses what the store then has: of several processes that
// make the same version one wins, and all use that one. k.mu is held.
func (k *Keyring) make(ctx context.Context, tenant string, version uint32) (*dataKey, error) {
	var id [idSize]byte
	var key [keySize]byte
	_, _ = rand.Read(id[:])
	_, _ = rand.Read(key[:])
	w := Wrapped{Tenant: tenant, Version: version, ID: hex.EncodeToString(id[:]), Created: k.now().UTC().Truncate(time.Microsecond)}
	w.wrap(k.keks.Load().current, &key)
	clear(key[:])
	if err := k.store.Put(ctx, w); err != nil && !errors.Is(err, ErrExists) {
		return nil, fmt.Errorf("envelope: store a data key: %w", err)
	}
	// Read back also after a success: nothing is sealed under a key that the store does not give again.
	got, err := k.store.Get(ctx, tenant, version)
	if err != nil {
		return nil, fmt.Errorf("envelope: read a data key: %w", err)
	}
	r, err := got.ref()
	if err != nil || r.tenant != tenant || r.version != version {
		return nil, fmt.Errorf("envelope: read a data key: %w", ErrWrapped)
	}
	if err := k.adopt([]Wrapped{got}); err != nil {
		return nil, err
	}
	return k.keys.Load().byRef[r], nil
}
