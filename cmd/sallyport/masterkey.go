package main

import (
	"context"
	"fmt"
	"net/http"
	"os"

	"github.com/spf13/cobra"
)

func masterKeyCommand() *cobra.Command {
	c := &cobra.Command{Use: "master-key", Short: "See and renew what seals the secrets at rest"}
	for use, what := range map[string][3]string{
		"show": {http.MethodGet, "/system/master-key", "Say which master keys are in use"}, "rewrap": {http.MethodPost, "/system/master-key/rewrap", "Wrap every data key by the current master key"},
		"rotate-signing-keys": {http.MethodPost, "/system/signing-keys/rotate", "End the keys that exchanged tokens are signed with, and every such token"},
		"rotate-data-keys":    {http.MethodPost, "/system/data-keys/rotate", "Make new data keys and seal every value anew"},
	} {
		c.AddCommand(over(&cobra.Command{Use: use, Short: what[2], Args: cobra.NoArgs}, func(ctx context.Context, a *administration, _ []string, asJSON bool) error {
			var item map[string]any
			if err := a.do(ctx, what[0], what[1], nil, &item); err != nil {
				return fmt.Errorf("%s master key: %w", use, err)
			}
			return printThing(os.Stdout, item, []string{"keys", "changed", "values", "in_use", "ended"}, asJSON)
		}))
	}
	return c
}
