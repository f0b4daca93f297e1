// Package account is how people with a local account sign in: a password, then a second factor, then a
// session. It is for the first owner, for emergencies, and for installations without an identity provider.
//
// A sign-in that is under way is a ticket in the store: a random token with five minutes to live and one
// thing that it is good for. A ticket never becomes a session's token.
package account

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"sallyport.dev/sallyport/internal/iam/directory"
	"sallyport.dev/sallyport/internal/iam/document"
	"sallyport.dev/sallyport/internal/iam/passkey"
	"sallyport.dev/sallyport/internal/iam/password"
	"sallyport.dev/sallyport/internal/iam/recovery"
	"sallyport.dev/sallyport/internal/iam/session"
	"sallyport.dev/sallyport/internal/iam/throttle"
	"sallyport.dev/sallyport/internal/iam/totp"
	"sallyport.dev/sallyport/internal/secret"
)

// Kinds of documents, and lifetimes.
const (
	KindLogin  = "login"
	KindTicket = "ticket"

	LinkLife   = time.Hour
	TicketLife = 5 * time.Minute
	maxDevices = 8
)

var (
	// ErrRefused is the one answer to a wrong name, password or code, and to an account that may not be used.
	ErrRefused = errors.New("account: the name, password or code is not right")
	// ErrTicket: the sign-in took too long or was finished, or the link was used. Begin again.
	ErrTicket = errors.New("account: this link or sign-in is no longer valid; begin again")
	// ErrFresh: prove again who you are first (StepUp).
	ErrFresh = errors.New("account: confirm that it is you first")
	// ErrLink: the second factor was taken away by an administrator, who gave out a link to set up another.
	ErrLink = errors.New("account: your second factor was reset; use the link that you were given")
	// ErrLast: it is the only second factor.
	ErrLast = errors.New("account: this is your only second factor; set up another one first")
	// ErrNoPasskeys: the configuration names no address of the console that passkeys could be for.
	ErrNoPasskeys = errors.New("account: passkeys need console.public_url in the configuration")
)

// WaitError: there were too many tries.
type WaitError struct{ After time.Duration }

func (e *WaitError) Error() string {
	return fmt.Sprintf("account: too many tries; try again in %d s", int((e.After+time.Second-1)/time.Second))
}

// Sealer encrypts what must be read again, bound to its place (package envelope).
type Sealer interface {
	Seal(ctx context.Context, tenant, row, column string, s secret.String) ([]byte, error)
	Open(ctx context.Context, tenant, row, column string, b []byte) (secret.String, error)
}

// Login is how a person proves who they are. Its id is the person's.
type Login struct {
	User       string       `json:"user"`
	Tenant     string       `json:"tenant"`
	Password   string       `json:"password,omitempty"` // PHC
	TOTP       totp.Factor  `json:"totp,omitzero"`
	Next       totp.Factor  `json:"next,omitzero"` // being set up
	Recovery   recovery.Set `json:"recovery,omitzero"`
	Devices    []string     `json:"devices,omitempty"`   // hashes, oldest first
	Generation int64        `json:"generation,omitzero"` // tickets of an earlier one are void
	// Passkeys are further second factors, each of which is also a sign-in of its own.
	Passkeys []passkey.Key `json:"passkeys,omitempty"`
	// Reset: an administrator took the second factors away, so the password alone sets up no other.
	Reset bool `json:"reset,omitzero"`
}

// Head implements document.Entity. No two people have the same passkey.
func (l Login) Head() document.Head {
	h := document.Head{Kind: KindLogin, ID: l.User, Tenant: l.Tenant}
	for _, k := range l.Passkeys {
		h.Keys = append(h.Keys, document.Key("passkey", passkey.Mark(k.Credential)))
	}
	return h
}

// second says whether there is a second factor.
func (l *Login) second() bool { return l.TOTP.Confirmed || len(l.Passkeys) > 0 }

// What a ticket is good for.
const (
	useLink   = "link"   // choose a password
	useSecond = "second" // give the second factor
	useEnrol  = "enrol"  // set up a second factor
	useReset  = "reset"  // set up a second factor, with the password
)

type ticket struct {
	ID         string    `json:"id"`
	User       string    `json:"user"`
	Tenant     string    `json:"tenant"`
	Hash       string    `json:"hash"`
	Use        string    `json:"use"`
	AMR        []string  `json:"amr,omitempty"`
	Generation int64     `json:"generation,omitzero"`
	Expires    time.Time `json:"expires"`
}

func (t ticket) Head() document.Head {
	return document.Head{Kind: KindTicket, ID: t.ID, Tenant: t.Tenant, Keys: []string{document.Key("token", t.Hash)}}
}

// Event tells what happened. It holds no secret, and no name that somebody typed and nobody has.
type Event struct {
	Name       string // "signin.password", "signin.second", "signin.done", "password.changed", "break_glass.used", ...
	OK         bool
	Reason     string // for people who read the record; never shown to who signs in
	Tenant     string
	User       string // id; "" when there is none
	Addr       netip.Addr
	AMR        []string
	BreakGlass bool
}

