package jwtbearer

import (
	"crypto/sha256"
	"encoding/binary"
	"sync/atomic"
	"time"

	"sallyport.dev/sallyport/internal/iam"
)

// entry is one verified token. It never changes.
type entry struct {
	sum        [sha256.Size]byte
	until      int64 // Unix nanoseconds
	issuer     *Issuer
	generation uint64 // of the issuer's keys
	id         *iam.Identity
}

const ways = 4

// cache knows verified tokens by their SHA-256. It has places for a fixed number, four to each set;
// a token has its set by its hash. Looking takes no lock: it loads at most four pointers. Two that
// are put at once may push out one another, which costs a signature, no more. Only tokens that were
// verified are put, so nobody without one can push out others'.
type cache struct {
	sets [][ways]atomic.Pointer[entry]
	mask uint64
}

func newCache(tokens int) *cache {
	n := 1
	for n*ways < tokens && n < 1<<20 {
		n *= 2
	}
	return &cache{sets: make([][ways]atomic.Pointer[entry], n), mask: uint64(n - 1)}
}

func (c *cache) set(sum *[sha256.Size]byte) *[ways]atomic.Pointer[entry] {
	return &c.sets[binary.LittleEndian.Uint64(sum[:8])&c.mask]
}

func (c *cache) get(sum *[sha256.Size]byte, now time.Time) *entry {
	set := c.set(sum)
	for i := range set {
		if e := set[i].Load(); e != nil && e.sum == *sum {
			if now.UnixNano() >= e.until {
				return nil
			}
			return e
		}
	}
	return nil
}

// put takes the token's old place, an empty one, or that of the one that ends first.
func (c *cache) put(e *entry) {
	set := c.set(&e.sum)
	at := 0
	var first int64
	for i := range set {
		o := set[i].Load()
		if o == nil || o.sum == e.sum {
			at = i
			break
		}
		if i == 0 || o.until < first {
			at, first = i, o.until
		}
	}
	set[at].Store(e)
}
