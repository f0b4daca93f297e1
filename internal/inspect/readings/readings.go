// Package readings turns one whole text into the other texts that an attacker could have hidden in
// it: invisible characters and look-alike letters undone, encodings decoded, ciphers turned back,
// pieces joined, and what a page hides from its reader. Every reading knows which bytes of the
// original each of its bytes came from.
//
// An encoding alone is never an attack and nothing is decided here: readings are only looked at, by
// the same detectors that look at the text itself. What decodes to nothing that reads like text is
// no reading, so that emoji, joiners of Persian and Hindi, images in base64, hashes and minified
// code give none. The streaming counterpart, for patterns, is internal/inspect/views.
package readings

import (
	"hash/maphash"
	"sort"
	"strings"
)

// Reading is one other way to read a text.
type Reading struct {
	// View names how it was made, outermost first: "base64", "invisible+homoglyph", "base64>rot13".
	View string
	Text string

	segs   []seg
	sorted bool // the segments stand in the order of their sources, which do not overlap
	size   int  // of what it was made from
	of     *Reading
	depth  int
}

// seg is a stretch of a reading and where it came from: bytes out.. up to the next segment's out came
// from s..e of the source.
type seg struct {
	out, s, e int32
	how       how
}

type how uint8

const (
	copied   how = iota // byte for byte the same
	scaled              // evenly: byte i of n came from about s+(e-s)*i/n
	whole               // every byte from the whole stretch
	backward            // byte for byte, last first
)

// Source gives the smallest range of bytes of the original that bytes start..end (half-open) of the
// reading came from. Ranges outside the text are clipped. A range that is empty, or in which nothing
// came from the original (a blank put between two pieces), gives an empty range somewhere near.
func (r *Reading) Source(start, end int) (origStart, origEnd int) {
	start = max(0, min(start, len(r.Text)))
	end = max(start, min(end, len(r.Text)))
	return r.trace(start, end)
}

// trace follows a range through all readings it was made from.
func (r *Reading) trace(start, end int) (int, int) {
	s, e := r.source(start, end)
	if r.of != nil {
		return r.of.trace(s, e)
	}
	return s, e
}

// source is the range in the text that this reading was made from: that of all segments but those
// which came from nothing.
func (r *Reading) source(start, end int) (int, int) {
	if len(r.segs) == 0 {
		return 0, r.size
	}
	i := sort.Search(len(r.segs), func(i int) bool { return int(r.segs[i].out) > start }) - 1
	at, _ := r.part(max(i, 0), start, start)
	if start == end {
		return at, at
	}
	k := sort.Search(len(r.segs), func(i int) bool { return int(r.segs[i].out) >= end }) - 1
	for i < k && r.segs[i].s == r.segs[i].e {
		i++
	}
	for k > i && r.segs[k].s == r.segs[k].e {
		k--
	}
	s, e := r.part(i, start, end)
	if s == e {
		return at, at
	}
	if r.sorted { // the last segment ends last
		_, e = r.part(k, start, end)
		return s, e
	}
	for i++; i <= k; i++ {
		if ns, ne := r.part(i, start, end); ns < ne {
			s, e = min(s, ns), max(e, ne)
		}
	}
	return s, e
}

// inOrder says that no source begins before the one before it ends, segments from nothing aside.
func inOrder(segs []seg) bool {
	last := int32(0)
	for _, g := range segs {
		if g.s == g.e {
			continue
		}
		if g.s < last {
			return false
		}
		last = g.e
	}
	return true
}

// part is the source of what segment i has of start..end.
func (r *Reading) part(i, start, end int) (int, int) {
	g := r.segs[i]
	to := len(r.Text)
	if i+1 < len(r.segs) {
		to = int(r.segs[i+1].out)
	}
	n := to - int(g.out)
	a, b := max(0, start-int(g.out)), min(n, end-int(g.out))
	s, e := int(g.s), int(g.e)
	switch g.how {
	case copied:
		return s + a, s + b
	case backward:
		return e - b, e - a
	case scaled:
		return s + (e-s)*a/n, s + ((e-s)*b+n-1)/n
	}
	return s, e
}

// Decoded gives the ranges of the reading, of at least so many bytes, that do not stand so in what it
// was made from: what was decoded, and what something was taken out of every few bytes. What stands
// around a range is only there to show what was said about it.
func (r *Reading) Decoded(least int) (ranges [][2]int) {
	start, end := -1, -1
	put := func() {
		if start >= 0 && end-start >= least {
			ranges = append(ranges, [2]int{start, end})
		}
	}
	last := int32(-1) // end of the source of the segment before, where that was copied
	for i, g := range r.segs {
		from, to := int(g.out), int(g.out)
		switch {
		case g.how != copied:
			if i+1 < len(r.segs) {
				to = int(r.segs[i+1].out)
			} else {
				to = len(r.Text)
			}
			last = -1
		case last >= 0 && g.s > last && i > 0: // something was taken out here
			last = g.e
		default:
			last = g.e
			continue
		}
		if start < 0 || from-end > between {
			put()
			start = from
		}
		end = to
	}
	put()
	return ranges
}

// between is how many bytes that stand so in the source, too, do not part a decoded range.
const between = 24

// Same says that bytes start..end of the reading stand like this in the original, so that whatever
// is found there needs no reading.
func (r *Reading) Same(start, end int) bool {
	start, end = max(0, start), min(end, len(r.Text))
	if start >= end {
		return true
	}
	if len(r.segs) == 0 {
		return false
	}
	i := sort.Search(len(r.segs), func(i int) bool { return int(r.segs[i].out) > start }) - 1
	if r.segs[i].how != copied || i+1 < len(r.segs) && int(r.segs[i+1].out) < end {
		return false
	}
	if r.of == nil {
		return true
	}
	s, e := r.source(start, end)
	return r.of.Same(s, e)
}

