package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"sallyport.dev/sallyport/internal/evaluate"
	"sallyport.dev/sallyport/internal/evaluate/page"
	"sallyport.dev/sallyport/internal/evaluate/peer"
	"sallyport.dev/sallyport/internal/server"
)

// evalFlags are the flags that are read by hand.
type evalFlags struct {
	where, thresholdWhere, peers, scores []string
	transform, html                      string
	json                                 bool
}

func evalCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "eval FILE...",
		Short: "Judge the detector on labelled rows",
		Long: `Reads JSON lines {"id", "text" or "messages", "label", "channel"?, "lang"?, "source"?, "family"?,
"dev_kind"?, "lic"?, "pair"?}, gzip or not, and judges the detector of this configuration on them:
the same that scan and the gateway use. label is injection, jailbreak, benign or harmful_request;
the last counts on neither side, and neither do rows of the system channel. The threshold for a rate
of false alarms is set once, on all benign rows. A line that cannot be read is named and left out.

A peer is a program that reads {"id", "text", "channel"} lines and writes {"id", "score" or
"flagged", "ms"?} lines; --scores reads such lines from a file, by the rows' ids.`,
		Example: `  sallyport eval dev.jsonl.gz --where dev_kind=source --by channel,source,channel+lang
  sallyport eval attacks.jsonl --threshold-on benign.jsonl --html report.html
  sallyport eval dev.jsonl.gz --transform all --transform-rows 200
  sallyport eval dev.jsonl.gz --peer vard="node test/peers/driver.js vard"`,
		Args: cobra.MinimumNArgs(1),
	}
	var o evaluate.Options
	var f evalFlags
	path := configFlag(c)
	fl := c.Flags()
	fl.StringArrayVar(&f.where, "where", nil, "report only these rows: source=a,lang=en,family=tool_*,channel!=user (repeatable)")
	fl.StringSliceVar(&o.By, "by", evaluate.DefaultBy(), "break down by these, a+b for a combination")
	fl.StringArrayVar(&o.ThresholdFiles, "threshold-on", nil, "set the threshold on the benign rows of this file (repeatable)")
	fl.StringArrayVar(&f.thresholdWhere, "threshold-where", nil, "set the threshold on the benign rows that these conditions name (repeatable)")
	fl.Float64SliceVar(&o.FPR, "fpr", []float64{.01, .001}, "false-positive rates at which recall is given")
	fl.IntVar(&o.Workers, "workers", 0, "rows judged at the same time (default: one per core)")
	fl.StringVar(&f.transform, "transform", "", "rewrite rows as attackers do: all, or names or families of transforms")
	fl.IntVar(&o.TransformRows, "transform-rows", 200, "attacks and benign rows that are rewritten by each transform; 0: all")
	fl.Uint64Var(&o.Seed, "seed", 1, "of the transforms and the choice of rows")
	fl.StringArrayVar(&f.peers, "peer", nil, "judge another program on the same rows: NAME=COMMAND (repeatable)")
	fl.StringArrayVar(&f.scores, "scores", nil, "judge scores that were made before: NAME=FILE (repeatable)")
	fl.IntVar(&o.Errors, "show-errors", 0, "name so many missed attacks and false alarms, with the beginning of their text: attack data, escaped")
	fl.BoolVar(&f.json, "json", false, "print JSON")
	fl.StringVar(&f.html, "html", "", "write a page with plots to this file")
	_ = c.MarkFlagFilename("html", "html")
	_ = c.RegisterFlagCompletionFunc("by", cobra.FixedCompletions(evaluate.Dimensions(), cobra.ShellCompDirectiveNoFileComp))
	c.RunE = func(cmd *cobra.Command, args []string) error {
		cfg, err := loadConfig(*path)
		if err != nil {
			return err
		}
		o.Files = args
		line := evaluate.NewLine(os.Stderr)
		o.Progress = line.Progress
		told := 0
		o.Problem = func(p evaluate.Problem) {
			if told++; told <= 20 {
				line.Print(problem(p))
			} else if told == 21 {
				line.Print("sallyport: more rows are left out; the report counts them")
			}
		}
		if err := f.complete(&o, line); err != nil {
			return err
		}
		rep, err := server.Evaluate(cmd.Context(), cfg, o)
		line.Clear()
		if err != nil {
			return err
		}
		return f.write(rep)
	}
	return c
}

func problem(p evaluate.Problem) string {
	at := evaluate.Plain(p.File)
	if p.Line > 0 {
		at += fmt.Sprintf(":%d", p.Line)
	}
	if p.System != "" {
		at += ": " + evaluate.Plain(p.System)
	}
	return at + ": " + evaluate.Plain(p.What)
}

// complete reads the flags that have a form of their own.
func (f *evalFlags) complete(o *evaluate.Options, line *evaluate.Line) (err error) {
	if o.Where, err = evaluate.ParseFilter(f.where); err != nil {
		return fmt.Errorf("--where: %w", err)
	}
	if o.ThresholdWhere, err = evaluate.ParseFilter(f.thresholdWhere); err != nil {
		return fmt.Errorf("--threshold-where: %w", err)
	}
	if f.transform != "" {
		if o.Transforms, o.Lookalikes, err = server.Transforms(f.transform); err != nil {
			return fmt.Errorf("--transform: %w", err)
		}
	}
	for _, spec := range f.peers {
		name, command, ok := strings.Cut(spec, "=")
		if !ok || name == "" || command == "" {
			return errors.New("--peer: want NAME=COMMAND")
		}
		p := peer.NewCommand(name, command)
		if o.Errors > 0 {
			p.Said = func(s string) { line.Print(plain(name) + " said: " + plain(s)) }
		}
		o.Peers = append(o.Peers, p)
	}
	for _, spec := range f.scores {
		name, file, ok := strings.Cut(spec, "=")
		if !ok || name == "" || file == "" {
			return errors.New("--scores: want NAME=FILE")
		}
		p, err := peer.NewFile(name, file)
		if err != nil {
			return fmt.Errorf("--scores: %w", err)
		}
		o.Peers = append(o.Peers, p)
	}
	return nil
}

// write gives the report out. A peer that failed is an error once everything is written.
func (f *evalFlags) write(rep *evaluate.Report) error {
	out := rep.WriteText
	if f.json {
		out = rep.WriteJSON
	}
	if err := out(os.Stdout); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	if f.html != "" {
		b, err := page.Render(rep)
		if err != nil {
			return err
		}
		if err := os.WriteFile(f.html, b, 0o600); err != nil {
			return fmt.Errorf("write page: %w", err)
		}
	}
	for _, s := range rep.Systems {
		if s.Error != "" {
			return fmt.Errorf("%s did not finish: %s", evaluate.Plain(s.Name), evaluate.Plain(s.Error))
		}
	}
	return nil
}
