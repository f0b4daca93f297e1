package audit

import (
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"sallyport.dev/sallyport/internal/durable"
)

const (
	backoffFirst = 50 * time.Millisecond
	backoffMost  = time.Second // so that service is back well within 5 s of the disk
)

// ErrContradiction says that the disk no longer holds what it acknowledged. The log then stays
// closed until a person has looked.
var ErrContradiction = errors.New("audit: the disk contradicts what was made durable")

// recover refuses everything until the disk works again, then reads back what it holds and goes on
// from the last record that was acknowledged. It returns false when the log is closed meanwhile.
func (w *writer) recover(err error) bool {
	l := w.l
	l.counts.faults.Add(1)
	since, full := l.o.Now(), diskFull(err)
	w.fail(&fault{err: err, since: since})
	w.lose(err)
	w.scarce = true
	w.noFill = true // what room there is belongs to the record
	defer func() { w.noFill = false }()
	said := false
	for wait := backoffFirst; ; wait = min(2*wait, backoffMost) {
		if !w.pause(wait) {
			return false
		}
		if w.f == nil {
			if rerr := w.reopen(); errors.Is(rerr, ErrContradiction) {
				w.fail(&fault{err: rerr, since: since, permanent: true})
				for w.pause(time.Hour) {
				}
				return false
			} else if rerr != nil {
				continue
			}
		}
		if full {
			if !said {
				said = w.sayFull(err, since)
				continue
			}
			if !w.remakeReserve() {
				continue
			}
		}
		reason := gapDisk
		if full {
			reason = gapFull
		}
		if cerr := w.confess(Gap{State: gapClosed, Reason: reason, Error: err.Error(), Since: since}); cerr != nil {
			full = full || diskFull(cerr)
			w.drop()
			continue
		}
		l.fault.Store(nil)
		if l.o.OnFault != nil {
			l.o.OnFault(nil)
		}
		return true
	}
}

func (w *writer) fail(f *fault) {
	w.l.fault.Store(f)
	if w.l.o.OnFault != nil {
		w.l.o.OnFault(f.err)
	}
}

// lose tells every waiting caller, and closes the file: its pages are not to be trusted.
func (w *writer) lose(err error) {
	for _, e := range w.taken {
		w.settle(e, err)
	}
	w.taken = w.taken[:0]
	w.drop()
	w.refuseWaiting(err)
}

func (w *writer) refuseWaiting(err error) {
	w.backlog = w.l.queue.take(w.backlog)
	for _, e := range w.backlog {
		if e.alone || e.state.CompareAndSwap(entryWaiting, entryTaken) {
			w.settle(e, err)
		} else {
			w.l.waiting.Add(-1)
		}
	}
	w.backlog = w.backlog[:0]
}

// drop closes the file. What was accepted and not synced is lost.
func (w *writer) drop() {
	if w.f != nil {
		w.f.Close()
		w.f = nil
	}
	w.buf = w.buf[:0]
}

// pause waits, refusing whoever slipped past the fault flag.
func (w *writer) pause(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			return true
		case <-w.l.stop:
			return false
		case <-w.l.queue.wake:
			w.refuseWaiting(w.l.fault.Load().err)
		}
	}
}

// reopen cuts the log back to what was acknowledged and reads that again from the device.
func (w *writer) reopen() error {
	l := w.l
	firsts, err := segments(l.dir)
	if err != nil {
		return err
	}
	for _, first := range firsts {
		if first > w.synced.n { // begun by a write that was not acknowledged
			if err := durable.Remove(segmentPath(l.dir, first)); err != nil {
				return err
			}
		}
	}
	f, err := l.o.disk.Open(segmentPath(l.dir, w.synced.first))
	if err != nil {
		return err
	}
	st, err := w.reread(f)
	if err != nil {
		f.Close()
		return err
	}
	if w.unsynced > 0 {
		l.counts.lost.Add(w.unsynced)
		l.gap.addLost(w.unsynced)
		w.unsynced = 0
	}
	st.last = w.st.last
	w.f, w.st, w.filled = f, st, st.off
	l.counts.records.Store(st.tree.n)
	l.counts.open.Store(int64(len(st.open)))
	return nil
}

func (w *writer) reread(f file) (st state, err error) {
	if err := f.Truncate(w.synced.off); err != nil {
		return st, err
	}
	if err := f.Reread(); err != nil {
		return st, err
	}
	err = st.replay(f, w.synced.first, w.l.verifier.Name(), nil)
	var wrong *badRecord
	if errors.As(err, &wrong) || err == nil && (st.tree.n != w.synced.n || st.off != w.synced.off || st.prev != w.synced.prev) {
		return st, fmt.Errorf("%w: %d records acknowledged, %d read back (%v)", ErrContradiction, w.synced.n, st.tree.n, err)
	}
	return st, err
}

// sayFull gives the reserve back to the disk and records that calls are refused from now on.
func (w *writer) sayFull(err error, since time.Time) bool {
	if w.l.o.ReserveBytes < 0 {
		return true // nothing to write it with
	}
	if rerr := durable.Remove(filepath.Join(w.l.dir, reserveFile)); rerr != nil {
		return false
	}
	if cerr := w.confess(Gap{State: gapOpen, Reason: gapFull, Error: err.Error(), Since: since}); cerr != nil {
		w.drop()
		return false
	}
	return true
}

// remakeReserve says whether there is room again.
func (w *writer) remakeReserve() bool {
	if w.l.o.ReserveBytes < 0 {
		return true
	}
	return durable.Reserve(filepath.Join(w.l.dir, reserveFile), w.l.o.ReserveBytes) == nil
}
