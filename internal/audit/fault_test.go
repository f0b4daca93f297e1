package audit

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"sallyport.dev/sallyport/internal/gate"
)

// flakyDisk is the real disk with one operation that fails or hangs.
type flakyDisk struct {
	osDisk
	n    atomic.Int64 // operations so far
	hook func(op string, n int64) error
}

func (d *flakyDisk) at(op string) error { return d.hook(op, d.n.Add(1)) }

func (d *flakyDisk) Create(path string) (file, error) {
	if err := d.at("create"); err != nil {
		return nil, err
	}
	f, err := d.osDisk.Create(path)
	return &flakyFile{f, d}, err
}

func (d *flakyDisk) Open(path string) (file, error) {
	if err := d.at("open"); err != nil {
		return nil, err
	}
	f, err := d.osDisk.Open(path)
	return &flakyFile{f, d}, err
}

type flakyFile struct {
	file
	d *flakyDisk
}

func (f *flakyFile) WriteAt(p []byte, off int64) (int, error) {
	if err := f.d.at("write"); err != nil {
		n, _ := f.file.WriteAt(p[:len(p)/2], off) // half of it arrives
		return n, err
	}
	return f.file.WriteAt(p, off)
}

func (f *flakyFile) Datasync() error {
	if err := f.d.at("datasync"); err != nil {
		return err
	}
	return f.file.Datasync()
}

func (f *flakyFile) Sync() error {
	if err := f.d.at("sync"); err != nil {
		return err
	}
	return f.file.Sync()
}

func (f *flakyFile) Truncate(n int64) error {
	if err := f.d.at("truncate"); err != nil {
		return err
	}
	return f.file.Truncate(n)
}

func (f *flakyFile) Reread() error {
	if err := f.d.at("reread"); err != nil {
		return err
	}
	return f.file.Reread()
}

// working waits until the log takes records again.
func working(t *testing.T, l *Log, within time.Duration) {
	t.Helper()
	for end := time.Now().Add(within); ; time.Sleep(5 * time.Millisecond) {
		if err := l.Note(t.Context(), "probe", nil); err == nil {
			return
		} else if time.Now().After(end) {
			t.Fatalf("not working after %v: %v", within, err)
		}
	}
}

// Every single operation on the disk fails once, with each error: nothing acknowledged is lost,
// nothing is corrupt, and the log comes back by itself.
func TestEveryOperationFailsOnce(t *testing.T) {
	dry := &flakyDisk{hook: func(string, int64) error { return nil }}
	run := func(t *testing.T, d *flakyDisk, opened func(*Log)) (acked map[string]bool, dir string) {
		dir = t.TempDir()
		acked = map[string]bool{}
		l, err := Open(dir, Options{SegmentBytes: 6 << 10, ReserveBytes: 64 << 10, CheckpointRecords: 5, disk: d})
		if err != nil {
			return acked, dir
		}
		if opened != nil {
			opened(l)
		}
		for i := range 12 {
			id := fmt.Sprintf("c%d", i)
			if l.Begin(t.Context(), record(id)) == nil {
				acked["begin "+id] = true
				if l.Finish(t.Context(), record(id)) == nil {
					acked["finish "+id] = true
				}
			}
			if i == 6 {
				working(t, l, 4*time.Second)
			}
		}
		working(t, l, 4*time.Second)
		if err := l.Close(); err != nil && d.n.Load() < 30 {
			t.Error(err)
		}
		return acked, dir
	}
	run(t, dry, nil)
	total := dry.n.Load()
	if total < 40 {
		t.Fatalf("only %d operations", total)
	}
	for k, errno := range []error{syscall.EIO, syscall.ENOSPC} {
		for n := int64(1); n <= total; n++ {
			if !thorough() && n%4 != int64(2*k) || testing.Short() && n%16 != int64(2*k) {
				continue
			}
			t.Run(fmt.Sprintf("%v/%d", errno, n), func(t *testing.T) {
				t.Parallel()
				var op string
				d := &flakyDisk{}
				d.hook = func(o string, k int64) error {
					if k == n {
						op = o
						return &os.PathError{Op: o, Path: "x", Err: errno}
					}
					return nil
				}
				acked, dir := run(t, d, nil)
				check := func() {
					r := verified(t, dir, VerifyOptions{})
					if !r.OK && len(acked) > 0 {
						t.Fatalf("%s: record %d: %s", op, r.FirstBad, r.Problem)
					}
					noneMissing(t, dir, acked)
				}
				if len(acked) > 0 {
					check()
				}
				l := open(t, dir, Options{})
				fill(t, l, 1)
				closed(t, l)
				check()
			})
		}
	}
}

// noneMissing reports what was acknowledged and is not in the log.
func noneMissing(t testing.TB, dir string, acked map[string]bool) {
	t.Helper()
	have := map[string]bool{}
	for _, e := range events(t, dir) {
		if e.Record != nil {
			have[e.Kind+" "+e.Record.ID] = true
		}
	}
	for what := range acked {
		if !have[what] {
			t.Errorf("acknowledged and missing: %s", what)
		}
	}
}

