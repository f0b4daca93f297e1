package pack

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"sallyport.dev/sallyport/internal/durable"
	"sallyport.dev/sallyport/internal/gate"
	"sallyport.dev/sallyport/internal/inspect/detect"
)

func newStore(t testing.TB, trust *Trust) *Store {
	t.Helper()
	return &Store{Dir: filepath.Join(t.TempDir(), "packs"), Trust: trust, Construct: engine, Release: "devel", Now: func() time.Time { return day }}
}

// coloured is a pack that finds walruses of one colour.
func coloured(t testing.TB, key, version, colour string) *Pack {
	t.Helper()
	return build(t, key, version, map[string]string{"rules/walrus.toml": walrus(colour), "examples.jsonl": strings.Replace(examples, "purple", colour, 1)})
}

func finds(d detect.Detector, colour string) bool {
	return len(d.Detect(&gate.Segment{Text: []byte("see the " + colour + " walrus swim")})) > 0
}

func install(t testing.TB, s *Store, p *Pack) Change {
	t.Helper()
	c, err := s.Install(p, true)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// active says which pack is active, by what it finds.
func active(t testing.TB, s *Store) string {
	t.Helper()
	p, d, err := s.Active()
	if err != nil {
		t.Fatal(err)
	}
	if p == nil {
		if finds(d, "purple") || finds(d, "green") {
			t.Error("the built-in pack finds walruses")
		}
		return Builtin
	}
	return p.ID()
}

func TestInstallAndRollback(t *testing.T) {
	key, trust := keys(t)
	s := newStore(t, trust)
	if active(t, s) != Builtin {
		t.Fatal("without a state")
	}
	if _, err := os.Stat(s.Dir); err == nil {
		t.Error("reading made a directory")
	}
	one, two, three := coloured(t, key, "1.0.0", "purple"), coloured(t, key, "1.1.0", "green"), coloured(t, key, "2.0.0-rc.1", "blue")
	if c := install(t, s, one); c != (Change{Before: Builtin, Active: "acme@1.0.0", Stored: "acme@1.0.0"}) {
		t.Errorf("%+v", c)
	}
	if c := install(t, s, one); c.Stored != "" || c.Active != "acme@1.0.0" || c.Before != c.Active {
		t.Errorf("again: %+v", c)
	}
	if c, err := s.Install(three, false); err != nil || c.Active != "acme@1.0.0" || c.Stored != "acme@2.0.0-rc.1" {
		t.Errorf("stored only: %+v %v", c, err)
	}
	install(t, s, two)
	if _, d, _ := s.Active(); !finds(d, "green") || finds(d, "purple") {
		t.Error("not what was installed")
	}
	if _, err := s.Install(one, true); !errors.Is(err, ErrOlder) {
		t.Errorf("an older version: %v", err)
	}
	if _, err := s.Activate("acme@1.0.0"); !errors.Is(err, ErrOlder) {
		t.Errorf("an older version that is stored: %v", err)
	}
	if c, err := s.Activate("acme@2.0.0-rc.1"); err != nil || c.Active != "acme@2.0.0-rc.1" {
		t.Errorf("%+v %v", c, err)
	}
	if _, err := s.Install(coloured(t, key, "1.1.0", "red"), true); err == nil || errors.Is(err, ErrOlder) {
		t.Errorf("other contents under a version that is there: %v", err)
	}
	list, err := s.List()
	if err != nil || len(list) != 4 || !list[3].Active || list[3].ID != "acme@2.0.0-rc.1" || !list[0].Before || list[1].Signer != "test-key" {
		t.Errorf("%+v %v", list, err)
	}
	for _, want := range []string{"acme@1.1.0", "acme@1.0.0", Builtin} {
		if c, err := s.Rollback(""); err != nil || c.Active != want || active(t, s) != want {
			t.Fatalf("rollback to %s: %+v %v", want, c, err)
		}
	}
	for _, to := range []string{"", Builtin, "acme@1.0.0", "other@1.0.0", "../x"} {
		if _, err := s.Rollback(to); err == nil {
			t.Errorf("rollback to %q where nothing was", to)
		}
	}
	// After going back on purpose the way up is open again.
	install(t, s, one)
	install(t, s, two)
	if c, err := s.Rollback("acme@1.0.0"); err != nil || c.Active != "acme@1.0.0" {
		t.Errorf("%+v %v", c, err)
	}
	install(t, s, two)
	if c, err := s.Rollback(Builtin); err != nil || c.Active != Builtin || active(t, s) != Builtin {
		t.Errorf("%+v %v", c, err)
	}
}

// Another name in between does not open the way to an older version.
func TestDowngradeByAnotherName(t *testing.T) {
	key, trust := keys(t)
	s := newStore(t, trust)
	install(t, s, coloured(t, key, "2.0.0", "purple"))
	other, err := Build(Source{Name: "other", Version: "0.1.0", Created: day, Dir: source(t, nil), Key: key})
	if err != nil {
		t.Fatal(err)
	}
	install(t, s, other)
	if _, err := s.Install(coloured(t, key, "1.9.9", "green"), true); !errors.Is(err, ErrOlder) {
		t.Errorf("%v", err)
	}
	if active(t, s) != "other@0.1.0" {
		t.Error("it became active")
	}
}

func TestARefusedPackChangesNothing(t *testing.T) {
	key, trust := keys(t)
	s := newStore(t, trust)
	install(t, s, coloured(t, key, "1.0.0", "purple"))
	before := disk(t, s.Dir)
	bad := build(t, key, "1.1.0", map[string]string{"examples.jsonl": strings.Replace(examples, "purple", "green", 1)})
	if _, err := s.Install(bad, true); !errors.Is(err, ErrExamples) {
		t.Fatalf("%v", err)
	}
	if _, err := s.Install(coloured(t, key, "0.9.0", "green"), true); !errors.Is(err, ErrOlder) {
		t.Fatalf("%v", err)
	}
	if after := disk(t, s.Dir); after["state.json"] != before["state.json"] {
		t.Error("the state changed")
	}
	if active(t, s) != "acme@1.0.0" {
		t.Error("another pack is active")
	}
}

func disk(t testing.TB, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	ents, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	for _, e := range ents {
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		out[e.Name()] = string(b)
	}
	return out
}

var errCrash = errors.New("the power went")

// A crash before any change of the disk, with what a torn write leaves beside it, leaves the old
// pack active or the new one, never none, and the command can be given again. (test/packs_test.go
// kills the real binary at every system call.)
func TestACrashLeavesTheOldOrTheNew(t *testing.T) {
	key, trust := keys(t)
	one, two := coloured(t, key, "1.0.0", "purple"), coloured(t, key, "1.1.0", "green")
	for _, first := range []bool{true, false} {
		for n := range 10 {
			s := newStore(t, trust)
			old := Builtin
			if !first {
				install(t, s, one)
				old = "acme@1.0.0"
			}
			steps, crashed := 0, false
			s.step = func(what string) error {
				if steps++; steps <= n {
					return nil
				}
				crashed = true
				if what != "make directory" {
					os.WriteFile(filepath.Join(s.Dir, ".state.json.123.tmp"), []byte(`{"format":1,"ser`), 0o600)
					os.WriteFile(filepath.Join(s.Dir, ".acme@1.1.0.pack.77.tmp"), two.Bytes()[:100], 0o600)
				}
				return errCrash
			}
			_, err := s.Install(two, true)
			if crashed != errors.Is(err, errCrash) {
				t.Fatalf("step %d: %v", n, err)
			}
			s.step = nil
			if got := active(t, s); crashed && got != old || !crashed && got != "acme@1.1.0" {
				t.Fatalf("step %d: %s is active", n, got)
			}
			if _, err := s.List(); err != nil {
				t.Fatal(err)
			}
			install(t, s, two)
			if active(t, s) != "acme@1.1.0" {
				t.Fatal("not after the second try")
			}
			for name := range disk(t, s.Dir) {
				if strings.HasSuffix(name, ".tmp") {
					t.Errorf("%s is left", name)
				}
			}
			if _, err := s.Rollback(""); err != nil || active(t, s) != old {
				t.Fatalf("rollback: %v", err)
			}
			if !crashed {
				if n < 3 {
					t.Fatalf("only %d steps", n)
				}
				break
			}
		}
	}
}

func TestADamagedStoreIsRefusedAndCanBeLeft(t *testing.T) {
	key, trust := keys(t)
	_, otherTrust := keys(t)
	one, two := coloured(t, key, "1.0.0", "purple"), coloured(t, key, "1.1.0", "green")
	for name, c := range map[string]struct {
		harm  func(s *Store)
		want  error
		state bool // the state itself cannot be read
	}{
		"a flipped bit":               {func(s *Store) { flip(t, s.File("acme@1.1.0")) }, ErrDamaged, false},
		"gone":                        {func(s *Store) { os.Remove(s.File("acme@1.1.0")) }, ErrUnknown, false},
		"a link":                      {func(s *Store) { os.Remove(s.File("acme@1.1.0")); os.Symlink("acme@1.0.0.pack", s.File("acme@1.1.0")) }, ErrDamaged, false},
		"another pack under its name": {func(s *Store) { os.WriteFile(s.File("acme@1.1.0"), one.Bytes(), 0o600) }, ErrDamaged, false},
		"signed, same version, other contents": {func(s *Store) {
			os.WriteFile(s.File("acme@1.1.0"), coloured(t, key, "1.1.0", "red").Bytes(), 0o600)
		}, ErrDamaged, false},
		"a key that is trusted no more": {func(s *Store) { s.Trust = otherTrust }, ErrUntrusted, false},
		"an engine under which the examples fail": {func(s *Store) {
			s.Construct = func(p *Pack) (detect.Detector, error) {
				if p != nil && p.Version == "1.1.0" {
					return engine(nil)
				}
				return engine(p)
			}
		}, ErrExamples, false},
		"an empty state": {func(s *Store) { os.WriteFile(StateFile(s.Dir), nil, 0o600) }, ErrState, true},
		"a torn state":   {func(s *Store) { os.WriteFile(StateFile(s.Dir), []byte(`{"format":1,`), 0o600) }, ErrState, true},
		"a member twice": {func(s *Store) {
			os.WriteFile(StateFile(s.Dir), []byte(`{"format":1,"serial":1,"active":{"id":"builtin","id":"acme@1.1.0"},"history":[]}`), 0o600)
		}, ErrState, true},
		"a path as id": {func(s *Store) {
			os.WriteFile(StateFile(s.Dir), []byte(`{"format":1,"serial":1,"active":{"id":"../../x@1.0.0","digest":"`+strings.Repeat("00", 32)+`"},"history":[]}`), 0o600)
		}, ErrState, true},
		"no digest": {func(s *Store) {
			os.WriteFile(StateFile(s.Dir), []byte(`{"format":1,"serial":1,"active":{"id":"acme@1.1.0"},"history":[]}`), 0o600)
		}, ErrState, true},
		"an endless state": {func(s *Store) { os.Truncate(StateFile(s.Dir), 1<<40) }, ErrState, true},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStore(t, trust)
			install(t, s, one)
			install(t, s, two)
			c.harm(s)
			if p, d, err := s.Active(); !errors.Is(err, c.want) || d != nil || p != nil {
				t.Fatalf("%v", err)
			}
			if c.state {
				if _, err := s.Rollback(""); !errors.Is(err, ErrState) || !strings.Contains(err.Error(), "--to builtin") {
					t.Errorf("%v", err)
				}
			} else if name == "a key that is trusted no more" {
				if _, err := s.Rollback(""); !errors.Is(err, ErrUntrusted) {
					t.Errorf("went back to a pack that is not trusted: %v", err)
				}
			} else if ch, err := s.Rollback(""); err != nil || ch.Active != "acme@1.0.0" || active(t, s) != "acme@1.0.0" {
				t.Errorf("%+v %v", ch, err)
			}
			if _, err := s.Rollback(Builtin); err != nil || active(t, s) != Builtin {
				t.Errorf("to the built-in pack: %v", err)
			}
			install(t, &Store{Dir: s.Dir, Trust: trust, Construct: engine}, coloured(t, key, "3.0.0", "blue"))
		})
	}
}

