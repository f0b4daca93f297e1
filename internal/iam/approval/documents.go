package approval

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"sallyport.dev/sallyport/internal/iam/document"
)

// Kind of the documents.
const Kind = "change"

// What a tenant's changes are bounded by.
const (
	// MaxWaiting is how many may wait in a tenant at once.
	MaxWaiting = 200
	// Keep is how long a change can be listed after its end. The record keeps it for longer.
	Keep = 30 * 24 * time.Hour
)

// ErrFull refuses to keep more than MaxWaiting.
var ErrFull = errors.New("approval: too many changes wait already; decide or refuse some of them")

// Documents implements Store over a document store: what waits outlives the process and is one thing
// for all gateways.
type Documents struct{ Docs document.Store }

var _ Store = Documents{}

type row struct {
	Change  string    `json:"change"`
	Of      string    `json:"of"`
	Action  string    `json:"action"`
	Target  string    `json:"target"`
	Hash    string    `json:"hash"` // hexadecimal
	Asked   string    `json:"asked_by"`
	Created time.Time `json:"created"`
	Expires time.Time `json:"expires"`
	State   State     `json:"state"`
	Decided string    `json:"decided_by,omitempty"`
	At      time.Time `json:"decided_at,omitzero"`
	Done    time.Time `json:"done_at,omitzero"`
	Version int64     `json:"version"`
}

// Head implements document.Entity.
func (r row) Head() document.Head { return document.Head{Kind: Kind, ID: r.Change, Tenant: r.Of} }

func rowOf(c Change) row {
	return row{c.ID, c.Tenant, c.Action, c.Target, hex.EncodeToString(c.Hash[:]), c.Requested, c.Created, c.Expires, c.State, c.Decided, c.DecidedAt, c.DoneAt, c.Version}
}

func (r row) change() (Change, error) {
	h, err := hex.DecodeString(r.Hash)
	if err != nil || len(h) != 32 {
		return Change{}, fmt.Errorf("approval: read change %s: its hash is damaged", r.Change)
	}
	return Change{
		ID: r.Change, Tenant: r.Of, Action: r.Action, Target: r.Target, Hash: [32]byte(h), Requested: r.Asked, Created: r.Created, Expires: r.Expires,
		State: r.State, Decided: r.Decided, DecidedAt: r.At, DoneAt: r.Done, Version: r.Version,
	}, nil
}

// Insert implements Store. It takes away what ended more than Keep before.
func (s Documents) Insert(ctx context.Context, c Change) error {
	err := s.Docs.Write(ctx, func(tx document.Tx) error {
		old, err := document.List[row](ctx, tx, &c.Tenant)
		if err != nil {
			return err
		}
		waiting := 0
		for _, o := range old {
			switch {
			case c.Created.After(o.Expires.Add(Keep)):
				if err := tx.Delete(ctx, Kind, o.Change); err != nil {
					return err
				}
			case o.State == Pending && c.Created.Before(o.Expires):
				waiting++
			}
		}
		if waiting >= MaxWaiting {
			return ErrFull
		}
		_, err = document.Put(ctx, tx, rowOf(c), 0)
		return err
	})
	return theirs(err)
}

// Get implements Store.
func (s Documents) Get(ctx context.Context, tenant, id string) (Change, error) {
	r, _, err := document.Get[row](ctx, s.Docs, id)
	if err != nil {
		return Change{}, theirs(err)
	}
	if r.Of != tenant {
		return Change{}, ErrNotFound
	}
	return r.change()
}

// Swap implements Store.
func (s Documents) Swap(ctx context.Context, c Change) error {
	_, _, _, err := document.Update(ctx, s.Docs, c.ID, 0, func(r *row) error {
		if r.Of != c.Tenant || r.Version != c.Version {
			return ErrChanged
		}
		*r = rowOf(c)
		r.Version++
		return nil
	})
	if errors.Is(err, document.ErrNotFound) {
		return ErrChanged
	}
	return theirs(err)
}

// List implements Store.
func (s Documents) List(ctx context.Context, tenant string) ([]Change, error) {
	rs, err := document.List[row](ctx, s.Docs, &tenant)
	if err != nil {
		return nil, err
	}
	out := make([]Change, 0, len(rs))
	for _, r := range rs {
		c, err := r.change()
		if err != nil {
			return nil, err
		}
		out = append(out, c)
	}
	slices.SortFunc(out, func(a, b Change) int {
		if n := b.Created.Compare(a.Created); n != 0 {
			return n
		}
		return strings.Compare(a.ID, b.ID)
	})
	return out, nil
}

// theirs says it in this package's words.
func theirs(err error) error {
	switch {
	case errors.Is(err, document.ErrNotFound):
		return ErrNotFound
	case errors.Is(err, document.ErrExists), errors.Is(err, document.ErrConflict):
		return ErrChanged
	}
	return err
}
