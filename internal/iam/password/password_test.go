package password

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sallyport.dev/sallyport/internal/secret"
)

func pw(s string) secret.String { return secret.New(s) }

func TestHashAndVerify(t *testing.T) {
	h, ctx := New(Options{}), t.Context()
	a, err := h.Hash(ctx, pw("blue kettle on the roof"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(a, "$argon2id$v=19$m=19456,t=2,p=1$") {
		t.Errorf("parameters: %s", a)
	}
	b, _ := h.Hash(ctx, pw("blue kettle on the roof"))
	if a == b {
		t.Error("two hashes of one password are the same: no salt")
	}
	for guess, want := range map[string]bool{
		"blue kettle on the roof": true, "blue kettle on the Roof": false, "": false, "blue kettle on the roof ": false,
		strings.Repeat("x", MaxLen+1): false,
	} {
		ok, rehash, err := h.Verify(ctx, a, pw(guess))
		if err != nil || ok != want || rehash {
			t.Errorf("%q: %v %v %v", guess, ok, rehash, err)
		}
	}
	if ok, _, err := h.Verify(ctx, h.Dummy(), pw("blue kettle on the roof")); ok || err != nil {
		t.Errorf("dummy: %v %v", ok, err)
	}
	// The reference implementation's own vector (phc-winner-argon2, test.c, argon2id m=2^16 t=2 p=1).
	const vector = "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"
	if ok, rehash, err := h.Verify(ctx, vector, pw("password")); !ok || err != nil || !rehash {
		t.Errorf("vector: %v %v %v (a salt of 8 bytes is to be made anew)", ok, rehash, err)
	}
}

func TestAWeakerHashIsMadeAnew(t *testing.T) {
	p := params{minMemory, 1, 1}
	salt := random(saltLen)
	old := encode(p, salt, p.sum(pw("blue kettle on the roof"), salt, sumLen))
	h := New(Options{})
	if ok, rehash, err := h.Verify(t.Context(), old, pw("blue kettle on the roof")); !ok || !rehash || err != nil {
		t.Errorf("%v %v %v", ok, rehash, err)
	}
	if ok, rehash, _ := h.Verify(t.Context(), old, pw("another one altogether")); ok || rehash {
		t.Error("a wrong password asks for a new hash")
	}
}

func TestAnEmptyPasswordNeverMatches(t *testing.T) {
	p := params{Memory, Time, Threads}
	salt := random(saltLen)
	stored := encode(p, salt, p.sum(secret.String{}, salt, sumLen))
	for _, guess := range []string{"", strings.Repeat("x", MaxLen+1)} {
		if ok, _, err := New(Options{}).Verify(t.Context(), stored, pw(guess)); ok || err != nil {
			t.Errorf("%d bytes: %v %v", len(guess), ok, err)
		}
	}
}

func TestWhatIsReadBackIsBounded(t *testing.T) {
	const salt, sum = "c29tZXNhbHRzb21lc2FsdA", "CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"
	for _, s := range []string{
		"", "x", "$argon2id$v=19$m=19456,t=2,p=1$" + salt, "$argon2i$v=19$m=19456,t=2,p=1$" + salt + "$" + sum,
		"$argon2id$v=16$m=19456,t=2,p=1$" + salt + "$" + sum,
		"$argon2id$v=19$m=4294967295,t=2,p=1$" + salt + "$" + sum, // 4 TiB
		"$argon2id$v=19$m=1048576,t=2,p=1$" + salt + "$" + sum,
		"$argon2id$v=19$m=8,t=1,p=1$" + salt + "$" + sum,
		"$argon2id$v=19$m=19456,t=4000000000,p=1$" + salt + "$" + sum,
		"$argon2id$v=19$m=19456,t=0,p=1$" + salt + "$" + sum, // would panic
		"$argon2id$v=19$m=19456,t=2,p=0$" + salt + "$" + sum, // would panic
		"$argon2id$v=19$m=19456,t=2,p=255$" + salt + "$" + sum,
		"$argon2id$v=19$m=19456,t=2,p=257$" + salt + "$" + sum,
		"$argon2id$v=19$m=19456,t=2$" + salt + "$" + sum,
		"$argon2id$v=19$m=19456,t=2,p=1,x=1$" + salt + "$" + sum,
		"$argon2id$v=19$t=2,m=19456,p=1$" + salt + "$" + sum,
		"$argon2id$v=19$m=019456,t=2,p=1$" + salt + "$" + sum,
		"$argon2id$v=19$m=19456,t=2,p=1$" + salt + "$",
		"$argon2id$v=19$m=19456,t=2,p=1$$" + sum,
		"$argon2id$v=19$m=19456,t=2,p=1$" + salt + "$AAAA",
		"$argon2id$v=19$m=19456,t=2,p=1$" + salt + "$" + sum + "=",
		"$argon2id$v=19$m=19456,t=2,p=1$" + salt + "$" + sum + "\n",
	} {
		if ok, _, err := New(Options{}).Verify(t.Context(), s, pw("blue kettle on the roof")); err == nil || ok {
			t.Errorf("%q is taken", s)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add("$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc")
	f.Add("$argon2id$v=19$m=,t=,p=$$")
	f.Add("$$$$$")
	f.Fuzz(func(t *testing.T, s string) {
		p, salt, sum, err := decode(s)
		if err == nil && (encode(p, salt, sum) != s || p.memory > maxMemory || p.time == 0 || p.threads == 0) {
			t.Errorf("%q", s)
		}
	})
}

func TestOnlySoManyAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := New(Options{Wait: time.Second})
		var now, most, busy atomic.Int32
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() {
				err := h.run(t.Context(), func() {
					most.Store(max(most.Load(), now.Add(1)))
					time.Sleep(100 * time.Millisecond)
					now.Add(-1)
				})
				if errors.Is(err, ErrBusy) {
					busy.Add(1)
				} else if err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if most.Load() != 4 {
			t.Errorf("%d at once", most.Load())
		}
		// 1 s of waiting and 100 ms each: 40 begin before, 4 as it ends or not at all.
		if b := busy.Load(); b < 56 || b > 60 {
			t.Errorf("%d refused", b)
		}
	})
}

func TestAWaitEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := New(Options{AtOnce: 1, Wait: time.Hour})
		go h.run(t.Context(), func() { time.Sleep(time.Minute) })
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := h.Hash(ctx, pw("x")); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
		time.Sleep(time.Hour)
	})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := New(Options{}).Verify(ctx, New(Options{}).Dummy(), pw("x")); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

