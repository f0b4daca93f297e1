package envelope

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
)

// Rotate gives a tenant a new data key, for new seals; older ones still open. It returns its version.
// When another process rotates at the same time, both take the same one.
func (k *Keyring) Rotate(ctx context.Context, tenant string) (uint32, error) {
	if len(tenant) > maxPart {
		return 0, fmt.Errorf("envelope: a tenant is longer than %d bytes", maxPart)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	ws, err := k.store.List(ctx, &tenant)
	if err != nil {
		return 0, fmt.Errorf("envelope: list data keys: %w", err)
	}
	var newest uint32
	for i := range ws {
		newest = max(newest, ws[i].Version)
	}
	if newest == ^uint32(0) {
		return 0, errors.New("envelope: the tenant has no version left")
	}
	d, err := k.make(ctx, tenant, newest+1)
	if err != nil {
		return 0, err
	}
	return d.ref.version, nil
}

// Rewrapped is what Rewrap did.
type Rewrapped struct {
	Keys    int // data keys there are
	Changed int // were wrapped anew by this call
}

// passes is how often Rewrap lists the keys again, since a process that still uses the old KEK may have
// added one; tries is how often it follows a key that others change at the same time.
const passes, tries = 8, 8

// Rewrap wraps every data key under the current KEK. Nothing has to stop for it: data keys stay the same,
// and so do all ciphertexts. It may be called again, by several processes at once, and after a crash:
// each key is changed by one compare-and-swap, and one that is done is left alone. A key that cannot
// be unwrapped is reported and does not keep the others from being done. When it returns nil every
// data key opens with the current KEK alone.
func (k *Keyring) Rewrap(ctx context.Context) (Rewrapped, error) {
	var done Rewrapped
	for range passes {
		ks := k.keks.Load()
		ws, err := k.store.List(ctx, nil)
		if err != nil {
			return done, fmt.Errorf("envelope: list data keys: %w", err)
		}
		done.Keys = len(ws)
		stale := false
		var errs []error
		for i := range ws {
			if ws[i].KEK == ks.current.id {
				if err := ws[i].verify(ks); err != nil {
					errs = append(errs, err)
				}
				continue
			}
			stale = true
			if err := ctx.Err(); err != nil {
				return done, err
			}
			changed, err := k.rewrap(ctx, ks, ws[i])
			if err != nil {
				errs = append(errs, err)
			}
			if changed {
				done.Changed++
			}
		}
		if len(errs) > 0 {
			return done, fmt.Errorf("envelope: rewrap: %w", errors.Join(errs...))
		}
		if !stale {
			return done, nil
		}
	}
	return done, errors.New("envelope: rewrap: another process goes on wrapping with another key-encryption key; make the same one current everywhere first")
}

func (w *Wrapped) verify(ks *keks) error {
	key, err := w.unwrap(ks.all)
	clear(key[:])
	return err
}

func (k *Keyring) rewrap(ctx context.Context, ks *keks, w Wrapped) (bool, error) {
	for range tries {
		if w.KEK == ks.current.id {
			return false, nil // another process did it
		}
		key, err := w.unwrap(ks.all)
		if err != nil {
			return false, err
		}
		next := w
		next.wrap(ks.current, &key)
		again, err := next.unwrap(ks.all)
		same := err == nil && subtle.ConstantTimeCompare(key[:], again[:]) == 1
		clear(key[:])
		clear(again[:])
		if !same { // the old wrap is the only copy there is
			return false, fmt.Errorf("data key %d of tenant %q: %w", w.Version, w.Tenant, ErrWrapped)
		}
		err = k.store.Swap(ctx, w.Blob, next)
		if err == nil {
			return true, nil
		}
		if !errors.Is(err, ErrConflict) {
			return false, fmt.Errorf("data key %d of tenant %q: %w", w.Version, w.Tenant, err)
		}
		got, err := k.store.Get(ctx, w.Tenant, w.Version)
		if err != nil {
			return false, fmt.Errorf("data key %d of tenant %q: %w", w.Version, w.Tenant, err)
		}
		w = got
	}
	return false, fmt.Errorf("data key %d of tenant %q: %w", w.Version, w.Tenant, ErrConflict)
}

// InUse says how many data keys each KEK wraps, by the KEK's id. One that is not in it can be taken away.
func (k *Keyring) InUse(ctx context.Context) (map[string]int, error) {
	ws, err := k.store.List(ctx, nil)
	if err != nil {
		return nil, fmt.Errorf("envelope: list data keys: %w", err)
	}
	n := map[string]int{}
	for i := range ws {
		n[ws[i].KEK]++
	}
	return n, nil
}
