package inspect

import (
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"io"
	"sync"

	"sallyport.dev/sallyport/internal/gate"
)

// cache remembers what was found in texts seen before, because every call of a conversation repeats
// its history. It stores findings, not actions, so that a changed policy voids nothing, and never
// the text.
//
// A verdict is found again by a SHA-256 that begins with a secret key, cut to 128 bits. Whoever does
// not know the key cannot make two texts share a verdict. A bare key in front is open to length
// extension only where a digest is seen, and none leaves this type.
type cache struct {
	shards [cacheShards]shard
	limit  int // bytes that one generation of one shard may hold
	key    [sha256.BlockSize]byte
	pool   sync.Pool
}

const (
	cacheShards = 32
	// cacheMinText: shorter texts are read about as fast as they are looked up.
	cacheMinText = 32
	// entryCost is what an entry without findings takes in a Go map, generously.
	entryCost = 96
	// findingCost is what one kept finding takes.
	findingCost = 160
)

type cacheKey [16]byte

// shard keeps two generations: when the young one is full it becomes the old one and the old one
// goes; an entry that is used moves to the young one. That is bounded, and forgets what nobody asks
// for, without a list to keep in order.
type shard struct {
	mu         sync.Mutex
	young, old map[cacheKey][]gate.Finding
	bytes      int      // of the young generation
	_          [64]byte // keeps the next shard's lock out of this cache line
}

// hasher is the scratch of one lookup; pooled so that a lookup allocates nothing.
type hasher struct {
	h    hash.Hash
	head [9]byte
	sum  [sha256.Size]byte
}

func newCache(bytes int, key []byte) *cache {
	c := &cache{limit: bytes / cacheShards / 2}
	k := sha256.Sum256(key)
	copy(c.key[:], k[:])
	c.pool.New = func() any { return &hasher{h: sha256.New()} }
	return c
}

// keyOf names the verdict about a text by a detector of the given version.
func (c *cache) keyOf(version string, seg *gate.Segment) (k cacheKey) {
	s := c.pool.Get().(*hasher)
	s.h.Reset()
	s.h.Write(c.key[:])
	binary.LittleEndian.PutUint64(s.head[:], uint64(len(version)))
	s.head[8] = byte(seg.Channel)
	s.h.Write(s.head[:])
	io.WriteString(s.h, version)
	s.h.Write(seg.Text)
	copy(k[:], s.h.Sum(s.sum[:0]))
	c.pool.Put(s)
	return k
}

func (c *cache) shard(k cacheKey) *shard { return &c.shards[k[0]%cacheShards] }

// get returns findings that the caller must not change.
func (c *cache) get(k cacheKey) ([]gate.Finding, bool) {
	s := c.shard(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	if fs, ok := s.young[k]; ok {
		return fs, true
	}
	fs, ok := s.old[k]
	if ok {
		c.store(s, k, fs)
	}
	return fs, ok
}

// put keeps fs, which the caller must not change afterwards.
func (c *cache) put(k cacheKey, fs []gate.Finding) {
	s := c.shard(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	c.store(s, k, fs)
}

func (c *cache) store(s *shard, k cacheKey, fs []gate.Finding) {
	n := entryCost + len(fs)*findingCost
	if n > c.limit {
		return // found again each time: cheaper than forgetting everything else for it
	}
	if _, ok := s.young[k]; ok {
		return
	}
	if s.young == nil || s.bytes+n > c.limit {
		s.old, s.young, s.bytes = s.young, make(map[cacheKey][]gate.Finding), 0
	}
	s.young[k] = fs
	s.bytes += n
}

// size is what the cache holds by its own count, for tests and metrics.
func (c *cache) size() (entries, bytes int) {
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		for _, g := range []map[cacheKey][]gate.Finding{s.young, s.old} {
			for _, fs := range g {
				entries++
				bytes += entryCost + len(fs)*findingCost
			}
		}
		s.mu.Unlock()
	}
	return entries, bytes
}
