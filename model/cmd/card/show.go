package main

import (
	"fmt"
	"strings"

	"sallyport.dev/sallyport/internal/evaluate"
	"sallyport.dev/sallyport/internal/evaluate/metric"
)

func (c *card) line(format string, args ...any) { fmt.Fprintf(&c.b, format+"\n", args...) }

// table writes a Markdown table, the first column to the left, the others to the right. Cells are the
// caller's to escape.
func (c *card) table(head []string, rows [][]string) {
	c.line("| %s |", strings.Join(head, " | "))
	c.line("|---|%s", strings.Repeat("---:|", len(head)-1))
	for _, r := range rows {
		c.line("| %s |", strings.Join(r, " | "))
	}
	c.line("")
}

// cell makes a name from rows safe for a cell of a table.
func cell(s string) string {
	return strings.NewReplacer("|", "\\|", "<", "&lt;", "`", "'", "[", "(", "]", ")").Replace(evaluate.Plain(s))
}

func number(x *float64) string {
	if x == nil {
		return "–"
	}
	return fmt.Sprintf("%.3f", *x)
}

func percent(x *float64) string {
	if x == nil {
		return "–"
	}
	return fmt.Sprintf("%.2f %%", *x*100)
}

// value is a rate's number.
func value(r *metric.Rate) *float64 {
	if r == nil {
		return nil
	}
	return &r.Rate
}

// recall and alarms are a rate with its interval, as a share and in per cent.
func recall(r *metric.Rate) string {
	if r == nil {
		return "–"
	}
	return fmt.Sprintf("%.3f (%.2f–%.2f)", r.Rate, r.Low, r.High)
}

func alarms(r *metric.Rate) string {
	if r == nil {
		return "–"
	}
	return fmt.Sprintf("%.2f %% (%.1f–%.1f)", r.Rate*100, r.Low*100, r.High*100)
}

func at(f *evaluate.Flagged, k int) *metric.Rate {
	if f == nil || k >= len(f.At) {
		return nil
	}
	return f.At[k]
}

func verdict(f *evaluate.Flagged) *metric.Rate {
	if f == nil {
		return nil
	}
	return f.Flag
}

func count(f *evaluate.Flagged) string {
	if f == nil {
		return "–"
	}
	return fmt.Sprint(f.N)
}
