package account

import (
	"context"
	"errors"
	"slices"

	"sallyport.dev/sallyport/internal/iam/directory"
	"sallyport.dev/sallyport/internal/iam/document"
	"sallyport.dev/sallyport/internal/iam/password"
	"sallyport.dev/sallyport/internal/iam/session"
	"sallyport.dev/sallyport/internal/iam/throttle"
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
		// For good: were they let in again, a cookie of before must not be.
		if _, err := a.o.Sessions.RevokeAll(ctx, s.Tenant, s.User, ""); err != nil {
			return session.Session{}, directory.User{}, fail("session", err)
		}
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
	if errors.Is(err, document.ErrNotFound) || err == nil && !l.second() {
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
	if err == nil && l.second() && !s.Strong() {
		return s, u, l, ErrFresh // one proof alone changes no second factor
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
	if wait, ok, err := a.o.Throttle.Allow(ctx, try); err != nil {
		return none(err)
	} else if !ok {
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
	a.o.Throttle.Done(ctx, try)
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
