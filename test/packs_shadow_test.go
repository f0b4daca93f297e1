package test

import (
	"bytes"
	"context"

	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sallyport.dev/sallyport/internal/inspect/shadow"
	"sallyport.dev/sallyport/internal/server"
	"sallyport.dev/sallyport/test/gatetest"
)

// A candidate reads beside the active pack: it changes nothing, what it would change is found by the
// operator, without any text, and what is not compared is counted.
func TestAShadowSeesAndDecidesNothing(t *testing.T) {
	key, yaml := packKeys(t)
	up := gatetest.NewUpstream(t)
	up.Answer(jsonReply(200, `{"id":"1","object":"chat.completion","model":"m","choices":[{"index":0,"finish_reason":"stop","message":{"role":"assistant","content":"here swims a green walrus, look"}}]}`, nil))
	g := gatetest.Start(t, up, yaml)
	cfg := loadedConfig(t, g)
	installPack(t, g, packFile(t, key, "1.0.0", "purple"))
	if _, err := server.InstallPack(context.Background(), cfg, packFile(t, key, "1.1.0", "green"), false); err != nil {
		t.Fatal(err)
	}
	// A new start: the watch on the file would reload once more, and drop what waits for the candidate.
	g.Close()
	g.Write(up, strings.Replace(yaml, "packs: {", "packs: {shadow: acme@1.1.0, ", 1))
	g.Open()
	for range 5 {
		for colour, want := range map[string]int{"purple": 400, "green": 200, "grey": 200} {
			if s := do(t, g.URL, seeWalrus(colour)).status; s != want {
				t.Fatalf("%s: %d, want %d", colour, s, want)
			}
		}
	}
	long := chat(`{"model":"m","messages":[{"role":"user","content":"` + strings.Repeat("many words about the green walrus. ", 20000) + `"}]}`)
	if s := do(t, g.URL, long).status; s != 200 {
		t.Fatalf("a long call: %d", s)
	}
	swims := deltas("here swims a green walrus, look at it")
	up.Answer(streamReply(swims))
	for range 3 {
		if res := do(t, g.URL, goodStream); res.status != 200 || string(res.body) != swims {
			t.Fatalf("a stream: %d %s", res.status, res.body)
		}
	}
	up.Answer(streamReply(deltas("a purple walrus swims in the sea and the answer goes on")))
	if res := do(t, g.URL, goodStream); strings.Contains(string(res.body), "goes on") {
		t.Fatalf("a stream that is stopped: %d %s", res.status, res.body)
	}
	var r shadow.Report
	var changes []shadow.Change
	within(t, 2*time.Minute, "the shadow has read what it was given", func() bool {
		var err error
		r, changes, err = server.ShadowReport(loadedConfig(t, g), 1000)
		// 15 requests, 10 answers that were not stopped before, the long call's answer, 4 streams.
		return err == nil && r.Compared == 26+8 && r.Skipped["longer than the shadow reads"] == 1
	})
	if r.Active != "acme@1.0.0" || r.Candidate != "acme@1.1.0" || r.Changes["block to allow"] != 6 || r.Changes["allow to block"] != 5+11+3 || r.Changed != 25 {
		t.Errorf("%+v", r)
	}
	ids := g.Events()
	for _, c := range changes {
		e, ok := ids[c.ID]
		if !ok || len(c.Text) != 64 || len(c.Active.Rules)+len(c.Candidate.Rules) != 1 {
			t.Errorf("%+v", c)
		}
		if c.Direction == "request" && c.Active.Verdict != e["decision"].(map[string]any)["verdict"] {
			t.Errorf("the record says %v: %+v", e["decision"], c)
		}
	}
	if len(changes) != 25 {
		t.Errorf("%d changes", len(changes))
	}
	g.Close()
	for _, dir := range []string{"shadow"} {
		filepath.WalkDir(filepath.Join(g.Dir, dir), func(p string, d os.DirEntry, err error) error {
			if err == nil && !d.IsDir() {
				if b, _ := os.ReadFile(p); bytes.Contains(b, []byte("swim")) {
					t.Errorf("%s holds text of a call", p)
				}
			}
			return err
		})
	}
	if strings.Contains(g.Log.String(), "swim") || !strings.Contains(g.Log.String(), "shadow: another verdict") {
		t.Error("the log holds text of a call, or no change")
	}
	// A candidate that is not there stops nothing and is said.
	g.Write(up, strings.Replace(yaml, "packs: {", "packs: {shadow: acme@7.0.0, ", 1))
	g.Open()
	if s := do(t, g.URL, seeWalrus("purple")).status; s != 400 {
		t.Errorf("with a candidate that is not there: %d", s)
	}
	if r, _, err := server.ShadowReport(loadedConfig(t, g), 10); err != nil || !strings.Contains(r.Problem, "not installed") {
		t.Errorf("%+v %v", r, err)
	}
}

