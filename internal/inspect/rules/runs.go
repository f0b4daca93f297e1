package rules

import (
	"bytes"
	"slices"
	"unicode/utf8"

	"sallyport.dev/sallyport/internal/inspect/views"
)

const (
	flLower = 1 << iota
	flUpper
	flDigit
	flB64
	flEscape
	flSpace
	flAlnum = flLower | flUpper | flDigit
)

var flags = func() (t [256]uint8) {
	for i := range t {
		c := byte(i)
		switch {
		case 'a' <= c && c <= 'z':
			t[i] = flLower | flB64
		case 'A' <= c && c <= 'Z':
			t[i] = flUpper | flB64
		case '0' <= c && c <= '9':
			t[i] = flDigit | flB64
		case c == '+' || c == '/' || c == '-' || c == '_':
			t[i] = flB64
		case c == '%' || c == '\\' || c == '&':
			t[i] = flEscape
		case c == ' ' || c == '\n':
			t[i] = flSpace
		}
	}
	return
}()

const (
	minEncoded  = 16   // characters of an encoded run worth decoding
	minLine     = 32   // characters of a line that may go on in the next
	minPrinted  = 8    // decoded bytes in a row that must be text
	minSpaced   = 8    // letters of a spaced run
	spacedLimit = 1024 // view bytes of one window of a spaced run
	escapeReach = 24   // view bytes after an escape that still belong to its run, with the word there
	echoes      = 32   // hits in decoded runs remembered
	turnWindow  = 384  // view bytes read backwards or rotated after a trigger
)

// The triggers tell that a text is written backwards or rotated by 13.
const (
	turnReversed = iota
	turnRotated
	turns
)

var triggers = [turns][]string{
	{"snoitcurtsni", "noitcurtsni", "tpmorp", "metsys ", "suoiverp", "erongi", "tegrof ", "laever", "dragersid", "eht ", "uoy ", "ruoy ", "taht ", "htiw ", "siht "},
	{"vafgehpgvba", "cebzcg", "flfgrz ", "cerivbhf", "vtaber", "sbetrg ", "eriray", "qvfertneq", "gur ", "lbh ", "lbhe ", "gung ", "jvgu ", "guvf ", "naq "},
}

// runs follows everything that may be text in another writing. A run is recognised at a position
// (mark); a finding in it begins there at the earliest, because what stood before may have left.
type runs struct {
	on    bool
	quiet bool     // nothing is open: inside a lower-case word there is nothing to do
	b     struct { // base64 or hex
		word, from, mark int
		open             bool // a full line has ended; the next one may go on
	}
	l struct { // single letters with something between them
		n, at, end, from, mark int
	}
	e struct { // escapes
		at               int // a starter that is not complete yet
		on               bool
		from, mark, last int
	}
	turn [turns]struct{ from, mark, again int } // backwards or rotated; again: where to go on
}

func (r *runs) reset(on bool) {
	*r = runs{on: on}
	r.b.mark, r.e.at = -1, -1
	for i := range r.turn {
		r.turn[i].from, r.turn[i].again = -1, -1
	}
}

// floor is the earliest position that a finding in an open run can begin at.
func (r *runs) floor() int {
	f := never
	if r.b.mark >= 0 {
		f = r.b.mark
	}
	if r.l.n >= 4 {
		f = min(f, r.l.mark)
	}
	if r.e.on {
		f = min(f, r.e.mark)
	} else if r.e.at >= 0 {
		f = min(f, r.e.at)
	}
	for i := range r.turn {
		if r.turn[i].from >= 0 {
			f = min(f, r.turn[i].mark)
		}
	}
	return f
}

// from is the earliest position that an open run still reads.
func (r *runs) from() int {
	f := never
	if r.b.mark >= 0 {
		f = r.b.from
	}
	if r.l.n > 0 {
		f = min(f, r.l.from)
	}
	if r.e.on {
		f = min(f, r.e.from)
	}
	for i := range r.turn {
		if p := r.turn[i].from; p >= 0 {
			f = min(f, p)
		}
	}
	return f
}

