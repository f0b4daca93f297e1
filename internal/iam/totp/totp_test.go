package totp

import (
	"context"
	"errors"
	"net/url"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sallyport.dev/sallyport/internal/iam/document"
	"sallyport.dev/sallyport/internal/secret"
	"sallyport.dev/sallyport/internal/store/memory"
)

var rfcSeed = secret.New(b32.EncodeToString([]byte("12345678901234567890")))

func TestVectorsOfRFC6238(t *testing.T) {
	for at, want := range map[int64]string{59: "94287082", 1111111109: "07081804", 1111111111: "14050471", 1234567890: "89005924", 2000000000: "69279037", 20000000000: "65353130"} {
		if got := hotp([]byte("12345678901234567890"), at/30, 8); got != want {
			t.Errorf("%d: %s, not %s", at, got, want)
		}
		if s, err := Check(rfcSeed, want[2:], time.Unix(at, 0)); err != nil || s != at/30 {
			t.Errorf("%d: %d %v", at, s, err)
		}
	}
}

func TestOneStepOfSkewAndNoMore(t *testing.T) {
	now := time.Unix(1_800_000_010, 0)
	at := now.Unix() / 30
	for d := int64(-3); d <= 3; d++ {
		s, err := Check(rfcSeed, hotp([]byte("12345678901234567890"), at+d, 6), now)
		if d >= -1 && d <= 1 {
			if err != nil || s != at+d {
				t.Errorf("%+d: %v", d, err)
			}
		} else if !errors.Is(err, ErrWrong) {
			t.Errorf("%+d is taken", d)
		}
	}
}

func TestWhatIsNoCode(t *testing.T) {
	for _, c := range []string{"", "12345", "1234567", "abcdef", "-12345", "12345\x00", "１２３４５６", "000000", strings.Repeat("1", 1<<16)} {
		if _, err := Check(rfcSeed, c, time.Unix(59, 0)); !errors.Is(err, ErrWrong) {
			t.Errorf("%.10q: %v", c, err)
		}
	}
	if _, err := Check(rfcSeed, "287 082", time.Unix(59, 0)); err != nil {
		t.Error("as apps show it:", err)
	}
	for _, s := range []string{"", "AAAA", "!!!!", strings.ToLower(rfcSeed.Reveal())} {
		if _, err := Check(secret.New(s), "000000", time.Now()); err == nil || errors.Is(err, ErrWrong) {
			t.Errorf("the seed %q: %v; a damaged seed is a failure, no wrong code", s, err)
		}
	}
}

type row struct {
	User string `json:"user"`
	Factor
}

func (r row) Head() document.Head { return document.Head{Kind: "row", ID: r.User} }

// Fails without the comparison in Spend.
func TestOneCodeOnTwoNodesIsTakenOnce(t *testing.T) {
	store := &memory.Documents{}
	if _, err := document.Insert(t.Context(), store, row{User: "u"}); err != nil {
		t.Fatal(err)
	}
	for step := int64(100); step < 120; step++ {
		var won atomic.Int32
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				_, _, _, err := document.Update(context.Background(), store, "u", 0, func(r *row) error { return r.Spend(step) })
				switch {
				case err == nil:
					won.Add(1)
				case !errors.Is(err, ErrUsed):
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if won.Load() != 1 {
			t.Fatalf("taken %d times", won.Load())
		}
	}
	f := Factor{Last: 119}
	if f.Spend(118) == nil || f.Spend(119) == nil || f.Spend(120) != nil {
		t.Error("an older code is taken after a newer one")
	}
}

func TestURI(t *testing.T) {
	u, err := url.Parse(URI(rfcSeed, "Sally & Port", "al ice@example.com/?x=1").Reveal())
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	if u.Scheme != "otpauth" || u.Host != "totp" || u.Path != "/Sally & Port:al ice@example.com/?x=1" || len(q) != 5 ||
		q.Get("secret") != rfcSeed.Reveal() || q.Get("issuer") != "Sally & Port" {
		t.Errorf("%v", q)
	}
	a, b := NewSeed(), NewSeed()
	if a.Equal(b) || len(a.Reveal()) != 32 {
		t.Error("seeds")
	}
}

// A real peer: OATH Toolkit.
func TestAgainstOathtool(t *testing.T) {
	tool, err := exec.LookPath("oathtool")
	if err != nil {
		if os.Getenv("SALLYPORT_TEST_REQUIRE") == "all" {
			t.Fatal("no oathtool")
		}
		t.Skip("no oathtool (Debian package oathtool)")
	}
	for i := range 20 {
		seed := NewSeed()
		at := time.Unix(1_700_000_000+int64(i)*86_413, 0)
		cmd := exec.CommandContext(t.Context(), tool, "--totp", "-b", "--now", "@"+strconv.FormatInt(at.Unix(), 10), "-")
		cmd.Stdin = strings.NewReader(seed.Reveal())
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		if s, err := Check(seed, strings.TrimSpace(string(out)), at); err != nil || s != at.Unix()/30 {
			t.Errorf("%s: %v", out, err)
		}
	}
}
