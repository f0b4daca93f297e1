package test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"sallyport.dev/sallyport/test/gatetest"
)

// builtFrom builds the program of a directory with the source.
func builtFrom(t *testing.T, dir, name string) string {
	t.Helper()
	bin := filepath.Join(t.TempDir(), name)
	cmd := exec.Command("go", "build", "-trimpath", "-o", bin, "./cmd/sallyport")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", name, err, out)
	}
	return bin
}

// theReleaseBefore builds the program of the release before this one, from the history: testdata/previous-release
// names the commit. A checkout without that history skips; where nothing may be skipped it fails, but
// where SALLYPORT_TEST_NO_HISTORY says that the history could not be had (.ci/run tries to fetch it).
func theReleaseBefore(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("testdata/previous-release")
	if err != nil {
		t.Fatal(err)
	}
	commit := strings.TrimSpace(string(text))
	if !regexp.MustCompile(`^[0-9a-f]{40}$`).MatchString(commit) {
		t.Fatalf("testdata/previous-release: expected the id of a commit, found %q", commit)
	}
	git := func(args ...string) *exec.Cmd {
		return exec.Command("git", append([]string{"-c", "safe.directory=*", "-C", ".."}, args...)...)
	}
	if out, err := git("cat-file", "-e", commit+"^{commit}").CombinedOutput(); err != nil {
		if os.Getenv("SALLYPORT_TEST_REQUIRE") == "all" && os.Getenv("SALLYPORT_TEST_NO_HISTORY") == "" {
			t.Fatalf("the release before, commit %s, is not in the history: %v %s", commit, err, out)
		}
		t.Skipf("the release before, commit %s, is not in the history: %v %s", commit, err, out)
	}
	dir := t.TempDir()
	tar := filepath.Join(dir, "source.tar")
	for _, cmd := range []*exec.Cmd{git("archive", "--format=tar", "--output="+tar, commit), exec.Command("tar", "-x", "-C", dir, "-f", tar)} {
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", cmd.Args, err, out)
		}
	}
	return builtFrom(t, dir, "before")
}

// process is a gateway that runs as a program of its own, of whatever release.
type process struct {
	t      *testing.T
	config string
	url    string
	log    locked
	cmd    *exec.Cmd
	ended  chan error
}

// locked is what a process writes.
type locked struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *locked) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// begin runs a gateway, without waiting for it.
func (p *process) begin(bin string) {
	p.t.Helper()
	p.cmd = exec.Command(bin, "serve", "--config", p.config)
	p.cmd.Stderr, p.cmd.Stdout = &p.log, &p.log
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	cmd, ended := p.cmd, make(chan error, 1)
	p.ended = ended
	go func() { ended <- cmd.Wait() }()
	p.t.Cleanup(func() { _ = cmd.Process.Kill() })
}

// start runs a gateway and waits until it takes calls.
func (p *process) start(bin string) {
	p.t.Helper()
	p.begin(bin)
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(5 * time.Millisecond) { // a poll of another process's work
		if res, err := http.Get(p.url + "/-/health"); err == nil {
			_ = res.Body.Close()
			if res.StatusCode == http.StatusOK {
				return
			}
		}
		select {
		case err := <-p.ended:
			p.t.Fatalf("the gateway ended: %v\n%s", err, &p.log)
		default:
		}
		if time.Now().After(end) {
			p.t.Fatalf("the gateway does not answer\n%s", &p.log)
		}
	}
}

// signal asks it to end.
func (p *process) signal() {
	p.t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		p.t.Fatal(err)
	}
}

// end waits until it has ended, and says how.
func (p *process) end() error {
	p.t.Helper()
	select {
	case err := <-p.ended:
		return err
	case <-time.After(40 * time.Second):
		p.t.Fatalf("the gateway does not end\n%s", &p.log)
		return nil
	}
}

// stop ends it as an operator does.
func (p *process) stop() {
	p.t.Helper()
	p.signal()
	if err := p.end(); err != nil {
		p.t.Fatalf("the gateway ended badly: %v\n%s", err, &p.log)
	}
}

// administer is the administrator of a gateway that is running, of whatever release.
func (p *process) administer() *administrator {
	p.t.Helper()
	return administer(p.t, &gatetest.Gate{Config: p.config})
}

// command runs a command of a release.
func (p *process) command(bin string, args ...string) (string, error) {
	out, err := exec.Command(bin, append(args, "--config", p.config)...).CombinedOutput()
	return string(out), err
}

// provider answers every call with a usage of 20 tokens, and knows which calls it got.
type provider struct {
	*gatetest.Upstream
	mu   sync.Mutex
	came map[string]int // by the call's own number
	held map[string]chan struct{}
	keys map[string]int // by credential
}

var numbered = regexp.MustCompile(`call number ([0-9]+)\.`)

