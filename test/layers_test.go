// Package test holds the tests that concern the whole tree: who may import whom, the product in one
// process, and the product as a process.
package test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

const module = "sallyport.dev/sallyport/"

// level says how high each room stands. A package may import rooms below its own, and packages of
// its own room. Rooms of one level never import each other.
var level = map[string]int{
	"internal/gate": 0, "internal/strictjson": 0, "internal/secret": 0, "internal/durable": 0,
	"internal/nn":    0, // runs a network, knows nothing of text
	"internal/evade": 0, // the attacker's side, for tests and training
	"internal/wire":  1,
	"internal/iam":   2, "internal/inspect": 2, "internal/watch": 2, "internal/audit": 2, "internal/evidence": 2,
	"internal/evaluate": 2, // judges detectors through interfaces, knows none
	"internal/store":    3, // implements the rooms' interfaces
	"internal/simulate": 3, "internal/demo": 4,
	"internal/proxy": 5, "internal/console": 5,
	"internal/config": 5, // only server and cmd import it
	"internal/server": 6,
	"cmd":             7,
	"model":           8, // trains and judges; nothing of it is in the binary
	"test":            8,
}

// more says what a room may import beyond what is below it, or may not although it is below.
var (
	baseOnly = map[string][]string{
		"internal/gate":       {},
		"internal/strictjson": {},
		"internal/secret":     {},
		"internal/durable":    {},
		"internal/evade":      {},
		"internal/evaluate":   {"internal/gate"},
		"internal/wire":       {"internal/gate", "internal/strictjson"},
		"internal/iam":        {"internal/gate", "internal/wire", "internal/strictjson", "internal/secret", "internal/durable"},
		"internal/inspect":    {"internal/gate", "internal/wire", "internal/strictjson", "internal/durable", "internal/nn"},
		"internal/audit":      {"internal/gate", "internal/strictjson", "internal/durable", "internal/secret"},
		"internal/store":      {"internal/gate", "internal/iam", "internal/secret", "internal/durable"},
		"internal/console":    {"internal/gate", "internal/iam", "internal/audit", "internal/watch", "internal/secret", "internal/strictjson"},
		"internal/proxy":      {"internal/gate", "internal/wire", "internal/strictjson", "internal/iam", "internal/inspect", "internal/audit", "internal/secret"},
		"internal/config":     {"internal/gate", "internal/secret"},
		"internal/simulate":   {"internal/strictjson"},
		"internal/demo":       {"internal/simulate", "internal/strictjson", "internal/gate"},
	}
)

func room(pkg string) string {
	parts := strings.Split(pkg, "/")
	if parts[0] == "internal" && len(parts) > 1 {
		return "internal/" + parts[1]
	}
	return parts[0]
}

func TestRoomsImportOnlyWhatIsBelowThem(t *testing.T) {
	root := ".."
	seen := 0
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == ".git" || d.Name() == "node_modules" || d.Name() == "testdata" || path == filepath.Join(root, "test", "sdk")) {
			return fs.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(path, ".go") {
			return nil
		}
		rel, _ := filepath.Rel(root, path)
		from := room(filepath.ToSlash(filepath.Dir(rel)))
		if _, ok := level[from]; !ok {
			t.Errorf("%s stands in a room that the layer map does not know: %s", rel, from)
			return nil
		}
		src, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		f, err := parser.ParseFile(token.NewFileSet(), rel, src, parser.ImportsOnly)
		if err != nil {
			return err
		}
		seen++
		for _, imp := range f.Imports {
			p, _ := strconv.Unquote(imp.Path.Value)
			if from == "internal/gate" && strings.Contains(p, ".") && !strings.HasSuffix(path, "_test.go") {
				t.Errorf("%s imports %s; the spine imports only the standard library", rel, p)
			}
			to, ours := strings.CutPrefix(p, module)
			if !ours || room(to) == from {
				continue
			}
			if strings.HasSuffix(path, "_test.go") && strings.HasPrefix(room(to), "internal/store") && from == "internal/iam" {
				continue // a room's test may use a real store
			}
			if strings.HasSuffix(path, "_test.go") && room(to) == "internal/store" && from == "internal/console" {
				continue
			}
			if strings.HasSuffix(path, "_test.go") && room(to) == "internal/evade" {
				continue // a detector's test may attack it
			}
			allowed, listed := baseOnly[from]
			if !listed {
				if level[room(to)] >= level[from] {
					t.Errorf("%s imports %s, which is not below it", rel, to)
				}
				continue
			}
			ok := false
			for _, a := range allowed {
				ok = ok || a == room(to)
			}
			if !ok {
				t.Errorf("%s imports %s: %s may import only %v", rel, to, from, allowed)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if seen < 20 {
		t.Fatalf("only %d files were looked at", seen)
	}
}
