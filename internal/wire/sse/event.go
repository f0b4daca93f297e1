package sse

import (
	"bytes"
	"sort"

	"sallyport.dev/sallyport/internal/gate"
)

// Line is the value of one line of a frame: where it stands in the frame.
type Line = gate.Span

// Event is one frame, taken apart. All spans are byte ranges of the frame.
type Event struct {
	// Name is the value of the last event field.
	Name []byte
	// Data is what a client gets: the data lines joined by a line feed. It aliases the frame where
	// there is one line.
	Data    []byte
	HasData bool
	// Lines are the data lines. Their values are Data's, piece by piece.
	Lines []Line
	// Other holds every line that is not data: comments (without the colon), the values of event,
	// id and retry, and lines with a field name that the standard ignores (those whole).
	Other []Line
	// Mark is set where a line other than the frame's first begins with a byte order mark, and
	// FirstMark where the frame's first does. Clients differ on what such a line is, except at the
	// start of the stream.
	Mark, FirstMark bool

	starts []int // of each line in Data, when there are several
}

// Fields takes a frame apart. It reads any bytes. The Event's slices are reused by the next call
// with the same e.
func Fields(frame []byte, e *Event) {
	*e = Event{Lines: e.Lines[:0], Other: e.Other[:0], starts: e.starts[:0]}
	at := 0
	if bytes.HasPrefix(frame, []byte(bomBytes)) {
		e.FirstMark = true
		at = len(bomBytes)
	}
	for at < len(frame) {
		end := at
		for end < len(frame) && frame[end] != '\n' && frame[end] != '\r' {
			end++
		}
		if end > at {
			e.line(frame, at, end)
		}
		at = end + 1
		if end+1 < len(frame) && frame[end] == '\r' && frame[end+1] == '\n' {
			at++
		}
	}
	e.join(frame)
}

func (e *Event) line(frame []byte, at, end int) {
	if at > 0 && bytes.HasPrefix(frame[at:end], []byte(bomBytes)) && !(at == len(bomBytes) && e.FirstMark) {
		e.Mark = true
	}
	name, from := frame[at:end], end
	if i := bytes.IndexByte(name, ':'); i >= 0 {
		name, from = name[:i], at+i+1
		if from < end && frame[from] == ' ' {
			from++
		}
	}
	value := Line{Start: from, End: end}
	switch string(name) {
	case "data":
		e.HasData = true
		e.Lines = append(e.Lines, value)
		return
	case "event":
		e.Name = frame[from:end]
	case "", "id", "retry":
	default:
		value.Start = at
	}
	if value.Len() > 0 {
		e.Other = append(e.Other, value)
	}
}

func (e *Event) join(frame []byte) {
	switch len(e.Lines) {
	case 0:
	case 1:
		e.Data = frame[e.Lines[0].Start:e.Lines[0].End]
	default:
		n := len(e.Lines) - 1
		for _, l := range e.Lines {
			n += l.Len()
		}
		b := make([]byte, 0, n)
		for i, l := range e.Lines {
			if i > 0 {
				b = append(b, '\n')
			}
			e.starts = append(e.starts, len(b))
			b = append(b, frame[l.Start:l.End]...)
		}
		e.Data = b
	}
}

// Span maps a range of Data back to the frame. A range over more than one line has no place there:
// ok is false.
func (e *Event) Span(s gate.Span) (raw gate.Span, ok bool) {
	if len(e.Lines) == 0 {
		return gate.Span{}, false
	}
	i, base := 0, 0
	if len(e.Lines) > 1 {
		i = sort.SearchInts(e.starts, s.Start+1) - 1
		if i < 0 {
			return gate.Span{}, false
		}
		base = e.starts[i]
	}
	l := e.Lines[i]
	raw = gate.Span{Start: l.Start + s.Start - base, End: l.Start + s.End - base}
	return raw, raw.Start <= raw.End && raw.End <= l.End
}
