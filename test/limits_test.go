package test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"sallyport.dev/sallyport/test/gatetest"
)

// arrived waits until the upstream has seen n requests.
func arrived(t *testing.T, up *gatetest.Upstream, n int) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); len(up.Seen()) < n; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d of %d requests arrived", len(up.Seen()), n)
		}
	}
}

// Too many calls at once, of one credential and in all: the documented answers, with Retry-After, a
// record, and nothing sent on; the place is free again afterwards.
func TestConcurrencyLimits(t *testing.T) {
	for _, c := range []struct {
		limits, other string
		status        int
		code          string
	}{
		{"per_key: 1", "Bearer sk-test", 429, "concurrency_limit_exceeded"},
		{"in_flight: 1", "Bearer sk-another", 503, "gateway_overloaded"},
	} {
		t.Run(c.limits, func(t *testing.T) {
			up := gatetest.NewUpstream(t)
			g := gatetest.Start(t, up, "proxy:\n"+gatetest.Upstreams(up)+"  limits: {"+c.limits+"}\n")
			release := make(chan struct{})
			up.Answer(gatetest.Reply{Header: http.Header{"Content-Type": {"application/json"}}, Body: []byte(`{}`), Wait: release})
			first := make(chan got, 1)
			go func() { first <- do(t, g.URL, good) }()
			arrived(t, up, 1)
			res := do(t, g.URL, good.with("Authorization", c.other))
			if res.status != c.status || !strings.Contains(string(res.body), c.code) || res.header.Get("Retry-After") == "" {
				t.Errorf("%d %v %s", res.status, res.header, res.body)
			}
			if e := g.Event(res.header.Get("Sallyport-Id")); e.Str("outcome") != "refused" {
				t.Errorf("outcome %q", e.Str("outcome"))
			}
			close(release)
			if res := <-first; res.status != 200 || len(up.Seen()) != 1 {
				t.Errorf("%d, %d sent on", res.status, len(up.Seen()))
			}
			if res := do(t, g.URL, good); res.status != 200 {
				t.Errorf("afterwards: %d %s", res.status, res.body)
			}
		})
	}
}

// The client leaves: the provider's call is cancelled at once, whether its answer has begun or not,
// and the record says who left.
func TestALeavingClientCancelsTheProvidersCall(t *testing.T) {
	for _, begun := range []bool{false, true} {
		up := gatetest.NewUpstream(t)
		g := gatetest.Start(t, up, "")
		never := make(chan struct{})
		if begun {
			up.AnswerFunc(func(r *http.Request, _ []byte) gatetest.Reply {
				return gatetest.Reply{Header: http.Header{"Content-Type": {"text/event-stream"}}, Chunks: [][]byte{[]byte(": hello\n\n" + chunkFrame(`{"index":0,"delta":{"content":"a"}}`))}, After: never}
			})
		} else {
			up.Answer(gatetest.Reply{Wait: never})
		}
		ctx, leave := context.WithCancel(context.Background())
		req, _ := http.NewRequestWithContext(ctx, "POST", g.URL+goodStream.target, strings.NewReader(string(goodStream.body)))
		req.Header.Set("Content-Type", "application/json")
		id := make(chan string, 1)
		go func() {
			res, err := http.DefaultTransport.RoundTrip(req)
			if err != nil {
				id <- ""
				return
			}
			defer res.Body.Close()
			b := make([]byte, 64)
			_, _ = res.Body.Read(b)
			id <- res.Header.Get("Sallyport-Id")
		}()
		arrived(t, up, 1)
		if begun {
			if <-id == "" {
				t.Fatal("the stream did not begin")
			}
		}
		left := time.Now()
		leave()
		select {
		case <-up.Canceled():
			t.Logf("begun %v: cancelled after %v", begun, time.Since(left))
		case <-time.After(5 * time.Second):
			t.Fatalf("begun %v: the provider's call goes on", begun)
		}
		outcome := ""
		for deadline := time.Now().Add(5 * time.Second); outcome != "client_aborted" && time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
			for _, e := range g.Events() {
				outcome = e.Str("outcome")
			}
		}
		if outcome != "client_aborted" {
			t.Errorf("begun %v: outcome %q", begun, outcome)
		}
	}
}

// The body limit, declared and not.
func TestBodyLimit(t *testing.T) {
	up := gatetest.NewUpstream(t)
	g := gatetest.Start(t, up, "proxy:\n"+gatetest.Upstreams(up)+"  limits: {body: 64KiB}\n")
	big := chat(`{"model":"m","messages":[{"role":"user","content":"` + strings.Repeat("good ", 20000) + `"}]}`)
	if res := do(t, g.URL, big); res.status != 413 || !strings.Contains(string(res.body), "request_too_large") {
		t.Errorf("declared: %d %s", res.status, res.body)
	}
	req, _ := http.NewRequest("POST", g.URL+big.target, struct{ *strings.Reader }{strings.NewReader(string(big.body))})
	req.ContentLength = -1
	req.Header.Set("Content-Type", "application/json")
	if res, err := http.DefaultTransport.RoundTrip(req); err == nil {
		if res.StatusCode != 413 {
			t.Errorf("chunked: %d", res.StatusCode)
		}
		res.Body.Close()
	}
	if len(up.Seen()) != 0 {
		t.Error("it was sent on")
	}
	n := 0
	for _, e := range g.Events() {
		if e.Str("outcome") == "refused" {
			n++
		}
	}
	if n != 2 {
		t.Errorf("%d of 2 refusals are on record", n)
	}
}
