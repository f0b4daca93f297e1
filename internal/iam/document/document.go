// Package document is how the identity room keeps what it administers: people, teams, roles, policies,
// sessions, sealed credentials. Each thing is one JSON document with an id, the tenant it belongs to,
// and the keys by which it can also be found. Every change has a revision that grows through the whole
// store in the order of commit, so that each node can follow what the others changed without ever
// missing one (Changes), and forget nothing that was taken away: what is deleted stays as a tombstone, for
// long enough (KeepDeleted), and who was away for longer is told so (ErrGap).
//
// API keys are not kept here but in a table of their own (iam.KeyStore): there may be a hundred
// thousand of them, and they are what the hot path is made from.
package document

import (
	"context"
	"errors"
	"strings"
	"time"
	"unicode/utf8"
)

// What a store says when it refuses. Stores may wrap them.
var (
	// ErrNotFound: there is no such document, or it was deleted.
	ErrNotFound = errors.New("document: not found")
	// ErrExists: another document of the kind has this id or one of these keys.
	ErrExists = errors.New("document: exists")
	// ErrConflict: the document changed since it was read.
	ErrConflict = errors.New("document: changed by another")
	// ErrGap: what a follower knows cannot be brought up to date by changes. Forget it, and read from the start.
	ErrGap = errors.New("document: changes were missed; read everything anew")
)

// KeepDeleted is how long tombstones are kept. A node asks for changes twice a second, and refuses calls
// when it had no answer for half a minute, so minutes would do; three days are for a machine that stood
// still over a weekend with a release that does not know ErrGap.
const KeepDeleted = 72 * time.Hour

// Bounds of a document, so that none can fill a store or a node's memory. Put refuses more.
const (
	MaxBody = 1 << 20 // bytes of JSON
	MaxKeys = 64
	MaxKey  = 512 // bytes
	MaxID   = 128 // bytes
)

// Doc is one stored thing.
type Doc struct {
	Kind string // "user", "role": lower-case letters, digits and _
	// ID is unique within the kind, tombstones included. Ids are random, so that none is used again after
	// its tombstone was purged; tombstones of kinds whose ids people choose are never purged.
	ID     string
	Tenant string // "" for what belongs to the installation
	// Keys are other names by which it is found, each held by at most one living document of the
	// kind, such as "name:acme/alice". Who builds a key keeps its parts apart without ambiguity.
	Keys []string
	Body []byte // JSON; empty in a tombstone
	// Revision is that of the change that wrote it, above 0 and never used twice in the store.
	Revision int64
	Deleted  bool
}

// Query says which living documents List returns, by id.
type Query struct {
	Kind   string
	Tenant *string // nil: of every tenant
	After  string  // only ids above it
	Limit  int     // 0: all
}

// Reader reads documents. What it returns is the caller's. It is safe for concurrent use.
type Reader interface {
	// Get returns a living document, or ErrNotFound.
	Get(ctx context.Context, kind, id string) (Doc, error)
	// Find returns the living document of the kind that holds the key, or ErrNotFound.
	Find(ctx context.Context, kind, key string) (Doc, error)
	List(ctx context.Context, q Query) ([]Doc, error)
}

// Store keeps documents. It is safe for concurrent use, also by several processes.
type Store interface {
	Reader
	// Changes returns what changed after a position, tombstones included, by revision, at most limit
	// (0: all), and the position from which to go on. A revision
	// becomes visible only after every smaller one, so a follower sees everything once. Only the newest
	// state of a document is returned, not those between. ErrGap: tombstones that this follower has not
	// seen were purged, or the store went back to an earlier state.
	Changes(ctx context.Context, at Position, limit int) ([]Doc, Position, error)
	// Write runs f in one transaction that sees what it wrote, and no other Write runs at the same
	// time. When f returns nil, all it wrote is durable when Write returns; otherwise nothing was
	// written, and Write returns f's error. f may run more than once: it must have no other effects.
	// f must not keep tx.
	Write(ctx context.Context, f func(tx Tx) error) error
}

// Position is how far a follower has come. The zero value is before everything.
type Position struct {
	Revision int64 // newest change that was taken
	Purged   int64 // newest tombstone that was gone when it was
}

// Next is where a follower stands who was at a position and now reads of a store with these purged and last
// revisions; ErrGap where it cannot follow. For stores.
//
// All deletions up to the larger part of a position are known: up to Purged they were past before the
// follower began, and up to Revision it took them.
func (p Position) Next(purged, last int64) (Position, error) {
	if p != (Position{}) && (purged > max(p.Revision, p.Purged) || purged < p.Purged || last < p.Revision) {
		return Position{}, ErrGap
	}
	return Position{p.Revision, purged}, nil
}

// Purger is a store that can forget what was deleted for good.
type Purger interface {
	// Purge takes tombstones away that are older than keep, to within PurgeEvery, but those of the kinds in
	// forever, and says how many. Every node may call it as often as it likes: one of them does so each
	// PurgeEvery, at most PurgeMost at a time, in small transactions.
	Purge(ctx context.Context, keep time.Duration, forever []string) (int, error)
}

// How tombstones are purged.
const (
	PurgeEvery = 10 * time.Minute
	PurgeMost  = 50_000 // in one call: 7 million a day
	PurgeBatch = 500    // in one transaction: a writer beside it waits no longer
)

// Tx is a transaction under way. It is used by one goroutine.
type Tx interface {
	Reader
	// Put writes a document. With Revision 0 it must be new (ErrExists); otherwise the stored one
	// must have this Revision still (ErrConflict, ErrNotFound). It returns the new revision.
	Put(ctx context.Context, d Doc) (int64, error)
	// Delete leaves a tombstone: no body, no keys. ErrNotFound when there is nothing living.
	Delete(ctx context.Context, kind, id string) error
}

// Check says whether a document is within the bounds and well-formed. Stores call it in Put.
func Check(d *Doc) error {
	switch {
	case !plain(d.Kind) || len(d.Kind) > 32:
		return errors.New("document: a kind is 1 to 32 lower-case letters, digits and _")
	case d.ID == "" || len(d.ID) > MaxID || !printable(d.ID):
		return errors.New("document: an id is 1 to 128 bytes of printable ASCII")
	case len(d.Tenant) > MaxID || !printable(d.Tenant):
		return errors.New("document: a tenant is at most 128 bytes of printable ASCII")
	case len(d.Body) == 0 || len(d.Body) > MaxBody:
		return errors.New("document: a body is 1 byte to 1 MiB")
	case len(d.Keys) > MaxKeys:
		return errors.New("document: more than 64 keys")
	}
	for i, k := range d.Keys {
		if !ValidKey(k) {
			return errors.New("document: a key is 1 to 512 bytes of text")
		}
		for _, other := range d.Keys[:i] {
			if k == other {
				return errors.New("document: a key is given twice")
			}
		}
	}
	return nil
}

// ValidKey says whether a document may have such a key: no other is ever found.
func ValidKey(k string) bool {
	return k != "" && len(k) <= MaxKey && utf8.ValidString(k) && strings.IndexByte(k, 0) < 0
}

func plain(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '_' {
			return false
		}
	}
	return s != ""
}

func printable(s string) bool {
	for i := range len(s) {
		if s[i] < '!' || s[i] > '~' {
			return false
		}
	}
	return true
}
