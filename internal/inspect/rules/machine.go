package rules

import (
	"math"

	"sallyport.dev/sallyport/internal/gate"
	"sallyport.dev/sallyport/internal/inspect/views"
)

// HoldLimit is the most folded bytes a lane holds while a phrase or a secret may still be
// completed; RunLimit is the same for an encoded run, which is then decided window by window.
const (
	HoldLimit = 1024
	RunLimit  = 4096
)

const (
	lookback = 64 // view bytes kept behind the position, for what is recognised late
	maxDepth = 2  // encodings within encodings
	never    = math.MaxInt
	block    = 512  // source bytes folded at once; bounds the memory of a long text
	slack    = 8192 // view bytes kept in Detect before it trims
)

// hit is a finding in terms of the text that the machine reads.
type hit struct {
	rule       int
	start, end int
	view       string
}

// candidate is a literal that was seen and the window in which its rule is tried.
type candidate struct {
	rule  int
	start int // view position of the literal
	due   int // view position at which the window is complete
	told  int // end of the match already reported by Expire; 0: none
	// What the viability automaton has read: up to view position at, into state; nil: it cannot tell.
	at    int
	state *vstate
	hope  bool // a match has been passed
}

// machine reads one text byte by byte. All it decides is a function of view positions, never of how
// the text arrived, which is why Detect and Lane agree.
type machine struct {
	eng   *Engine
	prog  *program
	depth int
	// attack leaves the secret rules out: nobody leaks a key backwards.
	attack  bool
	channel uint8 // bit of the text's channel

	fold views.Folder
	text views.Text
	pos  int // view bytes read
	st   uint32
	prev uint8 // flags of the byte before pos

	cands []candidate
	due   int
	last  []lastHit
	mask  mask
	runs  runs
	echo  []hit
	hits  []hit
}

type lastHit struct{ rule, end int }

func (m *machine) reset(e *Engine, p *program, depth int, channel uint8, attack bool) {
	m.eng, m.prog, m.depth, m.channel, m.attack = e, p, depth, channel, attack
	m.fold.Reset()
	m.text.Reset()
	m.pos, m.st, m.prev = 0, 0, 0
	m.cands, m.due = m.cands[:0], never
	m.last, m.hits, m.echo = m.last[:0], m.hits[:0], m.echo[:0]
	m.mask = mask{}
	m.runs.reset(depth < maxDepth && !p.squeezed)
	if m.fold.OnHidden == nil {
		m.fold.OnHidden = m.hidden
	}
}

// all reads a whole text. The hits are valid until the machine is used again.
func (m *machine) all(p []byte) []hit {
	for len(p) > 0 {
		n := min(len(p), block)
		m.fold.Write(p[:n], &m.text)
		m.scan()
		p = p[n:]
		if len(m.text.Low) > slack {
			m.text.Trim(m.keep())
		}
	}
	m.close()
	return m.hits
}

func (m *machine) close() {
	m.fold.Close(&m.text)
	m.scan()
	m.decide(m.pos, true)
	m.endRuns(m.pos)
	m.mask.stop(m, m.pos)
}

// scan reads what the folder has made.
func (m *machine) scan() {
	t, a := &m.text, m.prog.auto
	for end := t.End(); m.pos < end; {
		i := m.pos - t.Off
		cas := t.Cas[i]
		fl := flags[cas]
		st := m.st
		if fl&flAlnum != 0 && m.prev&flAlnum == 0 {
			st = a.next[st+symBoundary]
		}
		st = a.next[st+uint32(a.class[t.Low[i]])]
		m.st = st
		if m.runs.on && !(m.runs.quiet && fl == m.prev && fl == flLower|flB64) {
			m.runByte(fl)
		}
		if m.mask.on {
			m.mask.step(m, m.pos)
		}
		m.prev = fl
		m.pos++
		if st >= a.firstOut {
			m.wake(a.out[(st-a.firstOut)/uint32(a.stride)])
		}
		if m.pos >= m.due {
			m.decide(m.pos, false)
		}
	}
}

// wake opens a candidate for every rule whose literal ends here.
func (m *machine) wake(hooks []hook) {
	for _, h := range hooks {
		start := m.pos - h.len
		if h.rule < 0 {
			if m.runs.on {
				m.trigger(-1-h.rule, start)
			}
			continue
		}
		r := m.eng.rules[h.rule]
		if r.channels&m.channel == 0 || m.attack && r.category == gate.Secret || m.lastEnd(h.rule) > start {
			continue
		}
		if r.src.Line {
			from := max(start-8, 0)
			if !begins(m.text.Low[from-m.text.Off:start-m.text.Off], from == 0) {
				continue
			}
		}
		c := candidate{rule: h.rule, start: start, due: start + r.window}
		c.at = start
		if p := r.matcher(m.prog.squeezed); r.pinned {
			c.state = p.viability().start
			// What the folder has made already may decide at once; it only ever decides against.
			if m.advance(&c) {
				continue
			}
		}
		m.cands = append(m.cands, c)
		m.due = min(m.due, c.due)
	}
}

