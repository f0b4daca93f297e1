package quota_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"sallyport.dev/sallyport/internal/gate"
	"sallyport.dev/sallyport/internal/iam/quota"
)

// With the real clock: Run forgets what is idle, windows end by themselves, and a lost call's place is
// free after DefaultHold.
func TestTimePasses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, _ := quota.New(quota.Options{})
		ctx, cancel := context.WithCancel(t.Context())
		go e.Run(ctx)
		for i := range 500 {
			_, _, _ = e.Reserve(bg, one(fmt.Sprint(i), quota.Requests, 1, quota.Second), quota.Amounts{Requests: 1})
		}
		place := one("x", quota.Concurrency, 1, 0)
		if r, _, _ := e.Reserve(bg, place, quota.Amounts{}); r == nil {
			t.Fatal("no place")
		}
		if _, ex, _ := e.Reserve(bg, one("1", quota.Requests, 1, quota.Second), quota.Amounts{Requests: 1}); ex == nil {
			t.Error("twice within a second")
		}
		time.Sleep(time.Second)
		if r, _, _ := e.Reserve(bg, one("1", quota.Requests, 1, quota.Second), quota.Amounts{Requests: 1}); r == nil {
			t.Error("the second has passed")
		}
		time.Sleep(20 * time.Second)
		if n := e.Accounts(); n != 1 {
			t.Errorf("%d accounts", n)
		}
		time.Sleep(quota.DefaultHold - 30*time.Second)
		if r, _, _ := e.Reserve(bg, place, quota.Amounts{}); r != nil {
			t.Error("its place was given away")
		}
		time.Sleep(30 * time.Second)
		if r, _, _ := e.Reserve(bg, place, quota.Amounts{}); r == nil {
			t.Error("its place is lost for ever")
		}
		cancel()
		synctest.Wait()
	})
}

// What is reserved for a call comes from what it sends and allows.
func TestEstimates(t *testing.T) {
	text := gate.Segment{Text: make([]byte, 300)}
	joined := gate.Segment{Text: make([]byte, 300), Joined: []gate.Part{{}}}
	for _, c := range []struct {
		name     string
		endpoint string
		rd       *gate.Reading
		tokens   int64
	}{
		{"no ceiling given", "chat.completions", &gate.Reading{Model: "m", Segments: []gate.Segment{text, joined}}, 100 + 4096},
		{"a ceiling", "chat.completions", &gate.Reading{Model: "m", Segments: []gate.Segment{text}, MaxOutput: 50}, 150},
		{"several answers", "chat.completions", &gate.Reading{Model: "m", Segments: []gate.Segment{text}, MaxOutput: 50, Answers: 4}, 300},
		{"very many", "chat.completions", &gate.Reading{Model: "m", Segments: []gate.Segment{text}, MaxOutput: 50, Answers: 1 << 40}, 100 + 50*1024},
		{"a huge ceiling", "chat.completions", &gate.Reading{Model: "m", MaxOutput: 1 << 60, Answers: 1 << 60}, quota.MaxAmount},
		{"a picture", "chat.completions", &gate.Reading{Model: "m", Segments: []gate.Segment{text}, MaxOutput: 1, Uninspected: make([]gate.Uninspected, 2)}, 100 + 4000 + 1},
		{"embeddings", "embeddings", &gate.Reading{Model: "m", Segments: []gate.Segment{text}}, 100},
		{"counting", "messages.count_tokens", &gate.Reading{Model: "m", Segments: []gate.Segment{text}}, 0},
		{"no model", "files", &gate.Reading{}, 0},
		{"nothing read", "models", nil, 0},
		{"no text found", "unknown", &gate.Reading{Model: "m"}, 100 + 4096},
	} {
		e, _ := quota.New(quota.Options{Now: (&clock{time.Unix(1e9, 0)}).now})
		b := one("x", quota.Tokens, quota.MaxAmount, quota.Day)
		s, err := quota.NewStage(quota.StageOptions{Engine: e, Bounds: func(*gate.Exchange) (*quota.Prepared, error) { return quota.Prepare(b) }})
		if err != nil {
			t.Fatal(err)
		}
		x := &gate.Exchange{Endpoint: c.endpoint, Reading: c.rd, Plain: make([]byte, 300), Record: &gate.Record{}}
		d, err := s.Admit(bg, x)
		if err != nil {
			t.Fatal(err)
		}
		if n := e.Used(b[0]); d.Denied() || n != c.tokens {
			t.Errorf("%s: %d tokens reserved, want %d", c.name, n, c.tokens)
		}
		s.Settle(x)
		if n := e.Used(b[0]); n != 0 {
			t.Errorf("%s: it never left, and used %d", c.name, n)
		}
	}
}

// OpenAI counts what came from the cache within the input, Anthropic beside it.
func TestCachedTokensAreCountedOnce(t *testing.T) {
	for d, want := range map[gate.Dialect]int64{gate.OpenAI: 110, gate.Anthropic: 110 + 40 + 7} {
		e, _ := quota.New(quota.Options{Now: (&clock{time.Unix(1e9, 0)}).now})
		b := one("x", quota.Tokens, 1<<40, quota.Day)
		s, _ := quota.NewStage(quota.StageOptions{Engine: e, Bounds: func(*gate.Exchange) (*quota.Prepared, error) { return quota.Prepare(b) }})
		u := gate.Usage{Input: 100, CachedInput: 40, Output: 10}
		if d == gate.Anthropic {
			u.CacheWrite = 7
		}
		x := &gate.Exchange{Dialect: d, Reading: &gate.Reading{Model: "m"}, Record: &gate.Record{Usage: u, Outcome: gate.OutcomeCompleted}}
		_, _ = s.Admit(bg, x)
		s.Settle(x)
		if n := e.Used(b[0]); n != want {
			t.Errorf("%s: %d, want %d", d, n, want)
		}
	}
	if _, err := quota.NewStage(quota.StageOptions{}); err == nil {
		t.Error("no engine")
	}
}
