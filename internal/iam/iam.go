package iam

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"sallyport.dev/sallyport/internal/gate"
	"sallyport.dev/sallyport/internal/iam/apikey"
	"sallyport.dev/sallyport/internal/iam/roster"
	"sallyport.dev/sallyport/internal/secret"
)

// Modes.
const (
	ModePassthrough = "passthrough"
	ModeKeys        = "keys"
)

// How the snapshot of keys is kept fresh.
const (
	// PollEvery is how often the store is asked whether keys changed.
	PollEvery = 500 * time.Millisecond
	// MaxAge is how long keys are served from memory while the store does not answer; after that
	// every call fails with gate.FailIdentity, because a revocation could be missed.
	MaxAge = 30 * time.Second
	// pollTimeout bounds one question to the store.
	pollTimeout = 5 * time.Second
)

// Options makes an IAM.
type Options struct {
	Mode string // ModePassthrough or ModeKeys
	// Pepper is the one the keys were made under. Keys mode only.
	Pepper secret.String
	// HashKey keys the hash by which passed-through credentials are known; at least 16 bytes, kept
	// between runs so that a credential keeps its name. Passthrough mode only.
	HashKey []byte
	// Keys is where keys come from. Keys mode only. If it is a UseRecorder too, it is told about use.
	Keys KeyReader
	// Roster, when set, says who is in good standing: a key of a disabled tenant, of a person who was
	// deprovisioned, or of a service that was switched off is refused.
	Roster *roster.Roster
	// Classes are the rotation policies of keys.
	Classes Classes
	// Tokens verifies JWT bearer tokens (RFC 6750) in keys mode; nil: they are refused.
	Tokens TokenVerifier
	// Leaked, when set, is asked whether a key is publicly known. Such a key is refused.
	Leaked interface{ Presented(apikey.Token) bool }
	// Recalled, when set, is asked whether a key has ended although the store may not say so yet. It must
	// not wait.
	Recalled interface{ Recalled(key string) bool }
	// Places, when set, is told where each proven key is used from.
	Places Noter
	// TrustedProxies are the peers whose X-Forwarded-For is believed.
	TrustedProxies []netip.Prefix
	// MaxAge shortens how long keys are served from memory while the store does not answer; 0: MaxAge.
	MaxAge time.Duration
	// Now is the clock; nil: time.Now.
	Now func() time.Time
	// Fault, when set, is told when the store does not answer and when it answers again (nil).
	Fault func(error)
}

// Noter is told where a proven key is used from; shared keys are used from many places on purpose. It
// must not wait. room is at the key, for what it knows of it; nil: there is none.
type Noter interface {
	NoteAt(room *atomic.Value, key string, addr netip.Addr, shared bool)
}

// IAM knows callers. It is safe for concurrent use.
type IAM struct {
	leaked  interface{ Presented(apikey.Token) bool }
	places  Noter
	recalls interface{ Recalled(key string) bool }
	mode    string
	hashKey *credentialHasher
	hasher  *apikey.Hasher
	ring    *keyring
	tokens  TokenVerifier
	trusted []netip.Prefix
	roster  *roster.Roster

	certified certified
	classes   Classes
	now       func() time.Time
	fault     func(error)
}

// New in keys mode reads all keys once, so that a gateway that cannot check credentials does not
// start. Run keeps them fresh.
func New(o Options) (*IAM, error) {
	m := &IAM{leaked: o.Leaked, places: o.Places, recalls: o.Recalled, mode: o.Mode, trusted: o.TrustedProxies, roster: o.Roster, classes: o.Classes, now: o.Now, fault: o.Fault}
	if m.now == nil {
		m.now = time.Now
	}
	if m.fault == nil {
		m.fault = func(error) {}
	}
	switch o.Mode {
	case ModePassthrough:
		if len(o.HashKey) < 16 {
			return nil, errors.New("iam: the hash key has fewer than 16 bytes")
		}
		m.hashKey = newCredentialHasher(o.HashKey)
	case ModeKeys:
		if o.Keys == nil {
			return nil, errors.New("iam: keys mode without a key store")
		}
		h, err := apikey.NewHasher(o.Pepper)
		if err != nil {
			return nil, fmt.Errorf("iam: %w", err)
		}
		m.hasher, m.ring, m.tokens = h, newKeyring(o.Keys, m.now), o.Tokens
		if o.MaxAge > 0 {
			m.ring.maxAge = min(o.MaxAge, MaxAge)
		}
		if err := m.Refresh(context.Background()); err != nil {
			return nil, err
		}
	default:
		return nil, fmt.Errorf("iam: unknown mode %q; expected %s or %s", o.Mode, ModePassthrough, ModeKeys)
	}
	return m, nil
}

// Keyed says whether callers are known by keys.
func (m *IAM) Keyed() bool { return m.mode == ModeKeys }

// Refresh asks the store once and takes what changed. Run does so by itself.
func (m *IAM) Refresh(ctx context.Context) error {
	if m.ring == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, pollTimeout)
	defer cancel()
	return m.ring.refresh(ctx)
}

// Run keeps the keys fresh until ctx ends, then writes what is left to note about use. In
// passthrough mode it only waits.
func (m *IAM) Run(ctx context.Context) {
	if m.ring == nil {
		<-ctx.Done()
		return
	}
	poll, use := time.NewTicker(PollEvery), time.NewTicker(flushEvery)
	defer poll.Stop()
	defer use.Stop()
	failing := false
	for {
		select {
		case <-poll.C:
			err := m.Refresh(ctx)
			if ctx.Err() == nil && (err != nil) != failing {
				failing = err != nil
				m.fault(err)
			}
		case <-use.C:
			m.flush(ctx)
		case <-ctx.Done():
			m.flush(context.WithoutCancel(ctx))
			return
		}
	}
}

func (m *IAM) flush(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, pollTimeout)
	defer cancel()
	if err := m.ring.flushUse(ctx); err != nil {
		m.fault(err)
	}
}

// Authenticate is the stage that finds out who calls. It reads headers and the address only, so
// it can run before a body is read. It sets Principal and ClientAddr of the exchange and of its record.
func (m *IAM) Authenticate() gate.Stage { return authenticate{m} }

// Authorize is the stage that decides whether the caller may make this call. It needs the body to
// have been read, for the model.
func (m *IAM) Authorize() gate.Stage { return authorize{m} }

// Known finds a key in memory, as it was when the store last answered.
func (m *IAM) Known(id string) (Key, bool) {
	if m.ring == nil {
		return Key{}, false
	}
	if s := m.ring.snap.Load(); s != nil {
		if e, known := s.keys.find(id); known {
			k := e.key
			k.memo = nil
			return k, true
		}
	}
	return Key{}, false
}

// Ended says whether the store is known to say that a key was revoked.
func (m *IAM) Ended(id string) bool {
	k, ok := m.Known(id)
	return ok && !k.Revoked.IsZero()
}

// CredentialHeaders lists the headers, in canonical form, that must not leave the gateway: those that may hold
// a Sallyport key, and those that would say beside the gateway's own credential who calls or from where. In
// passthrough mode there are none: the credential is the provider's, and nobody vouches for the caller.
func (m *IAM) CredentialHeaders() []string {
	if m.mode != ModeKeys {
		return nil
	}
	return slices.Concat(credentialHeaders[:], alsoStripped[:])
}
