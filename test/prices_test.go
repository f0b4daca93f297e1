package test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sallyport.dev/sallyport/test/gatetest"
)

// A file of prices that changes counts by itself, whichever way it is replaced; one that cannot be read
// changes nothing and is complained of once; what happened is on record, with what was before and after.
func TestPricesAreReloaded(t *testing.T) {
	t.Setenv("PROVIDER_KEY", "sk-of-the-provider")
	up := gatetest.NewUpstream(t)
	up.Answer(jsonReply(200, `{"model":"m1","choices":[],"usage":{"prompt_tokens":1000,"completion_tokens":0}}`, nil))
	dir := t.TempDir()
	file := filepath.Join(dir, "prices.json")
	table := func(input int) string {
		return fmt.Sprintf(`{"version":"1","dated":"2026-01-31","currency":"USD","models":[{"model":"m1","input":%d,"output":0}]}`, input*1000)
	}
	digest := func(text string) string { return fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(text))) }
	write := func(path, text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	replace := func(path, text string) { // as an editor does
		t.Helper()
		write(path+".new", text)
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
	}
	write(file, table(1))
	yaml := func(file string) string {
		return fmt.Sprintf("iam: {mode: keys, prices: %q}\nproxy:\n  allow_private: [127.0.0.0/8]\n  upstreams:\n    - {name: openai, dialect: openai, base_url: %q, credential: {env: PROVIDER_KEY}}\n", file, up.URL)
	}
	g := gatetest.Start(t, up, yaml(file))
	_, key := administer(t, g).key("")
	cost := func() int {
		t.Helper()
		res := do(t, g.URL, bearer(key))
		if res.status != 200 {
			t.Fatalf("%d %s", res.status, res.body)
		}
		spend, _ := g.Event(res.header.Get("Sallyport-Id"))["spend"].(map[string]any)
		n, _ := spend["cost"].(float64)
		return int(n)
	}
	costs := func(when string, want int) {
		t.Helper()
		within(t, 10*time.Second, fmt.Sprintf("%s: a call costs %d", when, want), func() bool { return cost() == want })
	}
	refused := func(n int) {
		t.Helper()
		within(t, 10*time.Second, fmt.Sprintf("%d refusals", n), func() bool {
			return strings.Count(g.Record(), `"prices_reload_refused"`) == n && strings.Count(g.Text(), "prices not reloaded; the old ones stay") == n
		})
	}
	costs("at the start", 1)

	replace(file, table(2))
	costs("replaced", 2)
	write(file, table(3))
	costs("written over", 3)
	if r := g.Record(); !strings.Contains(r, `"before":"`+digest(table(1))+`"`) || !strings.Contains(r, `"after":"`+digest(table(3))+`"`) || strings.Contains(r, "config_reload") {
		t.Errorf("on record: %s", r)
	}

	for i, bad := range []string{`{"version":"1"`, strings.Replace(table(9), `"input":9000`, `"input":-1`, 1), strings.Repeat(" ", 2<<20), ""} {
		replace(file, bad)
		refused(i + 1)
		if n := cost(); n != 3 {
			t.Errorf("with a bad file a call costs %d", n)
		}
	}
	if err := g.Server.Refresh(context.Background()); err != nil {
		t.Errorf("bad prices keep a pack or an allow-list from counting: %v", err)
	}
	if err := g.Server.Reload(context.Background()); err == nil || cost() != 3 {
		t.Errorf("asked to reload, it says nothing of bad prices: %v", err)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	refused(5)
	if n := cost(); n != 3 {
		t.Errorf("without the file a call costs %d", n)
	}

	// A mounted ConfigMap: the name stays, the link behind it changes.
	for i, v := range []string{"a", "b"} {
		if err := os.Mkdir(filepath.Join(dir, v), 0o700); err != nil {
			t.Fatal(err)
		}
		write(filepath.Join(dir, v, "prices.json"), table(4+i))
	}
	link := func(to, name string) {
		t.Helper()
		if err := os.Symlink(to, name+".new"); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(name+".new", name); err != nil {
			t.Fatal(err)
		}
	}
	link("a", filepath.Join(dir, "data"))
	link("data/prices.json", file)
	costs("linked", 4)
	link("b", filepath.Join(dir, "data"))
	costs("linked elsewhere", 5)

	// By signal it counts when the call returns, and another file by the configuration.
	replace(file, table(6))
	if err := g.Server.Reload(context.Background()); err != nil || cost() != 6 {
		t.Errorf("by signal: %v, %d", err, cost())
	}
	other := filepath.Join(dir, "other.json")
	write(other, table(7))
	text := readConfig(t, g)
	write(g.Config, strings.Replace(string(text), file, other, 1))
	costs("another file", 7)
	replace(other, table(8))
	costs("the other file replaced", 8)
	write(g.Config, strings.Replace(string(text), fmt.Sprintf(", prices: %q", file), "", 1))
	within(t, 10*time.Second, "the release's prices", func() bool { return cost() > 1000 }) // m1 has none: the dearest
	if r := g.Record(); !strings.Contains(r, `"after":"release"`) {
		t.Error("that the release's prices count again is not on record")
	}
}
