// Package output lets a streamed answer through as fast as it can be decided: a window holds back
// the frames whose text may still become part of a finding, and no others.
//
// It promises that the bytes which leave are the provider's own, in their order, except where the
// policy takes something out; that nothing of a finding leaves that blocks, and nothing after it;
// that the verdict does not depend on how a text is cut into deltas; and that what is held is
// bounded in bytes (then the stream fails, closed) and in time (then it is decided as if the text
// ended there, and a finding that completes later acts on what has not left yet).
//
// Gaps: once the time is up, the beginning of a late finding has already left. After a block the
// dialect's orderly end may close a part whose beginning was held back with the rest.
package output

import (
	"fmt"
	"runtime"
	"time"

	"sallyport.dev/sallyport/internal/gate"
	"sallyport.dev/sallyport/internal/inspect/detect"
	"sallyport.dev/sallyport/internal/inspect/finding"
	"sallyport.dev/sallyport/internal/inspect/policy"
	"sallyport.dev/sallyport/internal/wire"
)

// Options is what all streams of one inspector share.
type Options struct {
	Detector detect.Detector
	// Find reads a text that stands alone; nil: Detector.Detect. What it returns is not written to.
	Find func(*gate.Segment) []gate.Finding
	// Monitor lets every byte pass at once; the window runs beside it, for the record alone.
	Monitor     bool
	HoldTime    time.Duration
	HoldBytes   int
	Uninspected func(gate.UninspectedKind) gate.Action
}

// End says that the stream ends here by policy.
type End struct {
	Problem  *gate.Problem
	Decision gate.Decision
	// Bytes is the dialect's orderly end, to be sent after what was returned with it. Where nothing
	// was sent yet (Started), the caller may answer with Problem instead.
	Bytes []byte
}

// Stream is one streamed answer on its way through. One goroutine at a time uses it.
type Stream struct {
	// Excuse is finding.Reader's. It is asked only where the whole text of a finding is still held.
	Excuse func(span []byte, f *gate.Finding) string
	// Watch, when set, is given each frame as it came, and Over is told once how it ended: with the
	// severest verdict, or that the stream was aborted. They must not wait and not keep the frame.
	Watch func(raw []byte)
	Over  func(verdict gate.Action, aborted bool)

	opt   *Options
	table policy.Table
	rec   *gate.Record
	ws    wire.Stream

	lanes map[string]*lane
	queue queue
	out   []byte

	blocked  *gate.Finding // why the stream ends; the first of all
	unread   *gate.Uninspected
	fault    error
	done     bool // ended, failed, closed or aborted: nothing leaves any more
	started  bool
	decision gate.Decision
}

// New begins a stream. What is found is put into rec.
func New(opt *Options, table policy.Table, rec *gate.Record, ws wire.Stream) *Stream {
	return &Stream{opt: opt, table: table, rec: rec, ws: ws}
}

// Push takes one frame as the splitter cut it and returns the bytes that may leave now, which are
// valid until the next call. After an end or an error every call returns nothing.
func (s *Stream) Push(raw []byte, now time.Time) (out []byte, end *End, err error) {
	if s.Watch != nil {
		s.Watch(raw)
	}
	if s.opt.Monitor {
		s.watch(func() { s.push(raw, now) })
		s.started = s.started || len(raw) > 0
		return raw, nil, nil
	}
	return s.run(func() { s.push(raw, now) })
}

// Deadline is when the oldest held bytes are due; zero when nothing is held.
func (s *Stream) Deadline() time.Time {
	if h := s.queue.head(); h != nil && !s.done {
		return h.at.Add(s.opt.HoldTime)
	}
	return time.Time{}
}

// Expire decides about what has been held for HoldTime as if its text ended here. Before the
// Deadline it does nothing.
func (s *Stream) Expire(now time.Time) (out []byte, end *End, err error) {
	return s.run(func() { s.expire(now) })
}

// Close ends the stream where the provider's ends: every text is decided, and what may leave does.
func (s *Stream) Close(time.Time) (out []byte, end *End, err error) {
	defer func() { s.done = true; s.drop(); s.over(false) }()
	return s.run(s.closeAll)
}

// over tells once that the stream has ended.
func (s *Stream) over(aborted bool) {
	if f := s.Over; f != nil {
		s.Watch, s.Over = nil, nil
		f(s.decision.Verdict, aborted)
	}
}

// Abort ends the stream without deciding anything and lets go of what it holds.
func (s *Stream) Abort() { s.done = true; s.drop(); s.over(true) }

// Started says whether any byte was released.
func (s *Stream) Started() bool { return s.started }

// Decision is what was decided about the answer so far. In monitor mode it never stops anything.
func (s *Stream) Decision() gate.Decision {
	d := s.decision
	if s.opt.Monitor && d.Verdict > gate.Flag {
		return gate.Decision{Verdict: gate.Flag, Reason: "monitor: would " + d.Verdict.String() + ": " + d.Reason}
	}
	return d
}

// run does one step and gathers what came of it. A panic in a detector or a reader is a failure
// like any other: closed.
func (s *Stream) run(step func()) (out []byte, end *End, err error) {
	if s.done {
		return nil, nil, nil
	}
	if s.opt.Monitor {
		s.watch(step)
		return nil, nil, nil
	}
	s.step(step)
	s.started = s.started || len(s.out) > 0
	switch {
	case s.fault != nil:
		err = s.fault
	case s.blocked != nil || s.unread != nil:
		p := s.decision.Problem
		end = &End{Problem: p, Decision: s.decision, Bytes: s.ws.Stop(p)}
	default:
		return s.out, nil, nil
	}
	s.done = true
	s.drop()
	s.over(err != nil)
	return s.out, end, err
}

// watch is run in monitor mode, where the window must neither hold nor stop anything: what it would
// have done is in the record. What it cannot read is recorded, and it goes on with the next frame.
func (s *Stream) watch(step func()) {
	if s.done {
		return
	}
	s.step(step)
	if s.fault != nil {
		finding.KeepUnread(s.rec, gate.Uninspected{
			Kind: gate.UninspectedDetector, Direction: gate.Answer, Path: "stream", Bytes: s.queue.bytes, Action: gate.Flag,
		})
		s.note(gate.Decision{Verdict: gate.Flag, Reason: string(gate.FailureOf(s.fault))})
		s.fault = nil
		s.queue = queue{}
	}
	if s.blocked != nil || s.unread != nil {
		s.done = true // enforce would have ended here
		s.drop()
	}
}

func (s *Stream) step(step func()) {
	if cap(s.out) > keepBuffer {
		s.out = nil
	}
	s.out = s.out[:0]
	defer func() {
		if r := recover(); r != nil {
			s.fault = recovered(r)
		}
	}()
	step()
}

// recovered: a panic's value may hold caller text, so only errors of the runtime itself are told.
func recovered(r any) error {
	if e, ok := r.(runtime.Error); ok {
		return gate.Fail(gate.FailDetector, fmt.Errorf("inspect stream: panic: %w", e))
	}
	return gate.Fail(gate.FailDetector, fmt.Errorf("inspect stream: panic (%T)", r))
}

func (s *Stream) drop() {
	s.queue, s.lanes = queue{}, nil
}

// note keeps the severest decision, the first of its kind.
func (s *Stream) note(d gate.Decision) {
	if d.Verdict > s.decision.Verdict {
		s.decision = d
	}
	if s.rec != nil {
		s.rec.WouldBe = max(s.rec.WouldBe, d.Verdict)
	}
}
