// Package signing keeps the keys that Sallyport signs tokens with. All nodes share them through the store,
// sealed: a dump of it holds neither a private key nor a public one that would be believed, since what a
// key is, and when it signs, is read from what was sealed and from nowhere else.
//
// A key is published before it signs (First for the first one, Lead for every other), signs for Period,
// and is published until the last token that it signed has ended. Then it is deleted.
package signing

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-json-experiment/json"

	"sallyport.dev/sallyport/internal/iam/directory"
	"sallyport.dev/sallyport/internal/iam/document"
	"sallyport.dev/sallyport/internal/iam/jwks"
	"sallyport.dev/sallyport/internal/iam/mirror"
	"sallyport.dev/sallyport/internal/secret"
	"sallyport.dev/sallyport/internal/secret/envelope"
)

// The life of a key.
const (
	Period = 24 * time.Hour // it signs for
	Lead   = time.Hour      // it is published before it signs
	// First is Lead where there is no key that could sign meanwhile: nodes see a change within 2 s.
	First = 3 * time.Second
	// MaxLifetime is the longest life of a token that is signed.
	MaxLifetime = 15 * time.Minute
	// after is how long a key is published after it signed its last: that token's life, and what clocks
	// may differ by.
	after = MaxLifetime + 5*time.Minute
	// every is how often Run looks whether a key is due.
	every = 30 * time.Second
)

// Kind of the documents.
const Kind = "signing_key"

// Alg is the one algorithm that is signed with (RFC 7518 section 3.4).
const Alg = "ES256"

// ErrNone: there is no key that may sign now. There will be in a moment, or the keys cannot be opened.
var ErrNone = errors.New("signing: no key may sign now")

// Sealer seals keys; *envelope.Keyring is one. It is safe for concurrent use.
type Sealer interface {
	Seal(tenant string, at envelope.Place, s secret.String) ([]byte, error)
	Open(tenant string, at envelope.Place, box []byte) (secret.String, error)
}

// row is a key at rest. It belongs to the installation.
type row struct {
	ID     string `json:"id"` // the kid
	Sealed []byte `json:"sealed"`
}

// Head implements document.Entity.
func (r row) Head() document.Head { return document.Head{Kind: Kind, ID: r.ID} }

func (r row) place() envelope.Place { return envelope.Place{Table: Kind, Row: r.ID, Column: "key"} }

// inside is what is sealed.
type inside struct {
	Key   []byte    `json:"key"` // PKCS #8
	Signs time.Time `json:"signs"`
	Until time.Time `json:"until"`
}

// key is one that was opened.
type key struct {
	id           string
	private      *ecdsa.PrivateKey
	signs, until time.Time
}

// ended says whether every token that it signed has.
func (k *key) ended(now time.Time) bool { return !now.Before(k.until.Add(after)) }

// live is the keys at one moment, by when they sign. It never changes.
type live struct {
	keys []*key
	doc  []byte // RFC 7517
}

// Options makes Keys.
type Options struct {
	Store  document.Store
	Sealer Sealer
	// Mirror is where the keys are read from; New adds its view, so it comes before the first Refresh.
	Mirror *mirror.Mirror
	Now    func() time.Time // nil: time.Now
	// Fault, when set, is told when keys cannot be opened or made, and nil when all is well again.
	Fault func(error)
}

// Keys are the keys of an installation. It is safe for concurrent use.
type Keys struct {
	o      Options
	view   *mirror.View[row]
	live   atomic.Pointer[live]
	opened map[string]*key // by id; only rebuild, which the mirror calls one at a time, touches it
	set    *jwks.Set
	failed atomic.Pointer[string]
}

