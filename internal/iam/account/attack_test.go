package account_test

import (
	"errors"
	"net/netip"
	"testing"
	"time"

	"sallyport.dev/sallyport/internal/iam/account"
	"sallyport.dev/sallyport/internal/secret"
)

// 1e5 guesses at one account in an hour, from 1,000 addresses in as many networks: at most 100 passwords are
// looked at, and the owner, on the device they always use, signs in in the midst of it with both factors. Fails
// without the throttle.
func TestAnAttackOnOneAccount(t *testing.T) {
	b := open(t)
	seed, done := b.enrol()
	own := b.from
	own.Device = done.Device
	a, ctx := b.nodes[0], t.Context()
	evaluated, waited, signedIn := 0, 0, 0
	for i := range 100_000 {
		b.pass(time.Hour / 100_000)
		from := account.From{Addr: netip.AddrFrom4([4]byte{10, byte(i % 1000 / 250), byte(i % 250), 9})}
		_, err := a.SignIn(ctx, "acme", "alice", secret.New("guess number whatever"), from)
		var w *account.WaitError
		switch {
		case errors.Is(err, account.ErrRefused):
			evaluated++
		case errors.As(err, &w) && w.After > 0:
			waited++
		default:
			t.Fatalf("%v", err)
		}
		if evaluated > 100 {
			t.Fatalf("%d guesses looked at, after %d", evaluated, i)
		}
		if i%20_000 == 10_000 {
			s := must[account.Step](b)(a.SignIn(ctx, "acme", "alice", secret.New(good), own))
			must[account.Step](b)(a.Second(ctx, s.Ticket, b.code(seed), own))
			signedIn++
		}
	}
	t.Logf("%d looked at, %d told to wait, the owner signed in %d times", evaluated, waited, signedIn)
	if evaluated < 10 || signedIn != 5 {
		t.Error("the test attacks nothing")
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if n := len(b.events); n < 100_000 {
		t.Errorf("%d events: tries that nobody looked at are not on the record", n)
	}
}

// A device that the account was never used from, or somebody else's, is in no lane of its own: whoever
// invents a new one for each guess waits like all others.
func TestAnInventedDeviceHasNoLane(t *testing.T) {
	b := open(t)
	b.enrol()
	a, ctx := b.nodes[0], t.Context()
	evaluated := 0
	for i := range 60 {
		from := account.From{Addr: netip.AddrFrom4([4]byte{10, 0, byte(i), 9}), Device: secret.New("an invented device " + string(rune('a'+i%26)) + string(rune('a'+i/26)))}
		if _, err := a.SignIn(ctx, "acme", "alice", secret.New("guess number whatever"), from); errors.Is(err, account.ErrRefused) {
			evaluated++
		}
	}
	if evaluated > 5 {
		t.Errorf("%d guesses of 60 at one moment were looked at", evaluated)
	}
}
