package rules

import (
	"slices"
	"strings"
	"sync"

	"sallyport.dev/sallyport/internal/gate"
	"sallyport.dev/sallyport/internal/inspect/detect"
)

// Engine is a loaded set of rules. It implements detect.Detector.
type Engine struct {
	rules    []*rule
	plain    *program // for text
	squeezed *program // for text without spaces
	back     int
	version  string
	warnings []string
	pool     sync.Pool
}

var _ detect.Detector = (*Engine)(nil)

type program struct {
	auto     *automaton
	squeezed bool
}

// newEngine puts compiled rules together.
func newEngine(rs []*rule, version string) *Engine {
	e := &Engine{rules: rs, version: version}
	var ps, sq []pattern
	for i, r := range rs {
		e.back = max(e.back, r.back)
		for _, l := range r.literals {
			ps = append(ps, pattern{l, r.pinned && alnum(l[0]), i})
		}
		for _, l := range r.tightLit {
			sq = append(sq, pattern{l, false, i})
		}
	}
	for k, list := range triggers {
		for _, l := range list {
			ps = append(ps, pattern{l, true, -1 - k})
		}
	}
	e.plain = &program{auto: build(ps, true)}
	e.squeezed = &program{auto: build(sq, false), squeezed: true}
	e.pool.New = func() any { return new(machine) }
	return e
}

func (e *Engine) machine() *machine { return e.pool.Get().(*machine) }

func (e *Engine) release(m *machine) { e.pool.Put(m) }

// Version implements detect.Detector.
func (e *Engine) Version() string { return e.version }

// Warnings lists what was loaded with less than asked: imported rules that could not be checked.
func (e *Engine) Warnings() []string { return slices.Clone(e.warnings) }

// Rule describes a loaded rule.
type Rule struct {
	ID, Description string
	Category        gate.Category
	Score           float64
}

// Rules lists the loaded rules in the order of their files.
func (e *Engine) Rules() []Rule {
	out := make([]Rule, len(e.rules))
	for i, r := range e.rules {
		out[i] = Rule{r.src.ID, r.src.Description, r.category, r.src.Score}
	}
	return out
}

// Detect implements detect.Detector.
func (e *Engine) Detect(seg *gate.Segment) []gate.Finding {
	m := e.machine()
	defer e.release(m)
	m.reset(e, e.plain, 0, 1<<seg.Channel, false)
	hits := m.all(seg.Text)
	if len(hits) == 0 {
		return nil
	}
	out := e.findings(hits, seg.Channel, seg.Path)
	slices.SortStableFunc(out, order)
	return out
}

func order(a, b gate.Finding) int {
	if a.Start != b.Start {
		return a.Start - b.Start
	}
	if a.End != b.End {
		return a.End - b.End
	}
	if c := strings.Compare(a.Rule, b.Rule); c != 0 {
		return c
	}
	return strings.Compare(a.View, b.View)
}

func (e *Engine) findings(hits []hit, ch gate.Channel, path string) []gate.Finding {
	if len(hits) == 0 {
		return nil
	}
	out := make([]gate.Finding, len(hits))
	for i, h := range hits {
		r := e.rules[h.rule]
		out[i] = gate.Finding{Category: r.category, Rule: r.src.ID, Channel: ch, Path: path, Start: h.start, End: h.end, View: h.view, Score: r.src.Score}
	}
	return out
}
