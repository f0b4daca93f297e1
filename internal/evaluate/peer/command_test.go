package peer

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sallyport.dev/sallyport/internal/evaluate"
	"sallyport.dev/sallyport/internal/gate"
)

func rows(n int, text string) iter.Seq2[int, *evaluate.Row] {
	return func(yield func(int, *evaluate.Row) bool) {
		for i := range n {
			if !yield(i, &evaluate.Row{ID: fmt.Sprint("row", i), Text: []byte(text), Channel: gate.ChannelTool}) {
				return
			}
		}
	}
}

func judge(t *testing.T, command string, rows iter.Seq2[int, *evaluate.Row]) (map[int]evaluate.Answer, *Command, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c := NewCommand("p", command)
	got := map[int]evaluate.Answer{}
	err := c.Judge(ctx, rows, func(i int, a evaluate.Answer) { got[i] = a })
	return got, c, err
}

func TestCommand(t *testing.T) {
	const n = 500
	got, c, err := judge(t, `echo '{"version":"1.2"}'; sed -E 's/^\{"id":"([0-9]+)","text":"<b>&é","channel":"tool"\}$/{"id":"\1","score":0.\1,"flagged":true,"ms":2.5}/'`, rows(n, "<b>&é"))
	if err != nil || len(got) != n || c.Version() != "1.2" {
		t.Fatalf("%d answers, version %q, %v", len(got), c.Version(), err)
	}
	if a := got[25]; a.Score != .25 || !a.HasScore || !a.HasVerdict || a.Verdict != gate.Flag || a.Took != 2500*time.Microsecond {
		t.Errorf("%+v", a)
	}
}

func TestAnswersInAnyOrder(t *testing.T) {
	got, _, err := judge(t, `sed -E 's/^\{"id":"([0-9]+)".*/{"id":\1,"flagged":false}/' | sort -r`, rows(50, "x"))
	if err != nil || len(got) != 50 || !got[7].HasVerdict || got[7].HasScore || got[7].Verdict != gate.Allow {
		t.Errorf("%d answers, %v", len(got), err)
	}
}

func TestCommandFails(t *testing.T) {
	for _, c := range []struct {
		name, command string
		answers       int
		want          string
	}{
		{"not there", `/nowhere/program`, 0, "exit status"},
		{"ends at once", `exit 3`, 0, "exit status 3 after 0 answers"},
		{"ends in the middle", `head -n 2 >/dev/null; echo '{"id":"0","score":1}'; exit 5`, 1, "after 1 answers"},
		{"is killed", `kill -9 $$`, 0, "killed"},
		{"garbage", `cat >/dev/null; echo nonsense; echo '{"id":"0","score":1}'; echo '{"id":"x","score":1}'; echo '[]'; echo '{"id":1}'; echo '{"score":1}'`, 1, "5 of its lines are no answers"},
		{"a verdict we do not know", `cat >/dev/null; echo '{"id":"0","verdict":"perhaps"}'`, 0, "no answers"},
		{"two readings of a line", `cat >/dev/null; echo '{"id":"0","score":1,"score":0}'`, 0, "no answers"},
		{"a line without end", `cat >/dev/null; head -c 3000000 /dev/zero | tr '\0' a; cat /dev/zero`, 0, "longer than"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, _, err := judge(t, c.command, rows(2000, strings.Repeat("text ", 100)))
			if err == nil || !strings.Contains(err.Error(), c.want) || len(got) != c.answers {
				t.Errorf("%d answers, %v", len(got), err)
			}
		})
	}
}

// The rows are read to their end even if the program is not.
func TestAllRowsAreDrawn(t *testing.T) {
	drawn := 0
	_, _, err := judge(t, `exit 1`, func(yield func(int, *evaluate.Row) bool) {
		for i, r := range rows(5000, strings.Repeat("x", 100)) {
			if drawn++; !yield(i, r) {
				return
			}
		}
	})
	if err == nil || drawn != 5000 {
		t.Errorf("%d rows, %v", drawn, err)
	}
}

func TestARowItCannotJudge(t *testing.T) {
	got, _, err := judge(t, `cat >/dev/null; echo '{"id":"0","error":"hostile text"}'; echo '{"id":"1","error":null,"score":1}'`, rows(2, "x"))
	if err != nil || got[0].Err == nil || strings.Contains(got[0].Err.Error(), "hostile") || got[1].Err != nil {
		t.Errorf("%+v %v", got, err)
	}
}

func TestSaid(t *testing.T) {
	c := NewCommand("p", `cat >/dev/null; head -c 9000 /dev/zero | tr '\0' a >&2; echo end >&2; exit 1`)
	var said string
	c.Said = func(s string) { said = s }
	err := c.Judge(t.Context(), rows(1, "x"), func(int, evaluate.Answer) {})
	if err == nil || strings.Contains(err.Error(), "aaa") || len(said) > 4<<10 || !strings.HasSuffix(said, "aend") {
		t.Errorf("%v, %d bytes said", err, len(said))
	}
}

// What the program started ends with it.
func TestCommandIsEnded(t *testing.T) {
	mark := filepath.Join(t.TempDir(), "mark")
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		for {
			if _, err := os.Stat(mark); err == nil {
				cancel()
				return
			}
			if ctx.Err() != nil {
				return
			}
		}
	}()
	begun := time.Now()
	err := NewCommand("p", `sh -c 'sleep 300' & touch `+mark+`; sleep 300`).Judge(ctx, rows(1, "x"), func(int, evaluate.Answer) {})
	if err == nil || time.Since(begun) > 30*time.Second {
		t.Errorf("%v after %v", err, time.Since(begun))
	}
}

func TestFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "scores")
	if err := os.WriteFile(path, []byte(`{"id":"row0","verdict":"sanitize","score":0.5,"findings":[{"x":1}]}
{"id":"row2","flagged":true}
{"id":"row2","flagged":false}
{"line":5,"error":"bad"}

{"id":"stranger","score":1}`), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := NewFile("f", path)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // the same again
		got := map[int]evaluate.Answer{}
		err = f.Judge(t.Context(), rows(3, "x"), func(i int, a evaluate.Answer) { got[i] = a })
		if err == nil || !strings.Contains(err.Error(), "2 of its lines") || len(got) != 2 || got[0].Verdict != gate.Sanitize || got[0].Score != .5 || got[2].Verdict != gate.Flag || got[2].HasScore {
			t.Errorf("%+v %v", got, err)
		}
	}
	twice := 0
	_ = f.Judge(t.Context(), func(yield func(int, *evaluate.Row) bool) {
		_ = yield(0, &evaluate.Row{ID: "row0"}) && yield(1, &evaluate.Row{ID: "row0"})
	}, func(int, evaluate.Answer) { twice++ })
	if twice != 1 {
		t.Errorf("%d rows of one id have a score", twice)
	}
	if _, err := NewFile("f", path+"no"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
}

func FuzzLine(f *testing.F) {
	f.Add([]byte(`{"id":"1","score":0.5,"flagged":true,"ms":1}`))
	f.Add([]byte(`{"id":1,"verdict":"block","error":null}`))
	f.Add([]byte(`{"version":"1"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, ok := parseLine(b)
		if ok && p.id != "" && p.Err == nil && !p.HasScore && !p.HasVerdict {
			t.Errorf("%q is an answer without anything", b)
		}
		if ok && p.id == "" && p.version == "" {
			t.Errorf("%q is nobody's", b)
		}
	})
}
