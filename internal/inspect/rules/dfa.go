package rules

import (
	"encoding/binary"
	"regexp"
	"regexp/syntax"
	"slices"
	"sync"
	"sync/atomic"
	"unicode"
	"unicode/utf8"
)

// pattern states beyond this many are not kept; a text that needs more is decided by the regexp
// alone, at the end of its window.
const maxStates = 512

// matcher is one anchored pattern. Its viability automaton is determinised as texts ask for it
// (Cox, "Regular Expression Matching in the Wild", 2010) and says early that a candidate can no
// longer match; assertions (\b, $) count as passed, so it errs only towards asking the regexp.
// The regexp alone decides what matches. Both are built at first use.
type matcher struct {
	pattern string
	once    sync.Once
	re      *regexp.Regexp
	auto    atomic.Pointer[viability]
}

func (p *matcher) regexp() *regexp.Regexp {
	p.once.Do(func() { p.re = regexp.MustCompile(p.pattern) })
	return p.re
}

func (p *matcher) viability() *viability {
	if v := p.auto.Load(); v != nil {
		return v
	}
	p.auto.CompareAndSwap(nil, newViability(p.pattern))
	return p.auto.Load()
}

type viability struct {
	prog  *syntax.Prog
	class [utf8.RuneSelf]uint8
	width int
	start *vstate

	mu     sync.Mutex
	states map[string]*vstate
	seen   []bool
}

// vstate is a set of program counters.
type vstate struct {
	pcs   []uint32
	match bool
	dead  bool
	next  []atomic.Pointer[vstate]
	wide  [8]atomic.Pointer[wideEdge] // the last runes beyond ASCII, by their low bits
}

type wideEdge struct {
	r  rune
	to *vstate
}

func newViability(pattern string) *viability {
	tree, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return nil // the regexp would have failed before
	}
	prog, err := syntax.Compile(tree.Simplify())
	if err != nil {
		return nil
	}
	v := &viability{prog: prog, states: map[string]*vstate{}, seen: make([]bool, len(prog.Inst))}
	// ASCII falls into classes that no instruction tells apart.
	var edge [utf8.RuneSelf + 1]bool
	mark := func(lo, hi rune) {
		if lo < utf8.RuneSelf {
			edge[lo] = true
			edge[min(hi+1, utf8.RuneSelf)] = true
		}
	}
	for i := range prog.Inst {
		in := &prog.Inst[i]
		switch in.Op {
		case syntax.InstRune, syntax.InstRune1:
			if len(in.Rune) == 1 {
				r := in.Rune[0]
				mark(r, r)
				for f := unicode.SimpleFold(r); f != r; f = unicode.SimpleFold(f) {
					mark(f, f)
				}
				continue
			}
			for k := 0; k+1 < len(in.Rune); k += 2 {
				mark(in.Rune[k], in.Rune[k+1])
			}
		case syntax.InstRuneAnyNotNL:
			mark('\n', '\n')
		}
	}
	n := 0
	for c := range utf8.RuneSelf {
		if edge[c] && c > 0 {
			n++
		}
		v.class[c] = uint8(n)
	}
	v.width = n + 1
	v.mu.Lock()
	v.start = v.state(v.closure(nil, uint32(prog.Start)))
	v.mu.Unlock()
	return v
}

// closure adds pc and all it leads to without reading to pcs. The caller holds the lock and clears
// seen.
func (v *viability) closure(pcs []uint32, pc uint32) []uint32 {
	if v.seen[pc] {
		return pcs
	}
	v.seen[pc] = true
	pcs = append(pcs, pc)
	switch in := &v.prog.Inst[pc]; in.Op {
	case syntax.InstAlt, syntax.InstAltMatch:
		pcs = v.closure(pcs, in.Out)
		pcs = v.closure(pcs, in.Arg)
	case syntax.InstCapture, syntax.InstNop, syntax.InstEmptyWidth:
		pcs = v.closure(pcs, in.Out)
	}
	return pcs
}

// state interns a set; nil when there are too many.
func (v *viability) state(pcs []uint32) *vstate {
	for _, pc := range pcs {
		v.seen[pc] = false
	}
	keep := pcs[:0]
	match := false
	for _, pc := range pcs {
		switch v.prog.Inst[pc].Op {
		case syntax.InstMatch:
			match = true
		case syntax.InstRune, syntax.InstRune1, syntax.InstRuneAny, syntax.InstRuneAnyNotNL:
			keep = append(keep, pc)
		}
	}
	slices.Sort(keep)
	key := make([]byte, 0, 4*len(keep)+1)
	for _, pc := range keep {
		key = binary.LittleEndian.AppendUint32(key, pc)
	}
	if match {
		key = append(key, 1)
	}
	if s := v.states[string(key)]; s != nil {
		return s
	}
	if len(v.states) >= maxStates {
		return nil
	}
	s := &vstate{pcs: slices.Clone(keep), match: match, dead: len(keep) == 0, next: make([]atomic.Pointer[vstate], v.width)}
	v.states[string(key)] = s
	return s
}

// step reads one rune; nil: not known, ask the regexp.
func (v *viability) step(s *vstate, r rune) *vstate {
	if r < utf8.RuneSelf {
		if n := s.next[v.class[r]].Load(); n != nil {
			return n
		}
	} else if x := s.wide[r&7].Load(); x != nil && x.r == r {
		return x.to
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	var pcs []uint32
	for _, pc := range s.pcs {
		if in := &v.prog.Inst[pc]; in.MatchRune(r) {
			pcs = v.closure(pcs, in.Out)
		}
	}
	n := v.state(pcs)
	switch {
	case n == nil:
	case r < utf8.RuneSelf:
		s.next[v.class[r]].Store(n)
	default:
		s.wide[r&7].Store(&wideEdge{r, n})
	}
	return n
}

// run reads p from s on and stops where nothing can match any more. It returns how much it read,
// the state (nil: not known) and whether a match has been passed.
func (v *viability) run(s *vstate, p []byte) (n int, end *vstate, match bool) {
	for n < len(p) {
		if s.match {
			match = true
		}
		if s.dead {
			return n, s, match
		}
		if c := p[n]; c < utf8.RuneSelf {
			if x := s.next[v.class[c]].Load(); x != nil {
				s = x
			} else if s = v.step(s, rune(c)); s == nil {
				return n, nil, match
			}
			n++
			continue
		}
		r, w := utf8.DecodeRune(p[n:])
		if s = v.step(s, r); s == nil {
			return n, nil, match
		}
		n += w
	}
	return n, s, match || s.match
}
