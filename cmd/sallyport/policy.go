package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"sallyport.dev/sallyport/internal/iam/policy"
)

func policyCommand() *cobra.Command {
	c := &cobra.Command{Use: "policy", Short: "Check, try and explain Cedar policies, and put them in force"}
	c.AddCommand(policyCheckCommand(), policyTestCommand(), policyExplainCommand(), policySchemaCommand(), policyWhatIfCommand())
	c.AddCommand(keptPolicyCommands()...)
	return c
}

// policyFile is one file of policies and what came of it.
type policyFile struct {
	File     string           `json:"file"`
	Valid    bool             `json:"valid"`
	Examples int              `json:"examples,omitzero"`
	Errors   policy.Errors    `json:"errors,omitzero"`
	Failures []policy.Failure `json:"failures,omitzero"`
}

func policyCheckCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "check FILE.cedar...",
		Short: "Say whether policies can be read and speak only of what there is",
		Args:  cobra.MinimumNArgs(1),
	}
	asJSON := c.Flags().Bool("json", false, "print JSON")
	c.RunE = func(_ *cobra.Command, args []string) error {
		return eachPolicy(args, *asJSON, func(f *policyFile) error {
			_, err := readPolicy(f.File)
			return err
		})
	}
	return c
}

func policyTestCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "test FILE.cedar...",
		Short: "Try policies on the examples beside them",
		Long: `Tries each policy on the examples that live beside it, those of name.cedar in name.examples.yaml: a list of
{name, request: {principal, action, resource, context}, want: allow|deny, by: ID}. A policy that only
forbids is tried beside the built-in ones, any other alone. A policy without examples fails.`,
		Args: cobra.MinimumNArgs(1),
	}
	asJSON := c.Flags().Bool("json", false, "print JSON")
	c.RunE = func(_ *cobra.Command, args []string) error {
		return eachPolicy(args, *asJSON, func(f *policyFile) error {
			p, err := readPolicy(f.File)
			if err != nil {
				return err
			}
			file := strings.TrimSuffix(f.File, ".cedar") + ".examples.yaml"
			data, err := readSmall(file)
			if err != nil {
				return err
			}
			examples, err := policy.ParseExamples(file, data)
			if err != nil {
				return err
			}
			f.Examples = len(examples)
			f.Failures, err = policy.Try(p, examples)
			return err
		})
	}
	return c
}

// eachPolicy does something with each file and prints what came of it.
func eachPolicy(files []string, asJSON bool, do func(*policyFile) error) error {
	bad := false
	var out []policyFile
	for _, name := range files {
		f := policyFile{File: name}
		if err := do(&f); err != nil {
			es, ok := policy.AsErrors(err)
			if !ok {
				es = policy.Errors{{File: name, Message: err.Error()}}
			}
			f.Errors = es
		}
		f.Valid = len(f.Errors)+len(f.Failures) == 0
		bad = bad || !f.Valid
		out = append(out, f)
	}
	if asJSON {
		if err := printJSON(os.Stdout, out); err != nil {
			return err
		}
	} else {
		for _, f := range out {
			printPolicyFile(f)
		}
	}
	if bad {
		return exitCode(1)
	}
	return nil
}

func printPolicyFile(f policyFile) {
	for _, e := range f.Errors {
		fmt.Println(plainLines(e.Error()))
	}
	for _, x := range f.Failures {
		want := x.Want
		if x.By != "" {
			want += " by " + x.By
		}
		fmt.Printf("%s:%d:%d: example %s: want %s, got: %s\n", plain(strings.TrimSuffix(f.File, ".cedar")+".examples.yaml"), x.Line, x.Col, plain(x.Example), plain(want), plain(x.Got.String()))
	}
	switch {
	case f.Valid && f.Examples > 0:
		fmt.Printf("%s: %d examples come out as they should\n", plain(f.File), f.Examples)
	case f.Valid:
		fmt.Printf("%s: valid\n", plain(f.File))
	}
}

func policyExplainCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "explain FILE.cedar --example NAME",
		Short: "Say why an example is allowed or denied: which statements match, and what their conditions see",
		Args:  cobra.ExactArgs(1),
	}
	name := c.Flags().String("example", "", "name of an example in the file beside the policy")
	asJSON := c.Flags().Bool("json", false, "print JSON")
	_ = c.MarkFlagRequired("example")
	c.RunE = func(_ *cobra.Command, args []string) error {
		p, err := readPolicy(args[0])
		if err != nil {
			return err
		}
		file := strings.TrimSuffix(args[0], ".cedar") + ".examples.yaml"
		data, err := readSmall(file)
		if err != nil {
			return err
		}
		examples, err := policy.ParseExamples(file, data)
		if err != nil {
			return err
		}
		for i := range examples {
			if examples[i].Name != *name {
				continue
			}
			set, err := policy.Alone(p)
			if err != nil {
				return err
			}
			r, err := examples[i].Request.Request()
			if err != nil {
				return err
			}
			a, err := set.Explain(r)
			if err != nil {
				return err
			}
			if *asJSON {
				return printJSON(os.Stdout, a)
			}
			printAccount(os.Stdout, a)
			return nil
		}
		return fmt.Errorf("%s has no example of that name", file)
	}
	return c
}

func printAccount(w io.Writer, a policy.Account) {
	fmt.Fprintln(w, plain(a.Decision.String()))
	fmt.Fprintf(w, "%s, %s, %s\n", plain(a.Principal), plain(a.Action), plain(a.Resource))
	for _, s := range a.Statements {
		about := ""
		if s.About != "" {
			about = " (asked about " + s.About + ")"
		}
		fmt.Fprintf(w, "  %s %s: %s%s", s.Effect, plain(s.Policy), s.Result, plain(about))
		if s.Why != "" {
			fmt.Fprintf(w, ", %s", plain(s.Why))
		}
		fmt.Fprintln(w)
		for _, c := range s.Conditions {
			word, holds := "when", "no"
			if c.Unless {
				word = "unless"
			}
			if c.Holds {
				holds = "yes"
			}
			fmt.Fprintf(w, "    %s %s: %s", word, strings.ReplaceAll(plain(c.Text), `\"`, `"`), holds)
			if len(c.Values) > 0 {
				fmt.Fprintf(w, " (%s)", strings.ReplaceAll(plain(strings.Join(c.Values, ", ")), `\"`, `"`))
			}
			fmt.Fprintln(w)
		}
	}
}

func policySchemaCommand() *cobra.Command {
	return &cobra.Command{Use: "schema", Short: "Print the Cedar schema: what a policy may speak of", Args: cobra.NoArgs, RunE: func(*cobra.Command, []string) error {
		_, err := io.WriteString(os.Stdout, policy.Schema)
		return err
	}}
}

// readPolicy reads a policy and checks it. Its id is the name of the file.
func readPolicy(file string) (policy.Policy, error) {
	id, ok := strings.CutSuffix(filepath.Base(file), ".cedar")
	if !ok {
		return policy.Policy{}, errors.New("the name of a file of policies ends in .cedar")
	}
	text, err := readSmall(file)
	if err != nil {
		return policy.Policy{}, err
	}
	p := policy.Policy{ID: id, Tenant: policy.ExampleTenant, Text: string(text)}
	return p, policy.CheckFile(p, file)
}

// readSmall reads a file that is not larger than any policy or examples may be.
func readSmall(file string) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, 1<<20))
}
