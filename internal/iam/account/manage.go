package account

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"sallyport.dev/sallyport/internal/iam/directory"
	"sallyport.dev/sallyport/internal/iam/document"
	"sallyport.dev/sallyport/internal/iam/password"
	"sallyport.dev/sallyport/internal/iam/recovery"
	"sallyport.dev/sallyport/internal/iam/session"
	"sallyport.dev/sallyport/internal/iam/throttle"
	"sallyport.dev/sallyport/internal/iam/totp"
	"sallyport.dev/sallyport/internal/secret"
)

// Session returns the session of a token and its person. Who was disabled, or whose tenant was, has none,
// from the next request on.
func (a *Accounts) Session(ctx context.Context, tok secret.String) (session.Session, directory.User, error) {
	s, err := a.o.Sessions.Find(ctx, tok)
	if err != nil {
		return session.Session{}, directory.User{}, err
	}
	u, bad, err := a.active(ctx, a.o.Store, s.User)
	if err != nil {
		return session.Session{}, directory.User{}, fail("session", err)
	}
	if bad != "" || u.Tenant != s.Tenant {
		return session.Session{}, directory.User{}, session.ErrNone
	}
	return s, u, nil
}

// StepUp takes another code, so that dangerous acts are open for a few minutes, and rotates the token.
func (a *Accounts) StepUp(ctx context.Context, tok secret.String, code string, from From) (session.Session, secret.String, error) {
	s, _, err := a.Session(ctx, tok)
	if err != nil {
		return session.Session{}, secret.String{}, err
	}
	l, _, err := document.Get[Login](ctx, a.o.Store, s.User)
	if errors.Is(err, document.ErrNotFound) || err == nil && !l.TOTP.Confirmed {
		return session.Session{}, secret.String{}, ErrRefused
	}
	if err != nil {
		return session.Session{}, secret.String{}, fail("step up", err)
	}
	_, method, err := a.prove(ctx, l, code, from, func(document.Tx, *Login) error { return nil })
	if err != nil {
		return session.Session{}, secret.String{}, fail("step up", err)
	}
	amr := slices.Clone(s.AMR)
	if !slices.Contains(amr, method) {
		amr = append(amr, method)
	}
	return a.o.Sessions.StepUp(ctx, tok, amr)
}

// fresh returns a session that may do dangerous acts, its person and their login.
func (a *Accounts) fresh(ctx context.Context, tok secret.String) (session.Session, directory.User, Login, error) {
	s, u, err := a.Session(ctx, tok)
	if err != nil {
		return s, u, Login{}, err
	}
	if !s.IsFresh(a.o.Now()) {
		return s, u, Login{}, ErrFresh
	}
	l, _, err := document.Get[Login](ctx, a.o.Store, u.ID)
	if errors.Is(err, document.ErrNotFound) {
		return s, u, l, ErrRefused // they sign in elsewhere
	}
	return s, u, l, err
}

// ChangePassword asks for the old one, ends every other session and sign-in of the person, forgets their devices,
// and rotates the token of this session.
func (a *Accounts) ChangePassword(ctx context.Context, tok, old, pw secret.String, from From) (session.Session, secret.String, error) {
	none := func(err error) (session.Session, secret.String, error) {
		return session.Session{}, secret.String{}, fail("change password", err)
	}
	s, u, l, err := a.fresh(ctx, tok)
	if err != nil {
		return none(err)
	}
	if err := password.Check(pw, u.UserName, u.Name, u.Email); err != nil {
		return session.Session{}, secret.String{}, err
	}
	try := throttle.Try{Account: "change\x00" + u.ID, Addr: from.Addr}
	if wait, ok := a.o.Throttle.Allow(try); !ok {
		return none(&WaitError{wait})
	}
	phc := l.Password
	if phc == "" {
		phc = a.o.Hasher.Dummy()
	}
	ok, _, err := a.o.Hasher.Verify(ctx, phc, old)
	if err != nil {
		return none(err)
	}
	if !ok {
		a.emit(ctx, u, from, Event{Name: "password.changed", Reason: "wrong password"})
		return none(ErrRefused)
	}
	a.o.Throttle.Done(try)
	if phc, err = a.o.Hasher.Hash(ctx, pw); err != nil {
		return none(err)
	}
	_, _, _, err = document.Update(ctx, a.o.Store, u.ID, 0, func(now *Login) error {
		if now.Password != l.Password {
			return ErrRefused // changed by another meanwhile
		}
		now.Password, now.Devices = phc, nil
		now.Generation++
		return nil
	})
	if err != nil {
		return none(err)
	}
	if _, err := a.o.Sessions.RevokeAll(ctx, u.Tenant, u.ID, s.ID); err != nil {
		return none(err)
	}
	a.emit(ctx, u, from, Event{Name: "password.changed", OK: true})
	return a.o.Sessions.Rotate(ctx, tok)
}

