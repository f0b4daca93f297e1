// Package pgtest starts a real PostgreSQL for tests: one server a process, on loopback, with a fresh
// database for each test.
package pgtest

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// Server is a running PostgreSQL.
type Server struct {
	bin, dir string
	port     int
	durable  bool
	cred     *syscall.Credential
}

var (
	once   sync.Once
	shared *Server
	failed error
	number int
	mu     sync.Mutex
)

// DSN is the address of a new, empty database on a server that all tests of the process share. The test
// skips without PostgreSQL, or fails where SALLYPORT_TEST_REQUIRE is all.
func DSN(t testing.TB) string {
	t.Helper()
	once.Do(func() { shared, failed = start(false) })
	if failed != nil {
		missing(t, failed)
	}
	return shared.Database(t)
}

// Stop ends the shared server. Call it at the end of TestMain.
func Stop() {
	if shared != nil {
		shared.stop("immediate")
		_ = os.RemoveAll(shared.dir)
	}
}

// Start starts a server of the test's own, which keeps its promises on a crash.
func Start(t testing.TB) *Server {
	t.Helper()
	s, err := start(true)
	if err != nil {
		missing(t, err)
	}
	t.Cleanup(func() {
		s.stop("immediate")
		_ = os.RemoveAll(s.dir)
	})
	return s
}

func missing(t testing.TB, err error) {
	t.Helper()
	if os.Getenv("SALLYPORT_TEST_REQUIRE") == "all" {
		t.Fatalf("PostgreSQL: %v", err)
	}
	t.Skipf("PostgreSQL: %v", err)
}

func start(durable bool) (*Server, error) {
	s := &Server{durable: durable}
	if err := s.find(); err != nil {
		return nil, err
	}
	var err error
	if s.dir, err = os.MkdirTemp("", "pg"); err != nil {
		return nil, err
	}
	// The server refuses to run as root, so that it runs as somebody else there.
	if os.Geteuid() == 0 {
		u, err := user.Lookup("postgres")
		if err != nil {
			if u, err = user.Lookup("nobody"); err != nil {
				return nil, err
			}
		}
		uid, _ := strconv.Atoi(u.Uid)
		gid, _ := strconv.Atoi(u.Gid)
		if err := os.Chown(s.dir, uid, gid); err != nil {
			return nil, err
		}
		s.cred = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)} //nolint:gosec // ids of this machine
	}
	if err := s.run("initdb", "-D", s.data(), "-A", "trust", "-U", "postgres", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync"); err != nil {
		return nil, err
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s.port = ln.Addr().(*net.TCPAddr).Port
	_ = ln.Close()
	return s, s.up()
}

// find looks for the programs in PATH and where Debian keeps them; the newest version wins.
func (s *Server) find() error {
	if p, err := exec.LookPath("initdb"); err == nil {
		s.bin = filepath.Dir(p)
		return nil
	}
	dirs, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if len(dirs) == 0 {
		return fmt.Errorf("initdb is not installed")
	}
	s.bin = filepath.Dir(dirs[len(dirs)-1])
	return nil
}

func (s *Server) data() string { return filepath.Join(s.dir, "data") }

func (s *Server) run(name string, args ...string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	c := exec.CommandContext(ctx, filepath.Join(s.bin, name), args...)
	c.Dir = s.dir
	c.SysProcAttr = &syscall.SysProcAttr{Credential: s.cred}
	log, err := os.CreateTemp("", "pglog") // a pipe would stay open in the server's hands
	if err != nil {
		return err
	}
	defer os.Remove(log.Name())
	defer log.Close()
	c.Stdout, c.Stderr = log, log
	if err := c.Run(); err != nil {
		out, _ := os.ReadFile(log.Name())
		return fmt.Errorf("%s: %w\n%s", name, err, out)
	}
	return nil
}

func (s *Server) up() error {
	fsync := "off"
	if s.durable {
		fsync = "on"
	}
	return s.run("pg_ctl", "-D", s.data(), "-w", "-l", filepath.Join(s.dir, "log"),
		"-o", fmt.Sprintf("-p %d -c listen_addresses=127.0.0.1 -k %s -c fsync=%s -c max_connections=100", s.port, s.dir, fsync), "start")
}

func (s *Server) stop(mode string) {
	_ = s.run("pg_ctl", "-D", s.data(), "-w", "-m", mode, "stop")
}

// Kill ends the server as a crash does: nothing is flushed, connections break.
func (s *Server) Kill(t testing.TB) {
	t.Helper()
	s.stop("immediate")
}

// Kill9 kills every process of the server at once, without warning.
func (s *Server) Kill9(t testing.TB) {
	t.Helper()
	pids, err := s.pids()
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pids[0], syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	for _, child := range pids[1:] {
		_ = syscall.Kill(child, syscall.SIGKILL)
	}
	// All of them: while a child has the shared memory no other server starts.
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		pids = slices.DeleteFunc(pids, func(pid int) bool { return syscall.Kill(pid, 0) != nil || defunct(pid) })
		if len(pids) == 0 {
			// Where nobody hears of ended processes their numbers look alive, and no other server would start.
			_ = os.Remove(filepath.Join(s.data(), "postmaster.pid"))
			_ = os.Remove(filepath.Join(s.dir, fmt.Sprintf(".s.PGSQL.%d.lock", s.port)))
			return
		}
	}
	t.Fatal("PostgreSQL outlives kill -9")
}

// defunct says that a process has ended and waits for its parent to hear of it.
func defunct(pid int) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err != nil || strings.Contains(string(text), ") Z ")
}

// Restart brings a killed server back on the same address.
func (s *Server) Restart(t testing.TB) {
	t.Helper()
	// A server that was killed counts as running until whoever is its parent now has heard of its end.
	for end := time.Now().Add(15 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		err := s.up()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			text, _ := os.ReadFile(filepath.Join(s.dir, "log"))
			t.Fatalf("%v\n%s", err, text[max(0, len(text)-2000):])
		}
	}
}

// Address is the address of a database of the server.
func (s *Server) Address(database string) string {
	return fmt.Sprintf("postgres://postgres@127.0.0.1:%d/%s?sslmode=disable", s.port, database)
}

// Database makes a new, empty database and returns its address.
func (s *Server) Database(t testing.TB) string {
	t.Helper()
	mu.Lock()
	number++
	name := fmt.Sprintf("test%d", number)
	mu.Unlock()
	ctx := context.Background()
	c, err := pgx.Connect(ctx, s.Address("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(ctx)
	if _, err := c.Exec(ctx, "CREATE DATABASE "+name); err != nil {
		t.Fatal(err)
	}
	return s.Address(name)
}

// Dump is a database as pg_dump writes it: everything in it as text.
func (s *Server) Dump(t testing.TB, dsn string) ([]byte, error) {
	t.Helper()
	program, err := exec.LookPath("pg_dump")
	if err != nil {
		program = filepath.Join(s.bin, "pg_dump")
	}
	cmd := exec.Command(program, "--dbname="+dsn, "--inserts")
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("pg_dump: %w: %s", err, errs.String())
	}
	return out, nil
}
