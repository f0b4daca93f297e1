package apikey

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"hash"
	"sync"

	"sallyport.dev/sallyport/internal/secret"
)

// Hash is a key at rest. It does not print.
type Hash [sha256.Size]byte

// String masks.
func (Hash) String() string { return "***" }

// GoString masks.
func (Hash) GoString() string { return "***" }

// MarshalText masks.
func (Hash) MarshalText() ([]byte, error) { return []byte("***"), nil }

// Equal compares in constant time.
func (h Hash) Equal(o Hash) bool { return subtle.ConstantTimeCompare(h[:], o[:]) == 1 }

// MinPepper is the least length of a pepper, in bytes.
const MinPepper = 16

// Hasher hashes keys under one pepper. It is safe for concurrent use and takes no shared lock.
type Hasher struct {
	version string
	states  sync.Pool // keyed HMAC states: keying one costs as much as hashing
}

type state struct {
	mac hash.Hash
	in  [idLen + 1 + secretLen]byte
	out [sha256.Size]byte
}

// NewHasher refuses a pepper under MinPepper bytes.
func NewHasher(pepper secret.String) (*Hasher, error) {
	p := []byte(pepper.Reveal())
	if len(p) < MinPepper {
		return nil, errors.New("apikey: the pepper has fewer than 16 bytes")
	}
	m := hmac.New(sha256.New, p)
	m.Write([]byte("sallyport pepper version"))
	h := &Hasher{version: hex.EncodeToString(m.Sum(nil)[:4])}
	h.states.New = func() any { return &state{mac: hmac.New(sha256.New, p)} }
	return h, nil
}

// Version names the pepper without giving it away: 8 hexadecimal digits. A key hashed under
// another version cannot be checked.
func (h *Hasher) Version() string { return h.version }

// Sum is the hash of a key.
func (h *Hasher) Sum(t Token) Hash {
	s := h.states.Get().(*state)
	defer h.states.Put(s)
	s.mac.Reset()
	copy(s.in[:], t.body())
	s.mac.Write(s.in[:])
	s.mac.Sum(s.out[:0])
	out := Hash(s.out)
	clear(s.in[:])
	return out
}
