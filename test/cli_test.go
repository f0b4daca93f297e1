package test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
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
			for _, name := range []string{"GATE", "PROVIDER", "CONSOLE"} { // addresses that were free a moment ago
				ln, err := net.Listen("tcp", "127.0.0.1:0")
				if err != nil {
					return err
				}
				defer ln.Close()
				e.Setenv(name, ln.Addr().String())
			}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"waitready":  waitReady,
			"waitfor":    waitFor,
			"waitlisten": waitListen,
			"flip":       flip,
			"tamper":     tamper,
			"expand":     expand,
			"field":      field,
			"signal":     signalTo,
			"call":       callGate,
			"provider":   tellingProvider,
			"sees":       sees,
			"trust":      trust,
			"entry":      entry,
			"asks":       asks,
			"shadowsees": shadowSees,

			"hostilename": hostileName,
		},
	})
}

// poll waits until ok.
func poll(ts *testscript.TestScript, what string, ok func() bool) {
	for end := time.Now().Add(30 * time.Second); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			ts.Fatalf("waited in vain for %s", what)
		}
	}
}

const firstSegment = "data/audit/seg-0000000000000001.log"

// waitready waits until the server has begun its record.
func waitReady(ts *testscript.TestScript, _ bool, _ []string) {
	waitFor(ts, false, []string{firstSegment, `"start"`})
}

// waitfor FILE TEXT waits until the file holds the text.
func waitFor(ts *testscript.TestScript, _ bool, args []string) {
	file := ts.MkAbs(args[0])
	poll(ts, args[1], func() bool {
		b, err := os.ReadFile(file)
		return err == nil && bytes.Contains(b, []byte(args[1]))
	})
}

// waitlisten ADDRESS waits until somebody listens.
func waitListen(ts *testscript.TestScript, _ bool, args []string) {
	poll(ts, args[0], func() bool {
		c, err := net.Dial("tcp", args[0])
		if err == nil {
			c.Close()
		}
		return err == nil
	})
}

// flip FILE changes one bit in its middle.
func flip(ts *testscript.TestScript, _ bool, args []string) {
	p := ts.MkAbs(args[0])
	b, err := os.ReadFile(p)
	ts.Check(err)
	b[len(b)/2] ^= 1
	ts.Check(os.WriteFile(p, b, 0o600))
}

// trust CONFIG KEYFILE puts a public key into a configuration, in the place of KEY.
func trust(ts *testscript.TestScript, _ bool, args []string) {
	key := strings.TrimSpace(ts.ReadFile(args[1]))
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(strings.Replace(ts.ReadFile(args[0]), "KEY", key, 1)), 0o600))
}

// hostileName DIR puts a file into DIR whose name would clear a terminal, and such a text into ESC.
func hostileName(ts *testscript.TestScript, _ bool, args []string) {
	ts.Setenv("ESC", "x\x1b[2J@1.0.0")
	ts.Check(os.WriteFile(filepath.Join(ts.MkAbs(args[0]), "weights\x1b[2J"), []byte("x"), 0o600))
}

// entry VAR sets VAR to the id of the only entry of the list on the last command's stdout.
func entry(ts *testscript.TestScript, _ bool, args []string) {
	var list []struct{ ID string }
	ts.Check(json.Unmarshal([]byte(ts.ReadFile("stdout")), &list))
	if len(list) != 1 {
		ts.Fatalf("%d entries", len(list))
	}
	ts.Setenv(args[0], list[0].ID)
}

var seq = regexp.MustCompile(`"seq":([0-9]+)`)

// tamper TEXT OTHER replaces the first TEXT in the record by OTHER, and sets SEQ to the number of the
// changed line.
func tamper(ts *testscript.TestScript, _ bool, args []string) {
	p := ts.MkAbs(firstSegment)
	b, err := os.ReadFile(p)
	ts.Check(err)
	at := bytes.Index(b, []byte(args[0]))
	if at < 0 {
		ts.Fatalf("the record does not hold %q", args[0])
	}
	line := b[bytes.LastIndexByte(b[:at], '\n')+1 : at]
	m := seq.FindSubmatch(line)
	if m == nil {
		ts.Fatalf("no sequence number before %q", args[0])
	}
	ts.Setenv("SEQ", string(m[1]))
	ts.Check(os.WriteFile(p, bytes.Replace(b, []byte(args[0]), []byte(args[1]), 1), 0o600))
}

