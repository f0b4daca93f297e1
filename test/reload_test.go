package test

import (
	"context"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sallyport.dev/sallyport/test/gatetest"
)

// Reloading all the time, now and then with an invalid file, drops and mixes nothing: every call is
// answered whole, and each record names one of the two policies there were.
func TestReloadsUnderCallsDropNothing(t *testing.T) {
	up := gatetest.NewUpstream(t)
	g := gatetest.Start(t, up, "audit: {mode: best_effort}\n")
	up.Answer(gatetest.Reply{Header: http.Header{"Content-Type": {"text/event-stream"}}, Chunks: [][]byte{[]byte(chatStream[:300]), []byte(chatStream[300:])}})
	base, err := os.ReadFile(g.Config)
	if err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	var calls, wrong atomic.Int64
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if res := do(t, g.URL, goodStream); res.status != 200 || string(res.body) != chatStream {
					wrong.Add(1)
				}
				calls.Add(1)
			}
		})
	}
	valid := [][]byte{base, append(append([]byte(nil), base...), "inspect: {policy: [{category: secret, action: flag}]}\n"...)}
	refused := 0
	for i := range 60 {
		b := valid[i%2]
		if i%5 == 4 {
			b = append(append([]byte(nil), base...), "no_such_key: 1\n"...)
		}
		if err := os.WriteFile(g.Config, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := g.Server.Reload(context.Background()); err != nil {
			refused++
		}
	}
	close(stop)
	wg.Wait()
	if wrong.Load() > 0 || calls.Load() == 0 {
		t.Errorf("%d of %d calls went wrong", wrong.Load(), calls.Load())
	}
	if refused == 0 {
		t.Error("no invalid file was refused")
	}
	g.Close()
	policies := map[string]int{}
	for _, e := range g.Events() {
		if e.Str("kind") == "call" {
			policies[e.Str("policy")]++
		}
	}
	if len(policies) > 2 {
		t.Errorf("records name %d policies: %v", len(policies), policies)
	}
	t.Logf("%d calls during 60 reloads, %d refused files, policies %v", calls.Load(), refused, policies)
}

// A call in flight ends in its own time when the gateway is told to stop, and its record is there.
func TestShutdownLetsCallsEnd(t *testing.T) {
	up := gatetest.NewUpstream(t)
	g := gatetest.Start(t, up, "")
	release := make(chan struct{})
	up.Answer(gatetest.Reply{Header: jsonReply(200, "", nil).Header, Body: []byte(`{"ok":true}`), Wait: release})
	answered := make(chan got, 1)
	go func() { answered <- do(t, g.URL, good) }()
	for deadline := time.Now().Add(5 * time.Second); len(up.Seen()) == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the call did not arrive")
		}
	}
	down := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		down <- g.Server.Shutdown(ctx)
	}()
	close(release)
	if res := <-answered; res.status != 200 || !strings.Contains(string(res.body), "ok") {
		t.Errorf("the call in flight: %d %s", res.status, res.body)
	}
	if err := <-down; err != nil {
		t.Error(err)
	}
	g.Server = nil
	for _, e := range g.Events() {
		if e.Str("kind") == "call" && e.Str("outcome") != "completed" {
			t.Errorf("outcome %s", e.Str("outcome"))
		}
	}
}
