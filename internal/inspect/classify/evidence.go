package classify

import (
	"math"
	"slices"
	"unicode/utf8"
)

// Evidence is what the tiers say about one reading of a text: the row the stacker reads.
type Evidence struct {
	Lexical  float64 `json:"lex"`   // log-odds of the worst window
	Lexical3 float64 `json:"lex3"`  // mean of the three worst
	Encoder  float64 `json:"enc"`   // log-odds of the worst window that it read
	Encoder3 float64 `json:"enc3"`  // mean of the three worst
	Jailbrk  float64 `json:"jail"`  // how much more it is a jailbreak than an injection
	Harm     float64 `json:"harm"`  // log-odds that it asks for harm, attack or not
	Mark     float64 `json:"mark"`  // log-odds of the most marked token
	Rule     float64 `json:"rule"`  // highest score of a rule for attacks
	Windows  int     `json:"n"`     // windows of the text
	Foreign  float64 `json:"alien"` // share of letters outside Latin script
	Decoded  bool    `json:"dec"`   // not the text itself, and not the text with other quotes and dashes
}

// Features is the length of a vector.
const Features = 16

// Vector is the evidence as numbers of similar size.
func (e *Evidence) Vector() (x [Features]float64) {
	n := math.Log1p(float64(e.Windows - 1))
	x[0] = 1
	x[1] = clip(e.Lexical)
	x[2] = clip(e.Encoder)
	x[3] = clip(e.Lexical3)
	x[4] = clip(e.Encoder3)
	x[5] = e.Rule
	x[6] = n
	x[7] = clip(e.Jailbrk)
	x[8] = clip(e.Mark)
	x[9] = e.Foreign
	if e.Decoded {
		x[10] = 1
		x[11] = clip(e.Encoder)
	}
	x[12] = clip(e.Encoder) * n
	x[13] = clip(e.Encoder) * e.Foreign
	x[14] = clip(e.Harm)
	x[15] = clip(e.Lexical) * e.Foreign
	return x
}

func clip(x float64) float64 { return max(-8, min(8, x)) }

// alien is the share of letters that are not of the Latin script, by their first 2,000.
func alien(text string) float64 {
	latin, other := 0, 0
	for i, r := range text {
		if i > 4000 {
			break
		}
		switch {
		case r < utf8.RuneSelf:
			if 'a' <= r|0x20 && r|0x20 <= 'z' {
				latin++
			}
		case r < 0x250:
			latin++
		case r >= 0x370 && r < 0x2000 || r >= 0x2E80 && r < 0xE000 || r >= 0xF900 && r < 0xFE00:
			other++
		}
	}
	if latin+other == 0 {
		return 0
	}
	return float64(other) / float64(latin+other)
}

// worst3 is the highest of xs and the mean of the three highest.
func worst3(xs []float64) (top, mean float64) {
	slices.SortFunc(xs, func(a, b float64) int {
		switch {
		case a > b:
			return -1
		case a < b:
			return 1
		}
		return 0
	})
	n := min(3, len(xs))
	for _, x := range xs[:n] {
		mean += x
	}
	return xs[0], mean / float64(n)
}
