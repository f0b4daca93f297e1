package test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The official SDKs are a module of their own, so that the product's go.mod stays lean. This runs
// its tests where its dependencies are at hand.
func TestOfficialSDKs(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the gateway and the SDKs")
	}
	all := os.Getenv("SALLYPORT_TEST_REQUIRE") == "all"
	list := exec.CommandContext(t.Context(), "go", "list", "-deps", "-test", "./...")
	list.Dir = "sdk"
	list.Env = os.Environ()
	if !all {
		list.Env = append(list.Env, "GOPROXY=off")
	}
	if out, err := list.CombinedOutput(); err != nil {
		if !all {
			t.Skip("the official SDKs are not in the module cache")
		}
		t.Fatalf("the official SDKs cannot be had: %v\n%s", err, out)
	}
	if _, err := os.Stat(filepath.Join("sdk", "node", "node_modules", "openai")); err != nil && all {
		t.Fatal("the Node SDKs are not installed: run `npm ci --ignore-scripts` in test/sdk/node")
	}
	cmd := exec.CommandContext(t.Context(), "go", "test", "-count=1", "-timeout=30m", "-v", "./...")
	cmd.Dir = "sdk"
	out, err := cmd.CombinedOutput()
	for line := range strings.Lines(string(out)) {
		if err != nil || strings.Contains(line, "wire tests pass") || strings.Contains(line, "--- SKIP") {
			t.Log(strings.TrimRight(line, "\n"))
		}
	}
	if err != nil {
		t.Fatal(err)
	}
}
