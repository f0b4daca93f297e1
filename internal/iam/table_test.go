package iam

import (
	"fmt"
	"testing"
	"unsafe"

	"pgregory.net/rapid"
)

// Through any changes a table holds what a map would: the newest of each id, each once, and nothing else. Whatever
// is asked of it and is not there has one stand-in, which is a key that is there.
func TestTableHoldsWhatAMapWould(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var tab *table
		want := map[string]*entry{}
		for range rapid.IntRange(1, 6).Draw(t, "changes") {
			var given []*entry
			for _, n := range rapid.SliceOfN(rapid.IntRange(0, 60), 0, 80).Draw(t, "ids") {
				e := &entry{key: Key{ID: fmt.Sprintf("%012d", n)}}
				given = append(given, e)
				want[e.key.ID] = e
			}
			tab = newTable(tab, given)
			if tab.len() != len(want) {
				t.Fatalf("%d keys, want %d", tab.len(), len(want))
			}
			seen := map[string]bool{}
			for e := range tab.all() {
				if seen[e.key.ID] || want[e.key.ID] != e {
					t.Fatalf("%s twice, or an old one", e.key.ID)
				}
				seen[e.key.ID] = true
			}
			for n := range 90 {
				id := fmt.Sprintf("%012d", n)
				e, known := tab.find(id)
				switch {
				case known != (want[id] != nil), known && e != want[id]:
					t.Fatalf("%s: %v, %v", id, e, known)
				case !known && len(want) == 0 && e != nil:
					t.Fatalf("%s: %v of none", id, e)
				case !known && len(want) > 0 && (e == nil || want[e.key.ID] != e):
					t.Fatalf("%s: what stands in is no key of these", id)
				}
				if again, _ := tab.find(id); again != e {
					t.Fatalf("%s: another one stands in", id)
				}
			}
		}
	})
}

// Keys whose line is full are found in the next ones; one whose sum is another's is not taken in, so that
// the table is made anew with another seed.
func TestTableOverFullLines(t *testing.T) {
	tab := &table{lines: make([]line, 4)}
	sums := map[uint64]*entry{}
	for sum := uint64(3); len(sums) < 11; sum += 4 { // all of the last line
		sums[sum] = &entry{key: Key{ID: fmt.Sprint(sum)}}
		if !tab.put(sum, sums[sum]) {
			t.Fatalf("%d is not taken in", sum)
		}
		if tab.put(sum, &entry{}) {
			t.Fatalf("%d is taken in twice", sum)
		}
	}
	for sum, want := range sums {
		if e, known := tab.at(sum, want.key.ID); !known || e != want {
			t.Errorf("%d is found as %v, %v", sum, e, known)
		}
		if _, known := tab.at(sum, "another"); known {
			t.Errorf("%d is found by another id", sum)
		}
	}
}

func TestALineIsACacheLine(t *testing.T) {
	if n := unsafe.Sizeof(line{}); n != 64 {
		t.Error(n, "bytes")
	}
}
