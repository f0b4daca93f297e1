package purpose

import (
	"bytes"
	"slices"
	"strings"

	"sallyport.dev/sallyport/internal/gate"
	"sallyport.dev/sallyport/internal/inspect/detect"
)

// taintScore is that of a tool call to a destination that only a suspect text named.
const taintScore = 0.7

// argument says whether a text is the arguments of a tool call.
func argument(s *gate.Segment) bool {
	return s.Channel == gate.ChannelAssistant &&
		(strings.Contains(s.Path, "arguments") || strings.Contains(s.Path, ".input") || strings.Contains(s.Path, "partial_json"))
}

// Calls says whether any of segs is the arguments of a tool call.
func Calls(segs []gate.Segment) bool {
	for i := range segs {
		if argument(&segs[i]) {
			return true
		}
	}
	return false
}

// Over is det that also finds tainted destinations in the arguments of tool calls; det itself where
// there are none.
func (p *Purpose) Over(det detect.Detector) detect.Detector {
	if p == nil {
		return det
	}
	return &watcher{det, p}
}

// watcher implements detect.Detector for one call.
type watcher struct {
	detect.Detector
	p *Purpose
}

func (w *watcher) Detect(seg *gate.Segment) []gate.Finding {
	fs := w.Detector.Detect(seg)
	if !argument(seg) {
		return fs
	}
	more := w.p.Tainted(seg)
	if len(more) == 0 {
		return fs
	}
	return sorted(append(slices.Clone(fs), more...))
}

// Tainted are the destinations in a text that are the arguments of a tool call.
func (p *Purpose) Tainted(seg *gate.Segment) []gate.Finding {
	if p == nil || !argument(seg) {
		return nil
	}
	return p.in(seg, lower(seg.Text), 0)
}

// in finds the values in text, which stands at the byte from of its whole.
func (p *Purpose) in(seg *gate.Segment, text []byte, from int) (fs []gate.Finding) {
	for _, v := range p.values {
		for at := 0; ; {
			i := bytes.Index(text[at:], v)
			if i < 0 {
				break
			}
			fs = append(fs, gate.Finding{
				Category: gate.Injection, Rule: RuleTainted, Channel: seg.Channel, Path: seg.Path,
				Start: from + at + i, End: from + at + i + len(v), View: "raw", Score: taintScore,
			})
			at += i + len(v)
		}
	}
	return sorted(fs)
}

func sorted(fs []gate.Finding) []gate.Finding {
	slices.SortStableFunc(fs, func(a, b gate.Finding) int {
		if a.Start != b.Start {
			return a.Start - b.Start
		}
		return a.End - b.End
	})
	return fs
}

// Lane implements detect.Detector: where a text is arguments, as many bytes as the longest destination
// has wait for what follows them.
func (w *watcher) Lane(seg *gate.Segment) detect.Lane {
	l := w.Detector.Lane(seg)
	if !argument(seg) {
		return l
	}
	return &lane{Lane: l, p: w.p, seg: gate.Segment{Channel: seg.Channel, Path: seg.Path}}
}

// lane reads the arguments of a tool call piece by piece.
type lane struct {
	detect.Lane
	p    *Purpose
	seg  gate.Segment
	held []byte // lower case, the end of what was written
	from int    // its place
	said int    // everything below was searched: a finding that ends there has been returned
}

// Write implements detect.Lane.
func (l *lane) Write(b []byte) ([]gate.Finding, int) {
	fs, clear := l.Lane.Write(b)
	l.held = append(l.held, lower(b)...)
	more := l.search()
	if n := len(l.held) - (l.p.longest - 1); n > 0 {
		l.held = append(l.held[:0], l.held[n:]...)
		l.from += n
	}
	return merged(fs, more), min(clear, l.from)
}

// lower is b with ASCII letters in lower case: byte for byte, so that places stay, and no rune is cut.
func lower(b []byte) []byte {
	out := slices.Clone(b)
	for i, c := range out {
		if 'A' <= c && c <= 'Z' {
			out[i] = c | 0x20
		}
	}
	return out
}

func (l *lane) search() (fs []gate.Finding) {
	for _, f := range l.p.in(&l.seg, l.held, l.from) {
		if f.End > l.said {
			fs = append(fs, f)
		}
	}
	l.said = l.from + len(l.held)
	return fs
}

// Expire implements detect.Lane.
func (l *lane) Expire() ([]gate.Finding, int) { return l.Lane.Expire() }

func merged(a, b []gate.Finding) []gate.Finding {
	if len(b) == 0 {
		return a
	}
	return sorted(append(slices.Clone(a), b...))
}
