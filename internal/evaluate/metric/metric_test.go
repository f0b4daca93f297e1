package metric

import (
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func near(a, b, eps float64) bool { return math.Abs(a-b) <= eps }

func TestAUCByHand(t *testing.T) {
	for _, c := range []struct {
		pos, neg []float64
		want     float64
		ok       bool
	}{
		{[]float64{2, 3}, []float64{0, 1}, 1, true},
		{[]float64{0, 1}, []float64{2, 3}, 0, true},
		{[]float64{5}, []float64{5}, .5, true},
		{[]float64{5, 5, 5}, []float64{5, 5}, .5, true},
		{[]float64{1, 3}, []float64{2, 3}, (0 + 0 + 1 + .5) / 4, true},
		{[]float64{.1, .4, .35, .8}, []float64{.2, .4}, (0 + 0 + 1 + .5 + 1 + 0 + 1 + 1) / 8, true},
		{nil, []float64{1}, 0, false},
		{[]float64{1}, nil, 0, false},
		{nil, nil, 0, false},
	} {
		got, ok := AUC(c.pos, c.neg)
		if !near(got, c.want, 1e-12) || ok != c.ok {
			t.Errorf("AUC(%v, %v) = %v %v, want %v %v", c.pos, c.neg, got, ok, c.want, c.ok)
		}
	}
}

// scores has many ties.
var scores = rapid.SliceOfN(rapid.Custom(func(t *rapid.T) float64 {
	return float64(rapid.IntRange(-3, 12).Draw(t, "s")) / 10
}), 0, 60)

func TestAUCIsTheShareOfPairsWon(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pos, neg := scores.Draw(t, "pos"), scores.Draw(t, "neg")
		won := 0.0
		for _, p := range pos {
			for _, n := range neg {
				switch {
				case p > n:
					won++
				case p == n:
					won += .5
				}
			}
		}
		got, ok := AUC(pos, neg)
		if ok != (len(pos) > 0 && len(neg) > 0) {
			t.Fatalf("ok is %v", ok)
		}
		if ok && !near(got, won/float64(len(pos)*len(neg)), 1e-12) {
			t.Fatalf("%v, pair by pair %v", got, won/float64(len(pos)*len(neg)))
		}
	})
}

func TestThresholdByHand(t *testing.T) {
	hundred := make([]float64, 100)
	for i := range hundred {
		hundred[i] = float64(i)
	}
	seven := make([]float64, 700)
	for i := range seven {
		seven[i] = float64(i)
	}
	for _, c := range []struct {
		neg  []float64
		fpr  float64
		want float64
	}{
		{hundred, .01, 98}, // 99 alone is above
		{hundred, .001, 99},
		{hundred, .5, 49},
		{seven, .01, 692}, // seven above, although .01*700 is 7.000000000000001 or less
		{[]float64{0, 0, 0, 1, 1}, .2, 1},
		{[]float64{0, 0, 0, 1, 1}, .4, 0},
		{[]float64{5, 5, 5}, .5, 5},
		{[]float64{1}, .01, 1},
	} {
		if got, ok := Threshold(c.neg, c.fpr); got != c.want || !ok {
			t.Errorf("Threshold(%d, %v) = %v %v, want %v", len(c.neg), c.fpr, got, ok, c.want)
		}
	}
	for _, fpr := range []float64{-1, 1, 2} {
		if _, ok := Threshold(hundred, fpr); ok {
			t.Errorf("a rate of %v was accepted", fpr)
		}
	}
	if _, ok := Threshold(nil, .01); ok {
		t.Error("a threshold on nothing")
	}
}

func TestThresholdIsTheLowestWithinBudget(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		neg := scores.Filter(func(s []float64) bool { return len(s) > 0 }).Draw(t, "neg")
		fpr := float64(rapid.IntRange(0, 99).Draw(t, "percent")) / 100
		before := slices.Clone(neg)
		got, ok := Threshold(neg, fpr)
		if !ok || !slices.Equal(neg, before) {
			t.Fatal("no threshold, or the scores were moved")
		}
		share := func(at float64) float64 {
			k := 0
			for _, s := range neg {
				if s > at {
					k++
				}
			}
			return float64(k) / float64(len(neg))
		}
		if share(got) > fpr+1e-9 {
			t.Fatalf("%v are above %v, budget %v", share(got), got, fpr)
		}
		if lower := math.Nextafter(got, math.Inf(-1)); share(lower) <= fpr-1e-9 {
			t.Fatalf("a lower threshold is within the budget too")
		}
	})
}