// runByte follows the byte at pos, whose flags are fl.
func (m *machine) runByte(fl uint8) {
	r, pos := &m.runs, m.pos
	// Base64 and hex: a long word that mixes cases or digits.
	b := &r.b
	if fl&flB64 != 0 {
		if m.prev&flB64 == 0 {
			b.word = pos
		}
		if b.mark < 0 && pos > b.word && mixes(m.prev, fl) {
			b.mark, b.from = pos, max(b.word, pos-lookback)
		}
		if b.mark >= 0 && pos-b.from >= RunLimit {
			m.encoded(b.from, pos, b.mark)
			b.from += RunLimit / 2
			b.mark = b.from
		}
	} else if b.mark >= 0 {
		if m.prev&flB64 != 0 && fl&flSpace != 0 && pos-b.word >= minLine {
			b.open = true
		} else {
			m.endEncoded(pos)
		}
	}
	// Single letters.
	l := &r.l
	if fl&flAlnum != 0 {
		if m.prev&flAlnum == 0 {
			l.at = pos
		} else if l.n > 0 && pos-l.at == 1 {
			m.endSpaced()
		}
	} else if m.prev&flAlnum != 0 {
		if pos-l.at == 1 {
			m.letter(pos)
		}
	} else if l.n > 0 && pos-l.end > 3 {
		m.endSpaced()
	}
	// Escapes.
	e := &r.e
	if e.at >= 0 {
		m.escape(pos, fl)
	} else if fl&flEscape != 0 {
		e.at = pos
	}
	if e.on {
		if pos-e.last >= escapeReach && e.at < 0 && (fl&flSpace != 0 || m.text.Cas[pos-m.text.Off] >= utf8.RuneSelf) {
			m.endEscapes(pos)
		} else if pos-e.from >= RunLimit {
			m.escaped(e.from, pos, e.mark)
			e.from += RunLimit / 2
			e.mark = max(e.mark, e.from)
		}
	}
	open := false
	for i := range r.turn {
		t := &r.turn[i]
		if t.from >= 0 && pos-t.from >= turnWindow {
			m.turned(i, t.from, pos, t.mark)
			t.from, t.mark, t.again = t.again, t.again, -1
		}
		open = open || t.from >= 0
	}
	r.quiet = !open && b.mark < 0 && l.n == 0 && e.at < 0 && !e.on
}

// mixes says that two neighbours are not what a written word has.
func mixes(prev, cur uint8) bool {
	const letter = flLower | flUpper
	return prev&flLower != 0 && cur&flUpper != 0 || prev&letter != 0 && cur&flDigit != 0 || prev&flDigit != 0 && cur&letter != 0
}

func (m *machine) endEncoded(pos int) {
	b := &m.runs.b
	if b.mark >= 0 && pos-b.from >= minEncoded {
		m.encoded(b.from, pos, b.mark)
	}
	b.mark, b.open = -1, false
}

func (m *machine) letter(pos int) {
	l := &m.runs.l
	if l.n > 0 && l.at-l.end > 3 {
		m.endSpaced()
	}
	if l.n == 0 {
		l.from = l.at
	}
	l.n++
	l.end = pos
	if l.n == 4 {
		l.mark = pos
	}
	if l.n > 4 && pos-l.from >= spacedLimit {
		m.squeeze(l.from, pos, l.mark)
		l.from += spacedLimit / 2
		l.mark = max(l.mark, l.from)
	}
}

func (m *machine) endSpaced() {
	l := &m.runs.l
	if l.n >= minSpaced {
		m.squeeze(l.from, l.end, l.mark)
	}
	l.n = 0
}

func (m *machine) escape(pos int, fl uint8) {
	e := &m.runs.e
	_, _, n, more := views.Escape(m.text.Cas[e.at-m.text.Off : pos+1-m.text.Off])
	switch {
	case n > 0:
		if !e.on {
			e.on = true
			e.from, e.mark = max(e.at-lookback+16, 0), e.at
		}
		e.last = pos + 1
		e.at = -1
	case !more:
		e.at = -1
		if fl&flEscape != 0 {
			e.at = pos
		}
	}
}

func (m *machine) endEscapes(pos int) {
	if e := &m.runs.e; e.on {
		m.escaped(e.from, pos, e.mark)
		e.on = false
	}
}

// trigger opens a turned run at start, or notes where the next one should begin.
func (m *machine) trigger(kind, start int) {
	m.runs.quiet = false
	t := &m.runs.turn[kind]
	if t.from < 0 {
		t.from, t.mark = max(start-lookback+16, 0), start
	} else if t.again < 0 && start >= t.from+turnWindow/2 {
		t.again = start
	}
}

// endRuns decides about every open run at the end of the text.
func (m *machine) endRuns(pos int) {
	r := &m.runs
	if !r.on {
		return
	}
	m.endEncoded(pos)
	if m.prev&flAlnum != 0 && pos-r.l.at == 1 {
		m.letter(pos)
	}
	m.endSpaced()
	m.endEscapes(pos)
	for i := range r.turn {
		for t := &r.turn[i]; t.from >= 0; t.from, t.mark, t.again = t.again, t.again, -1 {
			m.turned(i, t.from, pos, t.mark)
		}
	}
}

func (m *machine) cas(from, to int) []byte { return m.text.Cas[from-m.text.Off : to-m.text.Off] }

