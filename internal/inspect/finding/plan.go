package finding

import (
	"cmp"
	"slices"
	"unicode/utf8"

	"sallyport.dev/sallyport/internal/gate"
)

// The words that stand where something was removed. They say that a policy acted and nothing else.
const (
	AttackMarker = "[removed by policy]"
	SecretMarker = "[secret removed]"
)

// Marker is what stands in the place of a finding of category c.
func Marker(c gate.Category) string {
	if c == gate.Secret {
		return SecretMarker
	}
	return AttackMarker
}

// Plan turns the findings whose action is Sanitize into edits of segs, sorted and free of overlaps
// within a segment. A finding in a joined text becomes edits of its parts: the marker in the first,
// nothing in the others. stuck is a finding that cannot be taken out where it stands; such a text
// can only be blocked.
//
// Where a tool call's arguments are read both as one text and string by string, the edits of the
// single strings win and the edits of the whole wait: they keep the inner JSON whole. So the changed
// body must be read and planned again until it is clean.
func Plan(segs []gate.Segment, fs []gate.Finding) (edits []gate.Edit, stuck *gate.Finding) {
	for i := range fs {
		f := &fs[i]
		if f.Action != gate.Sanitize {
			continue
		}
		n := len(edits)
		edits = appendFinding(edits, segs, f)
		if len(edits) == n {
			return nil, f
		}
	}
	return withoutOuter(segs, merge(edits)), nil
}

// appendFinding adds nothing when the finding has no place that can be edited.
func appendFinding(edits []gate.Edit, segs []gate.Segment, f *gate.Finding) []gate.Edit {
	if f.Segment < 0 || f.Segment >= len(segs) {
		return edits
	}
	seg := &segs[f.Segment]
	if len(seg.Joined) == 0 {
		if seg.Place.Coding == gate.Nowhere {
			return edits
		}
		s, e := Snap(seg.Text, f.Start, f.End)
		return append(edits, gate.Edit{Segment: f.Segment, Start: s, End: e, With: Marker(f.Category)})
	}
	before, with := edits, Marker(f.Category)
	for _, p := range seg.Joined {
		if p.Index < 0 || p.Index >= len(segs) {
			return before
		}
		part := &segs[p.Index]
		s, e := max(f.Start-p.At, 0), min(f.End-p.At, len(part.Text))
		if s >= e {
			continue
		}
		if part.Place.Coding == gate.Nowhere || len(part.Joined) > 0 {
			return before
		}
		s, e = Snap(part.Text, s, e)
		edits = append(edits, gate.Edit{Segment: p.Index, Start: s, End: e, With: with})
		with = ""
	}
	return edits
}

// merge sorts the edits and joins those of one segment that overlap or touch.
func merge(edits []gate.Edit) []gate.Edit {
	slices.SortStableFunc(edits, func(a, b gate.Edit) int {
		return cmp.Or(cmp.Compare(a.Segment, b.Segment), cmp.Compare(a.Start, b.Start), cmp.Compare(a.End, b.End))
	})
	out := edits[:0]
	for _, e := range edits {
		if n := len(out); n > 0 && out[n-1].Segment == e.Segment && e.Start <= out[n-1].End {
			last := &out[n-1]
			last.End = max(last.End, e.End)
			last.With = cmp.Or(last.With, e.With)
			continue
		}
		out = append(out, e)
	}
	return out
}

// withoutOuter leaves out the edits of a string that holds JSON where strings inside it are edited.
func withoutOuter(segs []gate.Segment, edits []gate.Edit) []gate.Edit {
	var nested map[gate.Span]bool
	for _, e := range edits {
		if p := &segs[e.Segment].Place; p.Coding == gate.NestedJSON {
			if nested == nil {
				nested = map[gate.Span]bool{}
			}
			nested[p.Span] = true
		}
	}
	if nested == nil {
		return edits
	}
	return slices.DeleteFunc(edits, func(e gate.Edit) bool {
		p := &segs[e.Segment].Place
		return p.Coding == gate.JSONString && nested[p.Span]
	})
}

// Snap widens start..end to whole characters within text, and an empty or impossible range to all
// of it: what a detector says imprecisely is removed generously.
func Snap(text []byte, start, end int) (int, int) {
	start, end = max(start, 0), min(end, len(text))
	if start >= end {
		return 0, len(text)
	}
	for start > 0 && !utf8.RuneStart(text[start]) {
		start--
	}
	for end < len(text) && !utf8.RuneStart(text[end]) {
		end++
	}
	return start, end
}

// Apply makes the edits of one segment in a copy of its text. They must be sorted and free of
// overlaps.
func Apply(text []byte, edits []gate.Edit) []byte {
	out := make([]byte, 0, len(text)+len(edits)*len(AttackMarker))
	at := 0
	for _, e := range edits {
		out = append(out, text[at:e.Start]...)
		out = append(out, e.With...)
		at = e.End
	}
	return append(out, text[at:]...)
}
