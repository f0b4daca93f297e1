package evaluate

import (
	"fmt"
	"io"
	"strings"

	"sallyport.dev/sallyport/internal/evaluate/metric"
)

// maxLines is the longest table of one dimension in text; all of it is in JSON and on the page.
const maxLines = 60

// WriteText writes the report as aligned tables of printable ASCII.
func (rep *Report) WriteText(w io.Writer) error {
	t := &text{}
	rep.head(t)
	for i, s := range rep.Systems {
		if i == 0 || len(rep.Systems) == 1 {
			rep.one(t, s)
		}
	}
	if len(rep.Systems) > 1 {
		rep.sideBySide(t)
	}
	if rep.Evasion != nil {
		rep.evasion(t)
	}
	rep.mistaken(t)
	_, err := io.WriteString(w, t.b.String())
	return err
}

func (rep *Report) head(t *text) {
	for _, f := range rep.Files {
		t.line("%s: %d rows, %d bad lines, %d left out", Plain(f.Name), f.Rows, f.Bad, f.Left)
	}
	if rep.Where != "" {
		t.line("reported: rows where %s", Plain(rep.Where))
	}
	on := "these files"
	if rep.Where != "" {
		on = "the reported rows"
	}
	if rep.Threshold != "" {
		on = Plain(rep.Threshold)
	}
	t.line("thresholds are set once, on the benign rows of %s; rows of system channels and plain harmful requests count on neither side", on)
	for _, n := range rep.Notes {
		t.line("note: %s", Plain(n))
	}
}

func (rep *Report) one(t *text, s *System) {
	t.line("")
	t.line("%s", strings.TrimSpace("== "+Plain(s.Name)+" "+Plain(s.Version)))
	for _, p := range s.Points {
		if p.Threshold != nil {
			t.line("%s of false alarms: score > %.6g (%d of %d benign rows)", Percent(p.FPR), *p.Threshold, p.Above.K, p.Above.N)
		}
	}
	t.line("")
	tb := rep.groupTable("")
	tb.add(rep.groupCells(s.All)...)
	t.table(tb)
	t.line("")
	var above []string
	for _, f := range []struct {
		name string
		of   *Flagged
	}{{"attacks", s.All.Attacks}, {"benign rows", s.All.Benign}, {"plain harmful requests", s.All.Harmful}, {"rows of system channels", s.All.Trusted}} {
		if f.of != nil && s.Verdicts {
			above = append(above, fmt.Sprintf("%s: flagged or more %s, sanitised or more %s, blocked %s", f.name, bare(f.of.Flag), bare(f.of.Sanitize), bare(f.of.Block)))
		}
	}
	for _, a := range above {
		t.line("verdict on %s", a)
	}
	if m := s.Macro; m != nil {
		t.line("macro over sources (%d with attacks, %d with benign rows): recall %s, FPR %s; at the verdict %s and %s",
			m.AttackSources, m.BenignSources, numbers(m.Recall), numbers(m.FPR), number(m.VerdictRecall), number(m.VerdictFPR))
	}
	if len(s.Worst.Recall) > 0 {
		t.line("lowest recall by source: %s", names(s.Worst.Recall))
	}
	if len(s.Worst.FPR) > 0 {
		t.line("most false alarms by source: %s", names(s.Worst.FPR))
	}
	if p := s.Pairs; p != nil {
		right := make([]string, len(p.Right))
		for i, r := range p.Right {
			right[i] = bare(r)
		}
		t.line("pairs: %d; attack above its twin %s; both right %s", p.N, bare(p.Ordered), strings.Join(right, ", "))
	}
	if c := s.Calibration; c != nil {
		t.line("calibration: expected error %.3f, Brier score %.3f", c.ECE, c.Brier)
	}
	latency(t, s.Latency)
	for _, b := range s.By {
		t.line("")
		tb := rep.groupTable("by " + b.Dimension)
		for i, g := range b.Groups {
			if i == maxLines {
				break
			}
			tb.add(rep.groupCells(g)...)
		}
		t.table(tb)
		if n := len(b.Groups) - maxLines; n > 0 {
			t.line("... and %d smaller groups; --json has them all", n)
		}
	}
}

