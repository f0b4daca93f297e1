package fault

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sallyport.dev/sallyport/test/load/live"
)

// TestF2SyscallsFail lets one kind of system call fail, from its n-th use on or only then, as
// strace can inject it. The gateway may refuse to start, refuse calls or end; it may not answer a
// call that the record does not hold, and what it wrote must verify afterwards.
func TestF2SyscallsFail(t *testing.T) {
	bin := binary(t)
	strace, err := exec.LookPath("strace")
	if err != nil {
		required(t, "strace is not installed")
	}
	if out, err := exec.Command(strace, "-f", "-o", "/dev/null", "-e", "trace=fsync", "true").CombinedOutput(); err != nil {
		required(t, fmt.Sprintf("strace may not trace here: %v %s", err, out))
	}
	up := provider(t)
	type fault struct {
		call, errno, when string
		stays             bool // calls must be refused, or the process gone, at the end
		log               bool // only calls on the log's first segment
	}
	var faults []fault
	for _, when := range []string{"1+", "3+", "8+", "15+", "30+"} {
		faults = append(faults, fault{"fsync,fdatasync,sync_file_range", "EIO", when, true, false})
	}
	for _, when := range []string{"2", "9", "20"} {
		faults = append(faults, fault{"fsync,fdatasync,sync_file_range", "EIO", when, false, false})
	}
	faults = append(faults,
		fault{"write,pwrite64", "ENOSPC", "4+", true, true},
		fault{"write,pwrite64", "EIO", "7", false, true},
		fault{"write,pwrite64", "EINTR", "5", false, true},
		fault{"renameat,renameat2,rename", "EIO", "1+", false, false},
		fault{"fallocate,ftruncate", "ENOSPC", "1+", false, false},
	)
	failed := 0
	for _, f := range faults {
		t.Run(strings.Split(f.call, ",")[0]+" "+f.errno+" "+f.when, func(t *testing.T) {
			dir := t.TempDir()
			trace := []string{strace, "-f", "-q", "-o", filepath.Join(dir, "trace"), "-e", "trace=" + f.call,
				"-e", fmt.Sprintf("inject=%s:error=%s:when=%s", f.call, f.errno, f.when)}
			if f.log {
				// Elsewhere a failed write is a broken connection, which is another test.
				trace = append(trace, "-P", filepath.Join(dir, "data", "audit", "seg-0000000000000001.log"))
			} else {
				trace = append(trace, "--seccomp-bpf")
			}
			g := &live.Gateway{Bin: bin, Dir: dir, Upstream: up, More: "watch: {log: {level: warn}}\n",
				Wrap: trace}
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			p, err := g.Start(ctx)
			cancel()
			var l ledger
			refused, gone := 0, err != nil
			calls := 40
			if f.stays {
				calls = 1000 // strace counts per thread: any of them must come to its n-th
			}
			if err == nil {
				c, derr := dial(g.Address)
				for i := 0; i < calls && refused < 5; i++ {
					if derr != nil {
						gone = true
						break
					}
					status, body, err := c.call(&l)
					switch {
					case err != nil:
						c.c.Close()
						c, derr = dial(g.Address)
					case status == 503:
						refused++
					case status != 200:
						t.Errorf("%d %.200q", status, body)
					}
				}
				p.Kill()
			} else if strings.Contains(err.Error(), "not ready") {
				t.Errorf("neither started nor ended: %v", err)
			}
			if refused > 0 || gone {
				failed++
			} else if f.stays {
				t.Errorf("%d calls were answered although nothing can be made durable", l.len())
			}
			t.Logf("%d answered, %d refused, gone %v", l.len(), refused, gone)
			// A start without faults mends what a torn write, or a start that failed half-way, left.
			g.Wrap = nil
			ctx, cancel = context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			if p, err = g.Start(ctx); err != nil {
				t.Fatalf("start without faults: %v", err)
			}
			c, err := dial(g.Address)
			if err != nil {
				t.Fatal(err)
			}
			if status, body, err := c.call(&l); status != 200 || err != nil {
				t.Errorf("without faults: %d %.200q %v", status, body, err)
			}
			c.c.Close()
			if err := p.Stop(10 * time.Second); err != nil {
				t.Errorf("stop: %v\n%s", err, p.Log())
			}
			verify(t, []string{"env"}, bin, p.Config)
			missing(t, &l, outcomes(t, inside(t, []string{"env"}, bin, "audit", "export", "--config", p.Config)))
		})
	}
	if failed == 0 {
		t.Error("no fault was felt: the test does not test")
	}
}
