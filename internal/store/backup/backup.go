// Package backup writes the state of the identity room to one file, and fills an empty database from it.
//
// The file is JSON lines: a header, every key (its hashes), every document with its revision, and an end
// that says how many there were and the SHA-256 of all lines before. It is the same for every engine, so
// a backup of SQLite fills PostgreSQL. What secrets it holds are sealed or hashed as in the database: it is
// of no use without the master key and the pepper, which are not in it and are kept apart. It can be
// encrypted to age recipients besides.
//
// Who is signed in is left out: after a restore everybody signs in again, and what was revoked since the
// backup does not come back as a session.
package backup

import (
	"bufio"
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"slices"
	"time"

	"filippo.io/age"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"sallyport.dev/sallyport/internal/iam/document"
	"sallyport.dev/sallyport/internal/store/relational"
)

// Format is the version of the file's form.
const Format = 1

// maxLine bounds a line: a document, and what JSON adds to it.
const maxLine = 4 << 20

// Header begins a backup.
type Header struct {
	Sallyport int       `json:"sallyport_backup"`
	Release   string    `json:"release"`
	Made      time.Time `json:"made"`
}

// End ends one.
type End struct {
	Keys      int    `json:"keys"`
	Documents int    `json:"documents"`
	MAC       string `json:"mac"`
}

type docRow struct {
	Kind     string         `json:"kind"`
	ID       string         `json:"id"`
	Tenant   string         `json:"tenant"`
	Keys     []string       `json:"keys,omitempty"`
	Body     jsontext.Value `json:"body,omitempty"`
	Revision int64          `json:"revision"`
	Deleted  bool           `json:"deleted,omitzero"`
}

type line struct {
	Key *relational.KeyRow `json:"key,omitempty"`
	Doc *docRow            `json:"document,omitempty"`
	End *End               `json:"end,omitempty"`
}

// Source is a database that can be read as it is at one moment.
type Source interface {
	Snapshot(ctx context.Context, key func(relational.KeyRow) error, doc func(document.Doc) error) error
}

// Target is a database that can be filled when it is empty, whole or not at all.
type Target interface {
	Restore(ctx context.Context, next func() (*relational.KeyRow, *document.Doc, bool, error)) error
}

// Write writes a backup to w, sealed under key, without documents of the kinds in skip. With recipients it
// is encrypted to them. What w has is a backup only when Write returned nil.
func Write(ctx context.Context, w io.Writer, s Source, h Header, key []byte, skip []string, recipients ...age.Recipient) (end End, err error) {
	if len(recipients) > 0 {
		enc, err := age.Encrypt(w, recipients...)
		if err != nil {
			return end, fmt.Errorf("backup: encrypt: %w", err)
		}
		if end, err = Write(ctx, enc, s, h, key, skip); err != nil {
			return end, err
		}
		return end, enc.Close()
	}
	if len(key) < sha256.Size {
		return end, errors.New("backup: write: the key is too short")
	}
	sum := hmac.New(sha256.New, key)
	buf := bufio.NewWriterSize(w, 64<<10)
	put := func(v any) error {
		b, err := json.Marshal(v)
		if err != nil {
			return err
		}
		b = append(b, '\n')
		sum.Write(b)
		_, err = buf.Write(b)
		return err
	}
	h.Sallyport = Format
	if err := put(h); err != nil {
		return end, fmt.Errorf("backup: write: %w", err)
	}
	err = s.Snapshot(ctx, func(k relational.KeyRow) error {
		end.Keys++
		return put(line{Key: &k})
	}, func(d document.Doc) error {
		if slices.Contains(skip, d.Kind) {
			return nil
		}
		end.Documents++
		row := &docRow{d.Kind, d.ID, d.Tenant, d.Keys, d.Body, d.Revision, d.Deleted}
		if d.Deleted {
			row.Body = nil
		}
		return put(line{Doc: row})
	})
	if err != nil {
		return end, fmt.Errorf("backup: write: %w", err)
	}
	end.MAC = hex.EncodeToString(sum.Sum(nil))
	if err := put(line{End: &end}); err != nil {
		return end, fmt.Errorf("backup: write: %w", err)
	}
	return end, buf.Flush()
}

// What is refused.
var (
	ErrFormat = errors.New("backup: this is no backup of Sallyport, or one that is encrypted: give the identity that decrypts it")
	ErrNewer  = errors.New("backup: it was made by a newer release; restore it with that")
	ErrDamage = errors.New("backup: it is damaged, cut off or changed, or was made by an installation with another pepper")
)

// Read fills t from a backup, decrypted with identities where there are any. The file is read to its end
// and what seals it checked before anything of it counts: t takes all of it or nothing.
func Read(ctx context.Context, r io.Reader, t Target, key []byte, identities ...age.Identity) (h Header, end End, err error) {
	if len(identities) > 0 {
		if r, err = age.Decrypt(r, identities...); err != nil {
			return h, end, fmt.Errorf("backup: decrypt: %w", err)
		}
	}
	f := &file{r: bufio.NewReaderSize(r, 64<<10), sum: hmac.New(sha256.New, key)}
	first, err := f.line()
	if err != nil || json.Unmarshal(first, &h) != nil || h.Sallyport == 0 {
		return h, end, ErrFormat
	}
	if h.Sallyport > Format {
		return h, end, ErrNewer
	}
	f.sum.Write(first)
	err = t.Restore(ctx, f.next)
	if err != nil {
		return h, f.end, fmt.Errorf("backup: restore: %w", err)
	}
	return h, f.end, nil
}

// file reads lines and adds them up.
type file struct {
	r          *bufio.Reader
	sum        hash.Hash
	keys, docs int
	end        End
}

func (f *file) line() ([]byte, error) {
	var b []byte
	for {
		part, err := f.r.ReadSlice('\n')
		b = append(b, part...)
		switch {
		case err == nil:
			return b, nil
		case !errors.Is(err, bufio.ErrBufferFull):
			return b, err
		case len(b) > maxLine:
			return nil, ErrDamage
		}
	}
}

// next returns the next row; false after the end, when all of it adds up.
func (f *file) next() (*relational.KeyRow, *document.Doc, bool, error) {
	b, err := f.line()
	if err != nil {
		return nil, nil, false, ErrDamage
	}
	var l line
	if err := json.Unmarshal(b, &l, json.RejectUnknownMembers(true)); err != nil {
		return nil, nil, false, ErrDamage
	}
	switch {
	case l.End != nil:
		f.end = *l.End
		if rest, err := f.r.Peek(1); err == nil || len(rest) > 0 {
			return nil, nil, false, ErrDamage
		}
		if mac, err := hex.DecodeString(l.End.MAC); err != nil || l.End.Keys != f.keys || l.End.Documents != f.docs || !hmac.Equal(f.sum.Sum(nil), mac) {
			return nil, nil, false, ErrDamage
		}
		return nil, nil, false, nil
	case l.Key != nil:
		f.keys++
		f.sum.Write(b)
		return l.Key, nil, true, nil
	case l.Doc != nil:
		f.docs++
		f.sum.Write(b)
		d := l.Doc
		return nil, &document.Doc{Kind: d.Kind, ID: d.ID, Tenant: d.Tenant, Keys: d.Keys, Body: bytes.Clone(d.Body), Revision: d.Revision, Deleted: d.Deleted}, true, nil
	}
	return nil, nil, false, ErrDamage
}
