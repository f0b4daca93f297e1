package document

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
)

// Entity is what is kept as a document: a struct that knows its own head. The zero value must know its
// Kind.
type Entity interface{ Head() Head }

// Head is what a store needs to know of an entity.
type Head struct {
	Kind, ID, Tenant string
	Keys             []string
}

// Key joins parts into a key that no other parts give: each part but the last is written with its length.
func Key(name string, parts ...string) string {
	var b strings.Builder
	b.WriteString(name)
	for i, p := range parts {
		b.WriteByte(':')
		if i < len(parts)-1 {
			b.WriteString(strconv.Itoa(len(p)))
			b.WriteByte(':')
		}
		b.WriteString(p)
	}
	return b.String()
}

// Decode reads the entity in a document. A body with unknown or repeated members is an error, and so is
// one whose own head is not the document's: a damaged row must never be read as one with fewer limits.
func Decode[T Entity](d *Doc) (v T, err error) {
	if err := json.Unmarshal(d.Body, &v, json.RejectUnknownMembers(true)); err != nil {
		return v, fmt.Errorf("document: read %s %s: %w", d.Kind, d.ID, err)
	}
	if h := v.Head(); h.Kind != d.Kind || h.ID != d.ID || h.Tenant != d.Tenant {
		return v, fmt.Errorf("document: read %s %s: the body is that of %s %s of tenant %q", d.Kind, d.ID, h.Kind, h.ID, h.Tenant)
	}
	return v, nil
}

// Encode makes a document of an entity, to be put with the revision it was read at (0: new).
func Encode[T Entity](v T, revision int64) (Doc, error) {
	h := v.Head()
	body, err := json.Marshal(v, json.Deterministic(true))
	if err != nil {
		return Doc{}, fmt.Errorf("document: write %s %s: %w", h.Kind, h.ID, err)
	}
	return Doc{Kind: h.Kind, ID: h.ID, Tenant: h.Tenant, Keys: h.Keys, Body: body, Revision: revision}, nil
}

// Get reads one entity and its revision.
func Get[T Entity](ctx context.Context, r Reader, id string) (v T, revision int64, err error) {
	d, err := r.Get(ctx, v.Head().Kind, id)
	if err != nil {
		return v, 0, err
	}
	v, err = Decode[T](&d)
	return v, d.Revision, err
}

// Find reads the entity that holds a key, and its revision.
func Find[T Entity](ctx context.Context, r Reader, key string) (v T, revision int64, err error) {
	d, err := r.Find(ctx, v.Head().Kind, key)
	if err != nil {
		return v, 0, err
	}
	v, err = Decode[T](&d)
	return v, d.Revision, err
}

// List reads the entities of a tenant (nil: of all), by id.
func List[T Entity](ctx context.Context, r Reader, tenant *string) ([]T, error) {
	var z T
	ds, err := r.List(ctx, Query{Kind: z.Head().Kind, Tenant: tenant})
	if err != nil {
		return nil, err
	}
	vs := make([]T, 0, len(ds))
	for i := range ds {
		v, err := Decode[T](&ds[i])
		if err != nil {
			return nil, err
		}
		vs = append(vs, v)
	}
	return vs, nil
}

// Put writes an entity within a transaction, with the revision it was read at (0: new), and returns
// the new one.
func Put[T Entity](ctx context.Context, tx Tx, v T, revision int64) (int64, error) {
	d, err := Encode(v, revision)
	if err != nil {
		return 0, err
	}
	return tx.Put(ctx, d)
}

// Insert writes a new entity.
func Insert[T Entity](ctx context.Context, s Store, v T) (revision int64, err error) {
	err = s.Write(ctx, func(tx Tx) error {
		revision, err = Put(ctx, tx, v, 0)
		return err
	})
	return revision, err
}

// Update reads an entity, lets change edit it, and writes it, all in one transaction. When want is not
// 0, it must be the revision of what is stored (ErrConflict). When change returns an error nothing is
// written, and Update returns that error. Kind, ID and Tenant cannot be changed.
func Update[T Entity](ctx context.Context, s Store, id string, want int64, change func(*T) error) (before, after T, revision int64, err error) {
	err = s.Write(ctx, func(tx Tx) error {
		var rev int64
		if before, rev, err = Get[T](ctx, tx, id); err != nil {
			return err
		}
		if want != 0 && want != rev {
			return ErrConflict
		}
		if after, _, err = Get[T](ctx, tx, id); err != nil { // a copy that shares nothing with before
			return err
		}
		if err := change(&after); err != nil {
			return err
		}
		if b, a := before.Head(), after.Head(); a.ID != b.ID || a.Tenant != b.Tenant {
			return fmt.Errorf("document: %s %s: id and tenant cannot change", b.Kind, b.ID)
		}
		revision, err = Put(ctx, tx, after, rev)
		return err
	})
	return before, after, revision, err
}
