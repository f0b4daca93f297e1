package account

import (
	"context"
	"errors"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"sallyport.dev/sallyport/internal/iam/directory"
	"sallyport.dev/sallyport/internal/iam/document"
	"sallyport.dev/sallyport/internal/iam/passkey"
	"sallyport.dev/sallyport/internal/iam/recovery"
	"sallyport.dev/sallyport/internal/iam/session"
	"sallyport.dev/sallyport/internal/secret"
)

const maxPasskeyName = 64 // bytes

var (
	// ErrName: a passkey's name is 1 to 64 bytes that can be printed.
	ErrName = errors.New("account: expected a name of 1 to 64 characters")
	// ErrMany: the person has as many passkeys as they may.
	ErrMany = errors.New("account: there are as many passkeys as there may be; remove one first")
)

func nameOK(s string) bool {
	return s != "" && len(s) <= maxPasskeyName && utf8.ValidString(s) && strings.TrimSpace(s) == s &&
		!strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}

// AskEnrol asks a browser to make the person's first second factor a passkey, with the ticket that EnrolTOTP
// takes as well.
func (a *Accounts) AskEnrol(ctx context.Context, tok secret.String) (Prompt, error) {
	t, l, _, err := a.ticket(ctx, a.o.Store, tok, useEnrol)
	if err != nil {
		return Prompt{}, fail("add a passkey", err)
	}
	return a.askMake(ctx, l, forEnrol, t.ID)
}

// AskAdd asks a browser to make one more passkey, for a fresh session.
func (a *Accounts) AskAdd(ctx context.Context, tok secret.String) (Prompt, error) {
	s, _, l, err := a.fresh(ctx, tok)
	if err != nil {
		return Prompt{}, fail("add a passkey", err)
	}
	return a.askMake(ctx, l, forAdd, s.ID)
}

func (a *Accounts) askMake(ctx context.Context, l Login, what, parent string) (Prompt, error) {
	if a.o.Passkeys == nil {
		return Prompt{}, ErrNoPasskeys
	}
	if len(l.Passkeys) >= passkey.Max {
		return Prompt{}, ErrMany
	}
	u, bad, err := a.active(ctx, a.o.Store, l.User)
	if err != nil {
		return Prompt{}, fail("add a passkey", err)
	}
	if bad != "" {
		return Prompt{}, ErrTicket
	}
	options, challenge, err := a.o.Passkeys.Register(person(u), l.Passkeys)
	if err != nil {
		return Prompt{}, fail("add a passkey", err)
	}
	p, err := a.prompt(ctx, ceremony{For: what, Challenge: challenge, User: l.User, Tenant: l.Tenant, Parent: parent, Generation: l.Generation}, options)
	if err != nil {
		return Prompt{}, fail("add a passkey", err)
	}
	return p, nil
}

func person(u directory.User) passkey.Person {
	p := passkey.Person{ID: u.ID, Name: u.UserName, Display: u.Name}
	if p.Display == "" {
		p.Display = u.UserName
	}
	return p
}

// Enrol takes the answer to AskEnrol: the passkey is the second factor from now on. It makes recovery codes,
// and opens a session in place of all others.
func (a *Accounts) Enrol(ctx context.Context, tok secret.String, name string, answer []byte, from From) (Step, error) {
	if !nameOK(name) {
		return Step{}, ErrName
	}
	c, err := a.take(ctx, tok, forEnrol)
	if err != nil {
		return Step{}, fail("add a passkey", err)
	}
	var codes []secret.String
	var device secret.String
	var amr []string
	u, k, err := a.add(ctx, c, name, answer, from, func(tx document.Tx, l *Login) error {
		t, err := a.still(ctx, tx, c, useEnrol)
		if err != nil {
			return err
		}
		amr = t.AMR
		codes, l.Recovery = recovery.New(l.User)
		device = remember(l, from)
		return tx.Delete(ctx, KindTicket, t.ID)
	})
	if err != nil {
		return Step{}, fail("add a passkey", err)
	}
	if _, err := a.o.Sessions.RevokeAll(ctx, u.Tenant, u.ID, ""); err != nil {
		return Step{}, fail("add a passkey", err)
	}
	s, err := a.open(ctx, u, append(slices.Clone(amr), k.AMR()...), device, from)
	s.Recovery = codes
	return s, err
}

