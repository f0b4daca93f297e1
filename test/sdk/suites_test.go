package sdk

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"sort"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// suite is one official SDK whose own tests are run, unmodified, first against a mock of its
// provider directly and then through the gateway.
type suite struct {
	name, module, dialect string
	prefix                string // path under which the gateway serves what the mock serves at its root
	spec                  func(t *testing.T, sdk string) string
	wire                  int // tests that go over the wire, at least
}

var suites = []suite{
	{"openai-go", "github.com/openai/openai-go/v3", "openai", "/v1",
		func(t *testing.T, _ string) string {
			return filepath.Join(shared(), "specs", "openai-2026-08-21.yml.gz")
		}, 266},
	{"anthropic-sdk-go", "github.com/anthropics/anthropic-sdk-go", "anthropic", "",
		func(t *testing.T, sdk string) string { return filepath.Join(sdk, "scripts", "mock-spec.json.gz") }, 330},
}

// shared is the folder that holds the specifications: beside the checkout unless the environment
// says otherwise.
func shared() string {
	if s := os.Getenv("SALLYPORT_SHARED"); s != "" {
		return s
	}
	return filepath.Join("..", "..", "..", "shared")
}

func TestOfficialSuites(t *testing.T) {
	if os.Getenv("SALLYPORT_TEST_SUITES") == "" && os.Getenv("SALLYPORT_TEST_REQUIRE") != "all" {
		t.Skip("runs the SDKs' own suites twice (minutes): set SALLYPORT_TEST_SUITES=1")
	}
	for _, s := range suites {
		t.Run(s.name, s.run)
	}
}

func (s suite) run(t *testing.T) {
	sdk := s.checkout(t)
	front, requests := frontOf(t, startMock(t, s.spec(t, sdk)), s.prefix)
	packages, wire := wireTests(t, sdk)
	if len(wire) < s.wire {
		t.Fatalf("%d tests go over the wire, not %d: is it another version?", len(wire), s.wire)
	}

	direct, _ := runSuite(t, sdk, packages, front+s.prefix)
	directRequests := requests.Swap(0)
	through, said := runSuite(t, sdk, packages, gateway(t, s.dialect, front)+s.prefix)
	throughRequests := requests.Load()

	t.Logf("%s: directly %s, %d requests; through the gateway %s, %d requests",
		s.name, count(direct, wire), directRequests, count(through, wire), throughRequests)
	if directRequests < int64(s.wire/2) || throughRequests < int64(s.wire/2) {
		t.Error("the tests did not reach the mock")
	}
	if n := passes(direct, wire); n == 0 {
		t.Error("nothing passes directly")
	}
	// The suites' other tests talk to servers of their own, with tight clocks: they say nothing here.
	worse := 0
	for _, name := range sorted(direct) {
		if wire[name] && direct[name] == "pass" && through[name] != "pass" {
			if worse++; worse <= 20 {
				t.Errorf("%s passes directly; through the gateway: %q", name, through[name])
			}
		}
	}
	if worse > 0 {
		t.Errorf("%d tests pass directly and not through the gateway; the first to fail said:\n%s", worse, said)
	}
}

func passes(results map[string]string, wire map[string]bool) (n int) {
	for name := range wire {
		if results[name] == "pass" {
			n++
		}
	}
	return n
}

func count(results map[string]string, wire map[string]bool) string {
	n := map[string]int{}
	for name := range wire {
		n[results[name]]++
	}
	return fmt.Sprintf("%d of %d wire tests pass (%d skipped, %d failed)", n["pass"], len(wire), n["skip"], n["fail"])
}

func sorted(m map[string]string) []string {
	var out []string
	for k := range m {
		out = append(out, k)
	}
	sort.Strings(out)
	return out
}

// checkout copies an SDK out of the module cache, which is read-only, without changing a byte.
func (s suite) checkout(t *testing.T) string {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", s.module).Output()
	dir := strings.TrimSpace(string(out))
	if err != nil || dir == "" {
		missing(t, "%s is not in the module cache: %v", s.module, err)
	}
	to := filepath.Join(t.TempDir(), s.name)
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return to
}

// missing skips a test whose real part is not there, unless everything is required.
func missing(t *testing.T, format string, args ...any) {
	t.Helper()
	if os.Getenv("SALLYPORT_TEST_REQUIRE") == "all" {
		t.Fatalf(format, args...)
	}
	t.Skipf(format, args...)
}

var testFunc = regexp.MustCompile(`(?m)^func (Test\w+)\(`)

