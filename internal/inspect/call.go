package inspect

import (
	"context"
	"fmt"

	"sallyport.dev/sallyport/internal/gate"
	"sallyport.dev/sallyport/internal/inspect/finding"
	"sallyport.dev/sallyport/internal/inspect/purpose"
	"sallyport.dev/sallyport/internal/inspect/turns"
	"sallyport.dev/sallyport/internal/wire"
)

// maxRounds bounds how often a body is changed and read again before it is given up as one that
// cannot be cleaned.
const maxRounds = 3

// call is the inspection of one body.
type call struct {
	in      *Inspector
	x       *gate.Exchange
	reader  finding.Reader
	changed bool
}

func (in *Inspector) call(ctx context.Context, x *gate.Exchange, dir gate.Direction) *call {
	return &call{in: in, x: x, reader: finding.Reader{
		Find: in.finder(x.ID), Table: in.opt.Policy.Resolve(scope(x)), Direction: dir, Excuse: in.excuse(x),
		Halt: func() error {
			if err := ctx.Err(); err != nil {
				return gate.Fail(gate.FailDetector, fmt.Errorf("inspect %s: %w", dir, err))
			}
			return nil
		},
	}}
}

type reread func(wire.Route, wire.Dialect, []byte) (*gate.Reading, error)

// decide reads, cleans where the policy says so, and decides. In monitor mode it goes the same way,
// so that the record tells the truth about enforce, and lets the body through as it was.
func (c *call) decide(r *gate.Reading, body []byte, again reread) (out []byte, d gate.Decision, err error) {
	defer func() {
		if p := recover(); p != nil {
			out, d, err = nil, gate.Decision{}, recovered(p)
		}
	}()
	segs := c.segments(r)
	fs, err := c.read(segs)
	if err != nil {
		return nil, d, err
	}
	for i := range fs {
		finding.Keep(c.x.Record, fs[i])
	}
	out, d, err = c.act(segs, fs, body, again)
	if err != nil {
		return nil, gate.Decision{}, err
	}
	if rec := c.x.Record; rec != nil {
		rec.WouldBe = max(rec.WouldBe, d.Verdict)
	}
	if c.in.opt.Mode == Monitor {
		c.changed = false
		if d.Verdict > gate.Flag {
			d = gate.Decision{Verdict: gate.Flag, Reason: "monitor: would " + d.Verdict.String() + ": " + d.Reason}
		}
		return body, d, nil
	}
	if d.Denied() {
		c.changed = false
		return nil, d, nil
	}
	if c.changed && c.x.Record != nil {
		c.x.Record.Sanitized = true
	}
	if c.in.opt.MarkUntrusted && c.reader.Direction == gate.Request && len(r.Segments) > 0 {
		if c.changed { // the texts have other places now
			dialect := c.in.opt.Dialects[c.x.Dialect]
			if r, err = again(dialect.Route(c.x.Method, c.x.Path), dialect, out); err != nil {
				return nil, gate.Decision{}, gate.Fail(gate.FailDetector, fmt.Errorf("mark untrusted text: %w", err))
			}
		}
		marked, err := c.mark(r.Segments, out)
		if err != nil {
			return nil, gate.Decision{}, err
		}
		c.changed = c.changed || len(marked) != len(out)
		out = marked
	}
	return out, d, nil
}

// segments is what is read of a body: its texts and, of a request, the conversation as a whole.
func (c *call) segments(r *gate.Reading) []gate.Segment {
	if c.reader.Direction != gate.Request {
		return r.Segments
	}
	return turns.Join(r.Segments)
}

// read finds what each text holds by itself, and what it holds for this caller.
func (c *call) read(segs []gate.Segment) ([]gate.Finding, error) {
	fs, err := c.reader.Read(segs)
	if err != nil {
		return nil, err
	}
	var p *purpose.Purpose
	if c.reader.Direction == gate.Answer {
		if purpose.Calls(segs) {
			p = c.in.purpose(c.x)
		}
	} else {
		p = purpose.Read(segs, c.in.opt.Detector) // the texts as they are now
	}
	return p.Add(&c.reader, segs, fs), nil
}

// act does what the worst finding asks for.
func (c *call) act(segs []gate.Segment, fs []gate.Finding, body []byte, again reread) ([]byte, gate.Decision, error) {
	first := finding.Worst(fs)
	for range maxRounds {
		w := finding.Worst(fs)
		switch {
		case w == nil || w.Action < gate.Sanitize:
			return body, c.verdict(first), nil
		case w.Action == gate.Block:
			return nil, c.deny(w, "blocked"), nil
		}
		edits, stuck := finding.Plan(segs, fs)
		if stuck != nil {
			return nil, c.deny(stuck, "cannot be taken out where it stands"), nil
		}
		dialect := c.in.opt.Dialects[c.x.Dialect]
		if dialect == nil {
			return nil, c.deny(w, "no dialect to read the changed body"), nil
		}
		changed, err := wire.Splice(body, segs, edits)
		if err != nil {
			return nil, c.deny(w, "cannot be taken out of this body"), nil
		}
		body, c.changed = changed, true
		next, err := again(dialect.Route(c.x.Method, c.x.Path), dialect, body)
		if err != nil || len(next.Segments) == 0 {
			return nil, c.deny(w, "the changed body cannot be read"), nil
		}
		segs = c.segments(next)
		if fs, err = c.read(segs); err != nil {
			return nil, gate.Decision{}, err
		}
	}
	if w := finding.Worst(fs); w != nil && w.Action >= gate.Sanitize {
		return nil, c.deny(w, "still there after being taken out"), nil
	}
	return body, c.verdict(first), nil
}

// verdict is the decision about a call that passes; w is its worst finding, if any.
func (c *call) verdict(w *gate.Finding) gate.Decision {
	if w == nil || w.Action == gate.Allow {
		return gate.Decision{}
	}
	return gate.Decision{Verdict: w.Action, Reason: finding.Reason(w)}
}

func (c *call) deny(f *gate.Finding, why string) gate.Decision {
	return gate.Deny(finding.Problem(f), finding.Reason(f)+": "+why)
}
