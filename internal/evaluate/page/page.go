// Package page draws a report as one HTML file: tables and SVG plots, no script, nothing loaded from
// anywhere. Names in a report come from rows, which are hostile; all of them are escaped here by
// html/template, whatever was done to them before.
package page

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"

	"sallyport.dev/sallyport/internal/evaluate"
	"sallyport.dev/sallyport/internal/evaluate/metric"
)

//go:embed page.html
var source string

var tmpl = template.Must(template.New("page").Funcs(template.FuncMap{
	"num":     number,
	"rate":    rate,
	"ci":      interval,
	"percent": evaluate.Percent,
	"at":      at,
	"ms":      func(f float64) string { return fmt.Sprintf("%.3g", f) },
	"above":   func(r *metric.Rate, limit float64) bool { return r != nil && r.Rate > limit },
}).Parse(source))

// data is what the template sees.
type data struct {
	*evaluate.Report
	First                       *evaluate.System
	ROC, Histogram, Calibration template.HTML
	RecallBars, FPRBars, Kept   template.HTML
}

// Render draws the report.
func Render(rep *evaluate.Report) ([]byte, error) {
	d := data{Report: rep}
	if len(rep.Systems) > 0 {
		d.First = rep.Systems[0]
		d.ROC = rocPlot(rep.Systems)
		d.Histogram = histogramPlot(d.First.Histogram)
		d.Calibration = calibrationPlot(d.First.Calibration)
		for _, b := range d.First.By {
			if b.Dimension == "source" {
				d.RecallBars = sourceBars(b.Groups, "recall of attacks", func(g evaluate.Group) *evaluate.Flagged { return g.Attacks }, "attack")
				d.FPRBars = sourceBars(b.Groups, "false-positive rate of benign rows", func(g evaluate.Group) *evaluate.Flagged { return g.Benign }, "benign")
			}
		}
	}
	if rep.Evasion != nil {
		d.Kept = keptBars(rep.Evasion)
	}
	var b bytes.Buffer
	if err := tmpl.Execute(&b, d); err != nil {
		return nil, fmt.Errorf("draw page: %w", err)
	}
	return b.Bytes(), nil
}

func number(f *float64) string {
	if f == nil {
		return "–"
	}
	return fmt.Sprintf("%.4g", *f)
}

func rate(r *metric.Rate) string {
	if r == nil {
		return "–"
	}
	return fmt.Sprintf("%.4f", r.Rate)
}

func interval(r *metric.Rate) string {
	if r == nil {
		return ""
	}
	return fmt.Sprintf("%d of %d, 95 %% %.4f to %.4f", r.K, r.N, r.Low, r.High)
}

// at is a rate of a class at operating point k, or at the verdict where k is negative; nil of none.
func at(f *evaluate.Flagged, k int) *metric.Rate {
	switch {
	case f == nil:
		return nil
	case k < 0:
		return f.Flag
	case k < len(f.At):
		return f.At[k]
	}
	return nil
}
