package evaluate

import (
	"context"
	"errors"
	"iter"
	"strings"
	"testing"
)

// memory answers from a function.
type memory struct {
	name string
	of   func(r *Row) (Answer, bool)
	err  error
	stop int // gives up reading after so many rows; 0: never
}

func (m *memory) Name() string    { return m.name }
func (m *memory) Version() string { return "v\x1b1" }
func (m *memory) Judge(_ context.Context, rows iter.Seq2[int, *Row], answer func(int, Answer)) error {
	n := 0
	for i, r := range rows {
		if a, ok := m.of(r); ok {
			answer(i, a)
		}
		if n++; n == m.stop {
			break
		}
	}
	return m.err
}

func TestPeersBesideTheDetector(t *testing.T) {
	same := &memory{name: "same", of: func(r *Row) (Answer, bool) {
		score, verdict, err := said{}.Score(r)
		a := Answer{Score: score, HasScore: true, HasVerdict: true, Err: err}
		if verdict != "allow" {
			a.Verdict = 1
		}
		return a, true
	}}
	flags := &memory{name: "flags", of: func(r *Row) (Answer, bool) { return Answer{HasVerdict: true, Verdict: 1}, true }}
	half := &memory{name: "half", err: errors.New("ran \x1b out"), of: func(r *Row) (Answer, bool) {
		return Answer{Score: 1, HasScore: true}, r.Line%2 == 0
	}}
	rep := evaluated(t, Options{Scorer: said{}, Files: []string{rowFile(t, "f", byHand()...)}, FPR: []float64{.1}, Peers: []Peer{same, flags, half}})
	if len(rep.Systems) != 4 {
		t.Fatal(len(rep.Systems))
	}
	a, b := rep.Systems[0], rep.Systems[1]
	if *a.All.AUC != *b.All.AUC || a.All.Attacks.At[0].K != b.All.Attacks.At[0].K || a.All.Benign.Flag.K != b.All.Benign.Flag.K || *a.Macro.Recall[0] != *b.Macro.Recall[0] {
		t.Errorf("the same answers give %+v and %+v", a.All, b.All)
	}
	if f := rep.Systems[2]; f.Scores || f.All.AUC != nil || f.All.Attacks.At[0] != nil || f.All.Attacks.Flag.K != 5 || f.All.Benign.Flag.K != 10 || f.ROC != nil || len(f.Worst.FPR) != 2 {
		t.Errorf("a detector without scores: %+v", f.All)
	}
	if h := rep.Systems[3]; h.Failed != 10 || h.Error != `ran \x1b out` || h.Verdicts || h.All.Benign.At[0].N != 5 || h.All.Benign.Flag != nil || h.Version != `v\x1b1` {
		t.Errorf("half: %+v", h)
	}
	var text strings.Builder
	if err := rep.WriteText(&text); err != nil || !strings.Contains(text.String(), "side by side") {
		t.Errorf("%v", err)
	}
}

func TestPeerAlone(t *testing.T) {
	good := &memory{name: "good", of: func(r *Row) (Answer, bool) { return Answer{Score: float64(r.Line), HasScore: true}, true }}
	if rep := evaluated(t, Options{Files: []string{rowFile(t, "f", byHand()...)}, Peers: []Peer{good}}); rep.Systems[0].Name != "good" || rep.Systems[0].All.AUC == nil {
		t.Errorf("%+v", rep.Systems)
	}
	lazy := &memory{name: "lazy", of: good.of, stop: 3, err: errors.New("enough")}
	if _, err := Run(t.Context(), Options{Files: []string{rowFile(t, "f", byHand()...)}, Peers: []Peer{lazy}}); err == nil || !strings.Contains(err.Error(), "enough") {
		t.Errorf("%v", err)
	}
	// After the detector, the same peer is a failure of its own.
	rep := evaluated(t, Options{Scorer: said{}, Files: []string{rowFile(t, "f", byHand()...)}, Peers: []Peer{lazy}})
	if s := rep.Systems[1]; s.Error != "enough" || s.Failed != 16 {
		t.Errorf("%+v", s)
	}
}

func TestPeerAnswersThatAreNone(t *testing.T) {
	nan := 0.0
	odd := &memory{name: "odd", of: func(r *Row) (Answer, bool) {
		switch r.Line {
		case 1:
			return Answer{}, true
		case 2:
			return Answer{HasScore: true, Score: nan / nan}, true
		case 3:
			return Answer{Err: errors.New("no")}, true
		}
		return Answer{HasVerdict: true}, true
	}}
	n := 0
	rep := evaluated(t, Options{Scorer: said{}, Files: []string{rowFile(t, "f", byHand()...)}, Peers: []Peer{odd}, Problem: func(p Problem) {
		if n++; p.System != "odd" || p.Line != n {
			t.Errorf("%+v", p)
		}
	}})
	if s := rep.Systems[1]; s.Failed != 3 || n != 3 || s.Error != "" {
		t.Errorf("%d failed, %d told", s.Failed, n)
	}
}
