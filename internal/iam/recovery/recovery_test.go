package recovery

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"sallyport.dev/sallyport/internal/iam/document"
	"sallyport.dev/sallyport/internal/store/memory"
)

type row struct {
	User string `json:"user"`
	Set
}

func (r row) Head() document.Head { return document.Head{Kind: "row", ID: r.User} }

var errNo = errors.New("no")

// Fails when Spend leaves the hash where it is.
func TestEachCodeWorksOnce(t *testing.T) {
	codes, set := New("u")
	if len(codes) != Count || set.Left() != Count {
		t.Fatal(len(codes))
	}
	store := &memory.Documents{}
	if _, err := document.Insert(t.Context(), store, row{"u", set}); err != nil {
		t.Fatal(err)
	}
	for i, c := range codes {
		var won atomic.Int32
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				_, _, _, err := document.Update(context.Background(), store, "u", 0, func(r *row) error {
					if !r.Spend("u", c.Reveal()) {
						return errNo
					}
					return nil
				})
				if err == nil {
					won.Add(1)
				} else if !errors.Is(err, errNo) {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		r, _, err := document.Get[row](t.Context(), store, "u")
		if err != nil || won.Load() != 1 || r.Left() != Count-1-i {
			t.Fatalf("taken %d times, %d left, %v", won.Load(), r.Left(), err)
		}
	}
}

func TestAsPeopleWriteThem(t *testing.T) {
	codes, set := New("u")
	for i, f := range []func(string) string{strings.ToLower, func(s string) string { return strings.ReplaceAll(s, "-", " ") },
		func(s string) string { return strings.ReplaceAll(s, "-", "") }, func(s string) string { return " " + strings.ReplaceAll(s, "0", "o") + " " },
		func(s string) string { return strings.ReplaceAll(s, "1", "l") }} {
		if c := f(codes[i].Reveal()); !Looks(c) || !set.Spend("u", c) {
			t.Error(i)
		}
	}
}

func TestWhatIsNoCode(t *testing.T) {
	codes, set := New("u")
	other, _ := New("u")
	for _, c := range []string{"", "-", "123456", other[0].Reveal(), codes[0].Reveal()[:22], codes[0].Reveal() + "0", strings.Repeat("0", 1<<16), "UUUUU-UUUUU-UUUUU-UUUUU", string(set.Hashes[0])} {
		if set.Spend("u", c) {
			t.Errorf("%q is taken", c)
		}
	}
	if set.Spend("somebody else", codes[0].Reveal()) {
		t.Error("a code of another person is taken")
	}
	if set.Left() != Count {
		t.Error("a wrong code used one up")
	}
	seen := map[string]bool{}
	for _, c := range append(codes, other...) {
		seen[c.Reveal()] = true
	}
	if len(seen) != 2*Count {
		t.Error("codes repeat")
	}
}
