package output

import (
	"github.com/go-json-experiment/json/jsontext"

	"sallyport.dev/sallyport/internal/gate"
	"sallyport.dev/sallyport/internal/inspect/finding"
	"sallyport.dev/sallyport/internal/wire"
)

// alone reads the texts of a frame that continue no lane: names, and the texts that are said again
// whole when they are done. They are decided at once.
func (s *Stream) alone(h *held, fr *gate.Frame) {
	if len(fr.Texts) == 0 {
		return
	}
	find := s.opt.Find
	if find == nil {
		find = s.opt.Detector.Detect
	}
	r := finding.Reader{Find: find, Table: s.table, Direction: gate.Answer, Excuse: s.Excuse, Skip: func(i int) bool { return fr.Texts[i].Lane != "" }}
	fs, err := r.Read(h.segs)
	if err != nil || len(fs) == 0 {
		return
	}
	for i := range fs {
		f := fs[i]
		f.Segment = -1
		finding.Keep(s.rec, f)
	}
	w := finding.Worst(fs)
	switch w.Action {
	case gate.Allow:
	case gate.Flag:
		s.note(gate.Decision{Verdict: gate.Flag, Reason: finding.Reason(w)})
	case gate.Sanitize:
		edits, stuck := finding.Plan(h.segs, fs)
		if stuck == nil && s.clean(&r, h, edits) {
			h.edits = edits
			s.note(gate.Decision{Verdict: gate.Sanitize, Reason: finding.Reason(w)})
			return
		}
		h.barred = true
		s.deny(w)
	default:
		h.barred = true
		s.deny(w)
	}
}

// clean says whether the edits leave nothing behind. A frame cannot be read twice, so the edited
// texts are: each as it will be, and a string that holds JSON as it stands in the changed frame.
func (s *Stream) clean(r *finding.Reader, h *held, edits []gate.Edit) bool {
	for len(edits) > 0 {
		seg := h.segs[edits[0].Segment]
		n := 1
		for n < len(edits) && edits[n].Segment == edits[0].Segment {
			n++
		}
		seg.Text = finding.Apply(seg.Text, edits[:n])
		if !s.passes(r, seg) {
			return false
		}
		if seg.Place.Coding == gate.NestedJSON && !s.outerPasses(r, h, seg.Place, edits) {
			return false
		}
		edits = edits[n:]
	}
	return true
}

func (s *Stream) passes(r *finding.Reader, seg gate.Segment) bool {
	again := *r
	again.Skip = nil
	seg.Joined = nil
	fs, err := again.Read([]gate.Segment{seg})
	if err != nil {
		return false
	}
	w := finding.Worst(fs)
	return w == nil || w.Action < gate.Sanitize
}

// outerPasses reads the whole string that holds edited strings, as it will be.
func (s *Stream) outerPasses(r *finding.Reader, h *held, at gate.Place, edits []gate.Edit) bool {
	var here []gate.Edit
	for _, e := range edits {
		if h.segs[e.Segment].Place.Span == at.Span {
			here = append(here, e)
		}
	}
	changed, err := wire.Splice(h.raw, h.segs, here)
	if err != nil {
		return false
	}
	end := at.End + len(changed) - len(h.raw)
	if at.Start < 1 || end >= len(changed) || end < at.Start {
		return false
	}
	text, err := jsontext.AppendUnquote(nil, changed[at.Start-1:end+1])
	if err != nil {
		return false
	}
	for i := range h.segs {
		if seg := h.segs[i]; seg.Place.Coding == gate.JSONString && seg.Place.Span == at.Span {
			seg.Text = text
			if !s.passes(r, seg) {
				return false
			}
		}
	}
	return true
}
