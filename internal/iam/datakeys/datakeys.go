// Package datakeys keeps the wrapped data keys of package envelope as documents.
package datakeys

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"sallyport.dev/sallyport/internal/iam/document"
	"sallyport.dev/sallyport/internal/secret/envelope"
)

// Kind of the documents.
const Kind = "data_key"

// Store implements envelope.Store.
type Store struct{ Docs document.Store }

var _ envelope.Store = Store{}

type row struct {
	Of      string    `json:"of"` // tenant, as the document's own: "" for the installation
	Version uint32    `json:"version"`
	Key     string    `json:"key"` // id
	KEK     string    `json:"kek"`
	Blob    []byte    `json:"blob"`
	Created time.Time `json:"created"`
}

func id(tenant string, version uint32) string { return fmt.Sprintf("%s.%d", tenant, version) }

// Head implements document.Entity.
func (r row) Head() document.Head {
	return document.Head{Kind: Kind, ID: id(r.Of, r.Version), Tenant: r.Of}
}

func (r row) wrapped() envelope.Wrapped {
	return envelope.Wrapped{Tenant: r.Of, Version: r.Version, ID: r.Key, KEK: r.KEK, Blob: r.Blob, Created: r.Created}
}

func rowOf(w envelope.Wrapped) row {
	return row{Of: w.Tenant, Version: w.Version, Key: w.ID, KEK: w.KEK, Blob: w.Blob, Created: w.Created}
}

// Get implements envelope.Store.
func (s Store) Get(ctx context.Context, tenant string, version uint32) (envelope.Wrapped, error) {
	r, _, err := document.Get[row](ctx, s.Docs, id(tenant, version))
	return r.wrapped(), theirs(err)
}

// List implements envelope.Store.
func (s Store) List(ctx context.Context, tenant *string) ([]envelope.Wrapped, error) {
	rs, err := document.List[row](ctx, s.Docs, tenant)
	if err != nil {
		return nil, theirs(err)
	}
	ws := make([]envelope.Wrapped, len(rs))
	for i, r := range rs {
		ws[i] = r.wrapped()
	}
	return ws, nil
}

// Put implements envelope.Store.
func (s Store) Put(ctx context.Context, w envelope.Wrapped) error {
	_, err := document.Insert(ctx, s.Docs, rowOf(w))
	return theirs(err)
}

// Swap implements envelope.Store.
func (s Store) Swap(ctx context.Context, old []byte, w envelope.Wrapped) error {
	_, _, _, err := document.Update(ctx, s.Docs, id(w.Tenant, w.Version), 0, func(r *row) error {
		if !bytes.Equal(r.Blob, old) {
			return document.ErrConflict
		}
		r.KEK, r.Blob = w.KEK, w.Blob
		return nil
	})
	return theirs(err)
}

// theirs says it in envelope's words.
func theirs(err error) error {
	for ours, word := range map[error]error{
		document.ErrNotFound: envelope.ErrNotFound, document.ErrExists: envelope.ErrExists, document.ErrConflict: envelope.ErrConflict,
	} {
		if errors.Is(err, ours) {
			return fmt.Errorf("%w: %w", word, err)
		}
	}
	return err
}
