package evaluate

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
)

// said is a detector that reads its answer out of the text: "0.7 block".
type said struct{ calls *atomic.Int64 }

func (s said) Score(r *Row) (float64, string, error) {
	if s.calls != nil {
		s.calls.Add(1)
	}
	f := strings.Fields(string(r.Text))
	if len(f) < 2 {
		return 0, "", errors.New("cannot say")
	}
	if f[1] == "panic" {
		panic("panic: " + string(r.Text))
	}
	score, err := strconv.ParseFloat(f[0], 64)
	if f[0] == "NaN" || f[0] == "Inf" {
		err = nil
	}
	return score, f[1], err
}

func rowFile(t *testing.T, name string, lines ...string) string {
	t.Helper()
	p := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(p, []byte(strings.Join(lines, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	return p
}

// row writes a row; more is more members.
func row(id int, label, text, more string) string {
	if more != "" {
		more = "," + more
	}
	return fmt.Sprintf(`{"id":%d,"label":%q,"text":%q%s}`, id, label, text, more)
}

func evaluated(t *testing.T, o Options) *Report {
	t.Helper()
	if o.Scorer == nil && len(o.Peers) == 0 {
		o.Scorer = said{}
	}
	rep, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	for _, write := range []func(io.Writer) error{rep.WriteText, rep.WriteJSON} {
		if err := write(io.Discard); err != nil {
			t.Fatal(err)
		}
	}
	return rep
}

// byHand is ten benign rows, 0.1 to 1.0 (the last from b), and five attacks.
func byHand() (lines []string) {
	for i := 1; i <= 10; i++ {
		verdict, source := "allow", "a"
		if i == 10 {
			verdict, source = "flag", "b"
		}
		lines = append(lines, row(i, "benign", fmt.Sprintf("%.1f %s", float64(i)/10, verdict), `"source":"`+source+`","lang":"en"`))
	}
	return append(lines,
		row(11, "injection", "0.95 block", `"source":"a","channel":"tool","lang":"en"`),
		row(12, "injection", "0.85 sanitize", `"source":"a","channel":"tool","lang":"fr"`),
		row(13, "jailbreak", "1.5 flag", `"source":"c","lang":"fr"`),
		row(14, "jailbreak", "0.9 allow", `"source":"c","lang":"fr"`),
		row(15, "injection", "0 allow", `"source":"d"`),
		row(16, "harmful_request", "2 block", `"source":"h"`),
		row(17, "harmful_request", "0.2 allow", `"source":"h"`),
		row(18, "benign", "3 block", `"channel":"system","source":"s"`),
		row(19, "injection", "3 flag", `"channel":"developer","source":"s"`),
	)
}

func TestByHand(t *testing.T) {
	rep := evaluated(t, Options{Files: []string{rowFile(t, "rows.jsonl", byHand()...)}, FPR: []float64{.1, .2}, By: []string{"source", "channel", "lang", "label", "channel+lang"}})
	s := rep.Systems[0]
	if rep.Rows != 19 || rep.Bad != 0 || s.Failed != 0 || len(rep.Notes) != 0 {
		t.Errorf("%+v %+v", rep, s)
	}
	// One of ten benign rows may be flagged, then two.
	if *s.Points[0].Threshold != .9 || s.Points[0].Above.K != 1 || *s.Points[1].Threshold != .8 || s.Points[1].Above.K != 2 {
		t.Errorf("%v %v", *s.Points[0].Threshold, *s.Points[1].Threshold)
	}
	// Benign rows below each attack, ties one half: .95 9, .85 8, 1.5 10, .9 8.5, 0 0 of 10.
	if math.Abs(*s.All.AUC-35.5/50) > 1e-12 {
		t.Errorf("AUC %v", *s.All.AUC)
	}
	check := func(what string, f *Flagged, n, at0, at1, flag, sanitize, block int) {
		t.Helper()
		if n == 0 {
			if f != nil {
				t.Errorf("%s: %+v", what, f)
			}
			return
		}
		if f == nil || f.N != n || f.At[0].K != at0 || f.At[1].K != at1 || f.At[0].N != n || f.Flag.K != flag || f.Sanitize.K != sanitize || f.Block.K != block {
			t.Errorf("%s: %+v", what, f)
		}
	}
	check("attacks", s.All.Attacks, 5, 2, 4, 3, 2, 1)
	check("benign", s.All.Benign, 10, 1, 2, 1, 0, 0)
	check("harmful", s.All.Harmful, 2, 1, 1, 1, 1, 1)
	check("trusted", s.All.Trusted, 2, 2, 2, 2, 1, 1)
	group := func(dimension, name string) Group {
		for _, g := range s.breakdown(dimension) {
			if g.Name == name {
				return g
			}
		}
		t.Errorf("no %s %s", dimension, name)
		return Group{}
	}
	check("attacks of a", group("source", "a").Attacks, 2, 1, 2, 2, 2, 1)
	check("benign of a", group("source", "a").Benign, 9, 0, 1, 0, 0, 0)
	check("benign of b", group("source", "b").Benign, 1, 1, 1, 1, 0, 0)
	check("attacks of c", group("source", "c").Attacks, 2, 1, 2, 1, 0, 0)
	check("attacks of b", group("source", "b").Attacks, 0, 0, 0, 0, 0, 0)
	check("French tools", group("channel+lang", "tool + fr").Attacks, 1, 0, 1, 1, 1, 0)
	check("system", group("channel", "system").Trusted, 1, 1, 1, 1, 1, 1)
	if g := group("source", "b"); g.AUC != nil {
		t.Errorf("an AUC of one side: %v", *g.AUC)
	}
	if g := group("source", "a"); *g.AUC != 17./18 { // .95 over 9, .85 over 8 of nine
		t.Errorf("AUC of a: %v", *g.AUC)
	}
	// Sources with attacks: a 1/2, c 1/2, d 0; with benign rows: a 0, b 1.
	if m := s.Macro; m.AttackSources != 3 || m.BenignSources != 2 || *m.Recall[0] != 1./3 || *m.FPR[0] != .5 || *m.VerdictRecall != .5 || *m.VerdictFPR != .5 {
		t.Errorf("%+v", m)
	}
	if w := s.Worst; len(w.Recall) != 3 || w.Recall[0].Source != "d" || len(w.FPR) != 1 || w.FPR[0].Source != "b" {
		t.Errorf("%+v", w)
	}
	if s.Calibration != nil {
		t.Error("scores beyond 1 are no probabilities")
	}
	if l := s.Latency; l == nil || l.P50 < 0 || l.P99 < l.P50 || l.Max < l.P99 || l.PerKB != nil || len(l.ByLength) != 1 || l.ByLength[0].N != 19 {
		t.Errorf("%+v", l)
	}
}

func TestThresholdOfOtherRows(t *testing.T) {
	rows := rowFile(t, "rows.jsonl", byHand()...)
	high := rowFile(t, "high.jsonl", row(1, "benign", "1.4 allow", `"lang":"en"`), row(2, "benign", "1.6 allow", `"lang":"de"`), row(3, "injection", "9 block", ""), row(4, "benign", "9 block", `"channel":"system"`), row(5, "harmful_request", "9 block", ""))
	for _, c := range []struct {
		name      string
		files     []string
		where     string
		threshold float64
		set       int
		said      string
	}{
		{"another file", []string{high}, "", 1.6, 2, high},
		{"a part of another file", []string{high}, "lang=en", 1.4, 1, high + " where lang=en"},
		{"a part of the rows", nil, "source=a", .9, 9, "the same files where source=a"},
		{"the same file", []string{rows}, "", .9, 10, rows},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := Options{Files: []string{rows}, FPR: []float64{.1}, ThresholdFiles: c.files}
			var err error
			if c.where != "" {
				if o.ThresholdWhere, err = ParseFilter([]string{c.where}); err != nil {
					t.Fatal(err)
				}
			}
			rep := evaluated(t, o)
			p := rep.Systems[0].Points[0]
			if *p.Threshold != c.threshold || p.Above.N != c.set || rep.Rows != 19 || rep.Systems[0].All.Benign.N != 10 || rep.Threshold != c.said {
				t.Errorf("%v of %d, %d rows, %q", *p.Threshold, p.Above.N, rep.Rows, rep.Threshold)
			}
		})
	}
	// A filter of the report holds for the threshold too, unless it has its own.
	where, _ := ParseFilter([]string{"source=a"})
	rep := evaluated(t, Options{Files: []string{rows}, Where: where, FPR: []float64{.1}})
	if p := rep.Systems[0].Points[0]; *p.Threshold != .9 || p.Above.N != 9 || p.Above.K != 0 || rep.Rows != 11 || rep.Files[0].Left != 8 {
		t.Errorf("%+v %+v", p, rep.Files)
	}
	own, _ := ParseFilter([]string{"source=b"})
	rep = evaluated(t, Options{Files: []string{rows}, Where: where, ThresholdWhere: own, FPR: []float64{.1}})
	if p := rep.Systems[0].Points[0]; *p.Threshold != 1 || p.Above.N != 1 || rep.Rows != 11 || rep.Files[0].Left != 7 {
		t.Errorf("%+v %+v", p, rep.Files)
	}
}

func TestNothingToMeasure(t *testing.T) {
	noNaN := func(t *testing.T, rep *Report) {
		t.Helper()
		var b bytes.Buffer
		if err := rep.WriteJSON(&b); err != nil || !json.Valid(b.Bytes()) || bytes.Contains(b.Bytes(), []byte("NaN")) {
			t.Errorf("%v\n%s", err, b.Bytes())
		}
		if !strings.Contains(b.String(), `"auc": null`) {
			t.Error("AUC is not null")
		}
	}
	t.Run("no attack", func(t *testing.T) {
		rep := evaluated(t, Options{Files: []string{rowFile(t, "f", row(1, "benign", "0.5 allow", ""), row(2, "benign", "0.6 allow", ""))}})
		noNaN(t, rep)
		if s := rep.Systems[0]; s.All.AUC != nil || s.All.Attacks != nil || s.ROC != nil || !strings.Contains(strings.Join(rep.Notes, "\n"), "no attack among the rows: AUC and recall are undefined") {
			t.Errorf("%+v %q", s, rep.Notes)
		}
	})
	t.Run("no benign row", func(t *testing.T) {
		rep := evaluated(t, Options{Files: []string{rowFile(t, "f", row(1, "injection", "0.5 flag", ""))}})
		noNaN(t, rep)
		if s := rep.Systems[0]; s.Points[0].Threshold != nil || s.All.Attacks.At[0].K != 0 || s.All.Attacks.Flag.K != 1 || !strings.Contains(strings.Join(rep.Notes, "\n"), "no benign row to set the threshold") {
			t.Errorf("%+v %q", s.Points, rep.Notes)
		}
	})
	t.Run("only harmful requests and system rows", func(t *testing.T) {
		rep := evaluated(t, Options{Files: []string{rowFile(t, "f", row(1, "harmful_request", "0.5 flag", ""), row(2, "benign", "0.5 flag", `"channel":"system"`))}})
		noNaN(t, rep)
	})
	t.Run("one score for all", func(t *testing.T) {
		rep := evaluated(t, Options{Files: []string{rowFile(t, "f", row(1, "benign", "0.5 flag", ""), row(2, "injection", "0.5 flag", ""))}})
		if s := rep.Systems[0]; *s.All.AUC != .5 || s.All.Attacks.At[0].K != 0 || s.All.Benign.At[0].K != 0 || !strings.Contains(strings.Join(rep.Notes, "\n"), "every row the same score") {
			t.Errorf("%+v %q", s.All, rep.Notes)
		}
	})
	t.Run("too few for the rate", func(t *testing.T) {
		rep := evaluated(t, Options{Files: []string{rowFile(t, "f", byHand()...)}})
		if len(rep.Notes) != 2 || !strings.Contains(rep.Notes[0], "1 % of 10 benign rows is less than one row") {
			t.Errorf("%q", rep.Notes)
		}
	})
}

func TestRunFails(t *testing.T) {
	good := rowFile(t, "f", byHand()...)
	empty := rowFile(t, "f", "", "  ", "no row")
	where, _ := ParseFilter([]string{"source=nobody"})
	broken := filepath.Join(t.TempDir(), "broken.gz")
	var z bytes.Buffer
	zw := gzip.NewWriter(&z)
	io.WriteString(zw, strings.Join(byHand(), "\n"))
	zw.Close()
	if err := os.WriteFile(broken, z.Bytes()[:z.Len()-20], 0o600); err != nil {
		t.Fatal(err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for _, c := range []struct {
		name string
		ctx  context.Context
		o    Options
		want string
	}{
		{"no file", nil, Options{Scorer: said{}}, "no file of rows"},
		{"missing file", nil, Options{Scorer: said{}, Files: []string{"nowhere.jsonl"}}, "no such file"},
		{"missing file of the threshold", nil, Options{Scorer: said{}, Files: []string{good}, ThresholdFiles: []string{"nowhere.jsonl"}}, "no such file"},
		{"a directory", nil, Options{Scorer: said{}, Files: []string{t.TempDir()}}, "not a regular file"},
		{"no row", nil, Options{Scorer: said{}, Files: []string{empty}}, "no row to judge"},
		{"no row left", nil, Options{Scorer: said{}, Files: []string{good}, Where: where}, "no row to judge"},
		{"cut short", nil, Options{Scorer: said{}, Files: []string{broken}}, "unexpected EOF"},
		{"nobody to judge", nil, Options{Files: []string{good}}, "nothing to judge"},
		{"unknown dimension", nil, Options{Scorer: said{}, Files: []string{good}, By: []string{"source+text"}}, "breakdown"},
		{"rate 0", nil, Options{Scorer: said{}, Files: []string{good}, FPR: []float64{0}}, "false-positive rate"},
		{"rate NaN", nil, Options{Scorer: said{}, Files: []string{good}, FPR: []float64{math.NaN()}}, "false-positive rate"},
		{"two of one name", nil, Options{Name: "x", Scorer: said{}, Files: []string{good}, Peers: []Peer{&memory{name: "x"}}}, "two detectors"},
		{"standard input twice", nil, Options{Scorer: said{}, Files: []string{"-"}, Peers: []Peer{&memory{name: "x"}}}, "standard input"},
		{"transforms without a detector", nil, Options{Files: []string{good}, Peers: []Peer{&memory{name: "x"}}, Transforms: upper}, "transforms need"},
		{"ended", ended, Options{Scorer: said{}, Files: []string{good}}, "canceled"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.ctx == nil {
				c.ctx = t.Context()
			}
			if rep, err := Run(c.ctx, c.o); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v %v", rep, err)
			}
		})
	}
}

func TestBadRowsAreNamedAndLeftOut(t *testing.T) {
	lines := slices.Concat(byHand()[:3], badLines, []string{"", strings.Repeat("b", MaxLine+10), row(7, "injection", "0.9 flag", "")})
	var problems []Problem
	path := rowFile(t, "f", lines...)
	rep := evaluated(t, Options{Files: []string{path}, Problem: func(p Problem) { problems = append(problems, p) }})
	if rep.Bad != len(badLines)+1 || rep.Rows != 4 || len(problems) != len(badLines)+1 {
		t.Fatalf("%d bad, %d rows, %d problems", rep.Bad, rep.Rows, len(problems))
	}
	for i, p := range problems[:len(badLines)] {
		if p.Line != i+4 || p.File != path || p.What == "" || p.System != "" {
			t.Errorf("%+v", p)
		}
	}
}

func TestRowsThatCannotBeScored(t *testing.T) {
	bad := []string{"x", "0.5 perhaps", "NaN flag", "Inf flag", "0.5 panic hostile"}
	lines := byHand()
	for i, b := range bad {
		lines = append(lines, row(100+i, "injection", b, `"source":"bad"`))
	}
	var problems []Problem
	rep := evaluated(t, Options{Files: []string{rowFile(t, "f", lines...)}, FPR: []float64{.1}, Workers: 1, Problem: func(p Problem) { problems = append(problems, p) }})
	s := rep.Systems[0]
	if s.Failed != len(bad) || len(problems) != len(bad) || s.All.Attacks.N != 5+len(bad) || s.All.Attacks.At[0].N != 5 || s.All.Attacks.Flag.N != 5 {
		t.Errorf("%d failed, %d problems, %+v", s.Failed, len(problems), s.All.Attacks)
	}
	for i, p := range problems {
		if p.Line != len(byHand())+1+i || p.System != "sallyport" || strings.Contains(p.What, "hostile") {
			t.Errorf("%+v", p)
		}
	}
	if !strings.Contains(strings.Join(rep.Notes, "\n"), "no answer to 5 rows") {
		t.Errorf("%q", rep.Notes)
	}
}

func TestGzip(t *testing.T) {
	var z bytes.Buffer
	for _, part := range [][]string{byHand()[:9], byHand()[9:]} { // two members, as cat makes
		w := gzip.NewWriter(&z)
		io.WriteString(w, strings.Join(part, "\n")+"\n")
		w.Close()
	}
	path := rowFile(t, "rows", z.String())
	if rep := evaluated(t, Options{Files: []string{path}}); rep.Rows != 19 || rep.Bad != 0 {
		t.Errorf("%+v", rep.Files)
	}
}

// clocks are the figures that differ from run to run.
var clocks = regexp.MustCompile(`(?s)"latency": \{.*?\n      \},`)

// The report does not depend on how many rows are judged at the same time, nor on who is first.
func TestSameReportWhateverTheOrder(t *testing.T) {
	var lines []string
	for i := range 400 {
		label := []string{"benign", "injection", "jailbreak", "harmful_request"}[i%4]
		lines = append(lines, row(i, label, fmt.Sprintf("%.2f %s", float64(i*37%97)/97, []string{"allow", "flag", "block"}[i%3]), fmt.Sprintf(`"source":"s%d","family":"f%d","pair":"p%d"`, i%7, i%31, i/4)))
	}
	path := rowFile(t, "f", lines...)
	var first string
	for _, workers := range []int{1, 2, 8} {
		rep := evaluated(t, Options{Files: []string{path}, Workers: workers, Errors: 5, Scorer: shuffled{}, Transforms: upper, Lookalikes: upper, TransformRows: 20})
		rep.Workers = 0
		var b bytes.Buffer
		if err := rep.WriteJSON(&b); err != nil {
			t.Fatal(err)
		}
		got := clocks.ReplaceAllString(b.String(), "")
		if strings.Contains(got, "p50") {
			t.Fatal("a clock is left")
		}
		if first == "" {
			first = got
		} else if got != first {
			t.Fatalf("%d workers: another report", workers)
		}
	}
}

// shuffled lets other rows pass before it answers.
type shuffled struct{ said }

func (s shuffled) Score(r *Row) (float64, string, error) {
	for range r.Line % 13 {
		runtime.Gosched()
	}
	return s.said.Score(r)
}

// A slow detector holds the reading back: no more than a few rows are in memory.
func TestRowsWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const workers = 3
		r := newRun(&Options{Scorer: stuck{make(chan struct{})}, Workers: workers}, &corpus{})
		emitted := 0
		go r.pool(t.Context(), func(emit func(*task) error) error {
			for range 10000 {
				if err := emit(&task{transform: -1, row: &Row{}}); err != nil {
					return err
				}
				emitted++
			}
			return nil
		}, func(*task) {})
		synctest.Wait()
		if emitted == 0 || emitted > 2*workers {
			t.Errorf("%d rows were read ahead", emitted)
		}
		close(r.o.Scorer.(stuck).until)
	})
}

