// Package views turns text into the readings in which a detector looks for what is hidden: the
// folded view (case, width, accents, invisible and look-alike characters undone) and the decoded
// ones (base64, hex, escapes, reversed, ROT13, letter-spaced). Every reading keeps the way back to
// the bytes it came from. It decides nothing and forwards nothing: readings are only looked at.
package views

import (
	"slices"
	"unicode/utf8"
)

// Span is where one byte of a view came from: source bytes S..E, relative to Text's origin.
type Span struct{ S, E int32 }

// Text is the part of a folded view that is still needed. Low is lower case, Cas keeps the case of
// ASCII letters; both have the same length and stand at view positions Off, Off+1, ...
type Text struct {
	Low, Cas []byte
	Src      []Span
	Off      int // view position of Low[0]
	origin   int // source offset that Src is relative to
}

// End is the view position after the last byte.
func (t *Text) End() int { return t.Off + len(t.Low) }

// Source gives the source bytes that view bytes from..to (half-open, not empty) came from.
func (t *Text) Source(from, to int) (start, end int) {
	return t.origin + int(t.Src[from-t.Off].S), t.origin + int(t.Src[to-1-t.Off].E)
}

// Trim forgets everything before view position pos.
func (t *Text) Trim(pos int) {
	n := pos - t.Off
	if n <= 0 {
		return
	}
	if n >= len(t.Low) {
		n = len(t.Low)
		if n == 0 {
			return
		}
		t.origin += int(t.Src[n-1].E)
		t.Low, t.Cas, t.Src = t.Low[:0], t.Cas[:0], t.Src[:0]
		t.Off += n
		return
	}
	d := t.Src[n].S
	copy(t.Low, t.Low[n:])
	copy(t.Cas, t.Cas[n:])
	for i, s := range t.Src[n:] {
		t.Src[i] = Span{s.S - d, s.E - d}
	}
	keep := len(t.Low) - n
	t.Low, t.Cas, t.Src = t.Low[:keep], t.Cas[:keep], t.Src[:keep]
	t.Off += n
	t.origin += int(d)
}

// Reset empties the view and keeps its memory.
func (t *Text) Reset() {
	t.Low, t.Cas, t.Src = t.Low[:0], t.Cas[:0], t.Src[:0]
	t.Off, t.origin = 0, 0
}

// Shrink gives memory back that a burst has left behind.
func (t *Text) Shrink(limit int) {
	if cap(t.Low) > limit && len(t.Low)*2 < limit {
		t.Low = append(make([]byte, 0, len(t.Low)), t.Low...)
		t.Cas = append(make([]byte, 0, len(t.Cas)), t.Cas...)
		t.Src = append(make([]Span, 0, len(t.Src)), t.Src...)
	}
}

func (t *Text) put(low, cas byte, s, e int) {
	t.Low = append(t.Low, low)
	t.Cas = append(t.Cas, cas)
	t.Src = append(t.Src, Span{int32(s - t.origin), int32(e - t.origin)})
}

func (t *Text) putRune(r rune, s, e int) {
	if r < utf8.RuneSelf {
		c := byte(r)
		t.put(lower[c], c, s, e)
		return
	}
	var b [utf8.UTFMax]byte
	for _, c := range b[:utf8.EncodeRune(b[:], r)] {
		t.put(c, c, s, e)
	}
}

// Hidden is a run of characters that show nothing and carry bytes: Unicode tags (U+E0000..) or
// variation selectors. Start..End are its source bytes.
type Hidden struct {
	Kind       string // "tags" or "variation"
	Bytes      []byte
	Start, End int
}

// wordMode says which script the current word is written in.
type wordMode uint8

const (
	wordNone    wordMode = iota // between words
	wordLatin                   // a Latin letter has been seen: look-alikes are read as Latin
	wordForeign                 // another script: nothing is changed
	wordOpen                    // only look-alikes so far: they wait in pend
)

type waiting struct {
	r    rune
	like byte
	s, e int
}

// maxWaiting bounds the look-alike letters that wait for the word's script to show.
const maxWaiting = 32

// emojiStyle is the byte that U+FE0F would carry.
const emojiStyle = 15

// maxHidden bounds a hidden run that is read as one.
const maxHidden = 1024

// Folder makes the folded view, piece by piece; what it makes never depends on the pieces.
// The zero value is ready.
type Folder struct {
	pos    int // source bytes read, without those of part
	part   [utf8.UTFMax]byte
	npart  int
	mode   wordMode
	busy   bool // a space, look-alikes or a hidden run wait
	space  byte // ' ' or '\n' while a run of white space is open
	ss, se int
	pend   []waiting
	hidden Hidden
	// OnHidden is called at the end of every hidden run; the bytes are only valid during the call.
	OnHidden func(Hidden)
}

// Reset makes the folder as new; memory and OnHidden stay.
func (f *Folder) Reset() {
	*f = Folder{pend: f.pend[:0], hidden: Hidden{Bytes: f.hidden.Bytes[:0]}, OnHidden: f.OnHidden}
}

// Settled is the source offset before which everything is in the view or can never be.
func (f *Folder) Settled() int {
	n := f.pos
	if len(f.pend) > 0 {
		n = f.pend[0].s
	}
	// A lone U+FE0F belongs to an emoji and is not held; a run that it begins is one from the second on.
	if h := &f.hidden; len(h.Bytes) > 1 || len(h.Bytes) == 1 && (h.Kind == "tags" || h.Bytes[0] != emojiStyle) {
		n = min(n, h.Start)
	}
	return n
}

// Pos is the number of source bytes read.
func (f *Folder) Pos() int { return f.pos + f.npart }

