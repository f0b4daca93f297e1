package account

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"sallyport.dev/sallyport/internal/iam/directory"
	"sallyport.dev/sallyport/internal/iam/document"
	"sallyport.dev/sallyport/internal/iam/recovery"
	"sallyport.dev/sallyport/internal/iam/session"
	"sallyport.dev/sallyport/internal/iam/throttle"
	"sallyport.dev/sallyport/internal/iam/totp"
	"sallyport.dev/sallyport/internal/secret"
)

// SignIn is the first step: name and password. It errs with ErrRefused, a *WaitError, password.ErrBusy, or a
// failure. The work is the same whether or not there is such an account.
func (a *Accounts) SignIn(ctx context.Context, tenant, name string, pw secret.String, from From) (Step, error) {
	u, _, err := document.Find[directory.User](ctx, a.o.Store, directory.NameKey(tenant, name))
	if err != nil && !errors.Is(err, document.ErrNotFound) {
		return Step{}, fmt.Errorf("account: sign in: %w", err)
	}
	l, _, err := document.Get[Login](ctx, a.o.Store, orNobody(u.ID))
	if err != nil && !errors.Is(err, document.ErrNotFound) {
		return Step{}, fmt.Errorf("account: sign in: %w", err)
	}
	try := throttle.Try{Account: nameOf(tenant, name), Addr: from.Addr, Device: known(&l, from)}
	if wait, ok, err := a.o.Throttle.Allow(ctx, try); err != nil {
		return Step{}, fmt.Errorf("account: sign in: %w", err)
	} else if !ok {
		a.emit(ctx, u, from, Event{Name: "signin.password", Reason: "too many tries"})
		return Step{}, &WaitError{wait}
	}
	phc := l.Password
	if phc == "" {
		phc = a.o.Hasher.Dummy()
	}
	right, rehash, err := a.o.Hasher.Verify(ctx, phc, pw)
	if err != nil {
		return Step{}, fmt.Errorf("account: sign in: %w", err)
	}
	reason := "wrong password"
	if u.ID == "" {
		reason = "no such person"
	} else if _, bad, err := a.active(ctx, a.o.Store, u.ID); err != nil {
		return Step{}, fmt.Errorf("account: sign in: %w", err)
	} else if bad != "" {
		reason, right = bad, false
	}
	if !right || l.Password == "" {
		a.emit(ctx, u, from, Event{Name: "signin.password", Reason: reason})
		return Step{}, ErrRefused
	}
	a.o.Throttle.Done(ctx, try)
	a.emit(ctx, u, from, Event{Name: "signin.password", OK: true, AMR: []string{"pwd"}})
	if rehash {
		a.rehash(ctx, l, pw)
	}
	return a.after(ctx, u, l.Generation, []string{"pwd"}, from)
}

// after goes on from a password that was right: never past a second factor that is set up.
func (a *Accounts) after(ctx context.Context, u directory.User, generation int64, amr []string, from From) (Step, error) {
	var s Step
	err := a.o.Store.Write(ctx, func(tx document.Tx) error {
		l, _, err := document.Get[Login](ctx, tx, u.ID)
		if err != nil {
			return err
		}
		if l.Generation != generation {
			return ErrTicket // the password was changed meanwhile
		}
		s = Step{}
		switch {
		case l.second():
			s.Next = NextSecond
			s.Ticket, err = a.issue(ctx, tx, l, useSecond, TicketLife, amr)
		case l.Reset:
			return ErrLink
		case !a.o.PasswordAlone:
			s.Next = NextEnrol
			s.Ticket, err = a.issue(ctx, tx, l, useEnrol, TicketLife, amr)
		default:
			s.Next = NextDone
		}
		return err
	})
	switch {
	case errors.Is(err, ErrTicket) || errors.Is(err, ErrLink):
		return Step{}, err
	case err != nil:
		return Step{}, fmt.Errorf("account: sign in: %w", err)
	case s.Next == NextDone:
		return a.open(ctx, u, amr, secret.String{}, from)
	}
	return s, nil
}

// Second is the second step: a code of the authenticator, or a recovery code. Each works once.
func (a *Accounts) Second(ctx context.Context, tok secret.String, code string, from From) (Step, error) {
	t, l, _, err := a.ticket(ctx, a.o.Store, tok, useSecond)
	if err != nil {
		return Step{}, fail("second factor", err)
	}
	var device secret.String
	u, method, err := a.prove(ctx, l, code, from, func(tx document.Tx, l *Login) error {
		got, _, _, err := a.ticket(ctx, tx, tok, useSecond) // still there: of two at once, one wins
		if err != nil {
			return err
		}
		device = remember(l, from)
		return tx.Delete(ctx, KindTicket, got.ID)
	})
	if err != nil {
		return Step{}, fail("second factor", err)
	}
	return a.open(ctx, u, append(slices.Clone(t.AMR), method), device, from)
}

