package proxy

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"

	"sallyport.dev/sallyport/internal/gate"
	"sallyport.dev/sallyport/internal/inspect/output"
	"sallyport.dev/sallyport/internal/wire"
	"sallyport.dev/sallyport/internal/wire/sse"
)

// streaming is an answer that arrives as server-sent events. Its lock is between the reading
// goroutine and the timer that bounds how long text is held; both write to the client.
type streaming struct {
	mu     sync.Mutex
	c      *call
	resp   *http.Response
	ws     wire.Stream
	window *output.Stream
	cancel context.CancelCauseFunc
	timer  *time.Timer
	over   bool // nothing more may be written
	abort  bool // the client's connection must not end cleanly
}

var readBuffers = sync.Pool{New: func() any { b := make([]byte, 4<<10); return &b }}

// stream passes a streamed answer frame by frame, each as soon as nothing in it can become part of
// a finding, and the dialect's last frame after the record is durable.
func (c *call) stream(ctx context.Context, cancel context.CancelCauseFunc, resp *http.Response) {
	c.rec.Streamed = true
	ws := &counted{Stream: c.d.Stream(c.route), n: &c.rec.AnswerText}
	s := &streaming{c: c, resp: resp, ws: ws, cancel: cancel, window: c.g.o.Inspector.Stream(c.x, ws, time.Now())}
	defer s.leave()
	defer s.stopTimer()
	split := sse.NewSplitter(c.g.o.Limits.Frame)
	buf := readBuffers.Get().(*[]byte)
	defer readBuffers.Put(buf)
	for {
		n, err := resp.Body.Read(*buf)
		if n > 0 && !s.take(split, (*buf)[:n]) {
			break
		}
		if err == io.EOF {
			s.atEnd(split.Rest())
			break
		}
		if err != nil {
			s.brokeOff(ctx, err)
			break
		}
	}
	s.stopTimer()
	if s.abort {
		panic(http.ErrAbortHandler)
	}
	c.trailers(resp)
}

// leave lets go of what the window still holds, however the stream ended.
func (s *streaming) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.window.Abort()
}

// take inspects what has arrived and writes what may leave, in one write. It returns false when the
// stream is over.
func (s *streaming) take(split *sse.Splitter, p []byte) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return false
	}
	split.Write(p)
	now := time.Now()
	var out []byte
	for {
		frame, ok := split.Next()
		if !ok {
			break
		}
		b, end, err := s.window.Push(frame, now)
		out = append(out, b...)
		if end != nil || err != nil {
			s.stop(out, end, err)
			return false
		}
	}
	if err := split.Err(); err != nil {
		s.stop(out, nil, err)
		return false
	}
	if !s.release(out) {
		return false
	}
	s.arm()
	return true
}

// arm sets the timer that bounds how long text is held.
func (s *streaming) arm() {
	due := s.window.Deadline()
	if due.IsZero() {
		if s.timer != nil {
			s.timer.Stop()
		}
		return
	}
	if wait := time.Until(due); s.timer == nil {
		s.timer = time.AfterFunc(wait, s.expire)
	} else {
		s.timer.Reset(wait)
	}
}

func (s *streaming) expire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer func() {
		if r := recover(); r != nil {
			s.c.g.o.Log.Error("stream timer panicked", "id", s.c.rec.ID, "error", gate.Panicked("stream", r))
			s.c.rec.Error = "panic"
			s.over, s.abort = true, true
			s.cancel(errClientGone)
		}
	}()
	if s.over {
		return
	}
	out, end, err := s.window.Expire(time.Now())
	if end != nil || err != nil {
		s.stop(out, end, err)
		s.cancel(errClientGone) // the reading goroutine waits for the provider
		return
	}
	if s.release(out) {
		s.arm()
	}
}

func (s *streaming) stopTimer() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over = true
	if s.timer != nil {
		s.timer.Stop()
	}
}

// release writes bytes to the client. The dialect's last frame waits for the record.
func (s *streaming) release(out []byte) bool {
	c := s.c
	if len(out) == 0 {
		return true
	}
	if c.recorded {
		// The answer is complete and its record written: only what says nothing may follow.
		if t := bytes.TrimSpace(out); len(t) > 0 && !bytes.Equal(t, doneFrame) {
			c.g.o.Log.Warn("provider sent text after the end of its stream; it was dropped", "id", c.rec.ID, "upstream", c.up.Name)
			s.over = true
			return false
		}
		return s.write(out)
	}
	c.sent(out)
	if s.ws.Account().Done && s.window.Deadline().IsZero() {
		if !s.record(gate.OutcomeCompleted) {
			return s.unrecorded()
		}
	}
	return s.write(out)
}

// doneFrame is what some providers send after an event that already ended the stream.
var doneFrame = []byte("data: [DONE]")

