package test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sallyport.dev/sallyport/internal/audit"
	"sallyport.dev/sallyport/internal/gate"
	"sallyport.dev/sallyport/internal/iam"
	"sallyport.dev/sallyport/internal/inspect"
	"sallyport.dev/sallyport/internal/inspect/detect"
	"sallyport.dev/sallyport/internal/inspect/policy"
	"sallyport.dev/sallyport/internal/inspect/rules"
	"sallyport.dev/sallyport/internal/proxy"
	"sallyport.dev/sallyport/internal/proxy/headguard"
	"sallyport.dev/sallyport/internal/secret"
	"sallyport.dev/sallyport/internal/store/sqlite"
	"sallyport.dev/sallyport/internal/wire"
	wireanthropic "sallyport.dev/sallyport/internal/wire/anthropic"
	"sallyport.dev/sallyport/internal/wire/openai"
	"sallyport.dev/sallyport/test/gatetest"
)

// faulty is the gateway of the product with one part that fails when told to. Every other part is
// the real one.
type faulty struct {
	URL string
	up  *gatetest.Upstream

	mu            sync.Mutex
	begin, finish error // what the record answers
	detector      func()
	stage         func() error
	finished      []gate.Record
}

func (f *faulty) Begin(context.Context, *gate.Record) error { return f.begin }

func (f *faulty) Finish(_ context.Context, r *gate.Record) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.finish == nil {
		f.finished = append(f.finished, *r)
	}
	return f.finish
}

func (f *faulty) records() []gate.Record {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]gate.Record(nil), f.finished...)
}

// Name and Admit make it a stage.
func (f *faulty) Name() string { return "faulty" }

func (f *faulty) Admit(context.Context, *gate.Exchange) (gate.Decision, error) {
	if f.stage != nil {
		return gate.Decision{}, f.stage()
	}
	return gate.Decision{}, nil
}

// brokenDetector is the real detector until it is told to break.
type brokenDetector struct {
	detect.Detector
	f *faulty
}

func (d brokenDetector) Detect(s *gate.Segment) []gate.Finding {
	if d.f.detector != nil {
		d.f.detector()
	}
	return d.Detector.Detect(s)
}

// newFaulty starts it. change, where given, replaces parts of it.
func newFaulty(t *testing.T, monitor bool, change ...func(*proxy.Options)) *faulty {
	t.Helper()
	f := &faulty{up: gatetest.NewUpstream(t)}
	base, _ := url.Parse(f.up.URL)
	det, err := rules.Default()
	if err != nil {
		t.Fatal(err)
	}
	pol, err := policy.New(policy.Options{})
	if err != nil {
		t.Fatal(err)
	}
	who, err := iam.New(iam.Options{Mode: iam.ModePassthrough, HashKey: make([]byte, 32)})
	if err != nil {
		t.Fatal(err)
	}
	mode := inspect.Enforce
	if monitor {
		mode = inspect.Monitor
	}
	dialects := map[gate.Dialect]wire.Dialect{gate.OpenAI: openai.Dialect{}, gate.Anthropic: wireanthropic.Dialect{}}
	in, err := inspect.New(inspect.Options{Detector: brokenDetector{det, f}, Policy: pol, Mode: mode, Dialects: dialects})
	if err != nil {
		t.Fatal(err)
	}
	flag := func(gate.UninspectedKind) gate.Action { return gate.Flag }
	o := proxy.Options{
		Upstreams: []proxy.Upstream{
			{Name: "openai", Dialect: gate.OpenAI, Base: base, Transport: &http.Transport{DisableCompression: true}, Idle: time.Minute},
			{Name: "anthropic", Dialect: gate.Anthropic, Base: base, Transport: &http.Transport{DisableCompression: true}, Idle: time.Minute},
		},
		Dialects: dialects,
		Arrive:   &gate.Pipeline{Stages: []gate.Stage{who.Authenticate(), f}, Monitor: monitor},
		Admit:    &gate.Pipeline{Stages: []gate.Stage{who.Authorize(), proxy.Shape{Policy: flag, Monitor: monitor}, in}, Monitor: monitor},
		Recorder: f, Inspector: in, Load: proxy.NewLoad(),
		Limits:      proxy.Limits{Body: 1 << 20, DecodedBody: 1 << 20, Answer: 1 << 20, Frame: 1 << 16, InFlight: 100, PerKey: 100, BodyMemory: 1 << 24},
		Timeouts:    proxy.Timeouts{BodyGrace: 10 * time.Second, WriteStall: time.Minute},
		Uninspected: flag, Mode: "test", Monitor: monitor, Log: slog.New(slog.DiscardHandler),
	}
	for _, c := range change {
		c(&o)
	}
	g, err := proxy.New(o)
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewUnstartedServer(g)
	srv.Listener = headguard.Listen(srv.Listener)
	srv.Config.ConnContext = headguard.ConnContext
	srv.Start()
	t.Cleanup(srv.Close)
	f.URL = srv.URL
	return f
}

