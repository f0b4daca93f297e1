package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"
)

func configCommand() *cobra.Command {
	c := &cobra.Command{Use: "config", Short: "Check or show the configuration"}
	c.AddCommand(configCheckCommand(), configShowCommand())
	return c
}

func configCheckCommand() *cobra.Command {
	c := &cobra.Command{Use: "check [FILE]", Short: "Say whether a configuration file is valid", Args: cobra.MaximumNArgs(1)}
	path := configFlag(c)
	asJSON := c.Flags().Bool("json", false, "print JSON")
	c.RunE = func(_ *cobra.Command, args []string) error {
		if len(args) == 1 {
			*path = args[0]
		}
		cfg, err := loadConfig(*path)
		if *asJSON {
			out := map[string]any{"valid": err == nil}
			if err != nil {
				out["error"] = err.Error()
			} else {
				out["hash"] = cfg.Hash()
			}
			if perr := printJSON(os.Stdout, out); perr != nil {
				return perr
			}
			if err != nil {
				return exitCode(1)
			}
			return nil
		}
		if err != nil {
			return err
		}
		fmt.Println("the configuration is valid:", cfg.Hash())
		return nil
	}
	return c
}

func configShowCommand() *cobra.Command {
	c := &cobra.Command{Use: "show [FILE]", Short: "Print the effective configuration; secrets appear as references", Args: cobra.MaximumNArgs(1)}
	path := configFlag(c)
	asJSON := c.Flags().Bool("json", false, "print JSON")
	c.RunE = func(_ *cobra.Command, args []string) error {
		if len(args) == 1 {
			*path = args[0]
		}
		cfg, err := loadConfig(*path)
		if err != nil {
			return err
		}
		if *asJSON {
			return cfg.ShowJSON(os.Stdout)
		}
		return cfg.Show(os.Stdout)
	}
	return c
}
