// Package session is how a browser stays signed in (OWASP ASVS 5.0.0, 7). A session is a random token
// that only the browser holds; the store keeps its hash. It ends when idle, at its end whatever is done, or
// when it is taken away, which every node sees at its next look.
package session

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
	"unicode"

	"sallyport.dev/sallyport/internal/iam/directory"
	"sallyport.dev/sallyport/internal/iam/document"
	"sallyport.dev/sallyport/internal/secret"
)

// Kind of the documents.
const Kind = "session"

// Defaults of Options, and bounds.
const (
	Idle     = 30 * time.Minute
	Absolute = 12 * time.Hour
	Fresh    = 5 * time.Minute
	// Touch is how often at most the time of the last use is written.
	Touch = time.Minute

	maxAgent = 200 // bytes
)

// ErrNone: there is no such session, or it has ended.
var ErrNone = errors.New("session: not signed in")

// Session is one browser that somebody is signed in with. Its id is public; it opens nothing.
type Session struct {
	ID      string    `json:"id"`
	User    string    `json:"user"`
	Tenant  string    `json:"tenant"`
	Hash    string    `json:"hash"`    // of the token, in hex
	AMR     []string  `json:"amr"`     // how they proved who they are (RFC 8176): "pwd", "otp", "hwk"
	Auth    time.Time `json:"auth"`    // when they last proved it
	Created time.Time `json:"created"` // when they signed in
	Seen    time.Time `json:"seen"`    // last use, to the minute
	Fresh   time.Time `json:"fresh"`   // until then dangerous acts need no further proof
	Addr    string    `json:"addr"`    // where they signed in from
	Agent   string    `json:"agent"`   // the browser, as it calls itself: hostile text, bounded and printable
	// Provider names the identity provider that signed them in, Remote its own session, for logout.
	Provider string `json:"provider,omitempty"`
	Remote   string `json:"remote,omitempty"`
	// Can is what its person might do (Privilege) when it was made or renewed.
	Can  string    `json:"can,omitempty"`
	Ends time.Time `json:"ends,omitzero"` // not after this, whatever is done; zero: Options.Absolute alone
}

// Head implements document.Entity.
func (s Session) Head() document.Head {
	return document.Head{Kind: Kind, ID: s.ID, Tenant: s.Tenant, Keys: []string{key(s.Hash)}}
}

// IsFresh says whether the person proved who they are a short time ago, as dangerous acts ask for.
func (s *Session) IsFresh(now time.Time) bool { return now.Before(s.Fresh) }

// Strong says whether they proved it in two ways. Of a sign-in elsewhere only "mfa" counts, which is
// there when the provider showed what its settings ask for.
func (s *Session) Strong() bool {
	if s.Provider != "" {
		return slices.Contains(s.AMR, "mfa")
	}
	return len(s.AMR) > 1
}

// Options makes Sessions. Zero durations take the defaults.
type Options struct {
	Store                 document.Store
	Idle, Absolute, Fresh time.Duration
	// Privilege has sessions end when what their person may do changes; nil: they do not.
	Privilege Privilege
	Now       func() time.Time // nil: time.Now
}

// Sessions keeps sessions. It is safe for concurrent use, also by several processes on one store.
type Sessions struct{ o Options }

