// Command card writes model/CARD.md: what the built-in weights were made of and how, and every figure
// about them, each measured by this run. It stands in the root of the project:
//
//	SALLYPORT_DATA=DIR go run ./model/cmd/card
//
// DIR holds train.jsonl.gz, dev.jsonl.gz and, where there is one, the README.md that names licences. A
// section whose step was not run, by -skip or for want of DIR, says so. Two runs over the same rows and
// weights write the same bytes: no time, no date and no path is in it.
package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"log"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// card is one run.
type card struct {
	data string // directory of train.jsonl.gz and dev.jsonl.gz; empty: none
	work string // directory of what is made on the way
	skip []string
	only []string // sources that are left out one by one; empty: all
	rows int      // that each transform rewrites, of attacks and of benign ones
	b    bytes.Buffer

	asked []asked
}

// asked is one of the figures that the detector is held to.
type asked struct {
	what, want, got string
	met             bool
}

func (c *card) train() string { return filepath.Join(c.data, "train.jsonl.gz") }
func (c *card) dev() string   { return filepath.Join(c.data, "dev.jsonl.gz") }

// section is a heading and what writes what stands under it.
type section struct {
	step, title string
	data        bool // needs the rows
	write       func(context.Context) error
}

func main() {
	log.SetFlags(0)
	log.SetPrefix("card: ")
	c := &card{}
	flag.StringVar(&c.data, "data", os.Getenv("SALLYPORT_DATA"), "directory of train.jsonl.gz and dev.jsonl.gz (default $SALLYPORT_DATA)")
	flag.StringVar(&c.work, "work", "", "directory for rows and weights on the way; default: a temporary one")
	flag.IntVar(&c.rows, "rows", 200, "attacks and benign rows that each transform rewrites")
	skip := flag.String("skip", "", "steps that are not run, with commas: data, dev, pairs, again, leave-out")
	only := flag.String("sources", "", "leave out these sources only, with commas; default: every one with attacks")
	out := flag.String("out", "model/CARD.md", "the card")
	flag.Parse()
	c.skip, c.only = list(*skip), list(*only)
	if err := c.run(*out); err != nil {
		log.Fatal(err)
	}
}

func list(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return r == ',' })
}

func (c *card) run(out string) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if c.work == "" {
		dir, err := os.MkdirTemp("", "card")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		c.work = dir
	}
	sections := []section{
		{"method", "Method", false, c.method},
		{"data", "Data and licences", true, c.sources},
		{"dev", "Development rows", true, c.judge},
		{"pairs", "Carriers and payloads that nothing was trained on", false, c.pairs},
		{"again", "Made again", true, c.again},
		{"leave-out", "One source left out", true, c.leaveOut},
		{"limits", "Limits", false, c.limits},
	}
	for _, s := range c.skip {
		if !slices.ContainsFunc(sections, func(x section) bool { return x.step == s }) {
			return fmt.Errorf("-skip: no step is named %q", s)
		}
	}
	if c.data != "" && !(slices.Contains(c.skip, "data") && slices.Contains(c.skip, "again") && slices.Contains(c.skip, "leave-out")) {
		log.Print("rows")
		if err := c.script(ctx, "rows", c.train(), c.work); err != nil {
			return err
		}
	}
	for _, s := range sections {
		begun := time.Now()
		fmt.Fprintf(&c.b, "\n## %s\n\n", s.title)
		switch {
		case slices.Contains(c.skip, s.step):
			c.line("Not run.")
			continue
		case s.data && c.data == "":
			c.line("Not run: no directory of rows was named.")
			continue
		}
		if err := s.write(ctx); err != nil {
			return fmt.Errorf("%s: %w", s.step, err)
		}
		log.Printf("%s: %.0f s", s.step, time.Since(begun).Seconds())
	}
	return os.WriteFile(out, append(c.head(), c.b.Bytes()...), 0o644)
}

// script runs model/train.sh, which is quiet unless it fails.
func (c *card) script(ctx context.Context, args ...string) error {
	cmd := exec.CommandContext(ctx, "model/train.sh", args...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("model/train.sh %s: %w\n%s", args[0], err, out)
	}
	return nil
}

// head is the title and the figures that were asked for.
func (c *card) head() []byte {
	var b bytes.Buffer
	fmt.Fprint(&b, `# Model card: the detector's built-in weights

Written by `+"`make card`"+`; do not edit. "At 1 %" is at one threshold, set once, on all benign development
rows: one benign row in a hundred scores above it. "Default" is the verdict of the product at its
default budget (`+"`inspect.fpr_budget`"+` 0.005). Brackets are 95 % intervals (Wilson). Times are not here:
`+"`make bench-detect`"+` prints them.

## What is asked, what is reached

`)
	if len(c.asked) == 0 {
		fmt.Fprintln(&b, "Not run.")
		return b.Bytes()
	}
	fmt.Fprint(&b, "| | asked | reached | |\n|---|---:|---:|---|\n")
	for _, a := range c.asked {
		met := "**missed**"
		if a.met {
			met = "met"
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", a.what, a.want, a.got, met)
	}
	return b.Bytes()
}

// atLeast and atMost hold a figure to what is asked; a figure that there is none of is missed.
func (c *card) atLeast(what string, want float64, got *float64) {
	c.asked = append(c.asked, asked{what, "≥ " + number(&want), number(got), got != nil && *got >= want})
}

func (c *card) atMost(what string, want float64, got *float64, who string) {
	s := percent(got)
	if who != "" && got != nil {
		s += " (" + cell(who) + ")"
	}
	c.asked = append(c.asked, asked{what, "≤ " + percent(&want), s, got != nil && *got <= want+1e-12})
}
