package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"os"

	"github.com/spf13/cobra"
)

// approvalCommand shows what waits for a second person, and ends it. It cannot approve: a command on the
// gateway's machine is no person.
func approvalCommand() *cobra.Command {
	columns := []string{"id", "state", "action", "target", "requested", "decided", "expires"}
	path := func(tenant string) string { return "/tenants/" + url.PathEscape(tenant) + "/changes" }

	list := &cobra.Command{Use: "list", Short: "List the acts that wait, or waited, for a second person", Args: cobra.NoArgs}
	lt := tenantFlag(list)
	over(list, func(ctx context.Context, a *administration, _ []string, asJSON bool) error {
		items, err := a.all(ctx, path(*lt))
		if err != nil {
			return fmt.Errorf("list changes: %w", err)
		}
		return printThings(os.Stdout, items, columns, asJSON)
	})

	refuse := &cobra.Command{Use: "refuse ID", Short: "End an act that waits", Args: cobra.ExactArgs(1)}
	rt := tenantFlag(refuse)
	over(refuse, func(ctx context.Context, a *administration, args []string, asJSON bool) error {
		var item map[string]any
		if err := a.do(ctx, http.MethodPost, path(*rt)+"/"+url.PathEscape(args[0])+"/refuse", nil, &item); err != nil {
			return fmt.Errorf("refuse change: %w", err)
		}
		return printThing(os.Stdout, item, columns, asJSON)
	})

	c := &cobra.Command{Use: "approval", Short: "See what waits for a second person (iam.four_eyes)",
		Long: "See what waits for a second person, and end it.\n\nApproving is for people who signed in at the console: a command on the gateway's machine is no person.\nPOST /admin/v1/tenants/TENANT/changes/ID/approve there; then whoever asked repeats the very same\nrequest with the header Sallyport-Approval: ID."}
	c.AddCommand(list, refuse)
	return c
}
