package audit

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"strings"
	"testing"
	"time"

	"sallyport.dev/sallyport/internal/gate"
)

func exported(t *testing.T, dir string, o ExportOptions) (rows []map[string]any) {
	t.Helper()
	var b bytes.Buffer
	if err := Export(t.Context(), dir, &b, o); err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(b.Bytes()) {
		var m map[string]any
		if err := json.Unmarshal(line, &m); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		rows = append(rows, m)
	}
	return rows
}

func ids(rows []map[string]any) string {
	var s []string
	for _, r := range rows {
		s = append(s, r["id"].(string)+"="+r["outcome"].(string))
	}
	return strings.Join(s, " ")
}

func TestExport(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, Options{SegmentBytes: 4 << 10})
	ctx := t.Context()
	at := record("x").Received
	call := func(id string, o gate.Outcome, begin, finish bool, minute int) {
		r := record(id)
		r.Received = at.Add(time.Duration(minute) * time.Minute)
		if begin {
			b := *r
			b.Outcome, b.Status = "", 0
			if err := l.Begin(ctx, &b); err != nil {
				t.Fatal(err)
			}
		}
		r.Outcome = o
		if finish {
			if err := l.Finish(ctx, r); err != nil {
				t.Fatal(err)
			}
		}
	}
	call("dying", "", true, false, 0)
	call("done", gate.OutcomeCompleted, true, true, 1)
	call("refused", gate.OutcomeRefused, false, true, 2)
	call("blocked", gate.OutcomeBlocked, true, true, 3)
	if err := l.Note(ctx, "config_reload", map[string]string{"by": "signal"}); err != nil {
		t.Fatal(err)
	}
	closed(t, l)
	l = open(t, dir, Options{})
	call("flying", "", true, false, 5)
	defer closed(t, l)

	rows := exported(t, dir, ExportOptions{})
	if got := ids(rows); got != "done=completed refused=refused blocked=blocked dying=interrupted flying=in_flight" {
		t.Fatal(got)
	}
	done, dying := rows[0], rows[3]
	for _, name := range []string{"received", "principal", "client", "upstream", "dialect", "endpoint", "method", "path", "model", "policy", "mode",
		"findings", "uninspected", "decision", "status", "usage", "finish", "request_bytes", "sent_bytes", "finished_us", "content", "begin_seq", "finish_seq", "recorded"} {
		if done[name] == nil {
			t.Errorf("a finished call has no %s", name)
		}
	}
	if dying["path"] != "/v1/chat/completions" || dying["error"] == nil || dying["begin_seq"].(float64) != 2 {
		t.Errorf("an interrupted call does not say what it was: %v", dying)
	}
	for want, o := range map[string]ExportOptions{
		"blocked=blocked": {Outcomes: []string{"blocked"}},
		"refused=refused blocked=blocked flying=in_flight": {Since: at.Add(2 * time.Minute)},
		"done=completed dying=interrupted":                 {Until: at.Add(2 * time.Minute)},
		"done=completed":                                   {Since: at.Add(time.Minute), Until: at.Add(2 * time.Minute)},
		"":                                                 {Outcomes: []string{"nothing"}},
	} {
		if got := ids(exported(t, dir, o)); got != want {
			t.Errorf("%+v: %q, want %q", o, got, want)
		}
	}
	admin := 0
	for _, r := range exported(t, dir, ExportOptions{Admin: true}) {
		if r["kind"] == "note" && r["event"] == "config_reload" {
			admin++
		}
	}
	if admin != 1 {
		t.Errorf("%d notes", admin)
	}
}

func TestExportFollows(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, Options{SegmentBytes: 3 << 10})
	ctx, cancel := context.WithCancel(t.Context())
	r, w := io.Pipe()
	done := make(chan error)
	go func() {
		done <- Export(ctx, dir, w, ExportOptions{Follow: true})
		w.Close()
	}()
	dec := json.NewDecoder(r)
	for i := range 3 {
		id := "f" + string(rune('0'+i))
		if err := l.Begin(t.Context(), record(id)); err != nil {
			t.Fatal(err)
		}
		if err := l.Finish(t.Context(), record(id)); err != nil {
			t.Fatal(err)
		}
		var m map[string]any
		if err := dec.Decode(&m); err != nil || m["id"] != id {
			t.Fatalf("%v %v", m, err)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	closed(t, l)
}

func TestExportStopsAtABrokenRecord(t *testing.T) {
	v := victim(t, Options{})
	b := bytes.Clone(v.raw)
	b[len(b)-200] ^= 1
	v.put(t, b)
	var out bytes.Buffer
	if err := Export(t.Context(), v.dir, &out, ExportOptions{}); err == nil || !strings.Contains(err.Error(), "record 9") {
		t.Errorf("got %v", err)
	}
	if bytes.Count(out.Bytes(), []byte("\n")) != 3 {
		t.Errorf("%s", out.Bytes())
	}
}
