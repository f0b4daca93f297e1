package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"sallyport.dev/sallyport/internal/evaluate"
	"sallyport.dev/sallyport/internal/inspect/classify"
	"sallyport.dev/sallyport/internal/inspect/policy"
	"sallyport.dev/sallyport/internal/inspect/scan"
	"sallyport.dev/sallyport/model/rows"
	"sallyport.dev/sallyport/model/tiers"
)

// again trains what model/train.sh trains, and compares the bytes with those that ship.
func (c *card) again(ctx context.Context) error {
	out := filepath.Join(c.work, "again")
	if err := c.script(ctx, "fit", c.train(), c.work, out); err != nil {
		return err
	}
	for _, f := range []string{classify.LexicalFile, classify.StackFile} {
		a, err := os.ReadFile(filepath.Join(shipped, f))
		if err != nil {
			return err
		}
		b, err := os.ReadFile(filepath.Join(out, f))
		if err != nil {
			return err
		}
		if bytes.Equal(a, b) {
			c.line("- `%s`: trained anew from these rows, it is the same file, byte for byte.", f)
		} else {
			c.line("- `%s`: trained anew from these rows, it is **another file** than the one that ships.", f)
		}
	}
	return nil
}

// scorer judges rows with a set of weights, as the product would with a pack of them.
type scorer struct{ judge *scan.Judge }

func (s scorer) Score(r *evaluate.Row) (float64, string, error) {
	got, err := s.judge.Text(r.Text, r.Channel)
	return got.Score, got.Attack.String(), err
}

func open(dir string) (evaluate.Scorer, error) {
	det, err := tiers.Open(dir, false)
	if err != nil {
		return nil, err
	}
	pol, err := policy.New(policy.Options{})
	if err != nil {
		return nil, err
	}
	judge, err := scan.NewJudge(scan.Options{Detector: det, Policy: pol})
	return scorer{judge}, err
}

// attackSources are the sources of training rows with attacks that shape weights, and their licences.
func (c *card) attackSources() (names []string, err error) {
	seen := map[string]bool{}
	err = rows.Each(c.train(), func(r *rows.Row) error {
		p := r.Part(true)
		if attack, _ := r.Attack(); attack && (p == rows.Trained || p == rows.Fitted) && !seen[r.Source] {
			seen[r.Source] = true
			names = append(names, r.Source)
		}
		return nil
	})
	slices.Sort(names)
	if len(c.only) > 0 {
		for _, s := range c.only {
			if !seen[s] {
				return nil, fmt.Errorf("-sources: no attacks of %q shape weights", s)
			}
		}
		names = c.only
	}
	return names, err
}

// leaveOut trains without one source after the other, and measures the recall on its attacks.
func (c *card) leaveOut(ctx context.Context) error {
	sources, err := c.attackSources()
	if err != nil {
		return err
	}
	type left struct {
		source string
		all    evaluate.Group
	}
	var of []left
	for i, s := range sources {
		dir := filepath.Join(c.work, "without")
		if err := c.script(ctx, "fit", c.train(), c.work, dir, s); err != nil {
			return err
		}
		sc, err := open(dir)
		if err != nil {
			return err
		}
		where, err := evaluate.ParseFilter([]string{"source=" + s, "class=attack"})
		if err != nil {
			return err
		}
		rep, err := evaluate.Run(ctx, evaluate.Options{Files: []string{c.train()}, Where: where, ThresholdFiles: []string{c.dev()}, By: []string{}, Scorer: sc})
		if err != nil {
			return fmt.Errorf("%s: %w", s, err)
		}
		all := rep.Systems[0].All
		log.Printf("leave-out: %d of %d, %s: recall %s", i+1, len(sources), evaluate.Plain(s), number(value(at(all.Attacks, 0))))
		of = append(of, left{s, all})
	}
	c.line("For every source of attacks that shapes the weights: the lexical tier and the stack trained without it and without what is made of its rows,")
	c.line("its attacks among the training rows judged at the 1 %% threshold of the benign development rows.\n")
	if len(c.only) > 0 {
		c.line("Only some sources were left out in this run.\n")
	}
	worst := slices.Clone(of)
	slices.SortStableFunc(worst, func(a, b left) int { return cmp.Compare(rank(at(a.all.Attacks, 0)), rank(at(b.all.Attacks, 0))) })
	var table [][]string
	var sum float64
	for _, l := range worst {
		a := l.all.Attacks
		if r := at(a, 0); r != nil {
			sum += r.Rate
		}
		table = append(table, []string{cell(l.source), count(a), recall(at(a, 0)), number(value(at(a, 1))), number(value(verdict(a)))})
	}
	c.table([]string{"source left out", "attacks", "recall at 1 %", "at 0.1 %", "default"}, table)
	mean := sum / float64(max(1, len(of)))
	c.line("Average %s; worst five: %s.", number(&mean), join(worst[:min(5, len(worst))], func(l left) string {
		return cell(l.source) + " " + number(value(at(l.all.Attacks, 0)))
	}))
	return nil
}

