package classify

import (
	"sort"
	"strings"

	"sallyport.dev/sallyport/internal/inspect/token"
)

// leastRun is how many letters without a space are taken for words written together. Some writings (an
// acrostic, letters with a space after each) lose the spaces between words; German does not go so far.
const leastRun = 32

// maxRun bounds a run that is cut at once.
const maxRun = 4096

// otherwise are the readings of a text, each also with its words apart.
func (o *Options) otherwise(text string) (rs []Reading, cut bool) {
	rs, cut = o.Readings(text)
	for i := range rs {
		if r, ok := apart(o.Vocab, &rs[i]); ok {
			rs = append(rs, r)
		}
	}
	return rs, cut
}

// apart is a reading with spaces put between words that were written together; false where there is
// nothing to part.
func apart(v *token.Vocab, r *Reading) (Reading, bool) {
	var b strings.Builder
	var places []int // in what is made, of the spaces put in
	done := 0
	for i := 0; i < len(r.Text); i++ {
		j := i
		for j < len(r.Text) && j-i < maxRun && 'a' <= r.Text[j]|0x20 && r.Text[j]|0x20 <= 'z' {
			j++
		}
		if j-i < leastRun {
			i = max(i, j-1)
			continue
		}
		for _, k := range v.Words(r.Text[i:j]) {
			b.WriteString(r.Text[done : i+k])
			places = append(places, b.Len())
			b.WriteByte(' ')
			done = i + k
		}
		i = j - 1
	}
	if len(places) == 0 {
		return Reading{}, false
	}
	b.WriteString(r.Text[done:])
	back := func(at int) int { return at - sort.SearchInts(places, at) }
	whole := *r
	text := strings.ToLower(b.String())
	return Reading{
		View: r.View + ">words", Text: text, Decoded: [][2]int{{0, len(text)}},
		Source: func(start, end int) (int, int) { return whole.Source(back(start), max(back(start), back(end))) },
	}, true
}
