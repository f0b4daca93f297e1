package account

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"sallyport.dev/sallyport/internal/iam/directory"
	"sallyport.dev/sallyport/internal/iam/document"
	"sallyport.dev/sallyport/internal/iam/password"
	"sallyport.dev/sallyport/internal/iam/recovery"
	"sallyport.dev/sallyport/internal/iam/totp"
	"sallyport.dev/sallyport/internal/secret"
)

// Invite makes a link's token with which a person chooses a password, once and within an hour. A later one ends the
// earlier ones. It refuses people who come from an identity provider: a password would get around it.
func (a *Accounts) Invite(ctx context.Context, user string) (tok secret.String, err error) {
	var u directory.User
	err = a.o.Store.Write(ctx, func(tx document.Tx) error {
		var bad string
		if u, bad, err = a.active(ctx, tx, user); err != nil {
			return err
		}
		if bad != "" {
			return errors.New(bad)
		}
		if u.Origin != directory.OriginLocal {
			return errors.New("they sign in with an identity provider; make a local account for a password")
		}
		l, rev, err := document.Get[Login](ctx, tx, user)
		if errors.Is(err, document.ErrNotFound) {
			l = Login{User: user, Tenant: u.Tenant}
		} else if err != nil {
			return err
		}
		l.Generation++
		if _, err := document.Put(ctx, tx, l, rev); err != nil {
			return err
		}
		tok, err = a.issue(ctx, tx, l, useLink, LinkLife, nil)
		return err
	})
	if err != nil {
		return secret.String{}, fmt.Errorf("account: invite: %w", err)
	}
	a.emit(ctx, u, From{}, Event{Name: "account.invited", OK: true})
	return tok, nil
}

// Redeem chooses a password with a link. It ends every session of the person, and goes on as a sign-in does: a
// link does not get past a second factor. A password that may not be chosen (package password) leaves the link
// as it was.
func (a *Accounts) Redeem(ctx context.Context, link, pw secret.String, from From) (Step, error) {
	_, l, _, err := a.ticket(ctx, a.o.Store, link, useLink)
	if err != nil {
		return Step{}, fail("redeem", err)
	}
	u, bad, err := a.active(ctx, a.o.Store, l.User)
	if err != nil {
		return Step{}, fail("redeem", err)
	}
	if bad != "" {
		return Step{}, ErrTicket
	}
	if err := password.Check(pw, u.UserName, u.Name, u.Email); err != nil {
		return Step{}, err
	}
	phc, err := a.o.Hasher.Hash(ctx, pw)
	if err != nil {
		return Step{}, fail("redeem", err)
	}
	var generation int64
	err = a.o.Store.Write(ctx, func(tx document.Tx) error {
		t, now, rev, err := a.ticket(ctx, tx, link, useLink)
		if err != nil {
			return err
		}
		now.Password, now.Reset = phc, false
		now.Generation++
		generation = now.Generation
		if _, err := document.Put(ctx, tx, now, rev); err != nil {
			return err
		}
		return tx.Delete(ctx, KindTicket, t.ID)
	})
	if err != nil {
		return Step{}, fail("redeem", err)
	}
	if _, err := a.o.Sessions.RevokeAll(ctx, u.Tenant, u.ID, ""); err != nil {
		return Step{}, fail("redeem", err)
	}
	a.emit(ctx, u, from, Event{Name: "password.changed", OK: true, Reason: "with a link"})
	return a.after(ctx, u, generation, []string{"pwd"}, from)
}

// EnrolTOTP makes a seed for an authenticator app, and the URI for its QR code. It counts once ConfirmTOTP was
// given a code of it; the authenticator before it works until then.
func (a *Accounts) EnrolTOTP(ctx context.Context, tok secret.String) (seed, uri secret.String, err error) {
	t, _, _, err := a.ticket(ctx, a.o.Store, tok, useEnrol)
	if err != nil {
		return seed, uri, fail("enrol", err)
	}
	u, bad, err := a.active(ctx, a.o.Store, t.User)
	if err != nil {
		return seed, uri, fail("enrol", err)
	}
	if bad != "" {
		return seed, uri, ErrTicket
	}
	seed = totp.NewSeed()
	sealed, err := a.o.Sealer.Seal(ctx, u.Tenant, u.ID, "totp", seed)
	if err != nil {
		return secret.String{}, uri, fail("enrol", err)
	}
	err = a.o.Store.Write(ctx, func(tx document.Tx) error {
		_, l, rev, err := a.ticket(ctx, tx, tok, useEnrol)
		if err != nil {
			return err
		}
		l.Next = totp.Factor{Sealed: sealed}
		_, err = document.Put(ctx, tx, l, rev)
		return err
	})
	if err != nil {
		return secret.String{}, uri, fail("enrol", err)
	}
	return seed, totp.URI(seed, a.o.Issuer, u.UserName), nil
}

// ConfirmTOTP takes a code of the new authenticator, which from now on is the second factor, makes recovery codes, and
// opens a session in place of all others. ErrRefused: the code is wrong; try again with the same ticket.
func (a *Accounts) ConfirmTOTP(ctx context.Context, tok secret.String, code string, from From) (Step, error) {
	t, l, _, err := a.ticket(ctx, a.o.Store, tok, useEnrol)
	if err != nil {
		return Step{}, fail("confirm", err)
	}
	u, bad, err := a.active(ctx, a.o.Store, t.User)
	if err != nil {
		return Step{}, fail("confirm", err)
	}
	if bad != "" || len(l.Next.Sealed) == 0 {
		return Step{}, ErrTicket
	}
	seed, err := a.o.Sealer.Open(ctx, l.Tenant, l.User, "totp", l.Next.Sealed)
	if err != nil {
		return Step{}, fail("confirm", err)
	}
	step, err := totp.Check(seed, code, a.o.Now())
	if errors.Is(err, totp.ErrWrong) {
		return Step{}, ErrRefused // no secret of anybody's is guessed here: the seed was just shown
	} else if err != nil {
		return Step{}, fail("confirm", err)
	}
	codes, set := recovery.New(u.ID)
	var device secret.String
	err = a.o.Store.Write(ctx, func(tx document.Tx) error {
		t, now, rev, err := a.ticket(ctx, tx, tok, useEnrol)
		if err != nil {
			return err
		}
		if !bytes.Equal(now.Next.Sealed, l.Next.Sealed) {
			return ErrTicket
		}
		now.TOTP = totp.Factor{Sealed: now.Next.Sealed, Last: step, Confirmed: true}
		now.Next, now.Recovery, now.Reset = totp.Factor{}, set, false
		now.Generation++ // other enrolments under way end
		device = remember(&now, from)
		if _, err := document.Put(ctx, tx, now, rev); err != nil {
			return err
		}
		return tx.Delete(ctx, KindTicket, t.ID)
	})
	if err != nil {
		return Step{}, fail("confirm", err)
	}
	if _, err := a.o.Sessions.RevokeAll(ctx, u.Tenant, u.ID, ""); err != nil {
		return Step{}, fail("confirm", err)
	}
	a.emit(ctx, u, from, Event{Name: "second.enrolled", OK: true, AMR: []string{"otp"}})
	s, err := a.open(ctx, u, append(slices.Clone(t.AMR), "otp"), device, from)
	s.Recovery = codes
	return s, err
}
