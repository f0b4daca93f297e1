package evaluate

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"sallyport.dev/sallyport/internal/evaluate/metric"
	"sallyport.dev/sallyport/internal/gate"
)

// describe fills the report from what the detectors said.
func (r *run) describe(reported int) {
	rep := r.report
	rep.Files, rep.Rows, rep.FPR, rep.Workers = r.c.tallys, reported, r.o.FPR, r.o.Workers
	rep.Where = Readable(r.o.Where.String())
	for _, f := range rep.Files {
		rep.Bad += f.Bad
	}
	switch {
	case len(r.o.ThresholdFiles) > 0:
		rep.Threshold = fmt.Sprintf("%d other files", len(r.o.ThresholdFiles))
		if len(r.o.ThresholdFiles) == 1 {
			rep.Threshold = Readable(r.o.ThresholdFiles[0])
		}
		if !r.o.ThresholdWhere.Empty() {
			rep.Threshold += " where " + Readable(r.o.ThresholdWhere.String())
		}
	case !r.o.ThresholdWhere.Empty():
		rep.Threshold = "the same files where " + Readable(r.o.ThresholdWhere.String())
	}
	for _, s := range r.systems {
		rep.Systems = append(rep.Systems, r.system(s))
	}
	r.notes()
	r.mistakes()
}

func (r *run) system(s *outcome) *System {
	out := &System{Name: Readable(s.name), Version: Readable(s.version), Failed: s.failed, Scores: s.scores, Verdicts: s.verdicts}
	if s.err != nil {
		out.Error = Readable(s.err.Error())
	}
	limits := make([]*float64, len(r.o.FPR))
	var base []float64
	for i, col := range r.c.rows {
		if col.threshold && s.answers[i].flags&hasScore != 0 {
			base = append(base, s.answers[i].score)
		}
	}
	for k, fpr := range r.o.FPR {
		p := OperatingPoint{FPR: fpr}
		if t, ok := metric.Threshold(base, fpr); ok {
			above := 0
			for _, b := range base {
				if b > t {
					above++
				}
			}
			p.Threshold, p.Above, limits[k] = &t, metric.Wilson(above, len(base)), &t
		}
		out.Points = append(out.Points, p)
	}
	all := newTally(len(limits))
	for i := range r.c.rows {
		if r.c.rows[i].report {
			all.add(r.c.rows[i].class, &s.answers[i], limits)
		}
	}
	out.All = all.group("all", s)
	for i, d := range r.c.more {
		groups := r.groups(d, s, limits)
		if d.name == "source" {
			out.Macro, out.Worst = macro(groups, len(limits)), worstOf(groups, s.scores)
		}
		if i < len(r.c.dims) {
			out.By = append(out.By, Breakdown{Dimension: d.name, Groups: groups})
		}
	}
	out.Pairs = r.pairs(s, limits)
	out.Latency = r.latency(s)
	if s.scores {
		out.ROC = metric.ROC(all.scores[Positive], all.scores[Negative], 200)
		out.Calibration = metric.Calibration(all.scores[Positive], all.scores[Negative], 10)
		out.Histogram = r.histograms(s)
	}
	return out
}

// tally counts a group.
type tally struct {
	rows                  [classes]int
	at                    [classes][]int
	scored, judged        [classes]int
	flag, sanitize, block [classes]int
	scores                [classes][]float64
}

func newTally(points int) *tally {
	t := &tally{}
	for c := range t.at {
		t.at[c] = make([]int, points)
	}
	return t
}

func (t *tally) add(c Class, a *answer, limits []*float64) {
	t.rows[c]++
	if a.flags&hasScore != 0 {
		t.scored[c]++
		t.scores[c] = append(t.scores[c], a.score)
		for k, l := range limits {
			if l != nil && a.score > *l {
				t.at[c][k]++
			}
		}
	}
	if a.flags&hasVerdict != 0 {
		t.judged[c]++
		if a.verdict >= gate.Flag {
			t.flag[c]++
		}
		if a.verdict >= gate.Sanitize {
			t.sanitize[c]++
		}
		if a.verdict >= gate.Block {
			t.block[c]++
		}
	}
}

func (t *tally) group(name string, s *outcome) Group {
	g := Group{Name: Readable(name)}
	if auc, ok := metric.AUC(t.scores[Positive], t.scores[Negative]); ok {
		g.AUC = &auc
	}
	for c, p := range map[Class]**Flagged{Positive: &g.Attacks, Negative: &g.Benign, Neutral: &g.Harmful, Trusted: &g.Trusted} {
		g.Rows += t.rows[c]
		if t.rows[c] == 0 {
			continue
		}
		f := &Flagged{N: t.rows[c]}
		for _, k := range t.at[c] {
			f.At = append(f.At, metric.Wilson(k, t.scored[c]))
		}
		f.Flag, f.Sanitize, f.Block = metric.Wilson(t.flag[c], t.judged[c]), metric.Wilson(t.sanitize[c], t.judged[c]), metric.Wilson(t.block[c], t.judged[c])
		*p = f
	}
	return g
}

