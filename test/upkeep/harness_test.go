// Package upkeep looks after running gateways as an operator does, with the real binary under load: master keys are
// replaced, backups made and restored. No call may be refused meanwhile, nothing may be lost, and a process or
// a database that is killed in the midst of it leaves a state from which it goes on.
package upkeep

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"sallyport.dev/sallyport/internal/config"
	"sallyport.dev/sallyport/internal/console/local"
	"sallyport.dev/sallyport/internal/server"
	"sallyport.dev/sallyport/test/load/live"
)

var (
	scratch string
	built   = sync.OnceValues(func() (string, error) { return live.Build(scratch) })
)

func TestMain(m *testing.M) {
	var err error
	if scratch, err = os.MkdirTemp("", "upkeep"); err != nil {
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

const (
	answer   = `{"id":"chatcmpl-1","object":"chat.completion","created":1790000000,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"Good morning to you."},"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":5,"total_tokens":8}}`
	question = `{"model":"m","messages":[{"role":"user","content":"Which boats leave harbour %s this morning?"}]}`
)

// Master keys of the tests.
var masters = []string{"K7gNU3sdo+OL0wNhqoVWhr3g6s1xYv72ol/pe/Unols=", "LHDgEoXxzTTaCGPwDBPKXA2jCzZjPHhmFp0s5GxUQ1w="}

// provider answers calls, and tells seen whose call came with which credential.
func provider(t *testing.T, seen func(tenant, credential string)) string {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		_, after, _ := bytes.Cut(b, []byte("harbour "))
		tenant, _, _ := bytes.Cut(after, []byte(" "))
		seen(string(tenant), strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "))
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, answer)
	}))
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
	})
	return s.URL
}

// gateway is a process, with the configuration that it has.
type gateway struct {
	t    *testing.T
	dir  string
	url  string
	up   string
	iam  string // more of the section iam
	proc *live.Process
	env  []string
}

// newGateway has a data directory of its own. The master keys are files in shared.
func newGateway(t *testing.T, shared, up, iam string) *gateway {
	t.Helper()
	for i, m := range masters {
		file(t, filepath.Join(shared, fmt.Sprint("master", i)), m)
	}
	file(t, filepath.Join(shared, "pepper"), "a pepper that gateways share")
	addr, err := live.FreeAddr()
	if err != nil {
		t.Fatal(err)
	}
	g := &gateway{t: t, dir: t.TempDir(), url: "http://" + addr, up: up, iam: fmt.Sprintf("pepper: {file: %q}%s", filepath.Join(shared, "pepper"), iam)}
	t.Cleanup(func() {
		if g.proc != nil {
			g.proc.Kill()
		}
	})
	return g
}

func file(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (g *gateway) config() string { return filepath.Join(g.dir, "sallyport.yaml") }

// configure writes the configuration with these master keys, the first of which is the current one.
func (g *gateway) configure(shared string, keys ...int) {
	g.t.Helper()
	name := func(i int) string { return fmt.Sprintf("{file: %q}", filepath.Join(shared, fmt.Sprint("master", i))) }
	var old []string
	for _, i := range keys[1:] {
		old = append(old, name(i))
	}
	text := fmt.Sprintf(`
listen: {address: %q}
data_dir: %q
iam: {mode: keys, %s, master_key: %s, old_master_keys: [%s]}
inspect: {learned: false}
proxy:
  allow_private: [127.0.0.0/8]
  limits: {per_key: 4096}
  upstreams:
    - {name: openai, dialect: openai, base_url: %q, credential: {env: PROVIDER_KEY}}
`, strings.TrimPrefix(g.url, "http://"), filepath.Join(g.dir, "data"), g.iam, name(keys[0]), strings.Join(old, ", "), g.up)
	// The gateway watches the file: it must be there at once or not.
	file(g.t, g.config()+".new", text)
	if err := os.Rename(g.config()+".new", g.config()); err != nil {
		g.t.Fatal(err)
	}
}

// start runs the gateway until it takes connections.
func (g *gateway) start() error {
	g.t.Helper()
	cmd := command(binary(g.t), "serve", "--config", g.config())
	cmd.Env = append(append(os.Environ(), "PROVIDER_KEY=sk-of-the-configuration"), g.env...)
	p, err := live.Run(cmd)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(g.t.Context(), 30*time.Second)
	defer cancel()
	if err := p.Ready(ctx, strings.TrimPrefix(g.url, "http://")); err != nil {
		p.Kill()
		return err
	}
	// The socket of administrators comes last.
	for ctx.Err() == nil {
		c, err := local.Dial(ctx, filepath.Join(g.dir, "data"))
		if err == nil {
			g.proc = p
			return c.Close()
		}
		time.Sleep(2 * time.Millisecond)
	}
	p.Kill()
	return fmt.Errorf("no socket: %w\n%s", ctx.Err(), p.Log())
}

func (g *gateway) mustStart() {
	g.t.Helper()
	if err := g.start(); err != nil {
		g.t.Fatal(err)
	}
}

// reload waits until the gateway says that it took up what configure wrote.
func (g *gateway) reload() {
	g.t.Helper()
	const said = "configuration reloaded"
	before := strings.Count(g.proc.Log(), said)
	if err := g.proc.Signal(syscall.SIGHUP); err != nil {
		g.t.Fatal(err)
	}
	for end := time.Now().Add(10 * time.Second); strings.Count(g.proc.Log(), said) == before; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			g.t.Fatalf("it does not reload:\n%s", g.proc.Log())
		}
	}
}

