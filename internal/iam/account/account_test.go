package account_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"sallyport.dev/sallyport/internal/iam/account"
	"sallyport.dev/sallyport/internal/iam/datakeys"
	"sallyport.dev/sallyport/internal/iam/directory"
	"sallyport.dev/sallyport/internal/iam/document"
	"sallyport.dev/sallyport/internal/iam/passkey"
	"sallyport.dev/sallyport/internal/iam/password"
	"sallyport.dev/sallyport/internal/iam/session"
	"sallyport.dev/sallyport/internal/iam/throttle"
	"sallyport.dev/sallyport/internal/secret"
	"sallyport.dev/sallyport/internal/secret/envelope"
	"sallyport.dev/sallyport/internal/store/memory"
)

const good = "blue kettle on the roof"

type sealer struct{ ring *envelope.Keyring }

func (s sealer) Seal(_ context.Context, tenant, row, column string, v secret.String) ([]byte, error) {
	return s.ring.Seal(tenant, envelope.Place{Table: "login", Row: row, Column: column}, v)
}

func (s sealer) Open(_ context.Context, tenant, row, column string, b []byte) (secret.String, error) {
	return s.ring.Open(tenant, envelope.Place{Table: "login", Row: row, Column: column}, b)
}

// bench is two nodes on one store.
type bench struct {
	tries  *away
	t      *testing.T
	store  *memory.Documents
	nodes  [2]*account.Accounts
	from   account.From
	mu     sync.Mutex
	at     time.Time
	events []account.Event
	shown  []string // every secret that was given out
}

func (b *bench) now() time.Time       { b.mu.Lock(); defer b.mu.Unlock(); return b.at }
func (b *bench) pass(d time.Duration) { b.mu.Lock(); defer b.mu.Unlock(); b.at = b.at.Add(d) }
func (b *bench) event(_ context.Context, e account.Event) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.events = append(b.events, e)
}

// away is a count of tries whose store may not answer.
type away struct {
	memory.Tries
	err error
}

func (a *away) Look(ctx context.Context, places []throttle.Place) (time.Time, []throttle.Cell, error) {
	if a.err != nil {
		return time.Time{}, nil, a.err
	}
	return a.Tries.Look(ctx, places)
}

func open(t *testing.T) *bench {
	site, err := passkey.New("https://gateway.example", "Sallyport")
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{t: t, store: &memory.Documents{}, at: time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)}
	kek, err := envelope.ParseKEK(secret.New(fmt.Sprintf("%x", sha256.Sum256([]byte("a key of this test")))))
	if err != nil {
		t.Fatal(err)
	}
	ring, err := envelope.New(t.Context(), envelope.Options{Store: datakeys.Store{Docs: b.store}, Current: kek})
	if err != nil {
		t.Fatal(err)
	}
	tries := &away{Tries: memory.Tries{Now: b.now}}
	b.tries = tries
	for i := range b.nodes {
		slow, err := throttle.New(tries, make([]byte, 32))
		if err != nil {
			t.Fatal(err)
		}
		ses, err := session.New(session.Options{Store: b.store, Now: b.now})
		if err != nil {
			t.Fatal(err)
		}
		if b.nodes[i], err = account.New(account.Options{Store: b.store, Sessions: ses, Hasher: password.New(password.Options{Wait: time.Minute}),
			Throttle: slow, Sealer: sealer{ring}, Passkeys: site, Event: b.event, Now: b.now}); err != nil {
			t.Fatal(err)
		}
	}
	b.from = account.From{Addr: netip.MustParseAddr("192.0.2.7"), Agent: "Firefox"}
	put(b, directory.Tenant{ID: "acme", Name: "Acme"})
	put(b, directory.User{ID: "usr_a", Tenant: "acme", UserName: "Alice", Name: "A", Origin: directory.OriginLocal, Active: true})
	return b
}

func put[T document.Entity](b *bench, v T) {
	b.t.Helper()
	if _, err := document.Insert(b.t.Context(), b.store, v); err != nil {
		b.t.Fatal(err)
	}
}

func must[T any](b *bench) func(T, error) T {
	return func(v T, err error) T {
		b.t.Helper()
		if err != nil {
			b.t.Fatal(err)
		}
		return v
	}
}

func (b *bench) keep(ss ...secret.String) {
	for _, s := range ss {
		if !s.Empty() {
			b.shown = append(b.shown, s.Reveal())
		}
	}
}