// New adds the keys to a mirror. It makes none: Run does.
func New(o Options) (*Keys, error) {
	if o.Store == nil || o.Sealer == nil || o.Mirror == nil {
		return nil, errors.New("signing: no store, sealer or mirror")
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Fault == nil {
		o.Fault = func(error) {}
	}
	k := &Keys{o: o, view: mirror.Add[row](o.Mirror), opened: map[string]*key{}}
	k.live.Store(&live{})
	var err error
	k.set, err = jwks.New(jwks.Options{Source: k, Every: time.Minute, Unknown: time.Second, Now: o.Now})
	if err != nil {
		return nil, err
	}
	o.Mirror.After(func() error { k.rebuild(); return nil }, Kind)
	return k, nil
}

// Set is the public keys, for who verifies.
func (k *Keys) Set() *jwks.Set { return k.set }

// JWKS is the public keys as a document (RFC 7517). It implements jwks.Source and asks nobody.
func (k *Keys) JWKS(context.Context) ([]byte, error) {
	l := k.live.Load()
	if len(l.keys) == 0 {
		return nil, ErrNone
	}
	return l.doc, nil
}

// rebuild opens what is new.
func (k *Keys) rebuild() {
	next, keep := &live{}, map[string]*key{}
	var errs []error
	for id, r := range k.view.All() {
		x := k.opened[id]
		if x == nil {
			var err error
			if x, err = k.open(r); err != nil {
				errs = append(errs, err)
				continue
			}
		}
		keep[id] = x
		next.keys = append(next.keys, x)
	}
	k.opened = keep
	slices.SortFunc(next.keys, func(a, b *key) int { return a.signs.Compare(b.signs) })
	next.doc = published(next.keys)
	changed := !bytes.Equal(next.doc, k.live.Load().doc)
	k.live.Store(next)
	k.fault(errors.Join(errs...))
	if changed && len(next.keys) > 0 {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		// Twice, since the first may have joined a reading that began before; or a minute later.
		_ = k.set.Refresh(ctx)
		_ = k.set.Refresh(ctx)
	}
}

// fault says once that something is wrong, and once that it is not.
func (k *Keys) fault(err error) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	if old := k.failed.Swap(&text); (old == nil && text != "") || (old != nil && *old != text) {
		k.o.Fault(err)
	}
}

func published(keys []*key) []byte {
	set := jose.JSONWebKeySet{Keys: []jose.JSONWebKey{}}
	for _, x := range keys {
		set.Keys = append(set.Keys, jose.JSONWebKey{Key: x.private.Public(), KeyID: x.id, Algorithm: Alg, Use: "sig"})
	}
	b, err := json.Marshal(set)
	if err != nil {
		return nil // keys of one curve always can be written
	}
	return b
}

func (k *Keys) open(r row) (*key, error) {
	fail := func(err error) (*key, error) { return nil, fmt.Errorf("signing: open key %s: %w", r.ID, err) }
	text, err := k.o.Sealer.Open("", r.place(), r.Sealed)
	if err != nil {
		return fail(err)
	}
	var in inside
	if err := json.Unmarshal([]byte(text.Reveal()), &in, json.RejectUnknownMembers(true)); err != nil {
		return fail(errors.New("what was sealed cannot be read"))
	}
	p, err := x509.ParsePKCS8PrivateKey(in.Key)
	clear(in.Key)
	private, ok := p.(*ecdsa.PrivateKey)
	if err != nil || !ok || private.Curve != elliptic.P256() || !in.Until.After(in.Signs) {
		return fail(errors.New("expected a key of P-256 and when it signs"))
	}
	return &key{r.ID, private, in.Signs, in.Until}, nil
}

// Sign signs claims with the key of the moment and returns a compact token of the type at+jwt (RFC 9068).
func (k *Keys) Sign(claims []byte) (string, error) {
	now := k.o.Now()
	var by *key
	for _, x := range k.live.Load().keys {
		if !now.Before(x.signs) && now.Before(x.until) {
			by = x
		}
	}
	if by == nil {
		return "", ErrNone
	}
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: Alg, Key: jose.JSONWebKey{Key: by.private, KeyID: by.id}}, (&jose.SignerOptions{}).WithType("at+jwt"))
	if err != nil {
		return "", fmt.Errorf("signing: %w", err)
	}
	j, err := s.Sign(claims)
	if err != nil {
		return "", fmt.Errorf("signing: %w", err)
	}
	return j.CompactSerialize()
}

