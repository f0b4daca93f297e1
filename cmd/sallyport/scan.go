package main

import (
	"os"

	"github.com/spf13/cobra"

	"sallyport.dev/sallyport/internal/server"
)

func scanCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "scan",
		Short: "Read JSON lines of text from standard input and say what is in them",
		Long: `Reads one JSON object a line: {"id", "text", "channel"?} or {"id", "messages": [...]}.
Writes one JSON object a line, in the same order:
{"id", "verdict": "allow|flag|sanitize|block", "score": 0..1, "findings": [...]}.
score is the highest score of an attack in the row, whatever the policy says about it. A line that
cannot be read gives {"line", "error"}, and the run goes on.`,
		Args: cobra.NoArgs,
	}
	path := configFlag(c)
	channel := c.Flags().String("channel", "user", "channel of rows that name none: user, system, developer, tool, document or assistant")
	c.Flags().Bool("json", true, "the output is always JSON lines")
	_ = c.RegisterFlagCompletionFunc("channel", cobra.FixedCompletions([]string{"user", "system", "developer", "tool", "document", "assistant"}, cobra.ShellCompDirectiveNoFileComp))
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := loadConfig(*path)
		if err != nil {
			return err
		}
		return server.Scan(cmd.Context(), cfg, *channel, os.Stdin, os.Stdout)
	}
	return c
}