// prove uses up a code of a person, in one transaction with what it is given for.
func (a *Accounts) prove(ctx context.Context, l Login, code string, from From, with func(document.Tx, *Login) error) (directory.User, string, error) {
	u, bad, err := a.active(ctx, a.o.Store, l.User)
	if err != nil {
		return u, "", err
	}
	// By person, not by ticket: a new sign-in gives no new guesses.
	try := throttle.Try{Account: "second\x00" + l.User, Addr: from.Addr, Device: known(&l, from)}
	if wait, ok, err := a.o.Throttle.Allow(ctx, try); err != nil {
		return u, "", err
	} else if !ok {
		a.emit(ctx, u, from, Event{Name: "signin.second", Reason: "too many tries"})
		return u, "", &WaitError{wait}
	}
	method, step := "otp", int64(0)
	if recovery.Looks(code) {
		method = "rec"
	} else if !l.TOTP.Confirmed {
		bad = "no authenticator"
	} else if bad == "" {
		seed, err := a.o.Sealer.Open(ctx, l.Tenant, l.User, "totp", l.TOTP.Sealed)
		if err != nil {
			return u, "", err
		}
		if step, err = totp.Check(seed, code, a.o.Now()); errors.Is(err, totp.ErrWrong) {
			bad = "wrong code"
		} else if err != nil {
			return u, "", err
		}
	}
	if bad == "" {
		err = a.o.Store.Write(ctx, func(tx document.Tx) error {
			now, rev, err := document.Get[Login](ctx, tx, l.User)
			if err != nil {
				return err
			}
			if !now.second() || !bytes.Equal(now.TOTP.Sealed, l.TOTP.Sealed) || now.Generation != l.Generation {
				return ErrTicket
			}
			if method == "rec" {
				if !now.Recovery.Spend(l.User, code) {
					return totp.ErrWrong
				}
			} else if err := now.TOTP.Spend(step); err != nil {
				return err
			}
			if err := with(tx, &now); err != nil {
				return err
			}
			_, err = document.Put(ctx, tx, now, rev)
			return err
		})
		switch {
		case errors.Is(err, totp.ErrWrong):
			bad = "wrong code"
		case errors.Is(err, totp.ErrUsed):
			bad = "code was used already"
		case err != nil:
			return u, "", err
		}
	}
	if bad != "" {
		a.emit(ctx, u, from, Event{Name: "signin.second", Reason: bad})
		return u, "", ErrRefused
	}
	a.o.Throttle.Done(ctx, try)
	a.emit(ctx, u, from, Event{Name: "signin.second", OK: true, AMR: []string{method}})
	return u, method, nil
}

// open begins the session, with a token that no browser has seen before.
func (a *Accounts) open(ctx context.Context, u directory.User, amr []string, device secret.String, from From) (Step, error) {
	s, tok, err := a.o.Sessions.Create(ctx, session.Start{User: u.ID, Tenant: u.Tenant, AMR: amr, Addr: from.Addr, Agent: from.Agent})
	if err != nil {
		return Step{}, fmt.Errorf("account: open session: %w", err)
	}
	a.emit(ctx, u, from, Event{Name: "signin.done", OK: true, AMR: amr})
	return Step{Next: NextDone, Session: s, Token: tok, Device: device}, nil
}

// known returns the id of a device that the person signed in from before.
func known(l *Login, from From) string {
	if h := hash(from.Device); !from.Device.Empty() && slices.Contains(l.Devices, h) {
		return h
	}
	return ""
}

// remember notes the device, and returns its new token; "" when it is known.
func remember(l *Login, from From) secret.String {
	if known(l, from) != "" {
		return secret.String{}
	}
	d := random()
	l.Devices = append(l.Devices, hash(d))
	l.Devices = l.Devices[max(0, len(l.Devices)-maxDevices):]
	return d
}

// rehash brings an older hash up to date. That it did not succeed costs nothing: the next sign-in tries again.
func (a *Accounts) rehash(ctx context.Context, l Login, pw secret.String) {
	phc, err := a.o.Hasher.Hash(ctx, pw)
	if err != nil {
		return
	}
	_, _, _, _ = document.Update(ctx, a.o.Store, l.User, 0, func(now *Login) error {
		if now.Password != l.Password {
			return document.ErrConflict
		}
		now.Password = phc
		return nil
	})
}

// orNobody makes the look-up of a login happen for who does not exist, too.
func orNobody(id string) string {
	if id == "" {
		return "nobody"
	}
	return id
}

// fail keeps what callers tell apart as it is, and names the rest.
func fail(verb string, err error) error {
	var w *WaitError
	if errors.Is(err, ErrRefused) || errors.Is(err, ErrTicket) || errors.Is(err, ErrFresh) ||
		errors.Is(err, ErrLink) || errors.Is(err, ErrLast) || errors.Is(err, ErrMany) || errors.Is(err, ErrName) || errors.Is(err, ErrNoPasskeys) || errors.Is(err, session.ErrNone) || errors.As(err, &w) {
		return err
	}
	return fmt.Errorf("account: %s: %w", verb, err)
}
