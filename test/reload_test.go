package test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sallyport.dev/sallyport/test/gatetest"
)

const leaked = "ghp_" + "k9Qw7ZtR2mXc5VbN8sLd4HjF6gYp3TaE1uWz"

// leaking is a call with a secret in it: the two policies of these tests decide differently about it.
var leaking = chat(`{"model":"m","messages":[{"role":"user","content":"my token is ` + leaked + `"}]}`)

const blockSecrets = "inspect: {policy: [{category: secret, direction: request, action: block}]}\n"

// rewrite makes the configuration base and more.
func rewrite(t *testing.T, g *gatetest.Gate, base []byte, more string) {
	t.Helper()
	if err := os.WriteFile(g.Config, append(append([]byte(nil), base...), more...), 0o600); err != nil {
		t.Fatal(err)
	}
}

func readConfig(t *testing.T, g *gatetest.Gate) []byte {
	t.Helper()
	b, err := os.ReadFile(g.Config)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// within polls until ok, for another goroutine's work has no end that could be waited for.
func within(t *testing.T, most time.Duration, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(most); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", most, what)
		}
	}
}

// Reloading all the time, now and then with an invalid file, drops and mixes nothing: every call is
// answered whole, and each was decided by the one policy that its record names.
func TestReloadsUnderCallsDropNothing(t *testing.T) {
	up := gatetest.NewUpstream(t)
	g := gatetest.Start(t, up, "audit: {mode: best_effort}\n")
	up.AnswerFunc(func(_ *http.Request, body []byte) gatetest.Reply {
		if strings.Contains(string(body), `"stream":true`) {
			return streamReply(chatStream[:300], chatStream[300:])
		}
		return jsonReply(200, `{"ok":true}`, nil)
	})
	base := readConfig(t, g)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	var calls, wrong atomic.Int64
	for i := range 4 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if i == 0 {
					if res := do(t, g.URL, leaking); res.status != 200 && res.status != 400 {
						wrong.Add(1)
					}
				} else if res := do(t, g.URL, goodStream); res.status != 200 || string(res.body) != chatStream {
					wrong.Add(1)
				}
				calls.Add(1)
			}
		})
	}
	refused, invalid := 0, 0
	for i := 0; i < 200 || calls.Load() < 100; i++ {
		more := ""
		if i%2 == 1 {
			more = blockSecrets
		}
		if i%5 == 4 {
			more = "no_such_key: 1\n"
			invalid++
		}
		rewrite(t, g, base, more)
		if err := g.Server.Reload(context.Background()); err != nil {
			refused++
		}
	}
	close(stop)
	wg.Wait()
	if wrong.Load() > 0 {
		t.Errorf("%d of %d calls went wrong", wrong.Load(), calls.Load())
	}
	if refused != invalid {
		t.Errorf("%d of %d invalid files were refused", refused, invalid)
	}
	g.Close()
	policies, decided, n := map[string]int{}, map[string]map[string]int{}, int64(0)
	for _, e := range g.Events() {
		if e.Str("kind") != "call" {
			continue
		}
		n++
		p := e.Str("policy")
		policies[p]++
		if e["findings"] != nil {
			if decided[p] == nil {
				decided[p] = map[string]int{}
			}
			decided[p][e.Str("outcome")]++
		}
	}
	if n != calls.Load() || len(policies) != 2 {
		t.Errorf("%d calls, %d on record, under %d policies", calls.Load(), n, len(policies))
	}
	for p, outcomes := range decided {
		if len(outcomes) != 1 {
			t.Errorf("policy %.8s decided both ways: %v", p, outcomes)
		}
	}
	t.Logf("%d calls during 200 reloads, decided %v", calls.Load(), decided)
}