// code is what the person's app shows; written apart from package totp.
func (b *bench) code(seed secret.String) string {
	key, _ := base32.StdEncoding.DecodeString(seed.Reveal())
	m := hmac.New(sha1.New, key)
	binary.Write(m, binary.BigEndian, b.now().Unix()/30)
	sum := m.Sum(nil)
	return fmt.Sprintf("%06d", binary.BigEndian.Uint32(sum[sum[19]&15:])&0x7fffffff%1_000_000)
}

// enrol goes from the link to the first session.
func (b *bench) enrol() (seed secret.String, done account.Step) {
	b.t.Helper()
	a, ctx := b.nodes[0], b.t.Context()
	link := must[secret.String](b)(a.Invite(ctx, "usr_a"))
	step := must[account.Step](b)(a.Redeem(ctx, link, secret.New(good), b.from))
	if step.Next != account.NextEnrol || !step.Token.Empty() {
		b.t.Fatalf("%+v", step)
	}
	seed, uri, err := a.EnrolTOTP(ctx, step.Ticket)
	if err != nil {
		b.t.Fatal(err)
	}
	done = must[account.Step](b)(b.nodes[1].ConfirmTOTP(ctx, step.Ticket, b.code(seed), b.from))
	b.keep(link, step.Ticket, seed, uri, done.Token, done.Device)
	b.keep(done.Recovery...)
	b.pass(time.Minute)
	return seed, done
}

func (b *bench) signIn() account.Step {
	b.t.Helper()
	s := must[account.Step](b)(b.nodes[0].SignIn(b.t.Context(), "acme", "alice", secret.New(good), b.from))
	if s.Next != account.NextSecond || !s.Token.Empty() {
		b.t.Fatalf("%+v", s)
	}
	b.keep(s.Ticket)
	return s
}

func want(t *testing.T, what string, err, target error) {
	t.Helper()
	if !errors.Is(err, target) {
		t.Errorf("%s: %v, not %v", what, err, target)
	}
}

func TestFromTheLinkToASession(t *testing.T) {
	b := open(t)
	seed, done := b.enrol()
	if len(done.Recovery) != 10 || fmt.Sprint(done.Session.AMR) != "[pwd otp]" {
		t.Errorf("%+v", done)
	}
	s := b.signIn()
	in := must[account.Step](b)(b.nodes[1].Second(t.Context(), s.Ticket, b.code(seed), b.from))
	if _, u, err := b.nodes[0].Session(t.Context(), in.Token); err != nil || u.ID != "usr_a" {
		t.Fatal(err)
	}
	// No token of before the sign-in opens anything after it.
	for _, old := range []secret.String{s.Ticket, in.Ticket, in.Device} {
		_, _, err := b.nodes[0].Session(t.Context(), old)
		want(t, "a token of before", err, session.ErrNone)
	}
	_, err := b.nodes[0].Second(t.Context(), s.Ticket, b.code(seed), b.from)
	want(t, "the same ticket", err, account.ErrTicket)
}

// What a dump of the store, or the events, would give away.
func TestNothingUsableIsKept(t *testing.T) {
	b := open(t)
	seed, _ := b.enrol()
	s := b.signIn()
	in := must[account.Step](b)(b.nodes[0].Second(t.Context(), s.Ticket, b.code(seed), b.from))
	b.keep(in.Token, in.Device, secret.New(good))
	ds, _, err := b.store.Changes(t.Context(), document.Position{}, 0)
	if err != nil {
		t.Fatal(err)
	}
	dump := fmt.Sprintf("%+v %+v", b.events, ds)
	for _, d := range ds {
		dump += string(d.Body)
	}
	if len(b.shown) < 18 {
		t.Fatal("the test keeps too few secrets")
	}
	for _, s := range b.shown {
		if strings.Contains(dump, s) || strings.Contains(dump, strings.ReplaceAll(s, "-", "")) {
			t.Errorf("a secret of %d bytes is in the store or an event", len(s))
		}
	}
}

