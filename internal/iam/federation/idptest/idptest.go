// Package idptest runs real identity providers for tests, and drives their pages as a browser would.
package idptest

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"time"
)

// Missing skips a test whose real part is not here, or fails it where SALLYPORT_TEST_REQUIRE is all.
func Missing(t testing.TB, format string, a ...any) {
	t.Helper()
	if os.Getenv("SALLYPORT_TEST_REQUIRE") == "all" {
		t.Fatalf(format, a...)
	}
	t.Skipf(format, a...)
}

// Parts is the folder with the providers that are not ours, a module of its own.
func Parts() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(file), "..", "..", "..", "..", "test", "idp")
}

// Port is a port of the loopback that nobody listens on now.
func Port(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// Zitadel builds the example provider of zitadel/oidc, once for all tests of a process.
func Zitadel(t testing.TB) string {
	t.Helper()
	zitadel.once.Do(func() {
		dir, err := os.MkdirTemp("", "idp-")
		if err != nil {
			zitadel.err = err
			return
		}
		zitadel.path = filepath.Join(dir, "op")
		cmd := exec.Command("go", "build", "-o", zitadel.path, "github.com/zitadel/oidc/v3/example/server")
		cmd.Dir, cmd.Env = Parts(), os.Environ()
		if os.Getenv("SALLYPORT_TEST_REQUIRE") != "all" {
			cmd.Env = append(cmd.Env, "GOPROXY=off")
		}
		if out, err := cmd.CombinedOutput(); err != nil {
			zitadel.err = fmt.Errorf("%w: %s", err, out)
		}
	})
	if zitadel.err != nil {
		Missing(t, "the example provider cannot be built (run `go mod download` in test/idp): %v", zitadel.err)
	}
	return zitadel.path
}

var zitadel struct {
	once sync.Once
	path string
	err  error
}

// Remove takes away what Zitadel built; for TestMain.
func Remove() {
	if zitadel.path != "" {
		_ = os.RemoveAll(filepath.Dir(zitadel.path))
	}
}

// Process is a provider that runs.
type Process struct {
	cmd  *exec.Cmd
	log  *logged
	done chan struct{}
	t    testing.TB
}

// Start runs a command until the test ends and waits until ready answers 200.
func Start(t testing.TB, ready string, cmd *exec.Cmd) *Process {
	t.Helper()
	p := &Process{cmd: cmd, log: &logged{}, done: make(chan struct{}), t: t}
	cmd.Stdout, cmd.Stderr = p.log, p.log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { _ = cmd.Wait(); close(p.done) }()
	t.Cleanup(func() {
		p.Stop()
		if t.Failed() {
			t.Logf("%s:\n%s", filepath.Base(cmd.Path), p.log)
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, ready, nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := http.DefaultClient.Do(req)
		if err == nil {
			res.Body.Close()
			if res.StatusCode == http.StatusOK {
				return p
			}
		}
		select {
		case <-p.done:
			t.Fatalf("%s ended: %s", cmd.Path, p.log)
		case <-ctx.Done():
			t.Fatalf("%s does not answer: %s", cmd.Path, p.log)
		case <-time.After(20 * time.Millisecond): // a process outside has no other sign
		}
	}
}

// Stop ends the process and waits for it.
func (p *Process) Stop() {
	_ = p.cmd.Process.Kill()
	<-p.done
}

type logged struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) { l.mu.Lock(); defer l.mu.Unlock(); return l.b.Write(p) }
func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.b.Bytes()
	return string(b[max(0, len(b)-8000):])
}

// Local is the URL of a port on the loopback.
func Local(port int) string { return "http://127.0.0.1:" + strconv.Itoa(port) }