func TestFaultIsToldAndRecorded(t *testing.T) {
	dir := t.TempDir()
	var broken atomic.Bool
	d := &flakyDisk{hook: func(op string, _ int64) error {
		if broken.Load() && op != "truncate" {
			return syscall.EIO
		}
		return nil
	}}
	var told atomic.Int64
	l := open(t, dir, Options{disk: d, OnFault: func(err error) {
		if err != nil {
			told.Add(1)
		} else {
			told.Add(100)
		}
	}})
	if err := l.Begin(t.Context(), record("before")); err != nil {
		t.Fatal(err)
	}
	broken.Store(true)
	if err := l.Begin(t.Context(), record("refused")); gate.FailureOf(err) != gate.FailRecordBegin {
		t.Fatalf("got %v", err)
	}
	if err := l.Finish(t.Context(), record("before")); gate.FailureOf(err) != gate.FailRecordFinish || !errors.Is(err, syscall.EIO) {
		t.Fatalf("got %v", err)
	}
	if s := l.Stats(); !s.Failing || s.Refused != 2 || s.Faults != 1 || s.LastError == "" {
		t.Errorf("%+v", s)
	}
	broken.Store(false)
	working(t, l, 5*time.Second)
	if l.Stats().Failing || told.Load() != 101 {
		t.Errorf("%+v, told %d", l.Stats(), told.Load())
	}
	if err := l.Finish(t.Context(), record("before")); err != nil {
		t.Fatal(err) // the caller comes again
	}
	closed(t, l)
	mustVerify(t, dir)
	var gap *Gap
	for _, e := range events(t, dir) {
		if e.Gap != nil {
			gap = e.Gap
		}
		if e.Record != nil && e.Record.ID == "refused" {
			t.Error("a refused call is in the log")
		}
	}
	if gap == nil || gap.Reason != gapDisk || gap.State != gapClosed || gap.Refused < 2 || gap.Since.After(gap.Until) ||
		strings.Join(gap.IDs, " ") != "refused before" || !strings.Contains(gap.Error, "input/output") {
		t.Errorf("%+v", gap)
	}
}

// A full disk: refused as such, the reserve lets the log say so, and it comes back.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	reserve := filepath.Join(dir, reserveFile)
	var full atomic.Bool
	d := &flakyDisk{hook: func(op string, _ int64) error {
		if _, err := os.Stat(reserve); op == "write" && full.Load() && err == nil {
			return syscall.ENOSPC // until the reserve is given back
		}
		return nil
	}}
	l, err := Open(dir, Options{ReserveBytes: 32 << 10, disk: d})
	if err != nil {
		t.Fatal(err)
	}
	full.Store(true)
	if err := l.Begin(t.Context(), record("a")); gate.FailureOf(err) != gate.FailDisk {
		t.Fatalf("got %v", err)
	}
	full.Store(false)
	working(t, l, 5*time.Second)
	closed(t, l)
	mustVerify(t, dir)
	var states []string
	for _, e := range events(t, dir) {
		if e.Gap != nil {
			states = append(states, e.Gap.State+" "+e.Gap.Reason)
		}
	}
	if strings.Join(states, ",") != "open disk_full,closed disk_full" {
		t.Errorf("%v", states)
	}
	if _, err := os.Stat(reserve); err != nil {
		t.Error("the reserve was not made again")
	}
}

// A disk that hangs gives errors in time; what was on its way is accounted for afterwards.
func TestHangingDisk(t *testing.T) {
	dir := t.TempDir()
	var hang atomic.Pointer[chan struct{}]
	d := &flakyDisk{hook: func(op string, _ int64) error {
		if c := hang.Load(); c != nil && op == "datasync" {
			<-*c
		}
		return nil
	}}
	l := open(t, dir, Options{disk: d, Timeout: 150 * time.Millisecond})
	if err := l.Begin(t.Context(), record("known")); err != nil {
		t.Fatal(err)
	}
	c := make(chan struct{})
	hang.Store(&c)
	var wg sync.WaitGroup
	start := time.Now()
	for i := range 20 {
		wg.Go(func() {
			r := record(fmt.Sprintf("h%d", i))
			if err := l.Begin(t.Context(), r); gate.FailureOf(err) != gate.FailRecordBegin || !errors.Is(err, ErrTimeout) {
				t.Errorf("got %v", err)
			}
		})
	}
	wg.Go(func() {
		if err := l.Finish(t.Context(), record("known")); gate.FailureOf(err) != gate.FailRecordFinish {
			t.Errorf("got %v", err)
		}
	})
	wg.Wait()
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("refused only after %v", took)
	}
	// The write may have begun to hang a little after the first caller began to wait, so the first
	// of these may wait once more; none after it does.
	waited := 0
	for i := range 5 {
		start = time.Now()
		if err := l.Begin(t.Context(), record(fmt.Sprint("later", i))); !errors.Is(err, ErrTimeout) {
			t.Errorf("got %v", err)
		}
		if time.Since(start) > 100*time.Millisecond {
			waited++
		}
	}
	if waited > 1 {
		t.Errorf("a known hang was waited for %d times", waited)
	}
	hang.Store(nil)
	close(c)
	working(t, l, 5*time.Second)
	closed(t, l)
	r := mustVerify(t, dir)
	if r.InFlight == 0 {
		t.Log("all ended")
	}
	l = open(t, dir, Options{})
	closed(t, l)
	if r := mustVerify(t, dir); r.InFlight != 0 {
		t.Errorf("%+v", r)
	}
}

