package audit

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"sallyport.dev/sallyport/internal/durable"
	"sallyport.dev/sallyport/internal/gate"
)

// ErrForked says that the log does not contain what a signed checkpoint covers.
var ErrForked = errors.New("audit: the record does not contain what its checkpoint covers")

// Open opens the log in dir, making it where there is none. It reads from the file that holds the
// newest checkpoint on, cuts off the unfinished write of a crash, and records the calls that were
// in flight as interrupted. It refuses a log that lacks a record its checkpoint covers, whose
// records were changed, or whose key is not the one it was signed with. One process at a time can
// have a log open.
func Open(dir string, o Options) (_ *Log, err error) {
	o = o.withDefaults()
	if err := durable.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("audit: %w", err)
	}
	lock, err := durable.Lock(filepath.Join(dir, lockFile))
	if err != nil {
		return nil, fmt.Errorf("audit: %w", err)
	}
	l := &Log{
		dir: dir, o: o, lock: lock, epoch: time.Now(),
		queue: queue{wake: make(chan struct{}, 1)},
		stop:  make(chan struct{}), stopped: make(chan struct{}),
	}
	l.gap.now = o.Now
	l.marks = marker{l: l, reqs: make(chan checkpoint, 1), ended: make(chan error, 1), quit: make(chan struct{})}
	l.w = writer{l: l, seal: newSealer()}
	defer func() {
		if err != nil {
			if l.w.f != nil {
				l.w.f.Close()
			}
			lock.Close()
			err = fmt.Errorf("audit: %s: %w", dir, err)
		}
	}()
	if err := l.resume(); err != nil {
		return nil, err
	}
	go l.marks.run()
	l.w.mark(1)
	go l.w.run()
	return l, nil
}

// resume finds where the log stands and writes what a start has to write.
func (l *Log) resume() error {
	firsts, err := segments(l.dir)
	if err != nil {
		return err
	}
	fresh := len(firsts) == 0 && !haveCheckpoints(l.dir)
	if l.signer, l.verifier, l.vkey, err = loadKey(l.dir, fresh); err != nil {
		return err
	}
	if fresh {
		// Signed before there is a record: a log without checkpoints is a log that lost them.
		c := checkpoint{origin: l.verifier.Name(), root: new(tree).root(), time: l.o.Now()}
		raw, err := c.sign(l.signer)
		if err != nil {
			return err
		}
		if err := durable.WriteFile(filepath.Join(l.dir, checkpointFile), frameCheckpoint(raw), 0o600); err != nil {
			return err
		}
	}
	path := filepath.Join(l.dir, checkpointFile)
	cs, torn, err := loadCheckpoints(path, l.verifier)
	if err != nil {
		return err
	}
	if len(cs) == 0 {
		return fmt.Errorf("%w: no checkpoint is left", ErrForked)
	}
	st, err := os.Stat(path)
	if err != nil {
		return err
	}
	l.marks.off = st.Size() - int64(torn)
	if l.o.ReserveBytes > 0 {
		if err := durable.Reserve(filepath.Join(l.dir, reserveFile), l.o.ReserveBytes); err != nil {
			return err
		}
	}
	last := cs[len(cs)-1]
	l.counts.checkpoint.Store(last.size)
	return l.w.resume(firsts, &last)
}

// resume reads the end of the log and goes on from it.
func (w *writer) resume(firsts []int64, cp *checkpoint) error {
	l := w.l
	var cut int64
	if len(firsts) > 0 {
		var err error
		if cut, err = w.readEnd(firsts, cp); err != nil {
			return err
		}
	} else if cp.size > 0 {
		return fmt.Errorf("%w: every record is missing", ErrForked)
	}
	w.marked, w.markAt = cp.size, l.o.Now()
	if w.st.open == nil {
		w.st.open = map[string]int64{}
	}
	l.counts.records.Store(w.st.tree.n)
	if err := w.rotate(); err != nil {
		return err
	}
	if cut > 0 {
		w.start()
		w.stage(kindNote, "", appendNote(nil, "recovered", map[string]string{
			"cut_bytes": fmt.Sprint(cut), "why": "the last write was not finished; nothing of it was acknowledged",
		}))
	}
	return w.interrupt()
}

// interrupt ends the calls that were in flight when the process died.
func (w *writer) interrupt() error {
	open := make([]OpenCall, 0, len(w.st.open))
	for id, seq := range w.st.open {
		open = append(open, OpenCall{id, seq})
	}
	slices.SortFunc(open, func(a, b OpenCall) int { return int(a.Seq - b.Seq) })
	for _, c := range open {
		w.start()
		w.stage(kindFinish, c.ID, endOf(c.ID, gate.OutcomeInterrupted, "the gateway stopped with the call in flight"))
		if len(w.buf) > batchBytes {
			if err := w.flush(true); err != nil {
				return err
			}
		}
	}
	if err := w.flush(true); err != nil {
		return err
	}
	w.settleAt()
	return nil
}