// Options makes Accounts.
type Options struct {
	Store    document.Store
	Sessions *session.Sessions
	Hasher   *password.Hasher
	Throttle *throttle.Throttle
	Sealer   Sealer
	Issuer   string // what an authenticator app shows
	// Passkeys checks passkeys; nil: there are none here.
	Passkeys *passkey.Party
	// PasswordAlone lets people in who have set up no second factor. Otherwise they set one up first.
	PasswordAlone bool
	Event         func(context.Context, Event) // must not block
	Now           func() time.Time             // nil: time.Now
}

// Accounts is safe for concurrent use, also by several processes on one store.
type Accounts struct{ o Options }

// New makes Accounts.
func New(o Options) (*Accounts, error) {
	if o.Store == nil || o.Sessions == nil || o.Hasher == nil || o.Throttle == nil || o.Sealer == nil || o.Event == nil {
		return nil, errors.New("account: new: something is missing")
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Issuer == "" {
		o.Issuer = "Sallyport"
	}
	return &Accounts{o}, nil
}

// From is where somebody comes from. Device is the token of the device's own cookie, if it has one.
type From struct {
	Addr   netip.Addr
	Agent  string
	Device secret.String
}

// What comes next in a sign-in.
const (
	NextSecond = "second" // Second with the ticket
	NextEnrol  = "enrol"  // EnrolTOTP and ConfirmTOTP with the ticket
	NextDone   = "done"   // the session is open
)

// Step is how far a sign-in has come.
type Step struct {
	Next     string
	Ticket   secret.String
	Session  session.Session
	Token    secret.String   // of the session
	Device   secret.String   // for the device's cookie, a year
	Recovery []secret.String // to be shown once
}

// active returns the person, or why they may not be let in.
func (a *Accounts) active(ctx context.Context, r document.Reader, id string) (u directory.User, reason string, err error) {
	u, _, err = document.Get[directory.User](ctx, r, id)
	if errors.Is(err, document.ErrNotFound) {
		return u, "no such person", nil
	}
	if err != nil {
		return u, "", err
	}
	t, _, err := document.Get[directory.Tenant](ctx, r, u.Tenant)
	switch {
	case errors.Is(err, document.ErrNotFound) || err == nil && t.Disabled:
		return u, "tenant is disabled", nil
	case err != nil:
		return u, "", err
	case !u.Active:
		return u, "person is disabled", nil
	}
	return u, "", nil
}

func (a *Accounts) emit(ctx context.Context, u directory.User, from From, e Event) {
	e.User, e.Tenant, e.Addr, e.BreakGlass = u.ID, u.Tenant, from.Addr, u.BreakGlass
	a.o.Event(ctx, e)
	if u.BreakGlass { // whoever uses it, and however it ends
		e.Reason, e.Name = e.Name, "break_glass.used"
		a.o.Event(ctx, e)
	}
}

// issue makes a ticket.
func (a *Accounts) issue(ctx context.Context, tx document.Tx, l Login, use string, life time.Duration, amr []string) (secret.String, error) {
	tok := random()
	_, err := document.Put(ctx, tx, ticket{ID: directory.NewID("tkt"), User: l.User, Tenant: l.Tenant, Hash: hash(tok), Use: use,
		AMR: amr, Generation: l.Generation, Expires: a.o.Now().Add(life)}, 0)
	return tok, err
}

// ticket finds what a token is good for, and the login it belongs to. Within a transaction it is certain.
func (a *Accounts) ticket(ctx context.Context, r document.Reader, tok secret.String, use string) (ticket, Login, int64, error) {
	if len(tok.Reveal()) != 43 {
		return ticket{}, Login{}, 0, ErrTicket
	}
	t, _, err := document.Find[ticket](ctx, r, document.Key("token", hash(tok)))
	if errors.Is(err, document.ErrNotFound) || err == nil && (t.Use != use || !a.o.Now().Before(t.Expires)) {
		return t, Login{}, 0, ErrTicket
	}
	if err != nil {
		return t, Login{}, 0, err
	}
	l, rev, err := document.Get[Login](ctx, r, t.User)
	if errors.Is(err, document.ErrNotFound) || err == nil && l.Generation != t.Generation {
		return t, l, 0, ErrTicket
	}
	return t, l, rev, err
}

func random() secret.String {
	var b [32]byte
	rand.Read(b[:])
	return secret.New(base64.RawURLEncoding.EncodeToString(b[:]))
}

func hash(t secret.String) string {
	sum := sha256.Sum256([]byte("sallyport ticket 1\x00" + t.Reveal()))
	return hex.EncodeToString(sum[:])
}

func nameOf(tenant, name string) string { return tenant + "\x00" + strings.ToLower(name) }
