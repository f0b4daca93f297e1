// Package approval holds dangerous changes back until a second person has agreed to them (four eyes).
//
// What it promises: a change is approved by somebody else than who asked for it, by nobody who is the
// same person under another account, and only while that somebody may approve; what is carried out is
// the very bytes that were approved, in the tenant they were approved for, once, and not after their
// time. Both persons are looked at again when the change is carried out.
//
// It does not carry changes out and does not keep them: the caller does the first, a Store the second.
package approval

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"
)

// State is where a change stands.
type State string

const (
	Pending  State = "pending"
	Approved State = "approved"
	Refused  State = "refused"
	Done     State = "done"
)

// Change is one act that waits. It never holds what is to be changed, only its hash.
type Change struct {
	ID        string
	Tenant    string
	Action    string   // the permission it needs, such as write:inspect_mode
	Target    string   // what it is done to, for people
	Hash      [32]byte // of tenant, action, target and payload
	Requested string   // id of the person who asked
	Created   time.Time
	Expires   time.Time
	State     State
	Decided   string // id of the person who approved or refused
	DecidedAt time.Time
	DoneAt    time.Time
	Version   int64 // grows by one with every Swap
}

// Login is an account at an identity provider that a person signs in with.
type Login struct{ Issuer, Subject string }

// Person is somebody who asks or approves, as known now.
type Person struct {
	ID     string
	Tenant string // of the account
	Active bool
	Logins []Login // at identity providers
	Mail   string  // verified, in lower case; empty: none
}

// same says whether two accounts are one person's, as far as can be known.
func (p Person) same(o Person) bool {
	if p.ID == o.ID || p.Mail != "" && p.Mail == o.Mail {
		return true
	}
	return slices.ContainsFunc(p.Logins, func(l Login) bool { return slices.Contains(o.Logins, l) })
}

// Store keeps changes. A change is durable when a method returns nil. It is safe for concurrent use,
// also by several processes.
type Store interface {
	// Insert adds a change; ErrChanged when its ID is taken.
	Insert(ctx context.Context, c Change) error
	// Get finds one; ErrNotFound when the tenant has none of that id.
	Get(ctx context.Context, tenant, id string) (Change, error)
	// Swap replaces a change if its Version is still that of c, and makes it one greater; otherwise
	// ErrChanged. Of several at once exactly one succeeds.
	Swap(ctx context.Context, c Change) error
	// List returns a tenant's changes, the newest first.
	List(ctx context.Context, tenant string) ([]Change, error)
}

// Directory knows people as they are now. The error means that nobody can say.
type Directory interface {
	Person(ctx context.Context, id string) (Person, error)
	// MayApprove says whether a person may approve an action in a tenant: that they hold
	// approve:change, and the permission that the action needs.
	MayApprove(ctx context.Context, p Person, tenant, action string) (bool, error)
}

// What is refused.
var (
	ErrNotFound = errors.New("approval: no such change")
	ErrChanged  = errors.New("approval: somebody else decided this change a moment ago; look again")
	ErrSelf     = errors.New("approval: a change is approved by another person than who asked for it")
	ErrMayNot   = errors.New("approval: this person may not approve this change")
	ErrExpired  = errors.New("approval: the change has expired; ask again")
	ErrState    = errors.New("approval: the change is not waiting for this")
	ErrPayload  = errors.New("approval: this is not what was approved")
)

// DefaultLife is how long a change waits, its approval and its execution included.
const DefaultLife = 24 * time.Hour

// Service asks, approves and redeems. It is safe for concurrent use.
type Service struct {
	Store  Store
	People Directory
	Life   time.Duration    // 0: DefaultLife
	Now    func() time.Time // nil: time.Now
}

func (s *Service) now() time.Time {
	if s.Now != nil {
		return s.Now().UTC()
	}
	return time.Now().UTC()
}

// Hash binds what is to be done. Each part is written with its length, so that no two changes share one.
func Hash(tenant, action, target string, payload []byte) [32]byte {
	h := sha256.New()
	h.Write([]byte("sallyport change v1\x00"))
	for _, part := range [][]byte{[]byte(tenant), []byte(action), []byte(target), payload} {
		var n [8]byte
		binary.BigEndian.PutUint64(n[:], uint64(len(part)))
		h.Write(n[:])
		h.Write(part)
	}
	return [32]byte(h.Sum(nil))
}

// Ask writes down what somebody wants to do. That they may is the caller's to check.
func (s *Service) Ask(ctx context.Context, by, tenant, action, target string, payload []byte) (Change, error) {
	if by == "" || tenant == "" || action == "" {
		return Change{}, errors.New("approval: ask for a change: it needs a person, a tenant and an action")
	}
	life, now := s.Life, s.now()
	if life <= 0 {
		life = DefaultLife
	}
	var id [16]byte
	rand.Read(id[:]) // never fails (crypto/rand)
	c := Change{ID: "chg_" + hex.EncodeToString(id[:]), Tenant: tenant, Action: action, Target: target,
		Hash: Hash(tenant, action, target, payload), Requested: by, Created: now, Expires: now.Add(life), State: Pending}
	if err := s.Store.Insert(ctx, c); err != nil {
		return Change{}, fmt.Errorf("approval: keep change: %w", err)
	}
	return c, nil
}

