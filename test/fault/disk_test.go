package fault

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"sallyport.dev/sallyport/test/load/live"
)

// smallDisk mounts a tmpfs that only one process and those who enter its namespace see. It returns
// the command prefix that enters it.
func smallDisk(t *testing.T, dir, size string) (enter []string, root string) {
	t.Helper()
	for _, tool := range []string{"unshare", "nsenter", "mount"} {
		if _, err := exec.LookPath(tool); err != nil {
			required(t, tool+" is not installed")
		}
	}
	if os.Getuid() != 0 {
		required(t, "mounting a file system needs root")
	}
	cmd := exec.Command("unshare", "-m", "--propagation", "private", "sh", "-c",
		`mount -t tmpfs -o size="$1" tmpfs "$2" && echo mounted && exec sleep 600`, "sh", size, dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	holder, err := live.Run(cmd)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(holder.Kill)
	if line, _ := bufio.NewReader(out).ReadString('\n'); line != "mounted\n" {
		required(t, "cannot mount a tmpfs: "+holder.Log())
	}
	pid := strconv.Itoa(holder.PID())
	return []string{"nsenter", "-t", pid, "-m", "--"}, filepath.Join("/proc", pid, "root", dir)
}

// fill writes until the disk is full.
func fill(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, size := range []int{1 << 20, 4 << 10, 1} {
		block := make([]byte, size)
		for {
			if _, err := f.Write(block); err != nil {
				if !errors.Is(err, syscall.ENOSPC) {
					t.Fatal(err)
				}
				break
			}
		}
	}
}

// TestF3DiskFull: while the disk is full nothing is answered but 503, when it has room again calls
// pass within five seconds, and the record says that there was a gap.
func TestF3DiskFull(t *testing.T) {
	bin := binary(t)
	dir := t.TempDir()
	enter, root := smallDisk(t, dir, "112m")
	conf := t.TempDir()
	g := &live.Gateway{Bin: bin, Dir: conf, DataDir: filepath.Join(dir, "data"), Upstream: provider(t), Wrap: enter, More: "watch: {log: {level: warn}}\n"}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	p, err := g.Start(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Kill()
	var l ledger
	try := func() (int, string) {
		c, err := dial(g.Address)
		if err != nil {
			t.Fatalf("the gateway is away: %v\n%s", err, p.Log())
		}
		defer c.c.Close()
		status, body, err := c.call(&l)
		if err != nil {
			t.Fatalf("%v\n%s", err, p.Log())
		}
		return status, body
	}
	for range 20 {
		if s, b := try(); s != 200 {
			t.Fatalf("before: %d %.200q", s, b)
		}
	}
	for round := range 3 {
		filler := filepath.Join(root, "filler")
		fill(t, filler)
		refused := 0
		for end := time.Now().Add(20 * time.Second); refused < 20 && time.Now().Before(end); {
			s, b := try()
			switch {
			case s == 503 && strings.Contains(b, "gateway_unavailable"):
				refused++
				time.Sleep(10 * time.Millisecond)
			case s == 200:
				// Room that was left in a block, or came back with the reserve: take that too.
				fill(t, filler+strconv.Itoa(int(time.Now().UnixNano())))
			default:
				t.Fatalf("round %d, full: %d %.200q", round, s, b)
			}
		}
		if refused < 20 {
			t.Fatalf("round %d: a full disk refused only %d calls", round, refused)
		}
		if s, err := p.Health(t.Context()); s != 503 {
			t.Errorf("round %d: health %d %v on a full disk", round, s, err)
		}
		old, _ := filepath.Glob(filler + "*")
		for _, f := range old {
			if err := os.Remove(f); err != nil {
				t.Fatal(err)
			}
		}
		freed := time.Now()
		for {
			if s, _ := try(); s == 200 {
				break
			}
			if time.Since(freed) > 5*time.Second {
				t.Fatalf("round %d: calls are still refused\n%s", round, p.Log())
			}
			time.Sleep(20 * time.Millisecond)
		}
		t.Logf("round %d: calls pass again after %v", round, time.Since(freed).Round(time.Millisecond))
	}
	if err := p.Stop(10 * time.Second); err != nil {
		t.Errorf("stop: %v\n%s", err, p.Log())
	}
	report := verify(t, enter, bin, p.Config)
	if report.Gaps < 1 {
		t.Errorf("the record knows of %d gaps", report.Gaps)
	}
	missing(t, &l, outcomes(t, inside(t, enter, bin, "audit", "export", "--config", p.Config)))
}

type report struct {
	OK      bool   `json:"ok"`
	Gaps    int    `json:"gaps"`
	Problem string `json:"problem"`
}

func inside(t *testing.T, enter []string, args ...string) []byte {
	t.Helper()
	all := append(append([]string{}, enter...), args...)
	out, err := exec.Command(all[0], all[1:]...).Output()
	if err != nil {
		var ee *exec.ExitError
		if errors.As(err, &ee) {
			err = fmt.Errorf("%w: %s", err, ee.Stderr)
		}
		t.Fatalf("%s: %v\n%s", strings.Join(args[1:], " "), err, out)
	}
	return out
}

func verify(t *testing.T, enter []string, bin, config string) report {
	t.Helper()
	out := inside(t, enter, bin, "audit", "verify", "--json", "--config", config)
	var r report
	if err := json.Unmarshal(out, &r); err != nil {
		t.Fatalf("audit verify --json: %v\n%s", err, out)
	}
	if !r.OK {
		t.Fatalf("the record is not whole: %s", out)
	}
	return r
}
