package audit

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// TestMain lets the test binary be its own victim: a process that writes a log and says on stdout
// what was acknowledged.
func TestMain(m *testing.M) {
	if dir := os.Getenv("SALLYPORT_AUDIT_VICTIM"); dir != "" {
		os.Exit(victimMain(dir))
	}
	os.Exit(m.Run())
}

func victimMain(dir string) int {
	calls, _ := strconv.Atoi(os.Getenv("SALLYPORT_AUDIT_CALLS")) // 0: until killed
	callers, _ := strconv.Atoi(os.Getenv("SALLYPORT_AUDIT_CALLERS"))
	o := Options{SegmentBytes: 256 << 10, ReserveBytes: 128 << 10, CheckpointRecords: 100, Timeout: 2 * time.Second}
	if calls > 0 {
		o.SegmentBytes = 16 << 10
	}
	l, err := Open(dir, o)
	if err != nil {
		fmt.Println("open:", err)
		return 3
	}
	fmt.Println("ready")
	run := strconv.FormatInt(time.Now().UnixNano(), 36)
	var wg sync.WaitGroup
	for c := range max(callers, 1) {
		wg.Go(func() {
			ctx := context.Background()
			for i := 0; calls == 0 || i < calls; i++ {
				r := record(fmt.Sprintf("%s-%d-%d", run, c, i))
				if err := l.Begin(ctx, r); err != nil {
					fmt.Println("refused", err)
					if calls > 0 {
						time.Sleep(10 * time.Millisecond)
					}
					continue
				}
				os.Stdout.WriteString("begin " + r.ID + "\n")
				if err := l.Finish(ctx, r); err == nil {
					os.Stdout.WriteString("finish " + r.ID + "\n")
				}
			}
		})
	}
	wg.Wait()
	if calls > 0 {
		for end := time.Now().Add(5 * time.Second); l.Stats().Failing && time.Now().Before(end); {
			time.Sleep(10 * time.Millisecond)
		}
	}
	if err := l.Close(); err != nil {
		fmt.Println("close:", err)
		return 4
	}
	return 0
}

func victimCmd(dir string, calls, callers int, wrap ...string) *exec.Cmd {
	args := append(wrap, os.Args[0])
	c := exec.Command(args[0], args[1:]...)
	c.Env = append(os.Environ(), "SALLYPORT_AUDIT_VICTIM="+dir, fmt.Sprint("SALLYPORT_AUDIT_CALLS=", calls), fmt.Sprint("SALLYPORT_AUDIT_CALLERS=", callers))
	return c
}

// ledger reads what a victim said was acknowledged. A last line without its end was not said.
func ledger(out string, acked map[string]bool) {
	for line := range strings.Lines(out) {
		if what, ok := strings.CutSuffix(line, "\n"); ok && (strings.HasPrefix(what, "begin ") || strings.HasPrefix(what, "finish ")) {
			acked[what] = true
		}
	}
}

// kill -9 under load, again and again on one log: no acknowledged record is missing.
func TestKillUnderLoad(t *testing.T) {
	rounds := 20
	if testing.Short() {
		rounds = 5
	}
	dir := filepath.Join(t.TempDir(), "audit")
	acked := map[string]bool{}
	for round := range rounds {
		out, err := os.CreateTemp(t.TempDir(), "ledger")
		if err != nil {
			t.Fatal(err)
		}
		c := victimCmd(dir, 0, 4)
		c.Stdout = out
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		// The moment is random; that the victim is at work is not.
		for st, _ := out.Stat(); st.Size() < 200; st, _ = out.Stat() {
			time.Sleep(time.Millisecond)
		}
		time.Sleep(time.Duration(rand.IntN(40_000)) * time.Microsecond)
		c.Process.Signal(syscall.SIGKILL)
		c.Wait()
		b, _ := os.ReadFile(out.Name())
		ledger(string(b), acked)
		r := verified(t, dir, VerifyOptions{})
		if !r.OK {
			t.Fatalf("round %d: record %d: %s", round, r.FirstBad, r.Problem)
		}
	}
	noneMissing(t, dir, acked)
	start := time.Now()
	l := open(t, dir, Options{})
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("started after %v", took)
	}
	closed(t, l)
	if r := mustVerify(t, dir); r.InFlight != 0 || len(acked) < rounds*4 {
		t.Errorf("%+v with %d acknowledged", r, len(acked))
	}
	t.Logf("%d rounds, %d acknowledged, 0 missing", rounds, len(acked))
}

