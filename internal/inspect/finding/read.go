// Package finding is what happens to a finding between the detector and the decision: it gets its
// place and its action, it is kept in the record, it is put in words for the caller, and, where it
// can be taken out of a text, the edits for that are planned. It changes no text itself;
// wire.Splice does.
package finding

import (
	"sallyport.dev/sallyport/internal/gate"
	"sallyport.dev/sallyport/internal/inspect/policy"
)

// Reader reads segments for one call in one direction.
type Reader struct {
	// Find detects in one text. What it returns is not written to.
	Find      func(*gate.Segment) []gate.Finding
	Table     policy.Table
	Direction gate.Direction
	// Excuse, when set, returns the id of the allow-list entry that excuses a finding in span, empty
	// when none does. An excused finding is allowed and stays in the record.
	Excuse func(span []byte, f *gate.Finding) string
	// Skip, when set, leaves out segments that are read otherwise.
	Skip func(i int) bool
	// Halt, when set, is asked now and then whether to give up.
	Halt func() error
}

// haltEvery is how many segments are read between two questions to Halt.
const haltEvery = 64

// Read detects in every segment and says what the policy does about each finding. A joined text is
// read after its parts, and only what is not found in a part already is reported of it.
func (r *Reader) Read(segs []gate.Segment) (all []gate.Finding, err error) {
	joined := false
	for i := range segs {
		if r.Halt != nil && i%haltEvery == haltEvery-1 {
			if err := r.Halt(); err != nil {
				return nil, err
			}
		}
		if len(segs[i].Joined) > 0 {
			joined = true
			continue
		}
		all = r.append(all, segs, i, 0)
	}
	if !joined {
		return all, nil
	}
	parts := len(all)
	for i := range segs {
		if len(segs[i].Joined) > 0 {
			all = r.append(all, segs, i, parts)
		}
	}
	return all, nil
}

// append adds the findings of segment i. Of a joined one only what is not among the first parts
// findings already.
func (r *Reader) append(all []gate.Finding, segs []gate.Segment, i, parts int) []gate.Finding {
	seg := &segs[i]
	if len(seg.Text) == 0 || (r.Skip != nil && r.Skip(i)) {
		return all
	}
	for _, f := range r.Find(seg) {
		f.Start, f.End = Snap(seg.Text, f.Start, f.End)
		if len(seg.Joined) > 0 && known(all[:parts], segs, seg, &f) {
			continue
		}
		f.Segment = i
		all = append(all, r.judged(seg, f))
	}
	return all
}

// judged is a finding with its place and its action.
func (r *Reader) judged(seg *gate.Segment, f gate.Finding) gate.Finding {
	f.Path, f.Channel, f.Direction = seg.Path, seg.Channel, r.Direction
	f.Action = r.Table.Action(f.Category, f.Channel, f.Direction)
	if r.Excuse != nil && f.Action > gate.Allow {
		if f.Excused = r.Excuse(seg.Text[f.Start:f.End], &f); f.Excused != "" {
			f.Action = gate.Allow
		}
	}
	return f
}

// Add adds a finding of segs[f.Segment] that was made otherwise than by Find, unless one of its kind
// that was found already overlaps it.
func (r *Reader) Add(all []gate.Finding, segs []gate.Segment, f gate.Finding) []gate.Finding {
	if f.Segment < 0 || f.Segment >= len(segs) {
		return all
	}
	for _, g := range all {
		if g.Segment == f.Segment && g.Category == f.Category && g.Start < f.End && f.Start < g.End {
			return all
		}
	}
	seg := &segs[f.Segment]
	f.Start, f.End = Snap(seg.Text, f.Start, f.End)
	return append(all, r.judged(seg, f))
}

// known says whether a finding of a joined text lies within one part and was found there.
func known(parts []gate.Finding, segs []gate.Segment, joined *gate.Segment, f *gate.Finding) bool {
	for _, p := range joined.Joined {
		if p.Index < 0 || p.Index >= len(segs) || f.Start < p.At || f.End > p.At+len(segs[p.Index].Text) {
			continue
		}
		for i := range parts {
			g := &parts[i]
			if g.Segment == p.Index && g.Rule == f.Rule && g.Category == f.Category &&
				g.Start <= f.Start-p.At && g.End >= f.End-p.At {
				return true
			}
		}
	}
	return false
}

// Worst is the finding with the severest action, the highest score among equals; nil of none.
func Worst(fs []gate.Finding) (w *gate.Finding) {
	for i := range fs {
		if f := &fs[i]; w == nil || f.Action > w.Action || (f.Action == w.Action && f.Score > w.Score) {
			w = f
		}
	}
	return w
}

// Score is the highest attack score, whatever the policy says about it.
func Score(fs []gate.Finding) (score float64) {
	for i := range fs {
		if fs[i].Category.Attack() {
			score = max(score, fs[i].Score)
		}
	}
	return score
}