// Fails when Spend's answer is overlooked.
func TestACodeOnTwoNodesOpensOneSession(t *testing.T) {
	b := open(t)
	seed, _ := b.enrol()
	for range 5 {
		tickets := [2]secret.String{b.signIn().Ticket, b.signIn().Ticket}
		code := b.code(seed)
		var errs [2]error
		var wg sync.WaitGroup
		for i := range 2 {
			wg.Go(func() { _, errs[i] = b.nodes[i].Second(context.Background(), tickets[i], code, b.from) })
		}
		wg.Wait()
		if (errs[0] == nil) == (errs[1] == nil) || !errors.Is(errors.Join(errs[:]...), account.ErrRefused) {
			t.Fatalf("%v", errs)
		}
		b.pass(time.Hour)
	}
}

func TestRecoveryCodesWorkOnce(t *testing.T) {
	b := open(t)
	_, done := b.enrol()
	for i, c := range done.Recovery[:2] {
		in := must[account.Step](b)(b.nodes[i].Second(t.Context(), b.signIn().Ticket, c.Reveal(), b.from))
		if fmt.Sprint(in.Session.AMR) != "[pwd rec]" {
			t.Error(in.Session.AMR)
		}
		_, err := b.nodes[1-i].Second(t.Context(), b.signIn().Ticket, c.Reveal(), b.from)
		want(t, "again", err, account.ErrRefused)
		b.pass(time.Hour)
	}
}

// Unknown, disabled, without a password and wrong: one message, one hash each.
func TestOneAnswerForAll(t *testing.T) {
	b := open(t)
	b.enrol()
	put(b, directory.User{ID: "usr_n", Tenant: "acme", UserName: "none", Name: "N", Origin: directory.OriginLocal, Active: true})
	refuse := func(tenant, name, pw string) {
		t.Helper()
		b.pass(2 * time.Hour)
		begin := time.Now()
		_, err := b.nodes[0].SignIn(t.Context(), tenant, name, secret.New(pw), b.from)
		if err != account.ErrRefused {
			t.Errorf("%s %s: %v", tenant, name, err)
		}
		if d := time.Since(begin); d < 3*time.Millisecond {
			t.Errorf("%s %s: refused in %v: no hash was computed", tenant, name, d)
		}
	}
	refuse("acme", "alice", "wrong password here")
	refuse("acme", "nobody", good)
	refuse("evil", "alice", good)
	refuse("acme", "none", good)
	refuse("acme", "none", "")
	refuse("acme", strings.Repeat("x", 4096)+"\x00\xff", good)
	document.Update(t.Context(), b.store, "usr_a", 0, func(u *directory.User) error { u.Active = false; return nil })
	refuse("acme", "alice", good)
	refuse("acme", "alice", "wrong password here")
	document.Update(t.Context(), b.store, "usr_a", 0, func(u *directory.User) error { u.Active = true; return nil })
	document.Update(t.Context(), b.store, "acme", 0, func(u *directory.Tenant) error { u.Disabled = true; return nil })
	refuse("acme", "alice", good)
}

func TestDisablingEndsSessionsAndSignInsUnderWay(t *testing.T) {
	b := open(t)
	seed, done := b.enrol()
	s := b.signIn()
	document.Update(t.Context(), b.store, "usr_a", 0, func(u *directory.User) error { u.Active = false; return nil })
	_, _, err := b.nodes[1].Session(t.Context(), done.Token)
	want(t, "session", err, session.ErrNone)
	_, err = b.nodes[1].Second(t.Context(), s.Ticket, b.code(seed), b.from)
	want(t, "sign-in under way", err, account.ErrRefused)
	_, _, err = b.nodes[1].StepUp(t.Context(), done.Token, b.code(seed), b.from)
	want(t, "step-up", err, session.ErrNone)
	_, err = b.nodes[1].Invite(t.Context(), "usr_a")
	if err == nil {
		t.Error("invited")
	}
}

func TestLinks(t *testing.T) {
	b := open(t)
	a, ctx := b.nodes[0], t.Context()
	first := must[secret.String](b)(a.Invite(ctx, "usr_a"))
	link := must[secret.String](b)(a.Invite(ctx, "usr_a"))
	_, err := a.Redeem(ctx, first, secret.New(good), b.from)
	want(t, "an earlier link", err, account.ErrTicket)
	_, err = a.Redeem(ctx, link, secret.New("alice123"), b.from)
	want(t, "own name", err, password.ErrName)
	var wg sync.WaitGroup
	var errs [2]error
	for i := range errs {
		wg.Go(func() { _, errs[i] = b.nodes[i].Redeem(ctx, link, secret.New(good), b.from) })
	}
	wg.Wait()
	if (errs[0] == nil) == (errs[1] == nil) {
		t.Errorf("%v", errs)
	}
	link = must[secret.String](b)(a.Invite(ctx, "usr_a"))
	b.pass(account.LinkLife)
	_, err = a.Redeem(ctx, link, secret.New(good), b.from)
	want(t, "after an hour", err, account.ErrTicket)
	put(b, directory.User{ID: "usr_s", Tenant: "acme", UserName: "sso", Name: "S", Origin: directory.OriginOIDC, Active: true})
	if _, err := a.Invite(ctx, "usr_s"); err == nil {
		t.Error("a password gets around the identity provider")
	}
	if n, err := a.Sweep(ctx); n == 0 || err != nil {
		t.Error(n, err)
	}
}

