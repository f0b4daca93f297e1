package audit

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"sallyport.dev/sallyport/internal/gate"
)

const (
	batchBytes = 1 << 20 // of one write, unless a single record is longer
	// fillBytes is the room taken in advance, so that a sync need not journal a new length. Taking it
	// costs a few milliseconds, once in some 1,700 records: rare enough not to be the 99th percentile.
	fillBytes  = 2 << 20
	fillScarce = 64 << 10 // in a file on which a write has failed
	syncEvery  = time.Second
	lateAfter  = 10 * time.Second // a call whose end was refused may still be finished by its caller
)

var zeros [64 << 10]byte

// writer is the state of the one goroutine that writes.
type writer struct {
	l       *Log
	st      state // with what is staged in buf
	synced  position
	marked  int64 // records covered by the newest checkpoint asked for
	markAt  time.Time
	f       file
	filled  int64 // length of the file
	noFill  bool  // take no room in advance
	scarce  bool  // take little
	seal    *sealer
	buf     []byte // lines not written yet
	stamp   []byte // time of the batch
	back    bool   // the clock had gone back
	backlog []*entry
	taken   []*entry
	// unsynced is the number of records that were accepted and written and may still be lost with
	// the page cache; always 0 in mode Durable.
	unsynced int64
	ended    error
	orphans  map[string]time.Time // calls begun whose end was refused, with when to end them ourselves
}

// position is how far the disk is known to hold the record.
type position struct {
	first, off, n int64
	prev          tlog.Hash // of record n; it stands for all before it
}

func (w *writer) run() {
	l := w.l
	defer close(l.stopped)
	every := time.NewTicker(min(syncEvery, l.o.CheckpointEvery))
	defer every.Stop()
	for {
		w.backlog = l.queue.take(w.backlog)
		var err error
		if len(w.backlog) > 0 {
			err = w.commit()
		} else {
			select {
			case <-l.queue.wake:
			case <-every.C:
				err = w.tick()
			case <-l.stop:
				if w.backlog = l.queue.take(w.backlog); len(w.backlog) == 0 {
					w.ended = w.end()
					return
				}
			}
		}
		if err != nil && !w.recover(err) {
			w.drop()
			w.ended = fmt.Errorf("audit: closed while the disk did not work: %w", l.fault.Load().err)
			return
		}
	}
}

// commit writes one batch and tells its callers.
func (w *writer) commit() error {
	if err := w.rotate(); err != nil {
		return err
	}
	w.start()
	n := 0
	for _, e := range w.backlog {
		if len(w.buf) > batchBytes {
			break
		}
		n++
		if !e.alone && !e.state.CompareAndSwap(entryWaiting, entryTaken) {
			w.l.waiting.Add(-1) // its caller gave up and forgot it
			continue
		}
		if e.kind == kindBegin && w.st.open[e.id] != 0 {
			w.settle(e, fmt.Errorf("%w: call %s has begun already", errID, e.id))
			continue
		}
		w.stage(e.kind, e.id, e.body)
		w.taken = append(w.taken, e)
	}
	w.backlog = slices.Delete(w.backlog, 0, n)
	if err := w.flush(w.l.o.Mode == Durable); err != nil {
		return err
	}
	if w.l.o.Mode == BestEffort {
		w.unsynced += int64(len(w.taken))
	}
	for _, e := range w.taken {
		w.settle(e, nil)
	}
	w.taken = w.taken[:0]
	w.mark(w.l.o.CheckpointRecords)
	return nil
}

