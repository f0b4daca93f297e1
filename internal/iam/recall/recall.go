// Package recall ends keys that must not wait for the database. A revocation is posted on a board that all
// gateways read (Redis, where one is configured), so that it also reaches a gateway that the database does
// not answer; and while the database is away, it is kept in a file of the gateway that took it, counts
// from that moment, and is written into the database by whichever gateway reaches it first.
//
// A recall only ever takes away: it cannot be undone here, and nothing on the board can give a key back.
// Each is signed with a key made from the pepper, so that who can write to the board alone ends nothing.
package recall

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"sallyport.dev/sallyport/internal/iam/apikey"
	"sallyport.dev/sallyport/internal/secret"
)

const (
	// Every is how often the board is read.
	Every = 500 * time.Millisecond
	// Keep is how long a recall stays on the board at least: longer than a gateway serves keys from memory.
	Keep = 2 * time.Minute
	// settle is how long the usual way, through the database, has before it is helped.
	settle = 5 * time.Second
	// wait bounds one question to the board or the database.
	wait = 2 * time.Second
	// most is how many recalls are read from a board.
	most = 100_000
)

// Note is one key that has ended.
type Note struct {
	Key string    `json:"key"`
	At  time.Time `json:"at"` // to the second
	MAC string    `json:"mac"`
}

// Board is read by all gateways. It may lose what is on it: who posted a note posts it again. It is safe
// for concurrent use.
type Board interface {
	Post(ctx context.Context, ns []Note) error
	// Read returns every note, the signatures unchecked.
	Read(ctx context.Context, most int) ([]Note, error)
	Remove(ctx context.Context, keys []string) error
}

// Options makes a Book. All are required unless they say otherwise.
type Options struct {
	// File keeps what the database does not know yet.
	File string
	// Board; nil: recalls count on this gateway alone until the database is back.
	Board Board
	// Pepper is that of the keys, the same on all gateways.
	Pepper secret.String
	// Revoke writes into the database that a key has ended; of a key that has, or that is unknown, it is nil.
	Revoke func(ctx context.Context, key string) error
	// Ended says whether the database is known to say that a key has ended.
	Ended func(key string) bool
	Now   func() time.Time // nil: time.Now
	// Fault, when set, is told once when the board does not answer, and with nil when it does again.
	Fault func(error)
}

// Book is the keys that have ended. It is safe for concurrent use.
type Book struct {
	o   Options
	mac []byte

	ended atomic.Pointer[map[string]struct{}] // read by every call

	mu     sync.Mutex
	notes  map[string]*kept
	failed bool // the board
}

type kept struct {
	Note
	own  bool // it stands in the file: this gateway took it
	done bool // the database knows
}

// New reads the file.
func New(o Options) (*Book, error) {
	if o.File == "" || o.Revoke == nil || o.Ended == nil {
		return nil, errors.New("recall: make book: no file, or no database")
	}
	if len(o.Pepper.Reveal()) < apikey.MinPepper {
		return nil, errors.New("recall: make book: the pepper is too short")
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Fault == nil {
		o.Fault = func(error) {}
	}
	m := hmac.New(sha256.New, []byte(o.Pepper.Reveal()))
	m.Write([]byte("sallyport recall 1"))
	b := &Book{o: o, mac: m.Sum(nil), notes: map[string]*kept{}}
	b.ended.Store(&map[string]struct{}{})
	ns, err := load(o.File)
	if err != nil {
		return nil, err
	}
	for _, n := range ns {
		if !b.valid(n) {
			return nil, fmt.Errorf("recall: %s holds a recall that this pepper did not sign", o.File)
		}
		b.notes[n.Key] = &kept{Note: n, own: true}
	}
	b.publish()
	return b, nil
}

// Recalled says whether a key has ended. It takes no lock.
func (b *Book) Recalled(key string) bool {
	m := *b.ended.Load()
	if len(m) == 0 {
		return false
	}
	_, ok := m[key]
	return ok
}

// ErrFull says that as many keys have ended without the database as gateways tell each other of.
var ErrFull = errors.New("recall: as many keys as are kept have ended without the database")

// Recall ends keys without the database: all of them or, with an error that says why, none, but for a file
// that cannot be written: then they have ended until this process ends. When it returns nil this gateway
// will not forget it, and everywhere says whether it was posted for the others.
func (b *Book) Recall(ctx context.Context, keys ...string) (everywhere bool, err error) {
	b.mu.Lock()
	fresh := 0
	for _, k := range keys {
		if !apikey.ValidID(k) {
			b.mu.Unlock()
			return false, errors.New("recall: not the id of a key")
		}
		if b.notes[k] == nil {
			fresh++
		}
	}
	if fresh > 0 && len(b.notes)+fresh > most {
		b.mu.Unlock()
		return false, ErrFull
	}
	notes := make([]Note, 0, len(keys))
	for _, k := range keys {
		n := b.notes[k]
		if n == nil {
			n = &kept{Note: b.sign(k)}
			b.notes[k] = n
		}
		n.own, n.done = true, false
		notes = append(notes, n.Note)
	}
	b.publish() // at once; should the file fail, the caller is told, and it counts all the same
	err = b.save()
	b.mu.Unlock()
	if err != nil {
		return false, err
	}
	return b.post(ctx, notes...) == nil && b.o.Board != nil, nil
}

// Tell posts keys whose end the database knows, for gateways that it does not answer. What cannot be
// posted reaches them when it answers.
func (b *Book) Tell(ctx context.Context, keys ...string) error {
	var ns []Note
	b.mu.Lock()
	for _, k := range keys {
		if b.notes[k] == nil && apikey.ValidID(k) {
			n := b.sign(k)
			b.notes[k] = &kept{Note: n, done: true}
			ns = append(ns, n)
		}
	}
	b.publish()
	b.mu.Unlock()
	return b.post(ctx, ns...)
}

func (b *Book) post(ctx context.Context, ns ...Note) error {
	if b.o.Board == nil || len(ns) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	return b.o.Board.Post(ctx, ns)
}

// Waiting is how many recalls of this gateway the database does not know yet.
func (b *Book) Waiting() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := 0
	for _, k := range b.notes {
		if k.own && !k.done {
			n++
		}
	}
	return n
}

// publish makes the notes count. b.mu is held, or nobody else has b yet.
func (b *Book) publish() {
	m := make(map[string]struct{}, len(b.notes))
	for k := range maps.Keys(b.notes) {
		m[k] = struct{}{}
	}
	b.ended.Store(&m)
}

func (b *Book) sign(key string) Note {
	n := Note{Key: key, At: b.o.Now().UTC().Truncate(time.Second)}
	n.MAC = b.sum(n)
	return n
}

func (b *Book) sum(n Note) string {
	m := hmac.New(sha256.New, b.mac)
	fmt.Fprintf(m, "%s\x00%d", n.Key, n.At.Unix())
	return hex.EncodeToString(m.Sum(nil))
}

func (b *Book) valid(n Note) bool {
	return apikey.ValidID(n.Key) && hmac.Equal([]byte(b.sum(n)), []byte(n.MAC))
}
