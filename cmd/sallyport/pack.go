package main

import (
	"fmt"
	"os"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"sallyport.dev/sallyport/internal/inspect/pack"
	"sallyport.dev/sallyport/internal/server"
)

func packCommand() *cobra.Command {
	c := &cobra.Command{Use: "pack", Short: "Build, install, compare and roll back signed packs of rules, thresholds and weights"}
	c.AddCommand(packKeygenCommand(), packBuildCommand(), packVerifyCommand(), packInstallCommand(), packListCommand(),
		packActiveCommand(), packRollbackCommand(), packDiffCommand(), packShadowCommand())
	return c
}

func packInstallCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "install FILE|DIR|URL|NAME@VERSION",
		Short: "Verify a pack, store it and make it active",
		Long: `Verifies a pack from a file, a directory or an http(s) URL under inspect.packs.trusted_keys, tries
its examples, stores it and makes it the active one in one atomic step. A running gateway takes it up
within a second and drops no call. With --store-only it is only stored, for inspect.packs.shadow and
pack diff; NAME@VERSION then makes a stored one active. A version older than what was active is
refused: see pack rollback. A URL is fetched through the same guard as upstreams (proxy.allow_private),
without redirects.`,
		Args: cobra.ExactArgs(1),
	}
	path := configFlag(c)
	only := c.Flags().Bool("store-only", false, "store it without making it active")
	asJSON := c.Flags().Bool("json", false, "print JSON")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		cfg, err := loadConfig(*path)
		if err != nil {
			return err
		}
		ch, err := server.InstallPack(cmd.Context(), cfg, args[0], !*only)
		if err != nil {
			return err
		}
		return printChange(ch, *asJSON)
	}
	return c
}

func printChange(ch pack.Change, asJSON bool) error {
	if asJSON {
		return printJSON(os.Stdout, ch)
	}
	if ch.Stored != "" {
		fmt.Println("stored", ch.Stored)
	}
	if ch.Active != ch.Before {
		fmt.Printf("active: %s (before: %s)\n", ch.Active, ch.Before)
	} else {
		fmt.Printf("active: %s, as before\n", ch.Active)
	}
	return nil
}

func packListCommand() *cobra.Command {
	c := &cobra.Command{Use: "list", Short: "List installed packs; each is verified", Args: cobra.NoArgs}
	path := configFlag(c)
	asJSON := c.Flags().Bool("json", false, "print JSON")
	c.RunE = func(*cobra.Command, []string) error {
		cfg, err := loadConfig(*path)
		if err != nil {
			return err
		}
		store, err := server.Packs(cfg)
		if err != nil {
			return err
		}
		list, err := store.List()
		if err != nil {
			return fmt.Errorf("list packs: %w", err)
		}
		if *asJSON {
			return printJSON(os.Stdout, list)
		}
		w := tabwriter.NewWriter(os.Stdout, 0, 4, 2, ' ', 0)
		fmt.Fprintln(w, "PACK\tSTATE\tCREATED\tSIGNED BY\tPROBLEM")
		for _, l := range list {
			state := "-"
			if l.Active {
				state = "active"
			} else if l.Before {
				state = "before"
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", plain(l.ID), state, day(l.Created), plain(l.Signer), plain(l.Problem))
		}
		return w.Flush()
	}
	return c
}

func packActiveCommand() *cobra.Command {
	c := &cobra.Command{Use: "active", Short: "Say which pack is active, and whether it can be loaded", Args: cobra.NoArgs}
	path := configFlag(c)
	asJSON := c.Flags().Bool("json", false, "print JSON")
	c.RunE = func(*cobra.Command, []string) error {
		cfg, err := loadConfig(*path)
		if err != nil {
			return err
		}
		store, err := server.Packs(cfg)
		if err != nil {
			return err
		}
		st, err := store.State()
		if err != nil {
			return err
		}
		_, _, lerr := store.Active()
		if *asJSON {
			out := map[string]any{"active": st.Active, "history": st.History, "loads": lerr == nil}
			if lerr != nil {
				out["problem"] = lerr.Error()
			}
			if err := printJSON(os.Stdout, out); err != nil {
				return err
			}
		} else {
			fmt.Println(st.Active.ID)
			if lerr != nil {
				fmt.Fprintln(os.Stderr, "it cannot be loaded:", plain(lerr.Error()))
			}
		}
		if lerr != nil {
			return exitCode(1)
		}
		return nil
	}
	return c
}

func packRollbackCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "rollback",
		Short: "Make the pack active again that was active before",
		Long: `Goes back to the pack that was active before this one, in one atomic step; a running gateway takes it
up within a second. Again goes one further back. --to names one of those before, or builtin, to which
it is always possible to go back.`,
		Args: cobra.NoArgs,
	}
	path := configFlag(c)
	to := c.Flags().String("to", "", "pack that was active before, or builtin")
	asJSON := c.Flags().Bool("json", false, "print JSON")
	c.RunE = func(*cobra.Command, []string) error {
		cfg, err := loadConfig(*path)
		if err != nil {
			return err
		}
		ch, err := server.RollbackPack(cfg, *to)
		if err != nil {
			return err
		}
		return printChange(ch, *asJSON)
	}
	return c
}