// Values of R's binom::binom.wilson and of Newcombe, Statistics in Medicine 17 (1998), table I,
// method 3.
func TestWilsonPublished(t *testing.T) {
	for _, c := range []struct {
		k, n      int
		low, high float64
	}{
		{81, 263, .2553, .3662},
		{15, 148, .0624, .1605},
		{0, 20, 0, .1611},
		{1, 29, .0061, .1718},
		{29, 29, .8830, 1},
		{5, 10, .2366, .7634},
	} {
		r := Wilson(c.k, c.n)
		if !near(r.Low, c.low, 5e-5) || !near(r.High, c.high, 5e-5) || r.K != c.k || r.N != c.n {
			t.Errorf("Wilson(%d, %d) = %+v, want %v to %v", c.k, c.n, r, c.low, c.high)
		}
	}
	if Wilson(0, 0) != nil {
		t.Error("a rate of nothing")
	}
}

func TestWilsonHoldsTheRate(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 100000).Draw(t, "n")
		k := rapid.IntRange(0, n).Draw(t, "k")
		r := Wilson(k, n)
		if !(0 <= r.Low && r.Low <= r.Rate && r.Rate <= r.High && r.High <= 1) {
			t.Fatalf("%+v", r)
		}
	})
}

func TestQuantile(t *testing.T) {
	ten := []float64{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}
	for _, c := range []struct{ q, want float64 }{{.5, 5}, {.9, 9}, {.99, 10}, {0, 1}, {1, 10}, {.1, 1}, {.11, 2}} {
		if got := Quantile(ten, c.q); got != c.want {
			t.Errorf("Quantile(%v) = %v, want %v", c.q, got, c.want)
		}
	}
	if Quantile(nil, .5) != 0 || Quantile([]float64{7}, .99) != 7 {
		t.Error("of nothing, or of one")
	}
}

func TestROC(t *testing.T) {
	got := ROC([]float64{.9, .8, .3}, []float64{.7, .3, .1, .1}, 100)
	want := []Point{{0, 0}, {0, 2. / 3}, {.25, 2. / 3}, {.5, 1}, {1, 1}, {1, 1}}
	if !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if ROC(nil, []float64{1}, 10) != nil || ROC([]float64{1}, nil, 10) != nil {
		t.Error("a curve of one side")
	}
	rapid.Check(t, func(t *rapid.T) {
		c := ROC(scores.Draw(t, "pos"), scores.Draw(t, "neg"), rapid.IntRange(1, 50).Draw(t, "most"))
		for i := range c {
			if i > 0 && (c[i].FPR < c[i-1].FPR || c[i].Recall < c[i-1].Recall) {
				t.Fatalf("goes back: %v", c)
			}
		}
		if len(c) > 0 && (c[0] != Point{} && c[0].FPR != 0 || c[len(c)-1] != Point{1, 1}) {
			t.Fatalf("ends: %v", c)
		}
	})
}

func TestCalibration(t *testing.T) {
	c := Calibration([]float64{.95, .95, .15}, []float64{.15, .95, 1}, 10)
	// [.1,.2): 1 of 2, mean .15, off by .35; [.9,1]: 2 of 4, mean .9625, off by .4625.
	if !near(c.ECE, (.35*2+.4625*4)/6, 1e-12) {
		t.Errorf("ECE %v", c.ECE)
	}
	if want := (.05*.05*2 + .85*.85 + .15*.15 + .95*.95 + 1) / 6; !near(c.Brier, want, 1e-12) {
		t.Errorf("Brier %v, want %v", c.Brier, want)
	}
	if b := c.Bins[9]; b.Attacks.K != 2 || b.Attacks.N != 4 || !near(b.Mean, .9625, 1e-12) {
		t.Errorf("%+v", b)
	}
	if c.Bins[0].Attacks != nil {
		t.Error("an empty bin has a rate")
	}
	for _, bad := range []float64{-.1, 1.1, math.NaN(), math.Inf(1)} {
		if Calibration([]float64{bad}, []float64{.5}, 10) != nil {
			t.Errorf("%v is not a probability", bad)
		}
	}
	if Calibration(nil, nil, 10) != nil {
		t.Error("calibration of nothing")
	}
}

func TestHistogram(t *testing.T) {
	if got := Histogram([]float64{-1, 0, .049, .05, .5, .999, 1, 3}, 20); got[0] != 3 || got[1] != 1 || got[10] != 1 || got[19] != 3 {
		t.Errorf("%v", got)
	}
}

func TestMean(t *testing.T) {
	if m, ok := Mean([]float64{1, 2, 6}); m != 3 || !ok {
		t.Error(m)
	}
	if _, ok := Mean(nil); ok {
		t.Error("the mean of nothing")
	}
}
