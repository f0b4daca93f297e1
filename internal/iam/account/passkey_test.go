package account_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	vwa "github.com/descope/virtualwebauthn"

	"sallyport.dev/sallyport/internal/iam/account"
	"sallyport.dev/sallyport/internal/iam/directory"
	"sallyport.dev/sallyport/internal/iam/document"
	"sallyport.dev/sallyport/internal/iam/passkey"
	"sallyport.dev/sallyport/internal/iam/passkey/passkeytest"
	"sallyport.dev/sallyport/internal/iam/session"
	"sallyport.dev/sallyport/internal/iam/throttle"
	"sallyport.dev/sallyport/internal/secret"
)

// key is somebody's security key.
type key struct {
	t    *testing.T
	site vwa.RelyingParty
	auth vwa.Authenticator
	cred vwa.Credential
}

func newKey(b *bench, user string) *key {
	return &key{b.t, vwa.RelyingParty{ID: "gateway.example", Origin: "https://gateway.example"},
		vwa.NewAuthenticatorWithOptions(vwa.AuthenticatorOptions{UserHandle: []byte(user)}), passkeytest.Credential()}
}

func (k *key) make(p account.Prompt) []byte {
	k.t.Helper()
	o, err := vwa.ParseAttestationOptions(string(p.Options))
	if err != nil {
		k.t.Fatal(err)
	}
	return []byte(vwa.CreateAttestationResponse(k.site, k.auth, k.cred, *o))
}

func (k *key) sign(p account.Prompt) []byte {
	k.t.Helper()
	o, err := vwa.ParseAssertionOptions(string(p.Options))
	if err != nil {
		k.t.Fatal(err)
	}
	k.cred.Counter++
	return []byte(vwa.CreateAssertionResponse(k.site, k.auth, k.cred, *o))
}

// invite goes from a link to the ticket with which the first second factor is set up.
func (b *bench) invite(user string) account.Step {
	b.t.Helper()
	link := must[secret.String](b)(b.nodes[0].Invite(b.t.Context(), user))
	s := must[account.Step](b)(b.nodes[0].Redeem(b.t.Context(), link, secret.New(good), b.from))
	if s.Next != account.NextEnrol {
		b.t.Fatalf("%+v", s)
	}
	return s
}

// withKey makes a person whose only second factor is a passkey.
func (b *bench) withKey() (*key, account.Step) {
	b.t.Helper()
	k, ctx := newKey(b, "usr_a"), b.t.Context()
	p := must[account.Prompt](b)(b.nodes[0].AskEnrol(ctx, b.invite("usr_a").Ticket))
	done := must[account.Step](b)(b.nodes[1].Enrol(ctx, p.Ticket, "laptop", k.make(p), b.from))
	b.keep(done.Recovery...)
	return k, done
}

func TestAPasskeyInPlaceOfAnAuthenticator(t *testing.T) {
	b := open(t)
	ctx := t.Context()
	k, done := b.withKey()
	if fmt.Sprint(done.Session.AMR) != "[pwd hwk user]" || len(done.Recovery) != 10 {
		t.Errorf("%+v", done)
	}
	// As the second factor, on whichever node.
	s := b.signIn()
	p := must[account.Prompt](b)(b.nodes[1].AskSecond(ctx, s.Ticket))
	in := must[account.Step](b)(b.nodes[0].Answer(ctx, p.Ticket, k.sign(p), b.from))
	if fmt.Sprint(in.Session.AMR) != "[pwd hwk user]" {
		t.Error(in.Session.AMR)
	}
	_, err := b.nodes[0].AskSecond(ctx, s.Ticket)
	want(t, "the ticket again", err, account.ErrTicket)
	// Alone.
	p = must[account.Prompt](b)(b.nodes[1].AskSignIn(ctx, b.from))
	if strings.Contains(string(p.Options), "allowCredentials\":[{") {
		t.Errorf("it says who has which keys: %s", p.Options)
	}
	in = must[account.Step](b)(b.nodes[0].Answer(ctx, p.Ticket, k.sign(p), b.from))
	if fmt.Sprint(in.Session.AMR) != "[hwk user]" || in.Session.User != "usr_a" {
		t.Errorf("%+v", in.Session)
	}
	// To step up.
	b.pass(session.Fresh)
	_, err = b.nodes[0].AskAdd(ctx, in.Token)
	want(t, "not fresh", err, account.ErrFresh)
	p = must[account.Prompt](b)(b.nodes[1].AskStepUp(ctx, in.Token))
	up, tok, err := b.nodes[0].AnswerStepUp(ctx, in.Token, p.Ticket, k.sign(p), b.from)
	if err != nil || !up.IsFresh(b.now()) || fmt.Sprint(up.AMR) != "[hwk user]" {
		t.Fatalf("%+v %v", up, err)
	}
	_, _, err = b.nodes[0].Session(ctx, in.Token)
	want(t, "the token before the step-up", err, session.ErrNone)
	// A recovery code in its place.
	rec := must[account.Step](b)(b.nodes[0].Second(ctx, b.signIn().Ticket, done.Recovery[3].Reveal(), b.from))
	if fmt.Sprint(rec.Session.AMR) != "[pwd rec]" {
		t.Error(rec.Session.AMR)
	}
	b.pass(time.Hour)
	_, err = b.nodes[0].Second(ctx, b.signIn().Ticket, "123456", b.from)
	want(t, "a code of an authenticator that there is not", err, account.ErrRefused)
	_ = tok
}