// A ticket is good for one thing, and a link does not get past a second factor.
func TestNoStepIsLeftOut(t *testing.T) {
	b := open(t)
	seed, _ := b.enrol()
	a, ctx := b.nodes[0], t.Context()
	link := must[secret.String](b)(a.Invite(ctx, "usr_a"))
	_, _, err := a.EnrolTOTP(ctx, link)
	want(t, "enrol with a link", err, account.ErrTicket)
	_, err = a.Second(ctx, link, b.code(seed), b.from)
	want(t, "second factor with a link", err, account.ErrTicket)
	s := must[account.Step](b)(a.Redeem(ctx, link, secret.New(good+"!"), b.from))
	if s.Next != account.NextSecond {
		t.Fatalf("%+v", s)
	}
	_, _, err = a.EnrolTOTP(ctx, s.Ticket)
	want(t, "enrol in place of the second factor", err, account.ErrTicket)
	_, err = a.ConfirmTOTP(ctx, s.Ticket, b.code(seed), b.from)
	want(t, "confirm in place of the second factor", err, account.ErrTicket)
	for _, code := range []string{"", "000000", "abcdef", strings.Repeat("Z", 20)} {
		if _, err := a.Second(ctx, s.Ticket, code, b.from); err == nil {
			t.Errorf("%q", code)
		}
	}
	b.pass(account.TicketLife)
	_, err = a.Second(ctx, s.Ticket, b.code(seed), b.from)
	want(t, "after 5 minutes", err, account.ErrTicket)
}

func TestAChangedPasswordEndsAllElse(t *testing.T) {
	b := open(t)
	seed, thief := b.enrol()
	a, ctx := b.nodes[0], t.Context()
	in := must[account.Step](b)(a.Second(ctx, b.signIn().Ticket, b.code(seed), b.from))
	under := b.signIn()
	b.pass(6 * time.Minute)
	_, _, err := a.ChangePassword(ctx, in.Token, secret.New(good), secret.New("green kettle on the roof"), b.from)
	want(t, "not fresh", err, account.ErrFresh)
	_, err = a.NewRecovery(ctx, in.Token, b.from)
	want(t, "not fresh", err, account.ErrFresh)
	_, err = a.ReplaceSecond(ctx, in.Token)
	want(t, "not fresh", err, account.ErrFresh)
	_, up, err := a.StepUp(ctx, in.Token, b.code(seed), b.from)
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = a.Session(ctx, in.Token)
	want(t, "token before the step-up", err, session.ErrNone)
	_, _, err = a.StepUp(ctx, up, b.code(seed), b.from)
	want(t, "a code again", err, account.ErrRefused)
	_, _, err = a.ChangePassword(ctx, up, secret.New("wrong password here"), secret.New("green kettle on the roof"), b.from)
	want(t, "wrong old password", err, account.ErrRefused)
	_, _, err = a.ChangePassword(ctx, up, secret.New(good), secret.New("Password123!"), b.from)
	want(t, "a common one", err, password.ErrCommon)
	_, _, err = a.ChangePassword(ctx, up, secret.New(good), secret.New("alice"+"2031!"), b.from)
	want(t, "one's own name", err, password.ErrName)
	under = b.signIn()
	_, tok, err := a.ChangePassword(ctx, up, secret.New(good), secret.New("green kettle on the roof"), b.from)
	if err != nil {
		t.Fatal(err)
	}
	for what, old := range map[string]secret.String{"other session": thief.Token, "own old token": up} {
		_, _, err := b.nodes[1].Session(ctx, old)
		want(t, what, err, session.ErrNone)
	}
	b.pass(30 * time.Second)
	_, err = a.Second(ctx, under.Ticket, b.code(seed), b.from)
	want(t, "sign-in with the old password", err, account.ErrTicket)
	if _, _, err := a.Session(ctx, tok); err != nil {
		t.Error(err)
	}
}