// admin is the administrative interface on the gateway's socket.
type admin struct {
	t *testing.T
	c *http.Client
}

func (g *gateway) admin() *admin {
	g.t.Helper()
	g.t.Setenv("PROVIDER_KEY", "sk-of-the-configuration")
	cfg, err := config.Load(g.config())
	if err != nil {
		g.t.Fatal(err)
	}
	c, done, err := server.Admin(g.t.Context(), cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(done)
	return &admin{g.t, c}
}

// try is 0 where nobody answers.
func (a *admin) try(method, path, body string) (int, map[string]any) {
	r, err := http.NewRequest(method, "http://local/admin/v1"+path, strings.NewReader(body))
	if err != nil {
		return 0, map[string]any{"error": err.Error()}
	}
	r.Header.Set("Content-Type", "application/json")
	res, err := a.c.Do(r)
	if err != nil {
		return 0, map[string]any{"error": err.Error()}
	}
	defer res.Body.Close()
	var m map[string]any
	b, err := io.ReadAll(res.Body)
	if err != nil {
		return 0, map[string]any{"error": err.Error()}
	}
	_ = json.Unmarshal(b, &m)
	return res.StatusCode, m
}

func (a *admin) do(method, path, body string) map[string]any {
	a.t.Helper()
	status, m := a.try(method, path, body)
	if status < 200 || status >= 300 {
		a.t.Fatalf("%s %s: %d %v", method, path, status, m)
	}
	return m
}

// key makes a key of a tenant.
func (a *admin) key(tenant, name string) (id, secret string) {
	a.t.Helper()
	m := a.do("POST", "/tenants/"+tenant+"/keys", fmt.Sprintf(`{"name":%q,"scopes":{"upstreams":["*"],"endpoints":["*"],"models":["*"]}}`, name))
	return m["key"].(map[string]any)["id"].(string), m["secret"].(string)
}

var client = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}, Timeout: 30 * time.Second}

// call is 0 where nobody answers.
func (g *gateway) call(tenant, key string) (int, string) {
	r, err := http.NewRequest("POST", g.url+"/v1/chat/completions", strings.NewReader(fmt.Sprintf(question, tenant)))
	if err != nil {
		return 0, err.Error()
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Authorization", "Bearer "+key)
	res, err := client.Do(r)
	if err != nil {
		return 0, err.Error()
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		return 0, err.Error()
	}
	return res.StatusCode, string(b)
}

// load calls from n clients until stop, which says how many calls there were. Every one must succeed.
func load(t *testing.T, n int, call func(i int) (int, string)) (stop func() int64) {
	var done atomic.Int64
	var wg sync.WaitGroup
	ctx, cancel := context.WithCancel(t.Context())
	for c := range n {
		wg.Go(func() {
			for i := c; ctx.Err() == nil; i += n {
				if status, text := call(i); status != http.StatusOK {
					t.Errorf("a call was refused: %d %s", status, text)
					return
				}
				done.Add(1)
			}
		})
	}
	return func() int64 { cancel(); wg.Wait(); return done.Load() }
}
