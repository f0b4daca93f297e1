package sdk

import (
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sallyport.dev/sallyport/internal/simulate"
)

// TestNodeSDKs runs the checks written in JavaScript, node/*.test.js, through a gateway each.
func TestNodeSDKs(t *testing.T) {
	node, err := exec.LookPath("node")
	if err != nil {
		missing(t, "node is not installed")
	}
	if _, err := os.Stat(filepath.Join("node", "node_modules", "openai")); err != nil {
		missing(t, "the Node SDKs are not installed: run `npm ci --ignore-scripts` in test/sdk/node")
	}
	for _, dialect := range []string{"openai", "anthropic"} {
		t.Run(dialect, func(t *testing.T) {
			ends := make(chan simulate.End, 64)
			sim := simulate.New(simulate.Options{OnEnd: func(e simulate.End) { ends <- e }})
			srv := httptest.NewServer(sim)
			t.Cleanup(srv.Close)
			cmd := exec.CommandContext(t.Context(), node, "--test", "--test-reporter=tap", dialect+".test.js")
			cmd.Dir = "node"
			cmd.Env = append(os.Environ(), "SALLYPORT_URL="+gateway(t, dialect, srv.URL))
			if bare() {
				cmd.Env = append(cmd.Env, "SALLYPORT_BARE=1")
			}
			out, err := cmd.CombinedOutput()
			if err != nil || !strings.Contains(string(out), "# pass ") || strings.Contains(string(out), "# pass 0\n") {
				t.Fatalf("%v\n%s", err, out)
			}
			left := false
			for more := true; more && !left; {
				select {
				case e := <-ends:
					left = e.Left
				case <-time.After(2 * time.Second):
					more = false
				}
			}
			if !left {
				t.Error("the stream that the client left did not end at the provider")
			}
		})
	}
}
