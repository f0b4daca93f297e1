package audit

import (
	"bufio"
	"cmp"
	"context"
	"io"
	"slices"
	"strconv"
	"time"
)

// ExportOptions choose what is exported.
type ExportOptions struct {
	// Since and Until bound the time of reception; zero: no bound. Until is exclusive.
	Since, Until time.Time
	// Outcomes keeps only calls that ended so; empty: all.
	Outcomes []string
	// Admin adds notes and gaps, each as a line of its own kind.
	Admin bool
	// Follow goes on with what is recorded until ctx ends. Calls in flight are not written then.
	Follow bool
}

const followEvery = 200 * time.Millisecond

// Export writes one JSON line per call, in the order in which they ended, then those in flight, in
// the order in which they began. docs/audit-format.md names the members. It needs nothing but the
// directory and may run beside the writer: it ends with what was there when it began, so that it ends
// however fast others write. A record that is broken ends it with an error.
func Export(ctx context.Context, dir string, w io.Writer, o ExportOptions) error {
	x := &export{o: o, w: bufio.NewWriter(w), open: map[string]*Event{}}
	r := &reader{dir: dir, seal: newSealer()}
	defer r.close()
	last, err := tail(dir)
	if err != nil {
		return err
	}
	for {
		if err := ctx.Err(); err != nil {
			return x.end(err)
		}
		if !o.Follow && r.behind(last) {
			return x.rest()
		}
		e, err := r.next()
		if err == errTail && o.Follow {
			if err := x.w.Flush(); err != nil {
				return err
			}
			select {
			case <-ctx.Done():
			case <-time.After(followEvery):
			}
			continue
		}
		if err == errTail {
			return x.rest()
		}
		if err == nil {
			err = x.event(e)
		}
		if err != nil {
			return x.end(err)
		}
	}
}

type export struct {
	o    ExportOptions
	w    *bufio.Writer
	open map[string]*Event
	buf  []byte
}

// end writes what is buffered. A Follow that was told to end has done what it should.
func (x *export) end(err error) error {
	if ferr := x.w.Flush(); ferr != nil {
		return ferr
	}
	if x.o.Follow && (err == context.Canceled || err == context.DeadlineExceeded) {
		return nil
	}
	return err
}

func (x *export) event(e *Event) error {
	switch e.Kind {
	case kindBegin:
		x.open[e.Record.ID] = e
	case kindFinish:
		begun := x.open[e.Record.ID]
		delete(x.open, e.Record.ID)
		return x.call(begun, e)
	case kindNote, kindGap:
		if x.o.Admin && x.within(e.Time) {
			return x.admin(e)
		}
	}
	return nil
}

// rest writes the calls in flight.
func (x *export) rest() error {
	var left []*Event
	for _, e := range x.open {
		left = append(left, e)
	}
	slices.SortFunc(left, func(a, b *Event) int { return cmp.Compare(a.Seq, b.Seq) })
	for _, e := range left {
		if err := x.call(e, nil); err != nil {
			return err
		}
	}
	return x.w.Flush()
}

func (x *export) within(t time.Time) bool {
	return !t.Before(x.o.Since) && (x.o.Until.IsZero() || t.Before(x.o.Until))
}

// call writes one call from its begin, its finish, or both.
func (x *export) call(begun, finished *Event) error {
	c := call{}
	switch {
	case finished == nil:
		c = begun.call()
		r := *begun.Record
		r.Outcome, c.Record = OutcomeInFlight, &r
	case begun != nil && finished.Record.Received.IsZero():
		// A finish that the log wrote itself knows the outcome only.
		c = begun.call()
		r := *begun.Record
		r.Outcome, r.Error, c.Record = finished.Record.Outcome, finished.Record.Error, &r
	default:
		c = finished.call()
	}
	received := c.Received
	if received.IsZero() && finished != nil {
		received = finished.Time
	}
	if !x.within(received) || len(x.o.Outcomes) > 0 && !slices.Contains(x.o.Outcomes, string(c.Outcome)) {
		return nil
	}
	b := append(x.buf[:0], `{"kind":"call"`...)
	b = appendCall(b, c)
	if begun != nil {
		b = number(b, "begin_seq", begun.Seq)
	}
	if finished != nil {
		b = number(b, "finish_seq", finished.Seq)
		b = append(b, `,"recorded":"`...)
		b = append(appendTime(b, finished.Time), '"')
	}
	return x.line(b)
}

func (x *export) admin(e *Event) error {
	b := append(x.buf[:0], `{"kind":"`...)
	b = append(b, e.Kind...)
	b = append(b, `","seq":`...)
	b = strconv.AppendInt(b, e.Seq, 10)
	b = append(b, `,"time":"`...)
	b = append(appendTime(b, e.Time), '"')
	if e.Note != nil {
		b = appendNote(b, e.Note.Event, e.Note.Fields)
	} else {
		b = appendGap(b, e.Gap)
	}
	return x.line(b)
}

func (x *export) line(b []byte) error {
	b = append(b, '}', '\n')
	x.buf = b
	_, err := x.w.Write(b)
	return err
}
