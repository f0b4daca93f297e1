package output

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"sallyport.dev/sallyport/internal/gate"
	"sallyport.dev/sallyport/internal/inspect/finding"
	"sallyport.dev/sallyport/internal/wire"
)

// maxLanes bounds how many texts one answer may have open at once.
const maxLanes = 1024

// push reads one frame, lets its pieces into their lanes and releases what is decided.
func (s *Stream) push(raw []byte, now time.Time) {
	h := s.queue.push(raw, now)
	fr, err := s.ws.Read(h.raw)
	if err != nil {
		h.barred = true
		s.fault = gate.Fail(gate.FailAnswerScan, fmt.Errorf("read frame: %w", err))
		return
	}
	for _, u := range fr.Uninspected {
		s.skipped(h, u)
	}
	if s.place(h, &fr); s.fault != nil {
		return
	}
	for i := range h.pieces {
		p := &h.pieces[i]
		fs, n := p.lane.det.Write(h.segs[p.seg].Text)
		p.lane.cleared(n)
		s.found(p.lane, fs)
	}
	s.alone(h, &fr)
	for _, name := range fr.Closes {
		s.close(name)
	}
	s.pump()
	if s.queue.bytes > s.opt.HoldBytes && s.blocked == nil && s.unread == nil {
		s.fault = gate.Fail(gate.FailAnswerScan, fmt.Errorf("more than %d bytes wait for a verdict", s.opt.HoldBytes))
	}
}

// place gives every piece of a lane its offsets.
func (s *Stream) place(h *held, fr *gate.Frame) {
	for i := range fr.Texts {
		t := &fr.Texts[i]
		seg := t.Segment
		h.segs = append(h.segs, seg)
		if t.Lane == "" || len(t.Text) == 0 {
			continue
		}
		l := s.lanes[t.Lane]
		if l == nil {
			if len(s.lanes) >= maxLanes {
				h.barred = true
				s.fault = gate.Fail(gate.FailAnswerScan, errors.New("too many texts at once"))
				return
			}
			if s.lanes == nil {
				s.lanes = make(map[string]*lane, 2)
			}
			l = newLane(t.Lane, t, s.opt.Detector.Lane(&t.Segment))
			s.lanes[l.name] = l
		}
		h.pieces = append(h.pieces, piece{lane: l, start: l.written, end: l.written + len(t.Text), seg: i})
		l.written += len(t.Text)
	}
	for _, p := range h.pieces {
		if l := p.lane; l.base == nil && l.inner() {
			l.base = s.lanes[strings.TrimSuffix(l.name, innerSuffix)]
		}
	}
}

// found acts on what a lane's detector found.
func (s *Stream) found(l *lane, fs []gate.Finding) {
	for _, f := range fs {
		f.Direction, f.Channel, f.Path, f.Segment = gate.Answer, l.seg.Channel, l.seg.Path, -1
		f.Start, f.End = max(f.Start, 0), min(f.End, l.written)
		f.Action = s.table.Action(f.Category, f.Channel, f.Direction)
		s.excuse(l, &f)
		if l.inner() && l.base != nil && f.Action == gate.Sanitize {
			l.debts = append(l.debts, debt{f, l.base.written}) // recorded only if it blocks
			continue
		}
		finding.Keep(s.rec, f)
		switch {
		case f.Action == gate.Block, f.Action == gate.Sanitize && (l.inner() || s.queue.nowhere(l, f.Start, f.End)):
			s.stop(l, &f)
		case f.Action == gate.Sanitize:
			s.note(gate.Decision{Verdict: gate.Sanitize, Reason: finding.Reason(&f)})
			if f.End > l.released {
				l.mask(f.Start, f.End, finding.Marker(f.Category))
			}
		case f.Action == gate.Flag:
			s.note(gate.Decision{Verdict: gate.Flag, Reason: finding.Reason(&f)})
		}
	}
}

// excuse asks the allow-list about a finding. What has left in part cannot be compared any more.
func (s *Stream) excuse(l *lane, f *gate.Finding) {
	if s.Excuse == nil || f.Action == gate.Allow {
		return
	}
	span := s.queue.text(l, f.Start, f.End)
	if len(span) != f.End-f.Start || len(span) == 0 {
		return
	}
	if f.Excused = s.Excuse(span, f); f.Excused != "" {
		f.Action = gate.Allow
	}
}

