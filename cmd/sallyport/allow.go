package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"sallyport.dev/sallyport/internal/inspect/allow"
	"sallyport.dev/sallyport/internal/server"
)

func allowCommand() *cobra.Command {
	c := &cobra.Command{Use: "allow", Short: "Excuse findings that an analyst judged to be no attack"}
	c.AddCommand(allowAddCommand(), allowListCommand(), allowRemoveCommand())
	return c
}

func allowAddCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "add --expires 720h --author WHO --reason WHY {--call ID | --channel CH [FILE]}",
		Short: "Excuse what is found in a text, in one context, until a day",
		Long: `With --call, excuses what was found in a recorded call, by the Sallyport-Id that the caller saw; its
content need not have been kept. Otherwise reads a text from FILE or standard input and lets the active
detector read it in the channel. Either way each finding (of --category, --rule and --channel, where
given) gets an entry: a keyed hash of the very words that were found, never the words. With --span the
text is those words, and --category must be given.
Nothing else is excused, an entry ends within a year, and what it excuses stays in the record.`,
		Args: cobra.MaximumNArgs(1),
	}
	path := configFlag(c)
	f := c.Flags()
	var x server.Excuse
	f.StringVar(&x.Call, "call", "", "id of a recorded call")
	f.StringVar(&x.Channel, "channel", "", "user, system, developer, tool, document or assistant")
	f.StringVar(&x.Category, "category", "", "only findings of this category")
	f.StringVar(&x.Rule, "rule", "", "only findings of this rule")
	f.StringVar(&x.Principal, "principal", "", "only for this caller: the id of a key or credential")
	f.StringVar(&x.Upstream, "upstream", "", "only for this upstream")
	f.StringVar(&x.Author, "author", "", "who judged it")
	f.StringVar(&x.Reason, "reason", "", "why it is no attack")
	f.DurationVar(&x.For, "expires", 0, "how long it holds, such as 720h; at most a year")
	f.BoolVar(&x.Span, "span", false, "the text is the very words of a finding")
	asJSON := f.Bool("json", false, "print JSON")
	for _, n := range []string{"expires", "author", "reason"} {
		_ = c.MarkFlagRequired(n)
	}
	c.RunE = func(cmd *cobra.Command, args []string) error {
		if x.Call != "" && (x.Span || len(args) > 0) {
			return errors.New("--call stands in the place of a text")
		}
		if x.Span && x.Category == "" {
			return errors.New("--span needs --category")
		}
		cfg, err := loadConfig(*path)
		if err != nil {
			return err
		}
		in := io.Reader(os.Stdin)
		if x.Call != "" {
			in = strings.NewReader("")
		} else if len(args) == 1 {
			file, err := os.Open(args[0])
			if err != nil {
				return err
			}
			defer file.Close()
			in = file
		}
		const most = 1 << 20
		if x.Text, err = io.ReadAll(io.LimitReader(in, most+1)); err != nil {
			return fmt.Errorf("read text: %w", err)
		}
		if len(x.Text) > most {
			return fmt.Errorf("read text: longer than %d bytes", most)
		}
		added, err := server.Allow(cmd.Context(), cfg, x)
		if err != nil {
			return fmt.Errorf("excuse: %w", err)
		}
		if *asJSON {
			return printJSON(os.Stdout, added)
		}
		for _, e := range added {
			fmt.Printf("%s: %s by %s in %s text, until %s\n", e.ID, plain(string(e.Category)), plain(orAny(e.Rule)), plain(e.Channel), e.Expires.Format(time.RFC3339))
		}
		return nil
	}
	return c
}

func orAny(s string) string {
	if s == "" {
		return "any"
	}
	return s
}

func allowListCommand() *cobra.Command {
	c := &cobra.Command{Use: "list", Short: "List what is excused; the words themselves are not kept", Args: cobra.NoArgs}
	path := configFlag(c)
	asJSON := c.Flags().Bool("json", false, "print JSON")
	c.RunE = func(*cobra.Command, []string) error {
		book, err := openBook(*path)
		if err != nil {
			return err
		}
		es, err := book.Entries()
		if err != nil {
			return err
		}
		if *asJSON {
			if es == nil {
				es = []allow.Entry{}
			}
			return printJSON(os.Stdout, es)
		}
		w := tabwriter.NewWriter(os.Stdout, 0, 4, 2, ' ', 0)
		fmt.Fprintln(w, "ID\tCATEGORY\tRULE\tCHANNEL\tPRINCIPAL\tUPSTREAM\tEXPIRES\tAUTHOR\tREASON")
		for _, e := range es {
			until := day(e.Expires)
			if !e.Expires.After(time.Now()) {
				until += " (over)"
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", plain(e.ID), plain(string(e.Category)), plain(orAny(e.Rule)), plain(e.Channel),
				plain(orAny(e.Principal)), plain(orAny(e.Upstream)), until, plain(e.Author), plain(e.Reason))
		}
		return w.Flush()
	}
	return c
}

func allowRemoveCommand() *cobra.Command {
	c := &cobra.Command{Use: "remove ID", Short: "End an entry at once", Args: cobra.ExactArgs(1)}
	path := configFlag(c)
	asJSON := c.Flags().Bool("json", false, "print JSON")
	c.RunE = func(_ *cobra.Command, args []string) error {
		book, err := openBook(*path)
		if err != nil {
			return err
		}
		e, err := book.Remove(args[0])
		if err != nil {
			return fmt.Errorf("remove entry: %w", err)
		}
		if *asJSON {
			return printJSON(os.Stdout, e)
		}
		fmt.Println("removed", plain(e.ID))
		return nil
	}
	return c
}

func openBook(path string) (*allow.Book, error) {
	cfg, err := loadConfig(path)
	if err != nil {
		return nil, err
	}
	return server.AllowBook(cfg)
}
