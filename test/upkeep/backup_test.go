package upkeep

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sallyport.dev/sallyport/internal/store/pgtest"
)

// engines are what a gateway keeps its state in; more is what its configuration says of it.
func engines(t *testing.T) map[string]func(t *testing.T) (more string) {
	pg := pgtest.Start(t)
	return map[string]func(*testing.T) string{
		"sqlite": func(*testing.T) string { return "" },
		"postgres": func(t *testing.T) string {
			return fmt.Sprintf(", database: {file: %q}", keep(t, pg.Database(t)))
		},
	}
}

func keep(t *testing.T, text string) string {
	p := filepath.Join(t.TempDir(), "kept")
	file(t, p, text)
	return p
}

// run is a command of the binary with the gateway's configuration.
func (g *gateway) run(args ...string) (string, error) {
	cmd := command(binary(g.t), append(args, "--config", g.config())...)
	cmd.Env = append(os.Environ(), "PROVIDER_KEY=sk-of-the-configuration")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// content is what a backup holds: names of keys and teams.
func content(t *testing.T, path string) (keys, teams map[string]bool) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	keys, teams = map[string]bool{}, map[string]bool{}
	for line := range bytes.Lines(text) {
		var l struct {
			Key *struct {
				Name string `json:"name"`
			} `json:"key"`
			Document *struct {
				Kind string          `json:"kind"`
				Body json.RawMessage `json:"body"`
			} `json:"document"`
		}
		if err := json.Unmarshal(line, &l); err != nil {
			t.Fatal(err)
		}
		if l.Key != nil {
			keys[l.Key.Name] = true
		}
		if l.Document != nil && l.Document.Kind == "team" {
			var team struct {
				Name string `json:"name"`
			}
			if err := json.Unmarshal(l.Document.Body, &team); err != nil {
				t.Fatal(err)
			}
			teams[team.Name] = true
		}
	}
	return keys, teams
}

// Backups are made while calls and changes go on, of a database with many keys. Each is one moment: of each writer,
// who waits for an answer before the next change, it has all changes up to one, and those that were
// answered before it began. Restored into the other engine, what was there at that moment is there, and nothing else.
func TestBackupsUnderLoadAreOneMoment(t *testing.T) {
	stores := engines(t)
	for from, to := range map[string]string{"sqlite": "postgres", "postgres": "sqlite"} {
		t.Run(from+" to "+to, func(t *testing.T) {
			shared := t.TempDir()
			up := provider(t, func(string, string) {})
			g := newGateway(t, shared, up, stores[from](t))
			g.configure(shared, 0)
			g.mustStart()
			secrets := fillKeys(t, g, size(t, "KEYS", 1000))
			stopCalls := load(t, 4, func(i int) (int, string) { return g.call("default", secrets[i%len(secrets)]) })

			const writers = 3
			var acked [writers]atomic.Int64
			var made [writers][]string // secrets of the keys; read when the writers have ended
			var stop atomic.Bool
			var wg sync.WaitGroup
			for w := range writers {
				a := g.admin()
				wg.Go(func() {
					for n := 1; !stop.Load(); n++ {
						a.do("POST", "/tenants/default/teams", fmt.Sprintf(`{"name":"w%d-%d"}`, w, n))
						_, k := a.key("default", fmt.Sprintf("w%d-%d", w, n))
						made[w] = append(made[w], k)
						acked[w].Store(int64(n))
					}
				})
			}
			const backups = 6
			dir := t.TempDir()
			var before, after [backups][writers]int64
			path := func(b int) string { return filepath.Join(dir, fmt.Sprint("backup", b)) }
			for b := range backups {
				for w := range writers {
					for n := acked[w].Load(); acked[w].Load() < n+3 && !t.Failed(); time.Sleep(time.Millisecond) {
						continue // others write
					}
				}
				for w := range writers {
					before[b][w] = acked[w].Load()
				}
				if out, err := g.run("backup", path(b)); err != nil {
					t.Fatalf("%v: %s", err, out)
				}
				for w := range writers {
					after[b][w] = acked[w].Load()
				}
			}
			stop.Store(true)
			wg.Wait()
			calls := stopCalls()

			var has [backups][writers]int64
			during := int64(0)
			for b := range backups {
				keys, teams := content(t, path(b))
				for w := range writers {
					n := int64(0)
					for keys[fmt.Sprintf("w%d-%d", w, n+1)] {
						n++
					}
					has[b][w] = n
					for i := int64(1); i <= int64(len(made[w])); i++ {
						name := fmt.Sprintf("w%d-%d", w, i)
						// A team is made before the key of its name.
						if keys[name] != (i <= n) || teams[name] != (i <= n) && i != n+1 {
							t.Errorf("backup %d, which ends at %d of writer %d: key %d: %v, team: %v", b, n, w, i, keys[name], teams[name])
						}
					}
					if n < before[b][w] || n > after[b][w]+1 {
						t.Errorf("backup %d has %d of writer %d; %d were done when it began, %d when it ended", b, n, w, before[b][w], after[b][w])
					}
					during += after[b][w] - before[b][w]
				}
			}
			t.Logf("%d calls, none refused, beside %d backups of %d keys; %d changes were answered while they were made", calls, backups, len(secrets), during)
			if during == 0 {
				t.Error("nothing was changed while a backup was made")
			}

			const b = backups / 2
			back := newGateway(t, shared, up, stores[to](t))
			back.configure(shared, 0)
			if out, err := back.run("restore", path(b)); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			if out, err := back.run("restore", path(b)); err == nil || !strings.Contains(out, "not empty") {
				t.Errorf("restored twice: %s", out)
			}
			back.mustStart()
			for w := range writers {
				for i, k := range made[w] {
					want := 401
					if int64(i) < has[b][w] {
						want = 200
					}
					if status, text := back.call("default", k); status != want {
						t.Errorf("writer %d, key %d of %d in the backup: %d %s", w, i+1, has[b][w], status, text)
					}
				}
			}
			for i := 0; i < len(secrets); i += max(1, len(secrets)/200) {
				if status, text := back.call("default", secrets[i]); status != 200 {
					t.Errorf("key %d: %d %s", i, status, text)
				}
			}
		})
	}
}