// What a reload changes holds for the next call, and the record says under which policy. An invalid
// file, of twenty kinds, changes nothing and is on record.
func TestReloadIsWholeOrNotAtAll(t *testing.T) {
	up := gatetest.NewUpstream(t)
	g := gatetest.Start(t, up, "")
	base := readConfig(t, g)
	reload := func(more string) error {
		rewrite(t, g, base, more)
		return g.Server.Reload(context.Background())
	}
	ask := func(want int) string {
		t.Helper()
		res := do(t, g.URL, leaking)
		if res.status != want {
			t.Errorf("%d %s, want %d", res.status, res.body, want)
		}
		return g.Event(res.header.Get("Sallyport-Id")).Str("policy")
	}
	first := ask(200)
	if err := reload(blockSecrets); err != nil {
		t.Fatal(err)
	}
	second := ask(400)
	if first == "" || first == second {
		t.Errorf("policy %q, then %q", first, second)
	}
	invalid := []string{
		"no_such_key: 1\n", "data_dir: again\n", "inspect: {mode: perhaps}\n", "inspect: {policy: [{action: destroy}]}\n",
		"inspect: {policy: [{category: nothing, action: allow}]}\n", "inspect: [\n", "\t\n", "inspect: {rules: {files: [absent.toml]}}\n",
		"inspect: {rules: {disable: [no-such-rule]}}\n", "audit: {mode: best_effort}\n", "audit: {content: all}\n", "audit: {content: 1}\n",
		"iam: {mode: open}\n", "iam: {pepper: literal}\n", "watch: {log: {level: loud}}\n", "console: {port: 1}\n",
		"inspect: {cache_bytes: -1}\n", "inspect: {stream: {hold_time: 5}}\n", "iam: {trusted_proxies: [nowhere]}\n", "watch: true\n",
	}
	for _, more := range invalid {
		if err := reload(more); err == nil {
			t.Errorf("taken: %q", more)
		}
		if p := ask(400); p != second {
			t.Errorf("after %q: policy %q", more, p)
		}
	}
	noted := 0
	for _, e := range adminEvents(t, g.Dir) {
		if strings.Contains(toJSON(e), "config_reload_refused") {
			noted++
		}
	}
	if noted < len(invalid) { // the watch on the file may have noted one twice
		t.Errorf("%d of %d refused files are on record", noted, len(invalid))
	}
	if err := reload(""); err != nil {
		t.Fatal(err)
	}
	if p := ask(200); p != first {
		t.Errorf("the first configuration again has the policy %q", p)
	}
}

// walrus is a rule file that blocks one phrase.
func walrus(colour string) string {
	return fmt.Sprintf("title = \"test\"\n\n[[rules]]\nid = \"test-walrus\"\ndescription = \"a walrus\"\ncategory = \"injection\"\nscore = 0.9\nregex = '''\\b%[1]s walrus\\b'''\n[rules.examples]\nmatch = [\"a %[1]s walrus\"]\nmiss = [\"a walrus\"]\n", colour)
}

// Changed contents of a rule file count from the next reload, and the recorded policy tells them apart.
func TestReloadReadsRuleFilesAgain(t *testing.T) {
	file := filepath.Join(t.TempDir(), "rules.toml")
	put := func(s string) {
		if err := os.WriteFile(file, []byte(s), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put(walrus("purple"))
	up := gatetest.NewUpstream(t)
	g := gatetest.Start(t, up, fmt.Sprintf("inspect: {rules: {files: [%q]}}\n", file))
	ask := func(colour string, want int) string {
		t.Helper()
		res := do(t, g.URL, chat(`{"model":"m","messages":[{"role":"user","content":"see the `+colour+` walrus swim"}]}`))
		if res.status != want {
			t.Errorf("%s: %d %s, want %d", colour, res.status, res.body, want)
		}
		return g.Event(res.header.Get("Sallyport-Id")).Str("policy")
	}
	first := ask("purple", 400)
	ask("green", 200)
	put(walrus("green"))
	if p := ask("green", 200); p != first {
		t.Error("a file that was not reloaded has changed the policy")
	}
	if err := g.Server.Reload(context.Background()); err != nil {
		t.Fatal(err)
	}
	if p := ask("green", 400); p == first {
		t.Error("other rules, the same policy on record")
	}
	ask("purple", 200) // no verdict of the old rules is remembered
	put(strings.Replace(walrus("blue"), "a blue walrus", "another animal", 1))
	if err := g.Server.Reload(context.Background()); err == nil {
		t.Error("a rule that misses its own example was taken")
	}
	ask("green", 400)
}

// A changed file is noticed.
func TestAChangedFileIsReloaded(t *testing.T) {
	up := gatetest.NewUpstream(t)
	g := gatetest.Start(t, up, "")
	base := readConfig(t, g)
	written := time.Time{}
	within(t, 30*time.Second, "the changed file is in effect", func() bool {
		if time.Since(written) > 2*time.Second { // again, in case the watch had not begun
			written = time.Now()
			rewrite(t, g, base, blockSecrets+"# "+written.String()+"\n")
		}
		return do(t, g.URL, leaking).status == 400
	})
}