// 1,000 sign-ins at once must not take 19 GiB.
func TestManySignInsDoNotTakeTheMemory(t *testing.T) {
	h := New(Options{Wait: 300 * time.Millisecond})
	var peak atomic.Uint64
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			peak.Store(max(peak.Load(), m.HeapAlloc))
			select {
			case <-stop:
				return
			case <-time.After(5 * time.Millisecond):
			}
		}
	}()
	var wg sync.WaitGroup
	var evaluated, busy atomic.Int32
	for range 1000 {
		wg.Go(func() {
			switch _, _, err := h.Verify(t.Context(), h.Dummy(), pw("blue kettle")); {
			case err == nil:
				evaluated.Add(1)
			case errors.Is(err, ErrBusy):
				busy.Add(1)
			default:
				t.Error(err)
			}
		})
	}
	wg.Wait()
	close(stop)
	<-done
	t.Logf("%d checked, %d refused, heap at most %d MiB", evaluated.Load(), busy.Load(), peak.Load()>>20)
	if evaluated.Load() == 0 || busy.Load() == 0 || peak.Load() > 256<<20 {
		t.Error("the bound does not hold")
	}
}

func TestCheck(t *testing.T) {
	for s, want := range map[string]error{
		"short": ErrShort, "": ErrShort, "äöüäöüä": ErrShort, strings.Repeat("ab9 ", 65): ErrLong, "abcd\xffefgh": ErrText,
		"password": ErrCommon, "PassWord": ErrCommon, "P@ssw0rd": ErrCommon, "password2026!": ErrCommon, "iloveyou99": ErrCommon,
		"correcthorsebatterystaple": ErrCommon, "administrator": ErrCommon,
		"aaaaaaaaaaaa": ErrCommon, "abcabcabcabc": ErrCommon, "12345678": ErrCommon, "hgfedcba": ErrCommon, "qwertyuiop": ErrCommon,
		"1q2w3e4r5t6y": ErrCommon, "lkjhgfdsa": ErrCommon, "abababab": ErrCommon, "1234123412341234": ErrCommon,
		"alice.smith": ErrName, "Alice2026": ErrName, "smith1234": ErrName, "example-99": ErrName, "alice@example.com": ErrName,
		"alice likes blue kettles": nil, "blue kettle on the roof": nil, "Tr0ub4dor&3x": nil, "zwölf Boxkämpfer": nil,
	} {
		if err := Check(pw(s), "alice.smith", "Alice Smith", "alice@example.com"); !errors.Is(err, want) {
			t.Errorf("%q: %v, not %v", s, err, want)
		}
	}
	if err := Check(pw("blue kettle on the roof"), "", " ", "@", "..."); err != nil {
		t.Error(err)
	}
	if n := len(common()); n < 500 {
		t.Errorf("only %d common passwords", n)
	}
}

// The unknown user's check must cost what the known one's does.
func TestTheDummyCostsTheSame(t *testing.T) {
	h := New(Options{})
	real, _ := h.Hash(t.Context(), pw("blue kettle on the roof"))
	p, salt, sum, err := decode(real)
	q, salt2, sum2, err2 := decode(h.Dummy())
	if err != nil || err2 != nil || p != q || len(salt) != len(salt2) || len(sum) != len(sum2) {
		t.Errorf("%v %v", p, q)
	}
}

func BenchmarkVerify(b *testing.B) {
	h := New(Options{})
	for b.Loop() {
		h.Verify(b.Context(), h.Dummy(), pw("x"))
	}
}

func ExampleCheck() {
	fmt.Println(Check(secret.New("password1")))
	// Output: password: it is among those that are guessed first; choose another
}
