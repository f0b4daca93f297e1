// Package metric holds the figures by which a detector is judged: area under the ROC curve,
// thresholds at a false-positive rate, rates with confidence intervals, calibration, percentiles.
// It knows nothing of rows. Whatever cannot be computed is absent, never NaN.
package metric

import (
	"cmp"
	"math"
	"slices"
)

// AUC is the probability that a random positive scores higher than a random negative, ties counting
// one half (Mann-Whitney U). ok is false when either side is empty.
func AUC(pos, neg []float64) (auc float64, ok bool) {
	if len(pos) == 0 || len(neg) == 0 {
		return 0, false
	}
	type item struct {
		score float64
		pos   bool
	}
	all := make([]item, 0, len(pos)+len(neg))
	for _, s := range pos {
		all = append(all, item{s, true})
	}
	for _, s := range neg {
		all = append(all, item{s, false})
	}
	slices.SortFunc(all, func(a, b item) int { return cmp.Compare(a.score, b.score) })
	// Twice the number of pairs won, in whole numbers: exact, and the same whatever the order of ties.
	var wins, below uint64
	for i := 0; i < len(all); {
		var p, n uint64
		j := i
		for ; j < len(all) && all[j].score == all[i].score; j++ {
			if all[j].pos {
				p++
			} else {
				n++
			}
		}
		wins += p * (2*below + n)
		below += n
		i = j
	}
	return float64(wins) / 2 / float64(len(pos)) / float64(len(neg)), true
}

// Threshold is the lowest t such that at most the share fpr of neg scores above t: a detector that
// flags score > t keeps within the budget. ok is false when neg is empty.
func Threshold(neg []float64, fpr float64) (t float64, ok bool) {
	if len(neg) == 0 || fpr < 0 || fpr >= 1 {
		return 0, false
	}
	s := slices.Clone(neg)
	slices.Sort(s)
	// 0.01 is not exactly a hundredth: 1 % of 700 rows is 7, not 6.
	k := min(int(math.Floor(fpr*float64(len(s))+1e-9)), len(s)-1)
	return s[len(s)-1-k], true
}

// Rate is a share with its Wilson 95 % confidence interval.
type Rate struct {
	K    int     `json:"k"`
	N    int     `json:"n"`
	Rate float64 `json:"rate"`
	Low  float64 `json:"low"`
	High float64 `json:"high"`
}

const z95 = 1.959963984540054

// Wilson is k of n with the score interval of E. B. Wilson (1927), without continuity correction. It
// is nil when n is 0.
func Wilson(k, n int) *Rate {
	if n <= 0 {
		return nil
	}
	p, m := float64(k)/float64(n), float64(n)
	den := 1 + z95*z95/m
	mid := (p + z95*z95/(2*m)) / den
	half := z95 / den * math.Sqrt(p*(1-p)/m+z95*z95/(4*m*m))
	r := &Rate{k, n, p, max(0, mid-half), min(1, mid+half)}
	if k == 0 { // exactly, whatever rounding says
		r.Low = 0
	}
	if k == n {
		r.High = 1
	}
	return r
}

// Quantile is the smallest value that at least the share q of sorted does not exceed (nearest rank).
// It is 0 of nothing.
func Quantile(sorted []float64, q float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	i := int(math.Ceil(q*float64(len(sorted))-1e-9)) - 1
	return sorted[min(max(i, 0), len(sorted)-1)]
}

// Mean is the average, and whether there is one.
func Mean(xs []float64) (float64, bool) {
	if len(xs) == 0 {
		return 0, false
	}
	sum := 0.0
	for _, x := range xs {
		sum += x
	}
	return sum / float64(len(xs)), true
}
