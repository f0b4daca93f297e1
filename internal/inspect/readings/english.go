package readings

import (
	_ "embed"
	"math"
)

//go:generate go run ./gen english.bin ../../../docs

// english.bin holds letter statistics of English (see gen).
//
//go:embed english.bin
var englishBin []byte

// tri is how much likelier a letter is after the two before it than chance, in eighths of a bit; the
// index is five bits a letter, 0 for what stands between words.
var tri [1 << 15]int8

// letterNo is 1..26 for ASCII letters of either case, else 0.
var letterNo = func() (t [256]uint8) {
	for i := range 26 {
		t['a'+i], t['A'+i] = uint8(i+1), uint8(i+1)
	}
	return
}()

// mono is the same for single letters, for the quick choice of a rotation.
var mono [27]float64

func init() {
	for p := range 27 {
		for q := range 27 {
			for x := range 27 {
				tri[p<<10|q<<5|x] = int8(englishBin[(p*27+q)*27+x])
			}
		}
	}
	// Letter frequencies in per mille (Norvig's count of the Google books corpus).
	for i, f := range []float64{80, 15, 33, 38, 125, 24, 19, 51, 76, 1.6, 5.4, 41, 25, 72, 76, 21, 1.2, 63, 65, 93, 27, 10, 17, 2.3, 17, 0.9} {
		mono[i+1] = math.Log2(f/1000) + math.Log2(26)
	}
}

// score says how much s reads like English: the sum over its letters and word ends in eighths of a
// bit, and how many of them there are. English has about 14 each, chance 0, ciphers below -10.
func score(s string) (sum, n int) {
	idx := 0
	for i := 0; i < len(s); i++ {
		x := int(letterNo[s[i]])
		if x == 0 && idx&31 == 0 {
			continue
		}
		idx = (idx<<5 | x) & 0x7fff
		sum += int(tri[idx])
		n++
	}
	if n > 0 && idx&31 != 0 {
		sum += int(tri[(idx<<5)&0x7fff])
		n++
	}
	return sum, n
}

// likely is the mean of score; text without letters is as likely as chance.
func likely(s string) float64 {
	sum, n := score(s)
	if n == 0 {
		return 0
	}
	return float64(sum) / float64(n)
}
