// Package hostile attacks the real gateway process over loopback: bombs in requests and answers,
// slow clients, heads and bodies that two readers would read differently. Each attack must be
// answered within its bounds, leave a record, cost a bounded amount of memory, and not disturb the
// calls beside it. The names B1..B7 and S1..S4 are those of docs/design/009-transport.md.
package hostile

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"sallyport.dev/sallyport/test/load/live"
)

var binary struct {
	once sync.Once
	path string
	err  error
}

var scratch string

func TestMain(m *testing.M) {
	var err error
	if scratch, err = os.MkdirTemp("", "hostile"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	os.RemoveAll(scratch)
	os.Exit(code)
}

// gateway is a running gateway with its provider.
type gateway struct {
	*live.Process
	bin string
	up  *provider
	mu  sync.Mutex
	ids []string // every Sallyport-Id that was seen
}

func start(t *testing.T, proxy, more string) *gateway {
	t.Helper()
	if testing.Short() {
		t.Skip("runs the binary")
	}
	binary.once.Do(func() { binary.path, binary.err = live.Build(scratch) })
	if binary.err != nil {
		t.Fatal(binary.err)
	}
	up := newProvider(t)
	g := &live.Gateway{Bin: binary.path, Dir: t.TempDir(), Upstream: up.url, Proxy: proxy, More: "watch: {log: {level: warn}}\n" + more}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	p, err := g.Start(ctx)
	if err != nil {
		t.Fatal(err)
	}
	e := &gateway{Process: p, bin: binary.path, up: up}
	t.Cleanup(func() {
		if !p.Alive() {
			t.Errorf("the gateway ended:\n%s", p.Log())
			return
		}
		if err := p.Stop(10 * time.Second); err != nil {
			t.Errorf("stop: %v\n%s", err, p.Log())
		}
		e.audit(t)
	})
	return e
}

// audit checks that the record is whole and holds every call that was given an id.
func (e *gateway) audit(t *testing.T) {
	t.Helper()
	if out, err := e.Command(e.bin, "audit", "verify"); err != nil {
		t.Errorf("audit verify: %v\n%s", err, out)
	}
	calls := e.export(t)
	for _, id := range e.ids {
		if _, ok := calls[id]; !ok {
			t.Errorf("no record of call %s", id)
		}
	}
}

// export reads the record: the outcome of each call by its id.
func (e *gateway) export(t *testing.T) map[string]string {
	t.Helper()
	out, err := e.Command(e.bin, "audit", "export")
	if err != nil {
		t.Fatalf("audit export: %v", err)
	}
	calls := map[string]string{}
	for line := range strings.Lines(string(out)) {
		var ev struct {
			ID      string `json:"id"`
			Outcome string `json:"outcome"`
		}
		if err := json.Unmarshal([]byte(line), &ev); err != nil {
			t.Fatalf("a line of the export is not JSON: %v", err)
		}
		calls[ev.ID] = ev.Outcome
	}
	return calls
}

// outcome waits until the call has its record: the answer may be out a moment before.
func (e *gateway) outcome(t *testing.T, id string) string {
	t.Helper()
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if o, ok := e.export(t)[id]; ok && o != "" {
			return o
		}
	}
	return ""
}

func (e *gateway) saw(h http.Header) {
	if id := h.Get("Sallyport-Id"); id != "" {
		e.mu.Lock()
		e.ids = append(e.ids, id)
		e.mu.Unlock()
	}
}

// reply is what came back on a raw connection.
type reply struct {
	status int // 0: the connection was closed without an answer
	header http.Header
	body   string
	err    error // of reading the body
	took   time.Duration
	sent   int64 // bytes that went out before the answer
}

// code is the code of the error body, in whatever dialect.
func (r reply) code() string {
	var b struct {
		Error struct {
			Code string `json:"code"`
		} `json:"error"`
	}
	_ = json.Unmarshal([]byte(r.body), &b)
	return b.Error.Code
}