func flip(t testing.TB, path string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/2] ^= 1
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// Readers beside a writer always find a whole pack.
func TestReadersBesideAWriter(t *testing.T) {
	key, trust := keys(t)
	s := newStore(t, trust)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	seen := make([]map[string]int, 2)
	for i := range seen {
		seen[i] = map[string]int{}
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				p, _, err := s.Active()
				if err != nil {
					t.Error(err)
					return
				}
				id := Builtin
				if p != nil {
					id = p.ID()
				}
				seen[i][id]++
			}
		})
	}
	w := *s
	for i := range 12 {
		install(t, &w, coloured(t, key, fmt.Sprintf("1.%d.0", i), []string{"purple", "green"}[i%2]))
		if i%3 == 2 {
			if _, err := w.Rollback(""); err != nil {
				t.Fatal(err)
			}
		}
	}
	close(stop)
	wg.Wait()
	if len(seen[0])+len(seen[1]) < 4 {
		t.Errorf("little was seen: %v", seen)
	}
}

func TestOneWriterAtATime(t *testing.T) {
	key, trust := keys(t)
	s := newStore(t, trust)
	install(t, s, coloured(t, key, "1.0.0", "purple"))
	l, err := durable.Lock(filepath.Join(s.Dir, "lock"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if _, err := s.Install(coloured(t, key, "1.1.0", "green"), true); !errors.Is(err, durable.ErrLocked) {
		t.Errorf("%v", err)
	}
	if _, err := s.Rollback(""); !errors.Is(err, durable.ErrLocked) {
		t.Errorf("%v", err)
	}
}

// A foreign file in the directory, of any name, is neither listed nor printed.
func TestForeignFiles(t *testing.T) {
	key, trust := keys(t)
	s := newStore(t, trust)
	install(t, s, coloured(t, key, "1.0.0", "purple"))
	for _, name := range []string{"evil\x1b[2J@1.0.0.pack", "acme@1.pack", "ACME@1.0.0.pack", ".pack", "x", "builtin@1.0.0.pack"} {
		if err := os.WriteFile(filepath.Join(s.Dir, name), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	os.WriteFile(s.File("acme@9.9.9"), []byte("no pack at all \x1b[2J"), 0o600)
	list, err := s.List()
	if err != nil || len(list) != 3 || list[2].Problem == "" {
		t.Fatalf("%+v %v", list, err)
	}
	if slices.ContainsFunc(list, func(l Listed) bool {
		return strings.ContainsFunc(l.ID+l.Problem+l.Signer, func(r rune) bool { return r < ' ' || r > '~' })
	}) {
		t.Errorf("raw text: %+v", list)
	}
}

func TestTheHistoryIsBounded(t *testing.T) {
	key, trust := keys(t)
	s := newStore(t, trust)
	p := coloured(t, key, "1.0.0", "purple")
	install(t, s, p)
	for i := range 3 * maxHistory {
		st, err := s.State()
		if err != nil {
			t.Fatal(err)
		}
		q := &Pack{Manifest: Manifest{Name: fmt.Sprintf("p%d", i), Version: "1.0.0"}}
		if err := s.activate(q, st, &Change{}); err != nil {
			t.Fatal(err)
		}
	}
	if st, err := s.State(); err != nil || len(st.History) != maxHistory {
		t.Errorf("%d entries, %v", len(st.History), err)
	}
}
