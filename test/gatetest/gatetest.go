// Package gatetest runs the whole product in one process: the real server with its record on disk,
// before an upstream that keeps exactly what it was sent and answers exactly what it is told.
package gatetest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"sallyport.dev/sallyport/internal/audit"
	"sallyport.dev/sallyport/internal/config"
	"sallyport.dev/sallyport/internal/server"
)

// Seen is one request as it arrived upstream.
type Seen struct {
	Method, URI, Host string
	Header            http.Header
	Body              []byte
}

// Reply is what the upstream answers. Chunks are written and flushed one by one; Body is written
// whole with its length.
type Reply struct {
	Status  int
	Header  http.Header
	Body    []byte
	Chunks  [][]byte
	Trailer http.Header
	// Abort breaks the connection after the last chunk.
	Abort bool
	// Wait, when set, is received from before the answer begins.
	Wait <-chan struct{}
	// After, when set, is received from after the last chunk, before the answer ends.
	After <-chan struct{}
}

// Upstream is a provider of the test's own.
type Upstream struct {
	URL string

	mu       sync.Mutex
	seen     []Seen
	reply    func(*http.Request, []byte) Reply
	canceled chan struct{}
}

// NewUpstream listens on loopback, HTTP/1.1 and HTTP/2 without TLS.
func NewUpstream(t testing.TB) *Upstream {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	u := &Upstream{URL: "http://" + ln.Addr().String(), canceled: make(chan struct{}, 64)}
	p := new(http.Protocols)
	p.SetHTTP1(true)
	p.SetUnencryptedHTTP2(true)
	srv := &http.Server{Handler: u, Protocols: p, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, 0)}
	go srv.Serve(ln)
	t.Cleanup(func() { srv.Close() })
	return u
}

// Answer sets what the upstream answers from now on.
func (u *Upstream) Answer(r Reply) { u.AnswerFunc(func(*http.Request, []byte) Reply { return r }) }

// AnswerFunc is Answer by request.
func (u *Upstream) AnswerFunc(f func(*http.Request, []byte) Reply) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.reply = f
}

// Seen is every request so far.
func (u *Upstream) Seen() []Seen {
	u.mu.Lock()
	defer u.mu.Unlock()
	return append([]Seen(nil), u.seen...)
}

// Canceled receives once for every request whose client left before the answer was over.
func (u *Upstream) Canceled() <-chan struct{} { return u.canceled }

func (u *Upstream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	u.mu.Lock()
	u.seen = append(u.seen, Seen{r.Method, r.RequestURI, r.Host, r.Header.Clone(), body})
	reply := u.reply
	u.mu.Unlock()
	rep := Reply{Header: http.Header{"Content-Type": {"application/json"}}, Body: []byte(`{}`)}
	if reply != nil {
		rep = reply(r, body)
	}
	if rep.Wait != nil {
		select {
		case <-rep.Wait:
		case <-r.Context().Done():
			u.canceled <- struct{}{}
			return
		}
	}
	for k, vs := range rep.Header {
		w.Header()[k] = vs
	}
	if rep.Status == 0 {
		rep.Status = 200
	}
	for k := range rep.Trailer {
		w.Header().Add("Trailer", k)
	}
	if rep.Chunks == nil {
		w.Header().Set("Content-Length", fmt.Sprint(len(rep.Body)))
	}
	w.WriteHeader(rep.Status)
	if rep.Chunks == nil {
		w.Write(rep.Body)
	}
	rc := http.NewResponseController(w)
	for _, c := range rep.Chunks {
		w.Write(c)
		rc.Flush()
	}
	if rep.After != nil {
		select {
		case <-rep.After:
		case <-r.Context().Done():
			u.canceled <- struct{}{}
			return
		}
	}
	if rep.Abort {
		panic(http.ErrAbortHandler)
	}
	for k, vs := range rep.Trailer {
		w.Header()[k] = vs
	}
}

