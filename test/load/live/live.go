// Package live runs the real sallyport binary as a process of its own, for the measurements and the
// failure tests. Everything is on loopback and ends with the test.
package live

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Build compiles cmd/sallyport into dir. It must be called from inside the module. SALLYPORT_BIN
// names a binary to use instead.
func Build(dir string) (string, error) {
	if bin := os.Getenv("SALLYPORT_BIN"); bin != "" {
		return filepath.Abs(bin)
	}
	bin := filepath.Join(dir, "sallyport")
	out, err := exec.Command("go", "build", "-trimpath", "-o", bin, "sallyport.dev/sallyport/cmd/sallyport").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build sallyport: %w\n%s", err, out)
	}
	return bin, nil
}

// FreeAddr names a loopback port that nobody listens on now.
func FreeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// Gateway is how a sallyport process is to be run.
type Gateway struct {
	Bin      string
	Dir      string // where the configuration file goes
	DataDir  string // default: data in Dir
	Address  string // default: a free loopback port
	Upstream string // origin of the only upstream
	Dialect  string // its dialect; default openai
	Audit    string // audit.mode; default durable
	Proxy    string // more lines under proxy:, indented by two
	More     string // more top-level YAML
	Env      []string
	Wrap     []string // a command to run it under, such as strace
}

// Config writes the configuration file and returns its path.
func (g *Gateway) Config() (string, error) {
	if g.Address == "" {
		a, err := FreeAddr()
		if err != nil {
			return "", err
		}
		g.Address = a
	}
	if g.DataDir == "" {
		g.DataDir = filepath.Join(g.Dir, "data")
	}
	if g.Dialect == "" {
		g.Dialect = "openai"
	}
	if g.Audit == "" {
		g.Audit = "durable"
	}
	path := filepath.Join(g.Dir, "sallyport.yaml")
	text := fmt.Sprintf(`listen:
  address: %q
data_dir: %q
audit:
  mode: %s
proxy:
  allow_private: ["127.0.0.0/8"]
  upstreams:
    - name: mock
      dialect: %s
      base_url: %q
%s
%s`, g.Address, g.DataDir, g.Audit, g.Dialect, g.Upstream, g.Proxy, g.More)
	return path, os.WriteFile(path, []byte(text), 0o600)
}

// Process is a program that was started.
type Process struct {
	Cmd    *exec.Cmd
	Config string
	Addr   string
	done   chan struct{}
	err    error
	log    *tail
}

// Start runs `sallyport serve` and waits until it takes connections.
func (g *Gateway) Start(ctx context.Context) (*Process, error) {
	config, err := g.Config()
	if err != nil {
		return nil, err
	}
	args := append(append([]string{}, g.Wrap...), g.Bin, "serve", "--config", config)
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = append(os.Environ(), g.Env...)
	p, err := Run(cmd)
	if err != nil {
		return nil, err
	}
	p.Config, p.Addr = config, g.Address
	if err := p.Ready(ctx, g.Address); err != nil {
		p.Kill()
		return nil, err
	}
	return p, nil
}

// Run starts a command that ends with its parent, and keeps the end of what it prints.
func Run(cmd *exec.Cmd) (*Process, error) {
	p := &Process{Cmd: cmd, done: make(chan struct{}), log: &tail{}}
	if cmd.Stdout == nil {
		cmd.Stdout = p.log
	}
	if cmd.Stderr == nil {
		cmd.Stderr = p.log
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		p.err = cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

// Ready waits until the address takes connections, or the process ends.
func (p *Process) Ready(ctx context.Context, addr string) error {
	for {
		c, err := net.DialTimeout("tcp", addr, 200*time.Millisecond)
		if err == nil {
			c.Close()
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("not ready: %w\n%s", ctx.Err(), p.Log())
		case <-p.done:
			return fmt.Errorf("ended: %v\n%s", p.err, p.Log())
		case <-time.After(2 * time.Millisecond):
		}
	}
}

// PID is the process id.
func (p *Process) PID() int { return p.Cmd.Process.Pid }

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Alive says whether the process runs.
func (p *Process) Alive() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// Log is the end of what the process printed.
func (p *Process) Log() string { return p.log.String() }

// Signal sends a signal to the process and its children.
func (p *Process) Signal(s syscall.Signal) error { return syscall.Kill(-p.PID(), s) }

// Kill ends the process as a power cut would: no handler runs.
func (p *Process) Kill() {
	_ = p.Signal(syscall.SIGKILL)
	<-p.done
}

// Stop asks the process to end and gives it the time to; then it is killed.
func (p *Process) Stop(patience time.Duration) error {
	if !p.Alive() {
		return p.err
	}
	_ = p.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
		return p.err
	case <-time.After(patience):
		p.Kill()
		return errors.New("did not stop in time")
	}
}

// Health asks the gateway whether it takes calls.
func (p *Process) Health(ctx context.Context) (int, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.Addr+"/-/health", nil)
	if err != nil {
		return 0, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, nil
}

// Command runs another subcommand of the same binary with the same configuration.
func (p *Process) Command(bin string, args ...string) ([]byte, error) {
	cmd := exec.Command(bin, append(args, "--config", p.Config)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("%s: %w: %s", strings.Join(args, " "), err, stderr.String())
	}
	return out, err
}

// tail keeps the last 64 KiB of what is written to it.
type tail struct {
	mu sync.Mutex
	b  []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.b = append(t.b, p...)
	if n := len(t.b) - 64<<10; n > 0 {
		t.b = append(t.b[:0], t.b[n:]...)
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.b)
}