// advance reads on with the viability automaton and says whether the candidate is lost.
func (m *machine) advance(c *candidate) bool {
	if c.state == nil || c.state.dead {
		return false
	}
	r := m.eng.rules[c.rule]
	src := m.text.Low
	if r.cased {
		src = m.text.Cas
	}
	end := min(m.text.End(), c.due)
	if c.at >= end {
		return false
	}
	n, s, match := r.matcher(m.prog.squeezed).viability().run(c.state, src[c.at-m.text.Off:end-m.text.Off])
	c.at += n
	c.state = s
	c.hope = c.hope || match
	return s != nil && !c.hope && (s.dead || c.at >= c.due)
}

// prune drops the candidates that what has arrived rules out, so that less is held.
func (m *machine) prune() {
	if len(m.cands) == 0 {
		return
	}
	keep := m.cands[:0]
	m.due = never
	for i := range m.cands {
		if c := &m.cands[i]; !m.advance(c) {
			m.due = min(m.due, c.due)
			keep = append(keep, *c)
		}
	}
	m.cands = keep
}

func (m *machine) lastEnd(rule int) int {
	for _, l := range m.last {
		if l.rule == rule {
			return l.end
		}
	}
	return -1
}

func (m *machine) setLast(rule, end int) {
	for i := range m.last {
		if m.last[i].rule == rule {
			m.last[i].end = max(m.last[i].end, end)
			return
		}
	}
	m.last = append(m.last, lastHit{rule, end})
}

// decide tries the candidates whose windows are complete at pos, or all of them at the end.
func (m *machine) decide(pos int, all bool) {
	keep := m.cands[:0]
	m.due = never
	for _, c := range m.cands {
		if !all && c.due > pos {
			keep = append(keep, c)
			m.due = min(m.due, c.due)
			continue
		}
		m.try(&c, pos, true)
	}
	m.cands = keep
}

// try runs the rule of one candidate on its window, which ends at pos at the latest.
func (m *machine) try(c *candidate, pos int, final bool) {
	r := m.eng.rules[c.rule]
	// Inside a match already reported there is nothing new, unless Expire reported a part of this one.
	if m.lastEnd(c.rule) > c.start && c.told == 0 {
		return
	}
	if m.advance(c) || c.state != nil && !c.hope {
		return
	}
	t := &m.text
	src := t.Low
	if r.cased {
		src = t.Cas
	}
	lo := max(c.start-r.back, 0)
	end := min(pos, c.due)
	w := src[lo-t.Off : end-t.Off]
	s, e, whole, ok := r.match(w, m.prog.squeezed)
	if !ok {
		return
	}
	s, e, whole = s+lo, e+lo, whole+lo
	// What stands before the literal may have left already; the finding begins with it at the earliest.
	if s = max(s, c.start); s >= e {
		return
	}
	if e <= c.told {
		return
	}
	m.report(c.rule, s, e, "")
	m.setLast(c.rule, e)
	if !final {
		c.told = e
		return
	}
	if r.follow == followKey || r.follow == followToken && whole == end && end == c.due {
		m.mask.start(m, c.rule, r.follow, e, pos)
	}
}

// report notes a hit on view bytes s..e. Without a name the view is the text itself, raw where
// nothing was folded but case.
func (m *machine) report(rule, s, e int, view string) {
	start, end := m.text.Source(s, e)
	if view == "" {
		if view = "folded"; end-start == e-s {
			view = "raw"
		}
	}
	m.hits = append(m.hits, hit{rule, start, end, view})
}

// floor is the view position before which nothing can become part of a new hit.
func (m *machine) floor() int {
	f := m.pos - int(m.prog.auto.depth[m.st/uint32(m.prog.auto.stride)])
	for i := range m.cands {
		f = min(f, m.cands[i].start)
	}
	if m.mask.on {
		f = min(f, m.mask.from)
	}
	if m.runs.on {
		f = min(f, m.runs.floor())
	}
	return f
}

// clear is floor in source bytes.
func (m *machine) clear() int {
	n := m.fold.Settled()
	if f := m.floor(); f < m.pos {
		s, _ := m.text.Source(f, f+1)
		n = min(n, s)
	}
	return n
}

// keep is the view position from which the text is still needed.
func (m *machine) keep() int {
	k := min(m.floor(), m.pos-lookback-m.eng.back)
	if m.runs.on {
		k = min(k, m.runs.from())
	}
	return k
}
