package iam

import (
	"context"
	"errors"
	"fmt"
	"time"

	"sallyport.dev/sallyport/internal/iam/apikey"
	"sallyport.dev/sallyport/internal/iam/directory"
	"sallyport.dev/sallyport/internal/secret"
)

// MaxGrace is the longest time that a rotated secret stays valid.
const MaxGrace = 90 * 24 * time.Hour

// ErrNotActive refuses to rotate a key that is revoked or expired.
var ErrNotActive = errors.New("iam: the key is revoked or expired")

// Invalid is an error in what was asked for, which whoever asked may see and can mend.
type Invalid struct{ Err error }

func (e *Invalid) Error() string { return e.Err.Error() }
func (e *Invalid) Unwrap() error { return e.Err }

// Change is what an administrative act did, for the record. It holds no secret and no hash that
// prints.
type Change struct {
	Action string    `json:"action"` // key.create, key.rotate, key.revoke
	At     time.Time `json:"at"`
	Before *Key      `json:"before,omitempty"` // nil for key.create
	After  *Key      `json:"after"`
}

// Service is what administrators do with keys. It is safe for concurrent use.
type Service struct {
	store  KeyStore
	hasher *apikey.Hasher
	now    func() time.Time
}

// NewService needs the pepper that the gateway itself uses. now may be nil: the clock.
func NewService(store KeyStore, pepper secret.String, now func() time.Time) (*Service, error) {
	h, err := apikey.NewHasher(pepper)
	if err != nil {
		return nil, fmt.Errorf("iam: %w", err)
	}
	if now == nil {
		now = time.Now
	}
	return &Service{store: store, hasher: h, now: func() time.Time { return stamp(now()) }}, nil
}

// stamp is a time as stores keep it.
func stamp(t time.Time) time.Time { return t.UTC().Truncate(time.Microsecond) }

// Create makes a key. The returned secret is the whole key, and this is the only time it is seen.
func (s *Service) Create(ctx context.Context, n NewKey) (Change, secret.String, error) {
	now := s.now()
	if err := n.check(now); err != nil {
		return Change{}, secret.String{}, &Invalid{err}
	}
	t := apikey.Generate(apikey.NewID())
	n.Detail.Rotated = now
	if n.Tenant == "" {
		n.Tenant = directory.DefaultTenant
	}
	k := Key{
		ID: t.ID, Tenant: n.Tenant, Name: n.Name, Owner: n.Owner,
		Current: s.hasher.Sum(t), PepperVersion: s.hasher.Version(),
		Scopes: n.Scopes, CIDRs: n.CIDRs, Created: now,
		NotBefore: stampSet(n.NotBefore), Expires: stampSet(n.Expires), Detail: n.Detail,
	}
	if err := s.store.Insert(ctx, k); err != nil {
		return Change{}, secret.String{}, err
	}
	return Change{Action: "key.create", At: now, After: &k}, t.Secret(), nil
}

func stampSet(t time.Time) time.Time {
	if t.IsZero() {
		return time.Time{}
	}
	return stamp(t)
}

// List returns every key, revoked ones included, the oldest first.
func (s *Service) List(ctx context.Context) ([]Key, error) {
	ks, _, err := s.store.Keys(ctx)
	return ks, err
}

// Rotate gives a key a new secret and returns the whole new key. The secret before it stays valid
// for grace (0 to MaxGrace); a still older one ends at once.
func (s *Service) Rotate(ctx context.Context, id string, grace time.Duration) (Change, secret.String, error) {
	if grace < 0 || grace > MaxGrace {
		return Change{}, secret.String{}, &Invalid{fmt.Errorf("iam: expected a grace between 0 and %v", MaxGrace)}
	}
	if !apikey.ValidID(id) {
		return Change{}, secret.String{}, ErrNotFound
	}
	now := s.now()
	t := apikey.Generate(id)
	var before Key
	after, err := s.store.Update(ctx, id, func(k *Key) error {
		if st := k.Status(now); st == "revoked" || st == "expired" {
			return ErrNotActive
		}
		before = *k
		k.Previous, k.PreviousUntil = apikey.Hash{}, time.Time{}
		if grace > 0 && k.PepperVersion == s.hasher.Version() { // under another pepper it could not be checked
			k.Previous, k.PreviousUntil = k.Current, now.Add(grace)
		}
		k.Current, k.PepperVersion, k.Rotated = s.hasher.Sum(t), s.hasher.Version(), now
		return nil
	})
	if err != nil {
		return Change{}, secret.String{}, err
	}
	return Change{Action: "key.rotate", At: now, Before: &before, After: &after}, t.Secret(), nil
}

// Revoke ends a key for good. Gateways that use the store refuse it within two seconds. Revoking
// a revoked key changes nothing and is no error.
func (s *Service) Revoke(ctx context.Context, id string) (Change, error) {
	if !apikey.ValidID(id) {
		return Change{}, ErrNotFound
	}
	now := s.now()
	var before Key
	after, err := s.store.Update(ctx, id, func(k *Key) error {
		before = *k
		if k.Revoked.IsZero() {
			k.Revoked = now
		}
		k.Previous, k.PreviousUntil = apikey.Hash{}, time.Time{}
		return nil
	})
	if err != nil {
		return Change{}, err
	}
	return Change{Action: "key.revoke", At: now, Before: &before, After: &after}, nil
}
