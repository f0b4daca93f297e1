package audit

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"sallyport.dev/sallyport/internal/gate"
)

// small keeps the reserve of a test's log off the disk.
func small(o Options) Options {
	if o.ReserveBytes == 0 {
		o.ReserveBytes = -1
	}
	return o
}

func open(t testing.TB, dir string, o Options) *Log {
	t.Helper()
	l, err := Open(dir, small(o))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func closed(t testing.TB, l *Log) {
	t.Helper()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

// record is a call with every field set.
func record(id string) *gate.Record {
	return &gate.Record{
		ID: id, Received: time.Date(2026, 3, 1, 12, 0, 0, 123456789, time.UTC),
		Principal:  gate.Principal{Kind: "key", ID: "k_01", Name: "build agent"},
		ClientAddr: netip.MustParseAddr("192.0.2.7"),
		Upstream:   "openai", Dialect: gate.OpenAI, Endpoint: "chat.completions", Method: "POST",
		Path: "/v1/chat/completions", Model: "gpt-5-mini", Streamed: true,
		Policy: "sha256:0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a69788796a5b4c3d2e1f0", Mode: "enforce",
		Findings: []gate.Finding{{Category: gate.Injection, Rule: "override", Direction: gate.Request,
			Channel: gate.ChannelTool, Path: "messages[2].content[0].text", Start: 3, End: 44, View: "folded", Score: 0.93, Action: gate.Flag, Span: "00ff", Excused: "0123abcd"}},
		Uninspected: []gate.Uninspected{{Kind: gate.UninspectedImage, Path: "messages[1].content[1]", Bytes: 51234, Action: gate.Flag}},
		Decision: gate.Decision{Verdict: gate.Flag, Stage: "inspect", Reason: "injection in tool text",
			Problem: &gate.Problem{Status: 400, Code: gate.CodePolicy, Param: "messages[2]"}},
		MoreFindings: 2, WouldBe: gate.Block, Sanitized: true, Status: 200, Outcome: gate.OutcomeCompleted, Error: "none to speak of",
		Usage: gate.Usage{Input: 812, Output: 44, CachedInput: 512, Reasoning: 12, CacheWrite: 3, CacheWriteShort: 2, AudioInput: 5, ImageInput: 6, AudioOutput: 7, Searches: 8, Tier: gate.TierFlex}, Finish: "stop",
		Spend: gate.Spend{Tokens: 859, Cost: 4321, Estimated: true, Guessed: true}, AnswerText: 71,
		RequestBytes: 4011, ForwardBytes: 4012, AnswerBytes: 2044, SentBytes: 2045,
		Admitted: 310 * time.Microsecond, Begun: 480 * time.Microsecond, FirstByte: 91 * time.Millisecond, Finished: 410 * time.Millisecond,
		Content: gate.Content{Mode: "hashed", Request: "hmac:8f1c", Answer: "hmac:77ab"},
	}
}

// fill writes n finished calls, and a note.
func fill(t testing.TB, l *Log, n int) {
	t.Helper()
	ctx := context.Background()
	for i := range n {
		r := record(fmt.Sprintf("call-%04d", i))
		if err := l.Begin(ctx, r); err != nil {
			t.Fatal(err)
		}
		if err := l.Finish(ctx, r); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Note(ctx, "config_reload", map[string]string{"policy": "sha256:01", "by": "signal"}); err != nil {
		t.Fatal(err)
	}
}

func verified(t testing.TB, dir string, o VerifyOptions) Report {
	t.Helper()
	r, err := Verify(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func mustVerify(t testing.TB, dir string) Report {
	t.Helper()
	r := verified(t, dir, VerifyOptions{})
	if !r.OK {
		t.Fatalf("record %d: %s", r.FirstBad, r.Problem)
	}
	return r
}

func copyDir(t testing.TB, from string) string {
	t.Helper()
	to := t.TempDir()
	if err := os.CopyFS(filepath.Join(to, "audit"), os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(to, "audit")
}

func events(t testing.TB, dir string) []*Event {
	t.Helper()
	var es []*Event
	for e, err := range Events(dir) {
		if err != nil {
			t.Fatal(err)
		}
		es = append(es, e)
	}
	return es
}

// needs skips a test whose outside part is missing, unless everything is required.
func needs(t testing.TB, ok bool, what string) {
	t.Helper()
	if ok {
		return
	}
	if os.Getenv("SALLYPORT_TEST_REQUIRE") == "all" {
		t.Fatalf("needs %s", what)
	}
	t.Skipf("needs %s", what)
}

// thorough says whether every single case of a long list is run, and not only some.
func thorough() bool { return os.Getenv("SALLYPORT_TEST_REQUIRE") == "all" }