// Limits bound what Of makes. A zero field stands for its default.
type Limits struct {
	Depth    int // writings within writings; default 3
	Bytes    int // of all readings together; default four times the text and 64 KiB
	Readings int // how many; default 48
}

// maxText is the longest text that offsets of 32 bits can name with room to spare.
const maxText = 1 << 30

// Of gives the readings of text that are not text itself, and whether limits left some out or cut
// some short. It is linear in the size of text, safe for concurrent use, and keeps nothing.
func Of(text string, lim Limits) (list []Reading, truncated bool) {
	if lim.Depth == 0 {
		lim.Depth = 3
	}
	if lim.Bytes == 0 {
		lim.Bytes = 4*len(text) + 64<<10
	}
	if lim.Readings == 0 {
		lim.Readings = 48
	}
	if len(text) > maxText {
		text, truncated = text[:maxText], true
	}
	l := &lattice{lim: lim, left: lim.Bytes, truncated: truncated}
	root := &Reading{Text: text, size: len(text)}
	l.seen = map[uint64]struct{}{maphash.String(seed, text): {}}
	l.read(root)
	for i := 0; i < len(l.found); i++ {
		if l.found[i].depth < lim.Depth {
			l.read(l.found[i])
		}
	}
	for _, r := range l.found {
		list = append(list, *r)
	}
	return list, l.truncated
}

// lattice is one run of Of.
type lattice struct {
	lim       Limits
	left      int
	truncated bool
	found     []*Reading
	seen      map[uint64]struct{}

	// of the text being read
	at   *Reading
	text string
}

var seed = maphash.MakeSeed()

// read makes every reading that the marks of r's text call for.
func (l *lattice) read(r *Reading) {
	l.at, l.text = r, r.Text
	m := look(l.text)
	turned := false // controls of direction were obeyed: the order of the letters is another reading's
	for _, t := range transforms {
		if m.has&t.needs != 0 && len(l.text) >= t.least && !(turned && t.role == asWritten) {
			n := len(l.found)
			t.make(l, &m)
			turned = turned || t.role == turns && len(l.found) > n
		}
	}
}

// role is what a transform has to do with the order of letters.
type role uint8

const (
	anyOrder  role = iota
	turns          // puts them into the order in which they are shown
	asWritten      // is about letters in the order in which they are written
)

// transforms are tried in this order. needs are the marks of which one must be there.
var transforms = []struct {
	needs marks
	least int
	make  func(*lattice, *mark)
	role  role
}{
	{hasWide, 2, (*lattice).fold, anyOrder},
	{hasWide, 4, (*lattice).hidden, anyOrder},
	{hasWide, 4, (*lattice).visual, turns},
	{hasWide, 4, (*lattice).upsideDown, anyOrder},
	{hasWide, 4, (*lattice).braille, anyOrder},
	{hasSingles | hasWide, 5, (*lattice).spaced, anyOrder},
	{hasLeet, 3, (*lattice).leet, anyOrder},
	{hasToken, 12, (*lattice).base, anyOrder},
	{hasSolid, 16, (*lattice).base85, anyOrder},
	{hasEscape, 3, (*lattice).escapes, anyOrder},
	{hasPlus, 8, (*lattice).plused, anyOrder},
	{hasEquals, 6, (*lattice).quoted, anyOrder},
	{hasEquals, 10, (*lattice).mimeWords, anyOrder},
	{hasBegin, 12, (*lattice).uuencoded, anyOrder},
	{hasCodes, 10, (*lattice).codes, anyOrder},
	{hasMorse, 8, (*lattice).morse, anyOrder},
	{hasMarkup, 4, (*lattice).concealed, anyOrder},
	{hasMarkup, 4, (*lattice).unbroken, anyOrder},
	{hasQuote, 6, (*lattice).literals, anyOrder},
	{hasQuote, 8, (*lattice).variables, anyOrder},
	{hasDigit, 12, (*lattice).parts, anyOrder},
	{hasForeign, 8, (*lattice).ciphers, asWritten},
	{hasDense, 12, (*lattice).rot47, anyOrder},
	{hasPig, 12, (*lattice).pigLatin, anyOrder},
	{hasNATO, 12, (*lattice).nato, anyOrder},
	{hasBackward, 12, (*lattice).backward, asWritten},
	{hasInitials, 12, (*lattice).acrostic, anyOrder},
}

// minText is the fewest bytes that a reading has; less hides nothing.
const minText = 4

// add takes what b made as a reading of the text being read.
func (l *lattice) add(b *builder) {
	b.finish(l.left)
	l.truncated = l.truncated || b.full
	if len(b.out) < minText || b.edits == 0 {
		return
	}
	text := string(b.out)
	if l.text == text || strings.Contains(l.text, text) && !b.always {
		return
	}
	key := maphash.String(seed, text)
	if _, ok := l.seen[key]; ok {
		return
	}
	if len(l.found) >= l.lim.Readings {
		l.truncated = true
		return
	}
	l.seen[key] = struct{}{}
	view := b.view
	r := &Reading{Text: text, segs: b.segs, sorted: inOrder(b.segs), size: len(l.text), depth: l.at.depth + 1}
	if l.at.depth > 0 {
		view = l.at.View + ">" + view
		r.of = l.at
	}
	r.View = view
	l.left -= len(text)
	l.found = append(l.found, r)
}