// block records a finding and stops at it.
func (s *Stream) block(l *lane, f *gate.Finding) {
	finding.Keep(s.rec, *f)
	s.stop(l, f)
}

// stop ends the stream before a finding.
func (s *Stream) stop(l *lane, f *gate.Finding) {
	l.stop = min(l.stop, f.Start)
	if f.Start < l.released { // it began in what has left: nothing may follow
		if h := s.queue.head(); h != nil {
			h.barred = true
		}
	}
	s.deny(f)
}

func (s *Stream) deny(f *gate.Finding) {
	if s.blocked == nil {
		s.blocked = f
		s.note(gate.Deny(finding.Problem(f), finding.Reason(f)))
	}
}

// skipped says what happens to a part of a frame that cannot be read.
func (s *Stream) skipped(h *held, u gate.Uninspected) {
	u.Direction, u.Action = gate.Answer, s.opt.Uninspected(u.Kind)
	finding.KeepUnread(s.rec, u)
	switch u.Action {
	case gate.Allow:
	case gate.Block:
		h.barred = true
		if s.unread == nil {
			s.unread = &u
			s.note(gate.Deny(finding.UnreadProblem(u), "uninspected "+u.Kind.String()))
		}
	default:
		s.note(gate.Decision{Verdict: gate.Flag, Reason: "uninspected " + u.Kind.String()})
	}
}

// close ends one lane, or with a star at the end all whose names begin so.
func (s *Stream) close(name string) {
	if prefix, ok := strings.CutSuffix(name, "*"); ok {
		if len(s.lanes) == 0 {
			return
		}
		for _, n := range slices.Sorted(maps.Keys(s.lanes)) { // in one order, always
			if strings.HasPrefix(n, prefix) {
				s.close(n)
			}
		}
		return
	}
	l := s.lanes[name]
	if l == nil {
		return
	}
	delete(s.lanes, name)
	fs := l.det.Close()
	l.closed = true
	s.found(l, fs)
	l.det = nil
}

// pump releases frames from the front as long as they are decided.
func (s *Stream) pump() {
	for _, h := range s.queue.waiting() {
		for i := range h.pieces {
			if l := h.pieces[i].lane; len(l.debts) > 0 {
				s.settle(l, l.closed && (l.base == nil || l.base.closed))
			}
		}
	}
	for h := s.queue.head(); h != nil && h.ready(); h = s.queue.head() {
		if !s.release(h) {
			return
		}
		s.queue.pop()
	}
}

// release lets one frame out, without what its lanes' masks cover.
func (s *Stream) release(h *held) bool {
	edits := h.edits
	for _, p := range h.pieces {
		if len(p.lane.masks) > 0 {
			edits = p.lane.edits(edits, p.seg, p.start, p.end, h.segs[p.seg].Text)
		}
		p.lane.left(p.end)
	}
	raw := h.raw
	if len(edits) > 0 {
		changed, err := wire.Splice(raw, h.segs, edits)
		if err != nil {
			s.fault = gate.Fail(gate.FailAnswerScan, fmt.Errorf("edit frame: %w", err))
			return false
		}
		raw = changed
		if s.rec != nil && !s.opt.Monitor {
			s.rec.Sanitized = true
		}
	}
	s.out = append(s.out, raw...)
	return true
}

// expire decides about the lanes that hold back frames which are due.
func (s *Stream) expire(now time.Time) {
	for h := s.queue.head(); h != nil && !now.Before(h.at.Add(s.opt.HoldTime)); h = s.queue.head() {
		for _, p := range h.pieces {
			if p.end <= p.lane.limit() {
				continue
			}
			s.lapse(p.lane)
			if len(p.lane.debts) > 0 {
				if p.lane.base != nil {
					s.lapse(p.lane.base)
				}
				s.settle(p.lane, true)
			}
		}
		s.pump()
		if s.queue.head() == h {
			return // it blocks
		}
	}
}

func (s *Stream) lapse(l *lane) {
	if l.closed {
		return
	}
	fs, _ := l.det.Expire()
	s.found(l, fs)
	l.clear = l.written
}

func (s *Stream) closeAll() {
	s.close("*")
	s.pump()
	if s.queue.head() != nil && s.blocked == nil && s.unread == nil && s.fault == nil {
		s.fault = gate.Fail(gate.FailAnswerScan, errors.New("text left undecided at the end"))
	}
}
