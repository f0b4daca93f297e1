// Package removal proves that tests notice when a defence is gone: each line of the tables takes one
// defence out of the source (the compiler is given the edited file instead, `go test -overlay`; the
// checkout stays as it is) and names the test that must fail then. The rows are the
// kinds of attack that docs/design/007, 021 to 025, 027 and 028 answer.
//
// In every run: each line still fits the source, its edit is still Go, and its test is still there. With
// SALLYPORT_TEST_REMOVAL set, the defences are taken out: "all", or words of rows or defences ("keys,
// comparison"). `make removal` takes all of them; that takes twenty minutes.
package removal

import (
	"bufio"
	"bytes"
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// removal is one defence, and the test that must fail without it.
type removal struct {
	row, what string
	file      string // from the root of the repository
	old, new  string // old stands once in the file
	in        string // package of the test, from the root; empty: that of the file
	run       string // the test's name, or several with | between
}

func (r *removal) pkg() string {
	if r.in != "" {
		return r.in
	}
	return filepath.Dir(r.file)
}

const root = "../.."

// edited is the file without the defence.
func (r *removal) edited(t *testing.T) []byte {
	t.Helper()
	src, err := os.ReadFile(filepath.Join(root, r.file))
	if err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(src, []byte(r.old)); n != 1 {
		t.Fatalf("%s holds the text %d times, want once; the defence moved, so this line has to: %q", r.file, n, r.old)
	}
	out := bytes.Replace(src, []byte(r.old), []byte(r.new), 1)
	if _, err := parser.ParseFile(token.NewFileSet(), r.file, out, parser.SkipObjectResolution); err != nil && strings.HasSuffix(r.file, ".go") {
		t.Fatalf("without the defence it is not Go: %v", err)
	}
	return out
}

func all() []removal {
	return slices.Concat(keys, comparison, bruteForce, people, provisioning, workloads, headers, atRest, rights)
}

func TestEveryLineFitsTheSource(t *testing.T) {
	rows := map[string]int{}
	seen := map[string]bool{}
	tests := map[string]map[string]bool{}
	for _, r := range all() {
		rows[r.row]++
		t.Run(r.row+"/"+r.what, func(t *testing.T) {
			if seen[r.row+r.what] {
				t.Fatal("it stands twice")
			}
			seen[r.row+r.what] = true
			r.edited(t)
			if tests[r.pkg()] == nil {
				tests[r.pkg()] = testsOf(t, r.pkg())
			}
			for name := range strings.SplitSeq(r.run, "|") {
				if !tests[r.pkg()][name] {
					t.Errorf("there is no test %s in %s", name, r.pkg())
				}
			}
		})
	}
	for _, want := range []string{"keys", "comparison", "brute force", "people", "scim", "mtls", "headers", "secrets at rest", "rbac"} {
		if rows[want] == 0 {
			t.Errorf("the row %q is empty", want)
		}
	}
	t.Logf("%d defences: %v", len(all()), rows)
}

// testsOf are the names of the tests of a package.
func testsOf(t *testing.T, pkg string) map[string]bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, pkg, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, f := range files {
		p, err := parser.ParseFile(token.NewFileSet(), f, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range p.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && strings.HasPrefix(fn.Name.Name, "Test") || ok && fn.Recv == nil && strings.HasPrefix(fn.Name.Name, "Fuzz") {
				names[fn.Name.Name] = true
			}
		}
	}
	return names
}

// TestWithoutTheDefence takes the defences out that SALLYPORT_TEST_REMOVAL names.
func TestWithoutTheDefence(t *testing.T) {
	words := os.Getenv("SALLYPORT_TEST_REMOVAL")
	for _, r := range all() {
		if words == "" || words != "all" && !slices.ContainsFunc(strings.Split(words, ","), func(w string) bool {
			return strings.Contains(r.row+"/"+r.what, strings.TrimSpace(w))
		}) {
			continue
		}
		t.Run(r.row+"/"+r.what, func(t *testing.T) { r.take(t) })
	}
}

// take runs the tests without the defence; they must be built, and one of those named must fail.
func (r *removal) take(t *testing.T) {
	dir := t.TempDir()
	abs, err := filepath.Abs(filepath.Join(root, r.file))
	if err != nil {
		t.Fatal(err)
	}
	edited, overlay := filepath.Join(dir, "edited.go"), filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(edited, r.edited(t), 0o600); err != nil {
		t.Fatal(err)
	}
	j, err := json.Marshal(map[string]any{"Replace": map[string]string{abs: edited}})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(overlay, j, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "go", "test", "-json", "-count=1", "-timeout=4m", "-overlay", overlay, "-run", "^("+r.run+")$", "./"+r.pkg())
	cmd.Dir = root
	// A test that builds the product itself has to build the edited one.
	cmd.Env = append(os.Environ(), "GOFLAGS="+strings.TrimSpace(os.Getenv("GOFLAGS")+" -overlay="+overlay), "SALLYPORT_TEST_REMOVAL=", "SALLYPORT_TEST_OVERLAY="+overlay)
	found := filepath.Join(root, r.pkg(), "testdata", "rapid") // where rapid keeps what failed: here it should
	before, _ := filepath.Glob(filepath.Join(found, "*"))
	out, _ := cmd.CombinedOutput()
	if after, _ := filepath.Glob(filepath.Join(found, "*")); len(before) == 0 && len(after) > 0 {
		_ = os.RemoveAll(found)
		_ = os.Remove(filepath.Dir(found)) // if nothing else is there
	}
	failed, skipped, ran := judge(out)
	named := regexp.MustCompile("^(" + r.run + ")(/|$)")
	switch {
	case len(ran) == 0:
		t.Fatalf("it could not be built, or nothing ran:\n%s", tail(out))
	case len(failed) == 0 && len(skipped) > 0:
		t.Fatalf("it was skipped, so nothing is shown: %v", skipped)
	case len(failed) == 0:
		t.Fatal("nothing fails without it")
	case !slices.ContainsFunc(failed, named.MatchString):
		t.Fatalf("another test fails: %v", failed)
	}
	t.Logf("fails: %s", strings.Join(failed[:min(3, len(failed))], ", "))
}

// judge reads what go test -json wrote: the tests that ran, and those of them that failed or were skipped.
func judge(out []byte) (failed, skipped, ran []string) {
	in := bufio.NewScanner(bytes.NewReader(out))
	in.Buffer(nil, 1<<20)
	for in.Scan() {
		var e struct{ Action, Test string }
		if json.Unmarshal(in.Bytes(), &e) != nil || e.Test == "" {
			continue
		}
		switch e.Action {
		case "run":
			ran = append(ran, e.Test)
		case "fail":
			failed = append(failed, e.Test)
		case "skip":
			skipped = append(skipped, e.Test)
		}
	}
	slices.SortFunc(failed, func(a, b string) int { return strings.Count(b, "/") - strings.Count(a, "/") })
	return failed, skipped, ran
}

func tail(b []byte) []byte { return b[max(0, len(b)-2000):] }
