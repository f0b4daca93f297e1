package frame

import (
	"math/rand/v2"
	"strings"
	"testing"
)

func TestEveryFrameHoldsTheRequest(t *testing.T) {
	for i, f := range frames {
		for seed := range uint64(20) {
			r := rand.New(rand.NewPCG(seed, 1))
			out := fill(r, f, "Water the roses in the garden.", 0)
			if !strings.Contains(strings.ToLower(out), "water the roses in the garden") || strings.ContainsAny(out, "{}") {
				t.Fatalf("frame %d: %q", i, out)
			}
		}
	}
	if Frames() < 30 {
		t.Errorf("%d frames", Frames())
	}
}

func TestDressIsDeterministic(t *testing.T) {
	seen := map[string]bool{}
	for seed := range uint64(200) {
		a := Dress(rand.New(rand.NewPCG(seed, 2)), "Name three rivers.")
		if b := Dress(rand.New(rand.NewPCG(seed, 2)), "Name three rivers."); a != b {
			t.Fatalf("%q and %q", a, b)
		}
		seen[a] = true
	}
	if len(seen) < 180 {
		t.Errorf("200 seeds give %d texts", len(seen))
	}
}
