package shadow

import (
	"bytes"
	"context"
	"sync/atomic"
	"time"

	"sallyport.dev/sallyport/internal/gate"
	"sallyport.dev/sallyport/internal/inspect"
	"sallyport.dev/sallyport/internal/inspect/output"
	"sallyport.dev/sallyport/internal/wire"
)

// Defaults of Options.
const (
	DefaultQueue     = 256
	DefaultCallBytes = 256 << 10
	DefaultBytes     = 16 << 20
)

// Options is what a live shadow needs.
type Options struct {
	// Active decides. Candidate reads the same beside it and decides nothing; its policy should be the
	// same and its mode Monitor.
	Active, Candidate *inspect.Inspector
	Journal           *Journal
	// Dialects read streamed answers again. Without its dialect here a streamed answer is not compared.
	Dialects map[gate.Dialect]wire.Dialect
	Key      []byte // keys the hashes of bodies
	// Queue and Bytes bound what waits for the candidate; what comes when they are full is dropped and
	// counted. CallBytes bounds one body; longer ones are not compared. 0: the defaults.
	Queue            int
	Bytes, CallBytes int64
}

// Live is a candidate beside live traffic. It stands where the active inspector would stand: as a
// stage, and as the reader of answers. A call waits for nothing but a copy of its text. Of a stream
// that the active pack ends, the candidate reads what came until then.
type Live struct {
	*inspect.Inspector // the active one
	o                  Options
	jobs               chan *job
	waiting            atomic.Int64 // bytes
	// What the path of a call could not hand over. Run tells the journal, which takes a lock.
	long, behind, broken atomic.Int64
}

// New makes a shadow; Run lets the candidate read.
func New(o Options) *Live {
	if o.Queue <= 0 {
		o.Queue = DefaultQueue
	}
	if o.Bytes <= 0 {
		o.Bytes = DefaultBytes
	}
	if o.CallBytes <= 0 {
		o.CallBytes = DefaultCallBytes
	}
	return &Live{Inspector: o.Active, o: o, jobs: make(chan *job, o.Queue)}
}

// Admit implements gate.Stage: it is the active inspector's.
func (l *Live) Admit(ctx context.Context, x *gate.Exchange) (gate.Decision, error) {
	if x.Reading == nil || x.Record == nil {
		return l.Inspector.Admit(ctx, x)
	}
	// What this stage alone says is between the record as it was and as it is.
	before, n := x.Record.WouldBe, len(x.Record.Findings)
	x.Record.WouldBe = gate.Allow
	d, err := l.Inspector.Admit(ctx, x)
	mine := x.Record.WouldBe
	x.Record.WouldBe = max(before, mine)
	if err == nil {
		l.offer(x, gate.Request, verdictOf(mine, x.Record.Findings[min(n, len(x.Record.Findings)):], gate.Request), x.Plain, nil)
	}
	return d, err
}

// Answer is the active inspector's.
func (l *Live) Answer(ctx context.Context, x *gate.Exchange, r *gate.Reading, body []byte) ([]byte, gate.Decision, error) {
	if r == nil || x.Record == nil {
		return l.Inspector.Answer(ctx, x, r, body)
	}
	before, n := x.Record.WouldBe, len(x.Record.Findings)
	x.Record.WouldBe = gate.Allow
	out, d, err := l.Inspector.Answer(ctx, x, r, body)
	mine := x.Record.WouldBe
	x.Record.WouldBe = max(before, mine)
	if err == nil {
		l.offer(x, gate.Answer, verdictOf(mine, x.Record.Findings[min(n, len(x.Record.Findings)):], gate.Answer), body, r)
	}
	return out, d, err
}

// Stream is the active inspector's.
func (l *Live) Stream(x *gate.Exchange, ws wire.Stream, now time.Time) *output.Stream {
	s := l.Inspector.Stream(x, ws, now)
	w := l.o.Dialects[x.Dialect]
	if w == nil || x.Record == nil {
		return s
	}
	var body []byte
	long := false
	s.Watch = func(raw []byte) {
		if long = long || int64(len(body)+len(raw)) > l.o.CallBytes; long {
			body = nil
			return
		}
		body = append(body, raw...)
	}
	s.Over = func(verdict gate.Action, aborted bool) {
		switch {
		case long:
			l.long.Add(1)
		case aborted:
			l.broken.Add(1)
		default:
			j := l.job(x, gate.Answer, verdictOf(verdict, x.Record.Findings, gate.Answer))
			j.stream, j.body, j.bytes = w.Stream(w.Route(x.Method, x.Path)), body, int64(len(body))
			j.e.reading = &gate.Reading{Model: modelOf(x)}
			l.hand(j)
		}
	}
	return s
}

// offer gives the candidate a copy of what was read, or counts why not. It never waits.
func (l *Live) offer(x *gate.Exchange, dir gate.Direction, active Verdict, body []byte, answer *gate.Reading) {
	r := x.Reading
	if answer != nil {
		r = answer
	}
	n := int64(len(body))
	for i := range r.Segments {
		n += int64(len(r.Segments[i].Text)) + 256
	}
	if n > l.o.CallBytes {
		l.long.Add(1)
		return
	}
	if l.waiting.Load()+n > l.o.Bytes {
		l.behind.Add(1) // before copying for nothing
		return
	}
	j := l.job(x, dir, active)
	j.bytes = n
	// The proxy takes its buffers back when the call ends.
	if answer != nil {
		j.answer, j.body = clone(answer), bytes.Clone(body)
		j.e.reading = &gate.Reading{Model: modelOf(x)}
	} else {
		j.e.reading, j.e.plain = clone(r), bytes.Clone(body)
	}
	l.hand(j)
}

// tell gives the counts of the path to the journal.
func (l *Live) tell() {
	l.o.Journal.skip("longer than the shadow reads", l.long.Swap(0))
	l.o.Journal.skip("dropped: the candidate was behind", l.behind.Swap(0))
	l.o.Journal.skip("a streamed answer that broke off", l.broken.Swap(0))
	l.o.Journal.Flush()
}

// Run lets the candidate read until ctx ends. What still waits then is counted as dropped.
func (l *Live) Run(ctx context.Context) {
	tick := time.NewTicker(flushEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			for {
				select {
				case <-l.jobs:
					l.o.Journal.skip("dropped: the gateway was reloaded or stopped", 1)
				default:
					l.tell()
					return
				}
			}
		case <-tick.C:
			l.tell()
		case j := <-l.jobs:
			l.read(ctx, j)
			l.waiting.Add(-j.bytes)
		}
	}
}
