package pgtest

import (
	"bytes"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// Proxy stands between a client and the server, and fails as a network does.
type Proxy struct {
	ln     net.Listener
	to     string
	dsn    string
	mu     sync.Mutex
	flow   sync.Cond // of held and closed
	held   bool
	closed bool
	lose   []byte
	conns  map[net.Conn]bool
}

// NewProxy begins one before the database of an address, until the test ends.
func NewProxy(t testing.TB, dsn string) *Proxy {
	t.Helper()
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{ln: ln, to: u.Host, conns: map[net.Conn]bool{}}
	p.flow.L = &p.mu
	u.Host = ln.Addr().String()
	p.dsn = u.String()
	go p.serve()
	t.Cleanup(func() {
		_ = ln.Close()
		p.mu.Lock()
		p.closed = true
		p.mu.Unlock()
		p.Cut()
		p.flow.Broadcast()
	})
	return p
}

// DSN is the address of the database through the proxy.
func (p *Proxy) DSN() string { return p.dsn }

// Hold keeps back every byte, in both directions, on connections that stay open: packets are lost, or the other
// side stands still.
func (p *Proxy) Hold() { p.mu.Lock(); p.held = true; p.mu.Unlock() }

// Release lets go what was held.
func (p *Proxy) Release() { p.mu.Lock(); p.held = false; p.mu.Unlock(); p.flow.Broadcast() }

// Cut closes every connection.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		_ = c.Close()
	}
	clear(p.conns)
}

// Lose has the server do what a client says next that holds the text, and cuts the connection instead of
// bringing the answer: once.
func (p *Proxy) Lose(text string) { p.mu.Lock(); p.lose = []byte(text); p.mu.Unlock() }

func (p *Proxy) serve() {
	for {
		client, err := p.ln.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", p.to)
		if err != nil {
			_ = client.Close()
			continue
		}
		p.mu.Lock()
		p.conns[client], p.conns[server] = true, true
		p.mu.Unlock()
		lost := make(chan struct{})
		go p.pipe(client, server, func(b []byte) {
			p.mu.Lock()
			defer p.mu.Unlock()
			if p.lose != nil && bytes.Contains(b, p.lose) {
				p.lose = nil
				close(lost)
			}
		}, nil)
		go p.pipe(server, client, nil, lost)
	}
}

// pipe carries bytes on, until lost is closed.
func (p *Proxy) pipe(from, to net.Conn, see func([]byte), lost <-chan struct{}) {
	defer from.Close()
	defer to.Close()
	b := make([]byte, 32<<10)
	for {
		n, err := from.Read(b)
		if err != nil {
			return
		}
		p.mu.Lock()
		for p.held && !p.closed {
			p.flow.Wait()
		}
		p.mu.Unlock()
		if see != nil {
			see(b[:n])
		}
		select {
		case <-lost:
			return // the server has answered, and nobody hears it
		default:
		}
		if _, err := to.Write(b[:n]); err != nil {
			return
		}
	}
}

// Stall has every process of the server stand still, with its connections open, until Resume or the test's end.
func (s *Server) Stall(t testing.TB) {
	t.Helper()
	s.signal(t, syscall.SIGSTOP)
	t.Cleanup(func() { s.signal(t, syscall.SIGCONT) })
}

// Resume has a stalled server go on.
func (s *Server) Resume(t testing.TB) { t.Helper(); s.signal(t, syscall.SIGCONT) }

func (s *Server) signal(t testing.TB, sig syscall.Signal) {
	t.Helper()
	pids, err := s.pids()
	if err != nil {
		t.Log(err) // it ended meanwhile
		return
	}
	for _, pid := range pids {
		_ = syscall.Kill(pid, sig) // a child may have ended
	}
}

// pids are those of the server, itself first, and its children.
func (s *Server) pids() ([]int, error) {
	text, err := os.ReadFile(filepath.Join(s.data(), "postmaster.pid"))
	if err != nil {
		return nil, err
	}
	line, _, _ := strings.Cut(string(text), "\n")
	pid, err := strconv.Atoi(line)
	if err != nil {
		return nil, err
	}
	pids := []int{pid}
	children, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	for _, c := range strings.Fields(string(children)) {
		if n, err := strconv.Atoi(c); err == nil {
			pids = append(pids, n)
		}
	}
	return pids, nil
}
