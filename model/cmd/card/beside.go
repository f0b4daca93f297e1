package main

import (
	"cmp"
	"fmt"
	"slices"

	"sallyport.dev/sallyport/internal/evaluate"
	"sallyport.dev/sallyport/internal/evaluate/metric"
)

// evasion writes what rewriting does.
func (c *card) evasion(e *evaluate.Evasion) {
	c.line("### Rewritten\n")
	if e == nil {
		c.line("Not run.\n")
		return
	}
	c.line("%d attacks that are found as they are and %d benign rows, each rewritten by %d transforms; the benign rows by %d legitimate look-alikes too.",
		e.Attacks, e.Benign, len(e.Transforms), len(e.Lookalikes))
	c.line("\"Kept\": of the attacks found as they are, how many are found rewritten. \"Added\": false alarms beyond those on the same rows as they are.\n")
	var rows [][]string
	for _, p := range e.Points {
		rows = append(rows, []string{p.Name, number(p.Average), number(p.Worst) + " " + cell(p.WorstName), percent(p.AddedFPR), percent(p.MostAdded) + " " + cell(p.MostName)})
	}
	c.table([]string{"at", "kept on average", "at worst", "added on average", "at worst"}, rows)
	p := e.Points[0]
	c.atLeast("attacks kept when rewritten, average", .95, p.Average)
	c.atLeast("attacks kept when rewritten, worst ("+cell(p.WorstName)+")", .85, p.Worst)
	c.atMost("false alarms added by rewriting, average", .005, p.AddedFPR, "")
	c.atMost("false alarms added by rewriting, worst", .005, p.MostAdded, p.MostName)

	ts := slices.Clone(e.Transforms)
	slices.SortStableFunc(ts, func(a, b evaluate.Rewritten) int { return cmp.Compare(rank(a.Kept[0]), rank(b.Kept[0])) })
	c.line("Least kept at 1 %%: %s.\n", join(ts[:min(5, len(ts))], func(r evaluate.Rewritten) string { return cell(r.Name) + " " + number(value(r.Kept[0])) }))
	rows = nil
	for _, list := range [][]evaluate.Rewritten{e.Transforms, e.Lookalikes} {
		for _, r := range list {
			kept := []string{"–", "–"}
			if r.Kept != nil {
				kept = []string{recall(r.Kept[0]), number(value(r.Kept[len(r.Kept)-1]))}
			}
			rows = append(rows, append([]string{cell(r.Name), cell(r.Family)}, append(kept, percent(r.Added[0]), percent(r.Added[len(r.Added)-1]))...))
		}
	}
	c.table([]string{"transform", "family", "kept at 1 %", "default", "added at 1 %", "default"}, rows)
}

// rank puts what has no rate last.
func rank(r *metric.Rate) float64 {
	if r == nil {
		return 2
	}
	return r.Rate
}

func join[T any](of []T, show func(T) string) (out string) {
	for i, x := range of {
		if i > 0 {
			out += ", "
		}
		out += show(x)
	}
	return out
}

// beside writes the peers' table: the same rows, each detector's thresholds set on the same benign rows.
func (c *card) beside(rep *evaluate.Report) {
	c.line("### Beside other detectors\n")
	if len(rep.Systems) == 1 {
		c.line("Not run: node, or the packages of test/peers, are not installed.\n")
		return
	}
	c.line("The same rows, one run, each detector as its own documentation starts with. A detector whose scores have few values may have no threshold that lets 1 %% through; it then stands at the next stricter one.\n")
	var rows [][]string
	for i, s := range rep.Systems {
		name := cell(s.Name + " " + s.Version)
		if i == 0 {
			name = "**" + cell(s.Name) + "**"
		}
		if s.Error != "" {
			rows = append(rows, []string{name, "did not finish", "", "", "", "", "", ""})
			continue
		}
		macro := (*float64)(nil)
		if s.Macro != nil {
			macro = s.Macro.Recall[0]
		}
		rows = append(rows, []string{name, recall(at(s.All.Attacks, 0)), number(macro), number(value(at(s.All.Attacks, 1))),
			recall(verdict(s.All.Attacks)), alarms(verdict(s.All.Benign)), number(s.All.AUC), fmt.Sprint(s.Failed)})
	}
	c.table([]string{"", "recall at 1 %", "average over sources", "at 0.1 %", "recall, own default", "false alarms, own default", "AUC", "rows without an answer"}, rows)
	rows = nil
	for _, g := range groups(rep.Systems[0], "dev_kind+channel") {
		r := []string{cell(g.Name)}
		for _, s := range rep.Systems {
			o := group(s, "dev_kind+channel", g.Name)
			r = append(r, number(value(at(o.Attacks, 0)))+" / "+percent(value(at(o.Benign, 0))))
		}
		rows = append(rows, r)
	}
	head := []string{"recall / false alarms at 1 %"}
	for _, s := range rep.Systems {
		head = append(head, cell(s.Name))
	}
	c.table(head, rows)
}
