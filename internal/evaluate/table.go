package evaluate

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"sallyport.dev/sallyport/internal/evaluate/metric"
)

func cut(s string, n int) string {
	if len(s) > n {
		return s[:n] + "..."
	}
	return s
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func number(f *float64) string {
	if f == nil {
		return "-"
	}
	return fmt.Sprintf("%.4f", *f)
}

func numbers(fs []*float64) string {
	parts := make([]string, len(fs))
	for i, f := range fs {
		parts[i] = number(f)
	}
	return strings.Join(parts, " / ")
}

func bare(r *metric.Rate) string {
	if r == nil {
		return "-"
	}
	return fmt.Sprintf("%.4f", r.Rate)
}

func rate(r *metric.Rate) string {
	if r == nil {
		return "-"
	}
	return fmt.Sprintf("%.4f [%.3f,%.3f]", r.Rate, r.Low, r.High)
}

func count(f *Flagged) string {
	if f == nil {
		return "-"
	}
	return fmt.Sprint(f.N)
}

func names(ns []Named) string {
	parts := make([]string, len(ns))
	for i, n := range ns {
		parts[i] = fmt.Sprintf("%s %.3f (%d/%d)", Plain(n.Source), n.Rate.Rate, n.Rate.K, n.Rate.N)
	}
	return strings.Join(parts, ", ")
}

// text gathers lines.
type text struct{ b strings.Builder }

func (t *text) line(format string, args ...any) { fmt.Fprintf(&t.b, format+"\n", args...) }

// table aligns columns: the first to the left, the others to the right.
type table struct{ rows [][]string }

func newTable(head ...string) *table { return &table{[][]string{head}} }

func (tb *table) add(cells ...string) { tb.rows = append(tb.rows, cells) }

func (t *text) table(tb *table) {
	width := make([]int, len(tb.rows[0]))
	for _, row := range tb.rows {
		for i, c := range row {
			width[i] = max(width[i], utf8.RuneCountInString(c))
		}
	}
	for _, row := range tb.rows {
		var b strings.Builder
		for i, c := range row {
			pad := strings.Repeat(" ", width[i]-utf8.RuneCountInString(c))
			switch {
			case i == 0 || i == len(row)-1 && strings.Contains(tb.rows[0][i], "excerpt"):
				b.WriteString(c + pad)
			default:
				b.WriteString(pad + c)
			}
			b.WriteString("  ")
		}
		t.b.WriteString(strings.TrimRight(b.String(), " ") + "\n")
	}
}
