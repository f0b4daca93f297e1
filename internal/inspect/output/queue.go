package output

import (
	"time"

	"sallyport.dev/sallyport/internal/gate"
)

// keepBuffer is how large a buffer may be to be kept for the next frame.
const keepBuffer = 2 << 10

// piece is one piece of a lane's text in a held frame.
type piece struct {
	lane       *lane
	start, end int // in the lane
	seg        int // in the frame's segments
}

// held is a frame that waits.
type held struct {
	raw    []byte
	at     time.Time // when it came
	segs   []gate.Segment
	pieces []piece
	edits  []gate.Edit // of texts that stand alone, already decided
	barred bool        // something in it blocks
}

func (h *held) ready() bool {
	if h.barred {
		return false
	}
	for i := range h.pieces {
		if p := &h.pieces[i]; p.end > p.lane.limit() && p.end > p.start {
			return false
		}
	}
	return true
}

// queue holds frames in the order in which they came.
type queue struct {
	frames []*held
	first  int
	bytes  int     // of raw frames held
	spare  []*held // for reuse
}

func (q *queue) head() *held {
	if q.first == len(q.frames) {
		return nil
	}
	return q.frames[q.first]
}

func (q *queue) waiting() []*held { return q.frames[q.first:] }

// push makes room for a frame and copies its bytes.
func (q *queue) push(raw []byte, now time.Time) *held {
	var h *held
	if n := len(q.spare); n > 0 {
		h = q.spare[n-1]
		q.spare = q.spare[:n-1]
	} else {
		h = &held{}
	}
	h.raw = append(h.raw[:0], raw...)
	h.at = now
	q.frames = append(q.frames, h)
	q.bytes += len(raw)
	return h
}

func (q *queue) pop() {
	h := q.frames[q.first]
	q.frames[q.first] = nil
	q.first++
	q.bytes -= len(h.raw)
	if q.first == len(q.frames) {
		q.frames, q.first = q.frames[:0], 0
		if cap(q.frames) > 64 {
			q.frames = nil
		}
	} else if q.first > 64 && q.first > len(q.frames)/2 {
		q.frames = append(q.frames[:0], q.frames[q.first:]...)
		q.first = 0
	}
	if len(q.spare) < 2 && cap(h.raw) <= keepBuffer && cap(h.segs) <= 4 {
		clear(h.segs)
		clear(h.pieces)
		*h = held{raw: h.raw[:0], segs: h.segs[:0], pieces: h.pieces[:0]}
		q.spare = append(q.spare, h)
	}
}

// text is what the held frames have of a lane's text between start and end; shorter where a part
// has left.
func (q *queue) text(l *lane, start, end int) (text []byte) {
	for _, h := range q.waiting() {
		for _, p := range h.pieces {
			if a, b := max(start, p.start), min(end, p.end); p.lane == l && a < b {
				text = append(text, h.segs[p.seg].Text[a-p.start:b-p.start]...)
			}
		}
	}
	return text
}

// around is the range of lane b that came in the frames which carry start..end of lane l.
func (q *queue) around(l, b *lane, start, end int) (from, to int) {
	from = -1
	for _, h := range q.waiting() {
		carries := false
		for _, p := range h.pieces {
			carries = carries || (p.lane == l && p.start < end && start < p.end)
		}
		for _, p := range h.pieces {
			if carries && p.lane == b {
				if from < 0 {
					from = p.start
				}
				to = p.end
			}
		}
	}
	return max(from, 0), to
}

// nowhere says whether start..end of a lane stands, in part, where it cannot be edited.
func (q *queue) nowhere(l *lane, start, end int) bool {
	for _, h := range q.waiting() {
		for _, p := range h.pieces {
			if p.lane == l && p.start < end && start < p.end && h.segs[p.seg].Place.Coding == gate.Nowhere {
				return true
			}
		}
	}
	return false
}
