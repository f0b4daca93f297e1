package evaluate

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"sallyport.dev/sallyport/internal/evaluate/metric"
	"sallyport.dev/sallyport/internal/gate"
)

// transform is number t: first the transforms, then the look-alikes.
func (r *run) transform(t int) (tr Transform, lookalike bool) {
	if n := len(r.o.Transforms); t >= n {
		return r.o.Lookalikes[t-n], true
	}
	return r.o.Transforms[t], false
}

// rewritten counts what one transform did, per operating point and, last, for the verdict.
type rewritten struct {
	found, kept  []int // attacks found as they are, and of those found rewritten
	clean, alarm []int // benign rows flagged as they are, and rewritten
	benign       int
	failed       int
}

// evasion rewrites a sample of the attacks that are found as they are, and of the benign rows, and
// judges them again. Rows that are hardly written in ASCII letters are left out where a transform
// carries nothing else; conversations are left out.
func (r *run) evasion(ctx context.Context) error {
	s, points := r.systems[0], r.report.Systems[0].Points
	flagged := func(score float64, verdict gate.Action) []bool {
		f := make([]bool, 0, len(points)+1)
		for _, p := range points {
			f = append(f, p.Threshold != nil && score > *p.Threshold)
		}
		return append(f, verdict >= gate.Flag)
	}
	as := make(map[int][]bool) // chosen rows, and how they are flagged as they are
	attacks := r.sample(func(i int) bool {
		a := &s.answers[i]
		return r.c.rows[i].class == Positive && slices.Contains(flagged(a.score, a.verdict), true)
	})
	benign := r.sample(func(i int) bool { return r.c.rows[i].class == Negative })
	for _, i := range slices.Concat(attacks, benign) {
		as[i] = flagged(s.answers[i].score, s.answers[i].verdict)
	}
	counts := make([]rewritten, len(r.o.Transforms)+len(r.o.Lookalikes))
	for t := range counts {
		n := len(points) + 1
		counts[t] = rewritten{found: make([]int, n), kept: make([]int, n), clean: make([]int, n), alarm: make([]int, n)}
	}
	total := len(attacks)*len(r.o.Transforms) + len(benign)*len(counts)
	tell := r.progress("transforms")
	defer tell.end()
	err := r.pool(ctx, func(emit func(*task) error) error {
		return r.c.each(ctx, func(row *Row) error {
			if as[row.index] == nil {
				return nil
			}
			for t := range counts {
				tr, lookalike := r.transform(t)
				if lookalike && row.Class() == Positive || tr.Latin && !r.c.rows[row.index].latin {
					continue
				}
				if err := emit(&task{i: row.index, transform: t, row: row}); err != nil {
					return err
				}
			}
			return nil
		})
	}, func(t *task) {
		tell.step(1, float64(tell.p.Rows)/float64(max(total, 1)))
		c := &counts[t.transform]
		if t.done.Err != nil {
			c.failed++
			return
		}
		before, now := as[t.i], flagged(t.done.Score, t.done.Verdict)
		attack := r.c.rows[t.i].class == Positive
		if !attack {
			c.benign++
		}
		for k := range now {
			switch {
			case attack && before[k]:
				c.found[k]++
				c.kept[k] += one(now[k])
			case !attack:
				c.clean[k] += one(before[k])
				c.alarm[k] += one(now[k])
			}
		}
	})
	if err != nil {
		return err
	}
	r.report.Evasion = r.summarise(counts, len(attacks), len(benign))
	return nil
}

func one(b bool) int {
	if b {
		return 1
	}
	return 0
}

// sample chooses up to TransformRows of the reported texts, the same ones for the same seed.
func (r *run) sample(ok func(i int) bool) []int {
	var all []int
	for i, col := range r.c.rows {
		if col.report && col.verbatim && r.systems[0].answers[i].flags&hasScore != 0 && ok(i) {
			all = append(all, i)
		}
	}
	if r.o.TransformRows <= 0 || len(all) <= r.o.TransformRows {
		return all
	}
	slices.SortFunc(all, func(a, b int) int {
		return cmp.Or(cmp.Compare(mix(r.o.Seed, a), mix(r.o.Seed, b)), cmp.Compare(a, b))
	})
	return all[:r.o.TransformRows]
}

// mix is SplitMix64 of a row's number.
func mix(seed uint64, i int) uint64 {
	x := seed + uint64(i+1)*0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

func (r *run) summarise(counts []rewritten, attacks, benign int) *Evasion {
	e := &Evasion{Attacks: attacks, Benign: benign, Transforms: []Rewritten{}}
	for t := range counts {
		c := &counts[t]
		tr, lookalike := r.transform(t)
		out := Rewritten{Name: Readable(tr.Name), Family: Readable(tr.Family), Benign: c.benign, Failed: c.failed}
		for k := range c.found {
			if !lookalike {
				out.Kept = append(out.Kept, metric.Wilson(c.kept[k], c.found[k]))
			}
			var added *float64
			if c.benign > 0 {
				a := float64(c.alarm[k]-c.clean[k]) / float64(c.benign)
				added = &a
			}
			out.Added = append(out.Added, added)
		}
		if lookalike {
			e.Lookalikes = append(e.Lookalikes, out)
		} else {
			e.Transforms = append(e.Transforms, out)
		}
	}
	for k := range len(r.o.FPR) + 1 {
		p := EvasionPoint{Name: "verdict"}
		if k < len(r.o.FPR) {
			p.Name = fmt.Sprintf("%s FPR", Percent(r.o.FPR[k]))
		}
		var kept, added []float64
		for _, t := range e.Transforms {
			if x := t.Kept[k]; x != nil {
				kept = append(kept, x.Rate)
				if p.Worst == nil || x.Rate < *p.Worst {
					p.Worst, p.WorstName = &x.Rate, t.Name
				}
			}
		}
		for _, t := range slices.Concat(e.Transforms, e.Lookalikes) {
			if x := t.Added[k]; x != nil {
				added = append(added, *x)
				if p.MostAdded == nil || *x > *p.MostAdded {
					p.MostAdded, p.MostName = x, t.Name
				}
			}
		}
		if m, ok := metric.Mean(kept); ok {
			p.Average = &m
		}
		if m, ok := metric.Mean(added); ok {
			p.AddedFPR = &m
		}
		e.Points = append(e.Points, p)
	}
	e.Families = families(e.Transforms, len(r.o.FPR)+1)
	return e
}

// families averages the transforms of each family, in the order in which families appear.
func families(ts []Rewritten, points int) (out []FamilyKept) {
	for _, t := range ts {
		if !slices.ContainsFunc(out, func(f FamilyKept) bool { return f.Family == t.Family }) {
			out = append(out, FamilyKept{Family: t.Family, Kept: make([]*float64, points)})
		}
	}
	for i := range out {
		for k := range points {
			var kept []float64
			for _, t := range ts {
				if t.Family == out[i].Family && t.Kept[k] != nil {
					kept = append(kept, t.Kept[k].Rate)
				}
			}
			if m, ok := metric.Mean(kept); ok {
				out[i].Kept[k] = &m
			}
		}
	}
	return out
}
