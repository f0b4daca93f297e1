package federation

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unicode"

	"pgregory.net/rapid"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func key(b byte) []byte { return bytes.Repeat([]byte{b}, 32) }

func newSealer(t testing.TB, keys ...[]byte) *Sealer {
	t.Helper()
	s, err := NewSealer(keys...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func login(t testing.TB, a Ask) *Login {
	t.Helper()
	l, err := NewLogin(a, noon)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestSealed(t *testing.T) {
	s := newSealer(t, key(1))
	l := login(t, Ask{Return: "/x", ACR: []string{"a"}, StepUp: true})
	c, err := s.Seal("oidc", "corp", l)
	if err != nil {
		t.Fatal(err)
	}
	got, err := s.Open("oidc", "corp", c, noon.Add(Patience-1))
	if err != nil || got.ID != l.ID || got.Return != "/x" || !got.StepUp {
		t.Fatalf("%+v, %v", got, err)
	}
	again, _ := s.Seal("oidc", "corp", l)
	if again == c {
		t.Error("one login is sealed twice to the same text")
	}
	// A key that is rotated away still opens while it is listed.
	if _, err := newSealer(t, key(2), key(1)).Open("oidc", "corp", c, noon); err != nil {
		t.Error(err)
	}
	for name, open := range map[string]func() (*Login, error){
		"another key":      func() (*Login, error) { return newSealer(t, key(2)).Open("oidc", "corp", c, noon) },
		"another protocol": func() (*Login, error) { return s.Open("saml", "corp", c, noon) },
		"another provider": func() (*Login, error) { return s.Open("oidc", "corp2", c, noon) },
		"too late":         func() (*Login, error) { return s.Open("oidc", "corp", c, noon.Add(Patience)) },
		"padding":          func() (*Login, error) { return s.Open("oidc", "corp", c+"=", noon) },
		"line break":       func() (*Login, error) { return s.Open("oidc", "corp", c[:9]+"\n"+c[9:], noon) },
		"cut":              func() (*Login, error) { return s.Open("oidc", "corp", c[:20], noon) },
		"empty":            func() (*Login, error) { return s.Open("oidc", "corp", "", noon) },
	} {
		var r *Refusal
		if _, err := open(); !errors.As(err, &r) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, keys := range [][][]byte{nil, {key(1)[:31]}, {key(1), nil}} {
		if _, err := NewSealer(keys...); err == nil {
			t.Errorf("%d keys are accepted", len(keys))
		}
	}
}

func TestAskBounds(t *testing.T) {
	for _, a := range []Ask{
		{Return: strings.Repeat("x", 513)}, {ACR: make([]string, 9)}, {ACR: []string{"a\n"}}, {MaxAge: -1}, {MaxAge: time.Millisecond},
		{Subject: strings.Repeat("x", 256)}, {Hint: strings.Repeat("x", 300)},
	} {
		if _, err := NewLogin(a, noon); err == nil {
			t.Errorf("%+v", a)
		}
	}
	// The largest that may be asked for either fits into a cookie or is refused, never cut.
	big := login(t, Ask{Return: strings.Repeat("\x01", 512), Issuer: strings.Repeat("i", 1024), ACR: slices.Repeat([]string{strings.Repeat("a", 256)}, 8)})
	if _, err := newSealer(t, key(1)).Seal("oidc", "corp", big); err == nil {
		t.Error("a cookie that browsers drop")
	}
}

func TestOnce(t *testing.T) {
	now := noon
	var mu sync.Mutex
	m := NewMemory(3, func() time.Time { mu.Lock(); defer mu.Unlock(); return now })
	var wg sync.WaitGroup
	var first atomic.Int32
	for range 50 {
		wg.Go(func() {
			if ok, err := m.First(t.Context(), "a", noon.Add(time.Minute)); ok && err == nil {
				first.Add(1)
			}
		})
	}
	wg.Wait()
	if first.Load() != 1 {
		t.Fatalf("%d were the first", first.Load())
	}
	for _, id := range []string{"b", "c"} {
		if ok, err := m.First(t.Context(), id, noon.Add(time.Hour)); !ok || err != nil {
			t.Fatal(id, err)
		}
	}
	// When it is full it forgets nothing: it would let an assertion in again.
	if ok, err := m.First(t.Context(), "d", noon.Add(time.Hour)); ok || !errors.Is(err, ErrFull) {
		t.Error(ok, err)
	}
	for _, id := range []string{"a", "b", "c"} {
		if ok, err := m.First(t.Context(), id, noon.Add(time.Hour)); ok || err != nil {
			t.Error(id, ok, err)
		}
	}
	mu.Lock()
	now = noon.Add(2 * time.Minute)
	mu.Unlock()
	if ok, err := m.First(t.Context(), "d", noon.Add(time.Hour)); !ok || err != nil {
		t.Error(ok, err)
	}
}

type broken struct{}

func (broken) First(context.Context, string, time.Time) (bool, error) {
	return true, errors.New("away")
}

func TestUseIsClosed(t *testing.T) {
	l := login(t, Ask{})
	var r *Refusal
	if err := l.Use(t.Context(), broken{}); err == nil || errors.As(err, &r) {
		t.Error("a memory that is away lets sign-ins in: ", err)
	}
	m := NewMemory(0, func() time.Time { return noon })
	if err := l.Use(t.Context(), m); err != nil {
		t.Error(err)
	}
	if err := l.Use(t.Context(), m); !errors.As(err, &r) {
		t.Error(err)
	}
}

func TestKeyIsUnambiguous(t *testing.T) {
	a, b := Assertion{Issuer: "https://a", Subject: "b\nc"}, Assertion{Issuer: "https://a\nb", Subject: "c"}
	if a.Key() != b.Key() {
		t.Fatal("the test shows nothing")
	}
	if a.Bound() == nil || b.Bound() == nil {
		t.Error("the separator may stand in a part")
	}
}

// Whatever a provider sends: what is kept is bounded and can be shown, and no group is lost.
func TestBound(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.OneOf(rapid.String(), rapid.StringN(0, 300, 2000), rapid.StringMatching(`[a-z]{0,12}@?[a-z]{0,5}`),
			rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) }))
		groups := rapid.SliceOfN(text, 0, 20).Draw(t, "groups")
		a := Assertion{
			Issuer: text.Draw(t, "issuer"), Subject: text.Draw(t, "subject"), Name: text.Draw(t, "name"), Email: text.Draw(t, "email"), EmailVerified: true,
			Groups: slices.Clone(groups), AMR: rapid.SliceOfN(text, 0, 40).Draw(t, "amr"), ACR: text.Draw(t, "acr"), Session: text.Draw(t, "sid"),
		}
		for range rapid.IntRange(0, 100).Draw(t, "raw") {
			a.Add(text.Draw(t, "name"), rapid.SliceOfN(text, 0, 3).Draw(t, "values")...)
		}
		if a.Bound() != nil {
			return
		}
		for _, g := range groups {
			if !slices.Contains(a.Groups, g) {
				t.Fatalf("group %q is lost", g)
			}
		}
		all := append([]string{a.Issuer, a.Subject, a.Name, a.Email, a.ACR, a.Session}, append(a.AMR, a.Groups...)...)
		for k, v := range a.Raw {
			all = append(append(all, k), v...)
		}
		for _, s := range all {
			if len(s) > MaxIssuer || strings.ContainsFunc(s, unicode.IsControl) || strings.ContainsAny(s, "\u202e\u200b\u2028\ufeff") {
				t.Fatalf("%q is kept", s)
			}
		}
		if len(a.AMR) > 16 || len(a.Raw) > 64 || a.Email == "" && a.EmailVerified {
			t.Fatalf("%+v", a)
		}
	})
}

func FuzzOpen(f *testing.F) {
	s := newSealer(f, key(1), key(2))
	for _, p := range []string{"corp", "other"} {
		c, err := s.Seal("oidc", p, login(f, Ask{Return: p}))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(c)
	}
	f.Add("")
	f.Add(strings.Repeat("A", 64))
	f.Fuzz(func(t *testing.T, c string) {
		l, err := s.Open("oidc", "corp", c, noon)
		if (l == nil) == (err == nil) {
			t.Fatal(l, err)
		}
		if l != nil && l.Return != "corp" {
			t.Fatalf("opened %+v", l)
		}
	})
}

func BenchmarkOpen(b *testing.B) {
	s := newSealer(b, key(1))
	c, _ := s.Seal("oidc", "corp", login(b, Ask{Return: "/x"}))
	for b.Loop() {
		if _, err := s.Open("oidc", "corp", c, noon); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(len(c)), "cookie-bytes")
}

func ExampleAssertion_Key() {
	a := Assertion{Issuer: "https://login.example", Subject: "248289761001", Email: "ada@example.test"}
	fmt.Printf("%q\n", a.Key())
	// Output: "https://login.example\n248289761001"
}