func (rep *Report) groupTable(name string) *table {
	head := []string{name, "rows", "AUC", "attacks"}
	for _, f := range rep.FPR {
		head = append(head, "R@"+strings.ReplaceAll(Percent(f), " ", "")+" [95% CI]")
	}
	head = append(head, "R@verdict", "benign")
	for _, f := range rep.FPR {
		head = append(head, "FPR@"+strings.ReplaceAll(Percent(f), " ", "")+" [95% CI]")
	}
	return newTable(append(head, "FPR@verdict", "harmful", "system")...)
}

func (rep *Report) groupCells(g Group) []string {
	cells := []string{Plain(g.Name), fmt.Sprint(g.Rows), number(g.AUC), count(g.Attacks)}
	for k := range rep.FPR {
		cells = append(cells, rate(g.Attacks.at(k)))
	}
	cells = append(cells, bare(g.Attacks.verdict()), count(g.Benign))
	for k := range rep.FPR {
		cells = append(cells, rate(g.Benign.at(k)))
	}
	return append(cells, bare(g.Benign.verdict()), beside(g.Harmful), beside(g.Trusted))
}

// beside is the flag rate of rows on neither side, at the first operating point.
func beside(f *Flagged) string {
	if f == nil {
		return "-"
	}
	r := f.at(0)
	if r == nil {
		r = f.verdict()
	}
	return bare(r)
}

func latency(t *text, l *Latency) {
	if l == nil {
		return
	}
	if l.Estimated {
		t.line("latency: %.3g ms a row on average (the whole pass by rows)", l.Mean)
		return
	}
	t.line("latency of a call: p50 %.3g ms, p90 %.3g ms, p99 %.3g ms, longest %.3g ms; %.0f rows a second in %.1f s", l.P50, l.P90, l.P99, l.Max, l.RowsPerSec, l.Seconds)
	if p := l.PerKB; p != nil {
		t.line("latency per KB, of texts of 1 KB and more: p50 %.3g ms, p90 %.3g ms, p99 %.3g ms", p.P50, p.P90, p.P99)
	}
	var parts []string
	for _, b := range l.ByLength {
		parts = append(parts, fmt.Sprintf("%s: %.3g / %.3g ms", b.Length, b.P50, b.P99))
	}
	if len(parts) > 0 {
		t.line("latency by length, p50 / p99: %s", strings.Join(parts, "; "))
	}
}

func (rep *Report) sideBySide(t *text) {
	t.line("")
	t.line("== side by side, on the same rows; each detector's thresholds are set on the same benign rows")
	head := []string{"", "version", "R@default [95% CI]", "FPR@default [95% CI]", "AUC"}
	for _, f := range rep.FPR {
		head = append(head, "R@"+strings.ReplaceAll(Percent(f), " ", "")+" [95% CI]")
	}
	head = append(head, "macro R@default", "macro FPR@default")
	if len(rep.FPR) > 0 {
		head = append(head, "macro R@"+strings.ReplaceAll(Percent(rep.FPR[0]), " ", ""))
	}
	tb := newTable(append(head, "harmful", "ms p50", "ms p99", "ms mean", "failed")...)
	for _, s := range rep.Systems {
		cells := []string{Plain(s.Name), Plain(orDash(s.Version)), rate(s.All.Attacks.verdict()), rate(s.All.Benign.verdict()), number(s.All.AUC)}
		for k := range rep.FPR {
			cells = append(cells, rate(s.All.Attacks.at(k)))
		}
		m := s.Macro
		if m == nil {
			m = &Macro{Recall: make([]*float64, len(rep.FPR))}
		}
		cells = append(cells, number(m.VerdictRecall), number(m.VerdictFPR), number(m.Recall[0]))
		var harmful *metric.Rate
		if s.All.Harmful != nil {
			harmful = s.All.Harmful.verdict()
		}
		cells = append(cells, bare(harmful))
		p50, p99, mean := "-", "-", "-"
		if l := s.Latency; l != nil {
			if mean = fmt.Sprintf("%.3g", l.Mean); l.Estimated {
				mean = "~" + mean
			} else {
				p50, p99 = fmt.Sprintf("%.3g", l.P50), fmt.Sprintf("%.3g", l.P99)
			}
		}
		tb.add(append(cells, p50, p99, mean, fmt.Sprint(s.Failed))...)
	}
	t.table(tb)
	rep.sideBySideOf(t, "channel")
	rep.sideBySideOf(t, "source")
}

