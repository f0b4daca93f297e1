package account

import (
	"bytes"
	"context"
	"errors"
	"slices"

	"sallyport.dev/sallyport/internal/iam/document"
	"sallyport.dev/sallyport/internal/iam/recovery"
	"sallyport.dev/sallyport/internal/iam/session"
	"sallyport.dev/sallyport/internal/iam/totp"
	"sallyport.dev/sallyport/internal/secret"
)

// AddSecond makes a seed for the first second factor of somebody who signed in with an identity provider,
// for step-ups where the provider shows none. The sign-in must be fresh (ErrFresh), and there must be no
// second factor yet (ErrRefused): another one needs the one that there is. It counts once ConfirmSecond
// was given a code of it.
func (a *Accounts) AddSecond(ctx context.Context, tok secret.String) (seed, uri secret.String, err error) {
	s, u, err := a.Session(ctx, tok)
	if err != nil {
		return seed, uri, err
	}
	if err := a.mayAdd(&s); err != nil {
		return seed, uri, err
	}
	seed = totp.NewSeed()
	sealed, err := a.o.Sealer.Seal(ctx, u.Tenant, u.ID, "totp", seed)
	if err != nil {
		return secret.String{}, uri, fail("add second factor", err)
	}
	err = a.o.Store.Write(ctx, func(tx document.Tx) error {
		l, rev, err := document.Get[Login](ctx, tx, u.ID)
		if errors.Is(err, document.ErrNotFound) {
			l = Login{User: u.ID, Tenant: u.Tenant}
		} else if err != nil {
			return err
		}
		if l.second() {
			return ErrRefused
		}
		l.Next = totp.Factor{Sealed: sealed}
		_, err = document.Put(ctx, tx, l, rev)
		return err
	})
	if err != nil {
		return secret.String{}, uri, fail("add second factor", err)
	}
	return seed, totp.URI(seed, a.o.Issuer, u.UserName), nil
}

func (a *Accounts) mayAdd(s *session.Session) error {
	if s.Provider == "" {
		return ErrRefused
	}
	if !s.IsFresh(a.o.Now()) {
		return ErrFresh
	}
	return nil
}

// ConfirmSecond takes a code of the new second factor, makes recovery codes, ends the person's other
// sessions, and steps this one up. ErrRefused: the code is wrong; try again.
func (a *Accounts) ConfirmSecond(ctx context.Context, tok secret.String, code string, from From) (next secret.String, codes []secret.String, err error) {
	s, u, err := a.Session(ctx, tok)
	if err != nil {
		return next, nil, err
	}
	if err := a.mayAdd(&s); err != nil {
		return next, nil, err
	}
	l, _, err := document.Get[Login](ctx, a.o.Store, u.ID)
	if errors.Is(err, document.ErrNotFound) || err == nil && len(l.Next.Sealed) == 0 {
		return next, nil, ErrRefused
	}
	if err != nil {
		return next, nil, fail("confirm second factor", err)
	}
	seed, err := a.o.Sealer.Open(ctx, l.Tenant, l.User, "totp", l.Next.Sealed)
	if err != nil {
		return next, nil, fail("confirm second factor", err)
	}
	step, err := totp.Check(seed, code, a.o.Now())
	if errors.Is(err, totp.ErrWrong) {
		return next, nil, ErrRefused // no secret of anybody's is guessed here: the seed was just shown
	} else if err != nil {
		return next, nil, fail("confirm second factor", err)
	}
	codes, set := recovery.New(u.ID)
	_, _, _, err = document.Update(ctx, a.o.Store, u.ID, 0, func(now *Login) error {
		if now.second() || !bytes.Equal(now.Next.Sealed, l.Next.Sealed) {
			return ErrRefused
		}
		now.TOTP, now.Next, now.Recovery = totp.Factor{Sealed: now.Next.Sealed, Last: step, Confirmed: true}, totp.Factor{}, set
		now.Generation++
		return nil
	})
	if err != nil {
		return next, nil, fail("confirm second factor", err)
	}
	if _, err := a.o.Sessions.RevokeAll(ctx, u.Tenant, u.ID, s.ID); err != nil {
		return next, nil, fail("confirm second factor", err)
	}
	a.emit(ctx, u, from, Event{Name: "second.enrolled", OK: true, AMR: []string{"otp"}})
	if _, next, err = a.o.Sessions.StepUp(ctx, tok, append(slices.Clone(s.AMR), "otp")); err != nil {
		return secret.String{}, nil, fail("confirm second factor", err)
	}
	return next, codes, nil
}
