package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"sallyport.dev/sallyport/internal/inspect/shadow"
	"sallyport.dev/sallyport/internal/server"
)

func packDiffCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "diff CANDIDATE --rows FILE | --recorded EXPORT | --live",
		Short: "List every verdict that another pack would change",
		Long: `Compares CANDIDATE (a file, a directory, NAME@VERSION or builtin) with the active pack, under the
policy of the configuration: over rows as "sallyport scan" reads them (--rows), or over recorded calls
as "sallyport audit export" writes them (--recorded), as far as their content was kept; "-" is standard
input. --live prints what the shadow (inspect.packs.shadow) has seen, as "pack shadow report" does.
With --json every change is a line, and the last line is the summary.`,
		Args: cobra.MaximumNArgs(1),
	}
	path := configFlag(c)
	f := c.Flags()
	rows := f.String("rows", "", `file with rows: {"id", "text", "channel"?} or {"id", "messages"}`)
	recorded := f.String("recorded", "", "file that sallyport audit export wrote")
	live := f.Bool("live", false, "what the shadow has seen")
	against := f.String("against", "", "compare with this pack instead of the active one")
	channel := f.String("channel", "user", "channel of rows that name none")
	asJSON := f.Bool("json", false, "print JSON lines")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		if n := count(*rows != "", *recorded != "", *live); n != 1 || *live != (len(args) == 0) {
			return errors.New("want a candidate and either --rows or --recorded, or --live alone")
		}
		if *live {
			return printShadow(*path, 100, *asJSON)
		}
		cfg, err := loadConfig(*path)
		if err != nil {
			return err
		}
		in, done, err := input(*rows + *recorded)
		if err != nil {
			return err
		}
		defer done()
		d := server.Diff{Candidate: args[0], Against: *against, Channel: *channel}
		run := server.DiffRows
		if *recorded != "" {
			run = server.DiffRecorded
		}
		return diff(cmd.Context(), *asJSON, func(ctx context.Context, each func(shadow.Change) error) (server.DiffResult, error) {
			return run(ctx, cfg, d, in, each)
		})
	}
	return c
}

func count(bs ...bool) (n int) {
	for _, b := range bs {
		if b {
			n++
		}
	}
	return n
}

func input(name string) (io.Reader, func() error, error) {
	if name == "-" {
		return os.Stdin, func() error { return nil }, nil
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, nil, err
	}
	return f, f.Close, nil
}

func diff(ctx context.Context, asJSON bool, run func(context.Context, func(shadow.Change) error) (server.DiffResult, error)) error {
	enc := json.NewEncoder(os.Stdout)
	r, err := run(ctx, func(ch shadow.Change) error {
		if asJSON {
			return enc.Encode(map[string]any{"change": ch})
		}
		printChanged(ch)
		return nil
	})
	if err != nil {
		return fmt.Errorf("compare packs: %w", err)
	}
	if asJSON {
		return enc.Encode(map[string]any{"summary": r})
	}
	fmt.Printf("active %s, candidate %s: %d compared, %d verdicts would change\n", plain(r.Active), plain(r.Candidate), r.Compared, r.Changed)
	printSummary(&r.Summary)
	return nil
}

func printChanged(ch shadow.Change) {
	where := plain(ch.ID)
	if ch.Line > 0 {
		where = fmt.Sprintf("line %d, id %s", ch.Line, where)
	}
	if ch.Direction != "" {
		where += " " + ch.Direction
	}
	fmt.Printf("%s: %s -> %s%s%s\n", where, plain(ch.Active.Verdict), plain(ch.Candidate.Verdict), ruleList(" was", ch.Active.Rules), ruleList(" now", ch.Candidate.Rules))
}

func ruleList(word string, rules []string) string {
	if len(rules) == 0 {
		return ""
	}
	return word + " (" + plain(strings.Join(rules, ", ")) + ")"
}

func printSummary(s *shadow.Summary) {
	kinds := make([]string, 0, len(s.Changes))
	for k := range s.Changes {
		kinds = append(kinds, k)
	}
	slices.Sort(kinds)
	for _, k := range kinds {
		fmt.Printf("  %d from %s\n", s.Changes[k], plain(k))
	}
	if s.OtherFindings > 0 {
		fmt.Printf("  %d get the same verdict for other reasons\n", s.OtherFindings)
	}
	for _, l := range s.Honest() {
		fmt.Println(" ", plain(l))
	}
}

func packShadowCommand() *cobra.Command {
	c := &cobra.Command{Use: "shadow", Short: "What a candidate beside the active pack would decide"}
	report := &cobra.Command{
		Use:   "report",
		Short: "Print what the shadow has seen: counts, and the newest verdicts that differ",
		Args:  cobra.NoArgs,
	}
	path := configFlag(report)
	last := report.Flags().Int("last", 100, "how many of the newest changes are printed")
	asJSON := report.Flags().Bool("json", false, "print JSON")
	report.RunE = func(*cobra.Command, []string) error { return printShadow(*path, *last, *asJSON) }
	c.AddCommand(report)
	return c
}

func printShadow(path string, last int, asJSON bool) error {
	cfg, err := loadConfig(path)
	if err != nil {
		return err
	}
	r, changes, err := server.ShadowReport(cfg, max(last, 0))
	if err != nil {
		return err
	}
	if asJSON {
		return printJSON(os.Stdout, map[string]any{"report": r, "changes": changes})
	}
	for _, ch := range changes {
		printChanged(ch)
	}
	fmt.Printf("active %s, candidate %s, since %s: %d compared, %d verdicts differ\n", plain(r.Active), plain(r.Candidate), r.Since.Format("2006-01-02 15:04:05Z"), r.Compared, r.Changed)
	if r.Problem != "" {
		fmt.Println("  nothing is compared:", plain(r.Problem))
	}
	printSummary(&r.Summary)
	return nil
}
