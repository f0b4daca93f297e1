package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"

	"github.com/spf13/cobra"
)

func tenantCommand() *cobra.Command {
	c := &cobra.Command{Use: "tenant", Short: "Manage tenants"}
	columns := []string{"id", "name", "disabled"}
	c.AddCommand(over(&cobra.Command{Use: "list", Short: "List tenants", Args: cobra.NoArgs}, func(ctx context.Context, a *administration, _ []string, asJSON bool) error {
		items, err := a.all(ctx, "/tenants")
		if err != nil {
			return fmt.Errorf("list tenants: %w", err)
		}
		return printThings(os.Stdout, items, columns, asJSON)
	}))
	create := &cobra.Command{Use: "create ID", Short: "Make a tenant", Args: cobra.ExactArgs(1)}
	name := create.Flags().String("name", "", "name for people (default: the id)")
	c.AddCommand(over(create, func(ctx context.Context, a *administration, args []string, asJSON bool) error {
		if *name == "" {
			*name = args[0]
		}
		var item map[string]any
		if err := a.do(ctx, http.MethodPost, "/tenants", map[string]string{"id": args[0], "name": *name}, &item); err != nil {
			return fmt.Errorf("create tenant: %w", err)
		}
		return printThing(os.Stdout, item, columns, asJSON)
	}))
	for _, able := range []string{"disable", "enable"} {
		c.AddCommand(over(&cobra.Command{Use: able + " ID", Short: strings.ToUpper(able[:1]) + able[1:] + " a tenant, with all its keys", Args: cobra.ExactArgs(1)},
			func(ctx context.Context, a *administration, args []string, asJSON bool) error {
				path := "/tenants/" + url.PathEscape(args[0])
				var item map[string]any
				err := a.do(ctx, http.MethodGet, path, nil, &item)
				if err == nil {
					err = a.do(ctx, http.MethodPut, path, map[string]any{"name": item["name"], "disabled": able == "disable"}, &item)
				}
				if err != nil {
					return fmt.Errorf("%s tenant: %w", able, err)
				}
				return printThing(os.Stdout, item, columns, asJSON)
			}))
	}
	return c
}
