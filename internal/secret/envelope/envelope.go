// Package envelope keeps secrets at rest by envelope encryption: each tenant has data keys of its own,
// and these are wrapped by a key-encryption key (KEK) that the database never sees. A stolen database
// is worth nothing without the KEK, and a ciphertext opens only in the place it was sealed for (OWASP
// ASVS 5.0 11.3.3, 13.3.1).
//
//	ciphertext   1 | data key version (4) | data key id (8) | nonce (24) | sealed text, tag (16)
//	wrapped key  1 | nonce (24) | sealed data key (32), tag (16)
//
// Both are XAES-256-GCM with random nonces. Additional data of a ciphertext is the whole header, the
// tenant and the Place; that of a wrapped key is its tenant, version, id and the KEK's id. Every part
// is written with its length, so no two sets of parts give the same bytes.
//
// Go moves and copies memory, so clearing key bytes after use is advisory: it shortens the time they
// lie about, and promises nothing against who can read the process's memory.
package envelope

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"sallyport.dev/sallyport/internal/secret"
)

// What the keyring says when it refuses. None of them, nor what wraps them, holds key or plaintext.
var (
	// ErrOpen: the ciphertext was damaged, or was sealed for another place or tenant, or is none.
	ErrOpen = errors.New("envelope: the ciphertext is damaged, or was sealed for another place")
	// ErrUnknownKey: the store has no data key that the ciphertext names.
	ErrUnknownKey = errors.New("envelope: the data key of this ciphertext is not in the store")
	// ErrNoKEK: a data key is wrapped by a KEK that was not given.
	ErrNoKEK = errors.New("envelope: the key-encryption key was not given; configure it as an old one")
	// ErrWrapped: a wrapped data key was damaged or moved.
	ErrWrapped = errors.New("envelope: the wrapped data key is damaged, or was moved")
)

// What a Store says when it refuses. Stores may wrap them.
var (
	ErrNotFound = errors.New("envelope: no such data key")
	ErrExists   = errors.New("envelope: the data key exists")
	ErrConflict = errors.New("envelope: the data key was changed by another")
)

// Bounds.
const (
	MaxPlain = secret.MaxBytes
	maxPart  = 256 // bytes of tenant, table, row or column
)

// Place is where a ciphertext lives. It opens nowhere else.
type Place struct{ Table, Row, Column string }

// Wrapped is a data key at rest. All of it may be stored in the clear.
type Wrapped struct {
	Tenant  string // "" for what belongs to the installation
	Version uint32 // from 1
	ID      string // 16 hexadecimal digits, random
	KEK     string // id of the key that wraps it
	Blob    []byte
	Created time.Time
}

// Store keeps wrapped data keys. In SQL it is one table with the primary key (tenant, version): Put is
// INSERT ... ON CONFLICT DO NOTHING, Swap is UPDATE ... SET kek, blob WHERE tenant, version and blob =
// old, and each says by the number of rows whether it happened. Data keys are never deleted while a
// ciphertext may name them. It is safe for concurrent use, also by several processes; a change is
// durable when the method returns nil.
type Store interface {
	// Get returns one data key, or ErrNotFound.
	Get(ctx context.Context, tenant string, version uint32) (Wrapped, error)
	// List returns the data keys of a tenant (nil: of all), in any order.
	List(ctx context.Context, tenant *string) ([]Wrapped, error)
	// Put adds a data key; ErrExists when the tenant has one of this version.
	Put(ctx context.Context, w Wrapped) error
	// Swap replaces KEK and Blob if the stored Blob is still old; ErrConflict otherwise.
	Swap(ctx context.Context, old []byte, w Wrapped) error
}

const (
	format   = 1
	idSize   = 8
	headSize = 1 + 4 + idSize
	// Overhead is how much longer a ciphertext is than its text, in bytes.
	Overhead = headSize + nonceSize + tagSize
)

// ref is how a ciphertext names its data key.
type ref struct {
	tenant  string
	version uint32
	id      [idSize]byte
}

// header reads the part of a ciphertext that is not sealed.
func header(tenant string, box []byte) (ref, error) {
	if len(box) < Overhead || len(box) > Overhead+MaxPlain || box[0] != format {
		return ref{}, ErrOpen
	}
	r := ref{tenant: tenant, version: binary.BigEndian.Uint32(box[1:5])}
	copy(r.id[:], box[5:headSize])
	if r.version == 0 {
		return ref{}, ErrOpen
	}
	return r, nil
}

func (r *ref) header() []byte {
	b := append(make([]byte, 0, headSize), format)
	b = binary.BigEndian.AppendUint32(b, r.version)
	return append(b, r.id[:]...)
}

// bind writes parts with their lengths.
func bind(domain string, parts ...string) []byte {
	n := len(domain) + 4
	for _, p := range parts {
		n += len(p) + 4
	}
	b := make([]byte, 0, n)
	for _, p := range append([]string{domain}, parts...) {
		b = binary.BigEndian.AppendUint32(b, uint32(len(p)))
		b = append(b, p...)
	}
	return b
}

func (p *Place) aad(r *ref) []byte {
	return bind("sallyport sealed v1", string(r.header()), r.tenant, p.Table, p.Row, p.Column)
}

func (p *Place) check(tenant string) error {
	if p.Table == "" || p.Row == "" || p.Column == "" {
		return errors.New("envelope: a place needs a table, a row and a column")
	}
	for _, s := range []string{tenant, p.Table, p.Row, p.Column} {
		if len(s) > maxPart {
			return fmt.Errorf("envelope: a tenant, table, row or column is longer than %d bytes", maxPart)
		}
	}
	return nil
}

func (w *Wrapped) aad() []byte {
	var v [4]byte
	binary.BigEndian.PutUint32(v[:], w.Version)
	return bind("sallyport data key v1", w.KEK, w.Tenant, string(v[:]), w.ID)
}

func (w *Wrapped) ref() (ref, error) {
	r := ref{tenant: w.Tenant, version: w.Version}
	if n, err := hex.Decode(r.id[:], []byte(w.ID)); len(w.ID) != 2*idSize || err != nil || n != idSize || w.Version == 0 {
		return ref{}, ErrWrapped
	}
	return r, nil
}

// wrap seals a data key under k into w.
func (w *Wrapped) wrap(k KEK, key *[keySize]byte) {
	w.KEK = k.id
	w.Blob = k.wrap.seal([]byte{format}, key[:], w.aad())
}

func (w *Wrapped) unwrap(keks map[string]KEK) (key [keySize]byte, err error) {
	k, ok := keks[w.KEK]
	if !ok {
		return key, fmt.Errorf("data key %d of tenant %q is wrapped by kek %.32q: %w", w.Version, w.Tenant, w.KEK, ErrNoKEK)
	}
	if len(w.Blob) != 1+nonceSize+keySize+tagSize || w.Blob[0] != format {
		return key, fmt.Errorf("data key %d of tenant %q: %w", w.Version, w.Tenant, ErrWrapped)
	}
	p, err := k.wrap.open(w.Blob[1:], w.aad())
	if err != nil {
		return key, fmt.Errorf("data key %d of tenant %q: %w", w.Version, w.Tenant, ErrWrapped)
	}
	copy(key[:], p)
	clear(p)
	return key, nil
}
