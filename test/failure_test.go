package test

import (
	"context"
	"errors"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"sallyport.dev/sallyport/internal/gate"
	"sallyport.dev/sallyport/internal/iam"
	"sallyport.dev/sallyport/internal/proxy"
	"sallyport.dev/sallyport/internal/wire"
	"sallyport.dev/sallyport/internal/wire/openai"
	"sallyport.dev/sallyport/test/gatetest"
)

// The failure table, one test per row: each failure is provoked, and what the caller sees is the
// row's own answer, or the call goes on. A row without a test fails.
func TestEveryRowOfTheFailureTable(t *testing.T) {
	brokenPart := errors.New("it broke")
	tests := map[gate.Failure]func(*testing.T, gate.FailureRow){
		gate.FailIdentity: func(t *testing.T, row gate.FailureRow) {
			who, key, later, away := keysOf(t)
			f := newFaulty(t, true, func(o *proxy.Options) { // monitor does not open it
				o.Arrive.Stages[0], o.Admit.Stages[0] = who.Authenticate(), who.Authorize()
				o.StripCredentials = who.CredentialHeaders()
			})
			with := good.with("Authorization", "Bearer "+key)
			away()
			later(iam.MaxAge - time.Second)
			if res := do(t, f.URL, with); res.status != 200 {
				t.Errorf("a known key is not served from memory: %d %s", res.status, res.body)
			}
			if res := do(t, f.URL, good); res.status != 401 {
				t.Errorf("an unknown key while the store is away: %d", res.status)
			}
			later(iam.MaxAge + time.Second)
			closes(t, f, row, "Authorization", "Bearer "+key, "X-Api-Key", "")
			for _, r := range f.records()[2:] {
				if r.Outcome != gate.OutcomeRefused || r.Status != row.Status {
					t.Errorf("recorded as %s %d", r.Outcome, r.Status)
				}
			}
			g := newFaulty(t, false)
			g.stage = func() error { return gate.Fail(gate.FailIdentity, brokenPart) }
			closes(t, g, row)
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
			// There is no learned detector yet, so neither can it fail nor enforce_strict change
			// anything; the pipeline's side of the row holds already.
			f := newFaulty(t, false)
			f.stage = func() error { return gate.Fail(gate.FailModel, brokenPart) }
			passes(t, f)
			if rs := f.records(); len(rs) != 1 || len(rs[0].Uninspected) == 0 {
				t.Errorf("records %+v", rs)
			}
		},
		gate.FailRecordBegin: func(t *testing.T, row gate.FailureRow) {
			f := newFaulty(t, true)
			f.begin = gate.Fail(gate.FailRecordBegin, brokenPart)
			closes(t, f, row)
		},
		gate.FailRecordFinish: func(t *testing.T, row gate.FailureRow) {
			f := newFaulty(t, true)
			f.finish = gate.Fail(gate.FailRecordFinish, brokenPart)
			withheld(t, f, row)
		},
		gate.FailDisk: func(t *testing.T, row gate.FailureRow) {
			// The real full disk is in test/fault and internal/audit.
			f := newFaulty(t, false)
			f.begin = gate.Fail(gate.FailDisk, brokenPart)
			closes(t, f, row)
			f.begin, f.finish = nil, gate.Fail(gate.FailDisk, brokenPart)
			withheld(t, f, row)
		},
		gate.FailLimits: func(t *testing.T, row gate.FailureRow) {
			// Limits are local in this release, so nothing can be away; the pipeline's side holds.
			f := newFaulty(t, false)
			f.stage = func() error { return gate.Fail(gate.FailLimits, brokenPart) }
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
			if !slices.ContainsFunc(adminEvents(t, g.Dir), func(e gatetest.Event) bool {
				return strings.Contains(toJSON(e), "config_reload_refused") && strings.Contains(toJSON(e), a.Str("policy"))
			}) {
				t.Error("the refused file is not on record")
			}
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

				for where, reply := range map[string]gatetest.Reply{"request": jsonReply(200, `{}`, nil), "answer": jsonReply(200, `{"id":"the words"}`, nil)} {
					f := newFaulty(t, monitor, func(o *proxy.Options) {
						dialects := map[gate.Dialect]wire.Dialect{}
						for n, d := range o.Dialects {
							dialects[n] = brokenDialect{d, where}
						}
						o.Dialects = dialects
					})
					f.up.Answer(reply)
					for _, r := range []request{good, goodClaude} {
						if res := do(t, f.URL, r); res.status != row.Status || !strings.Contains(string(res.body), string(row.Code)) || strings.Contains(string(res.body), "the words") {
							t.Errorf("dialect, %s: %d %s", where, res.status, res.body)
						}
					}
					if rs := f.records(); len(rs) != 2 || rs[0].Outcome != gate.OutcomeFailed {
						t.Errorf("dialect, %s: records %+v", where, rs)
					}
					if where == "request" && len(f.up.Seen()) != 0 {
						t.Error("a call that was not read left")
					}
				}

				answers := newFaulty(t, monitor, func(o *proxy.Options) { o.Inspector = brokenInspector{o.Inspector} })
				answers.up.Answer(jsonReply(200, `{"id":"the words"}`, nil))
				if res := do(t, answers.URL, good); res.status != row.Status || strings.Contains(string(res.body), "the words") {
					t.Errorf("inspector: %d %s", res.status, res.body)
				}

				streams := newFaulty(t, monitor, func(o *proxy.Options) {
					o.Dialects = map[gate.Dialect]wire.Dialect{gate.OpenAI: brokenDialect{openai.Dialect{}, "stream"}, gate.Anthropic: o.Dialects[gate.Anthropic]}
				})
				streams.up.Answer(streamReply(chunkFrame(`{"index":0,"delta":{"content":"a"}}`), chunkFrame(`{"index":0,"delta":{"content":"b"}}`), chunkFrame(`{"index":0,"delta":{"content":"the words"}}`), "data: [DONE]\n\n"))
				// What fails while a stream is read is a failure to inspect it: in monitor it passes, named.
				_, body, err := broken(t, streams.URL, goodStream)
				rs := streams.records()
				if len(rs) != 1 {
					t.Fatalf("stream: records %+v", rs)
				}
				if monitor {
					if !strings.Contains(body, "the words") || rs[0].Outcome != gate.OutcomeCompleted || len(rs[0].Uninspected) == 0 {
						t.Errorf("stream in monitor: %q %+v", body, rs)
					}
				} else if strings.Contains(body, "the words") || strings.Contains(body, "[DONE]") || (err == nil && !strings.Contains(body, `"error"`)) || rs[0].Outcome != gate.OutcomeFailed {
					t.Errorf("stream: %v %q %+v", err, body, rs)
				}
				passes(t, streams)
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
