package vault

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"sallyport.dev/sallyport/internal/iam/document"
	"sallyport.dev/sallyport/internal/iam/mirror"
	"sallyport.dev/sallyport/internal/secret"
	"sallyport.dev/sallyport/internal/secret/envelope"
)

// Sealer seals values; *envelope.Keyring is one. It is safe for concurrent use.
type Sealer interface {
	Seal(tenant string, at envelope.Place, s secret.String) ([]byte, error)
	Open(tenant string, at envelope.Place, box []byte) (secret.String, error)
	Reseal(tenant string, at envelope.Place, box []byte) (out []byte, changed bool, err error)
}

// Change is what was done, for the record. No value is in it.
type Change struct {
	Action  string      `json:"action"` // provider.create, .add_version, .activate, .retire, .remove, .reveal
	At      time.Time   `json:"at"`
	Version int         `json:"version,omitzero"`
	Reason  string      `json:"reason,omitempty"` // of provider.reveal
	Before  *Credential `json:"before,omitempty"`
	After   *Credential `json:"after,omitempty"`
}

// Options makes a Vault.
type Options struct {
	Store  document.Store
	Sealer Sealer
	// Mirror is where Current gets the credentials from. The vault adds its view, so it must be made
	// before the mirror's first Refresh. Nil: Current finds nothing.
	Mirror *mirror.Mirror
	// Record writes to the audit before a value is revealed; when it fails, nothing is. Nil: Reveal
	// always refuses.
	Record func(context.Context, Change) error
	// Fault, when set, is told which credentials could not be opened, whenever that changes, and nil
	// once all could. It must not call the vault.
	Fault func(error)
	Now   func() time.Time // nil: time.Now
}

// Vault keeps credentials. It is safe for concurrent use.
type Vault struct {
	store  document.Store
	sealer Sealer
	record func(context.Context, Change) error
	fault  func(error)
	now    func() time.Time

	view   *mirror.View[row]
	live   atomic.Pointer[live]
	mu     sync.Mutex // one rebuild at a time
	failed string     // what the last rebuild could not open
}

// New makes a vault.
func New(o Options) (*Vault, error) {
	if o.Store == nil || o.Sealer == nil {
		return nil, errors.New("vault: no store or no sealer")
	}
	v := &Vault{store: o.Store, sealer: o.Sealer, record: o.Record, fault: o.Fault, now: o.Now}
	if v.now == nil {
		v.now = time.Now
	}
	if v.fault == nil {
		v.fault = func(error) {}
	}
	v.live.Store(&live{})
	if o.Mirror != nil {
		v.view = mirror.Add[row](o.Mirror)
		o.Mirror.After(func() error { v.rebuild(); return nil }, Kind)
	}
	return v, nil
}

func (v *Vault) stamp() time.Time { return v.now().UTC().Truncate(time.Microsecond) }

// Create adds a credential whose first version is active at once. document.ErrExists: the tenant has one
// for this upstream.
func (v *Vault) Create(ctx context.Context, tenant, upstream, name string, value secret.String) (Change, error) {
	if err := errors.Join(checkTenant(tenant), checkLabel("upstream", upstream, 1, maxName), checkLabel("name", name, 1, maxName), checkValue(value.Reveal())); err != nil {
		return Change{}, err
	}
	now := v.stamp()
	r := row{Credential: Credential{ID: newID(), Tenant: tenant, Upstream: upstream, Name: name, Created: now}, Sealed: map[string][]byte{}}
	if err := v.add(&r, value, now); err != nil {
		return Change{}, err
	}
	r.Active, r.Versions[0].Activated = 1, now
	if _, err := document.Insert(ctx, v.store, r); err != nil {
		return Change{}, fmt.Errorf("vault: create a credential: %w", err)
	}
	return Change{Action: "provider.create", At: now, Version: 1, After: r.public()}, nil
}

func (v *Vault) add(r *row, value secret.String, now time.Time) error {
	n := r.Last + 1
	box, err := v.sealer.Seal(r.Tenant, place(r.ID, n), value)
	if err != nil {
		return fmt.Errorf("vault: seal a credential: %w", err)
	}
	if r.Sealed == nil {
		r.Sealed = map[string][]byte{}
	}
	r.Last, r.Sealed[strconv.Itoa(n)] = n, box
	r.Versions = append(r.Versions, Version{Number: n, Created: now})
	return nil
}

// AddVersion adds a value that is not sent before it is activated.
func (v *Vault) AddVersion(ctx context.Context, tenant, id string, value secret.String) (Change, error) {
	if err := checkValue(value.Reveal()); err != nil {
		return Change{}, err
	}
	return v.change(ctx, "provider.add_version", tenant, id, func(r *row, now time.Time) (int, error) {
		if len(r.Sealed) >= maxVersions {
			return 0, fmt.Errorf("vault: the credential has %d versions; retire one first", maxVersions)
		}
		err := v.add(r, value, now)
		return r.Last, err
	})
}

// Activate makes a version the one that is sent; every node follows within two seconds. The version
// before it stays and can be activated again until it is retired.
func (v *Vault) Activate(ctx context.Context, tenant, id string, number int) (Change, error) {
	return v.change(ctx, "provider.activate", tenant, id, func(r *row, now time.Time) (int, error) {
		ver, box, err := r.sealed(number)
		if err != nil {
			return 0, err
		}
		// What does not open must not replace what does.
		if _, err := v.sealer.Open(r.Tenant, place(r.ID, number), box); err != nil {
			return 0, fmt.Errorf("vault: open version %d: %w", number, err)
		}
		r.Active, ver.Activated = number, now
		return number, nil
	})
}