// ReplaceSecond gives a fresh session a ticket for EnrolTOTP.
func (a *Accounts) ReplaceSecond(ctx context.Context, tok secret.String) (t secret.String, err error) {
	s, _, l, err := a.fresh(ctx, tok)
	if err != nil {
		return t, fail("replace second factor", err)
	}
	err = a.o.Store.Write(ctx, func(tx document.Tx) error {
		t, err = a.issue(ctx, tx, l, useEnrol, TicketLife, slices.DeleteFunc(slices.Clone(s.AMR), func(m string) bool { return m == "otp" || m == "rec" }))
		return err
	})
	if err != nil {
		return secret.String{}, fail("replace second factor", err)
	}
	return t, nil
}

// NewRecovery makes new recovery codes for a fresh session with a second factor. The earlier ones end.
func (a *Accounts) NewRecovery(ctx context.Context, tok secret.String, from From) ([]secret.String, error) {
	_, u, _, err := a.fresh(ctx, tok)
	if err != nil {
		return nil, fail("new recovery codes", err)
	}
	codes, set := recovery.New(u.ID)
	_, _, _, err = document.Update(ctx, a.o.Store, u.ID, 0, func(l *Login) error {
		if !l.TOTP.Confirmed {
			return ErrRefused
		}
		l.Recovery = set
		return nil
	})
	if err != nil {
		return nil, fail("new recovery codes", err)
	}
	a.emit(ctx, u, from, Event{Name: "recovery.made", OK: true})
	return codes, nil
}

// ResetSecond takes away a person's second factor, recovery codes, devices and sessions, for who has lost all of
// them. The caller has checked that whoever asks may do so.
func (a *Accounts) ResetSecond(ctx context.Context, user string) error {
	_, l, _, err := document.Update(ctx, a.o.Store, user, 0, func(l *Login) error {
		l.TOTP, l.Next, l.Recovery, l.Devices = totp.Factor{}, totp.Factor{}, recovery.Set{}, nil
		l.Generation++
		return nil
	})
	if err != nil {
		return fmt.Errorf("account: reset second factor: %w", err)
	}
	if _, err := a.o.Sessions.RevokeAll(ctx, l.Tenant, user, ""); err != nil {
		return fmt.Errorf("account: reset second factor: %w", err)
	}
	a.o.Event(ctx, Event{Name: "second.reset", OK: true, Tenant: l.Tenant, User: user})
	return nil
}

// Sweep takes away tickets that have ended, and says how many. Call it every few minutes.
func (a *Accounts) Sweep(ctx context.Context) (n int, err error) {
	err = a.o.Store.Write(ctx, func(tx document.Tx) error {
		n = 0
		ts, err := document.List[ticket](ctx, tx, nil)
		if err != nil {
			return err
		}
		for _, t := range ts {
			if a.o.Now().Before(t.Expires) {
				continue
			}
			if err := tx.Delete(ctx, KindTicket, t.ID); err != nil {
				return err
			}
			n++
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("account: sweep: %w", err)
	}
	return n, nil
}
