// Package fault takes things away from the real gateway process: its life, its disk, its fsync. What
// it promised must hold: an answer whose last byte a caller has is in the record, the record is
// whole, and where nothing can be recorded nothing is answered but 503.
package fault

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"sallyport.dev/sallyport/test/load/live"
)

var (
	scratch string
	built   = sync.OnceValues(func() (string, error) { return live.Build(scratch) })
)

func TestMain(m *testing.M) {
	var err error
	if scratch, err = os.MkdirTemp("", "fault"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	os.RemoveAll(scratch)
	os.Exit(code)
}

func binary(t *testing.T) string {
	t.Helper()
	if testing.Short() {
		t.Skip("runs the binary")
	}
	bin, err := built()
	if err != nil {
		t.Fatal(err)
	}
	return bin
}

// required turns a missing tool into a skip, or into a failure where everything must run.
func required(t *testing.T, why string) {
	t.Helper()
	if os.Getenv("SALLYPORT_TEST_REQUIRE") == "all" {
		t.Fatal(why)
	}
	t.Skip(why)
}

const answer = `{"id":"chatcmpl-1","object":"chat.completion","created":1790000000,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"Good morning to you."},"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":5,"total_tokens":8}}`

const event = `data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1790000000,"model":"m","choices":[{"index":0,"delta":{"content":"morning "},"finish_reason":null}]}` + "\n\n"

// provider answers calls, some of them after a while, and streams with pauses between events.
func provider(t *testing.T) string {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		if !bytes.Contains(b, []byte(`"stream":true`)) {
			time.Sleep(time.Duration(rand.IntN(4)) * time.Millisecond)
			w.Header().Set("Content-Type", "application/json")
			io.WriteString(w, answer)
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		for range 1 + rand.IntN(6) {
			io.WriteString(w, event)
			_ = http.NewResponseController(w).Flush()
			time.Sleep(time.Duration(rand.IntN(3)) * time.Millisecond)
		}
		io.WriteString(w, "data: [DONE]\n\n")
	}))
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
	})
	return s.URL
}

// ledger is what the callers know: the ids of the answers whose last byte they have.
type ledger struct {
	mu  sync.Mutex
	ids []string
}

func (l *ledger) add(id string) {
	l.mu.Lock()
	l.ids = append(l.ids, id)
	l.mu.Unlock()
}

func (l *ledger) len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.ids)
}

// caller is one kept-alive connection.
type caller struct {
	c net.Conn
	r *bufio.Reader
	n int
}

func dial(addr string) (*caller, error) {
	c, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return nil, err
	}
	return &caller{c: c, r: bufio.NewReader(c)}, nil
}

// call makes one call and reads its answer to the last byte, which then goes into the ledger.
func (c *caller) call(l *ledger) (status int, body string, err error) {
	c.n++
	stream := ""
	if c.n%3 == 0 {
		stream = `,"stream":true`
	}
	in := fmt.Sprintf(`{"model":"m","messages":[{"role":"user","content":"Good morning, number %d."}]%s}`, rand.Uint32(), stream)
	c.c.SetDeadline(time.Now().Add(30 * time.Second))
	if _, err = fmt.Fprintf(c.c, "POST /v1/chat/completions HTTP/1.1\r\nHost: gateway.test\r\nAuthorization: Bearer sk-fault\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(in), in); err != nil {
		return 0, "", err
	}
	resp, err := http.ReadResponse(c.r, nil)
	if err != nil {
		return 0, "", err
	}
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return resp.StatusCode, string(b), err
	}
	if resp.StatusCode == http.StatusOK {
		if !bytes.HasSuffix(b, []byte("[DONE]\n\n")) && string(b) != answer {
			return resp.StatusCode, string(b), nil // an error within the stream: no promise
		}
		id := resp.Header.Get("Sallyport-Id")
		if id == "" {
			return resp.StatusCode, string(b), fmt.Errorf("an answer without an id")
		}
		l.add(id)
	}
	return resp.StatusCode, string(b), nil
}

// outcomes reads an export.
func outcomes(t *testing.T, out []byte) map[string]string {
	t.Helper()
	calls := map[string]string{}
	for line := range strings.Lines(string(out)) {
		var ev struct{ ID, Outcome string }
		if err := json.Unmarshal([]byte(line), &ev); err != nil {
			t.Fatalf("a line of the export is not JSON: %v", err)
		}
		calls[ev.ID] = ev.Outcome
	}
	return calls
}

// missing counts the ledger's calls that the record does not hold as completed.
func missing(t *testing.T, l *ledger, calls map[string]string) int {
	t.Helper()
	n := 0
	for _, id := range l.ids {
		if o := calls[id]; o != "completed" {
			if n++; n <= 5 {
				t.Errorf("call %s was answered to its last byte; the record says %q", id, o)
			}
		}
	}
	return n
}