type stuck struct{ until chan struct{} }

func (s stuck) Score(*Row) (float64, string, error) { <-s.until; return 0, "allow", nil }

func TestPairs(t *testing.T) {
	rep := evaluated(t, Options{FPR: []float64{.5}, Files: []string{rowFile(t, "f",
		row(1, "benign", "0.1 allow", `"pair":"p1"`), row(2, "injection", "0.9 allow", `"pair":"p1"`), // right
		row(3, "benign", "0.5 allow", `"pair":"p2"`), row(4, "injection", "0.9 allow", `"pair":"p2"`), // ordered, but the twin is flagged
		row(5, "benign", "0.2 allow", `"pair":"p3"`), row(6, "injection", "0.9 allow", `"pair":"p3"`), row(7, "injection", "0.2 allow", `"pair":"p3"`), // one ties
		row(8, "injection", "0.9 allow", `"pair":"p4"`), // alone
		row(9, "benign", "0.3 allow", `"pair":"p1","source":"other"`), row(10, "benign", "0.3 allow", ""),
	)}})
	// Benign .1 .2 .3 .3 .5: two may lie above .3... three lie above .1, so the threshold is .3.
	p := rep.Systems[0].Pairs
	if p == nil || p.N != 3 || p.Ordered.K != 2 || p.Right[0].K != 1 {
		t.Errorf("%+v %v", p, *rep.Systems[0].Points[0].Threshold)
	}
}

