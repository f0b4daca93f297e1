package evaluate

import (
	"fmt"
	"slices"
)

func (r *run) note(format string, args ...any) {
	r.report.Notes = append(r.report.Notes, fmt.Sprintf(format, args...))
}

// notes says what the figures cannot say.
func (r *run) notes() {
	rep := r.report
	for k, s := range rep.Systems {
		all := s.All
		if k == 0 {
			if all.Attacks == nil {
				r.note("There is no attack among the rows: AUC and recall are undefined.")
			}
			if all.Benign == nil {
				r.note("There is no benign row among the rows: AUC and false-positive rates are undefined.")
			}
		}
		if s.Error != "" {
			r.note("%s did not finish: %s", s.Name, s.Error)
		}
		if s.Failed > 0 {
			r.note("%s gave no answer to %d rows; they are in none of its figures.", s.Name, s.Failed)
		}
		if !s.Scores {
			continue
		}
		for _, p := range s.Points {
			switch {
			case p.Threshold == nil:
				r.note("%s: no benign row to set the threshold for %s on.", s.Name, Percent(p.FPR))
			case p.FPR*float64(p.Above.N) < 1:
				r.note("%s: %s of %d benign rows is less than one row: the threshold lets none pass.", s.Name, Percent(p.FPR), p.Above.N)
			}
		}
		if o := r.systems[k]; oneScore(o, r.c.rows) {
			r.note("%s gives every row the same score: its ranking says nothing.", s.Name)
		}
	}
}

func oneScore(s *outcome, rows []column) bool {
	n, first := 0, 0.0
	for i, a := range s.answers {
		if !rows[i].report || a.flags&hasScore == 0 {
			continue
		}
		if n++; n == 1 {
			first = a.score
		} else if a.score != first {
			return false
		}
	}
	return n > 1
}

// mistakes are the rows on the wrong side of the first operating point.
func (r *run) mistakes() {
	if r.o.Errors <= 0 || r.o.Scorer == nil {
		return
	}
	t := r.report.Systems[0].Points[0].Threshold
	if t == nil {
		return
	}
	for _, m := range r.misses.rows {
		if m.score <= *t {
			r.report.Missed = append(r.report.Missed, m.show)
		}
	}
	for _, m := range r.alarms.rows {
		if m.score > *t {
			r.report.Alarms = append(r.report.Alarms, m.show)
		}
	}
}

// Percent is a rate in words: 0.01 is "1 %".
func Percent(f float64) string { return fmt.Sprintf("%.3g %%", f*100) }

// breakdown finds a dimension of a system.
func (s *System) breakdown(name string) []Group {
	if i := slices.IndexFunc(s.By, func(b Breakdown) bool { return b.Dimension == name }); i >= 0 {
		return s.By[i].Groups
	}
	return nil
}
