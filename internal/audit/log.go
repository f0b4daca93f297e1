package audit

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/mod/sumdb/note"

	"sallyport.dev/sallyport/internal/gate"
)

// Log is the record, open for appending. It is safe for concurrent use.
type Log struct {
	dir      string
	o        Options
	signer   note.Signer
	verifier note.Verifier
	vkey     string
	lock     *os.File

	queue   queue
	entries pool
	waiting atomic.Int64
	fault   atomic.Pointer[fault] // set while the log does not work
	ioSince atomic.Int64          // when the running write began, since epoch; 0: none
	epoch   time.Time
	gap     gapCounter

	closing atomic.Bool
	stop    chan struct{} // closed by Close
	stopped chan struct{} // closed when the writer has ended
	w       writer
	marks   marker
	counts  counts
}

type counts struct {
	records, open, written, batches, bytes, refused, lost, faults, checkpoint atomic.Int64
}

// fault is why a log does not work.
type fault struct {
	err       error
	since     time.Time
	permanent bool // what the disk holds contradicts what was written; only a person can say why
}

var (
	// ErrClosed is returned by every use of a log after Close.
	ErrClosed = errors.New("audit: the log is closed")
	// ErrTimeout says that the disk did not take a record in time.
	ErrTimeout = errors.New("audit: the disk did not take the record in time")
	// ErrQueueFull says that too many records wait.
	ErrQueueFull = errors.New("audit: too many records wait for the disk")
)

// Begin records the intent of a call. In mode Durable the call may go on only when it returned
// nil: then the record is on the disk. An error is a *gate.Fault of FailRecordBegin or FailDisk,
// and means that the call is not on the record as begun, or that the record will say it failed.
// r.ID must be unique, 1 to 128 bytes of [A-Za-z0-9._:-]. r is not kept.
func (l *Log) Begin(ctx context.Context, r *gate.Record) error {
	if err := checkID(r.ID); err != nil {
		return gate.Fail(gate.FailRecordBegin, err)
	}
	e := l.entries.get(kindBegin, r.ID)
	e.body = appendCall(e.body, limit(r, l.o.ContentBytes))
	return l.submit(ctx.Done(), e, gate.FailRecordBegin)
}

// Finish records the end of a call, whether it began or was refused before. ctx being cancelled
// does not stop it: a caller who left is recorded too, and Options.Timeout bounds the wait. An error
// is a *gate.Fault of FailRecordFinish or FailDisk; the answer must then be withheld. A call that
// began and whose end could not be recorded, nor is recorded by another Finish soon, is recorded as
// failed when the log works again.
func (l *Log) Finish(_ context.Context, r *gate.Record) error {
	if err := checkID(r.ID); err != nil {
		return gate.Fail(gate.FailRecordFinish, err)
	}
	e := l.entries.get(kindFinish, r.ID)
	e.body = appendCall(e.body, limit(r, l.o.ContentBytes))
	return l.submit(nil, e, gate.FailRecordFinish)
}

// Note records an administrative event, such as config_reload or key_created, with its fields:
// at most 64, the values at most 2 KiB long. It must not hold secrets.
func (l *Log) Note(ctx context.Context, event string, fields map[string]string) error {
	e := l.entries.get(kindNote, "")
	e.body = appendNote(e.body, event, fields)
	return l.submit(ctx.Done(), e, gate.FailRecordFinish)
}

func (l *Log) submit(cancel <-chan struct{}, e *entry, f gate.Failure) error {
	kind, id := e.kind, e.id
	if err := l.admit(); err != nil {
		l.entries.put(e)
		return l.refuse(kind, id, f, err)
	}
	if l.o.Mode == BestEffort {
		e.alone = true
		l.queue.push(e)
		return nil
	}
	e.timer.Reset(l.o.Timeout)
	l.queue.push(e)
	var err error
	select {
	case err = <-e.done:
		e.timer.Stop()
		l.entries.put(e)
		if err != nil { // counted by the writer
			return failed(f, err)
		}
		return nil
	case <-e.timer.C:
		err = ErrTimeout
	case <-cancel:
		err = context.Canceled
	case <-l.stopped:
		err = ErrClosed
	}
	e.timer.Stop()
	if e.state.CompareAndSwap(entryWaiting, entryGivenUp) || e.state.CompareAndSwap(entryTaken, entryLate) {
		return l.refuse(kind, id, f, err)
	}
	err = <-e.done
	l.entries.put(e)
	if err != nil {
		return failed(f, err)
	}
	return nil
}

// admit says at once that a record cannot be written, where that is known.
func (l *Log) admit() error {
	if f := l.fault.Load(); f != nil {
		return f.err
	}
	if l.closing.Load() {
		return ErrClosed
	}
	if t := l.ioSince.Load(); t != 0 && int64(time.Since(l.epoch))-t > int64(l.o.Timeout) {
		return fmt.Errorf("%w: it hangs", ErrTimeout)
	}
	if l.waiting.Add(1) > int64(l.o.Queue) {
		l.waiting.Add(-1)
		return ErrQueueFull
	}
	return nil
}

// refuse counts a record that is not written and says what its caller is told.
func (l *Log) refuse(kind, id string, f gate.Failure, err error) error {
	if l.o.Mode == BestEffort && !errors.Is(err, ErrClosed) {
		l.counts.lost.Add(1)
		l.gap.add(kind, id, true, err)
		return nil
	}
	l.counts.refused.Add(1)
	if !errors.Is(err, context.Canceled) && !errors.Is(err, ErrClosed) { // that is no fault of the log
		l.gap.add(kind, id, false, err)
	}
	return failed(f, err)
}

func failed(f gate.Failure, err error) error {
	if diskFull(err) {
		f = gate.FailDisk
	}
	return gate.Fail(f, err)
}

// PublicKey is the key that signs the checkpoints, in the form of golang.org/x/mod/sumdb/note.
func (l *Log) PublicKey() string { return l.vkey }

// Origin is the name of the log, the first line of its checkpoints.
func (l *Log) Origin() string { return l.verifier.Name() }

// Stats is a snapshot.
func (l *Log) Stats() Stats {
	c := &l.counts
	s := Stats{
		Records: c.records.Load(), Checkpoint: c.checkpoint.Load(), Open: int(c.open.Load()),
		Waiting: int(l.waiting.Load()), Written: c.written.Load(), Batches: c.batches.Load(),
		Bytes: c.bytes.Load(), Refused: c.refused.Load(), Lost: c.lost.Load(), Faults: c.faults.Load(),
	}
	if f := l.fault.Load(); f != nil {
		s.Failing, s.LastError = true, f.err.Error()
	}
	return s
}

// Close writes what waits, signs a last checkpoint and gives the directory back. Calls begun and
// not finished stay open; the next Open records them as interrupted. Where the disk hangs it
// returns an error after Options.Timeout.
func (l *Log) Close() error {
	if !l.closing.CompareAndSwap(false, true) {
		return ErrClosed
	}
	close(l.stop)
	t := time.NewTimer(l.o.Timeout)
	defer t.Stop()
	select {
	case <-l.stopped:
	case <-t.C:
		return fmt.Errorf("%w: not closed", ErrTimeout)
	}
	err := l.w.ended
	l.marks.end()
	select {
	case merr := <-l.marks.ended:
		if err == nil {
			err = merr
		}
	case <-t.C:
		return fmt.Errorf("%w: the last checkpoint is not written", ErrTimeout)
	}
	if cerr := l.lock.Close(); err == nil {
		err = cerr
	}
	return err
}