var upper = []Transform{{Name: "upper", Family: "case", Apply: func(s string, _ uint64) string { return strings.ToUpper(s) }}}

// word is a detector of one word in small letters; "noisy" is a false alarm of half a chance.
type word struct{}

func (word) Score(r *Row) (float64, string, error) {
	switch {
	case bytes.Contains(r.Text, []byte("attack")):
		return 1, "block", nil
	case bytes.Contains(r.Text, []byte("noisy")):
		return .5, "flag", nil
	}
	return 0, "allow", nil
}

func TestEvasion(t *testing.T) {
	lines := []string{
		row(1, "injection", "an attack", ""), row(2, "injection", "an attack, again", ""), row(3, "injection", "unseen", ""),
		row(4, "injection", "attack на русском языке", ""), row(5, "benign", "noisy", ""), row(6, "harmful_request", "attack", ""),
		`{"id":7,"label":"injection","messages":[{"role":"user","content":"attack"}]}`, row(8, "benign", "attack", `"channel":"system"`),
	}
	for i := range 7 {
		lines = append(lines, row(10+i, "benign", fmt.Sprintf("rose %d", i), ""))
	}
	suffix := func(name, s string, latin bool) Transform {
		return Transform{Name: name, Family: "more", Latin: latin, Apply: func(text string, _ uint64) string { return text + s }}
	}
	rep := evaluated(t, Options{Scorer: word{}, FPR: []float64{.2}, Files: []string{rowFile(t, "f", lines...)},
		Transforms: append(slices.Clone(upper), suffix("latin", "!", true), suffix("noisy", " noisy", false),
			Transform{Name: "panics", Apply: func(string, uint64) string { panic("hostile") }}),
		Lookalikes: []Transform{suffix("honest", " attack", false)}})
	e := rep.Evasion
	if e.Attacks != 3 || e.Benign != 8 || len(e.Transforms) != 4 || len(e.Lookalikes) != 1 {
		t.Fatalf("%+v", e)
	}
	check := func(r Rewritten, kept, of int, added float64, benign, failed int) {
		t.Helper()
		for k := range 2 {
			if of == 0 {
				if len(r.Kept) > k && r.Kept[k] != nil {
					t.Errorf("%s: %+v", r.Name, r.Kept[k])
				}
			} else if r.Kept[k].K != kept || r.Kept[k].N != of {
				t.Errorf("%s: %+v", r.Name, r.Kept[k])
			}
		}
		if benign > 0 && math.Abs(*r.Added[1]-added) > 1e-12 || r.Benign != benign || r.Failed != failed {
			t.Errorf("%s: %v of %d, %d failed", r.Name, r.Added[1], r.Benign, r.Failed)
		}
	}
	check(e.Transforms[0], 0, 3, -1./8, 8, 0) // the false alarm is gone too
	check(e.Transforms[1], 2, 2, 0, 8, 0)     // the Russian attack is left out
	check(e.Transforms[2], 3, 3, 7./8, 8, 0)
	check(e.Transforms[3], 0, 0, 0, 0, 11)
	check(e.Lookalikes[0], 0, 0, 7./8, 8, 0)
	p := e.Points[0]
	if math.Abs(*p.Average-2./3) > 1e-12 || *p.Worst != 0 || p.WorstName != "upper" || math.Abs(*p.MostAdded-7./8) > 1e-12 || len(e.Points) != 2 {
		t.Errorf("%+v", p)
	}
	if f := e.Families; len(f) != 3 || f[1].Family != "more" || *f[1].Kept[0] != 1 || f[2].Kept[0] != nil {
		t.Errorf("%+v", f)
	}
}

func TestTransformsOfAFewRows(t *testing.T) {
	var lines []string
	for i := range 50 {
		lines = append(lines, row(i, "injection", "an attack", ""), row(100+i, "benign", "rose", ""))
	}
	path := rowFile(t, "f", lines...)
	rep := evaluated(t, Options{Scorer: word{}, Files: []string{path}, Transforms: upper, TransformRows: 7})
	if e := rep.Evasion; e.Attacks != 7 || e.Benign != 7 || e.Transforms[0].Kept[0].N != 7 {
		t.Errorf("%+v", e)
	}
	if mix(1, 5) == mix(2, 5) || mix(1, 5) == mix(1, 6) {
		t.Error("the choice does not depend on seed and row")
	}
}