// settle gives an entry its result.
func (w *writer) settle(e *entry, err error) {
	w.l.waiting.Add(-1)
	switch {
	case e.alone:
		if err != nil {
			w.l.counts.lost.Add(1)
			w.l.gap.add(e.kind, e.id, true, err)
		}
		w.l.entries.put(e)
		return
	case e.state.CompareAndSwap(entryTaken, entryWritten), e.state.CompareAndSwap(entryWaiting, entryWritten):
		if err != nil {
			w.l.counts.refused.Add(1)
			if !errors.Is(err, errID) {
				w.l.gap.add(e.kind, e.id, false, err)
			}
		}
		e.done <- err
		return
	}
	// The caller left meanwhile, was told that the record is not written, and counted it.
	if err != nil {
		return
	}
	switch e.kind {
	case kindBegin:
		w.orphan(e.id)
	case kindFinish:
		w.later(kindNote, "", appendNote(nil, "finish_not_delivered", map[string]string{
			"id": e.id, "why": "the record of this call's end was written too late; its caller was told that it was not",
		}))
	}
}

// later puts a record of our own in the next batch.
func (w *writer) later(kind, id string, body []byte) {
	e := w.l.entries.get(kind, id)
	e.body, e.alone = append(e.body, body...), true
	w.l.waiting.Add(1)
	w.backlog = append(w.backlog, e)
}

// start begins a batch: one time for all of it.
func (w *writer) start() {
	now := w.l.o.Now()
	w.back = !w.st.last.IsZero() && w.st.last.Sub(now) > time.Second
	w.st.last = now
	w.stamp = appendTime(w.stamp[:0], now)
}

// stage appends a record to the batch and to the state. When the write fails the state is read
// back from the disk, so nothing need be undone.
func (w *writer) stage(kind, id string, body []byte) {
	d := draft{
		seq: w.st.tree.n + 1, time: w.stamp, kind: kind, body: body,
		clockBack: w.back, batch: w.synced.n + 1, prev: w.st.prev,
	}
	switch kind {
	case kindBegin:
		w.st.open[id] = d.seq
	case kindFinish:
		d.begun = w.st.open[id]
		delete(w.st.open, id)
		delete(w.orphans, id)
	}
	var leaf tlog.Hash
	w.buf, leaf = w.seal.seal(w.buf, &d)
	w.st.tree.add(leaf)
	w.st.prev, w.st.batch = leaf, d.batch
}

// flush writes the batch, and syncs it when asked to.
func (w *writer) flush(sync bool) error {
	if len(w.buf) == 0 {
		return nil
	}
	defer w.busy()()
	end := w.st.off + int64(len(w.buf))
	if err := w.fill(end); err != nil {
		return err
	}
	if _, err := w.f.WriteAt(w.buf, w.st.off); err != nil {
		return err
	}
	c := &w.l.counts
	c.written.Add(w.st.tree.n - c.records.Load())
	c.batches.Add(1)
	c.bytes.Add(int64(len(w.buf)))
	w.st.off, w.filled = end, max(w.filled, end)
	w.buf = w.buf[:0]
	if cap(w.buf) > 4*batchBytes {
		w.buf = nil
	}
	if sync {
		if err := w.sync(); err != nil {
			return err
		}
	}
	c.records.Store(w.st.tree.n)
	c.open.Store(int64(len(w.st.open)))
	return nil
}

// fill takes room in advance by writing zeros: allocating alone would leave extents whose first
// write has to be journalled.
func (w *writer) fill(end int64) error {
	if w.noFill || end <= w.filled {
		return nil
	}
	room := int64(fillBytes)
	if w.scarce {
		room = fillScarce
	}
	target := (end + room - 1) / room * room
	for from := max(w.filled, w.st.off); from < target; {
		n, err := w.f.WriteAt(zeros[:min(int64(len(zeros)), target-from)], from)
		if err != nil {
			return err
		}
		from += int64(n)
	}
	w.filled = target
	return nil
}

func (w *writer) sync() error {
	if w.synced.n == w.st.tree.n && w.synced.off == w.st.off {
		return nil
	}
	defer w.busy()()
	if err := w.f.Datasync(); err != nil {
		return err
	}
	w.settleAt()
	return nil
}

