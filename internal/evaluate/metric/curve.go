package metric

import (
	"math"
	"slices"
)

// Point is a point of a ROC curve.
type Point struct {
	FPR    float64 `json:"fpr"`
	Recall float64 `json:"recall"`
}

// ROC is the curve of every threshold, from (0,0) to (1,1), thinned to about most points that lie
// evenly on a logarithmic axis of false positives. It is nil when either side is empty.
func ROC(pos, neg []float64, most int) []Point {
	if len(pos) == 0 || len(neg) == 0 {
		return nil
	}
	p, n := slices.Clone(pos), slices.Clone(neg)
	slices.Sort(p)
	slices.Sort(n)
	above := func(s []float64, t float64) float64 {
		i, _ := slices.BinarySearchFunc(s, t, func(a, t float64) int {
			if a > t {
				return 1
			}
			return -1
		})
		return float64(len(s)-i) / float64(len(s))
	}
	out := []Point{{0, above(p, n[len(n)-1])}}
	if out[0].Recall > 0 {
		out = slices.Insert(out, 0, Point{})
	}
	step := math.Log(float64(len(n))) / float64(max(most, 2))
	next := 0.0
	for k := 1; k <= len(n); k++ {
		t := n[len(n)-k]
		if k < len(n) && n[len(n)-k-1] == t { // within a tie
			continue
		}
		if math.Log(float64(k)) < next && k < len(n) {
			continue
		}
		next = math.Log(float64(k)) + step
		// All that score t or more are flagged: everything above the next lower float.
		t = math.Nextafter(t, math.Inf(-1))
		out = append(out, Point{above(n, t), above(p, t)})
	}
	return append(out, Point{1, 1})
}

// Bin is one bin of a calibration curve: of the rows whose score lies in it, how many are attacks.
type Bin struct {
	From    float64 `json:"from"`
	To      float64 `json:"to"`
	Mean    float64 `json:"mean_score"`
	Attacks *Rate   `json:"attacks"` // null: no row
}

// Calibration says how far scores are probabilities: as many bins of equal width as asked, the
// expected calibration error (the average distance of score and share, weighted by rows) and the
// Brier score. It holds for the mixture of attacks and benign rows that was measured. It is nil when
// there is no score, or one is not between 0 and 1.
func Calibration(pos, neg []float64, bins int) *Calibrated {
	total := len(pos) + len(neg)
	if total == 0 || bins <= 0 {
		return nil
	}
	c := &Calibrated{Bins: make([]Bin, bins)}
	k, n, sum := make([]int, bins), make([]int, bins), make([]float64, bins)
	add := func(scores []float64, attack float64) bool {
		for _, s := range scores {
			if !(s >= 0 && s <= 1) {
				return false
			}
			b := min(int(s*float64(bins)), bins-1)
			n[b]++
			k[b] += int(attack)
			sum[b] += s
			c.Brier += (s - attack) * (s - attack)
		}
		return true
	}
	if !add(pos, 1) || !add(neg, 0) {
		return nil
	}
	c.Brier /= float64(total)
	for b := range c.Bins {
		c.Bins[b] = Bin{From: float64(b) / float64(bins), To: float64(b+1) / float64(bins), Attacks: Wilson(k[b], n[b])}
		if n[b] > 0 {
			c.Bins[b].Mean = sum[b] / float64(n[b])
			c.ECE += math.Abs(sum[b]-float64(k[b])) / float64(total)
		}
	}
	return c
}

// Calibrated is what Calibration finds.
type Calibrated struct {
	Bins  []Bin   `json:"bins"`
	ECE   float64 `json:"ece"`
	Brier float64 `json:"brier"`
}

// Histogram counts scores in bins of equal width from 0 to 1; what lies outside is in the first or
// the last.
func Histogram(scores []float64, bins int) []int {
	h := make([]int, bins)
	for _, s := range scores {
		h[min(max(int(math.Floor(s*float64(bins))), 0), bins-1)]++
	}
	return h
}