// Gate is a running Sallyport.
type Gate struct {
	URL    string
	Dir    string
	Config string // path of the configuration file
	Server *server.Server
	Log    *bytes.Buffer
	log    *lockedWriter
	t      testing.TB
}

// Start runs Sallyport before up with the given configuration, to which the data directory, the
// listener and the upstreams (both dialects) are added where it does not name them.
func Start(t testing.TB, up *Upstream, yaml string) *Gate {
	t.Helper()
	g := &Gate{Dir: filepath.Join(t.TempDir(), "data"), t: t, Log: &bytes.Buffer{}}
	g.log = &lockedWriter{w: g.Log}
	g.Config = filepath.Join(t.TempDir(), "sallyport.yaml")
	g.Write(up, yaml)
	g.Open()
	t.Cleanup(g.Close)
	return g
}

// Write writes the configuration file.
func (g *Gate) Write(up *Upstream, yaml string) {
	g.t.Helper()
	base := fmt.Sprintf("listen: {address: \"127.0.0.1:0\"}\ndata_dir: %q\n", g.Dir)
	if !bytes.Contains([]byte(yaml), []byte("proxy:")) {
		base += "proxy:\n" + Upstreams(up)
	}
	if err := os.WriteFile(g.Config, []byte(base+yaml), 0o600); err != nil {
		g.t.Fatal(err)
	}
}

// Upstreams is the part of the configuration under `proxy:` that sends both dialects to up.
func Upstreams(up *Upstream) string {
	return fmt.Sprintf("  allow_private: [127.0.0.0/8]\n  upstreams:\n    - {name: openai, dialect: openai, base_url: %q}\n    - {name: anthropic, dialect: anthropic, base_url: %q}\n", up.URL, up.URL)
}

// Open starts the server on the files there are.
func (g *Gate) Open() {
	g.t.Helper()
	cfg, err := config.Load(g.Config)
	if err != nil {
		g.t.Fatal(err)
	}
	log := slog.New(slog.NewTextHandler(g.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	g.Server, err = server.Start(context.Background(), cfg, g.Config, log)
	if err != nil {
		g.t.Fatal(err)
	}
	g.URL = g.Server.URL()
}

// Text is the log so far, also while the server runs.
func (g *Gate) Text() string {
	g.log.mu.Lock()
	defer g.log.mu.Unlock()
	return g.Log.String()
}

// Close stops the server; it may be opened again.
func (g *Gate) Close() {
	if g.Server == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := g.Server.Shutdown(ctx); err != nil {
		g.t.Errorf("shut down: %v", err)
	}
	g.Server = nil
}

// Event is one line of `sallyport audit export`.
type Event map[string]any

// Str is a string field.
func (e Event) Str(k string) string { s, _ := e[k].(string); return s }

// Events exports the record.
func (g *Gate) Events() map[string]Event {
	g.t.Helper()
	out := map[string]Event{}
	for _, line := range bytes.Split(bytes.TrimSpace([]byte(g.export(audit.ExportOptions{}))), []byte("\n")) {
		if len(line) == 0 {
			continue
		}
		var e Event
		if err := json.Unmarshal(line, &e); err != nil {
			g.t.Fatalf("export wrote a line that is not JSON: %v", err)
		}
		out[e.Str("id")] = e
	}
	return out
}

// Record is the whole record as text, calls and events.
func (g *Gate) Record() string { return g.export(audit.ExportOptions{Admin: true}) }

func (g *Gate) export(o audit.ExportOptions) string {
	g.t.Helper()
	var b bytes.Buffer
	if err := audit.Export(context.Background(), filepath.Join(g.Dir, "audit"), &b, o); err != nil {
		g.t.Fatal(err)
	}
	return b.String()
}

// Event finds one call.
func (g *Gate) Event(id string) Event {
	g.t.Helper()
	e, ok := g.Events()[id]
	if !ok {
		g.t.Fatalf("call %q is not in the record", id)
	}
	return e
}

type lockedWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *lockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}
