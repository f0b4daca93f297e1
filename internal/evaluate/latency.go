package evaluate

import (
	"slices"

	"sallyport.dev/sallyport/internal/evaluate/metric"
)

// latency is of all rows that were answered; a detector that gives no times has seconds by rows.
func (r *run) latency(s *outcome) *Latency {
	var all, perKB []float64
	byLength := make([][]float64, len(lengths)+1)
	n := 0
	for i := range s.answers {
		a, size := &s.answers[i], int(r.c.rows[i].size)
		if a.flags&(hasScore|hasVerdict) == 0 {
			continue
		}
		n++
		if a.took <= 0 {
			continue
		}
		t := ms(a.took)
		all = append(all, t)
		if size >= 1024 {
			perKB = append(perKB, t*1024/float64(size))
		}
		k := lengthRank(lengthBucket(size))
		byLength[k] = append(byLength[k], t)
	}
	if n == 0 {
		return nil
	}
	l := &Latency{Seconds: s.wall.Seconds(), ByLength: []LengthLatency{}}
	if l.Seconds > 0 {
		l.RowsPerSec = float64(n) / l.Seconds
	}
	if len(all) == 0 {
		if l.Seconds <= 0 {
			return nil
		}
		l.Estimated, l.Mean = true, l.Seconds*1000/float64(n)
		return l
	}
	slices.Sort(all)
	l.Mean, _ = metric.Mean(all)
	l.P50, l.P90, l.P99, l.Max = metric.Quantile(all, .5), metric.Quantile(all, .9), metric.Quantile(all, .99), all[len(all)-1]
	if len(perKB) > 0 {
		p := percentiles(perKB)
		l.PerKB = &p
	}
	for k, v := range byLength {
		if len(v) > 0 {
			name := longest
			if k < len(lengths) {
				name = lengths[k].name
			}
			l.ByLength = append(l.ByLength, LengthLatency{name, len(v), percentiles(v)})
		}
	}
	return l
}

func percentiles(v []float64) Percentiles {
	slices.Sort(v)
	return Percentiles{metric.Quantile(v, .5), metric.Quantile(v, .9), metric.Quantile(v, .99)}
}