// Upkeep makes the key that is due, if one is, and deletes those whose last token has ended. Of several
// nodes that do so at once, one makes it.
func (k *Keys) Upkeep(ctx context.Context) error {
	now := k.o.Now().UTC().Truncate(time.Second)
	if _, due := next(k.live.Load().keys, now); !due && !slices.ContainsFunc(k.live.Load().keys, func(x *key) bool { return x.ended(now) }) {
		return nil
	}
	rows, err := document.List[row](ctx, k.o.Store, nil)
	if err != nil {
		return fmt.Errorf("signing: %w", err)
	}
	var have []*key
	var ended, seen []string
	for _, r := range rows {
		seen = append(seen, r.ID)
		x, err := k.open(r)
		switch {
		case err != nil: // it signs for nobody who reads this, so it does not count; rebuild tells of it
		case x.ended(now):
			ended = append(ended, r.ID)
		default:
			have = append(have, x)
		}
	}
	var made *row
	if from, due := next(have, now); due {
		if made, err = k.make(from); err != nil {
			return err
		}
	}
	err = k.o.Store.Write(ctx, func(tx document.Tx) error {
		// Sealing may ask the store itself, so it is done outside; what it was decided by must still hold.
		rows, err := document.List[row](ctx, tx, nil)
		if err != nil {
			return err
		}
		if !slices.EqualFunc(rows, seen, func(r row, id string) bool { return r.ID == id }) {
			return nil // another node was first
		}
		for _, id := range ended {
			if err := tx.Delete(ctx, Kind, id); err != nil {
				return err
			}
		}
		if made == nil {
			return nil
		}
		_, err = document.Put(ctx, tx, *made, 0)
		return err
	})
	if err != nil {
		return fmt.Errorf("signing: %w", err)
	}
	return nil
}

// Replace deletes every key at once, for when one may have become known: no token that was signed until now
// counts any more, on any node within two seconds. A new key signs after First. Where there are no keys it
// does nothing. ended is how many there were.
func (k *Keys) Replace(ctx context.Context) (ended int, err error) {
	made, err := k.make(k.o.Now().UTC().Truncate(time.Second).Add(First))
	if err != nil {
		return 0, err
	}
	err = k.o.Store.Write(ctx, func(tx document.Tx) error {
		rows, err := document.List[row](ctx, tx, nil)
		if ended = len(rows); err != nil || ended == 0 {
			return err
		}
		for _, r := range rows {
			if err := tx.Delete(ctx, Kind, r.ID); err != nil {
				return err
			}
		}
		_, err = document.Put(ctx, tx, *made, 0)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("signing: replace the keys: %w", err)
	}
	return ended, nil
}

// make makes a key that signs from a moment on.
func (k *Keys) make(signs time.Time) (*row, error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("signing: make a key: %w", err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, fmt.Errorf("signing: make a key: %w", err)
	}
	defer clear(pkcs8)
	text, err := json.Marshal(inside{Key: pkcs8, Signs: signs, Until: signs.Add(Period)})
	if err != nil {
		return nil, fmt.Errorf("signing: make a key: %w", err)
	}
	defer clear(text)
	r := &row{ID: directory.NewID("sign")}
	if r.Sealed, err = k.o.Sealer.Seal("", r.place(), secret.New(string(text))); err != nil {
		return nil, fmt.Errorf("signing: seal a key: %w", err)
	}
	return r, nil
}

// next says whether another key has to be made now, and from when on it signs.
func next(have []*key, now time.Time) (signs time.Time, due bool) {
	var last time.Time
	for _, x := range have {
		if x.until.After(last) {
			last = x.until
		}
	}
	switch {
	case !last.After(now): // none signs
		return now.Add(First), true
	case last.After(now.Add(Lead)):
		return time.Time{}, false
	}
	return last, true
}

// Run keeps the keys until ctx ends.
func (k *Keys) Run(ctx context.Context) {
	done := make(chan struct{})
	go func() { defer close(done); k.set.Run(ctx) }()
	t := time.NewTicker(every)
	defer t.Stop()
	for {
		if err := k.Upkeep(ctx); err != nil && ctx.Err() == nil {
			k.fault(err)
		}
		select {
		case <-t.C:
		case <-ctx.Done():
			<-done
			return
		}
	}
}