// What is wrong with an answer, through the whole of the sign-in; each uses the challenge up.
func TestWrongAnswers(t *testing.T) {
	b := open(t)
	ctx, a := t.Context(), b.nodes[0]
	k, _ := b.withKey()
	put(b, directory.User{ID: "usr_b", Tenant: "acme", UserName: "bob", Name: "B", Origin: directory.OriginLocal, Active: true})
	other := newKey(b, "usr_b")
	p := must[account.Prompt](b)(a.AskEnrol(ctx, b.invite("usr_b").Ticket))
	must[account.Step](b)(a.Enrol(ctx, p.Ticket, "phone", other.make(p), b.from))

	for what, c := range map[string]func(k *key){
		"origin":       func(k *key) { k.site.Origin = "https://gateway.example.evil" },
		"rpID":         func(k *key) { k.site.ID = "evil.example" },
		"unverified":   func(k *key) { k.auth.Options.UserNotVerified = true },
		"absent":       func(k *key) { k.auth.Options.UserNotPresent = true },
		"eligible":     func(k *key) { k.auth.Options.BackupEligible = true },
		"other's key":  func(k *key) { k.cred = other.cred },
		"other's name": func(k *key) { k.auth.Options.UserHandle = []byte("usr_b") },
		"other's all":  func(k *key) { *k = *other },
		"new key":      func(k *key) { k.cred = passkeytest.Credential() },
		"new secret":   func(k *key) { id := k.cred.ID; k.cred = passkeytest.Credential(); k.cred.ID = id },
	} {
		bad := *k
		c(&bad)
		bad.cred.Counter += 100
		ticket := b.signIn().Ticket
		p := must[account.Prompt](b)(a.AskSecond(ctx, ticket))
		_, err := a.Answer(ctx, p.Ticket, bad.sign(p), b.from)
		want(t, "second: "+what, err, account.ErrRefused)
		k.cred.Counter += 1000
		_, err = a.Answer(ctx, p.Ticket, k.sign(p), b.from)
		want(t, "second: the right one after "+what, err, account.ErrTicket)
		p = must[account.Prompt](b)(a.AskSignIn(ctx, b.from))
		if what != "other's all" { // who is somebody else, and may sign in
			_, err = a.Answer(ctx, p.Ticket, bad.sign(p), b.from)
			want(t, "alone: "+what, err, account.ErrRefused)
		}
		b.pass(time.Minute)
	}
	for _, e := range b.events {
		if e.OK || e.Name != "signin.passkey" {
			continue
		}
		if e.Reason == "" || strings.Contains(e.Reason, "evil") {
			t.Errorf("%+v", e)
		}
	}
}

