package main

import (
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
)

// row is one line of the table: all repetitions of one target.
type row struct {
	Name    string   `json:"name"`
	RSSRest float64  `json:"rss_at_rest_bytes"`
	Samples []sample `json:"samples"`
}

type report struct {
	Valid       bool     `json:"valid"`
	Machine     string   `json:"machine"`
	Clients     int      `json:"clients"`
	Streams     int      `json:"streams"`
	Repetitions int      `json:"repetitions"`
	Skipped     []string `json:"skipped,omitempty"`
	Rows        []row    `json:"rows"`
	Goals       []goal   `json:"goals,omitempty"`
}

type goal struct {
	Name   string  `json:"name"`
	Limit  float64 `json:"limit"`
	Got    float64 `json:"got"`
	AtMost bool    `json:"at_most"`
	Met    bool    `json:"met"`
}

func (r *row) all(f func(*sample) float64) []float64 {
	vs := make([]float64, len(r.Samples))
	for i := range r.Samples {
		vs[i] = f(&r.Samples[i])
	}
	slices.Sort(vs)
	return vs
}

func (r *row) median(f func(*sample) float64) float64 {
	vs := r.all(f)
	if len(vs) == 0 {
		return 0
	}
	if n := len(vs); n%2 == 0 {
		return (vs[n/2-1] + vs[n/2]) / 2
	}
	return vs[len(vs)/2]
}

// cell is the median, and the range of the repetitions behind it.
func (r *row) cell(unit float64, format string, f func(*sample) float64) string {
	vs := r.all(f)
	if len(vs) == 0 {
		return "-"
	}
	s := fmt.Sprintf(format, r.median(f)/unit)
	if len(vs) > 1 {
		s += fmt.Sprintf(" ("+format+".."+format+")", vs[0]/unit, vs[len(vs)-1]/unit)
	}
	return s
}

func (r *row) failed() (n int64, why string) {
	for _, s := range r.Samples {
		n += s.Failed
		if why == "" {
			why = s.Why
		}
	}
	return n, why
}

var (
	perSecond = func(s *sample) float64 { return s.PerSecond }
	addedP50  = func(s *sample) float64 { return s.AddedP50 }
	addedP99  = func(s *sample) float64 { return s.AddedP99 }
	cpu       = func(s *sample) float64 { return s.CPU }
	addedTTFT = func(s *sample) float64 { return s.AddedTTFT }
	perStream = func(s *sample) float64 { return s.PerStream }
)

func (rep *report) print(w io.Writer) {
	fmt.Fprintf(w, "%s; %d repetitions, median (lowest..highest); added = over direct, calls in turn\n\n", rep.Machine, rep.Repetitions)
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(tw, "\trequests/s c=%d\tadded p50 ms c=1\tadded p99 ms c=1\tCPU µs/request\tadded TTFT p99 ms, %d streams\tRSS KB/stream\tRSS MB at rest\tfailed\n", rep.Clients, rep.Streams)
	for i := range rep.Rows {
		r := &rep.Rows[i]
		failed, _ := r.failed()
		if r.Name == "direct" {
			fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t-\t%s\t-\t-\t%d\n", r.Name, r.cell(1, "%.0f", perSecond),
				"("+r.cell(1000, "%.2f", func(s *sample) float64 { return s.P50 })+")", "("+r.cell(1000, "%.2f", func(s *sample) float64 { return s.P99 })+")", "-", failed)
			continue
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%.0f\t%d\n", r.Name, r.cell(1, "%.0f", perSecond), r.cell(1000, "%.2f", addedP50),
			r.cell(1000, "%.2f", addedP99), r.cell(1, "%.0f", cpu), r.cell(1000, "%.2f", addedTTFT), r.cell(1024, "%.0f", perStream), r.RSSRest/(1<<20), failed)
	}
	tw.Flush()
	fmt.Fprintln(w, "\ndirect: in parentheses its own p50 and p99.")
	for _, s := range rep.Skipped {
		fmt.Fprintf(w, "skipped %s\n", s)
	}
	if len(rep.Goals) > 0 {
		fmt.Fprintln(w)
	}
	for _, g := range rep.Goals {
		word, sign := "MISSED", ">="
		if g.Met {
			word = "met"
		}
		if g.AtMost {
			sign = "<="
		}
		fmt.Fprintf(w, "%-6s  %s: %.2f (goal %s %.2f)\n", word, g.Name, g.Got, sign, g.Limit)
	}
	if !rep.Valid {
		fmt.Fprintln(w, "\nTHIS RUN IS INVALID: requests failed.")
		for i := range rep.Rows {
			if n, why := rep.Rows[i].failed(); n > 0 {
				fmt.Fprintf(w, "  %s: %d, first: %.300q\n", rep.Rows[i].Name, n, why)
			}
		}
	}
}

// judge compares the medians with what the gateway is meant to reach.
func (rep *report) judge() {
	by := map[string]*row{}
	rep.Valid = true
	for i := range rep.Rows {
		by[rep.Rows[i].Name] = &rep.Rows[i]
		if n, _ := rep.Rows[i].failed(); n > 0 {
			rep.Valid = false
		}
	}
	add := func(name string, got, limit float64, atMost bool) {
		rep.Goals = append(rep.Goals, goal{name, limit, got, atMost, got <= limit == atMost || got == limit})
	}
	d, b, p := by[durableRules], by[effortRules], by["reverseproxy"]
	if d != nil {
		if p != nil {
			add("durable, requests/s over the bare ReverseProxy's", d.median(perSecond)/max(1, p.median(perSecond)), 0.6, false)
		}
		add("durable, added p50 in ms", d.median(addedP50)/1000, 0.6, true)
		add("durable, added p99 in ms", d.median(addedP99)/1000, 1.5, true)
		add("durable, added TTFT p99 in ms", d.median(addedTTFT)/1000, 1.5, true)
		add("durable, RSS per stream in KB", d.median(perStream)/1024, 80, true)
		add("durable, RSS at rest in MB", d.RSSRest/(1<<20), 60, true)
	}
	if b != nil {
		add("best effort, added p99 in ms", b.median(addedP99)/1000, 0.6, true)
	}
}