// fillKeys makes n keys.
func fillKeys(t *testing.T, g *gateway, n int) []string {
	t.Helper()
	secrets := make([]string, n)
	var wg sync.WaitGroup
	for c := range 4 {
		a := g.admin()
		wg.Go(func() {
			for i := c; i < n; i += 4 {
				_, secrets[i] = a.key("default", fmt.Sprint("key ", i))
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		t.FailNow()
	}
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if status, text := g.call("default", secrets[n-1]); status == 200 {
			return secrets
		} else if time.Now().After(end) {
			t.Fatal(text)
		}
	}
}

// A backup that is killed leaves no file of its name, or a whole one; a restore that is killed leaves an empty
// database, or a whole one.
func TestKilledWithinABackupOrARestore(t *testing.T) {
	stores := engines(t)
	for engine, store := range stores {
		t.Run(engine, func(t *testing.T) {
			shared := t.TempDir()
			up := provider(t, func(string, string) {})
			g := newGateway(t, shared, up, store(t))
			g.configure(shared, 0)
			g.mustStart()
			secrets := fillKeys(t, g, size(t, "KEYS", 1000))
			whole := filepath.Join(t.TempDir(), "whole")
			start := time.Now()
			if out, err := g.run("backup", whole); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			took := time.Since(start)
			seed := uint64(time.Now().UnixNano())
			r := rand.New(rand.NewPCG(seed, 1))
			killed := func(g *gateway, within time.Duration, args ...string) {
				cmd := command(binary(t), append(args, "--config", g.config())...)
				cmd.Env = append(os.Environ(), "PROVIDER_KEY=sk-of-the-configuration")
				if err := cmd.Start(); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Duration(r.Int64N(int64(within)))) // the moment of the crash
				_ = cmd.Process.Kill()
				_ = cmd.Wait()
			}
			// It need not be there; if it is it can be restored, which says so by its end.
			rounds, there := size(t, "ROUNDS", 12), 0
			target := filepath.Join(t.TempDir(), "target")
			for range rounds {
				killed(g, took+took/4, "backup", target)
				keys := 0
				if _, err := os.Stat(target); !errors.Is(err, fs.ErrNotExist) {
					there++
					k, _ := content(t, target)
					keys = len(k)
					if text, err := os.ReadFile(target); err != nil || keys != len(secrets) || !bytes.Contains(text[len(text)-200:], []byte(`"end"`)) {
						t.Errorf("seed %d: a backup of %d keys, %v", seed, keys, err)
					}
					if err := os.Remove(target); err != nil {
						t.Fatal(err)
					}
				}
			}
			if out, err := g.run("backup", target); err != nil {
				t.Errorf("after a backup was killed: %v: %s", err, out)
			}

			filled, empty := 0, 0
			var restore time.Duration // how long one takes that nobody kills
			for round := range rounds {
				back := newGateway(t, shared, up, store(t))
				back.configure(shared, 0)
				if start := time.Now(); round == 0 {
					if out, err := back.run("restore", whole); err != nil {
						t.Fatalf("%v: %s", err, out)
					}
					restore = time.Since(start)
					continue
				}
				killed(back, restore+restore/4, "restore", whole)
				out, err := back.run("restore", whole)
				switch {
				case err == nil:
					empty++
				case strings.Contains(out, "not empty"):
					filled++
				default:
					t.Errorf("seed %d: after a restore was killed: %v: %s", seed, err, out)
					continue
				}
				back.mustStart()
				for i := 0; i < len(secrets); i += max(1, len(secrets)/20) {
					if status, text := back.call("default", secrets[i]); status != 200 {
						t.Errorf("seed %d, key %d: %d %s", seed, i, status, text)
					}
				}
				back.proc.Kill()
			}
			t.Logf("%d backups killed within %v, %d were whole; %d restores killed within %v, %d had filled the database, %d nothing of it (seed %d)",
				rounds, took.Round(time.Millisecond), there, rounds-1, restore.Round(time.Millisecond), filled, empty, seed)
		})
	}
}