func (r *run) groups(d *dimension, s *outcome, limits []*float64) []Group {
	tallies := make([]*tally, len(d.values))
	for i, v := range d.of {
		if !r.c.rows[i].report {
			continue
		}
		if tallies[v] == nil {
			tallies[v] = newTally(len(limits))
		}
		tallies[v].add(r.c.rows[i].class, &s.answers[i], limits)
	}
	groups := []Group{}
	for v, t := range tallies {
		if t != nil {
			groups = append(groups, t.group(d.values[v], s))
		}
	}
	rank := func(g Group) int {
		if d.name == "length" {
			return lengthRank(g.Name)
		}
		return -g.Rows
	}
	slices.SortFunc(groups, func(a, b Group) int { return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(a.Name, b.Name)) })
	return groups
}

func lengthRank(name string) int {
	for i, l := range lengths {
		if l.name == name {
			return i
		}
	}
	return len(lengths)
}

func macro(groups []Group, points int) *Macro {
	m := &Macro{Recall: make([]*float64, points), FPR: make([]*float64, points)}
	for _, g := range groups {
		if g.Attacks != nil {
			m.AttackSources++
		}
		if g.Benign != nil {
			m.BenignSources++
		}
	}
	average := func(of func(Group) *metric.Rate) *float64 {
		var rates []float64
		for _, g := range groups {
			if x := of(g); x != nil {
				rates = append(rates, x.Rate)
			}
		}
		if a, ok := metric.Mean(rates); ok {
			return &a
		}
		return nil
	}
	for k := range points {
		m.Recall[k] = average(func(g Group) *metric.Rate { return g.Attacks.at(k) })
		m.FPR[k] = average(func(g Group) *metric.Rate { return g.Benign.at(k) })
	}
	m.VerdictRecall = average(func(g Group) *metric.Rate { return g.Attacks.verdict() })
	m.VerdictFPR = average(func(g Group) *metric.Rate { return g.Benign.verdict() })
	return m
}

func (f *Flagged) at(k int) *metric.Rate {
	if f == nil || k >= len(f.At) {
		return nil
	}
	return f.At[k]
}

func (f *Flagged) verdict() *metric.Rate {
	if f == nil {
		return nil
	}
	return f.Flag
}

func worstOf(groups []Group, scores bool) Worst {
	rate := func(f *Flagged) *metric.Rate {
		if scores {
			return f.at(0)
		}
		return f.verdict()
	}
	recall, fpr := []Named{}, []Named{}
	for _, g := range groups {
		if x := rate(g.Attacks); x != nil {
			recall = append(recall, Named{g.Name, x})
		}
		if x := rate(g.Benign); x != nil && x.K > 0 {
			fpr = append(fpr, Named{g.Name, x})
		}
	}
	slices.SortStableFunc(recall, func(a, b Named) int { return cmp.Compare(a.Rate.Rate, b.Rate.Rate) })
	slices.SortStableFunc(fpr, func(a, b Named) int { return cmp.Compare(b.Rate.Rate, a.Rate.Rate) })
	return Worst{recall[:min(5, len(recall))], fpr[:min(5, len(fpr))]}
}

func (r *run) pairs(s *outcome, limits []*float64) *Pairs {
	if len(r.c.pairs) == 0 || !s.scores {
		return nil
	}
	type pair struct {
		attacks, benign int
		low, high       float64 // the lowest attack, the highest twin
	}
	all := make([]pair, len(r.c.pairs)+1)
	for i, col := range r.c.rows {
		if col.pair == 0 || !col.report || s.answers[i].flags&hasScore == 0 {
			continue
		}
		p, score := &all[col.pair], s.answers[i].score
		switch col.class {
		case Positive:
			if p.attacks++; p.attacks == 1 || score < p.low {
				p.low = score
			}
		case Negative:
			if p.benign++; p.benign == 1 || score > p.high {
				p.high = score
			}
		}
	}
	n, ordered, right := 0, 0, make([]int, len(limits))
	for _, p := range all {
		if p.attacks == 0 || p.benign == 0 {
			continue
		}
		n++
		if p.low > p.high {
			ordered++
		}
		for k, l := range limits {
			if l != nil && p.low > *l && p.high <= *l {
				right[k]++
			}
		}
	}
	if n == 0 {
		return nil
	}
	out := &Pairs{N: n, Ordered: metric.Wilson(ordered, n)}
	for k, l := range limits {
		if l == nil {
			out.Right = append(out.Right, nil)
			continue
		}
		out.Right = append(out.Right, metric.Wilson(right[k], n))
	}
	return out
}

func (r *run) histograms(s *outcome) map[Label][]int {
	scores := map[Label][]float64{}
	for i, col := range r.c.rows {
		if col.report && col.class != Trusted && s.answers[i].flags&hasScore != 0 {
			l := labels[col.label]
			scores[l] = append(scores[l], s.answers[i].score)
		}
	}
	out := map[Label][]int{}
	for l, v := range scores {
		out[l] = metric.Histogram(v, 20)
	}
	return out
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