// A challenge is answered once, within five minutes, by the browser and for the thing it was asked for.
func TestChallenges(t *testing.T) {
	b := open(t)
	ctx, a := t.Context(), b.nodes[0]
	k, done := b.withKey()
	p := must[account.Prompt](b)(a.AskSignIn(ctx, b.from))
	answer := k.sign(p)
	must[account.Step](b)(a.Answer(ctx, p.Ticket, answer, b.from))
	_, err := b.nodes[1].Answer(ctx, p.Ticket, answer, b.from)
	want(t, "again", err, account.ErrTicket)
	p = must[account.Prompt](b)(a.AskSignIn(ctx, b.from))
	_, err = a.Answer(ctx, p.Ticket, answer, b.from)
	want(t, "an answer to another challenge", err, account.ErrRefused)

	p, other := must[account.Prompt](b)(a.AskSignIn(ctx, b.from)), must[account.Prompt](b)(a.AskSignIn(ctx, b.from))
	_, err = a.Answer(ctx, other.Ticket, k.sign(p), b.from)
	want(t, "another browser's answer", err, account.ErrRefused)

	p = must[account.Prompt](b)(a.AskSignIn(ctx, b.from))
	b.pass(passkey.Life)
	_, err = a.Answer(ctx, p.Ticket, k.sign(p), b.from)
	want(t, "after five minutes", err, account.ErrTicket)

	// Of many at once, over two nodes, one.
	p = must[account.Prompt](b)(a.AskSignIn(ctx, b.from))
	answer = k.sign(p)
	var wg sync.WaitGroup
	errs := make([]error, 8)
	for i := range errs {
		wg.Go(func() { _, errs[i] = b.nodes[i%2].Answer(context.Background(), p.Ticket, answer, b.from) })
	}
	wg.Wait()
	if n := len(slices.DeleteFunc(errs, func(err error) bool { return err != nil })); n != 1 {
		t.Errorf("%d of one answer opened a session", n)
	}

	// For one thing only, and by who asked.
	in := must[account.Prompt](b)(a.AskSignIn(ctx, b.from))
	mine := must[account.Step](b)(a.Answer(ctx, in.Ticket, k.sign(in), b.from))
	in = must[account.Prompt](b)(a.AskSignIn(ctx, b.from))
	theirs := must[account.Step](b)(a.Answer(ctx, in.Ticket, k.sign(in), b.from))
	p = must[account.Prompt](b)(a.AskStepUp(ctx, mine.Token))
	_, err = a.Answer(ctx, p.Ticket, k.sign(p), b.from)
	want(t, "a step-up for a sign-in", err, account.ErrTicket)
	p = must[account.Prompt](b)(a.AskStepUp(ctx, mine.Token))
	_, _, err = a.AnswerStepUp(ctx, theirs.Token, p.Ticket, k.sign(p), b.from)
	want(t, "a step-up of another session", err, account.ErrTicket)
	p = must[account.Prompt](b)(a.AskSignIn(ctx, b.from))
	_, _, err = a.AnswerStepUp(ctx, mine.Token, p.Ticket, k.sign(p), b.from)
	want(t, "a sign-in for a step-up", err, account.ErrTicket)
	p = must[account.Prompt](b)(a.AskAdd(ctx, mine.Token))
	_, _, _, err = a.Add(ctx, theirs.Token, p.Ticket, "x", newKey(b, "usr_a").make(p), b.from)
	want(t, "a new passkey for another session", err, account.ErrTicket)
	p = must[account.Prompt](b)(a.AskAdd(ctx, mine.Token))
	_, err = a.Enrol(ctx, p.Ticket, "x", newKey(b, "usr_a").make(p), b.from)
	want(t, "a new passkey in place of the first", err, account.ErrTicket)
	for _, junk := range []string{"", "x", mine.Token.Reveal(), done.Device.Reveal()} {
		_, err = a.Answer(ctx, secret.New(junk), answer, b.from)
		want(t, "junk", err, account.ErrTicket)
	}

	// A ceremony does not outlive the sign-in that it is part of.
	ticket := b.signIn().Ticket
	p = must[account.Prompt](b)(a.AskSecond(ctx, ticket))
	must[account.Step](b)(a.Second(ctx, ticket, done.Recovery[0].Reveal(), b.from))
	_, err = a.Answer(ctx, p.Ticket, k.sign(p), b.from)
	want(t, "after the sign-in was finished", err, account.ErrTicket)
	p = must[account.Prompt](b)(a.AskSecond(ctx, b.signIn().Ticket))
	must[secret.String](b)(a.Invite(ctx, "usr_a"))
	_, err = a.Answer(ctx, p.Ticket, k.sign(p), b.from)
	want(t, "of an earlier generation", err, account.ErrTicket)
	p = must[account.Prompt](b)(a.AskSignIn(ctx, b.from))
	document.Update(ctx, b.store, "usr_a", 0, func(u *directory.User) error { u.Active = false; return nil })
	_, err = a.Answer(ctx, p.Ticket, k.sign(p), b.from)
	want(t, "of who was disabled", err, account.ErrRefused)
	b.pass(passkey.Life)
	if n, err := a.Sweep(ctx); err != nil || n == 0 {
		t.Error(n, err)
	}
	if n, err := b.nodes[1].Sweep(ctx); err != nil || n != 0 {
		t.Error(n, err)
	}
}

