package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"

	"sallyport.dev/sallyport/internal/config"
	"sallyport.dev/sallyport/internal/evaluate"
	"sallyport.dev/sallyport/internal/evaluate/metric"
	"sallyport.dev/sallyport/internal/evaluate/peer"
	"sallyport.dev/sallyport/internal/server"
)

// peers are the detectors that test/peers/driver.js knows.
var peers = []string{"llm_guardrail", "aidefence", "vard", "llm-guard"}

// talk names the sources of benign rows that speak of attacks, or look like one, and the most false
// alarms that are asked on those that have a bound of their own.
var talk = []struct {
	source, what string
	most         float64
}{
	{"xsafety_security_questions", "questions about attacks on prompts, ten languages", .02},
	{"phtest_orbench", "benign but edgy: prompts that over-careful models refuse", .03},
	{"awesome_prompts", "personas and role play", 0},
	{"gpteacher_roleplay", "role-play instructions", 0},
	{"gpts_prompts", "instructions of custom assistants", 0},
	{"neuralchemy", "benign rows of an injection set", 0},
	{"toolalpaca", "descriptions of interfaces", 0},
}

// fewRows is how many benign rows a language must have to be held to English.
const fewRows = 30

// judge measures the development rows: the built-in detector, rewritten rows, and the peers.
func (c *card) judge(ctx context.Context) error {
	cfg := config.Default()
	cfg.DataDir = filepath.Join(c.work, "none") // no pack installed here may stand in for the built-in one
	o := evaluate.Options{Files: []string{c.dev()}, By: []string{"dev_kind", "channel", "dev_kind+channel", "source", "lang", "length", "label"},
		FPR: []float64{.01, .001}, TransformRows: c.rows, Seed: 1}
	var err error
	if o.Transforms, o.Lookalikes, err = server.Transforms("all"); err != nil {
		return err
	}
	_, nodeErr := exec.LookPath("node")
	_, modErr := os.Stat("test/peers/node_modules")
	if nodeErr == nil && modErr == nil {
		for _, p := range peers {
			o.Peers = append(o.Peers, peer.NewCommand(p, "node test/peers/driver.js "+p))
		}
	}
	rep, err := server.Evaluate(ctx, cfg, o)
	if err != nil {
		return err
	}
	s := rep.Systems[0]
	if s.Failed > 0 || rep.Bad > 0 {
		return fmt.Errorf("%d rows could not be judged, %d not read", s.Failed, rep.Bad)
	}
	c.line("%d rows; the split `source` holds sources that are not in the training rows, `random` holds others of the same sources.", rep.Rows)
	c.line("Plain harmful requests and rows of the system channel count on neither side.")
	c.line("")
	rows := [][]string{groupCells("all", s.All)}
	for _, d := range []string{"dev_kind", "channel", "dev_kind+channel", "label", "length"} {
		for _, g := range groups(s, d) {
			if g.Attacks == nil && g.Benign == nil {
				continue
			}
			rows = append(rows, groupCells(d+": "+g.Name, g))
		}
	}
	c.table(groupHead, rows)
	if m := s.Macro; m != nil {
		c.line("Averages over sources: recall at 1 %% %s, at 0.1 %% %s, default %s; false alarms at 1 %% %s, default %s.",
			number(m.Recall[0]), number(m.Recall[1]), number(m.VerdictRecall), percent(m.FPR[0]), percent(m.VerdictFPR))
	}
	c.line("Lowest recall at 1 %%: %s.", named(s.Worst.Recall))
	c.line("Most false alarms at 1 %%: %s.\n", named(s.Worst.FPR))
	c.splits(s)
	c.sourcesOf(s)
	c.edgy(s)
	c.languages(s)
	c.evasion(rep.Evasion)
	c.beside(rep)
	return nil
}

var groupHead = []string{"", "attacks", "recall at 1 %", "at 0.1 %", "default", "benign", "false alarms at 1 %", "at 0.1 %", "default", "AUC"}