func TestCloseOfAHangingLogReturns(t *testing.T) {
	var hang atomic.Bool
	release := make(chan struct{})
	d := &flakyDisk{hook: func(op string, _ int64) error {
		if hang.Load() {
			<-release
		}
		return nil
	}}
	l := open(t, t.TempDir(), Options{disk: d, Timeout: 100 * time.Millisecond})
	hang.Store(true)
	if err := l.Close(); !errors.Is(err, ErrTimeout) {
		t.Errorf("got %v", err)
	}
	close(release)
	<-l.stopped
}

func TestTooManyWaiting(t *testing.T) {
	dir := t.TempDir()
	gateway := make(chan struct{})
	var held atomic.Bool
	d := &flakyDisk{hook: func(op string, _ int64) error {
		if held.Load() && op == "datasync" {
			<-gateway
		}
		return nil
	}}
	l := open(t, dir, Options{disk: d, Queue: 4})
	held.Store(true)
	var full, ok atomic.Int64
	var wg sync.WaitGroup
	for i := range 12 {
		wg.Go(func() {
			switch err := l.Begin(t.Context(), record(fmt.Sprint("q", i))); {
			case err == nil:
				ok.Add(1)
			case errors.Is(err, ErrQueueFull):
				if full.Add(1) == 8 {
					held.Store(false)
					close(gateway)
				}
			default:
				t.Error(err)
			}
		})
	}
	wg.Wait()
	closed(t, l)
	if full.Load() != 8 || ok.Load() != 4 {
		t.Errorf("%d refused, %d written", full.Load(), ok.Load())
	}
	mustVerify(t, dir)
}

func TestBestEffort(t *testing.T) {
	dir := t.TempDir()
	var broken atomic.Bool
	d := &flakyDisk{hook: func(op string, _ int64) error {
		if broken.Load() {
			return syscall.EIO
		}
		return nil
	}}
	l := open(t, dir, Options{Mode: BestEffort, disk: d})
	for i := range 50 {
		r := record(fmt.Sprint("e", i))
		if err := l.Begin(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		if err := l.Finish(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	broken.Store(true)
	for i := range 20 {
		if err := l.Finish(t.Context(), record(fmt.Sprint("lost", i))); err != nil {
			t.Fatal(err)
		}
	}
	for l.Stats().Faults == 0 {
		time.Sleep(time.Millisecond)
	}
	broken.Store(false)
	for l.Stats().Failing {
		time.Sleep(time.Millisecond)
	}
	fill(t, l, 3)
	lost := l.Stats().Lost
	closed(t, l)
	mustVerify(t, dir)
	finished, told := int64(0), int64(0)
	for _, e := range events(t, dir) {
		if e.Kind == kindFinish {
			finished++
		}
		if e.Gap != nil {
			told += e.Gap.Lost
		}
	}
	if lost == 0 || told != lost || finished > 73 {
		t.Errorf("lost %d, told %d, finished %d", lost, told, finished)
	}
}

// The disk lies: after a failed sync it has forgotten what it acknowledged.
func TestContradictionStaysClosed(t *testing.T) {
	dir := t.TempDir()
	var fail atomic.Bool
	d := &flakyDisk{hook: func(op string, _ int64) error {
		if op == "datasync" && fail.CompareAndSwap(true, false) {
			flipByte(t, segmentPath(dir, 1), 1500)
			return syscall.EIO
		}
		return nil
	}}
	var last atomic.Pointer[error]
	l := open(t, dir, Options{disk: d, Timeout: time.Second, OnFault: func(err error) { last.Store(&err) }})
	fill(t, l, 3)
	fail.Store(true)
	if err := l.Begin(t.Context(), record("x")); err == nil {
		t.Fatal("taken")
	}
	for e := last.Load(); e == nil || !errors.Is(*e, ErrContradiction); e = last.Load() {
		time.Sleep(time.Millisecond)
	}
	if err := l.Begin(t.Context(), record("y")); !errors.Is(err, ErrContradiction) {
		t.Errorf("got %v", err)
	}
	if err := l.Close(); err == nil {
		t.Error("closed as if nothing was")
	}
}