func (m *machine) encoded(from, to, mark int) {
	p := m.cas(from, to)
	// A line that was taken for the run's last one may be a word of the text after it.
	for h := p; ; {
		if out, ok := views.Hex(nil, h); ok {
			if views.Plausible(out, minPrinted) {
				m.child(views.Decoded{View: "hex", Bytes: out}, from, to, mark, false)
				return
			}
			break
		}
		i := bytes.LastIndexAny(h, " \n")
		if i < 0 || len(h) < len(p) {
			break
		}
		h = h[:i]
	}
	// Where the encoding begins within the word is not known (a path or a prefix may stand before).
	for skip := range 4 {
		if out := views.Base64(nil, p, skip); views.Plausible(out, minPrinted) {
			m.child(views.Decoded{View: "base64", Bytes: out}, from, to, mark, false)
		}
	}
}

func (m *machine) escaped(from, to, mark int) {
	m.child(views.Unescape(m.cas(from, to)), from, to, mark, false)
}

func (m *machine) squeeze(from, to, mark int) {
	d := views.Squeeze(m.cas(from, to))
	c := m.eng.machine()
	c.reset(m.eng, m.eng.squeezed, maxDepth, m.channel, true)
	m.adopt(c.all(d.Bytes), d, from, to, mark)
	m.eng.release(c)
}

func (m *machine) turned(kind, from, to, mark int) {
	d := views.ROT13(m.cas(from, to))
	if kind == turnReversed {
		d = views.Reverse(m.cas(from, to))
	}
	m.child(d, from, to, mark, true)
}

// hidden reads what invisible characters carry; their source bytes are the finding.
func (m *machine) hidden(h views.Hidden) {
	if !m.runs.on || !views.Plausible(h.Bytes, 4) {
		return
	}
	c := m.eng.machine()
	c.reset(m.eng, m.eng.plain, m.depth+1, m.channel, m.attack)
	from := len(m.hits)
	for _, x := range c.all(h.Bytes) {
		n := hit{x.rule, h.Start, h.End, nested(h.Kind, x.view)}
		if !slices.ContainsFunc(m.hits[from:], func(y hit) bool { return y.rule == n.rule }) {
			m.hits = append(m.hits, n)
		}
	}
	m.eng.release(c)
}

// child reads a decoded run of view bytes from..to.
func (m *machine) child(d views.Decoded, from, to, mark int, attack bool) {
	c := m.eng.machine()
	c.reset(m.eng, m.eng.plain, m.depth+1, m.channel, attack || m.attack)
	m.adopt(c.all(d.Bytes), d, from, to, mark)
	m.eng.release(c)
}

// adopt turns hits in a decoded run into hits in this text.
func (m *machine) adopt(hits []hit, d views.Decoded, from, to, mark int) {
	for _, x := range hits {
		s, e := mark, to
		if d.At != nil {
			// A match with nothing encoded in it or beside it is this text's own.
			lo, hi := max(x.start-1, 0), min(x.end+1, len(d.Bytes))
			if int(d.At[hi]-d.At[lo]) == hi-lo {
				continue
			}
			s, e = max(mark, from+int(d.At[x.start])), from+int(d.At[x.end])
		}
		if s >= e {
			continue
		}
		start, end := m.text.Source(s, e)
		m.add(hit{x.rule, start, end, nested(d.View, x.view)})
	}
}

// add notes a hit in a decoded run unless a window that overlaps this one has seen it. What is
// remembered follows from positions alone.
func (m *machine) add(h hit) {
	for _, x := range m.echo {
		if x.rule == h.rule && x.start == h.start && x.end == h.end {
			return
		}
	}
	if len(m.echo) == echoes {
		copy(m.echo, m.echo[1:])
		m.echo = m.echo[:echoes-1]
	}
	m.echo = append(m.echo, h)
	m.hits = append(m.hits, h)
}

func nested(outer, inner string) string {
	if inner == "raw" || inner == "folded" {
		return outer
	}
	return outer + "/" + inner
}

// peek decodes what the open runs hold, as if they ended here, and leaves them open.
func (m *machine) peek() {
	r, pos := &m.runs, m.pos
	if r.b.mark >= 0 && pos-r.b.from >= minEncoded {
		m.encoded(r.b.from, pos, r.b.mark)
	}
	if r.l.n >= minSpaced {
		m.squeeze(r.l.from, r.l.end, r.l.mark)
	}
	if r.e.on && pos > r.e.mark {
		m.escaped(r.e.from, pos, r.e.mark)
	}
	for i := range r.turn {
		if t := &r.turn[i]; t.from >= 0 && pos > t.from {
			m.turned(i, t.from, pos, t.mark)
		}
	}
}