func groupCells(name string, g evaluate.Group) []string {
	return []string{cell(name), count(g.Attacks), recall(at(g.Attacks, 0)), number(value(at(g.Attacks, 1))), number(value(verdict(g.Attacks))),
		count(g.Benign), alarms(at(g.Benign, 0)), percent(value(at(g.Benign, 1))), percent(value(verdict(g.Benign))), number(g.AUC)}
}

func groups(s *evaluate.System, dimension string) []evaluate.Group {
	for _, b := range s.By {
		if b.Dimension == dimension {
			return b.Groups
		}
	}
	return nil
}

func group(s *evaluate.System, dimension, name string) (g evaluate.Group) {
	for _, g := range groups(s, dimension) {
		if g.Name == name {
			return g
		}
	}
	return g
}

func named(ns []evaluate.Named) (out string) {
	for i, n := range ns {
		if i > 0 {
			out += ", "
		}
		out += fmt.Sprintf("%s %.3f (%d of %d)", cell(n.Source), n.Rate.Rate, n.Rate.K, n.Rate.N)
	}
	return out
}

// splits holds the splits and channels to what is asked of them.
func (c *card) splits(s *evaluate.System) {
	for _, a := range []struct {
		what, dimension, name string
		want                  float64
	}{
		{"recall at 1 %, sources never trained on", "dev_kind", "source", .80},
		{"recall at 1 %, random split", "dev_kind", "random", .97},
		{"recall at 1 %, document channel", "channel", "document", .85},
		{"recall at 1 %, tool channel", "channel", "tool", .95},
	} {
		c.atLeast(a.what, a.want, value(at(group(s, a.dimension, a.name).Attacks, 0)))
	}
	var most *metric.Rate
	var who string
	for _, g := range groups(s, "source") {
		if r := at(g.Benign, 0); r != nil && (most == nil || r.Rate > most.Rate) {
			most, who = r, g.Name
		}
	}
	c.atMost("false alarms at 1 %, worst benign source", .03, value(most), who)
}

func (c *card) sourcesOf(s *evaluate.System) {
	c.line("### By source\n")
	var rows [][]string
	gs := slices.Clone(groups(s, "source"))
	slices.SortFunc(gs, func(a, b evaluate.Group) int { return cmp.Compare(a.Name, b.Name) })
	for _, g := range gs {
		if g.Attacks != nil || g.Benign != nil {
			rows = append(rows, groupCells(g.Name, g))
		}
	}
	c.table(groupHead, rows)
}

func (c *card) languages(s *evaluate.System) {
	c.line("### By language\n\nHeld to English are languages with %d benign rows or more; `code` and `und` are none.\n", fewRows)
	english := value(at(group(s, "lang", "en").Benign, 0))
	var rows [][]string
	var most *float64
	var who string
	for _, g := range groups(s, "lang") {
		r := at(g.Benign, 0)
		if r == nil && g.Attacks == nil {
			continue
		}
		beyond := "–"
		if r != nil && english != nil {
			d := r.Rate - *english
			beyond = fmt.Sprintf("%+.2f", d*100)
			if r.N >= fewRows && !slices.Contains([]string{"en", "code", "und"}, g.Name) && (most == nil || d > *most) {
				most, who = &d, g.Name
			}
		}
		rows = append(rows, []string{cell(g.Name), count(g.Attacks), recall(at(g.Attacks, 0)), count(g.Benign), alarms(r), beyond})
	}
	c.table([]string{"language", "attacks", "recall at 1 %", "benign", "false alarms at 1 %", "points above English"}, rows)
	c.atMost("false alarms at 1 % above those in English, worst language", .01, most, who)
}

func (c *card) edgy(s *evaluate.System) {
	c.line("### Benign rows that look like attacks\n")
	var rows [][]string
	for _, t := range talk {
		b := group(s, "source", t.source).Benign
		rows = append(rows, []string{cell(t.source), t.what, count(b), alarms(at(b, 0)), percent(value(at(b, 1))), percent(value(verdict(b)))})
		if t.most > 0 {
			c.atMost("false alarms at 1 %, "+t.what, t.most, value(at(b, 0)), t.source)
		}
	}
	c.table([]string{"source", "what", "rows", "at 1 %", "at 0.1 %", "default"}, rows)
}
