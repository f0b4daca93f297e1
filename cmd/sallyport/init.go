package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"

	"github.com/spf13/cobra"
)

var errOwned = errors.New("there is an owner already; they can invite others (sallyport user create, sallyport user invite)")

// initCommand makes the first owner. A tenant that has one is left alone: whoever can run commands here
// could otherwise take it over without anybody noticing.
func initCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "init",
		Short: "Make the first owner, and a one-time link for them",
		Long: `Makes the first person who may do everything in a tenant, and prints a link that is valid once and for an
hour. With it they choose a password and set up an authenticator, at the console's address (console.address).`,
		Args: cobra.NoArgs,
	}
	tenant := tenantFlag(c)
	name := c.Flags().String("user-name", "owner", "name to sign in with")
	return over(c, func(ctx context.Context, a *administration, _ []string, asJSON bool) error {
		base := "/tenants/" + url.PathEscape(*tenant)
		bindings, err := a.all(ctx, base+"/bindings")
		if err != nil {
			return fmt.Errorf("init: %w", err)
		}
		for _, b := range bindings {
			if b["role"] == "owner" && b["deny"] != true {
				return errOwned
			}
		}
		var user map[string]any
		if err := a.do(ctx, http.MethodPost, base+"/users", map[string]any{"user_name": *name, "name": *name, "active": true}, &user); err != nil {
			return fmt.Errorf("init: make owner: %w", err)
		}
		id, _ := user["id"].(string)
		if err := a.do(ctx, http.MethodPost, base+"/bindings", map[string]any{"subject_kind": "user", "subject": id, "role": "owner"}, nil); err != nil {
			return fmt.Errorf("init: make owner: %w", err)
		}
		return link(ctx, a, http.MethodPost, base, id, "invite", asJSON)
	})
}

// userInviteCommand makes a new link for somebody.
func userInviteCommand() *cobra.Command {
	c := &cobra.Command{Use: "invite ID", Short: "Make a one-time link with which a person chooses a password", Args: cobra.ExactArgs(1)}
	tenant := tenantFlag(c)
	return over(c, func(ctx context.Context, a *administration, args []string, asJSON bool) error {
		return link(ctx, a, http.MethodPost, "/tenants/"+url.PathEscape(*tenant), args[0], "invite", asJSON)
	})
}

// userResetCommand takes somebody's second factors away.
func userResetCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "reset-second ID", Short: "Take away a person's second factors and sessions, and make a one-time link to set up another", Args: cobra.ExactArgs(1),
		Long: "Take away a person's second factors, recovery codes, devices and sessions, for who has lost them. The link lets the person set up\nanother second factor, once, within an hour, and with the password that they have: neither is enough alone.",
	}
	tenant := tenantFlag(c)
	return over(c, func(ctx context.Context, a *administration, args []string, asJSON bool) error {
		return link(ctx, a, http.MethodDelete, "/tenants/"+url.PathEscape(*tenant), args[0], "second-factor", asJSON)
	})
}

// link shows a one-time link for a person.
func link(ctx context.Context, a *administration, method, base, id, what string, asJSON bool) error {
	var made struct {
		Link    string `json:"link"`
		Expires string `json:"expires"`
	}
	if err := a.do(ctx, method, base+"/users/"+url.PathEscape(id)+"/"+what, nil, &made); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	if asJSON {
		return printJSON(os.Stdout, map[string]string{"user": id, "link": made.Link, "expires": made.Expires})
	}
	fmt.Println(made.Link)
	fmt.Fprintf(os.Stderr, "a link for %s, below the console's address; it is valid once, until %s, and this is the only time it is shown\n", plain(id), plain(made.Expires))
	return nil
}
