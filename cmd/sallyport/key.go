package main

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"sallyport.dev/sallyport/internal/iam"
	"sallyport.dev/sallyport/internal/server"
)

func keyCommand() *cobra.Command {
	c := &cobra.Command{Use: "key", Short: "Manage gateway keys (for iam.mode: keys)"}
	c.AddCommand(keyCreateCommand(), keyListCommand(), keyRotateCommand(), keyRevokeCommand())
	return c
}

// withKeys runs f with the key store of the configuration at path.
func withKeys(ctx context.Context, path string, f func(*iam.Service) error) error {
	cfg, err := loadConfig(path)
	if err != nil {
		return err
	}
	svc, done, err := server.Keys(ctx, cfg)
	if err != nil {
		return err
	}
	defer done()
	return f(svc)
}

func keyCreateCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "create --name NAME --upstream U --endpoint E --model M",
		Short: "Make a key; it is shown once",
		Long: `Makes a key. A key may do nothing that is not named: each of --upstream, --endpoint and --model takes
patterns in which * stands for anything, and must be given (use "*" for all).`,
		Args: cobra.NoArgs,
	}
	path := configFlag(c)
	f := c.Flags()
	name := f.String("name", "", "what the key is for")
	owner := f.String("owner", "", "who answers for it")
	upstreams := f.StringSlice("upstream", nil, "upstreams it may reach, or *")
	endpoints := f.StringSlice("endpoint", nil, "endpoints it may call, such as chat.completions, or *")
	models := f.StringSlice("model", nil, "models it may use, such as gpt-4o*, or *")
	cidrs := f.StringSlice("cidr", nil, "addresses it may be used from (default: any)")
	expires := f.Duration("expires", 0, "how long it is valid, such as 720h (default: for ever)")
	asJSON := f.Bool("json", false, "print JSON")
	for _, n := range []string{"name", "upstream", "endpoint", "model"} {
		_ = c.MarkFlagRequired(n)
	}
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		n := iam.NewKey{Name: *name, Owner: *owner, Scopes: iam.Scopes{Upstreams: *upstreams, Endpoints: *endpoints, Models: *models}}
		for _, s := range *cidrs {
			p, err := netip.ParsePrefix(s)
			if err != nil {
				return fmt.Errorf("read --cidr %q: want an address range such as 10.0.0.0/8", s)
			}
			n.CIDRs = append(n.CIDRs, p)
		}
		if *expires > 0 {
			n.Expires = time.Now().Add(*expires)
		}
		return withKeys(cmd.Context(), *path, func(svc *iam.Service) error {
			ch, key, err := svc.Create(cmd.Context(), n)
			if err != nil {
				return fmt.Errorf("create key: %w", err)
			}
			return printNewKey(ch, key.Reveal(), *asJSON)
		})
	}
	return c
}

// printNewKey shows a key's secret, which is not kept and cannot be shown again.
func printNewKey(ch iam.Change, key string, asJSON bool) error {
	if asJSON {
		return printJSON(os.Stdout, map[string]any{"key": key, "id": ch.After.ID, "change": ch})
	}
	fmt.Println(key)
	fmt.Fprintf(os.Stderr, "key %s; this is the only time it is shown\n", ch.After.ID)
	return nil
}

func keyListCommand() *cobra.Command {
	c := &cobra.Command{Use: "list", Short: "List keys; no secret is shown", Args: cobra.NoArgs}
	path := configFlag(c)
	asJSON := c.Flags().Bool("json", false, "print JSON")
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		return withKeys(cmd.Context(), *path, func(svc *iam.Service) error {
			keys, err := svc.List(cmd.Context())
			if err != nil {
				return fmt.Errorf("list keys: %w", err)
			}
			if *asJSON {
				return printJSON(os.Stdout, keys)
			}
			w := tabwriter.NewWriter(os.Stdout, 0, 4, 2, ' ', 0)
			fmt.Fprintln(w, "ID\tNAME\tOWNER\tSTATUS\tCREATED\tEXPIRES\tLAST USED")
			for _, k := range keys {
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", k.ID, plain(k.Name), plain(k.Owner), k.Status(time.Now()), day(k.Created), day(k.Expires), day(k.LastUsed))
			}
			return w.Flush()
		})
	}
	return c
}

func day(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format("2006-01-02")
}

func keyRotateCommand() *cobra.Command {
	c := &cobra.Command{Use: "rotate ID", Short: "Give a key a new secret; the old one stays valid for a while", Args: cobra.ExactArgs(1)}
	path := configFlag(c)
	grace := c.Flags().Duration("grace", 24*time.Hour, "how long the old secret stays valid; 0 ends it at once")
	asJSON := c.Flags().Bool("json", false, "print JSON")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		return withKeys(cmd.Context(), *path, func(svc *iam.Service) error {
			ch, key, err := svc.Rotate(cmd.Context(), args[0], *grace)
			if err != nil {
				return fmt.Errorf("rotate key: %w", err)
			}
			return printNewKey(ch, key.Reveal(), *asJSON)
		})
	}
	return c
}

func keyRevokeCommand() *cobra.Command {
	c := &cobra.Command{Use: "revoke ID", Short: "End a key for good, within two seconds", Args: cobra.ExactArgs(1)}
	path := configFlag(c)
	asJSON := c.Flags().Bool("json", false, "print JSON")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		return withKeys(cmd.Context(), *path, func(svc *iam.Service) error {
			ch, err := svc.Revoke(cmd.Context(), args[0])
			if err != nil {
				return fmt.Errorf("revoke key: %w", err)
			}
			if *asJSON {
				return printJSON(os.Stdout, ch)
			}
			fmt.Println("revoked", ch.After.ID)
			return nil
		})
	}
	return c
}
