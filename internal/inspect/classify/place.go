package classify

import (
	"sallyport.dev/sallyport/internal/inspect/lexical"
	"sallyport.dev/sallyport/internal/inspect/sentence"
)

// crossing is how many bytes n-grams reach into a sentence from the one before.
const crossing = 8

// company is how dense a sentence's evidence must be, compared with that of the sentence that says most,
// to be taken for part of the same attack.
const company = 0.2

// pinpoint is the place within a window that makes its score: the sentence that says most, with those
// beside it that say nearly as much for their length. Where no sentence says anything to the lexical tier
// and the range is what the encoder marked, it is that.
func pinpoint(r *lexical.Reader, text string, win Span, marked bool) (start, end int) {
	ps := sentence.Pieces(text, win.Start, win.End)
	core := -1
	var most float32
	density := func(p sentence.Span) float32 { return r.Density(min(p.Start+crossing, p.End), p.End) }
	for i, p := range ps {
		if s := r.Sum(min(p.Start+crossing, p.End), p.End); s > most {
			core, most = i, s
		}
	}
	switch {
	case core < 0 && marked:
		return win.Start, win.End
	case core < 0:
		return r.Hottest(win.Start, win.End)
	}
	least := company * density(ps[core])
	lo, hi := core, core
	for lo > 0 && density(ps[lo-1]) >= least {
		lo--
	}
	for hi+1 < len(ps) && density(ps[hi+1]) >= least {
		hi++
	}
	return ps[lo].Start, ps[hi].End
}