var (
	good             = chat(`{"model":"m","messages":[{"role":"user","content":"which roses like shade?"}]}`)
	goodStream       = chat(`{"model":"m","stream":true,"messages":[{"role":"user","content":"which roses like shade?"}]}`)
	goodClaude       = messages(`{"model":"c","max_tokens":9,"messages":[{"role":"user","content":"which roses like shade?"}]}`)
	goodClaudeStream = messages(`{"model":"c","max_tokens":9,"stream":true,"messages":[{"role":"user","content":"which roses like shade?"}]}`)
)

// closes checks that the failure's own answer came, in both dialects, and nothing reached the upstream.
func closes(t *testing.T, f *faulty, row gate.FailureRow, headers ...string) {
	t.Helper()
	before := len(f.up.Seen())
	for _, r := range []request{good, goodClaude} {
		for i := 0; i+1 < len(headers); i += 2 {
			r = r.with(headers[i], headers[i+1])
		}
		res := do(t, f.URL, r)
		if res.status != row.Status || !strings.Contains(string(res.body), string(row.Code)) || len(res.header.Get("Sallyport-Id")) != 26 {
			t.Errorf("got %d %s, want %d %s", res.status, res.body, row.Status, row.Code)
		}
	}
	if n := len(f.up.Seen()); n != before {
		t.Errorf("%d calls left", n-before)
	}
}

// passes checks that a call goes through.
func passes(t *testing.T, f *faulty) {
	t.Helper()
	f.up.Answer(jsonReply(200, `{"ok":true}`, nil))
	if res := do(t, f.URL, good); res.status != 200 || string(res.body) != `{"ok":true}` {
		t.Errorf("got %d %s", res.status, res.body)
	}
}

// withheld checks that an answer whose end cannot be recorded does not arrive: a whole one not at
// all, a stream of either dialect not to its end, but to an error.
func withheld(t *testing.T, f *faulty, row gate.FailureRow) {
	t.Helper()
	f.up.Answer(jsonReply(200, `{"choices":[{"index":0,"message":{"role":"assistant","content":"the words"}}]}`, nil))
	if res := do(t, f.URL, good); res.status != row.Status || strings.Contains(string(res.body), "the words") {
		t.Errorf("whole answer: %d %s", res.status, res.body)
	}
	for _, c := range []struct {
		ask                 request
		stream, last, never string
		tail                int
	}{{goodStream, chatStream, "[DONE]", "total_tokens", 20}, {goodClaudeStream, anthropicStream, "message_stop", "message_stop", 53}} {
		cut := len(c.stream) - c.tail
		// So many comments come before it that its beginning is sent before its end is read.
		f.up.Answer(streamReply(strings.Repeat(": wait\n\n", 4000), c.stream[:cut], c.stream[cut:]))
		status, body, err := broken(t, f.URL, c.ask)
		body = strings.TrimLeft(body, ": wait\n")
		// The error stands before whatever ends the stream; what the provider said last is not there.
		fault := strings.Index(body, string(row.Code))
		if end := strings.Index(body, c.last); status != 200 || fault < 0 || (end >= 0 && end < fault) {
			t.Errorf("%s: %d %v, no error event before the end: %q", c.ask.target, status, err, body)
		}
		if strings.Contains(body, c.never) {
			t.Errorf("%s: the provider's end arrived: %q", c.ask.target, body)
		}
	}
}