// write sends, and flushes: a stream's bytes never wait in a buffer.
func (s *streaming) write(out []byte) bool {
	c := s.c
	if !c.started {
		c.answerHeaders(s.resp)
		c.w.Header().Del("Content-Length")
		c.started = true
		c.rec.FirstByte = time.Since(c.rec.Received)
		c.w.WriteHeader(s.resp.StatusCode)
	}
	c.deadline()
	if _, err := c.w.Write(out); err == nil && c.rc.Flush() == nil {
		return true
	}
	s.over, s.abort = true, true
	s.record(c.g.o.Load.gone())
	s.cancel(errClientGone)
	return false
}

// record writes the end of the call, with what the stream said about itself.
func (s *streaming) record(o gate.Outcome) bool {
	c := s.c
	if c.recorded {
		return true
	}
	a := s.ws.Account()
	c.rec.Usage, c.rec.Finish, c.rec.Outcome = a.Usage, a.Finish, o
	if d := s.window.Decision(); d.Verdict > c.rec.Decision.Verdict {
		d.Stage = "answer"
		c.rec.Decision = d
	}
	if c.rec.Model == "" {
		c.rec.Model = a.Model
	}
	return c.finish() == nil
}

// unrecorded ends a stream whose end cannot be recorded: with an error, never as if it were whole.
func (s *streaming) unrecorded() bool {
	p := gate.FailRecordFinish.Row().Problem()
	s.over = true
	if !s.c.started {
		h, body := s.c.d.Refusal(p, s.c.rec.ID)
		s.c.write(p.Status, h, body)
		return false
	}
	s.abort = true
	s.write(s.ws.Fail(p))
	return false
}

// stop ends the stream by policy (end) or because it cannot be read (err).
func (s *streaming) stop(out []byte, end *output.End, err error) {
	c := s.c
	s.over = true
	if end == nil {
		row := rowOf(err, gate.FailAnswerScan)
		c.g.o.Log.Warn("stream cannot be inspected", "id", c.rec.ID, "error", err)
		c.rec.Error = "answer: unreadable stream"
		s.finishWith(out, row.Problem(), s.ws.Fail(row.Problem()), gate.OutcomeFailed)
		return
	}
	c.rec.Decision = end.Decision
	c.rec.Decision.Stage = "answer"
	s.finishWith(out, end.Problem, end.Bytes, gate.OutcomeBlocked)
}

// finishWith ends the stream with the given last bytes, or with a plain error answer where nothing
// has been sent yet.
func (s *streaming) finishWith(out []byte, p *gate.Problem, last []byte, o gate.Outcome) {
	c := s.c
	if !c.started && len(out) == 0 {
		a := s.ws.Account()
		c.rec.Usage = a.Usage
		c.refuse(p, o)
		return
	}
	out = append(out, last...)
	c.sent(out)
	if !s.record(o) {
		s.unrecorded()
		return
	}
	s.write(out)
}

// atEnd releases what is still held when the provider's answer ends.
func (s *streaming) atEnd(rest []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return
	}
	var out []byte
	if len(rest) > 0 {
		b, end, err := s.window.Push(rest, time.Now())
		out = append(out, b...)
		if end != nil || err != nil {
			s.stop(out, end, err)
			return
		}
	}
	b, end, err := s.window.Close(time.Now())
	out = append(out, b...)
	if end != nil || err != nil {
		s.stop(out, end, err)
		return
	}
	if s.c.recorded {
		s.release(out)
		s.over = true
		return
	}
	s.c.sent(out)
	if !s.record(gate.OutcomeCompleted) {
		s.unrecorded()
		return
	}
	if len(out) > 0 || !s.c.started {
		s.write(out)
	}
	s.over = true
}

// brokeOff ends a stream that the provider, or the client, left. What is clean of the held text
// still goes; the end is not made to look whole.
func (s *streaming) brokeOff(ctx context.Context, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return
	}
	c := s.c
	c.rec.Error = "answer broke off"
	if c.r.Context().Err() != nil {
		s.over, s.abort = true, true
		s.record(c.g.o.Load.gone())
		return
	}
	out, end, werr := s.window.Close(time.Now())
	if end != nil || werr != nil {
		s.stop(out, end, werr)
		return
	}
	s.over = true
	if errors.Is(context.Cause(ctx), errIdle) {
		p := &gate.Problem{Status: http.StatusGatewayTimeout, Code: gate.CodeUpstreamTimeout, Message: "The provider fell silent."}
		s.finishWith(out, p, s.ws.Fail(p), gate.OutcomeUpstreamAborted)
		return
	}
	if !c.started && len(out) == 0 {
		c.broken(err)
		return
	}
	c.sent(out)
	s.record(gate.OutcomeUpstreamAborted)
	s.write(out)
	s.abort = true
}

// counted counts the text that a stream's frames hold, for providers that do not say what it came to.
type counted struct {
	wire.Stream
	n *int64
}

func (s *counted) Read(raw []byte) (gate.Frame, error) {
	f, err := s.Stream.Read(raw)
	for i := range f.Texts {
		*s.n += int64(len(f.Texts[i].Text))
	}
	return f, err
}
