package page

import (
	"cmp"
	"fmt"
	"html/template"
	"math"
	"slices"

	"sallyport.dev/sallyport/internal/evaluate"
	"sallyport.dev/sallyport/internal/evaluate/metric"
)

// colours of the page.
const colours = 6

// lowest rate of false alarms on the logarithmic axis.
const lowest = 1e-4

// logX places a rate of false alarms; what is below the axis stands at its left end.
func logX(fpr float64) float64 {
	if fpr <= lowest {
		return 0
	}
	return 1 - math.Log10(fpr)/math.Log10(lowest)
}

// rocPlot is empty when no detector has a curve.
func rocPlot(systems []*evaluate.System) template.HTML {
	f := newFrame("ROC")
	f.axes([]float64{0, .25, .5, .75, 1}, fifths, func(v float64) string {
		return []string{"0.0001", "0.001", "0.01", "0.1", "1"}[int(v*4)]
	}, share, "false-positive rate")
	var chance [][2]float64
	for v := 0.0; v <= 1; v += .02 {
		chance = append(chance, [2]float64{f.x(v), f.y(math.Pow(lowest, 1-v))})
	}
	f.path("axis", chance)
	drawn := 0
	for i, s := range systems {
		if len(s.ROC) == 0 {
			continue
		}
		class := fmt.Sprintf("s%d curve", i%colours)
		var points [][2]float64
		for j, p := range s.ROC {
			if j > 0 { // a step: recall is that of the last threshold until the next
				points = append(points, [2]float64{f.x(logX(p.FPR)), f.y(s.ROC[j-1].Recall)})
			}
			points = append(points, [2]float64{f.x(logX(p.FPR)), f.y(p.Recall)})
		}
		f.path(class, points)
		y := f.top + 8 + 15*float64(drawn)
		f.line(class, f.left+8, y, f.left+26, y)
		name := clip(s.Name, 28)
		if s.All.AUC != nil {
			name += fmt.Sprintf("  AUC %.3f", *s.All.AUC)
		}
		f.text("", "start", f.left+31, y+4, name)
		drawn++
	}
	if drawn == 0 {
		return ""
	}
	return f.done()
}

var histogramOrder = []evaluate.Label{evaluate.Benign, evaluate.Injection, evaluate.Jailbreak, evaluate.HarmfulRequest}

// histogramPlot draws one row of bars for each label, on a square-root scale: the many benign rows
// near 0 would hide all others.
func histogramPlot(h map[evaluate.Label][]int) template.HTML {
	var kept []evaluate.Label
	for _, l := range histogramOrder {
		if len(h[l]) > 0 {
			kept = append(kept, l)
		}
	}
	if len(kept) == 0 {
		return ""
	}
	f := newFrame("Scores by label (square root of the share)")
	f.axes(fifths, nil, share, share, "score")
	band := (f.bottom - f.top) / float64(len(kept))
	for i, l := range kept {
		total := 0
		for _, n := range h[l] {
			total += n
		}
		base := f.top + band*float64(i+1)
		f.line("grid", f.left, base, f.right, base)
		for b, n := range h[l] {
			if n == 0 {
				continue
			}
			tall := math.Sqrt(float64(n)/float64(max(total, 1))) * (band - 18)
			w := (f.right - f.left) / float64(len(h[l]))
			f.rect(fmt.Sprintf("s%d bar", i), f.left+w*float64(b)+.5, base-tall, w-1, tall, fmt.Sprintf("%s: %d of %d rows", l, n, total))
		}
		f.text("", "start", f.left+6, base-band+14, fmt.Sprintf("%s (%d)", l, total))
	}
	return f.done()
}

func calibrationPlot(c *metric.Calibrated) template.HTML {
	if c == nil {
		return ""
	}
	f := newFrame("Calibration")
	f.axes(fifths, fifths, share, share, "score")
	f.line("axis", f.x(0), f.y(0), f.x(1), f.y(1))
	for _, b := range c.Bins {
		if b.Attacks == nil {
			continue
		}
		x := f.x(b.Mean)
		f.line("ci", x, f.y(b.Attacks.Low), x, f.y(b.Attacks.High))
		f.circle("s0", x, f.y(b.Attacks.Rate), 4, interval(b.Attacks))
	}
	return f.done()
}

// bar is one line of a bar chart.
type bar struct {
	name string
	rate *metric.Rate
}

// bars draws shares with their intervals, one line each.
func bars(title, class string, list []bar) template.HTML {
	if len(list) == 0 {
		return ""
	}
	const line, left, width = 17, 220, 560
	c := newCanvas(left+width+90, float64(line*len(list)+46), title)
	c.text("", "start", left, 16, title)
	bottom := float64(26 + line*len(list))
	most := 0.0
	for _, b := range list {
		most = max(most, b.rate.Rate)
	}
	end := 1.0 // of the axis
	for _, e := range []float64{.05, .1, .25, .5} {
		if most <= e {
			end = e
			break
		}
	}
	place := func(v float64) float64 { return min(v/end, 1) * width }
	for _, v := range fifths {
		x := left + v*width
		c.line("grid", x, 24, x, bottom)
		c.text("soft", "middle", x, bottom+14, fmt.Sprintf("%.3g", v*end))
	}
	for i, b := range list {
		y := 26 + float64(line*i)
		c.text("", "end", left-6, y+12, clip(b.name, 34))
		c.rect(class+" bar", left, y+2, place(b.rate.Rate), line-5, b.name+": "+interval(b.rate))
		mid := y + float64(line)/2 - .5
		c.line("ci", left+place(b.rate.Low), mid, left+place(b.rate.High), mid)
		c.text("soft", "start", left+width+6, y+12, fmt.Sprintf("%.3f of %d", b.rate.Rate, b.rate.N))
	}
	return c.done()
}

// sourceBars draws a class of rows by source, at the first operating point, the worst first.
func sourceBars(groups []evaluate.Group, title string, of func(evaluate.Group) *evaluate.Flagged, kind string) template.HTML {
	var list []bar
	for _, g := range groups {
		r := at(of(g), 0)
		if r == nil {
			r = at(of(g), -1)
		}
		if r != nil {
			list = append(list, bar{g.Name, r})
		}
	}
	sign, class := 1, "s0"
	if kind == "benign" {
		sign, class = -1, "s1"
	}
	slices.SortStableFunc(list, func(a, b bar) int { return sign * cmp.Compare(a.rate.Rate, b.rate.Rate) })
	return bars("By source: "+title, class, list[:min(len(list), 100)])
}

func keptBars(e *evaluate.Evasion) template.HTML {
	var list []bar
	for _, t := range e.Transforms {
		if len(t.Kept) > 0 && t.Kept[0] != nil {
			list = append(list, bar{t.Name, t.Kept[0]})
		}
	}
	slices.SortStableFunc(list, func(a, b bar) int { return cmp.Compare(a.rate.Rate, b.rate.Rate) })
	return bars("By transform: attacks still found", "s2", list)
}
