package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"sallyport.dev/sallyport/internal/iam/policy"
	"sallyport.dev/sallyport/internal/server"
)

func policyWhatIfCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "whatif FILE.cedar...",
		Short: "Say which recorded calls policies would have decided otherwise",
		Long: `Reads lines of "sallyport audit export", from standard input or --export, and puts every call that policies
were asked about to the policies in the files, whosever the call was. What was decided then is what the
record says, or what the policies of --now say of it. Calls that were refused before, or ended by another
stage, are passed over and counted.

The record does not hold everything: what a policy names and the record does not tell (roles and groups of
the caller, tools, second factors, ...) is listed, and counts as not there. Times are in UTC. A call that was
denied before inspection has no findings.`,
		Args: cobra.MinimumNArgs(1),
	}
	export := c.Flags().String("export", "-", "file of the export; -: standard input")
	now := c.Flags().StringSlice("now", nil, "policies to compare with, in place of what the record says")
	noBase := c.Flags().Bool("no-base", false, "without the built-in policies")
	first := c.Flags().Int("first", 10, "how many changed calls of each kind to list")
	asJSON := c.Flags().Bool("json", false, "print JSON")
	c.RunE = func(_ *cobra.Command, args []string) error {
		candidate, err := readPolicies(args)
		if err != nil {
			return err
		}
		today, err := readPolicies(*now)
		if err != nil {
			return err
		}
		in := io.Reader(os.Stdin)
		if *export != "-" {
			f, err := os.Open(*export)
			if err != nil {
				return fmt.Errorf("read export: %w", err)
			}
			defer f.Close()
			in = f
		}
		w, err := server.WhatIfPolicies(in, candidate, today, !*noBase, max(*first, 0))
		if err != nil {
			return fmt.Errorf("try policies on the record: %w", err)
		}
		if *asJSON {
			return printJSON(os.Stdout, w)
		}
		printWhatIf(os.Stdout, w)
		return nil
	}
	return c
}

func readPolicies(files []string) ([]policy.Policy, error) {
	var out []policy.Policy
	for _, f := range files {
		p, err := readPolicy(f)
		if err != nil {
			return nil, err
		}
		out = append(out, p)
	}
	return out, nil
}

func printWhatIf(w io.Writer, r server.WhatIf) {
	fmt.Fprintf(w, "%d calls: %d would be denied, %d would be allowed, %d stay as they were\n", r.Calls, r.Denied, r.Allowed, r.Calls-r.Denied-r.Allowed)
	if r.Errors > 0 {
		fmt.Fprintf(w, "for %d of them a policy could not be evaluated\n", r.Errors)
	}
	if r.Elsewhere+r.Unnamed > 0 {
		fmt.Fprintf(w, "passed over: %d decided elsewhere, %d of callers that the record does not name\n", r.Elsewhere, r.Unnamed)
	}
	if len(r.Untold) > 0 {
		fmt.Fprintf(w, "the policies speak of what the record does not tell: %s\n", plain(strings.Join(r.Untold, ", ")))
	}
	for _, part := range []struct {
		what string
		list []policy.Turned
		of   int
	}{{"denied", r.NewlyDenied, r.Denied}, {"allowed", r.NewlyAllowed, r.Allowed}} {
		for _, t := range part.list {
			fmt.Fprintf(w, "%s  %s  %s  %s %s %s: %s\n", part.what, t.Time.UTC().Format(time.RFC3339), plain(t.ID), strings.ReplaceAll(plain(t.Principal), `\"`, `"`), plain(t.Upstream), plain(t.Model), plain(t.Decision.String()))
		}
		if more := part.of - len(part.list); more > 0 {
			fmt.Fprintf(w, "%s  and %d more\n", part.what, more)
		}
	}
}
