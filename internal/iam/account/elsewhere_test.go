package account_test

import (
	"slices"
	"testing"
	"time"

	"sallyport.dev/sallyport/internal/iam/account"
	"sallyport.dev/sallyport/internal/iam/directory"
	"sallyport.dev/sallyport/internal/iam/session"
	"sallyport.dev/sallyport/internal/secret"
)

// elsewhere is a session that an identity provider began, with one factor.
func (b *bench) elsewhere(user string, auth time.Time) secret.String {
	b.t.Helper()
	ss := must[*session.Sessions](b)(session.New(session.Options{Store: b.store, Now: b.now}))
	_, tok, err := ss.Create(b.t.Context(), session.Start{User: user, Tenant: "acme", AMR: []string{"pwd", "hwk"}, Provider: "corp", Auth: auth})
	if err != nil {
		b.t.Fatal(err)
	}
	return tok
}

// Who signs in with an identity provider sets up a second factor here, once, and steps up with it.
func TestASecondFactorForWhoSignsInElsewhere(t *testing.T) {
	b := open(t)
	put(b, directory.User{ID: "usr_f", Tenant: "acme", UserName: "fay", Name: "Fay", Origin: directory.OriginOIDC, Active: true})
	a, ctx := b.nodes[0], t.Context()
	_, local := b.enrol()
	_, _, err := a.AddSecond(ctx, local.Token)
	want(t, "a local session", err, account.ErrRefused)
	_, _, err = a.AddSecond(ctx, b.elsewhere("usr_f", b.now().Add(-time.Hour)))
	want(t, "an old sign-in", err, account.ErrFresh)

	tok, other := b.elsewhere("usr_f", b.now()), b.elsewhere("usr_f", b.now())
	_, _, err = a.ConfirmSecond(ctx, tok, "123456", b.from)
	want(t, "nothing to confirm", err, account.ErrRefused)
	seed, _, err := a.AddSecond(ctx, tok)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := a.StepUp(ctx, tok, b.code(seed), b.from); err == nil {
		t.Error("a factor that was not confirmed steps up")
	}
	_, _, err = a.ConfirmSecond(ctx, tok, "000000", b.from)
	want(t, "a wrong code", err, account.ErrRefused)
	next, codes, err := b.nodes[1].ConfirmSecond(ctx, tok, b.code(seed), b.from)
	if err != nil || len(codes) != 10 {
		t.Fatal(len(codes), err)
	}
	for what, old := range map[string]secret.String{"the token of before": tok, "another session": other} {
		_, _, err := a.Session(ctx, old)
		want(t, what, err, session.ErrNone)
	}
	s, _, err := a.Session(ctx, next)
	if err != nil || !s.Strong() || !s.IsFresh(b.now()) || s.Provider != "corp" {
		t.Fatalf("%+v %v", s, err)
	}
	// The next session is not strong by itself, nor may it put another factor in the place of this one.
	later := b.elsewhere("usr_f", b.now())
	if s, _, err := a.Session(ctx, later); err != nil || s.Strong() {
		t.Errorf("%+v %v", s, err)
	}
	_, _, err = a.AddSecond(ctx, later)
	want(t, "another factor with one", err, account.ErrRefused)
	_, err = a.SignIn(ctx, "acme", "fay", secret.New(""), b.from)
	want(t, "no password", err, account.ErrRefused)
	_, _, err = a.StepUp(ctx, later, b.code(seed), b.from)
	want(t, "the code again", err, account.ErrRefused)
	b.pass(time.Minute)
	s, _, err = a.StepUp(ctx, later, b.code(seed), b.from)
	if err != nil || !s.Strong() || !slices.Contains(s.AMR, "otp") {
		t.Errorf("%+v %v", s, err)
	}
}
