package test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"sallyport.dev/sallyport/internal/gate"
	"sallyport.dev/sallyport/internal/iam"
	"sallyport.dev/sallyport/internal/inspect"
	"sallyport.dev/sallyport/internal/inspect/detect"
	"sallyport.dev/sallyport/internal/inspect/policy"
	"sallyport.dev/sallyport/internal/inspect/rules"
	"sallyport.dev/sallyport/internal/proxy"
	"sallyport.dev/sallyport/internal/proxy/headguard"
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

func newFaulty(t *testing.T, monitor bool) *faulty {
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
	g, err := proxy.New(proxy.Options{
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
	})
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
	good       = chat(`{"model":"m","messages":[{"role":"user","content":"which roses like shade?"}]}`)
	goodStream = chat(`{"model":"m","stream":true,"messages":[{"role":"user","content":"which roses like shade?"}]}`)
	goodClaude = messages(`{"model":"c","max_tokens":9,"messages":[{"role":"user","content":"which roses like shade?"}]}`)
)

// closes checks that the failure's own answer came, in both dialects, and nothing reached the upstream.
func closes(t *testing.T, f *faulty, row gate.FailureRow) {
	t.Helper()
	before := len(f.up.Seen())
	for _, r := range []request{good, goodClaude} {
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
// all, a stream not to its end.
func withheld(t *testing.T, f *faulty, row gate.FailureRow) {
	t.Helper()
	f.up.Answer(jsonReply(200, `{"choices":[{"index":0,"message":{"role":"assistant","content":"the words"}}]}`, nil))
	if res := do(t, f.URL, good); res.status != row.Status || strings.Contains(string(res.body), "the words") {
		t.Errorf("whole answer: %d %s", res.status, res.body)
	}
	f.up.Answer(gatetest.Reply{Header: http.Header{"Content-Type": {"text/event-stream"}}, Chunks: [][]byte{[]byte(chatStream[:len(chatStream)-20]), []byte(chatStream[len(chatStream)-20:])}})
	req, _ := http.NewRequest("POST", f.URL+goodStream.target, strings.NewReader(string(goodStream.body)))
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err == nil && !strings.Contains(string(b), `"error"`) {
		t.Errorf("stream ended as if it were whole: %q", b)
	}
	if !strings.Contains(string(b), string(row.Code)) {
		t.Errorf("no error event: %q", b)
	}
}

// The failure table, one test per row: each failure is provoked, and what the caller sees is the
// row's own answer, or the call goes on. A row without a test fails.
func TestEveryRowOfTheFailureTable(t *testing.T) {
	broken := errors.New("it broke")
	tests := map[gate.Failure]func(*testing.T, gate.FailureRow){
		gate.FailIdentity: func(t *testing.T, row gate.FailureRow) {
			f := newFaulty(t, false)
			f.stage = func() error { return gate.Fail(gate.FailIdentity, broken) }
			closes(t, f, row)
		},
		gate.FailParse: func(t *testing.T, row gate.FailureRow) {
			f := newFaulty(t, true) // not even monitor mode opens it
			for _, r := range []request{chat(`{"model":"a","model":"b"}`), messages(`{"model":"a","Model":"b"}`)} {
				if res := do(t, f.URL, r); res.status != row.Status || !strings.Contains(string(res.body), string(row.Code)) {
					t.Errorf("%d %s", res.status, res.body)
				}
			}
			if len(f.up.Seen()) != 0 || len(f.records()) != 2 {
				t.Errorf("%d left, %d recorded", len(f.up.Seen()), len(f.records()))
			}
		},
		gate.FailDetector: func(t *testing.T, row gate.FailureRow) {
			f := newFaulty(t, false)
			f.detector = func() { panic("broken rule") }
			closes(t, f, row)
			if rs := f.records(); len(rs) != 2 || rs[0].Outcome != gate.OutcomeRefused {
				t.Errorf("records %+v", rs)
			}
			open := newFaulty(t, true)
			open.detector = f.detector
			passes(t, open)
			if rs := open.records(); len(rs) != 1 || len(rs[0].Uninspected) == 0 || rs[0].Uninspected[0].Kind != gate.UninspectedDetector {
				t.Errorf("monitor passes without saying what was not read: %+v", rs)
			}
		},
		gate.FailModel: func(t *testing.T, row gate.FailureRow) {
			// There is no learned detector yet; the pipeline's side of the row holds already.
			f := newFaulty(t, false)
			f.stage = func() error { return gate.Fail(gate.FailModel, broken) }
			passes(t, f)
			if rs := f.records(); len(rs) != 1 || len(rs[0].Uninspected) == 0 {
				t.Errorf("records %+v", rs)
			}
		},
		gate.FailRecordBegin: func(t *testing.T, row gate.FailureRow) {
			f := newFaulty(t, true)
			f.begin = gate.Fail(gate.FailRecordBegin, broken)
			closes(t, f, row)
		},
		gate.FailRecordFinish: func(t *testing.T, row gate.FailureRow) {
			f := newFaulty(t, true)
			f.finish = gate.Fail(gate.FailRecordFinish, broken)
			withheld(t, f, row)
		},
		gate.FailDisk: func(t *testing.T, row gate.FailureRow) {
			// The real full disk is in test/fault and internal/audit.
			f := newFaulty(t, false)
			f.begin = gate.Fail(gate.FailDisk, broken)
			closes(t, f, row)
			f.begin, f.finish = nil, gate.Fail(gate.FailDisk, broken)
			withheld(t, f, row)
		},
		gate.FailLimits: func(t *testing.T, row gate.FailureRow) {
			// Limits are local in this release, so nothing can be away; the pipeline's side holds.
			f := newFaulty(t, false)
			f.stage = func() error { return gate.Fail(gate.FailLimits, broken) }
			passes(t, f)
		},
		gate.FailAnswerScan: func(t *testing.T, row gate.FailureRow) {
			f := newFaulty(t, false)
			for name, body := range map[string]string{"not JSON": `{"a":`, "twice": `{"choices":[],"choices":[]}`, "bytes": "{\"a\":\"\xff\"}"} {
				f.up.Answer(jsonReply(200, body, nil))
				if res := do(t, f.URL, good); res.status != row.Status || !strings.Contains(string(res.body), string(row.Code)) {
					t.Errorf("%s: %d %s", name, res.status, res.body)
				}
			}
			f.up.Answer(jsonReply(200, `{}`, http.Header{"Content-Encoding": {"x-unknown"}}))
			if res := do(t, f.URL, good); res.status != row.Status {
				t.Errorf("unknown encoding: %d", res.status)
			}
			for name, frame := range map[string]string{"not JSON": "data: {\"a\":\n\n", "too long": "data: \"" + strings.Repeat("x", 1<<17) + "\"\n\n"} {
				f.up.Answer(gatetest.Reply{Header: http.Header{"Content-Type": {"text/event-stream"}}, Chunks: [][]byte{[]byte(chunkFrame(`{"index":0,"delta":{"content":"a"}}`)), []byte(frame), []byte("data: the words\n\n")}})
				res := do(t, f.URL, goodStream)
				if s := string(res.body); strings.Contains(s, "the words") || !strings.Contains(s, string(row.Code)) {
					t.Errorf("stream, %s: %q", name, s)
				}
			}
			open := newFaulty(t, true)
			open.up.Answer(jsonReply(200, `{"a":`, nil))
			if res := do(t, open.URL, good); res.status != 200 || string(res.body) != `{"a":` {
				t.Errorf("monitor: %d %s", res.status, res.body)
			}
		},
		gate.FailNotify: func(t *testing.T, row gate.FailureRow) {
			if row.Default != gate.Open { // there are no alert targets in this release
				t.Error("an absent alert target must not stop calls")
			}
		},
		gate.FailReload: func(t *testing.T, row gate.FailureRow) {
			up := gatetest.NewUpstream(t)
			g := gatetest.Start(t, up, "")
			before := do(t, g.URL, good)
			if err := os.WriteFile(g.Config, []byte("listen: {adress: x}\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := g.Server.Reload(context.Background()); err == nil {
				t.Fatal("an invalid file was taken")
			}
			after := do(t, g.URL, good)
			a, b := g.Event(before.header.Get("Sallyport-Id")), g.Event(after.header.Get("Sallyport-Id"))
			if after.status != 200 || a.Str("policy") == "" || a.Str("policy") != b.Str("policy") {
				t.Errorf("status %d, policy %q then %q", after.status, a.Str("policy"), b.Str("policy"))
			}
		},
		gate.FailClock: func(t *testing.T, row gate.FailureRow) {
			if row.Default != gate.Open { // a clock that jumps back is provoked in internal/audit
				t.Error("a clock that jumps back must not stop calls")
			}
		},
		gate.FailStagePanicked: func(t *testing.T, row gate.FailureRow) {
			for _, monitor := range []bool{false, true} {
				f := newFaulty(t, monitor)
				f.stage = func() error { panic("broken stage") }
				closes(t, f, row)
				if rs := f.records(); len(rs) != 2 {
					t.Errorf("%d records", len(rs))
				}
				f.stage = nil
				passes(t, f) // the process lives
			}
		},
	}
	for _, row := range gate.Failures {
		do := tests[row.Failure]
		if do == nil {
			t.Errorf("the row %s has no test", row.Failure)
			continue
		}
		t.Run(string(row.Failure), func(t *testing.T) { do(t, row) })
	}
}
