// Package sse cuts a text/event-stream into frames without changing a byte, and finds the fields of
// a frame. Framing follows the WHATWG HTML standard, section 9.2.6 "Interpreting an event stream".
package sse

import (
	"errors"
	"fmt"
)

// DefaultLimit is the largest frame in bytes where the caller names no other.
const DefaultLimit = 1 << 20

// ErrTooLong is the error of a frame that is longer than the limit.
var ErrTooLong = errors.New("sse: frame exceeds the limit")

// Splitter cuts a stream into frames: everything up to and including the blank line that ends an
// event. Lines end with LF, CRLF or CR. Frames, their order and the error depend on the bytes alone,
// never on how they were cut into writes; frames and Rest together are exactly what was written.
//
// A frame is never overwritten later: it may be kept. Memory is bounded by the limit and the
// largest write. The zero value is not usable.
type Splitter struct {
	limit int
	buf   []byte // buf[start:] is not yet returned
	start int    // of the current frame
	pos   int    // everything before is scanned
	blank bool   // the current line is empty so far
	// bareCR is set where the last finished line ended with CR alone. A stream that does so ends a
	// frame at once at the next CR, so that the frame needs not wait for the byte after it; a line
	// feed that follows all the same is an empty event of its own.
	bareCR bool
	bom    int // bytes of a byte order mark seen at the very start; -1 when past the start
	err    error
}

// NewSplitter makes a Splitter that refuses frames of more than limit bytes; 0 means DefaultLimit.
func NewSplitter(limit int) *Splitter {
	if limit <= 0 {
		limit = DefaultLimit
	}
	return &Splitter{limit: limit, blank: true}
}

// Write takes the next bytes of the stream. p is copied. After an error it drops them.
func (s *Splitter) Write(p []byte) {
	if s.err != nil || len(p) == 0 {
		return
	}
	if need := len(s.buf) + len(p); need > cap(s.buf) {
		held := len(s.buf) - s.start
		size := held + len(p)
		if held > 0 {
			size *= 2 // a frame that comes in many pieces is copied a few times only
		}
		b := make([]byte, held, max(size, 256))
		copy(b, s.buf[s.start:])
		s.buf, s.pos, s.start = b, s.pos-s.start, 0
	}
	s.buf = append(s.buf, p...)
}

// bomBytes may open a stream and are not part of its first line.
const bomBytes = "\xef\xbb\xbf"

// Next returns the next whole frame, or false when more bytes are needed or the stream is in error.
func (s *Splitter) Next() ([]byte, bool) {
	if s.err != nil {
		return nil, false
	}
	for s.pos < len(s.buf) {
		c := s.buf[s.pos]
		if s.bom >= 0 {
			if s.bom < len(bomBytes) && c == bomBytes[s.bom] {
				s.bom++
				s.pos++
				continue
			}
			// A whole mark leaves the line empty; a part of one was text.
			s.blank = s.bom == 0 || s.bom == len(bomBytes)
			s.bom = -1
		}
		if c > '\r' || (c != '\n' && c != '\r') {
			s.blank = false
			s.pos++
			continue
		}
		end := s.pos + 1
		cr := c == '\r'
		if cr && !(s.blank && s.bareCR) {
			if end == len(s.buf) {
				break // a line feed may follow
			}
			if s.buf[end] == '\n' {
				end++
				cr = false
			}
		}
		s.pos = end
		done := s.blank
		s.blank, s.bareCR = true, cr
		if done {
			return s.cut(end)
		}
	}
	if len(s.buf)-s.start > s.limit {
		s.tooLong()
	}
	return nil, false
}

func (s *Splitter) cut(end int) ([]byte, bool) {
	if end-s.start > s.limit {
		s.tooLong()
		return nil, false
	}
	f := s.buf[s.start:end:end]
	s.start = end
	return f, true
}

func (s *Splitter) tooLong() {
	s.err = fmt.Errorf("%w of %d bytes", ErrTooLong, s.limit)
}

// Err is the error that ended the stream: ErrTooLong, or nil.
func (s *Splitter) Err() error { return s.err }

// Rest ends the stream and returns what was left without a blank line after it. Clients differ on
// whether they read such a tail, so it must be inspected like a frame.
func (s *Splitter) Rest() []byte {
	r := s.buf[s.start:len(s.buf):len(s.buf)]
	s.buf, s.start, s.pos = nil, 0, 0
	return r
}
