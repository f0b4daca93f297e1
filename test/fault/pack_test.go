package fault

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"sallyport.dev/sallyport/internal/inspect/detect"
	"sallyport.dev/sallyport/internal/inspect/pack"
	"sallyport.dev/sallyport/internal/inspect/rules"
)

// TestPackInstallIsKilled ends `sallyport pack install` and `pack rollback` at every system call that
// changes the disk, and lets each of those fail. The old pack or the new one is active then, never
// none, and the same command given again comes to its end.
func TestPackInstallIsKilled(t *testing.T) {
	bin := binary(t)
	strace, err := exec.LookPath("strace")
	if err != nil {
		required(t, "strace is not installed")
	}
	if out, err := exec.Command(strace, "-f", "-o", "/dev/null", "-e", "trace=fsync", "true").CombinedOutput(); err != nil {
		required(t, fmt.Sprintf("strace may not trace here: %v %s", err, out))
	}
	dir := t.TempDir()
	private, public, err := pack.NewKey("test")
	if err != nil {
		t.Fatal(err)
	}
	conf := filepath.Join(dir, "c.yaml")
	put(t, conf, fmt.Sprintf("data_dir: %q\ninspect: {packs: {trusted_keys: [%q]}}\n", filepath.Join(dir, "data"), public))
	one, two := coloured(t, private, "1.0.0", "purple"), coloured(t, private, "1.1.0", "green")
	trust, err := pack.NewTrust([]string{public})
	if err != nil {
		t.Fatal(err)
	}
	store := &pack.Store{Dir: filepath.Join(dir, "data", "packs"), Trust: trust, Release: "devel", Construct: func(p *pack.Pack) (detect.Detector, error) {
		if p == nil {
			return rules.Default()
		}
		return rules.Load(rules.Options{FS: p.Files, Bare: true})
	}}
	active := func() string {
		t.Helper()
		p, _, err := store.Active()
		if err != nil {
			t.Fatalf("no pack is active: %v", err)
		}
		if p == nil {
			return pack.Builtin
		}
		return p.ID()
	}
	sallyport := func(wrap []string, args ...string) (string, error) {
		args = append(append(append([]string(nil), wrap...), append([]string{bin, "pack"}, args...)...), "--config", conf)
		out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
		return string(out), err
	}
	commands := []struct {
		args          []string
		before, after string
		again         func() error
	}{
		{[]string{"install", two}, "acme@1.0.0", "acme@1.1.0", func() error {
			p, err := pack.Read(two, trust)
			if err == nil {
				_, err = store.Install(p, true)
			}
			return err
		}},
		{[]string{"rollback"}, "acme@1.1.0", "acme@1.0.0", func() error {
			_, err := store.Rollback("")
			return err
		}},
	}
	// Set the store to what a command finds before it.
	reset := func(id string) {
		t.Helper()
		if err := os.RemoveAll(store.Dir); err != nil {
			t.Fatal(err)
		}
		for _, p := range map[string][]string{"acme@1.0.0": {one}, "acme@1.1.0": {one, two}}[id] {
			q, err := pack.Read(p, trust)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := store.Install(q, true); err != nil {
				t.Fatal(err)
			}
		}
	}
	cut, mid := 0, 0
	for _, c := range commands {
		for _, call := range []string{"flock", "write,pwrite64", "fchmod", "fsync,fdatasync", "renameat,renameat2,rename"} {
			for _, how := range []string{"signal=KILL", "error=EIO"} {
				for n := 1; n <= 12; n++ {
					reset(c.before)
					out, err := sallyport([]string{strace, "-f", "-q", "-o", "/dev/null", "--seccomp-bpf", "-e", "trace=" + call,
						"-e", fmt.Sprintf("inject=%s:%s:when=%d", call, how, n)}, c.args...)
					got := active()
					what := fmt.Sprintf("%v: %s %d of %s", c.args[0], how, n, call)
					switch {
					case got != c.before && got != c.after:
						t.Fatalf("%s: %s is active\n%s", what, got, out)
					case err == nil && got != c.after:
						t.Fatalf("%s: it says that it is done, and %s is active\n%s", what, got, out)
					case err != nil:
						cut++
						if got == c.before {
							mid++
						}
					}
					if got != c.after {
						if err := c.again(); err != nil {
							t.Fatalf("%s: and then again: %v", what, err)
						}
						if got := active(); got != c.after {
							t.Fatalf("%s: and then again: %s is active", what, got)
						}
					}
					if left, _ := filepath.Glob(filepath.Join(store.Dir, ".*.tmp")); len(left) > 0 && got != c.after {
						t.Errorf("%s: left behind: %v", what, left)
					}
					if err == nil {
						break // no thread came to its n-th
					}
				}
			}
		}
	}
	if cut < 15 || mid < 10 {
		t.Errorf("only %d commands were cut off, %d of them before the switch: the test does not test", cut, mid)
	}
	t.Logf("%d commands cut off or failed, %d of them before the switch", cut, mid)
}

func put(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// coloured is a file with a pack that finds walruses of one colour.
func coloured(t *testing.T, key, version, colour string) string {
	t.Helper()
	dir := t.TempDir()
	put(t, filepath.Join(dir, "src/rules/walrus.toml"), fmt.Sprintf("[[rules]]\nid = \"walrus-%[1]s\"\ncategory = \"injection\"\nregex = '''\\b%[1]s walrus\\b'''\n[rules.examples]\nmatch = [\"a %[1]s walrus\", \"the %[1]s walrus\"]\nmiss = [\"a walrus\", \"%[1]s\"]\n", colour))
	put(t, filepath.Join(dir, "src/examples.jsonl"), fmt.Sprintf("{\"text\":\"a %s walrus\",\"channel\":\"user\",\"want\":\"attack\"}\n{\"text\":\"a walrus\",\"channel\":\"user\",\"want\":\"allow\"}\n", colour))
	p, err := pack.Build(pack.Source{Name: "acme", Version: version, Created: time.Unix(1700000000, 0), Dir: filepath.Join(dir, "src"), Key: key})
	if err != nil {
		t.Fatal(err)
	}
	at := filepath.Join(dir, "p.pack")
	put(t, at, string(bytes.Clone(p.Bytes())))
	return at
}