// Guesses of the password are counted over all nodes, and who has guessed on one waits on the other.
func TestGuessesOverAllNodes(t *testing.T) {
	b := open(t)
	b.enrol()
	b.pass(time.Hour)
	evaluated := 0
	for i := range 20 {
		_, err := b.nodes[i%len(b.nodes)].SignIn(t.Context(), "acme", "alice", secret.New("not this one, either"), b.from)
		var w *account.WaitError
		if errors.Is(err, account.ErrRefused) {
			evaluated++
		} else if !errors.As(err, &w) {
			t.Fatal(err)
		}
	}
	if evaluated != throttle.Free {
		t.Errorf("%d guesses at once", evaluated)
	}
}

// Where tries cannot be counted nothing is tried: neither a right password nor a code, a link's or a passkey's.
func TestNothingIsTriedWithoutTheCount(t *testing.T) {
	b := open(t)
	b.enrol()
	link := must[secret.String](b)(b.nodes[0].ResetSecond(t.Context(), "usr_a"))
	b.pass(time.Minute)
	b.tries.err = errors.New("boom")
	n := b.nodes[0]
	for what, f := range map[string]func() error{
		"password": func() error {
			_, err := n.SignIn(t.Context(), "acme", "alice", secret.New(good), b.from)
			return err
		},
		"nobody": func() error {
			_, err := n.SignIn(t.Context(), "acme", "nobody", secret.New(good), b.from)
			return err
		},
		"reset": func() error {
			_, err := n.RedeemReset(t.Context(), link, secret.New(good), b.from)
			return err
		},
		"passkey": func() error { _, err := n.AskSignIn(t.Context(), b.from); return err },
	} {
		if err := f(); !errors.Is(err, b.tries.err) {
			t.Errorf("%s: %v", what, err)
		}
	}
	b.tries.err = nil
	if _, err := n.SignIn(t.Context(), "acme", "alice", secret.New(good), b.from); !errors.Is(err, account.ErrLink) {
		t.Errorf("when it is back: %v", err)
	}
}

// Guesses of the second factor are counted by person, over all their tickets.
func TestGuessesOfTheSecondFactor(t *testing.T) {
	b := open(t)
	_, done := b.enrol()
	b.pass(time.Hour)
	thief := b.from
	evaluated := 0
	for i := range 30 {
		thief.Addr = netip.AddrFrom4([4]byte{10, 0, byte(i), 1})
		own := b.from
		own.Device = done.Device
		node := b.nodes[i%len(b.nodes)]
		s := must[account.Step](b)(node.SignIn(t.Context(), "acme", "alice", secret.New(good), own)) // he has the password
		if _, err := node.Second(t.Context(), s.Ticket, "000000", thief); errors.Is(err, account.ErrRefused) {
			evaluated++
		}
	}
	if evaluated > throttle.Free {
		t.Errorf("%d guesses at once", evaluated)
	}
	var w *account.WaitError
	if _, err := b.nodes[0].Second(t.Context(), b.signIn().Ticket, "000000", thief); !errors.As(err, &w) {
		t.Errorf("%v", err)
	}
}

func TestEveryUseOfABreakGlassAccountIsAnEvent(t *testing.T) {
	b := open(t)
	seed, _ := b.enrol()
	document.Update(t.Context(), b.store, "usr_a", 0, func(u *directory.User) error { u.BreakGlass = true; return nil })
	uses := func() (n int) {
		for _, e := range b.events {
			if e.Name == "break_glass.used" {
				n++
			}
		}
		return n
	}
	before := uses()
	b.nodes[0].SignIn(t.Context(), "acme", "alice", secret.New("wrong password here"), b.from)
	s := b.signIn()
	in := must[account.Step](b)(b.nodes[0].Second(t.Context(), s.Ticket, b.code(seed), b.from))
	b.pass(time.Minute)
	if _, _, err := b.nodes[0].StepUp(t.Context(), in.Token, b.code(seed), b.from); err != nil {
		t.Fatal(err)
	}
	if n := uses() - before; before != 0 || n != 5 { // wrong, password, second, session, step-up
		t.Errorf("%d then %d", before, n)
	}
}
