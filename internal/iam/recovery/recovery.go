// Package recovery is what a person keeps on paper for when the second factor is lost: ten codes, each of
// which works once. A code holds 100 random bits, so a fast hash of it is safe to keep (OWASP ASVS 5.0.0, 6.5.2).
package recovery

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base32"
	"strings"

	"sallyport.dev/sallyport/internal/secret"
)

// Count is how many codes a person is given.
const Count = 10

const length = 20 // characters, 5 bits each

// The alphabet of Crockford's base32: no letter looks like another.
var alphabet = base32.NewEncoding("0123456789ABCDEFGHJKMNPQRSTVWXYZ").WithPadding(base32.NoPadding)

// Set is the codes of one person that are left, as they are kept. It is changed within one transaction of
// the store only.
type Set struct {
	Hashes [][]byte `json:"hashes,omitempty"`
}

// New makes the codes of a person, to be shown once, and what is kept of them. Earlier ones end when
// the new set takes their place.
func New(user string) ([]secret.String, Set) {
	var codes []secret.String
	var s Set
	for range Count {
		var b [13]byte
		rand.Read(b[:])
		c := alphabet.EncodeToString(b[:])[:length]
		codes = append(codes, secret.New(c[:5]+"-"+c[5:10]+"-"+c[10:15]+"-"+c[15:]))
		s.Hashes = append(s.Hashes, hash(user, c))
	}
	return codes, s
}

// Looks says whether something typed has the form of a code, so that a page needs one field only.
func Looks(code string) bool { _, ok := normal(code); return ok }

// Spend uses up a code of the person and says whether it was one. It must run in the transaction that writes s.
// All that are left are compared, each in constant time.
func (s *Set) Spend(user, code string) bool {
	c, ok := normal(code)
	if !ok {
		return false
	}
	sum := hash(user, c)
	var left [][]byte
	for _, h := range s.Hashes {
		if subtle.ConstantTimeCompare(h, sum) == 0 {
			left = append(left, h)
		}
	}
	hit := len(left) < len(s.Hashes)
	s.Hashes = left
	return hit
}

// Left is how many codes still work.
func (s *Set) Left() int { return len(s.Hashes) }

// hash binds a code to its person: the row of another is of no use.
func hash(user, code string) []byte {
	sum := sha256.Sum256([]byte("sallyport recovery code 1\x00" + user + "\x00" + code))
	return sum[:]
}

// normal takes a code as people write it: any case, with or without hyphens and spaces, O for 0, I and L for 1.
func normal(code string) (string, bool) {
	if len(code) > 4*length {
		return "", false
	}
	c := strings.NewReplacer("-", "", " ", "", "O", "0", "I", "1", "L", "1").Replace(strings.ToUpper(strings.TrimSpace(code)))
	return c, len(c) == length && strings.Trim(c, "0123456789ABCDEFGHJKMNPQRSTVWXYZ") == ""
}
