package evaluate

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestProgressIsForTerminals(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "f"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	l := NewLine(f)
	l.Progress(Progress{Step: "x", Rows: 1})
	l.Clear()
	if st, _ := f.Stat(); st.Size() != 0 {
		t.Errorf("%d bytes of progress in a file", st.Size())
	}
	l.Print("a problem")
	if st, _ := f.Stat(); st.Size() != int64(len("a problem\n")) {
		t.Error("the problem is not there")
	}
}

func TestProgressLine(t *testing.T) {
	if s := status(Progress{Step: "x\x1b", Rows: 300, Done: .25, Elapsed: 10 * time.Second}); s != `x\x1b: 300 rows, 30 a second, 25 %, 30s left` {
		t.Errorf("%q", s)
	}
	if s := status(Progress{Step: "x", Rows: 0}); s != "x: 0 rows" {
		t.Errorf("%q", s)
	}
	var b bytes.Buffer
	l := &Line{w: &b, live: true}
	l.Progress(Progress{Step: strings.Repeat("long", 50), Rows: 5})
	l.Progress(Progress{Step: "x", Rows: 5})
	l.Print("problem")
	l.Clear()
	if got := b.String(); !strings.Contains(got, "\rx: 5 rows"+strings.Repeat(" ", 78-9)) || !strings.HasSuffix(got, "\rproblem\n") {
		t.Errorf("%q", got)
	}
}

func TestProgressOfARun(t *testing.T) {
	var steps []Progress
	evaluated(t, Options{Files: []string{rowFile(t, "f", byHand()...)}, Progress: func(p Progress) { steps = append(steps, p) }})
	if n := len(steps); n == 0 || steps[n-1].Rows != 19 || steps[n-1].Done != 1 || steps[n-1].Step != "sallyport" {
		t.Errorf("%+v", steps)
	}
}