// readEnd replays the files from the one that holds the checkpointed record on. It returns how many
// bytes of an unfinished write it cut off.
func (w *writer) readEnd(firsts []int64, cp *checkpoint) (cut int64, err error) {
	from := len(firsts) - 1
	for from > 0 && firsts[from] > cp.size {
		from--
	}
	if firsts[0] > 1 && firsts[from] > max(cp.size, 1) {
		return 0, fmt.Errorf("%w: record %d is missing", ErrForked, cp.size)
	}
	seen := cp.size == 0 && cp.root == new(tree).root()
	for i := from; i < len(firsts); i++ {
		last := i == len(firsts)-1
		f, err := w.l.o.disk.Open(segmentPath(w.l.dir, firsts[i]))
		if err != nil {
			return 0, err
		}
		w.st.off = 0
		err = w.st.replay(f, firsts[i], w.l.verifier.Name(), func(h *head, _ []byte) error {
			if h.seq == cp.size {
				if seen = w.st.tree.root() == cp.root; !seen {
					return fmt.Errorf("%w: its root at record %d is another", ErrForked, cp.size)
				}
			}
			return nil
		})
		end := w.st.off
		var wrong *badRecord
		if errors.As(err, &wrong) && wrong.broken && last {
			err = w.torn(f, wrong, cp)
		}
		if err != nil {
			f.Close()
			return 0, err
		}
		nonzero, err := zeroTail(f, end)
		if err == nil && nonzero > 0 && !last {
			err = bad(w.st.tree.n+1, "the file ends with bytes that are no record")
		}
		if err != nil {
			f.Close()
			return 0, err
		}
		if !last {
			if err := f.Close(); err != nil {
				return 0, err
			}
			continue
		}
		if cut, err = w.cut(f, firsts[i], end, nonzero); err != nil {
			f.Close()
			return 0, err
		}
	}
	if w.st.tree.n < cp.size {
		return 0, fmt.Errorf("%w: it covers %d records and only %d are there: record %d is missing", ErrForked, cp.size, w.st.tree.n, w.st.tree.n+1)
	}
	if !seen {
		return 0, fmt.Errorf("%w: record %d was not found", ErrForked, cp.size)
	}
	return cut, nil
}

// torn decides whether what is wrong at the end of the last file is the unfinished write of a crash.
// It is not when it is below the checkpoint, or when a record of a later batch follows it: that one
// was written after everything before it was durable.
func (w *writer) torn(f file, wrong *badRecord, cp *checkpoint) error {
	if wrong.seq <= cp.size {
		return fmt.Errorf("%w: %w", ErrForked, wrong)
	}
	in, sl := newLines(f, w.st.off), newSealer()
	for {
		line, err := in.next()
		if err == errTail {
			return nil
		}
		if err != nil {
			return err
		}
		if h, err := sl.head(line); err == nil && h.batch > wrong.seq {
			return fmt.Errorf("%w (record %d, written later, is there)", wrong, h.seq)
		}
	}
}

// cut takes off what follows the last whole record of the last file, keeps a copy of what was not
// zero, and leaves the file open for appending. A file without a whole record is taken away.
func (w *writer) cut(f file, first, end, nonzero int64) (int64, error) {
	if nonzero > 0 {
		kept := make([]byte, min(nonzero, 2*batchBytes))
		if _, err := f.ReadAt(kept, end); err != nil {
			return 0, err
		}
		name := fmt.Sprintf("torn-%016d-%s.bin", w.st.tree.n+1, w.l.o.Now().UTC().Format("20060102T150405.000000000"))
		if err := durable.WriteFile(filepath.Join(w.l.dir, name), kept, 0o600); err != nil {
			return 0, err
		}
	}
	if end == 0 {
		if err := f.Close(); err != nil {
			return 0, err
		}
		if err := durable.Remove(segmentPath(w.l.dir, first)); err != nil {
			return 0, err
		}
		if w.st.open == nil { // it was the first file: nothing was ever recorded
			return nonzero, nil
		}
		prev, err := w.l.o.disk.Open(segmentPath(w.l.dir, w.st.first))
		if err != nil {
			return 0, err
		}
		size, err := prev.Size()
		if err != nil {
			prev.Close()
			return 0, err
		}
		w.f, w.filled, w.st.off = prev, size, size
		w.settleAt()
		return nonzero, nil
	}
	if err := f.Truncate(end); err != nil {
		return 0, err
	}
	if err := f.Sync(); err != nil {
		return 0, err
	}
	w.f, w.filled = f, end
	w.settleAt()
	return nonzero, nil
}