// Write folds the next piece into t. The loop is the hot path: plain ASCII takes the short way.
func (f *Folder) Write(p []byte, t *Text) {
	i := 0
	if f.npart > 0 {
		for i < len(p) && f.npart < utf8.UTFMax && !utf8.FullRune(f.part[:f.npart]) {
			f.part[f.npart] = p[i]
			f.npart++
			i++
		}
		if !utf8.FullRune(f.part[:f.npart]) {
			return
		}
		n := f.npart
		f.npart = 0
		for k := 0; k < n; {
			if !utf8.FullRune(f.part[k:n]) {
				f.npart = copy(f.part[:], f.part[k:n])
				f.Write(p[i:], t)
				return
			}
			r, w := utf8.DecodeRune(f.part[k:n])
			f.rune(r, f.part[k], w, t)
			k += w
		}
	}
	base := f.pos - i
	for i < len(p) {
		c := p[i]
		if c >= utf8.RuneSelf {
			if !utf8.FullRune(p[i:]) {
				f.npart = copy(f.part[:], p[i:])
				f.pos = base + i
				return
			}
			r, w := utf8.DecodeRune(p[i:])
			f.pos = base + i
			f.rune(r, c, w, t)
			i += w
			continue
		}
		if c == ' ' && !f.busy && i+1 < len(p) && p[i+1] < utf8.RuneSelf && kind[p[i+1]]&kindPlain != 0 {
			f.mode = wordNone // one space between two words
			t.put(c, c, base+i, base+i+1)
			i++
			continue
		}
		if kind[c]&kindPlain == 0 || f.busy {
			f.pos = base + i
			f.ascii(c, t)
			i++
			continue
		}
		// A run of plain bytes is copied as one.
		n := i + 1
		for n < len(p) && p[n] < utf8.RuneSelf && kind[p[n]]&kindPlain != 0 {
			n++
		}
		if kind[p[n-1]]&kindLetter == 0 {
			f.mode = wordNone
		} else if m := f.mode; m == wordNone {
			f.mode = wordLatin
		} else {
			for k := i; k < n; k++ { // the word goes on unless something ends it
				if kind[p[k]]&kindLetter == 0 {
					f.mode = wordLatin
					break
				}
			}
		}
		at := len(t.Low)
		t.Cas = append(t.Cas, p[i:n]...)
		t.Low = append(t.Low, p[i:n]...)
		t.Src = slices.Grow(t.Src, n-i)[:at+n-i]
		low, src := t.Low[at:], t.Src[at:]
		s := int32(base + i - t.origin)
		for k, c := range low {
			low[k] = lower[c]
			src[k] = Span{s, s + 1}
			s++
		}
		i = n
	}
	f.pos = base + i
}

// Close ends the text: what waits is decided.
func (f *Folder) Close(t *Text) {
	for k := range f.npart {
		f.fold(utf8.RuneError, f.part[k], 1, t)
	}
	f.npart = 0
	f.endHidden()
	f.settle(false, t)
	f.endSpace(t)
}

// ascii takes the long way for a control, a space, or any ASCII byte while something waits.
func (f *Folder) ascii(c byte, t *Text) {
	s := f.pos
	f.pos++
	k := kind[c]
	switch {
	case k&kindSpace != 0:
		f.blank(c == '\n' || c == '\r', s, f.pos, t)
		return
	case k&kindPlain == 0: // a control: as if it were not there
		return
	}
	f.endHidden()
	f.settle(k&kindLetter != 0, t)
	f.endSpace(t)
	if k&kindLetter == 0 {
		f.mode = wordNone
	} else if f.mode == wordNone {
		f.mode = wordLatin
	}
	t.put(lower[c], c, s, f.pos)
}

func (f *Folder) blank(line bool, s, e int, t *Text) {
	f.endHidden()
	f.settle(false, t)
	f.mode = wordNone
	if f.space == 0 {
		f.space, f.ss = ' ', s
	}
	if line {
		f.space = '\n'
	}
	f.se = e
	f.busy = true
}

func (f *Folder) endSpace(t *Text) {
	if f.space != 0 {
		t.put(f.space, f.space, f.ss, f.se)
		f.space = 0
	}
	f.busy = len(f.pend) > 0 || len(f.hidden.Bytes) > 0
}

// settle decides about waiting look-alikes: read as Latin when a Latin letter stands in their word.
func (f *Folder) settle(latin bool, t *Text) {
	if len(f.pend) == 0 {
		return
	}
	f.endSpace(t)
	for _, w := range f.pend {
		if latin {
			t.put(w.like, w.like, w.s, w.e)
		} else {
			t.putRune(w.r, w.s, w.e)
		}
	}
	f.pend = f.pend[:0]
	f.mode = wordForeign
	if latin {
		f.mode = wordLatin
	}
	f.busy = f.space != 0 || len(f.hidden.Bytes) > 0
}

func (f *Folder) hide(name string, b byte, s, e int) {
	h := &f.hidden
	if len(h.Bytes) > 0 && (h.Kind != name || len(h.Bytes) >= maxHidden) {
		f.endHidden()
	}
	if len(h.Bytes) == 0 {
		h.Kind, h.Start = name, s
	} else if len(h.Bytes) == 1 && name == "variation" && h.Bytes[0] == emojiStyle {
		h.Start = s
	}
	h.Bytes = append(h.Bytes, b)
	h.End = e
	f.busy = true
}

func (f *Folder) endHidden() {
	h := &f.hidden
	if len(h.Bytes) == 0 {
		return
	}
	if len(h.Bytes) >= 4 && f.OnHidden != nil {
		f.OnHidden(*h)
	}
	h.Bytes = h.Bytes[:0]
	f.busy = f.space != 0 || len(f.pend) > 0
}