// wireTests finds the packages and the tests that go over the wire: those whose file asks for the
// mock's address. A test's name is package directory and function.
func wireTests(t *testing.T, sdk string) (packages []string, wire map[string]bool) {
	wire = map[string]bool{}
	found := map[string]bool{}
	err := filepath.WalkDir(sdk, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil || !bytes.Contains(b, []byte("TEST_API_BASE_URL")) {
			return err
		}
		rel, _ := filepath.Rel(sdk, filepath.Dir(path))
		found["./"+filepath.ToSlash(rel)] = true
		for _, m := range testFunc.FindAllSubmatch(b, -1) {
			wire[filepath.ToSlash(rel)+" "+string(m[1])] = true
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for p := range found {
		packages = append(packages, p)
	}
	sort.Strings(packages)
	return packages, wire
}

// runSuite runs the SDK's own tests and returns how each top-level one ended, and what the first that
// failed had to say.
func runSuite(t *testing.T, sdk string, packages []string, base string) (results map[string]string, said string) {
	module, err := exec.CommandContext(t.Context(), "go", "-C", sdk, "list", "-m").Output()
	if err != nil {
		t.Fatalf("the suite's module cannot be read: %v", err)
	}
	// Trimmed paths let the build cache serve every copy of an SDK.
	args := append([]string{"test", "-json", "-trimpath", "-count=1", "-p=1", "-vet=off"}, packages...)
	cmd := exec.CommandContext(t.Context(), "go", args...)
	cmd.Dir = sdk
	for _, kv := range os.Environ() {
		if !strings.HasPrefix(kv, "SKIP_MOCK_TESTS=") && !strings.HasPrefix(kv, "OPENAI_") && !strings.HasPrefix(kv, "ANTHROPIC_") {
			cmd.Env = append(cmd.Env, kv)
		}
	}
	cmd.Env = append(cmd.Env, "TEST_API_BASE_URL="+base)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	runErr := cmd.Run() // a failing test is in the events
	results = map[string]string{}
	output := map[string]string{}
	var failures strings.Builder
	lines := bufio.NewScanner(&stdout)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var e struct{ Action, Package, Test, Output string }
		if json.Unmarshal(lines.Bytes(), &e) != nil {
			continue
		}
		if e.Action == "build-fail" || (e.Action == "build-output" && failures.Len() < 4000) {
			failures.WriteString(e.Output)
		}
		if e.Action == "output" && len(output[e.Test]) < 2000 {
			output[e.Test] += e.Output
		}
		if e.Action == "fail" && said == "" {
			said = output[e.Test]
		}
		if e.Test == "" || strings.Contains(e.Test, "/") || (e.Action != "pass" && e.Action != "fail" && e.Action != "skip") {
			continue
		}
		dir := strings.TrimPrefix(strings.TrimPrefix(e.Package, strings.TrimSpace(string(module))), "/")
		if dir == "" {
			dir = "."
		}
		results[dir+" "+e.Test] = e.Action
	}
	if len(results) == 0 || failures.Len() > 0 {
		t.Fatalf("the suite does not build or run: %v\n%s%s", runErr, &failures, &stderr)
	}
	return results, said
}

// startMock serves an OpenAPI document by @stdy/cli, as the SDKs' own scripts/mock do.
func startMock(t *testing.T, specGz string) string {
	f, err := os.Open(specGz)
	if err != nil {
		missing(t, "no specification: %v", err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	spec := filepath.Join(t.TempDir(), strings.TrimSuffix(filepath.Base(specGz), ".gz"))
	if err := os.WriteFile(spec, text, 0o600); err != nil {
		t.Fatal(err)
	}
	bin, _ := filepath.Abs(filepath.Join("node", "node_modules", ".bin", "steady"))
	if _, err := os.Stat(bin); err != nil {
		missing(t, "the mock is not installed: run `npm ci --ignore-scripts` in test/sdk/node")
	}
	addr := freePort(t)
	_, port, _ := net.SplitHostPort(addr)
	cmd := exec.Command(bin, "--host", "127.0.0.1", "-p", port,
		"--validator-query-array-format=brackets", "--validator-form-array-format=brackets",
		"--validator-query-object-format=brackets", "--validator-form-object-format=brackets", spec)
	start(t, cmd, addr)
	return "http://" + addr
}

// start runs a server until the test ends, and waits until it takes connections. It asks it nothing:
// a gateway would pass the question on.
func start(t *testing.T, cmd *exec.Cmd, addr string) {
	t.Helper()
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	gone := make(chan struct{})
	go func() { _ = cmd.Wait(); close(gone) }()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		select {
		case <-gone:
		case <-time.After(10 * time.Second):
			_ = cmd.Process.Kill()
			<-gone
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		if conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr); err == nil {
			_ = conn.Close()
			return
		}
		select {
		case <-tick.C:
		case <-gone:
			t.Fatalf("%s ended: %s", cmd.Path, &log)
		case <-ctx.Done():
			t.Fatalf("%s does not answer", cmd.Path)
		}
	}
}

func freePort(t *testing.T) string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

// frontOf stands before the mock in both runs: it strips the provider's path prefix, which the mock
// does not know but by which the gateway knows what to read, and counts what arrives.
func frontOf(t *testing.T, mock, prefix string) (string, *atomic.Int64) {
	target, err := url.Parse(mock)
	if err != nil {
		t.Fatal(err)
	}
	n := &atomic.Int64{}
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(target)
		r.Out.URL.RawQuery = r.In.URL.RawQuery
	}, FlushInterval: -1}
	srv := httptest.NewServer(http.StripPrefix(prefix, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n.Add(1)
		proxy.ServeHTTP(w, r)
	})))
	t.Cleanup(srv.Close)
	return srv.URL, n
}
