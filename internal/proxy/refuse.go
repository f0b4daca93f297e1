package proxy

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"sallyport.dev/sallyport/internal/gate"
)

// deny ends the call as a stage decided.
func (c *call) deny(d gate.Decision) {
	c.rec.Decision = d
	out := gate.OutcomeRefused
	if d.Problem.Code == gate.CodePolicy || d.Problem.Code == gate.CodeUninspected {
		out = gate.OutcomeBlocked
	}
	c.refuse(d.Problem, out)
}

// refuseUnread refuses a call whose body was not read to its end: the connection cannot be used again.
func (c *call) refuseUnread(p *gate.Problem) {
	c.w.Header().Set("Connection", "close")
	if p == problemTooLarge || p == problemMemory {
		// Whatever the client still sends is not waited for.
		_ = c.rc.SetReadDeadline(time.Now().Add(500 * time.Millisecond))
	}
	out := gate.OutcomeRefused
	if p == problemBody && c.r.Context().Err() != nil {
		out = c.g.o.Load.gone()
	}
	c.refuse(p, out)
}

// refuse answers with an error in the caller's dialect, after the record has it. Where the record
// cannot take it the caller is told that instead: nothing is answered unrecorded.
func (c *call) refuse(p *gate.Problem, out gate.Outcome) {
	if c.started {
		return
	}
	if c.rec.Decision.Problem == nil {
		c.rec.Decision.Verdict, c.rec.Decision.Problem = gate.Block, p
	}
	if c.rec.Decision.Stage == "" {
		c.rec.Decision.Stage = "proxy"
	}
	c.rec.Status, c.rec.Outcome = p.Status, out
	c.keepRequest()
	if err := c.finish(); err != nil {
		p = rowOf(err, gate.FailRecordFinish).Problem()
	}
	h, body := c.d.Refusal(p, c.rec.ID)
	for k, vs := range p.Header {
		h[k] = vs
	}
	c.write(p.Status, h, body)
}

// write sends a whole answer of ours.
func (c *call) write(status int, h http.Header, body []byte) {
	dst := c.w.Header()
	for k, vs := range h {
		dst[k] = vs
	}
	dst["Content-Length"] = []string{strconv.Itoa(len(body))}
	c.started = true
	c.deadline()
	c.w.WriteHeader(status)
	if c.r.Method != http.MethodHead {
		_, _ = c.w.Write(body)
	}
}

// deadline gives the client WriteStall to take the next bytes.
func (c *call) deadline() {
	if t := c.g.o.Timeouts.WriteStall; t > 0 {
		_ = c.rc.SetWriteDeadline(time.Now().Add(t))
	}
}

// finish writes the end of the call to the record, once. It does not depend on the client still
// being there.
func (c *call) finish() error {
	if c.recorded {
		return nil
	}
	c.recorded = true
	c.rec.Finished = time.Since(c.rec.Received)
	c.rec.Sanitized = c.rec.Sanitized || c.masked.Load()
	c.settle()
	c.keepAnswer()
	if err := c.g.o.Recorder.Finish(context.WithoutCancel(c.r.Context()), c.rec); err != nil {
		c.g.o.Log.Error("cannot record end of call", "id", c.rec.ID, "error", err)
		return err
	}
	return nil
}

// settle has what the call reserved settled, once. A panic there is not the call's.
func (c *call) settle() {
	if c.settled {
		return
	}
	c.settled = true
	if c.g.o.Settle == nil {
		return
	}
	defer func() {
		if r := recover(); r != nil {
			c.g.o.Log.Error("settling panicked", "id", c.rec.ID, "error", gate.Panicked("settle", r))
		}
	}()
	c.g.o.Settle(c.x)
}

// finishAnyhow writes the record of a call that ended in a way nobody foresaw.
func (c *call) finishAnyhow(out gate.Outcome) {
	if c.recorded {
		return
	}
	if c.rec.Outcome == "" {
		c.rec.Outcome = out
	}
	_ = c.finish()
}
