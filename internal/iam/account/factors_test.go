package account_test

import (
	"testing"
	"time"

	"sallyport.dev/sallyport/internal/iam/account"
	"sallyport.dev/sallyport/internal/iam/session"
	"sallyport.dev/sallyport/internal/secret"
)

func TestReplaceAndReset(t *testing.T) {
	b := open(t)
	old, done := b.enrol()
	a, ctx := b.nodes[0], t.Context()
	tick := must[secret.String](b)(a.ReplaceSecond(ctx, done.Token))
	seed, _, err := a.EnrolTOTP(ctx, tick)
	if err != nil {
		t.Fatal(err)
	}
	_, err = a.ConfirmTOTP(ctx, tick, b.code(old), b.from)
	want(t, "a code of the old app", err, account.ErrRefused)
	next := must[account.Step](b)(a.ConfirmTOTP(ctx, tick, b.code(seed), b.from))
	_, _, err = a.Session(ctx, done.Token)
	want(t, "session of before", err, session.ErrNone)
	b.pass(time.Minute)
	_, err = a.Second(ctx, b.signIn().Ticket, b.code(old), b.from)
	want(t, "the old app", err, account.ErrRefused)
	_, err = a.Second(ctx, b.signIn().Ticket, done.Recovery[0].Reveal(), b.from)
	want(t, "an old recovery code", err, account.ErrRefused)
	link := must[secret.String](b)(a.ResetSecond(ctx, "usr_a"))
	_, _, err = a.Session(ctx, next.Token)
	want(t, "session of before the reset", err, session.ErrNone)
	// Who has only the password sets up nothing, and neither does who has only the link.
	_, err = a.SignIn(ctx, "acme", "alice", secret.New(good), b.from)
	want(t, "the password alone", err, account.ErrLink)
	_, err = a.RedeemReset(ctx, link, secret.New("not the password"), b.from)
	want(t, "the link alone", err, account.ErrRefused)
	_, err = a.Redeem(ctx, link, secret.New("another password of mine"), b.from)
	want(t, "another password with it", err, account.ErrTicket)
	_, _, err = a.EnrolTOTP(ctx, link)
	want(t, "the link in place of a ticket", err, account.ErrTicket)
	step := must[account.Step](b)(b.nodes[1].RedeemReset(ctx, link, secret.New(good), b.from))
	if step.Next != account.NextEnrol || !step.Token.Empty() {
		t.Fatalf("%+v", step)
	}
	_, err = a.RedeemReset(ctx, link, secret.New(good), b.from)
	want(t, "the link again", err, account.ErrTicket)
	seed, _, err = a.EnrolTOTP(ctx, step.Ticket)
	if err != nil {
		t.Fatal(err)
	}
	must[account.Step](b)(a.ConfirmTOTP(ctx, step.Ticket, b.code(seed), b.from))
	if s, err := a.SignIn(ctx, "acme", "alice", secret.New(good), b.from); err != nil || s.Next != account.NextSecond {
		t.Errorf("%+v %v", s, err)
	}
	// A later link ends an earlier one, and so does time.
	link = must[secret.String](b)(a.ResetSecond(ctx, "usr_a"))
	later := must[secret.String](b)(a.ResetSecond(ctx, "usr_a"))
	_, err = a.RedeemReset(ctx, link, secret.New(good), b.from)
	want(t, "an earlier link", err, account.ErrTicket)
	b.pass(account.LinkLife)
	_, err = a.RedeemReset(ctx, later, secret.New(good), b.from)
	want(t, "after an hour", err, account.ErrTicket)
	// Who has forgotten the password, too, is invited anew.
	link = must[secret.String](b)(a.Invite(ctx, "usr_a"))
	if s, err := a.Redeem(ctx, link, secret.New(good+"!"), b.from); err != nil || s.Next != account.NextEnrol {
		t.Errorf("%+v %v", s, err)
	}
}