func newProvider(t *testing.T) *provider {
	p := &provider{Upstream: gatetest.NewUpstream(t), came: map[string]int{}, held: map[string]chan struct{}{}, keys: map[string]int{}}
	p.AnswerFunc(func(r *http.Request, body []byte) gatetest.Reply {
		rep := jsonReply(200, `{"id":"x","object":"chat.completion","model":"m1","choices":[{"index":0,"message":{"role":"assistant","content":"Few."},"finish_reason":"stop"}],"usage":{"prompt_tokens":10,"completion_tokens":10,"total_tokens":20}}`, nil)
		m := numbered.FindSubmatch(body)
		if m == nil {
			return rep
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		p.came[string(m[1])]++
		p.keys[r.Header.Get("Authorization")]++
		if c := p.held[string(m[1])]; c != nil {
			rep.Wait = c
		}
		return rep
	})
	return p
}

func (p *provider) times(n string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.came[n]
}

// hold keeps the answer to a call until the channel is closed.
func (p *provider) hold(n string) chan struct{} {
	c := make(chan struct{})
	p.mu.Lock()
	defer p.mu.Unlock()
	p.held[n] = c
	return c
}

// balancer sends calls to the gateways in turn. As load balancers do, it asks them for their health, leaves those
// alone that are not well while others are, and goes over to the next one when a gateway does not take the
// connection, or ends it without a byte of an answer; an answer it passes on.
type balancer struct {
	t        *testing.T
	urls     []string
	provider *provider
	c        http.Client
	number   atomic.Int64
	over     atomic.Int64 // connections that were not taken
	cut      atomic.Int64 // connections that ended without an answer
	answered []atomic.Int64
	ill      []atomic.Bool
}

func newBalancer(t *testing.T, p *provider, urls ...string) *balancer {
	b := &balancer{
		t: t, urls: urls, provider: p, c: http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 16}},
		answered: make([]atomic.Int64, len(urls)), ill: make([]atomic.Bool, len(urls)),
	}
	for i, url := range urls {
		go func() {
			for t.Context().Err() == nil {
				res, err := http.Get(url + "/-/health")
				if err == nil {
					_ = res.Body.Close()
				}
				b.ill[i].Store(err != nil || res.StatusCode != http.StatusOK)
				time.Sleep(100 * time.Millisecond) // as often as it asks
			}
		}()
	}
	return b
}

// next is the gateway whose turn it is.
func (b *balancer) next(turn int) int {
	for i := range b.urls {
		if at := (turn + i) % len(b.urls); !b.ill[at].Load() {
			return at
		}
	}
	return turn % len(b.urls)
}

// numbered is a call that the provider will know by its number.
func (b *balancer) numbered() (number, body string) {
	n := fmt.Sprint(b.number.Add(1))
	return n, `{"model":"m1","max_tokens":10,"messages":[{"role":"user","content":"Which roses like half shade? This is call number ` + n + `."}]}`
}

// call sends one call and returns how it was answered.
func (b *balancer) call(key string) (int, string) {
	n, body := b.numbered()
	return b.send(int(b.number.Load()), n, key, body)
}

func (b *balancer) send(first int, n, key, body string) (int, string) {
	for end, i := time.Now().Add(20*time.Second), first; time.Now().Before(end); i++ {
		at := b.next(i)
		r, err := http.NewRequestWithContext(b.t.Context(), "POST", b.urls[at]+"/v1/chat/completions", strings.NewReader(body))
		if err != nil {
			return 0, err.Error()
		}
		r.Header.Set("Authorization", "Bearer "+key)
		r.Header.Set("Content-Type", "application/json")
		res, err := b.c.Do(r)
		var op *net.OpError
		switch {
		case err == nil:
			text, err := io.ReadAll(res.Body)
			_ = res.Body.Close()
			if err != nil {
				return 0, "the answer ends within: " + err.Error()
			}
			b.answered[at].Add(1)
			return res.StatusCode, string(text)
		case errors.As(err, &op) && op.Op == "dial":
			b.over.Add(1)
			time.Sleep(5 * time.Millisecond) // where there is but one gateway
		default:
			b.cut.Add(1)
			if c := b.provider.times(n); c != 0 {
				return 0, "carried out, and not answered: " + err.Error()
			}
		}
	}
	return 0, "nobody takes the call"
}

// asOne sends an administrative request to the first gateway whose interface takes it. ok is false where
// the connection ended without an answer: nobody knows whether the change was made.
func asOne(method, path, body string, as ...*administrator) (status int, m map[string]any, ok bool) {
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		for _, a := range as {
			r, err := http.NewRequest(method, "http://local/admin/v1"+path, strings.NewReader(body))
			if err != nil {
				return 0, nil, true
			}
			r.Header.Set("Content-Type", "application/json")
			res, err := a.c.Do(r)
			var op *net.OpError
			if errors.As(err, &op) && op.Op == "dial" {
				continue
			}
			if err != nil {
				return 0, nil, false
			}
			text, err := io.ReadAll(res.Body)
			_ = res.Body.Close()
			if err != nil {
				return 0, nil, false
			}
			_ = json.Unmarshal(text, &m)
			if m == nil {
				m = map[string]any{"text": string(text)}
			}
			return res.StatusCode, m, true
		}
	}
	return 0, nil, true
}