// pairs measures matched pairs of carriers and families that are withheld from all training.
func (c *card) pairs(ctx context.Context) error {
	dir := filepath.Join(c.work, "pairs")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	generate := exec.CommandContext(ctx, "go", "run", "./model/cmd/corpus", "indirect", "-seed", "99", "-n", "4000",
		"-carrier", strings.Join(rows.NewCarriers(), ","), "-family", strings.Join(rows.NewFamilies(), ","))
	out, err := output(generate)
	if err != nil {
		return err
	}
	name := filepath.Join(dir, "new.jsonl")
	if err := os.WriteFile(name, out, 0o600); err != nil {
		return err
	}
	if err := rows.Each(name, func(r *rows.Row) error {
		if _, both := r.Withheld(); !both {
			return fmt.Errorf("%s and %s are not both withheld", r.Carrier, r.Family)
		}
		return nil
	}); err != nil {
		return err
	}
	if out, err = output(exec.CommandContext(ctx, "go", "run", "./model/cmd/pairs", "-json", name)); err != nil {
		return err
	}
	var all map[string]struct {
		Attacks   int      `json:"attacks"`
		Recall    *float64 `json:"recall"`
		Benign    int      `json:"benign"`
		Alarms    *float64 `json:"alarms"`
		Flagged   *float64 `json:"flagged"`
		Untouched *float64 `json:"untouched"`
		Cut       int      `json:"cut"`
		Gone      *float64 `json:"payload_gone"`
		Kept      *float64 `json:"bytes_kept"`
		Parsed    *float64 `json:"still_json"`
	}
	if err := json.Unmarshal(out, &all); err != nil {
		return fmt.Errorf("read what pairs says: %w", err)
	}
	c.line("Documents and tool results of `model/corpus` (seed 99) whose carrier and whose payload are both withheld from training, fitting and calibration,")
	c.line("through the gateway's own inspection as a tool's result. The threshold is set on their own benign twins. \"Cut\": attacks that the gateway took out;")
	c.line("\"gone\": of these, nothing of the payload is left; \"kept\": bytes around it that are left.\n")
	var table [][]string
	names := make([]string, 0, len(all))
	for n := range all {
		names = append(names, n)
	}
	slices.Sort(names)
	for _, n := range names {
		g := all[n]
		table = append(table, []string{cell(n), fmt.Sprint(g.Attacks), number(g.Recall), number(g.Flagged), fmt.Sprint(g.Benign), percent(g.Alarms), number(g.Untouched),
			fmt.Sprint(g.Cut), number(g.Gone), number(g.Kept), number(g.Parsed)})
	}
	c.table([]string{"", "attacks", "recall at 1 %", "default", "benign", "false alarms at 1 %", "untouched", "cut", "gone", "kept", "still JSON"}, table)
	g, ok := all["all"]
	if !ok {
		return fmt.Errorf("pairs says nothing of all rows")
	}
	c.atLeast("recall at 1 %, carriers and payloads never trained on", .80, g.Recall)
	c.atLeast("payload gone where cut", .95, g.Gone)
	c.atLeast("benign bytes kept where cut", .98, g.Kept)
	one := 1.0
	c.atLeast("JSON that is cut is still JSON", one, g.Parsed)
	return nil
}

func output(cmd *exec.Cmd) ([]byte, error) {
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s: %w\n%s", strings.Join(cmd.Args[:min(3, len(cmd.Args))], " "), err, said.Bytes())
	}
	return out, nil
}
