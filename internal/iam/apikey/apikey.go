// Package apikey makes, reads and hashes Sallyport's API keys:
//
//	sp_live_<id: 12 of a-z2-7>_<secret: 43 of 0-9A-Za-z>_<check: 6 of 0-9A-Za-z>
//
// The id is public and finds the key; the secret has 256 bits; the check is a CRC-32, so that
// scanners of leaked text recognise a key, and a mistyped one is refused before any hashing.
// At rest a key is HMAC-SHA256(pepper, id "_" secret): a fast hash is enough for a secret of full
// entropy (OWASP ASVS 5.0 11.4), and the pepper, kept apart, makes a stolen store useless.
package apikey

import (
	"crypto/rand"
	"hash/crc32"
	"strings"

	"sallyport.dev/sallyport/internal/secret"
)

const (
	// Prefix begins every key.
	Prefix = "sp_live_"

	idLen, secretLen, checkLen = 12, 43, 6

	// Len is the length of every key.
	Len = len(Prefix) + idLen + 1 + secretLen + 1 + checkLen

	base32 = "abcdefghijklmnopqrstuvwxyz234567" // RFC 4648, in lower case
	base62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
)

// Token is a well-formed key. It does not print.
type Token struct {
	ID   string
	text string // the key as a whole
}

// String masks all but the public id.
func (t Token) String() string { return Prefix + t.ID + "_***" }

// GoString masks.
func (t Token) GoString() string { return t.String() }

// Secret is the key as its holder must send it.
func (t Token) Secret() secret.String { return secret.New(t.text) }

// body is what is hashed: id "_" secret. The id is part of it so that a hash moved to another
// key's row is worth nothing.
func (t Token) body() string { return t.text[len(Prefix) : len(Prefix)+idLen+1+secretLen] }

// NewID draws the id of a new key.
func NewID() string { return draw(base32, idLen) }

// Generate draws a key with this id, which must come from NewID.
func Generate(id string) Token {
	s := Prefix + id + "_" + draw(base62, secretLen)
	return Token{ID: id, text: s + "_" + check(s)}
}

// Parse reads a key. The check comes first; nothing is compared in a time that depends on the
// contents. It allocates nothing.
func Parse(s string) (Token, bool) {
	if len(s) != Len || s[:len(Prefix)] != Prefix {
		return Token{}, false
	}
	const split = Len - checkLen - 1
	var sum [checkLen]byte
	putCheck(&sum, s[:split])
	diff := byte(0)
	for i := range sum {
		diff |= sum[i] ^ s[split+1+i]
	}
	if diff != 0 {
		return Token{}, false
	}
	id, sec := s[len(Prefix):len(Prefix)+idLen], s[len(Prefix)+idLen+1:split]
	if s[len(Prefix)+idLen] != '_' || s[split] != '_' || !of(id, inBase32) || !of(sec, inBase62) {
		return Token{}, false
	}
	return Token{ID: id, text: s}, true
}

// Looks says whether s is meant to be one of our keys, well-formed or not.
func Looks(s string) bool { return strings.HasPrefix(s, Prefix) }

// ValidID says whether s has the form of a key's id.
func ValidID(s string) bool { return len(s) == idLen && of(s, inBase32) }

const inBase32, inBase62 = 1, 2

// alphabets says of each byte which it is in.
var alphabets = func() (in [256]byte) {
	for i := range len(base32) {
		in[base32[i]] |= inBase32
	}
	for i := range len(base62) {
		in[base62[i]] |= inBase62
	}
	return in
}()

func of(s string, alphabet byte) bool {
	in := alphabet
	for i := range len(s) {
		in &= alphabets[s[i]]
	}
	return in != 0
}

func check(s string) string {
	var sum [checkLen]byte
	putCheck(&sum, s)
	return string(sum[:])
}

// putCheck reckons the CRC byte by byte: what the library takes is a slice, and a string made one lies on the heap.
func putCheck(dst *[checkLen]byte, s string) {
	n := ^uint32(0)
	for i := range len(s) {
		n = crc32.IEEETable[byte(n)^s[i]] ^ n>>8
	}
	n = ^n
	for i := checkLen - 1; i >= 0; i-- {
		dst[i] = base62[n%62]
		n /= 62
	}
}

// draw picks n letters, each equally likely: bytes beyond the last whole multiple are drawn again.
func draw(alphabet string, n int) string {
	limit := byte(256 / len(alphabet) * len(alphabet) & 0xff) // 0 when all 256 fit
	out := make([]byte, 0, n)
	var buf [64]byte
	for len(out) < n {
		_, _ = rand.Read(buf[:]) // never fails: the process ends instead
		for _, b := range buf {
			if (limit == 0 || b < limit) && len(out) < n {
				out = append(out, alphabet[int(b)%len(alphabet)])
			}
		}
	}
	return string(out)
}