// Retire deletes the value of a version that is not active. That it existed stays known, for a while.
func (v *Vault) Retire(ctx context.Context, tenant, id string, number int) (Change, error) {
	return v.change(ctx, "provider.retire", tenant, id, func(r *row, now time.Time) (int, error) {
		ver, _, err := r.sealed(number)
		if err != nil {
			return 0, err
		}
		if r.Active == number {
			return 0, ErrActive
		}
		ver.Retired = now
		delete(r.Sealed, strconv.Itoa(number))
		for i := 0; len(r.Versions)-len(r.Sealed) > keepRetired && i < len(r.Versions); i++ {
			if !r.Versions[i].Retired.IsZero() {
				r.Versions = append(r.Versions[:i], r.Versions[i+1:]...)
				i--
			}
		}
		return number, nil
	})
}

// sealed finds a version that still has its value.
func (r *row) sealed(number int) (*Version, []byte, error) {
	ver := r.Version(number)
	if ver == nil {
		return nil, nil, ErrNoVersion
	}
	box, ok := r.Sealed[strconv.Itoa(number)]
	if !ok {
		return nil, nil, ErrRetired
	}
	return ver, box, nil
}

// Remove deletes a credential and all its values: the tenant can no longer reach the upstream, unless
// there is a credential for all tenants.
func (v *Vault) Remove(ctx context.Context, tenant, id string) (Change, error) {
	var before *Credential
	err := v.store.Write(ctx, func(tx document.Tx) error {
		r, _, err := document.Get[row](ctx, tx, id)
		if err != nil {
			return err
		}
		if r.Tenant != tenant {
			return document.ErrNotFound
		}
		before = r.public()
		return tx.Delete(ctx, Kind, id)
	})
	if err != nil {
		return Change{}, fmt.Errorf("vault: remove a credential: %w", err)
	}
	return Change{Action: "provider.remove", At: v.stamp(), Before: before}, nil
}

func (v *Vault) change(ctx context.Context, action, tenant, id string, f func(*row, time.Time) (int, error)) (Change, error) {
	c := Change{Action: action, At: v.stamp()}
	before, after, _, err := document.Update(ctx, v.store, id, 0, func(r *row) (err error) {
		if r.Tenant != tenant {
			return document.ErrNotFound // that another tenant has it is not said
		}
		c.Version, err = f(r, c.At)
		return err
	})
	if err != nil {
		return Change{}, fmt.Errorf("vault: %s: %w", action, err)
	}
	c.Before, c.After = before.public(), after.public()
	return c, nil
}

// List returns a tenant's credentials, by id, without their values. nil: of all tenants.
func (v *Vault) List(ctx context.Context, tenant *string) ([]Credential, error) {
	rows, err := document.List[row](ctx, v.store, tenant)
	if err != nil {
		return nil, fmt.Errorf("vault: list credentials: %w", err)
	}
	cs := make([]Credential, len(rows))
	for i := range rows {
		cs[i] = *rows[i].public()
	}
	return cs, nil
}

// Reveal gives a value to a person. The reason goes to the audit first, and when it cannot be written
// there nothing is revealed. Who may ask is for the caller to decide (a step-up, ASVS 5.0 13.3.2).
func (v *Vault) Reveal(ctx context.Context, tenant, id string, number int, reason string) (secret.String, error) {
	if err := checkLabel("reason", reason, minReason, maxReason); err != nil {
		return secret.String{}, err
	}
	if v.record == nil {
		return secret.String{}, errors.New("vault: reveal: there is no audit to write it to")
	}
	r, _, err := document.Get[row](ctx, v.store, id)
	if err == nil && r.Tenant != tenant {
		err = document.ErrNotFound
	}
	if err != nil {
		return secret.String{}, fmt.Errorf("vault: reveal: %w", err)
	}
	_, box, err := r.sealed(number)
	if err != nil {
		return secret.String{}, err
	}
	if err := v.record(ctx, Change{Action: "provider.reveal", At: v.stamp(), Version: number, Reason: reason, Before: r.public()}); err != nil {
		return secret.String{}, fmt.Errorf("vault: reveal: write the audit: %w", err)
	}
	s, err := v.sealer.Open(r.Tenant, place(r.ID, number), box)
	if err != nil {
		return secret.String{}, fmt.Errorf("vault: reveal: %w", err)
	}
	return s, nil
}

// Reseal brings all values under their tenants' newest data keys, after a rotation of those. It may be
// called again, and returns how many values it changed.
func (v *Vault) Reseal(ctx context.Context) (int, error) {
	rows, err := document.List[row](ctx, v.store, nil)
	if err != nil {
		return 0, fmt.Errorf("vault: reseal: %w", err)
	}
	total := 0
	var errs []error
	errSame := errors.New("nothing to change")
	for i := range rows {
		changed := 0
		_, _, _, err := document.Update(ctx, v.store, rows[i].ID, 0, func(r *row) error {
			changed = 0
			for n, box := range r.Sealed {
				number, err := strconv.Atoi(n)
				if err != nil {
					return ErrNoVersion
				}
				out, did, err := v.sealer.Reseal(r.Tenant, place(r.ID, number), box)
				if err != nil {
					return err
				}
				if did {
					r.Sealed[n] = out
					changed++
				}
			}
			if changed == 0 {
				return errSame
			}
			return nil
		})
		switch {
		case err == nil:
			total += changed
		case !errors.Is(err, errSame) && !errors.Is(err, document.ErrNotFound):
			errs = append(errs, fmt.Errorf("vault: reseal %s: %w", rows[i].ID, err))
		}
	}
	return total, errors.Join(errs...)
}
