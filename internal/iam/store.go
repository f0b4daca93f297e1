package iam

import (
	"context"
	"errors"
	"time"
)

// What a KeyStore says when it refuses.
var (
	ErrNotFound = errors.New("iam: no such key")
	ErrExists   = errors.New("iam: a key with this id exists")
)

// KeyReader is what the hot path's snapshot is made from. It is safe for concurrent use.
type KeyReader interface {
	// Keys returns every key, revoked ones included, by Created, then ID, and the version they
	// were read at, in one transaction.
	Keys(ctx context.Context) ([]Key, int64, error)
	// Changed returns the keys whose last change but that of LastUsed came after a version, and the
	// version they were read at, in one transaction. whole says that these are all the keys there are:
	// it is true for every version up to 0, and when a key was taken out of the store since.
	Changed(ctx context.Context, after int64) (keys []Key, whole bool, version int64, err error)
	// Version is a number that grows with every change of any key but its LastUsed, made through
	// this or any other handle of the store, in this or any other process.
	Version(ctx context.Context) (int64, error)
}

// KeyStore keeps keys. A change is durable when a method returns nil, and not made at all when it
// returns an error. Times are kept to the microsecond, in UTC. It is safe for concurrent use, also
// by several processes.
type KeyStore interface {
	KeyReader
	// Insert adds a key; ErrExists when its ID is taken.
	Insert(ctx context.Context, k Key) error
	// Update reads a key, lets change edit it, and writes it, all in one transaction: of several
	// updates at once none is lost. ErrNotFound when there is none. When change returns an error,
	// nothing is written and Update returns that error. ID and Created cannot be changed.
	Update(ctx context.Context, id string, change func(*Key) error) (Key, error)
}

// UseRecorder is a store that also takes note of when keys were last used.
type UseRecorder interface {
	// Used moves LastUsed of each key forward, never back. Unknown ids are ignored. It does not
	// change the Version.
	Used(ctx context.Context, last map[string]time.Time) error
}
