package readings

import "unicode/utf8"

// around is how much of the text stands before and after what a reading changes in place. What is
// farther from any change is left out: it says nothing that the text itself does not say.
const around = 160

// builder makes one reading: the changed places of a text with what stands around them.
type builder struct {
	view   string
	text   string // what is read
	out    []byte
	segs   []seg
	pos    int // text is in out up to here, or left out
	edits  int
	limit  int
	full   bool // the limit was met; nothing is added any more
	always bool // is a reading even if it stands in the text as it is
	bare   bool // without what stands around
}

func (l *lattice) builder(view string) *builder {
	return &builder{view: view, text: l.text, limit: l.left}
}

func (b *builder) room(n int) bool {
	if b.full || len(b.out)+n > b.limit {
		b.full = true
		return false
	}
	return true
}

// raw adds bytes that came from s..e.
func (b *builder) raw(p string, s, e int, h how) {
	if len(p) == 0 || !b.room(len(p)) {
		return
	}
	if k := len(b.segs) - 1; k >= 0 && h == copied && b.segs[k].how == copied && int(b.segs[k].e) == s {
		b.segs[k].e = int32(e)
		b.out = append(b.out, p...)
		return
	}
	b.segs = append(b.segs, seg{int32(len(b.out)), int32(s), int32(e), h})
	b.out = append(b.out, p...)
}

// copy adds the text's own bytes s..e.
func (b *builder) copy(s, e int) {
	if s < e {
		b.raw(b.text[s:e], s, e, copied)
	}
}

// edit puts p in the place of the text's bytes s..e and, before it, what stands between the last
// edit and s, or only the ends of that. Edits come in the order of the text.
func (b *builder) edit(s, e int, p string, h how) {
	b.approach(s)
	b.raw(p, s, e, h)
	b.pos = e
}

func (b *builder) approach(s int) {
	b.edits++
	switch {
	case b.bare:
		if len(b.out) > 0 && b.pos < s {
			b.raw("\n", b.pos, b.pos, whole)
		}
	case s-b.pos <= 2*around+64:
		b.copy(b.pos, s)
	default:
		if b.edits > 1 {
			b.copy(b.pos, b.wordEnd(b.pos+around))
			b.raw("\n", b.pos, b.pos, whole)
		}
		b.copy(b.wordStart(s-around), s)
	}
	b.pos = s
}

// finish adds what stands after the last edit, and cuts the reading to left bytes.
func (b *builder) finish(left int) {
	if b.edits > 0 && !b.bare && !b.full && b.pos < len(b.text) {
		b.copy(b.pos, b.wordEnd(min(len(b.text), b.pos+around)))
		b.pos = len(b.text)
	}
	if len(b.out) > left {
		b.out, b.full = b.out[:left], true
	}
	// A limit may have cut a rune.
	for i := 0; b.full && i < 3 && len(b.out) > 0; i++ {
		if r, w := utf8.DecodeLastRune(b.out); r != utf8.RuneError || w != 1 {
			break
		}
		b.out = b.out[:len(b.out)-1]
	}
	for k := len(b.segs); k > 0 && int(b.segs[k-1].out) >= len(b.out); k-- {
		b.segs = b.segs[:k-1]
	}
}

// wordEnd is the first place from i on, but not far from it, where a word ends.
func (b *builder) wordEnd(i int) int {
	for k := i; k < min(len(b.text), i+32); k++ {
		if b.text[k] == ' ' || b.text[k] == '\n' {
			return k
		}
	}
	for i < len(b.text) && !utf8.RuneStart(b.text[i]) {
		i++
	}
	return i
}

func (b *builder) wordStart(i int) int {
	for k := i; k > max(0, i-32); k-- {
		if b.text[k-1] == ' ' || b.text[k-1] == '\n' {
			return k
		}
	}
	for i > 0 && i < len(b.text) && !utf8.RuneStart(b.text[i]) {
		i--
	}
	return i
}
