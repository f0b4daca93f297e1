// Package redistest starts a real redis-server for tests, on loopback, without persistence unless asked.
package redistest

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"testing"
	"time"

	"sallyport.dev/sallyport/internal/secret"
)

// Server is a redis-server of the test's own.
type Server struct {
	t    testing.TB
	dir  string
	port int
	args []string
	cmd  *exec.Cmd
}

// Start starts one. The test skips without redis-server, or fails where SALLYPORT_TEST_REQUIRE is all.
// args are further arguments of redis-server.
func Start(t testing.TB, args ...string) *Server {
	t.Helper()
	if _, err := exec.LookPath("redis-server"); err != nil {
		if os.Getenv("SALLYPORT_TEST_REQUIRE") == "all" {
			t.Fatalf("Redis: %v", err)
		}
		t.Skipf("Redis: %v", err)
	}
	s := &Server{t: t, dir: t.TempDir(), args: args}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.port = l.Addr().(*net.TCPAddr).Port
	_ = l.Close()
	t.Cleanup(s.Kill)
	s.Up()
	return s
}

// URL is where it listens.
func (s *Server) URL() secret.String {
	return secret.New("redis://127.0.0.1:" + strconv.Itoa(s.port) + "/0")
}

// Up starts it, again after a Kill, and waits until it answers.
func (s *Server) Up() {
	s.t.Helper()
	args := append([]string{"--port", strconv.Itoa(s.port), "--bind", "127.0.0.1", "--dir", s.dir, "--save", "", "--appendonly", "no", "--daemonize", "no"}, s.args...)
	s.cmd = exec.Command("redis-server", args...)
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	for s.ping() != nil {
		select {
		case <-ctx.Done():
			s.t.Fatalf("redis-server does not answer: %v", s.ping())
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func (s *Server) ping() error {
	c, err := net.DialTimeout("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)), time.Second)
	if err != nil {
		return err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(time.Second))
	if _, err := c.Write([]byte("PING\r\n")); err != nil {
		return err
	}
	b := make([]byte, 1)
	if _, err := c.Read(b); err != nil {
		return err
	}
	if b[0] != '+' && b[0] != '-' { // an error is an answer: it wants a password, or still loads
		return fmt.Errorf("answered %q", b)
	}
	return nil
}

// Kill ends it as a crash does.
func (s *Server) Kill() {
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
	s.cmd = nil
}

// Freeze stops it without closing its connections; Thaw lets it go on.
func (s *Server) Freeze() { _ = s.cmd.Process.Signal(syscall.SIGSTOP) }

// Thaw ends a Freeze.
func (s *Server) Thaw() { _ = s.cmd.Process.Signal(syscall.SIGCONT) }
