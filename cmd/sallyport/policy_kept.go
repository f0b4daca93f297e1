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

// keptPolicyCommands manage the policies that gateways ask.
func keptPolicyCommands() []*cobra.Command {
	columns := []string{"id", "name", "off", "updated"}
	path := func(tenant string, id ...string) string {
		p := "/tenants/" + url.PathEscape(tenant) + "/policies"
		for _, i := range id {
			p += "/" + url.PathEscape(i)
		}
		return p
	}
	find := func(ctx context.Context, a *administration, tenant, name string) (map[string]any, error) {
		items, err := a.all(ctx, path(tenant))
		if err != nil {
			return nil, err
		}
		for _, i := range items {
			if i["name"] == name || i["id"] == name {
				return i, nil
			}
		}
		return nil, nil
	}

	list := &cobra.Command{Use: "list", Short: "List the policies in force", Args: cobra.NoArgs}
	lt := tenantFlag(list)
	over(list, func(ctx context.Context, a *administration, _ []string, asJSON bool) error {
		items, err := a.all(ctx, path(*lt))
		if err != nil {
			return fmt.Errorf("list policies: %w", err)
		}
		return printThings(os.Stdout, items, columns, asJSON)
	})

	put := &cobra.Command{Use: "put NAME FILE", Short: "Put a policy in force, within two seconds; one that fails its examples is refused", Args: cobra.ExactArgs(2)}
	pt := tenantFlag(put)
	examples := put.Flags().String("examples", "", "file of examples that it must fit (default: FILE with .examples.yaml, if there is one)")
	off := put.Flags().Bool("off", false, "keep it without putting it in force")
	over(put, func(ctx context.Context, a *administration, args []string, asJSON bool) error {
		text, err := os.ReadFile(args[1])
		if err != nil {
			return fmt.Errorf("read policy: %w", err)
		}
		body := map[string]any{"name": args[0], "text": string(text), "off": *off}
		at := *examples
		if at == "" {
			at = strings.TrimSuffix(args[1], ".cedar") + ".examples.yaml"
		}
		b, err := os.ReadFile(at)
		switch {
		case err == nil:
			body["examples"] = string(b)
		case *examples != "" || !os.IsNotExist(err):
			return fmt.Errorf("read examples: %w", err)
		}
		old, err := find(ctx, a, *pt, args[0])
		if err != nil {
			return fmt.Errorf("put policy: %w", err)
		}
		method, to := http.MethodPost, path(*pt)
		if old != nil {
			id, _ := old["id"].(string)
			method, to = http.MethodPut, path(*pt, id)
		}
		var item map[string]any
		if err := a.do(ctx, method, to, body, &item); err != nil {
			return fmt.Errorf("put policy: %w", err)
		}
		return printThing(os.Stdout, item, columns, asJSON)
	})

	remove := &cobra.Command{Use: "delete NAME", Short: "Take a policy away", Args: cobra.ExactArgs(1)}
	rt := tenantFlag(remove)
	over(remove, func(ctx context.Context, a *administration, args []string, asJSON bool) error {
		old, err := find(ctx, a, *rt, args[0])
		if err == nil && old == nil {
			err = fmt.Errorf("there is no policy %s", plain(args[0]))
		}
		if err == nil {
			id, _ := old["id"].(string)
			err = a.do(ctx, http.MethodDelete, path(*rt, id), nil, nil)
		}
		if err != nil {
			return fmt.Errorf("delete policy: %w", err)
		}
		if asJSON {
			return printJSON(os.Stdout, map[string]string{"deleted": args[0]})
		}
		fmt.Println("deleted", plain(args[0]))
		return nil
	})
	return []*cobra.Command{list, put, remove}
}
