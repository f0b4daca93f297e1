package output

import (
	"bytes"
	"math"
	"strings"

	"sallyport.dev/sallyport/internal/gate"
	"sallyport.dev/sallyport/internal/inspect/detect"
	"sallyport.dev/sallyport/internal/inspect/finding"
)

// innerSuffix marks a lane that holds the strings inside another lane's JSON, decoded. Its text has
// no bytes of its own to edit.
const innerSuffix = "#inner"

// lane is one text that arrives in pieces. All offsets are bytes from its beginning.
type lane struct {
	name string
	seg  gate.Segment // channel and path; no text
	det  detect.Lane
	base *lane // of an inner lane

	written  int
	clear    int // nothing below can become part of a finding that is not known yet
	released int // everything below has left
	stop     int // where a finding that blocks begins
	closed   bool

	masks []mask
	debts []debt
}

// mask is a range that must not leave.
type mask struct {
	start, end int
	with       string
	placed     bool // the marker has left; the rest goes without one
}

// debt is a finding in an inner lane that is taken out only if the base lane finds the same bytes.
// It is settled when the base lane is decided as far as it was written when the debt was made.
type debt struct {
	f     gate.Finding
	until int
}

func newLane(name string, t *gate.Text, det detect.Lane) *lane {
	l := &lane{name: name, seg: t.Segment, det: det, stop: math.MaxInt}
	l.seg.Text, l.seg.Joined, l.seg.Place = nil, nil, gate.Place{}
	return l
}

func (l *lane) inner() bool { return strings.HasSuffix(l.name, innerSuffix) }

// limit is how far the lane's text may leave.
func (l *lane) limit() int {
	n := min(l.clear, l.stop)
	if l.closed {
		n = min(l.written, l.stop)
	}
	for i := range l.debts {
		n = min(n, l.debts[i].f.Start)
	}
	return n
}

func (l *lane) cleared(n int) { l.clear = max(l.clear, min(n, l.written)) }

// mask adds a range, joined with those it overlaps or touches.
func (l *lane) mask(start, end int, with string) {
	m := mask{start: max(start, l.released), end: min(end, l.written), with: with}
	kept := l.masks[:0]
	for _, o := range l.masks {
		if o.end < m.start || m.end < o.start {
			kept = append(kept, o)
			continue
		}
		if o.start <= m.start {
			m.with = o.with
		}
		m.start, m.end, m.placed = min(m.start, o.start), max(m.end, o.end), m.placed || o.placed
	}
	l.masks = append(kept, m)
}

// edits plans what is taken out of one piece of the lane, which stands at start..end and is segment
// seg of its frame. It is asked once, in the order of the pieces.
func (l *lane) edits(edits []gate.Edit, seg, start, end int, text []byte) []gate.Edit {
	for i := range l.masks {
		m := &l.masks[i]
		a, b := max(m.start, start), min(m.end, end)
		if a >= b {
			continue
		}
		with := m.with
		if m.placed {
			with = ""
		}
		m.placed = true
		a, b = finding.Snap(text, a-start, b-start)
		edits = append(edits, gate.Edit{Segment: seg, Start: a, End: b, With: with})
	}
	return edits
}

// left says that everything below n has left.
func (l *lane) left(n int) {
	l.released = max(l.released, n)
	kept := l.masks[:0]
	for _, m := range l.masks {
		if m.end > n || (m.end == n && !l.closed) {
			kept = append(kept, m) // one that ends here may still grow
		}
	}
	l.masks = kept
}

// settle decides the debts of an inner lane whose base has been decided far enough. force takes the
// base as it stands.
func (s *Stream) settle(l *lane, force bool) {
	kept := l.debts[:0]
	for _, d := range l.debts {
		b := l.base
		if b != nil && !force && !b.closed && b.clear < d.until {
			kept = append(kept, d)
			continue
		}
		if b == nil || !s.covered(l, b, &d) {
			s.block(l, &d.f)
			kept = append(kept, d) // nothing of it leaves
		}
	}
	l.debts = kept
}

// covered says whether taking the base lane's masks out takes the inner finding out too: the base
// masks exactly the same bytes, and what remains of the frames that carry the finding, read without
// its JSON escapes, does not hold them again.
func (s *Stream) covered(l, b *lane, d *debt) bool {
	want := s.queue.text(l, d.f.Start, d.f.End)
	if len(want) != d.f.End-d.f.Start {
		return false // part of it has left
	}
	from, to := s.queue.around(l, b, d.f.Start, d.f.End)
	whole := s.queue.text(b, from, to)
	if len(whole) != to-from {
		return false
	}
	same := false
	var rest []byte
	at := from
	for _, m := range b.masks { // any order: rest is only searched, and a gap can only be too large
		if m.end <= from || m.start >= to {
			continue
		}
		a, z := max(m.start, from), min(m.end, to)
		same = same || bytes.Contains(whole[a-from:z-from], want)
		if a > at {
			rest = append(rest, whole[at-from:a-from]...)
		}
		rest = append(rest, 0)
		at = max(at, z)
	}
	rest = append(rest, whole[at-from:]...)
	return same && !bytes.Contains(unescape(rest), want)
}

// unescape undoes JSON escapes in a piece of a JSON text, cut anywhere. It reads any bytes.
func unescape(b []byte) []byte {
	out := make([]byte, 0, len(b))
	for i := 0; i < len(b); i++ {
		if b[i] != '\\' || i+1 >= len(b) {
			out = append(out, b[i])
			continue
		}
		i++
		if b[i] == 'u' && i+4 < len(b) {
			var r rune
			for _, c := range b[i+1 : i+5] {
				r = r<<4 | rune(hex(c))
			}
			out = append(out, string(r)...)
			i += 4
			continue
		}
		if j := strings.IndexByte("nrtbf", b[i]); j >= 0 {
			out = append(out, "\n\r\t\b\f"[j])
			continue
		}
		out = append(out, b[i])
	}
	return out
}

func hex(c byte) byte {
	switch {
	case c >= '0' && c <= '9':
		return c - '0'
	case c|0x20 >= 'a' && c|0x20 <= 'f':
		return c | 0x20 - 'a' + 10
	}
	return 0
}
