// Package password hashes the passwords of people with argon2id, checks them, and says which may not be
// chosen (OWASP ASVS 5.0.0, 6.2 and 11.4.2; NIST SP 800-63B-4 section 3.1.1). Keys and tokens, which
// hold enough randomness of their own, need none of this.
package password

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"golang.org/x/crypto/argon2"

	"sallyport.dev/sallyport/internal/secret"
)

// What a new hash costs (OWASP Password Storage Cheat Sheet): about 25 ms on one core.
const (
	Memory  = 19 << 10 // KiB
	Time    = 2
	Threads = 1

	saltLen = 16
	sumLen  = 32
)

// Bounds of what is read back, so that a row that was tampered with cannot take the machine's memory or
// stand for a hash that costs nothing.
const (
	minMemory, maxMemory   = 8 << 10, 256 << 10 // KiB
	maxTime, maxThreads    = 10, 8
	minSalt, maxSalt       = 8, 64
	minSum, maxSum         = 16, 64
	maxPHC                 = 256
	defaultAt, defaultWait = 4, 3 * time.Second
)

// ErrBusy: too many passwords are being checked. It says nothing about the password.
var ErrBusy = errors.New("password: too many sign-ins at once; try again in a moment")

// Options makes a Hasher.
type Options struct {
	// AtOnce is how many hashes are computed at a time (0: 4), each of which takes 19 MiB.
	AtOnce int
	// Wait is how long a further one waits for its turn (0: 3 s) before it is refused.
	Wait time.Duration
}

// Hasher computes hashes, a few at a time. It is safe for concurrent use.
type Hasher struct {
	turn  chan struct{}
	wait  time.Duration
	dummy string
}

// New makes a Hasher.
func New(o Options) *Hasher {
	if o.AtOnce <= 0 {
		o.AtOnce = defaultAt
	}
	if o.Wait <= 0 {
		o.Wait = defaultWait
	}
	// No password has this hash: the sum is random, not computed.
	return &Hasher{turn: make(chan struct{}, o.AtOnce), wait: o.Wait,
		dummy: encode(params{Memory, Time, Threads}, random(saltLen), random(sumLen))}
}

// Dummy is a hash that no password has, to be checked where there is no account, so that the answer takes as
// long as with one. It changes with every start.
func (h *Hasher) Dummy() string { return h.dummy }

// Hash returns the hash of a password in PHC form: $argon2id$v=19$m=19456,t=2,p=1$salt$sum. It errs with
// ErrBusy or the context's error when its turn does not come.
func (h *Hasher) Hash(ctx context.Context, pw secret.String) (string, error) {
	p, salt := params{Memory, Time, Threads}, random(saltLen)
	var sum []byte
	if err := h.run(ctx, func() { sum = p.sum(pw, salt, sumLen) }); err != nil {
		return "", err
	}
	return encode(p, salt, sum), nil
}

// Verify says whether pw has the hash phc, and whether that hash should be made anew because it costs
// less than a new one. An error means that it could not be decided: busy, cancelled, or no hash of ours.
func (h *Hasher) Verify(ctx context.Context, phc string, pw secret.String) (ok, rehash bool, err error) {
	p, salt, want, err := decode(phc)
	if err != nil {
		return false, false, err
	}
	if len(pw.Reveal()) > MaxLen {
		pw = secret.String{} // none was ever set so long; the work stays the same
	}
	var got []byte
	if err := h.run(ctx, func() { got = p.sum(pw, salt, len(want)) }); err != nil {
		return false, false, err
	}
	ok = subtle.ConstantTimeCompare(got, want) == 1 && !pw.Empty()
	weak := p.memory < Memory || p.time < Time || len(salt) < saltLen || len(want) < sumLen
	return ok, ok && weak, nil
}

func (h *Hasher) run(ctx context.Context, f func()) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("password: wait for a turn: %w", err)
	}
	t := time.NewTimer(h.wait)
	defer t.Stop()
	select {
	case h.turn <- struct{}{}:
	case <-t.C:
		return ErrBusy
	case <-ctx.Done():
		return fmt.Errorf("password: wait for a turn: %w", ctx.Err())
	}
	defer func() { <-h.turn }()
	f()
	return nil
}

type params struct {
	memory, time uint32
	threads      uint8
}

func (p params) sum(pw secret.String, salt []byte, n int) []byte {
	return argon2.IDKey([]byte(pw.Reveal()), salt, p.time, p.memory, p.threads, uint32(n))
}

var b64 = base64.RawStdEncoding.Strict()

func encode(p params, salt, sum []byte) string {
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, p.memory, p.time, p.threads,
		b64.EncodeToString(salt), b64.EncodeToString(sum))
}

var errForm = errors.New("password: what is stored is not an argon2id hash within bounds")

// decode takes exactly the form that encode writes, so that each hash is written in one way only.
func decode(s string) (p params, salt, sum []byte, err error) {
	f := strings.Split(s, "$")
	if len(s) > maxPHC || len(f) != 6 || f[0] != "" || f[1] != "argon2id" || f[2] != "v="+strconv.Itoa(argon2.Version) {
		return p, nil, nil, errForm
	}
	var m, t, th uint64
	for i, part := range strings.Split(f[3], ",") {
		if i > 2 || len(part) < 3 || part[:2] != [...]string{"m=", "t=", "p="}[i] {
			return p, nil, nil, errForm
		}
		n, err := strconv.ParseUint(part[2:], 10, 32)
		if err != nil {
			return p, nil, nil, errForm
		}
		*[...]*uint64{&m, &t, &th}[i] = n
	}
	if m < minMemory || m > maxMemory || t < 1 || t > maxTime || th < 1 || th > maxThreads {
		return p, nil, nil, errForm
	}
	p = params{uint32(m), uint32(t), uint8(th)}
	salt, err1 := b64.DecodeString(f[4])
	sum, err2 := b64.DecodeString(f[5])
	if err1 != nil || err2 != nil || len(salt) < minSalt || len(salt) > maxSalt || len(sum) < minSum || len(sum) > maxSum || encode(p, salt, sum) != s {
		return params{}, nil, nil, errForm
	}
	return p, salt, sum, nil
}

func random(n int) []byte {
	b := make([]byte, n)
	rand.Read(b)
	return b
}