// streamReply is a stream in these pieces.
func streamReply(pieces ...string) gatetest.Reply {
	r := gatetest.Reply{Header: http.Header{"Content-Type": {"text/event-stream"}}}
	for _, p := range pieces {
		r.Chunks = append(r.Chunks, []byte(p))
	}
	return r
}

// broken makes a call whose answer may break off; err says whether it did.
func broken(t *testing.T, base string, r request) (status int, body string, err error) {
	t.Helper()
	req, err := http.NewRequest(r.method, base+r.target, strings.NewReader(string(r.body)))
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range r.header {
		req.Header[k] = v
	}
	if r.contentType != "" {
		req.Header.Set("Content-Type", r.contentType)
	}
	tr := &http.Transport{DisableCompression: true, ResponseHeaderTimeout: 30 * time.Second}
	defer tr.CloseIdleConnections()
	res, err := tr.RoundTrip(req)
	if err != nil {
		return 0, "", err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return res.StatusCode, string(b), err
}

// brokenDialect is the real dialect but for one method that panics.
type brokenDialect struct {
	wire.Dialect
	where string
}

func (d brokenDialect) ReadRequest(rt wire.Route, ct string, b []byte) (*gate.Reading, error) {
	if d.where == "request" {
		panic("broken dialect")
	}
	return d.Dialect.ReadRequest(rt, ct, b)
}

func (d brokenDialect) ReadAnswer(rt wire.Route, status int, ct string, b []byte) (*gate.Reading, error) {
	if d.where == "answer" {
		panic("broken dialect")
	}
	return d.Dialect.ReadAnswer(rt, status, ct, b)
}

func (d brokenDialect) Stream(rt wire.Route) wire.Stream {
	s := d.Dialect.Stream(rt)
	if d.where == "stream" {
		return &brokenStream{Stream: s}
	}
	return s
}

// brokenStream panics in its third frame.
type brokenStream struct {
	wire.Stream
	n int
}

func (s *brokenStream) Read(raw []byte) (gate.Frame, error) {
	if s.n++; s.n == 3 {
		panic("broken dialect")
	}
	return s.Stream.Read(raw)
}

// brokenInspector panics where it reads whole answers.
type brokenInspector struct{ proxy.Inspector }

func (brokenInspector) Answer(context.Context, *gate.Exchange, *gate.Reading, []byte) ([]byte, gate.Decision, error) {
	panic("broken inspector")
}

// keysOf is the real identity over a real key store, and a key in it. later moves its clock; away
// takes the store away.
func keysOf(t *testing.T) (who *iam.IAM, key string, later func(time.Duration), away func()) {
	t.Helper()
	ctx := context.Background()
	db, err := sqlite.Open(ctx, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	pepper := secret.New("a pepper of this test alone, long enough")
	svc, err := iam.NewService(db.Keys(), pepper, nil)
	if err != nil {
		t.Fatal(err)
	}
	all := []string{"*"}
	_, made, err := svc.Create(ctx, iam.NewKey{Name: "test", Scopes: iam.Scopes{Upstreams: all, Endpoints: all, Models: all}})
	if err != nil {
		t.Fatal(err)
	}
	var ahead atomic.Int64
	start := time.Now() // the clock stands still but for later
	who, err = iam.New(iam.Options{Mode: iam.ModeKeys, Pepper: pepper, Keys: db.Keys(), Now: func() time.Time { return start.Add(time.Duration(ahead.Load())) }})
	if err != nil {
		t.Fatal(err)
	}
	return who, made.Reveal(), func(d time.Duration) { ahead.Store(int64(d)) }, func() {
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		if err := who.Refresh(ctx); err == nil {
			t.Fatal("the store that was taken away still answers")
		}
	}
}

// adminEvents is what the record holds besides calls.
func adminEvents(t *testing.T, dir string) (out []gatetest.Event) {
	t.Helper()
	var b bytes.Buffer
	if err := audit.Export(context.Background(), filepath.Join(dir, "audit"), &b, audit.ExportOptions{Admin: true}); err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(b.Bytes()) {
		var e gatetest.Event
		if err := json.Unmarshal(line, &e); err != nil {
			t.Fatal(err)
		}
		if e.Str("kind") != "call" {
			out = append(out, e)
		}
	}
	return out
}