// expand FILE replaces $NAME in the file.
func expand(ts *testscript.TestScript, _ bool, args []string) {
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(os.Expand(ts.ReadFile(args[0]), ts.Getenv)), 0o600))
}

// field NAME VAR sets VAR to a field of the JSON object on the last command's stdout.
func field(ts *testscript.TestScript, _ bool, args []string) {
	var m map[string]any
	ts.Check(json.Unmarshal([]byte(ts.ReadFile("stdout")), &m))
	names := strings.Split(args[0], ".")
	for _, n := range names[:len(names)-1] {
		m, _ = m[n].(map[string]any)
	}
	s, ok := m[names[len(names)-1]].(string)
	if !ok {
		ts.Fatalf("no text %q on stdout", args[0])
	}
	ts.Setenv(args[1], s)
}

// signal N HUP sends the N-th background command a SIGHUP.
func signalTo(ts *testscript.TestScript, _ bool, args []string) {
	n, err := strconv.Atoi(args[0])
	ts.Check(err)
	if args[1] != "HUP" {
		ts.Fatalf("unknown signal %s", args[1])
	}
	ts.Check(ts.BackgroundCmds()[n-1].Process.Signal(syscall.SIGHUP))
}

// call STATUS TEXT [KEY] asks through the gateway at $GATE; "!" before it waits for the status.
func callGate(ts *testscript.TestScript, wait bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	body, err := json.Marshal(map[string]any{"model": "m", "messages": []any{map[string]string{"role": "user", "content": args[1]}}})
	ts.Check(err)
	ask := func() (int, error) {
		req, err := http.NewRequest("POST", "http://"+ts.Getenv("GATE")+"/v1/chat/completions", bytes.NewReader(body))
		if err != nil {
			return 0, err
		}
		req.Header.Set("Content-Type", "application/json")
		if len(args) > 2 {
			req.Header.Set("Authorization", "Bearer "+args[2])
		}
		tr := &http.Transport{ResponseHeaderTimeout: 30 * time.Second}
		defer tr.CloseIdleConnections()
		res, err := tr.RoundTrip(req)
		if err != nil {
			return 0, err
		}
		defer res.Body.Close()
		return res.StatusCode, nil
	}
	var status int
	if wait {
		poll(ts, fmt.Sprintf("the status %d of %q", want, args[1]), func() bool {
			status, err = ask()
			return err == nil && status == want
		})
		return
	}
	if status, err = ask(); err != nil || status != want {
		ts.Fatalf("call %q: %d %v, want %d", strings.TrimSpace(args[1]), status, err, want)
	}
}

// provider starts a provider at $PROVIDER that says in a header which credential it was given.
func tellingProvider(ts *testscript.TestScript, _ bool, _ []string) {
	ln, err := net.Listen("tcp", ts.Getenv("PROVIDER"))
	ts.Check(err)
	srv := &http.Server{ReadHeaderTimeout: 5 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("X-Seen", sum([]byte(r.Header.Get("Authorization")))) // itself would not pass the gateway
		fmt.Fprint(w, `{"id":"c1","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"finish_reason":"stop","message":{"role":"assistant","content":"Some do."}}]}`)
	})}
	go func() { _ = srv.Serve(ln) }()
	ts.Defer(func() { _ = srv.Close() })
}

// sees CREDENTIAL TEXT KEY asks through the gateway until the provider is given the credential.
func sees(ts *testscript.TestScript, _ bool, args []string) {
	body, err := json.Marshal(map[string]any{"model": "m", "messages": []any{map[string]string{"role": "user", "content": args[1]}}})
	ts.Check(err)
	poll(ts, "the credential "+args[0], func() bool {
		req, err := http.NewRequest("POST", "http://"+ts.Getenv("GATE")+"/v1/chat/completions", bytes.NewReader(body))
		ts.Check(err)
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Authorization", "Bearer "+args[2])
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			return false
		}
		defer res.Body.Close()
		return res.StatusCode == http.StatusOK && res.Header.Get("X-Seen") == sum([]byte("Bearer "+args[0]))
	})
}
