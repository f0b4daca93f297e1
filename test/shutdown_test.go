package test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"sallyport.dev/sallyport/test/gatetest"
)

// streamer is a provider whose streams go on when they are told to.
type streamer struct {
	*gatetest.Upstream
	came chan chan string
}

func newStreamer(t *testing.T) *streamer {
	u := &streamer{came: make(chan chan string, 16)}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "text/event-stream")
		pieces := make(chan string)
		u.came <- pieces
		for {
			select {
			case s, ok := <-pieces:
				if !ok {
					return
				}
				_, _ = io.WriteString(w, s)
				_ = http.NewResponseController(w).Flush()
			case <-r.Context().Done():
				return
			}
		}
	}))
	t.Cleanup(func() {
		srv.CloseClientConnections()
		srv.Close()
	})
	u.Upstream = &gatetest.Upstream{URL: srv.URL}
	return u
}

// stream is a streamed call in flight, both ends of it.
type stream struct {
	t      *testing.T
	id     string
	pieces chan string
	res    *http.Response
}

// begin begins a stream; its first bytes have arrived.
func begin(t *testing.T, g *gatetest.Gate, u *streamer) *stream {
	t.Helper()
	s := &stream{t: t}
	got := make(chan error, 1)
	go func() {
		req, _ := http.NewRequest("POST", g.URL+goodStream.target, strings.NewReader(string(goodStream.body)))
		req.Header.Set("Content-Type", "application/json")
		var err error
		s.res, err = new(http.Transport).RoundTrip(req)
		got <- err
	}()
	select {
	case s.pieces = <-u.came:
	case err := <-got:
		t.Fatalf("no call to the provider: %v", err)
	case <-time.After(20 * time.Second):
		t.Fatal("no call to the provider")
	}
	s.say(": hello\n\n")
	if err := <-got; err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.res.Body.Close() })
	s.id = s.res.Header.Get("Sallyport-Id")
	return s
}

// say has the provider send a piece.
func (s *stream) say(piece string) {
	s.t.Helper()
	select {
	case s.pieces <- piece:
	case <-time.After(20 * time.Second):
		s.t.Fatal("the provider's side of the stream is gone")
	}
}

// rest is what the client reads until the stream's end, and how it ended.
func (s *stream) rest() (string, error) {
	b, err := io.ReadAll(s.res.Body)
	return string(b), err
}

const lastFrames = `data: {"id":"x","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}` + "\n\ndata: [DONE]\n\n"

// A stream ends under the policy it began with; a call beside it has the new one.
func TestStreamsKeepTheirPolicy(t *testing.T) {
	u := newStreamer(t)
	g := gatetest.Start(t, u.Upstream, "")
	old := begin(t, g, u)
	rewrite(t, g, readConfig(t, g), "inspect: {policy: [{category: secret, action: allow}]}\n")
	if err := g.Server.Reload(context.Background()); err != nil {
		t.Fatal(err)
	}
	young := begin(t, g, u)
	for _, s := range []*stream{old, young} {
		s.say(chunkFrame(`{"index":0,"delta":{"content":"the token is ` + leaked + ` and no other"}}`))
		s.say(lastFrames)
		close(s.pieces)
		body, err := s.rest()
		if err != nil || !strings.Contains(body, "[DONE]") {
			t.Errorf("%v %q", err, body)
		}
		if masked := !strings.Contains(body, leaked); masked != (s == old) {
			t.Errorf("masked: %v", masked)
		}
	}
	a, b := g.Event(old.id), g.Event(young.id)
	if a.Str("policy") == b.Str("policy") || a.Str("outcome") != "completed" || b.Str("outcome") != "completed" {
		t.Errorf("policies %s %s, outcomes %s %s", a.Str("policy"), b.Str("policy"), a.Str("outcome"), b.Str("outcome"))
	}
}

// refused waits until the gateway takes no more connections.
func refused(t *testing.T, g *gatetest.Gate) {
	t.Helper()
	addr := g.Server.Addr().String()
	within(t, 20*time.Second, "new connections are refused", func() bool {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			c.Close()
		}
		return err != nil
	})
}

// Told to stop, the gateway takes no new calls; those in flight end in their own time, whole.
func TestShutdownLetsCallsEnd(t *testing.T) {
	u := newStreamer(t)
	g := gatetest.Start(t, u.Upstream, "")
	s := begin(t, g, u)
	down := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
		defer cancel()
		down <- g.Server.Shutdown(ctx)
	}()
	refused(t, g)
	s.say(chunkFrame(`{"index":0,"delta":{"content":"good morning"}}`))
	s.say(lastFrames)
	close(s.pieces)
	if body, err := s.rest(); err != nil || !strings.Contains(body, "good morning") || !strings.HasSuffix(body, "data: [DONE]\n\n") {
		t.Errorf("%v %q", err, body)
	}
	if err := <-down; err != nil {
		t.Error(err)
	}
	g.Server = nil
	if e := g.Event(s.id); e.Str("outcome") != "completed" {
		t.Errorf("outcome %q", e.Str("outcome"))
	}
}

// What has not ended when the drain time is over is cut: the client can tell that it is not whole,
// and the record says who cut it. It is written before the gateway is gone, not on the next start.
func TestShutdownCutsWhatDoesNotEnd(t *testing.T) {
	u := newStreamer(t)
	g := gatetest.Start(t, u.Upstream, "")
	s := begin(t, g, u)
	s.say(chunkFrame(`{"index":0,"delta":{"content":"good "}}`))
	silent := gatetest.NewUpstream(t)
	never := make(chan struct{})
	silent.Answer(gatetest.Reply{Wait: never})
	base := strings.ReplaceAll(string(readConfig(t, g)), u.URL, silent.URL)
	rewrite(t, g, nil, base)
	if err := g.Server.Reload(context.Background()); err != nil {
		t.Fatal(err)
	}
	waiting := make(chan error, 1)
	go func() {
		req, _ := http.NewRequest("POST", g.URL+good.target, strings.NewReader(string(good.body)))
		req.Header.Set("Content-Type", "application/json")
		res, err := new(http.Transport).RoundTrip(req)
		if err == nil {
			_, err = io.ReadAll(res.Body)
			err = errors.Join(err, errors.New("answered "+res.Status))
		}
		waiting <- err
	}()
	arrived(t, silent, 1)

	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	if err := g.Server.Shutdown(ctx); err != nil {
		t.Error(err)
	}
	g.Server = nil
	if body, err := s.rest(); err == nil || strings.Contains(body, "[DONE]") {
		t.Errorf("a cut stream ended as if it were whole: %q", body)
	}
	if err := <-waiting; err == nil {
		t.Error("a cut call was answered")
	}
	select {
	case <-silent.Canceled():
	case <-time.After(20 * time.Second):
		t.Error("the provider's call goes on")
	}
	calls := 0
	for _, e := range g.Events() {
		if e.Str("kind") == "call" {
			if calls++; e.Str("outcome") != "interrupted" {
				t.Errorf("outcome %q", e.Str("outcome"))
			}
		}
	}
	if calls != 2 {
		t.Errorf("%d of 2 calls are on record", calls)
	}
}
