package hostile

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"sallyport.dev/sallyport/internal/gate"
)

const helloStream = `{"model":"m","stream":true,"messages":[{"role":"user","content":"Good morning."}]}`

// TestB7Answers: whatever the provider sends, the caller gets an answer that is whole or visibly
// broken, within bounds, and the record says which.
func TestB7Answers(t *testing.T) {
	g := start(t, "  limits: {answer: 16MiB}\n", "")
	done := g.steady(t, 2*time.Second, 5)
	const rise = 160 << 20
	for _, c := range []struct {
		how      string
		stream   bool
		status   int    // 0: the connection may also break
		want     string // in the answer, when whole
		outcomes []gate.Outcome
	}{
		{"gzip-bomb", false, 502, "", []gate.Outcome{gate.OutcomeFailed, gate.OutcomeUpstreamAborted, gate.OutcomeUpstreamError}},
		{"gzip-bomb-stream", true, 0, "", []gate.Outcome{gate.OutcomeFailed, gate.OutcomeUpstreamAborted}},
		{"false-gzip", false, 502, "", []gate.Outcome{gate.OutcomeFailed, gate.OutcomeUpstreamAborted}},
		{"unknown-encoding", false, 502, "", []gate.Outcome{gate.OutcomeFailed}},
		{"endless-line", true, 0, "", []gate.Outcome{gate.OutcomeFailed, gate.OutcomeUpstreamAborted}},
		{"endless-json", false, 502, "", []gate.Outcome{gate.OutcomeFailed, gate.OutcomeUpstreamAborted}},
		{"empty-events", true, 200, "[DONE]", []gate.Outcome{gate.OutcomeCompleted}},
		{"comments", true, 200, "[DONE]", []gate.Outcome{gate.OutcomeCompleted}},
		{"split-runes", true, 200, "Grüße, 世界 🙂", []gate.Outcome{gate.OutcomeCompleted}},
		{"bad-event", true, 0, "", []gate.Outcome{gate.OutcomeFailed, gate.OutcomeUpstreamAborted}},
		{"header-bomb", false, 502, "", []gate.Outcome{gate.OutcomeUpstreamError, gate.OutcomeFailed}},
		{"length-short", false, 502, "", []gate.Outcome{gate.OutcomeFailed, gate.OutcomeUpstreamAborted}},
		{"length-long", false, 502, "", []gate.Outcome{gate.OutcomeUpstreamAborted}},
		{"length-both", false, 0, "", nil},
		{"lengths-differ", false, 502, "", []gate.Outcome{gate.OutcomeUpstreamError, gate.OutcomeFailed}},
		{"cut-chunk", false, 502, "", []gate.Outcome{gate.OutcomeUpstreamAborted}},
		{"cut-stream", true, 0, "", []gate.Outcome{gate.OutcomeUpstreamAborted}},
		{"reset", false, 502, "", []gate.Outcome{gate.OutcomeUpstreamError}},
		{"informational", false, 0, "", nil},
		{"not-http", false, 502, "", []gate.Outcome{gate.OutcomeUpstreamError}},
		{"endless-header", false, 502, "", []gate.Outcome{gate.OutcomeUpstreamError}},
	} {
		t.Run(c.how, func(t *testing.T) {
			body := hello
			if c.stream {
				body = helloStream
			}
			var r reply
			rose := g.peak(t, func() { r = g.post(t, body, "X-Hostile: "+c.how) })
			if r.took > 4*bound {
				t.Errorf("took %v", r.took)
			}
			if rose > rise {
				t.Errorf("memory rose by %d MiB", rose>>20)
			}
			if c.status != 0 && r.status != c.status {
				t.Errorf("status %d %.300q %v, want %d", r.status, r.body, r.err, c.status)
			}
			if c.want != "" && (!strings.Contains(r.body, c.want) || r.err != nil) {
				t.Errorf("%q is not in the answer of %d bytes (%v)", c.want, len(r.body), r.err)
			}
			// An answer that is not whole must not look whole.
			if c.want == "" && c.stream && r.err == nil && strings.Contains(r.body, "[DONE]") && !strings.Contains(r.body, `"error"`) {
				t.Errorf("a broken stream ended like a whole one: %.300q", r.body)
			}
			if c.how == "bad-event" && strings.Contains(r.body, "unread") {
				t.Error("a frame that cannot be read passed")
			}
			if c.how == "length-both" && r.status == http.StatusOK && r.body != plainAnswer {
				t.Errorf("an answer with two lengths passed as %.100q", r.body)
			}
			id := r.header.Get("Sallyport-Id")
			if id == "" || len(c.outcomes) == 0 {
				return
			}
			got := g.outcome(t, id)
			for _, o := range c.outcomes {
				if got == string(o) {
					return
				}
			}
			t.Errorf("recorded as %q, want one of %v", got, c.outcomes)
		})
	}
	done()
}
