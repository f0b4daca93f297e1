package test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// The binary's commands, as stories in scripts/*.txtar.
func TestCommands(t *testing.T) {
	bin := t.TempDir()
	if out, err := exec.Command("go", "build", "-o", filepath.Join(bin, "sallyport"), "../cmd/sallyport").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	testscript.Run(t, testscript.Params{
		Dir: "scripts",
		Setup: func(e *testscript.Env) error {
			e.Setenv("PATH", bin+string(os.PathListSeparator)+e.Getenv("PATH"))
			e.Setenv("HOME", e.WorkDir)
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			// waitready waits until the server has begun its record.
			"waitready": func(ts *testscript.TestScript, _ bool, _ []string) {
				seg := ts.MkAbs("data/audit/seg-0000000000000001.log")
				for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
					if b, err := os.ReadFile(seg); err == nil && bytes.Contains(b, []byte(`"start"`)) {
						return
					}
					if time.Now().After(deadline) {
						ts.Fatalf("the server did not start")
					}
				}
			},
			// flip FILE changes one bit in its middle.
			"flip": func(ts *testscript.TestScript, _ bool, args []string) {
				p := ts.MkAbs(args[0])
				b, err := os.ReadFile(p)
				ts.Check(err)
				b[len(b)/2] ^= 1
				ts.Check(os.WriteFile(p, b, 0o600))
			},
		},
	})
}
