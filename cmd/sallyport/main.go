// Command sallyport is an AI API security gateway: it stands between AI clients and their
// providers, inspects what passes both ways, stops attacks and leaks, and keeps a record that can
// be proven. Each subcommand has a file of its own; the logic is in internal/server.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"sallyport.dev/sallyport/internal/config"
	"sallyport.dev/sallyport/internal/server"
)

func main() { os.Exit(run()) }

func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := rootCommand().ExecuteContext(ctx); err != nil {
		var code exitCode
		if errors.As(err, &code) {
			return int(code)
		}
		fmt.Fprintln(os.Stderr, "sallyport:", plainLines(err.Error()))
		return 1
	}
	return 0
}

func rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:           "sallyport",
		Short:         "AI API security gateway",
		Long:          "Sallyport stands between AI clients and their providers. Start with `sallyport demo`.",
		SilenceUsage:  true,
		SilenceErrors: true,
		Version:       server.Version(),
	}
	root.AddCommand(serveCommand(), demoCommand(), simulateCommand(), scanCommand(), evalCommand(), packCommand(), allowCommand(), keyCommand(), policyCommand(), auditCommand(), configCommand(), versionCommand())
	root.AddCommand(adminCommands()...)
	for _, c := range root.Commands() {
		needSubcommand(c)
	}
	return root
}

// needSubcommand makes a command that only has others below it refuse a name that is none of them: help, and a
// status of success, would look to a script as if something had been done.
func needSubcommand(c *cobra.Command) {
	for _, sub := range c.Commands() {
		needSubcommand(sub)
	}
	if c.Runnable() || !c.HasSubCommands() {
		return
	}
	c.FParseErrWhitelist.UnknownFlags = true // of the command that was meant; the name comes first
	c.DisableFlagsInUseLine = true
	c.SuggestionsMinimumDistance = 2
	c.RunE = func(c *cobra.Command, args []string) error {
		if len(args) == 0 {
			return c.Help()
		}
		hint := ""
		if near := c.SuggestionsFor(args[0]); len(near) > 0 {
			hint = "; did you mean " + strings.Join(near, " or ") + "?"
		}
		return fmt.Errorf("unknown command %q for %q%s", args[0], c.CommandPath(), hint)
	}
}

// exitCode ends the program with a status and no further message.
type exitCode int

func (e exitCode) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

// configFlag adds --config to a command.
func configFlag(c *cobra.Command) *string {
	path := c.Flags().String("config", "", "configuration file (default: a working configuration)")
	_ = c.MarkFlagFilename("config", "yaml", "yml")
	return path
}

func loadConfig(path string) (*config.Config, error) {
	cfg, err := config.Load(path)
	if err != nil {
		return nil, fmt.Errorf("load configuration: %w", err)
	}
	return cfg, nil
}
