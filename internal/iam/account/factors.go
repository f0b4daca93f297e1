package account

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"sallyport.dev/sallyport/internal/iam/document"
	"sallyport.dev/sallyport/internal/iam/passkey"
	"sallyport.dev/sallyport/internal/iam/recovery"
	"sallyport.dev/sallyport/internal/iam/session"
	"sallyport.dev/sallyport/internal/iam/throttle"
	"sallyport.dev/sallyport/internal/iam/totp"
	"sallyport.dev/sallyport/internal/secret"
)

// Factors are a person's second factors, as they are shown.
type Factors struct {
	Local         bool // there is a local account at all
	Authenticator bool
	Recovery      int // codes that are left
	Passkeys      []passkey.Key
}

// Factors returns what a person has set up.
func (a *Accounts) Factors(ctx context.Context, user string) (Factors, error) {
	l, _, err := document.Get[Login](ctx, a.o.Store, user)
	if errors.Is(err, document.ErrNotFound) {
		return Factors{}, nil
	}
	if err != nil {
		return Factors{}, fail("read factors", err)
	}
	return Factors{true, l.TOTP.Confirmed, l.Recovery.Left(), l.Passkeys}, nil
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

// RemoveTOTP takes the authenticator of a fresh session's person away, when a passkey is left (ErrLast).
// It ends their other sessions, and rotates the token.
func (a *Accounts) RemoveTOTP(ctx context.Context, tok secret.String, from From) (session.Session, secret.String, error) {
	return a.change(ctx, tok, from, Event{Name: "second.removed", AMR: []string{"otp"}}, func(l *Login) error {
		if !l.TOTP.Confirmed {
			return document.ErrNotFound
		}
		l.TOTP, l.Next = totp.Factor{}, totp.Factor{}
		if !l.second() {
			return ErrLast
		}
		return nil
	})
}

// NewRecovery makes new recovery codes for a fresh session with a second factor. The earlier ones end.
func (a *Accounts) NewRecovery(ctx context.Context, tok secret.String, from From) ([]secret.String, error) {
	_, u, _, err := a.fresh(ctx, tok)
	if err != nil {
		return nil, fail("new recovery codes", err)
	}
	codes, set := recovery.New(u.ID)
	_, _, _, err = document.Update(ctx, a.o.Store, u.ID, 0, func(l *Login) error {
		if !l.second() {
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

// change edits the login of a fresh session's person. It ends sign-ins under way and every other session,
// and rotates the token of this one.
func (a *Accounts) change(ctx context.Context, tok secret.String, from From, e Event, edit func(*Login) error) (session.Session, secret.String, error) {
	none := func(err error) (session.Session, secret.String, error) {
		return session.Session{}, secret.String{}, fail(e.Name, err)
	}
	s, u, _, err := a.fresh(ctx, tok)
	if err != nil {
		return none(err)
	}
	if _, _, _, err = document.Update(ctx, a.o.Store, u.ID, 0, func(l *Login) error { l.Generation++; return edit(l) }); err != nil {
		return none(err)
	}
	if _, err := a.o.Sessions.RevokeAll(ctx, u.Tenant, u.ID, s.ID); err != nil {
		return none(err)
	}
	e.OK = true
	a.emit(ctx, u, from, e)
	return a.o.Sessions.Rotate(ctx, tok)
}

// ResetSecond takes away all of a person's second factors, recovery codes, devices and sessions, for who
// has lost all of them, and makes a link's token with which they set up another, once, within an hour, and with
// their password (RedeemReset): neither the link nor the password is enough, for whoever has one of
// them. The caller has checked that whoever asks may do so.
func (a *Accounts) ResetSecond(ctx context.Context, user string) (link secret.String, err error) {
	var l Login
	err = a.o.Store.Write(ctx, func(tx document.Tx) error {
		var rev int64
		if l, rev, err = document.Get[Login](ctx, tx, user); err != nil {
			return err
		}
		l.TOTP, l.Next, l.Recovery, l.Devices, l.Passkeys = totp.Factor{}, totp.Factor{}, recovery.Set{}, nil, nil
		l.Generation++
		l.Reset = true
		if _, err := document.Put(ctx, tx, l, rev); err != nil {
			return err
		}
		link, err = a.issue(ctx, tx, l, useReset, LinkLife, nil)
		return err
	})
	if err != nil {
		return secret.String{}, fmt.Errorf("account: reset second factor: %w", err)
	}
	if _, err := a.o.Sessions.RevokeAll(ctx, l.Tenant, user, ""); err != nil {
		return secret.String{}, fmt.Errorf("account: reset second factor: %w", err)
	}
	a.o.Event(ctx, Event{Name: "second.reset", OK: true, Tenant: l.Tenant, User: user})
	return link, nil
}

// RedeemReset goes on from ResetSecond's link with the password that the person has. A wrong one leaves
// the link as it was; tries are counted as those of a sign-in.
func (a *Accounts) RedeemReset(ctx context.Context, link, pw secret.String, from From) (Step, error) {
	_, l, _, err := a.ticket(ctx, a.o.Store, link, useReset)
	if err != nil {
		return Step{}, fail("redeem reset", err)
	}
	u, bad, err := a.active(ctx, a.o.Store, l.User)
	if err != nil {
		return Step{}, fail("redeem reset", err)
	}
	if bad != "" {
		return Step{}, ErrTicket
	}
	try := throttle.Try{Account: nameOf(u.Tenant, u.UserName), Addr: from.Addr}
	if wait, ok, err := a.o.Throttle.Allow(ctx, try); err != nil {
		return Step{}, fail("redeem reset", err)
	} else if !ok {
		a.emit(ctx, u, from, Event{Name: "signin.reset", Reason: "too many tries"})
		return Step{}, &WaitError{wait}
	}
	phc := l.Password
	if phc == "" {
		phc = a.o.Hasher.Dummy()
	}
	right, _, err := a.o.Hasher.Verify(ctx, phc, pw)
	if err != nil {
		return Step{}, fail("redeem reset", err)
	}
	if !right {
		a.emit(ctx, u, from, Event{Name: "signin.reset", Reason: "wrong password"})
		return Step{}, ErrRefused
	}
	a.o.Throttle.Done(ctx, try)
	var s Step
	err = a.o.Store.Write(ctx, func(tx document.Tx) error {
		t, now, _, err := a.ticket(ctx, tx, link, useReset)
		if err != nil {
			return err
		}
		s = Step{Next: NextEnrol}
		if s.Ticket, err = a.issue(ctx, tx, now, useEnrol, TicketLife, []string{"pwd"}); err != nil {
			return err
		}
		return tx.Delete(ctx, KindTicket, t.ID)
	})
	if err != nil {
		return Step{}, fail("redeem reset", err)
	}
	a.emit(ctx, u, from, Event{Name: "signin.reset", OK: true, AMR: []string{"pwd"}})
	return s, nil
}

// Sweep takes away tickets and challenges that have ended, and says how many. Call it every few minutes, on
// as many nodes as there are.
func (a *Accounts) Sweep(ctx context.Context) (int, error) {
	now := a.o.Now()
	n, err := document.Sweep(ctx, a.o.Store, nil, func(t *ticket) bool { return !now.Before(t.Expires) })
	if err != nil {
		return n, fmt.Errorf("account: sweep: %w", err)
	}
	m, err := document.Sweep(ctx, a.o.Store, nil, func(c *ceremony) bool { return !now.Before(c.Expires) })
	if err != nil {
		return n + m, fmt.Errorf("account: sweep: %w", err)
	}
	return n + m, nil
}
