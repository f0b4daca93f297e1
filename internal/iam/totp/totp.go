// Package totp is the second factor of an authenticator app: time-based one-time codes (RFC 6238) with
// SHA-1, six digits and 30 s, which is what every app can do. HMAC-SHA-1 is not touched by the collisions
// of SHA-1. A code is taken once (RFC 6238 section 5.2).
package totp

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha1"
	"crypto/subtle"
	"encoding/base32"
	"encoding/binary"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"sallyport.dev/sallyport/internal/secret"
)

const (
	// Period is how long a code is shown.
	Period = 30 * time.Second
	// Skew is how many steps before and after the present one are taken.
	Skew = 1
	// Digits of a code.
	Digits = 6

	seedLen = 20 // bytes, the length of the hash (RFC 4226 section 4, R6)
)

var (
	// ErrWrong: the code is none of the present ones.
	ErrWrong = errors.New("totp: the code is not right")
	// ErrUsed: the code is right, or was, but one as new has been used. Somebody may have read it.
	ErrUsed = errors.New("totp: the code was used already; wait for the next one")
)

var b32 = base32.StdEncoding.WithPadding(base32.NoPadding)

// NewSeed makes a seed of 160 random bits, in base32.
func NewSeed() secret.String {
	b := make([]byte, seedLen)
	rand.Read(b)
	return secret.New(b32.EncodeToString(b))
}

// URI is what an app reads from a QR code (Key Uri Format). It holds the seed.
func URI(seed secret.String, issuer, account string) secret.String {
	esc := func(s string) string { return strings.ReplaceAll(url.QueryEscape(s), "+", "%20") }
	return secret.New(fmt.Sprintf("otpauth://totp/%s:%s?secret=%s&issuer=%s&algorithm=SHA1&digits=%d&period=%d",
		esc(issuer), esc(account), seed.Reveal(), esc(issuer), Digits, int(Period/time.Second)))
}

// Factor is a person's authenticator as it is kept. It is changed within one transaction of the store only.
type Factor struct {
	Sealed    []byte `json:"sealed"`             // the seed, encrypted
	Last      int64  `json:"last,omitzero"`      // step of the last code that was taken
	Confirmed bool   `json:"confirmed,omitzero"` // a code was given: the app holds the seed
}

// Spend uses up a step that Check found. It must run in the transaction that writes f: of two nodes that
// were given the same code, the second reads what the first wrote. ErrUsed: it, or a later one, is spent.
func (f *Factor) Spend(step int64) error {
	if step <= f.Last {
		return ErrUsed
	}
	f.Last = step
	return nil
}

// Check returns the step whose code was given, or ErrWrong. The time it takes depends neither on the code nor on
// which step it is of. Spaces in the code are overlooked, since apps show them.
func Check(seed secret.String, code string, now time.Time) (step int64, err error) {
	key, err := b32.DecodeString(seed.Reveal())
	if err != nil || len(key) < seedLen {
		return 0, errors.New("totp: the seed is damaged")
	}
	code = strings.ReplaceAll(code, " ", "")
	if len(code) != Digits || strings.Trim(code, "0123456789") != "" {
		return 0, ErrWrong
	}
	at := now.Unix() / int64(Period/time.Second)
	for s := at - Skew; s <= at+Skew; s++ {
		hit := subtle.ConstantTimeCompare([]byte(hotp(key, s, Digits)), []byte(code))
		step = int64(subtle.ConstantTimeSelect(hit, int(s), int(step)))
	}
	if step <= 0 {
		return 0, ErrWrong
	}
	return step, nil
}

// hotp is RFC 4226 section 5.3.
func hotp(key []byte, step int64, digits int) string {
	var msg [8]byte
	binary.BigEndian.PutUint64(msg[:], uint64(step))
	m := hmac.New(sha1.New, key)
	m.Write(msg[:])
	sum := m.Sum(nil)
	at := sum[len(sum)-1] & 0xf
	n := uint64(binary.BigEndian.Uint32(sum[at:]) & 0x7fffffff)
	mod := uint64(1)
	for range digits {
		mod *= 10
	}
	return fmt.Sprintf("%0*d", digits, n%mod)
}
