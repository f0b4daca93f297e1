package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"

	"github.com/spf13/cobra"
)

var errNoValue = errors.New("give the value on standard input, or name a file with --value-file; an argument would be seen by others")

// readValue takes a secret from where no other process sees it.
func readValue(file string) (string, error) {
	var b []byte
	var err error
	if file != "" {
		b, err = os.ReadFile(file)
	} else {
		if st, serr := os.Stdin.Stat(); serr == nil && st.Mode()&os.ModeCharDevice != 0 {
			return "", errNoValue
		}
		b, err = io.ReadAll(io.LimitReader(os.Stdin, 64<<10))
	}
	if err != nil {
		return "", fmt.Errorf("read value: %w", err)
	}
	v := strings.TrimRight(string(b), "\r\n")
	if v == "" {
		return "", errNoValue
	}
	return v, nil
}

func providerCommand() *cobra.Command {
	c := &cobra.Command{Use: "provider", Short: "Manage the providers' credentials, sealed at rest",
		Long: "Manages the credentials that the gateway sends to providers. Without --tenant they serve every tenant that has none of its own."}
	columns := []string{"id", "upstream", "name", "active"}
	base := func(tenant string) string {
		if tenant == "" {
			return "/providers"
		}
		return "/tenants/" + url.PathEscape(tenant) + "/providers"
	}
	flag := func(c *cobra.Command) *string { return c.Flags().String("tenant", "", "tenant (default: all)") }

	list := &cobra.Command{Use: "list", Short: "List credentials, never their values", Args: cobra.NoArgs}
	lt := flag(list)
	c.AddCommand(over(list, func(ctx context.Context, a *administration, _ []string, asJSON bool) error {
		items, err := a.all(ctx, base(*lt))
		if err != nil {
			return fmt.Errorf("list providers: %w", err)
		}
		return printThings(os.Stdout, items, columns, asJSON)
	}))

	create := &cobra.Command{Use: "create UPSTREAM", Short: "Keep a credential; its value comes from standard input", Args: cobra.ExactArgs(1)}
	ct, name, cf := flag(create), create.Flags().String("name", "", "name for people (default: the upstream)"), create.Flags().String("value-file", "", "file that holds the value")
	c.AddCommand(over(create, func(ctx context.Context, a *administration, args []string, asJSON bool) error {
		v, err := readValue(*cf)
		if err != nil {
			return err
		}
		if *name == "" {
			*name = args[0]
		}
		var item map[string]any
		if err := a.do(ctx, http.MethodPost, base(*ct), map[string]string{"upstream": args[0], "name": *name, "value": v}, &item); err != nil {
			return fmt.Errorf("create provider: %w", err)
		}
		return printThing(os.Stdout, item, columns, asJSON)
	}))

	rotate := &cobra.Command{Use: "rotate ID", Short: "Replace the value, at once and without a restart", Args: cobra.ExactArgs(1)}
	rt, rf := flag(rotate), rotate.Flags().String("value-file", "", "file that holds the value")
	c.AddCommand(over(rotate, func(ctx context.Context, a *administration, args []string, asJSON bool) error {
		v, err := readValue(*rf)
		if err != nil {
			return err
		}
		var item map[string]any
		if err := a.do(ctx, http.MethodPost, base(*rt)+"/"+url.PathEscape(args[0])+"/versions", map[string]any{"value": v, "activate": true}, &item); err != nil {
			return fmt.Errorf("rotate provider: %w", err)
		}
		return printThing(os.Stdout, item, columns, asJSON)
	}))

	remove := &cobra.Command{Use: "delete ID", Short: "Delete a credential with all its values", Args: cobra.ExactArgs(1)}
	dt := flag(remove)
	c.AddCommand(over(remove, func(ctx context.Context, a *administration, args []string, asJSON bool) error {
		if err := a.do(ctx, http.MethodDelete, base(*dt)+"/"+url.PathEscape(args[0]), nil, nil); err != nil {
			return fmt.Errorf("delete provider: %w", err)
		}
		if asJSON {
			return printJSON(os.Stdout, map[string]string{"deleted": args[0]})
		}
		fmt.Println("deleted", plain(args[0]))
		return nil
	}))
	return c
}