// New makes Sessions.
func New(o Options) (*Sessions, error) {
	if o.Store == nil {
		return nil, errors.New("session: no store")
	}
	for _, d := range []struct {
		p *time.Duration
		v time.Duration
	}{{&o.Idle, Idle}, {&o.Absolute, Absolute}, {&o.Fresh, Fresh}} {
		if *d.p <= 0 {
			*d.p = d.v
		}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Sessions{o}, nil
}

// Start says who signed in, how, and where.
type Start struct {
	User, Tenant string
	AMR          []string
	Addr         netip.Addr
	Agent        string
	// Auth is when they proved who they are, where that was not just now.
	Auth time.Time
	// Provider, Remote and Ends are of a sign-in at an identity provider.
	Provider, Remote string
	Ends             time.Time
}

// Create begins a session and returns its token, which is not kept. No token that a browser brought is ever
// taken over, so none can be planted (session fixation).
func (m *Sessions) Create(ctx context.Context, in Start) (Session, secret.String, error) {
	if in.User == "" || in.Tenant == "" || len(in.AMR) == 0 {
		return Session{}, secret.String{}, errors.New("session: create: a user, a tenant and a proof are needed")
	}
	now, token := m.o.Now(), newToken()
	s := Session{ID: directory.NewID("ses"), User: in.User, Tenant: in.Tenant, Hash: hash(token), AMR: in.AMR,
		Auth: now, Created: now, Seen: now, Agent: clean(in.Agent), Provider: in.Provider, Remote: in.Remote, Ends: in.Ends}
	if !in.Auth.IsZero() && in.Auth.Before(now) {
		s.Auth = in.Auth
	}
	s.Fresh = s.Auth.Add(m.o.Fresh)
	if !s.Ends.IsZero() && !now.Before(s.Ends) {
		return Session{}, secret.String{}, errors.New("session: create: it has ended already")
	}
	if in.Addr.IsValid() {
		s.Addr = in.Addr.Unmap().WithZone("").String()
	}
	err := m.o.Store.Write(ctx, func(tx document.Tx) error {
		if m.o.Privilege != nil {
			var err error
			if s.Can, err = m.o.Privilege.Read(ctx, tx, s.Tenant, s.User); err != nil {
				return err
			}
		}
		_, err := document.Put(ctx, tx, s, 0)
		return err
	})
	if err != nil {
		return Session{}, secret.String{}, fmt.Errorf("session: create: %w", err)
	}
	return s, token, nil
}

// Find returns the session of a token and notes its use, at most once a Touch. ErrNone: there is none, or it has
// ended. Another error: it could not be decided.
func (m *Sessions) Find(ctx context.Context, token secret.String) (Session, error) {
	if !shaped(token) {
		return Session{}, ErrNone
	}
	s, _, err := document.Find[Session](ctx, m.o.Store, key(hash(token)))
	if err != nil {
		return Session{}, none("find", err)
	}
	now := m.o.Now()
	if m.ended(&s, now) {
		return Session{}, ErrNone
	}
	same, err := m.same(ctx, &s)
	if err != nil {
		return Session{}, fmt.Errorf("session: find: %w", err)
	}
	if same && now.Sub(s.Seen) < Touch {
		return s, nil
	}
	return m.change(ctx, "touch", token, func(*Session) {})
}

// Rotate gives a session a new token; the old one is dead when Rotate returns. Call it at every change of
// how its person signs in; of what they may do, Renew.
func (m *Sessions) Rotate(ctx context.Context, token secret.String) (Session, secret.String, error) {
	fresh := newToken()
	s, err := m.change(ctx, "rotate", token, func(s *Session) { s.Hash = hash(fresh) })
	return held(s, fresh, err)
}

// StepUp notes that the person proved again who they are, in two ways all in all, and rotates the token.
// Of a session that a provider began, it notes that there were two (Strong): here or there.
func (m *Sessions) StepUp(ctx context.Context, token secret.String, amr []string) (Session, secret.String, error) {
	if len(amr) == 0 {
		return Session{}, secret.String{}, errors.New("session: step up: a proof is needed")
	}
	fresh := newToken()
	s, err := m.change(ctx, "step up", token, func(s *Session) {
		now := m.o.Now()
		if s.Provider != "" && !slices.Contains(amr, "mfa") {
			amr = append(slices.Clone(amr), "mfa")
		}
		s.Hash, s.AMR, s.Auth, s.Fresh = hash(fresh), amr, now, now.Add(m.o.Fresh)
	})
	return held(s, fresh, err)
}

func held(s Session, token secret.String, err error) (Session, secret.String, error) {
	if err != nil {
		return Session{}, secret.String{}, err
	}
	return s, token, nil
}

// change edits the session that has the token now, in one transaction.
func (m *Sessions) change(ctx context.Context, verb string, token secret.String, edit func(*Session)) (s Session, err error) {
	if !shaped(token) {
		return Session{}, ErrNone
	}
	gone := false
	err = m.o.Store.Write(ctx, func(tx document.Tx) error {
		var rev int64
		var err error
		gone = false
		if s, rev, err = document.Find[Session](ctx, tx, key(hash(token))); err != nil {
			return err
		}
		now := m.o.Now()
		if m.ended(&s, now) {
			return ErrNone
		}
		can, err := m.read(ctx, tx, &s)
		if err != nil {
			return err
		}
		s.Seen = now
		edit(&s)
		if s.Can != can { // changed since, and not renewed: whoever holds the token holds one of before
			gone = true
			return tx.Delete(ctx, Kind, s.ID)
		}
		_, err = document.Put(ctx, tx, s, rev)
		return err
	})
	if err != nil {
		return Session{}, none(verb, err)
	}
	if gone {
		return Session{}, ErrNone
	}
	return s, nil
}

func (m *Sessions) ended(s *Session, now time.Time) bool {
	// A time of use in the future means that a clock was set back: only the absolute end is certain then.
	if !s.Ends.IsZero() && !now.Before(s.Ends) {
		return true
	}
	return now.Sub(s.Seen) >= m.o.Idle || now.Sub(s.Created) >= m.o.Absolute || now.Before(s.Created.Add(-Touch))
}

func none(verb string, err error) error {
	if errors.Is(err, document.ErrNotFound) || errors.Is(err, ErrNone) {
		return ErrNone
	}
	return fmt.Errorf("session: %s: %w", verb, err)
}

func newToken() secret.String {
	var b [32]byte
	rand.Read(b[:])
	return secret.New(base64.RawURLEncoding.EncodeToString(b[:]))
}

// shaped keeps what cannot be a token away from the store.
func shaped(t secret.String) bool { return len(t.Reveal()) == 43 }

// hash is enough for 256 random bits: there is nothing to guess.
func hash(t secret.String) string {
	sum := sha256.Sum256([]byte("sallyport session 1\x00" + t.Reveal()))
	return hex.EncodeToString(sum[:])
}

func key(hash string) string { return document.Key("token", hash) }

// clean makes what a browser says of itself fit for a page, a log and a terminal.
func clean(s string) string {
	s = strings.Map(func(r rune) rune {
		if r == unicode.ReplacementChar || !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, s[:min(len(s), 4*maxAgent)])
	return strings.ToValidUTF8(s[:min(len(s), maxAgent)], "")
}
