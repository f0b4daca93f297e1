package leak

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"sallyport.dev/sallyport/internal/iam/apikey"
)

// List is a leak list in memory: about 44 bytes for a key and 32 for a digest. It never changes, and is
// safe for concurrent use without a lock.
type List struct {
	keys    []known // by id, then mac
	digests [][sha256.Size]byte
	hasher  *apikey.Hasher
	counts  Counts
}

type known struct {
	id  [12]byte
	mac apikey.Hash
}

func (k *known) compare(o *known) int {
	if c := bytes.Compare(k.id[:], o.id[:]); c != 0 {
		return c
	}
	return bytes.Compare(k.mac[:], o.mac[:])
}

// Load reads a list from a file. The hasher is the one that the key store's hashes were made with.
func Load(path string, h *apikey.Hasher) (*List, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("leak: open the list: %w", err)
	}
	defer f.Close()
	if st, err := f.Stat(); err != nil || !st.Mode().IsRegular() {
		return nil, fmt.Errorf("leak: %s is not a regular file", path)
	}
	return Read(context.Background(), f, h)
}

// Read reads a list.
func Read(ctx context.Context, r io.Reader, h *apikey.Hasher) (*List, error) {
	if h == nil {
		return nil, errors.New("leak: no hasher")
	}
	l := &List{hasher: h}
	room := func() error {
		if len(l.keys)+len(l.digests) >= MaxEntries {
			return ErrTooMany
		}
		return nil
	}
	var err error
	l.counts, err = read(ctx, r, func(_ int, t apikey.Token) error {
		k := known{mac: h.Sum(t)}
		copy(k.id[:], t.ID)
		l.keys = append(l.keys, k)
		return room()
	}, func(d [sha256.Size]byte) error {
		l.digests = append(l.digests, d)
		return room()
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(l.keys, func(a, b known) int { return a.compare(&b) })
	l.keys = slices.CompactFunc(l.keys, func(a, b known) bool { return a == b })
	slices.SortFunc(l.digests, func(a, b [sha256.Size]byte) int { return bytes.Compare(a[:], b[:]) })
	l.digests = slices.Compact(l.digests)
	return l, nil
}

// Counts says what the file held, repeated keys counted each time.
func (l *List) Counts() Counts { return l.counts }

// Holds says whether the list has the whole key with this id whose hash is in the key store: the key
// need not be presented. Who has the list and not the pepper cannot ask this. An id with another hash
// is no hit: ids are public, and anyone can write a line that holds one.
func (l *List) Holds(id string, hash apikey.Hash) bool {
	k := known{mac: hash}
	if copy(k.id[:], id) != len(k.id) || len(id) != len(k.id) {
		return false
	}
	// The search may end early: both sides are keyed hashes, of which the caller chooses nothing.
	_, ok := slices.BinarySearchFunc(l.keys, &k, func(e known, k *known) int { return e.compare(k) })
	return ok
}

// Presented says whether a key that somebody presents is in the list, whole or as a digest.
func (l *List) Presented(t apikey.Token) bool {
	if len(l.keys) > 0 && l.Holds(t.ID, l.hasher.Sum(t)) {
		return true
	}
	if len(l.digests) == 0 {
		return false
	}
	d := sha256.Sum256([]byte(t.Secret().Reveal()))
	_, ok := slices.BinarySearchFunc(l.digests, &d, func(e [sha256.Size]byte, d *[sha256.Size]byte) int { return bytes.Compare(e[:], d[:]) })
	return ok
}