// Approve agrees to a change.
func (s *Service) Approve(ctx context.Context, by, tenant, id string) (Change, error) {
	c, err := s.waiting(ctx, tenant, id, Pending)
	if err != nil {
		return Change{}, err
	}
	if err := s.twoPeople(ctx, c, by); err != nil {
		return Change{}, err
	}
	return s.decide(ctx, c, Approved, by)
}

// Refuse ends a change that waits. Whoever may approve it may, and who asked for it too.
func (s *Service) Refuse(ctx context.Context, by, tenant, id string) (Change, error) {
	c, err := s.waiting(ctx, tenant, id, Pending, Approved)
	if err != nil {
		return Change{}, err
	}
	if by != c.Requested {
		p, err := s.person(ctx, by)
		if err != nil {
			return Change{}, err
		}
		if err := s.may(ctx, p, c); err != nil {
			return Change{}, err
		}
	}
	return s.decide(ctx, c, Refused, by)
}

// Cancel ends a change that waits, without asking who by is: for whoever runs the machine. It can only
// keep things from being done.
func (s *Service) Cancel(ctx context.Context, by, tenant, id string) (Change, error) {
	c, err := s.waiting(ctx, tenant, id, Pending, Approved)
	if err != nil {
		return Change{}, err
	}
	return s.decide(ctx, c, Refused, by)
}

// Redeem says whether a change may be carried out now, by who asked for it, with this payload; and if
// so, that it was. It succeeds once. What is carried out after it and fails must be asked for again.
func (s *Service) Redeem(ctx context.Context, by, tenant, id string, payload []byte) (Change, error) {
	c, err := s.waiting(ctx, tenant, id, Approved)
	if err != nil {
		return Change{}, err
	}
	if by != c.Requested {
		return Change{}, ErrMayNot
	}
	if Hash(c.Tenant, c.Action, c.Target, payload) != c.Hash {
		return Change{}, ErrPayload
	}
	// An approver who has left since, or turned out to be the same person, has not approved.
	if err := s.twoPeople(ctx, c, c.Decided); err != nil {
		return Change{}, err
	}
	c.State, c.DoneAt = Done, s.now()
	return s.swap(ctx, c)
}

// List returns a tenant's changes, the newest first; what has expired among them is still there.
func (s *Service) List(ctx context.Context, tenant string) ([]Change, error) {
	return s.Store.List(ctx, tenant)
}

func (s *Service) waiting(ctx context.Context, tenant, id string, states ...State) (Change, error) {
	c, err := s.Store.Get(ctx, tenant, id)
	switch {
	case err != nil:
		return Change{}, err
	case c.Tenant != tenant:
		return Change{}, ErrNotFound
	case !slices.Contains(states, c.State):
		return Change{}, fmt.Errorf("%w: it is %s", ErrState, c.State)
	case !s.now().Before(c.Expires):
		return Change{}, ErrExpired
	}
	return c, nil
}

// twoPeople says whether by may approve what somebody else asked for.
func (s *Service) twoPeople(ctx context.Context, c Change, by string) error {
	if by == c.Requested {
		return ErrSelf
	}
	asker, err := s.person(ctx, c.Requested)
	if err != nil {
		return err
	}
	other, err := s.person(ctx, by)
	if err != nil {
		return err
	}
	if asker.same(other) {
		return ErrSelf
	}
	return s.may(ctx, other, c)
}

func (s *Service) may(ctx context.Context, p Person, c Change) error {
	ok, err := s.People.MayApprove(ctx, p, c.Tenant, c.Action)
	if err != nil {
		return fmt.Errorf("approval: ask whether %s may approve: %w", p.ID, err)
	}
	if !ok {
		return ErrMayNot
	}
	return nil
}

func (s *Service) person(ctx context.Context, id string) (Person, error) {
	p, err := s.People.Person(ctx, id)
	if err != nil {
		return Person{}, fmt.Errorf("approval: look up %s: %w", id, err)
	}
	if !p.Active || p.ID != id {
		return Person{}, ErrMayNot
	}
	return p, nil
}

func (s *Service) decide(ctx context.Context, c Change, to State, by string) (Change, error) {
	c.State, c.Decided, c.DecidedAt = to, by, s.now()
	return s.swap(ctx, c)
}

func (s *Service) swap(ctx context.Context, c Change) (Change, error) {
	if err := s.Store.Swap(ctx, c); err != nil {
		return Change{}, err
	}
	c.Version++
	return c, nil
}
