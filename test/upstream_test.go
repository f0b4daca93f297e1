package test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sallyport.dev/sallyport/test/gatetest"
)

// raw is a provider that answers with what f does to the connection, after the request was read.
func raw(t *testing.T, f func(c *net.TCPConn)) *gatetest.Upstream {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		c, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			return
		}
		defer c.Close()
		f(c.(*net.TCPConn))
	}))
	t.Cleanup(func() {
		srv.CloseClientConnections()
		srv.Close()
	})
	return &gatetest.Upstream{URL: srv.URL}
}

// reset ends a connection with RST.
func reset(c *net.TCPConn) { _ = c.SetLinger(0) }

// silence waits until the other side is gone.
func silence(c *net.TCPConn) {
	_ = c.SetReadDeadline(time.Now().Add(30 * time.Second))
	_, _ = io.Copy(io.Discard, c)
}

func chunked(s string) string { return fmt.Sprintf("%x\r\n%s\r\n", len(s), s) }

// impatient is the upstreams' part of the configuration with short times.
func impatient(up *gatetest.Upstream) string {
	s := gatetest.Upstreams(up)
	return "proxy:\n" + strings.ReplaceAll(s, `"}`, `", timeouts: {response_header: 300ms, idle: 300ms}}`)
}

// What can go wrong on the provider's side before, within and instead of an answer: the caller is
// told in its own dialect, nothing broken looks whole, and the record says what it was.
func TestProvidersThatFail(t *testing.T) {
	const head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
	const streamHead = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
	const binaryHead = "HTTP/1.1 200 OK\r\nContent-Type: audio/mpeg\r\nTransfer-Encoding: chunked\r\n\r\n"
	frame := chunkFrame(`{"index":0,"delta":{"content":"good"}}`)
	say := func(s string, then func(*net.TCPConn)) func(*net.TCPConn) {
		return func(c *net.TCPConn) {
			_, _ = io.WriteString(c, s)
			if then != nil { // what has arrived over loopback can be read, also after a reset
				then(c)
			}
		}
	}
	for _, c := range []struct {
		name    string
		does    func(*net.TCPConn)
		ask     request
		status  int    // 0: the answer begins with 200 and breaks
		code    string // in the body
		outcome string
	}{
		{"reset before the answer", reset, good, 502, "upstream_unreachable", "upstream_error"},
		{"closed before the answer", func(*net.TCPConn) {}, good, 502, "upstream_unreachable", "upstream_error"},
		{"no HTTP", say("hello\r\n\r\n", nil), good, 502, "upstream_unreachable", "upstream_error"},
		{"no answer", silence, good, 504, "upstream_timeout", "upstream_error"},
		{"reset after the head", say(head+"Content-Length: 100\r\n\r\n", reset), good, 502, "upstream_unreachable", "upstream_aborted"},
		{"cut body", say(head+"Content-Length: 100\r\n\r\n{\"a\":1}", nil), good, 502, "upstream_unreachable", "upstream_aborted"},
		{"silent body", say(head+"Content-Length: 100\r\n\r\n{\"a\":1}", silence), good, 504, "upstream_timeout", "upstream_aborted"},
		{"silent stream before an event", say(streamHead, silence), goodStream, 504, "upstream_timeout", "upstream_aborted"},
		{"reset stream", say(streamHead+chunked(frame), reset), goodStream, 0, "", "upstream_aborted"},
		{"cut stream", say(streamHead+chunked(frame), nil), goodStream, 0, "", "upstream_aborted"},
		{"cut binary", say(binaryHead+chunked("\xff\xfb sound"), nil), good, 0, "", "upstream_aborted"},
		{"reset binary", say(binaryHead+chunked("\xff\xfb sound"), reset), good, 0, "", "upstream_aborted"},
		{"silent binary", say(binaryHead+chunked("\xff\xfb sound"), silence), good, 0, "", "upstream_aborted"},
		{"silent stream", say(streamHead+chunked(frame), silence), goodStream, 200, "upstream_timeout", "upstream_aborted"},
		{"switched protocols", say("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n", silence), good, 502, "upstream_invalid_answer", "upstream_error"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			up := raw(t, c.does)
			g := gatetest.Start(t, up, impatient(up))
			status, body, err := broken(t, g.URL, c.ask)
			if c.status == 0 {
				if status != 200 || err == nil || strings.Contains(body, "[DONE]") {
					t.Errorf("%d %v %q: a broken stream looks whole", status, err, body)
				}
			} else if status != c.status || !strings.Contains(body, c.code) {
				t.Errorf("%d %v %q, want %d %s", status, err, body, c.status, c.code)
			}
			if strings.Contains(body, up.URL[len("http://"):]) {
				t.Errorf("the answer names the provider's address: %q", body)
			}
			within(t, 10*time.Second, "the outcome "+c.outcome+" is on record", func() bool {
				for _, e := range g.Events() {
					if e.Str("outcome") == c.outcome {
						return true
					}
				}
				return false
			})
		})
	}
}

// Nobody listens: 502. A private address that the configuration does not name is not even dialled,
// also under a name that leads to it.
func TestProvidersThatAreNotReached(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var dialled atomic.Int64
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			dialled.Add(1)
			c.Close()
		}
	}()
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	for _, host := range []string{"127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "127.1.2.3"} {
		g := gatetest.Start(t, nil, "proxy:\n  upstreams:\n    - {name: openai, dialect: openai, base_url: \"http://"+host+":"+port+"\"}\n")
		res := do(t, g.URL, good)
		if res.status != 502 || !strings.Contains(string(res.body), "upstream_unreachable") {
			t.Errorf("%s: %d %s", host, res.status, res.body)
		}
		if e := g.Event(res.header.Get("Sallyport-Id")); e.Str("outcome") != "upstream_error" {
			t.Errorf("%s: outcome %q", host, e.Str("outcome"))
		}
	}
	if n := dialled.Load(); n > 0 {
		t.Errorf("%d connections to a private address", n)
	}
	ln.Close()
	up := &gatetest.Upstream{URL: "http://127.0.0.1:" + port}
	g := gatetest.Start(t, up, "")
	for _, r := range []request{good, goodClaude} {
		if res := do(t, g.URL, r); res.status != 502 || !strings.Contains(string(res.body), "upstream_unreachable") {
			t.Errorf("nobody listens: %d %s", res.status, res.body)
		}
	}
}

// A redirect is the caller's to follow, or not: it passes as it is.
func TestRedirectsAreNotFollowed(t *testing.T) {
	up := gatetest.NewUpstream(t)
	g := gatetest.Start(t, up, "")
	up.Answer(jsonReply(307, `{"moved":true}`, http.Header{"Location": {up.URL + "/elsewhere"}}))
	res := do(t, g.URL, good)
	if res.status != 307 || res.header.Get("Location") != up.URL+"/elsewhere" || string(res.body) != `{"moved":true}` {
		t.Errorf("%d %v %s", res.status, res.header, res.body)
	}
	if n := len(up.Seen()); n != 1 {
		t.Errorf("%d requests", n)
	}
}
