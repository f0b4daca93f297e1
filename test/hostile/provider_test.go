package hostile

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const plainAnswer = `{"id":"chatcmpl-1","object":"chat.completion","created":1790000000,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"Good morning to you."},"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":5,"total_tokens":8}}`

func chunkEvent(text string) string {
	return fmt.Sprintf(`data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1790000000,"model":"m","choices":[{"index":0,"delta":{"content":%q},"finish_reason":null}]}`+"\n\n", text)
}

const doneEvent = "data: [DONE]\n\n"

// provider answers as the header X-Hostile says; without it, as a provider should.
type provider struct {
	url   string
	calls atomic.Int64
	// wrote counts the bytes of the "flood" stream that the gateway took.
	wrote atomic.Int64
	// left says when a stream's caller was gone.
	left chan time.Time
	mu   sync.Mutex
	seen []*http.Request // heads of the calls that came
}

func newProvider(t *testing.T) *provider {
	p := &provider{left: make(chan time.Time, 64)}
	s := httptest.NewServer(http.HandlerFunc(p.serve))
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
	})
	p.url = s.URL
	return p
}

func (p *provider) last() *http.Request {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.seen) == 0 {
		return nil
	}
	return p.seen[len(p.seen)-1]
}

var zeros = sync.OnceValue(func() []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	block := make([]byte, 1<<20)
	for range 1024 { // 1 GiB
		z.Write(block)
	}
	z.Close()
	return b.Bytes()
})

func (p *provider) serve(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	p.calls.Add(1)
	p.mu.Lock()
	p.seen = append(p.seen, r)
	p.mu.Unlock()
	sse := func() { w.Header().Set("Content-Type", "text/event-stream") }
	flush := http.NewResponseController(w).Flush
	switch r.Header.Get("X-Hostile") {
	case "":
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, plainAnswer)
	case "gzip-bomb":
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Encoding", "gzip")
		w.Write(zeros())
	case "gzip-bomb-stream":
		sse()
		w.Header().Set("Content-Encoding", "gzip")
		w.Write(zeros())
	case "false-gzip":
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Encoding", "gzip")
		io.WriteString(w, plainAnswer)
	case "unknown-encoding":
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Encoding", "x-rot13")
		io.WriteString(w, plainAnswer)
	case "endless-line":
		sse()
		p.flood(w, r, "data: "+strings.Repeat("x", 64<<10), strings.Repeat("x", 64<<10))
	case "endless-json":
		w.Header().Set("Content-Type", "application/json")
		p.flood(w, r, `{"choices":[{"message":{"role":"assistant","content":"`, strings.Repeat("word ", 16<<10))
	case "empty-events":
		sse()
		block := strings.Repeat("data:\n\n", 1000)
		for range 1000 {
			if _, err := io.WriteString(w, block); err != nil {
				return
			}
		}
		io.WriteString(w, chunkEvent("hi")+doneEvent)
	case "comments":
		sse()
		block := strings.Repeat(": keep-alive\n\n", 1000)
		for range 500 {
			if _, err := io.WriteString(w, block); err != nil {
				return
			}
		}
		io.WriteString(w, chunkEvent("hi")+doneEvent)
	case "split-runes":
		sse()
		for _, b := range []byte(chunkEvent("Grüße, 世界 🙂") + doneEvent) {
			w.Write([]byte{b})
			_ = flush()
		}
	case "bad-event":
		sse()
		io.WriteString(w, chunkEvent("hello")+"data: {\"choices\":[{\"delta\":{\"content\":\"unread\n\n"+chunkEvent("after")+doneEvent)
	case "flood":
		sse()
		ev := chunkEvent(strings.Repeat("morning ", 128))
		p.flood(w, r, "", ev)
	case "drip":
		sse()
		for {
			if _, err := io.WriteString(w, chunkEvent("morning ")); err != nil || flush() != nil {
				break
			}
			select {
			case <-r.Context().Done():
				p.left <- time.Now()
				return
			case <-time.After(20 * time.Millisecond):
			}
		}
		p.left <- time.Now()
	case "header-bomb":
		for i := range 20000 {
			w.Header().Set(fmt.Sprintf("X-Bomb-%d", i), strings.Repeat("y", 100))
		}
		io.WriteString(w, plainAnswer)
	default:
		p.wire(w, r)
	}
}

// flood writes without end, or until 1 GiB is out.
func (p *provider) flood(w http.ResponseWriter, _ *http.Request, first, again string) {
	io.WriteString(w, first)
	for n := 0; n < 1<<30; n += len(again) {
		if _, err := io.WriteString(w, again); err != nil {
			break
		}
		p.wrote.Add(int64(len(again)))
	}
	p.left <- time.Now()
}

// wire answers with bytes that no HTTP library would send.
func (p *provider) wire(w http.ResponseWriter, r *http.Request) {
	c, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		return
	}
	defer c.Close()
	say := func(s string) { io.WriteString(c, s) }
	json := "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
	switch r.Header.Get("X-Hostile") {
	case "length-short": // says less than it sends
		say(json + "Content-Length: 10\r\n\r\n" + plainAnswer)
	case "length-long": // says more than it sends
		say(json + fmt.Sprintf("Content-Length: %d\r\n\r\n", len(plainAnswer)+100) + plainAnswer)
	case "length-both":
		say(json + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n" + fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(plainAnswer), plainAnswer))
	case "lengths-differ":
		say(json + fmt.Sprintf("Content-Length: 5\r\nContent-Length: %d\r\n\r\n", len(plainAnswer)) + plainAnswer)
	case "cut-chunk":
		say(json + "Transfer-Encoding: chunked\r\n\r\nff\r\n" + plainAnswer[:20])
	case "cut-stream":
		say("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
		ev := chunkEvent("hello")
		say(fmt.Sprintf("%x\r\n%s\r\n", len(ev), ev))
	case "reset":
		c.(*net.TCPConn).SetLinger(0)
	case "informational":
		for range 100000 {
			if _, err := io.WriteString(c, "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"); err != nil {
				return
			}
		}
		say(json + fmt.Sprintf("Content-Length: %d\r\n\r\n", len(plainAnswer)) + plainAnswer)
	case "not-http":
		say("SSH-2.0-OpenSSH_9.9\r\n")
	case "endless-header":
		say("HTTP/1.1 200 OK\r\nX-Long: ")
		for range 1024 {
			if _, err := io.WriteString(c, strings.Repeat("z", 64<<10)); err != nil {
				return
			}
		}
	case "silent":
		buf := make([]byte, 1)
		_, _ = c.Read(buf)
	}
}