// busy lets callers see since when the disk works on something.
func (w *writer) busy() (done func()) {
	if w.l.ioSince.Load() != 0 {
		return func() {}
	}
	w.l.ioSince.Store(max(1, int64(time.Since(w.l.epoch))))
	return w.idle
}

func (w *writer) idle() { w.l.ioSince.Store(0) }

// settleAt notes that everything so far is durable.
func (w *writer) settleAt() {
	w.synced = position{w.st.first, w.st.off, w.st.tree.n, w.st.prev}
	w.unsynced = 0
}

// rotate begins a new file when the current one is full, or when there is none.
func (w *writer) rotate() error {
	if w.f != nil && w.st.off < w.l.o.SegmentBytes {
		return nil
	}
	defer w.busy()()
	if w.f != nil {
		if err := w.seals(); err != nil {
			return err
		}
		if err := w.f.Close(); err != nil {
			return err
		}
	}
	first := w.st.tree.n + 1
	f, err := w.l.o.disk.Create(segmentPath(w.l.dir, first))
	if err != nil {
		return err
	}
	open := make([]OpenCall, 0, len(w.st.open))
	for id, seq := range w.st.open {
		open = append(open, OpenCall{id, seq})
	}
	slices.SortFunc(open, func(a, b OpenCall) int { return int(a.Seq - b.Seq) })
	body := appendSegment(nil, w.l.verifier.Name(), &w.st.tree, open)
	w.f, w.filled, w.scarce, w.st.first, w.st.off = f, 0, false, first, 0
	w.start()
	w.stage(kindSegment, "", body)
	return w.flush(true)
}

// seals cuts the room taken in advance off and syncs what is left.
func (w *writer) seals() error {
	if err := w.f.Truncate(w.st.off); err != nil {
		return err
	}
	w.filled = w.st.off
	if err := w.f.Sync(); err != nil {
		return err
	}
	w.settleAt()
	return nil
}

// end gives the file back.
func (w *writer) end() error {
	defer w.busy()()
	err := w.seals()
	if cerr := w.f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		w.mark(1)
	}
	return err
}

// tick does what is due by the clock.
func (w *writer) tick() error {
	if err := w.sync(); err != nil {
		return err
	}
	w.mark(w.l.o.CheckpointRecords)
	now := w.l.o.Now()
	if w.st.tree.n > w.marked && now.Sub(w.markAt).Abs() >= w.l.o.CheckpointEvery {
		w.mark(1)
	}
	for id, due := range w.orphans {
		if now.After(due) {
			delete(w.orphans, id)
			if w.st.open[id] != 0 {
				w.later(kindFinish, id, endOf(id, gate.OutcomeFailed, "the end of this call could not be recorded when it happened"))
			}
		}
	}
	if w.l.gap.pending.Load() {
		if err := w.confess(Gap{State: gapClosed, Reason: gapQueue}); err != nil {
			return err
		}
	}
	if len(w.backlog) > 0 {
		return w.commit()
	}
	return nil
}

// orphan remembers a call that nobody may come to finish.
func (w *writer) orphan(id string) {
	if w.orphans == nil {
		w.orphans = map[string]time.Time{}
	}
	w.orphans[id] = w.l.o.Now().Add(lateAfter)
}

// endOf is the body of a finish that the log writes itself.
func endOf(id string, o gate.Outcome, why string) []byte {
	return appendCall(nil, call{Record: &gate.Record{ID: id, Outcome: o, Error: why}})
}

// mark asks for a checkpoint when at least so many durable records are not covered by one.
func (w *writer) mark(least int) {
	if w.synced.n-w.marked < int64(least) || w.synced.n != w.st.tree.n {
		return
	}
	w.marked, w.markAt = w.synced.n, w.l.o.Now()
	w.l.marks.ask(checkpoint{origin: w.l.verifier.Name(), size: w.synced.n, root: w.st.tree.root(), time: w.markAt})
}