// Recorded calls are compared as far as their content was kept, and the rest is said.
func TestADiffOverTheRecord(t *testing.T) {
	key, yaml := packKeys(t)
	ask := []request{seeWalrus("purple"), seeWalrus("green"), seeWalrus("grey"), goodStream, chat(`{"model":"m","messages":[{"role":"user","content":"` + strings.Repeat("long ", 20000) + `"}]}`)}
	for content, want := range map[string]struct {
		compared, changed int64
		skipped           map[string]int64
	}{
		// Five requests, one too long; the answers of those that were not stopped and kept.
		"full":     {7, 2, map[string]int64{"request: it was longer than the record keeps": 1}},
		"redacted": {6, 1, map[string]int64{"request: it was longer than the record keeps": 1, "request: what was found in it was cut out (audit.content: redacted)": 1}},
		"hashed":   {0, 0, map[string]int64{"request: its content was not kept (audit.content)": 5}},
		"none":     {0, 0, map[string]int64{"request: its content was not kept (audit.content)": 5}},
	} {
		t.Run(content, func(t *testing.T) {
			up := gatetest.NewUpstream(t)
			up.AnswerFunc(func(_ *http.Request, body []byte) gatetest.Reply {
				if bytes.Contains(body, []byte(`"stream":true`)) {
					return streamReply(chatStream[:300], chatStream[300:])
				}
				return jsonReply(200, `{"id":"1","object":"chat.completion","model":"m","choices":[{"index":0,"finish_reason":"stop","message":{"role":"assistant","content":"a walrus"}}]}`, nil)
			})
			g := gatetest.Start(t, up, yaml+"audit: {content: "+content+"}\n")
			installPack(t, g, packFile(t, key, "1.0.0", "purple"))
			within(t, 20*time.Second, "the pack decides", func() bool { return do(t, g.URL, seeWalrus("purple")).status == 400 })
			since := time.Now()
			for _, r := range ask {
				do(t, g.URL, r)
			}
			g.Close()
			var export bytes.Buffer
			if err := server.ExportAudit(context.Background(), filepath.Join(g.Dir, "audit"), &export, since, time.Time{}, nil, true); err != nil {
				t.Fatal(err)
			}
			n := 0
			r, err := server.DiffRecorded(context.Background(), loadedConfig(t, g), server.Diff{Candidate: packFile(t, key, "1.1.0", "green")}, &export, func(c shadow.Change) error {
				n++
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			if r.Compared == 0 && len(r.Honest()) < 2 {
				t.Errorf("%v", r.Honest())
			}
			t.Logf("%+v %v", r.Summary, r.Honest())
			if r.Compared != want.compared || r.Changed != want.changed || int64(n) != r.Changed {
				t.Errorf("%d compared, %d changed, %d told; want %d and %d", r.Compared, r.Changed, n, want.compared, want.changed)
			}
			for why, k := range want.skipped {
				if r.Skipped[why] != k {
					t.Errorf("%d skipped: %s; want %d", r.Skipped[why], why, k)
				}
			}
		})
	}
}
