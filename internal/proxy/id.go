package proxy

import (
	"math/rand/v2"
	"time"
)

const crockford = "0123456789abcdefghjkmnpqrstvwxyz"

// newID makes a Sallyport-Id: a ULID in lower case (48 bits of milliseconds, 80 random bits), so
// that ids sort by time and nobody can guess one. The runtime's generator is ChaCha8, seeded from
// the system, and takes no shared lock.
func newID(now time.Time) string {
	var b [26]byte
	ms := uint64(now.UnixMilli())
	for i := 9; i >= 0; i-- {
		b[i] = crockford[ms&31]
		ms >>= 5
	}
	r := rand.Uint64()
	for i := 10; i < 18; i++ {
		b[i] = crockford[r&31]
		r >>= 5
	}
	r = rand.Uint64()
	for i := 18; i < 26; i++ {
		b[i] = crockford[r&31]
		r >>= 5
	}
	return string(b[:])
}
