package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"time"

	"github.com/spf13/cobra"
)

// scimTokenCommand manages the tokens with which a company's directory provisions people.
func scimTokenCommand() *cobra.Command {
	c := &cobra.Command{Use: "scim-token", Short: "Manage tokens with which a directory provisions people (SCIM)"}
	path := func(tenant string, more ...string) string {
		p := "/tenants/" + url.PathEscape(tenant) + "/scim-tokens"
		for _, m := range more {
			p += "/" + url.PathEscape(m)
		}
		return p
	}
	type made struct {
		Key    map[string]any `json:"key"`
		Secret string         `json:"secret"`
	}
	show := func(m made, asJSON bool) error {
		if asJSON {
			return printJSON(os.Stdout, m)
		}
		fmt.Printf("%s\n\nShown this once. The directory's address here is the console's, and /scim/v2.\n", m.Secret)
		return nil
	}

	create := &cobra.Command{Use: "create --name NAME", Short: "Make a token; it is shown once", Args: cobra.NoArgs}
	tenant := tenantFlag(create)
	name := create.Flags().String("name", "", "what it is for")
	life := create.Flags().Duration("expires", 0, "how long it is valid, such as 8760h (default: for ever)")
	_ = create.MarkFlagRequired("name")
	over(create, func(ctx context.Context, a *administration, _ []string, asJSON bool) error {
		in := map[string]any{"name": *name}
		if *life > 0 {
			in["expires"] = time.Now().Add(*life).UTC().Format(time.RFC3339)
		}
		var m made
		if err := a.do(ctx, http.MethodPost, path(*tenant), in, &m); err != nil {
			return fmt.Errorf("create token: %w", err)
		}
		return show(m, asJSON)
	})

	list := &cobra.Command{Use: "list", Short: "List tokens; no secret is shown", Args: cobra.NoArgs}
	listTenant := tenantFlag(list)
	over(list, func(ctx context.Context, a *administration, _ []string, asJSON bool) error {
		items, err := a.all(ctx, path(*listTenant))
		if err != nil {
			return fmt.Errorf("list tokens: %w", err)
		}
		return printThings(os.Stdout, items, []string{"id", "name", "status", "last_used", "expires"}, asJSON)
	})

	rotate := &cobra.Command{Use: "rotate ID", Short: "Give a token a new secret; the one before stays valid for the overlap of its class", Args: cobra.ExactArgs(1)}
	rotateTenant := tenantFlag(rotate)
	over(rotate, func(ctx context.Context, a *administration, args []string, asJSON bool) error {
		var m made
		if err := a.do(ctx, http.MethodPost, path(*rotateTenant, args[0], "rotate"), map[string]any{}, &m); err != nil {
			return fmt.Errorf("rotate token: %w", err)
		}
		return show(m, asJSON)
	})

	revoke := &cobra.Command{Use: "revoke ID", Short: "End a token for good", Args: cobra.ExactArgs(1)}
	revokeTenant := tenantFlag(revoke)
	over(revoke, func(ctx context.Context, a *administration, args []string, asJSON bool) error {
		if err := a.do(ctx, http.MethodDelete, path(*revokeTenant, args[0]), nil, nil); err != nil {
			return fmt.Errorf("revoke token: %w", err)
		}
		if asJSON {
			return printJSON(os.Stdout, map[string]string{"revoked": args[0]})
		}
		fmt.Println("revoked", plain(args[0]))
		return nil
	})
	c.AddCommand(create, list, rotate, revoke)
	return c
}
