package test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptrace"
	"strings"
	"testing"
	"time"

	"sallyport.dev/sallyport/test/gatetest"
)

// A gateway that leaves takes calls as before, says so where it is asked for its health, and keeps no
// connection, of either protocol: so none is closed with a call on it.
func TestAGatewayThatLeavesKeepsNoConnection(t *testing.T) {
	up := gatetest.NewUpstream(t)
	g := gatetest.Start(t, up, "")
	two := new(http.Protocols)
	two.SetUnencryptedHTTP2(true)
	transports := map[string]*http.Transport{"HTTP/1.1": {}, "HTTP/2.0": {Protocols: two}}
	call := func(proto, path string) (status int, text string, reused bool) {
		t.Helper()
		ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{GotConn: func(i httptrace.GotConnInfo) { reused = i.Reused }})
		r, err := http.NewRequestWithContext(ctx, "POST", g.URL+path, strings.NewReader(question))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/json")
		res, err := transports[proto].RoundTrip(r)
		if err != nil {
			t.Fatalf("%s: %v", proto, err)
		}
		defer res.Body.Close()
		b, err := io.ReadAll(res.Body)
		if err != nil || res.Proto != proto {
			t.Errorf("%s %v", res.Proto, err)
		}
		return res.StatusCode, string(b), reused
	}
	const chat, health = "/v1/chat/completions", "/-/health"
	for proto := range transports {
		call(proto, chat)
		if status, _, reused := call(proto, health); status != 200 || !reused {
			t.Fatalf("%s: %d, reused %v", proto, status, reused)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	left := make(chan struct{})
	go func() { g.Server.Leave(ctx, time.Hour); close(left) }()
	for {
		status, text, _ := call("HTTP/1.1", health)
		if status == 503 && strings.Contains(text, `"leaving"`) {
			break
		}
		if status != 200 {
			t.Fatalf("%d %s", status, text)
		}
	}
	for proto, tr := range transports {
		tries := 0
		for i := range 6 {
			status, text, reused := call(proto, chat)
			if status != 200 {
				t.Errorf("%s: %d %s", proto, status, text)
			}
			if i > 0 && reused {
				tries++ // HTTP/2 tells it beside the answer: the call that comes at once may meet the connection once more
			}
		}
		if proto == "HTTP/1.1" && tries > 0 || tries > 3 {
			t.Errorf("%s: connections are kept", proto)
		}
		tr.CloseIdleConnections()
	}
	select {
	case <-left:
		t.Error("it has left at once")
	default:
	}
	cancel()
	<-left
}
