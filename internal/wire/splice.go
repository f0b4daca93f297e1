package wire

import (
	"errors"
	"fmt"
	"slices"
	"unicode/utf8"

	"sallyport.dev/sallyport/internal/gate"
	"sallyport.dev/sallyport/internal/strictjson"
)

// ErrNoPlace is returned for an edit of a text that stands nowhere in the body.
var ErrNoPlace = errors.New("splice: the text cannot be edited in place")

type cut struct {
	start, end int
	with       []byte
}

// Splice replaces spans of decoded texts in the original bytes. All other bytes are untouched, and
// JSON stays valid. An edit of a joined text is carried out on its parts: the replacement goes into
// the first, the rest loses its share. Overlapping edits become one.
func Splice(body []byte, segs []gate.Segment, edits []gate.Edit) ([]byte, error) {
	var cuts []cut
	for _, e := range edits {
		c, err := cutsOf(body, segs, e)
		if err != nil {
			return nil, err
		}
		cuts = append(cuts, c...)
	}
	slices.SortStableFunc(cuts, func(a, b cut) int { return a.start - b.start })
	out := make([]byte, 0, len(body)+64)
	at := 0
	for _, c := range cuts {
		if c.start < at { // overlaps the one before, whose replacement stands for both
			at = max(at, c.end)
			continue
		}
		out = append(out, body[at:c.start]...)
		out = append(out, c.with...)
		at = c.end
	}
	return append(out, body[at:]...), nil
}

func cutsOf(body []byte, segs []gate.Segment, e gate.Edit) ([]cut, error) {
	if e.Segment < 0 || e.Segment >= len(segs) {
		return nil, fmt.Errorf("splice: no segment %d", e.Segment)
	}
	s := &segs[e.Segment]
	if e.Start < 0 || e.End < e.Start || e.End > len(s.Text) {
		return nil, fmt.Errorf("splice: span %d..%d is outside the text", e.Start, e.End)
	}
	// A rune goes whole or stays whole.
	for e.Start > 0 && e.Start < len(s.Text) && !utf8.RuneStart(s.Text[e.Start]) {
		e.Start--
	}
	for e.End < len(s.Text) && !utf8.RuneStart(s.Text[e.End]) {
		e.End++
	}
	if s.Joined != nil {
		var cuts []cut
		with := e.With
		for _, p := range s.Joined {
			part := &segs[p.Index]
			start, end := max(e.Start, p.At), min(e.End, p.At+len(part.Text))
			if start >= end {
				continue
			}
			c, err := cutsOf(body, segs, gate.Edit{Segment: p.Index, Start: start - p.At, End: end - p.At, With: with})
			if err != nil {
				return nil, err
			}
			cuts, with = append(cuts, c...), ""
		}
		return cuts, nil
	}
	p := s.Place
	if p.Coding != gate.Nowhere && (p.Start < 0 || p.End > len(body) || p.Start > p.End) {
		return nil, errors.New("splice: the segment is not of this body")
	}
	switch p.Coding {
	case gate.Verbatim:
		return []cut{{p.Start + e.Start, p.Start + e.End, []byte(e.With)}}, nil
	case gate.JSONString:
		in := body[p.Start:p.End]
		return []cut{{p.Start + strictjson.RawOffset(in, e.Start), p.Start + endOffset(in, e.End), escapeJSON(nil, e.With)}}, nil
	case gate.NestedJSON:
		in := body[p.Start:p.End]
		outer := strictjson.Unescape(nil, in)
		if p.Inner.Start < 0 || p.Inner.End > len(outer) {
			return nil, errors.New("splice: the segment is not of this body")
		}
		inner := outer[p.Inner.Start:p.Inner.End]
		start := p.Inner.Start + strictjson.RawOffset(inner, e.Start)
		end := p.Inner.Start + endOffset(inner, e.End)
		return []cut{{p.Start + strictjson.RawOffset(in, start), p.Start + endOffset(in, end), escapeJSON(nil, string(escapeJSON(nil, e.With)))}}, nil
	}
	return nil, ErrNoPlace
}

// endOffset maps the end of a span: one inside an escaped rune takes the whole escape.
func endOffset(in []byte, text int) int {
	if text == 0 {
		return 0
	}
	// The rune that holds the last byte of the span ends where the next one begins.
	for t := text; ; t++ {
		if off := strictjson.RawOffset(in, t); off > strictjson.RawOffset(in, text-1) || off == len(in) {
			return off
		}
	}
}

// escapeJSON appends s as the inside of a JSON string.
func escapeJSON(dst []byte, s string) []byte {
	const hex = "0123456789abcdef"
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			dst = append(dst, '\\', byte(r))
		case r < 0x20:
			dst = append(dst, '\\', 'u', '0', '0', hex[r>>4], hex[r&15])
		default:
			dst = utf8.AppendRune(dst, r)
		}
	}
	return dst
}