// Add takes the answer to AskAdd for the session that asked. It ends the person's other sessions, and
// rotates the token of this one.
func (a *Accounts) Add(ctx context.Context, tok, prompt secret.String, name string, answer []byte, from From) (passkey.Key, session.Session, secret.String, error) {
	none := func(err error) (passkey.Key, session.Session, secret.String, error) {
		return passkey.Key{}, session.Session{}, secret.String{}, fail("add a passkey", err)
	}
	if !nameOK(name) {
		return none(ErrName)
	}
	s, _, _, err := a.fresh(ctx, tok)
	if err != nil {
		return none(err)
	}
	c, err := a.take(ctx, prompt, forAdd)
	if err != nil {
		return none(err)
	}
	if c.Parent != s.ID || c.User != s.User {
		return none(ErrTicket)
	}
	u, k, err := a.add(ctx, c, name, answer, from, func(document.Tx, *Login) error { return nil })
	if err != nil {
		return none(err)
	}
	if _, err := a.o.Sessions.RevokeAll(ctx, u.Tenant, u.ID, s.ID); err != nil {
		return none(err)
	}
	s, next, err := a.o.Sessions.Rotate(ctx, tok)
	if err != nil {
		return none(err)
	}
	return k, s, next, nil
}

// add checks a new passkey and keeps it, in one transaction with what it is made for.
func (a *Accounts) add(ctx context.Context, c ceremony, name string, answer []byte, from From, with func(document.Tx, *Login) error) (directory.User, passkey.Key, error) {
	u, bad, err := a.active(ctx, a.o.Store, c.User)
	if err != nil {
		return u, passkey.Key{}, err
	}
	if bad != "" || a.o.Passkeys == nil {
		return u, passkey.Key{}, ErrTicket
	}
	k, err := a.o.Passkeys.Registered(person(u), c.Challenge, answer, name, a.o.Now().UTC())
	if errors.Is(err, passkey.ErrRefused) {
		a.emit(ctx, u, from, Event{Name: "second.enrolled", Reason: err.Error()})
		return u, k, ErrRefused
	}
	if err != nil {
		return u, k, err
	}
	k.ID = directory.NewID("pk")
	err = a.o.Store.Write(ctx, func(tx document.Tx) error {
		l, rev, err := document.Get[Login](ctx, tx, c.User)
		if err != nil {
			return err
		}
		if l.Generation != c.Generation {
			return ErrTicket
		}
		if passkey.Index(l.Passkeys, k.Credential) >= 0 {
			return document.ErrExists
		}
		if len(l.Passkeys) >= passkey.Max {
			return ErrMany
		}
		l.Passkeys = append(l.Passkeys, k)
		l.Reset = false
		l.Generation++ // what is under way with fewer factors ends
		if err := with(tx, &l); err != nil {
			return err
		}
		_, err = document.Put(ctx, tx, l, rev)
		return err
	})
	if errors.Is(err, document.ErrExists) {
		a.emit(ctx, u, from, Event{Name: "second.enrolled", Reason: "the passkey is somebody's already"})
		return u, k, ErrRefused
	}
	if err != nil {
		return u, k, err
	}
	a.emit(ctx, u, from, Event{Name: "second.enrolled", OK: true, AMR: k.AMR()})
	return u, k, nil
}

// NamePasskey gives one of the own passkeys another name.
func (a *Accounts) NamePasskey(ctx context.Context, tok secret.String, id, name string) error {
	if !nameOK(name) {
		return ErrName
	}
	s, _, err := a.Session(ctx, tok)
	if err != nil {
		return err
	}
	_, _, _, err = document.Update(ctx, a.o.Store, s.User, 0, func(l *Login) error {
		i := slices.IndexFunc(l.Passkeys, func(k passkey.Key) bool { return k.ID == id })
		if i < 0 {
			return document.ErrNotFound
		}
		l.Passkeys[i].Name = name
		return nil
	})
	if err != nil {
		return fail("name a passkey", err)
	}
	return nil
}

// RemovePasskey takes one of the own passkeys away, for a fresh session, when another second factor is left
// (ErrLast). It ends the person's other sessions, and rotates the token.
func (a *Accounts) RemovePasskey(ctx context.Context, tok secret.String, id string, from From) (session.Session, secret.String, error) {
	return a.change(ctx, tok, from, Event{Name: "second.removed", AMR: []string{"pop"}}, func(l *Login) error {
		i := slices.IndexFunc(l.Passkeys, func(k passkey.Key) bool { return k.ID == id })
		if i < 0 {
			return document.ErrNotFound
		}
		l.Passkeys = slices.Delete(l.Passkeys, i, i+1)
		if !l.second() {
			return ErrLast
		}
		return nil
	})
}
