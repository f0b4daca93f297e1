package vault

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"sallyport.dev/sallyport/internal/secret"
)

// retryEvery is how often credentials that could not be opened are tried again.
const retryEvery = 2 * time.Second

type owner struct{ tenant, upstream string }

// live is every active value at one moment. It never changes.
type live struct{ by map[owner]*value }

// value with ok false is a credential that exists and cannot be used.
type value struct {
	id     string
	number int
	box    []byte
	s      secret.String
	ok     bool
}

// Current is the credential to send to an upstream for a tenant: its own, or that for all tenants when
// it has none. A tenant's own that cannot be opened is no reason to spend another's: then ok is false.
// It asks no store and takes no lock.
func (v *Vault) Current(upstream, tenant string) (s secret.String, ok bool) {
	by := v.live.Load().by
	x := by[owner{tenant, upstream}]
	if x == nil {
		x = by[owner{"", upstream}]
	}
	if x == nil || !x.ok {
		return secret.String{}, false
	}
	return x.s, true
}

// Knows says whether there is a credential to send to an upstream for a tenant, usable or not.
func (v *Vault) Knows(upstream, tenant string) bool {
	by := v.live.Load().by
	return by[owner{tenant, upstream}] != nil || by[owner{"", upstream}] != nil
}

// rebuild opens what changed. What was open already is not opened again, so that it goes on working
// while a data key cannot be read. One credential that does not open does not keep others from being
// replaced: it is left out and told to Fault.
func (v *Vault) rebuild() {
	v.mu.Lock()
	defer v.mu.Unlock()
	old := v.live.Load().by
	next := make(map[owner]*value, len(old))
	var errs []error
	rows := v.view.All()
	for _, id := range slices.Sorted(maps.Keys(rows)) {
		r := rows[id]
		o := owner{r.Tenant, r.Upstream}
		x := &value{id: id, number: r.Active, box: r.Sealed[strconv.Itoa(r.Active)]}
		next[o] = x
		if x.box == nil {
			errs = append(errs, fmt.Errorf("vault: credential %s for upstream %q has no active version", id, r.Upstream))
			continue
		}
		p := old[o]
		if p != nil && (!p.ok || p.id != id || p.number != x.number) {
			p = nil
		}
		if p != nil && bytes.Equal(p.box, x.box) {
			next[o] = p
			continue
		}
		s, err := v.sealer.Open(r.Tenant, place(id, x.number), x.box)
		if err != nil {
			errs = append(errs, fmt.Errorf("vault: open credential %s for upstream %q: %w", id, r.Upstream, err))
			if p != nil {
				next[o] = p // a number is never used again, so it is the same value
			}
			continue
		}
		x.s, x.ok = s, true
	}
	v.live.Store(&live{by: next})
	err := errors.Join(errs...)
	text := ""
	if err != nil {
		text = err.Error()
	}
	if text != v.failed {
		v.failed = text
		v.fault(err)
	}
}

// Run tries again, until ctx ends, to open what could not be opened. Changes come by the mirror.
func (v *Vault) Run(ctx context.Context) {
	t := time.NewTicker(retryEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		v.mu.Lock()
		again := v.failed != ""
		v.mu.Unlock()
		if again {
			v.rebuild()
		}
	}
}