// Each write, sync and open of the real process fails once, by the kernel's word.
func TestEverySyscallFailsOnce(t *testing.T) {
	strace, err := exec.LookPath("strace")
	needs(t, err == nil, "strace")
	hits := map[string]int{}
	defer func() { t.Logf("injected: %v", hits) }()
	for _, call := range []string{"pwrite64", "fdatasync", "fsync", "ftruncate", "openat", "renameat", "fallocate"} {
		for _, errno := range []string{"EIO", "ENOSPC"} {
			most, step := 24, 5
			if thorough() {
				step = 1
			}
			if testing.Short() {
				step = 12
			}
			if call == "openat" {
				most = 40 // the runtime's own come first
			}
			for n := 1; n <= most; n += step {
				dir := filepath.Join(t.TempDir(), "audit")
				trace := filepath.Join(filepath.Dir(dir), "trace")
				c := victimCmd(dir, 8, 1, strace, "-f", "-qq", "-o", trace, "-e", "trace="+call,
					"-e", fmt.Sprintf("inject=%s:error=%s:when=%d", call, errno, n))
				out, err := c.CombinedOutput()
				if seen, _ := os.ReadFile(trace); strings.Contains(string(seen), "(INJECTED)") {
					hits[call]++
				}
				name := fmt.Sprintf("%s %s %d", call, errno, n)
				if strings.Contains(string(out), "PTRACE") {
					needs(t, false, "ptrace")
				}
				acked := map[string]bool{}
				ledger(string(out), acked)
				if _, serr := os.Stat(segmentPath(dir, 1)); serr != nil {
					if len(acked) > 0 {
						t.Errorf("%s: acknowledged without a log", name)
					}
					continue
				}
				if len(acked) > 0 {
					if r := verified(t, dir, VerifyOptions{}); !r.OK {
						t.Errorf("%s (%v): record %d: %s", name, err, r.FirstBad, r.Problem)
					}
					noneMissing(t, dir, acked)
				}
				l, err := Open(dir, Options{ReserveBytes: 128 << 10})
				if err != nil {
					t.Errorf("%s: next start: %v", name, err)
					continue
				}
				fill(t, l, 1)
				closed(t, l)
				mustVerify(t, dir)
				noneMissing(t, dir, acked)
			}
		}
		if hits[call] == 0 {
			t.Errorf("%s never failed", call)
		}
	}
}

// A real file system that is really full: refused, recovered, and both are on the record.
func TestRealFullDisk(t *testing.T) {
	needs(t, os.Getuid() == 0, "root, to mount a small tmpfs")
	mount := t.TempDir()
	if err := syscall.Mount("tmpfs", mount, "tmpfs", 0, "size=4m"); err != nil {
		needs(t, false, "a tmpfs: "+err.Error())
	}
	t.Cleanup(func() { syscall.Unmount(mount, 0) })
	dir := filepath.Join(mount, "audit")
	l, err := Open(dir, Options{ReserveBytes: 512 << 10})
	if err != nil {
		t.Fatal(err)
	}
	fill(t, l, 5)
	ballast := filepath.Join(mount, "ballast")
	f, _ := os.Create(ballast)
	for _, err := f.Write(make([]byte, 4096)); err == nil; _, err = f.Write(make([]byte, 4096)) {
	}
	f.Close()
	acked, refused := map[string]bool{}, 0
	for i := 0; i < 2000 && refused < 5; i++ {
		id := fmt.Sprint("full", i)
		if err := l.Begin(t.Context(), record(id)); err == nil {
			acked["begin "+id] = true
		} else {
			refused++
			if !diskFull(err) {
				t.Errorf("refused with %v", err)
			}
		}
	}
	if refused < 5 || !l.Stats().Failing {
		t.Fatalf("%d refused: %+v", refused, l.Stats())
	}
	if r := verified(t, dir, VerifyOptions{}); !r.OK {
		t.Errorf("while full: %+v", r)
	}
	os.Remove(ballast)
	start := time.Now()
	working(t, l, 5*time.Second)
	t.Logf("recovered after %v", time.Since(start))
	closed(t, l)
	if r := mustVerify(t, dir); r.Gaps != 2 {
		t.Errorf("%+v", r)
	}
	noneMissing(t, dir, acked)
}