// A count that does not grow is refused, and it is an alarm.
func TestACopiedPasskey(t *testing.T) {
	b := open(t)
	ctx, a := t.Context(), b.nodes[0]
	k, _ := b.withKey()
	thief := *k
	for range 3 {
		p := must[account.Prompt](b)(a.AskSignIn(ctx, b.from))
		must[account.Step](b)(a.Answer(ctx, p.Ticket, k.sign(p), b.from))
	}
	for range 2 { // at 1, at 2: both behind
		p := must[account.Prompt](b)(a.AskSignIn(ctx, b.from))
		_, err := a.Answer(ctx, p.Ticket, thief.sign(p), b.from)
		want(t, "a copy", err, account.ErrRefused)
	}
	alarms := 0
	for _, e := range b.events {
		if e.Name == "passkey.copied" && !e.OK && e.User == "usr_a" {
			alarms++
		}
	}
	if alarms != 2 {
		t.Errorf("%d alarms", alarms)
	}
	p := must[account.Prompt](b)(a.AskSignIn(ctx, b.from))
	must[account.Step](b)(a.Answer(ctx, p.Ticket, k.sign(p), b.from)) // hers goes on
}

func TestSeveralPasskeys(t *testing.T) {
	b := open(t)
	ctx, a := t.Context(), b.nodes[0]
	k, done := b.withKey()
	in := must[account.Prompt](b)(a.AskSignIn(ctx, b.from))
	thief := must[account.Step](b)(a.Answer(ctx, in.Ticket, k.sign(in), b.from))
	tok := done.Token
	p := must[account.Prompt](b)(a.AskAdd(ctx, tok))
	_, _, _, err := a.Add(ctx, tok, p.Ticket, "again", k.make(p), b.from)
	want(t, "the same passkey", err, account.ErrRefused)
	for _, bad := range []string{"", " x", "a\nb", "\x1b[2J", strings.Repeat("n", 65), "\xff", "a\u202eb"} {
		p := must[account.Prompt](b)(a.AskAdd(ctx, tok))
		if _, _, _, err := a.Add(ctx, tok, p.Ticket, bad, newKey(b, "usr_a").make(p), b.from); !errors.Is(err, account.ErrName) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	second := newKey(b, "usr_a")
	p = must[account.Prompt](b)(a.AskAdd(ctx, tok))
	added, _, next, err := b.nodes[1].Add(ctx, tok, p.Ticket, "phone", second.make(p), b.from)
	if err != nil {
		t.Fatal(err)
	}
	for what, old := range map[string]secret.String{"the token before": tok, "another session": thief.Token} {
		_, _, err := a.Session(ctx, old)
		want(t, what, err, session.ErrNone)
	}
	tok = next
	p = must[account.Prompt](b)(a.AskSignIn(ctx, b.from))
	must[account.Step](b)(a.Answer(ctx, p.Ticket, second.sign(p), b.from))
	if err := a.NamePasskey(ctx, tok, added.ID, "work phone"); err != nil {
		t.Error(err)
	}
	f, err := a.Factors(ctx, "usr_a")
	if err != nil || len(f.Passkeys) != 2 || f.Passkeys[1].Name != "work phone" || f.Passkeys[1].Used.IsZero() || f.Authenticator || f.Recovery != 10 {
		t.Errorf("%+v %v", f, err)
	}
	// Removed, it opens nothing; the last factor stays.
	if _, tok, err = a.RemovePasskey(ctx, tok, added.ID, b.from); err != nil {
		t.Fatal(err)
	}
	p = must[account.Prompt](b)(a.AskSignIn(ctx, b.from))
	_, err = a.Answer(ctx, p.Ticket, second.sign(p), b.from)
	want(t, "a removed passkey", err, account.ErrRefused)
	_, _, err = a.RemovePasskey(ctx, tok, added.ID, b.from)
	want(t, "removed already", err, document.ErrNotFound)
	_, _, err = a.RemovePasskey(ctx, tok, f.Passkeys[0].ID, b.from)
	want(t, "the last factor", err, account.ErrLast)
	tick := must[secret.String](b)(a.ReplaceSecond(ctx, tok))
	seed, _, err := a.EnrolTOTP(ctx, tick)
	if err != nil {
		t.Fatal(err)
	}
	both := must[account.Step](b)(a.ConfirmTOTP(ctx, tick, b.code(seed), b.from))
	b.pass(time.Minute)
	must[account.Step](b)(a.Second(ctx, b.signIn().Ticket, b.code(seed), b.from))
	tok = both.Token
	if _, tok, err = a.RemovePasskey(ctx, tok, f.Passkeys[0].ID, b.from); err != nil {
		t.Fatal(err)
	}
	_, _, err = a.RemoveTOTP(ctx, tok, b.from)
	want(t, "the last factor, an authenticator", err, account.ErrLast)
	// Reset, all are gone.
	must[secret.String](b)(a.ResetSecond(ctx, "usr_a"))
	p = must[account.Prompt](b)(a.AskSignIn(ctx, b.from))
	_, err = a.Answer(ctx, p.Ticket, k.sign(p), b.from)
	want(t, "after a reset", err, account.ErrRefused)
}

func TestAsManyPasskeysAsThereMayBe(t *testing.T) {
	b := open(t)
	ctx, a := t.Context(), b.nodes[0]
	_, done := b.withKey()
	tok := done.Token
	for i := range passkey.Max - 1 {
		p := must[account.Prompt](b)(a.AskAdd(ctx, tok))
		_, _, next, err := a.Add(ctx, tok, p.Ticket, fmt.Sprint(i), newKey(b, "usr_a").make(p), b.from)
		if err != nil {
			t.Fatal(err)
		}
		tok = next
	}
	_, err := a.AskAdd(ctx, tok)
	want(t, "one more", err, account.ErrMany)
}

// Challenges are for nothing in particular when anybody asks, so asking is bounded.
func TestAskingIsBounded(t *testing.T) {
	b := open(t)
	n := 0
	for range 1000 {
		if _, err := b.nodes[0].AskSignIn(t.Context(), b.from); err == nil {
			n++
		} else if w := (*account.WaitError)(nil); !errors.As(err, &w) {
			t.Fatal(err)
		}
	}
	if n > 20 {
		t.Errorf("%d challenges for one network at once", n)
	}
}

// In an office of one address any number of people sign in; what they only ask for is bounded as before.
func TestAnOfficeMaySignIn(t *testing.T) {
	b := open(t)
	ctx, a := t.Context(), b.nodes[0]
	k, _ := b.withKey()
	for range 2 * throttle.PrefixBurst {
		p := must[account.Prompt](b)(a.AskSignIn(ctx, b.from))
		must[account.Step](b)(a.Answer(ctx, p.Ticket, k.sign(p), b.from))
		b.pass(throttle.GlobalEvery)
	}
	n := 0
	for range 2 * throttle.PrefixBurst {
		if _, err := a.AskSignIn(ctx, b.from); err == nil {
			n++
		}
	}
	if n > throttle.PrefixBurst {
		t.Errorf("%d were asked for beside, want %d at most", n, throttle.PrefixBurst)
	}
}

// The last code of the paper is as good as the first, and then there is none.
func TestRecoveryCodesAreRenewed(t *testing.T) {
	b := open(t)
	ctx, a := t.Context(), b.nodes[0]
	_, done := b.withKey()
	codes := must[[]secret.String](b)(a.NewRecovery(ctx, done.Token, b.from))
	_, err := a.Second(ctx, b.signIn().Ticket, done.Recovery[0].Reveal(), b.from)
	want(t, "a code of before", err, account.ErrRefused)
	b.pass(time.Hour)
	must[account.Step](b)(a.Second(ctx, b.signIn().Ticket, codes[0].Reveal(), b.from))
}