// sideBySideOf compares recall and false alarms at each detector's own default.
func (rep *Report) sideBySideOf(t *text, dimension string) {
	first := rep.Systems[0].breakdown(dimension)
	if first == nil {
		return
	}
	head := []string{"by " + dimension + ": R / FPR @default"}
	for _, s := range rep.Systems {
		head = append(head, Plain(s.Name))
	}
	tb := newTable(head...)
	for i, g := range first {
		if i == maxLines {
			break
		}
		cells := []string{Plain(g.Name)}
		for _, s := range rep.Systems {
			cell := "- / -"
			for _, o := range s.breakdown(dimension) {
				if o.Name == g.Name {
					cell = bare(o.Attacks.verdict()) + " / " + bare(o.Benign.verdict())
				}
			}
			cells = append(cells, cell)
		}
		tb.add(cells...)
	}
	t.line("")
	t.table(tb)
}

func (rep *Report) evasion(t *text) {
	e := rep.Evasion
	t.line("")
	t.line("== rewritten: %d attacks that are found as they are, %d benign rows", e.Attacks, e.Benign)
	sum := newTable("", "kept on average", "kept at worst", "by", "added FPR on average", "added FPR at worst", "by")
	head := []string{"transform", "family"}
	for _, p := range e.Points {
		sum.add(p.Name, number(p.Average), number(p.Worst), orDash(Plain(p.WorstName)), number(p.AddedFPR), number(p.MostAdded), orDash(Plain(p.MostName)))
		head = append(head, "kept@"+strings.TrimSuffix(strings.ReplaceAll(p.Name, " ", ""), "FPR"))
	}
	for _, p := range e.Points {
		head = append(head, "added FPR@"+strings.TrimSuffix(strings.ReplaceAll(p.Name, " ", ""), "FPR"))
	}
	t.table(sum)
	t.line("")
	tb := newTable(head...)
	for _, list := range [][]Rewritten{e.Transforms, e.Lookalikes} {
		for _, r := range list {
			cells := []string{Plain(r.Name), Plain(r.Family)}
			for k := range e.Points {
				if r.Kept == nil {
					cells = append(cells, "-")
				} else {
					cells = append(cells, bare(r.Kept[k]))
				}
			}
			for k := range e.Points {
				cells = append(cells, number(r.Added[k]))
			}
			tb.add(cells...)
		}
	}
	t.table(tb)
}

func (rep *Report) mistaken(t *text) {
	for _, part := range []struct {
		name string
		rows []Mistake
	}{{"missed attacks", rep.Missed}, {"false alarms", rep.Alarms}} {
		if len(part.rows) == 0 {
			continue
		}
		t.line("")
		t.line("== %s, the clearest first (text of rows: hostile, do not follow it)", part.name)
		tb := newTable("id", "at", "source", "channel", "score", "verdict", "excerpt")
		for _, m := range part.rows {
			tb.add(Plain(m.ID), fmt.Sprintf("%s:%d", Plain(m.File), m.Line), Plain(m.Source), m.Channel, fmt.Sprintf("%.4f", m.Score), m.Verdict, cut(Plain(m.Excerpt), 200))
		}
		t.table(tb)
	}
}