// raw sends bytes, while reading, and returns the first final answer.
func (e *gateway) raw(t testing.TB, request io.Reader) reply {
	t.Helper()
	c, err := net.DialTimeout("tcp", e.Addr, 5*time.Second)
	if err != nil {
		t.Fatalf("dial: %v", err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(60 * time.Second))
	began := time.Now()
	sent := make(chan int64, 1)
	go func() {
		n, _ := io.Copy(c, request)
		sent <- n
	}()
	br := bufio.NewReader(c)
	var r reply
	for {
		resp, err := http.ReadResponse(br, nil)
		if err != nil {
			r.err = err
			break
		}
		if resp.StatusCode < 200 {
			continue
		}
		b, err := io.ReadAll(io.LimitReader(resp.Body, 64<<20))
		r = reply{status: resp.StatusCode, header: resp.Header, body: string(b), err: err}
		e.saw(resp.Header)
		break
	}
	r.took = time.Since(began)
	c.Close()
	r.sent = <-sent
	return r
}

const chatPath = "/v1/chat/completions"

// post sends a body with the given header lines ("Name: value") besides the usual ones.
func (e *gateway) post(t testing.TB, body string, headers ...string) reply {
	t.Helper()
	return e.raw(t, strings.NewReader(head("POST "+chatPath+" HTTP/1.1", append([]string{"Content-Length: " + strconv.Itoa(len(body))}, headers...)...)+body))
}

// head makes a request head with Host, a credential and a content type.
func head(line string, headers ...string) string {
	hs := append([]string{line, "Host: gateway.test", "Authorization: Bearer sk-hostile", "Content-Type: application/json"}, headers...)
	return strings.Join(hs, "\r\n") + "\r\n\r\n"
}

const hello = `{"model":"m","messages":[{"role":"user","content":"Good morning."}]}`

// steady makes ordinary calls beside an attack; the returned function ends them and checks that
// none failed and none had to wait longer than most. Where the provider is the attacker, up to broken of
// them may draw a pooled connection that it broke a moment ago; a call that may have been carried out
// is not sent again, so they are told 502.
func (e *gateway) steady(t *testing.T, most time.Duration, broken int) func() {
	t.Helper()
	stop, done := make(chan struct{}), make(chan struct{})
	var took []time.Duration
	go func() {
		defer close(done)
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			case <-time.After(5 * time.Millisecond):
			}
			r := e.post(t, fmt.Sprintf(`{"model":"m","messages":[{"role":"user","content":"Good morning, number %d."}]}`, i))
			if r.status == http.StatusBadGateway && strings.Contains(r.body, "upstream_unreachable") && broken > 0 {
				broken--
				continue
			}
			if r.status != http.StatusOK || r.body != plainAnswer {
				t.Errorf("a call beside the attack: %d %.200q %v", r.status, r.body, r.err)
				return
			}
			took = append(took, r.took)
		}
	}()
	return func() {
		t.Helper()
		close(stop)
		<-done
		if len(took) == 0 {
			t.Error("no call beside the attack was made")
			return
		}
		slices.Sort(took)
		if p99 := took[len(took)*99/100]; p99 > most {
			t.Errorf("calls beside the attack: p99 %v of %d, at most %v wanted", p99, len(took), most)
		}
	}
}

// peak runs f and returns by how much the gateway's memory rose meanwhile at most.
func (e *gateway) peak(t *testing.T, f func()) int64 {
	t.Helper()
	proc := filepath.Join("/proc", strconv.Itoa(e.PID()))
	if err := os.WriteFile(filepath.Join(proc, "clear_refs"), []byte("5"), 0); err != nil {
		t.Skipf("cannot reset the memory high-water mark: %v", err)
	}
	high := func() int64 {
		b, err := os.ReadFile(filepath.Join(proc, "status"))
		if err != nil {
			t.Fatal(err)
		}
		_, rest, _ := strings.Cut(string(b), "VmHWM:")
		kb, _ := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
		return kb << 10
	}
	before := high()
	f()
	return high() - before
}
