package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"sallyport.dev/sallyport/internal/config"
	"sallyport.dev/sallyport/internal/iam"
	"sallyport.dev/sallyport/internal/iam/quota"
)

// keyInfo is what the administrative interface says of a key.
type keyInfo struct {
	ID       string    `json:"id"`
	Tenant   string    `json:"tenant"`
	Name     string    `json:"name"`
	Owner    string    `json:"owner"`
	Status   string    `json:"status"`
	Class    string    `json:"class"`
	Created  time.Time `json:"created"`
	Ends     time.Time `json:"ends"`
	LastUsed time.Time `json:"last_used"`
}

// newKey is a key that was made or rotated; its secret is not kept and cannot be shown again.
type newKey struct {
	Key      map[string]any `json:"key"`
	Secret   string         `json:"secret"`
	Warnings []string       `json:"warnings,omitempty"`
}

func keyCommand() *cobra.Command {
	c := &cobra.Command{Use: "key", Short: "Manage gateway keys (for iam.mode: keys)"}
	c.AddCommand(keyCreateCommand(), keyListCommand(), keyGetCommand(), keyRotateCommand(), keyRevokeCommand(), keyDueCommand())
	return c
}

func keysPath(tenant string, more ...string) string {
	p := "/tenants/" + url.PathEscape(tenant) + "/keys"
	for _, m := range more {
		p += "/" + url.PathEscape(m)
	}
	return p
}

func keyCreateCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "create --name NAME --upstream U --endpoint E --model M",
		Short: "Make a key; it is shown once",
		Long: `Makes a key. A key may do nothing that is not named: each of --upstream, --endpoint and --model takes
patterns in which * stands for anything, and must be given (use "*" for all). --tool, --feature and --data
limit it further where they are given; --no-tools and --no-data allow none.`,
		Args: cobra.NoArgs,
	}
	f := c.Flags()
	tenant := tenantFlag(c)
	name := f.String("name", "", "what the key is for")
	owner := f.String("owner", "", "who answers for it")
	upstreams := f.StringSlice("upstream", nil, "upstreams it may reach, or *")
	endpoints := f.StringSlice("endpoint", nil, "endpoints it may call, such as chat.completions, or *")
	models := f.StringSlice("model", nil, "models it may use, such as gpt-4o*, or *")
	cidrs := f.StringSlice("cidr", nil, "addresses it may be used from (default: any)")
	spiffe := f.StringSlice("spiffe", nil, "SPIFFE ids, one of which the caller's certificate must have (default: none is asked for)")
	expires := f.Duration("expires", 0, "how long it is valid, such as 720h (default: for ever)")
	team := f.String("team", "", "id of the team that it counts for")
	principal := f.String("principal", "", "id of the person, service or agent that it belongs to")
	class := f.String("class", "", "rotation policy (default: standard)")
	purpose := f.String("purpose", "", "what it is used for")
	tools := f.StringSlice("tool", nil, "tools that may be offered to a model (default: any)")
	noTools := f.Bool("no-tools", false, "no tool may be offered")
	features := f.StringSlice("feature", nil, "features a call may use: stream, tools, files, images, audio, video, batch, stored, fine_tuning, realtime, unread, admin (default: all but admin)")
	data := f.StringSlice("data", nil, "classes of data that may be sent, such as secret (default: any)")
	noData := f.Bool("no-data", false, "nothing of any class of data may be sent")
	budgets := f.StringSlice("budget", nil, "limit such as requests=100/1m, tokens=1000000/24h, cost=5000000/month (millionths; calendar months in UTC), concurrency=4")
	shared := f.Bool("shared", false, "it is used from many places on purpose")
	for _, n := range []string{"name", "upstream", "endpoint", "model"} {
		_ = c.MarkFlagRequired(n)
	}
	return over(c, func(ctx context.Context, a *administration, _ []string, asJSON bool) error {
		body := map[string]any{
			"name": *name, "owner": *owner, "scopes": map[string][]string{"upstreams": *upstreams, "endpoints": *endpoints, "models": *models},
			"team": *team, "principal": *principal, "class": *class, "purpose": *purpose, "shared": *shared,
		}
		for _, s := range *cidrs {
			if _, err := netip.ParsePrefix(s); err != nil {
				return fmt.Errorf("read --cidr %q: want an address range such as 10.0.0.0/8", s)
			}
		}
		for member, list := range map[string][]string{"cidrs": *cidrs, "spiffe": *spiffe, "tools": *tools, "features": *features, "data": *data} {
			if len(list) > 0 {
				body[member] = list
			}
		}
		if *noTools {
			body["tools"] = []string{}
		}
		if *noData {
			body["data"] = []string{}
		}
		if *expires > 0 {
			body["expires"] = time.Now().Add(*expires).UTC()
		}
		if len(*budgets) > 0 {
			bs, err := readBudgets(*budgets)
			if err != nil {
				return err
			}
			body["budgets"] = bs
		}
		var n newKey
		if err := a.do(ctx, http.MethodPost, keysPath(*tenant), body, &n); err != nil {
			return fmt.Errorf("create key: %w", err)
		}
		return printNewKey("key.create", n, asJSON)
	})
}

// readBudgets reads limits such as tokens=1000000/24h.
func readBudgets(list []string) ([]map[string]any, error) {
	var out []map[string]any
	for _, s := range list {
		unit, rest, ok := strings.Cut(s, "=")
		amount, window, windowed := strings.Cut(rest, "/")
		n, err := strconv.ParseInt(amount, 10, 64)
		if !ok || err != nil {
			return nil, fmt.Errorf("read --budget %q: want a unit, a whole number and a window, such as requests=100/1m or cost=5000000/month, or concurrency=4", s)
		}
		b := map[string]any{"unit": unit, "amount": n}
		if windowed {
			if _, err := quota.ParseWindow(window); err != nil {
				return nil, fmt.Errorf("read --budget %q: %w", s, err)
			}
			b["window"] = window
		}
		out = append(out, b)
	}
	return out, nil
}

func printNewKey(action string, n newKey, asJSON bool) error {
	id, _ := n.Key["id"].(string)
	if asJSON {
		return printJSON(os.Stdout, map[string]any{"key": n.Secret, "id": id, "action": action, "info": n.Key, "warnings": append([]string{}, n.Warnings...)})
	}
	fmt.Println(n.Secret)
	for _, w := range n.Warnings {
		fmt.Fprintln(os.Stderr, "warning:", plain(w))
	}
	fmt.Fprintf(os.Stderr, "key %s; this is the only time it is shown\n", plain(id))
	return nil
}

func keyGetCommand() *cobra.Command {
	c := &cobra.Command{Use: "get ID", Short: "Show a key with its scopes and budgets; no secret is shown", Args: cobra.ExactArgs(1)}
	tenant := tenantFlag(c)
	return over(c, func(ctx context.Context, a *administration, args []string, asJSON bool) error {
		var k map[string]any
		if err := a.do(ctx, http.MethodGet, keysPath(*tenant, args[0]), nil, &k); err != nil {
			return fmt.Errorf("get key: %w", err)
		}
		if asJSON {
			return printJSON(os.Stdout, k)
		}
		printMembers(os.Stdout, "", k)
		return nil
	})
}

// printMembers prints an object, a member a line.
func printMembers(w io.Writer, prefix string, m map[string]any) {
	for _, name := range slices.Sorted(maps.Keys(m)) {
		switch v := m[name].(type) {
		case map[string]any:
			printMembers(w, prefix+name+".", v)
		case []any:
			for _, x := range v {
				if o, ok := x.(map[string]any); ok { // such as a budget
					fmt.Fprintf(w, "%s:", plain(prefix+name))
					for _, n := range slices.Sorted(maps.Keys(o)) {
						fmt.Fprintf(w, " %s=%s", plain(n), cell(o[n]))
					}
					fmt.Fprintln(w)
				} else {
					fmt.Fprintf(w, "%s: %s\n", plain(prefix+name), cell(x))
				}
			}
		default:
			fmt.Fprintf(w, "%s: %s\n", plain(prefix+name), cell(v))
		}
	}
}

func keyListCommand() *cobra.Command {
	c := &cobra.Command{Use: "list", Short: "List keys; no secret is shown", Args: cobra.NoArgs}
	tenant := tenantFlag(c)
	return over(c, func(ctx context.Context, a *administration, _ []string, asJSON bool) error {
		if asJSON {
			items, err := a.all(ctx, keysPath(*tenant))
			if err != nil {
				return fmt.Errorf("list keys: %w", err)
			}
			return printThings(os.Stdout, items, nil, true)
		}
		w := tabwriter.NewWriter(os.Stdout, 0, 4, 2, ' ', 0)
		fmt.Fprintln(w, "ID\tNAME\tOWNER\tSTATUS\tCREATED\tEXPIRES\tLAST USED")
		for after := ""; ; {
			var page struct {
				Items []keyInfo
				Next  string
			}
			at := keysPath(*tenant)
			if after != "" {
				at += "?after=" + url.QueryEscape(after)
			}
			if err := a.do(ctx, http.MethodGet, at, nil, &page); err != nil {
				return fmt.Errorf("list keys: %w", err)
			}
			for _, k := range page.Items {
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", plain(k.ID), plain(k.Name), plain(k.Owner), plain(k.Status), day(k.Created), day(k.Ends), day(k.LastUsed))
			}
			if after = page.Next; after == "" {
				return w.Flush()
			}
		}
	})
}

func day(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format("2006-01-02")
}

// filterFlags name many keys at once.
func filterFlags(c *cobra.Command) func() (map[string]any, bool) {
	f := c.Flags()
	all := f.Bool("all", false, "every key of the tenant")
	team := f.String("of-team", "", "keys of this team")
	principal := f.String("of-principal", "", "keys of this person, service or agent")
	class := f.String("of-class", "", "keys of this class")
	since := f.Duration("used-within", 0, "keys used, or made, within this time")
	return func() (map[string]any, bool) {
		b := map[string]any{}
		if *all {
			b["all"] = true
		}
		for k, v := range map[string]string{"team": *team, "principal": *principal, "class": *class} {
			if v != "" {
				b[k] = v
			}
		}
		if *since > 0 {
			b["used_since"] = time.Now().Add(-*since).UTC()
		}
		return b, len(b) > 0
	}
}

var errOneOrMany = errors.New("name one key by its id, or many with --all, --of-team, --of-principal, --of-class or --used-within")

// many acts on many keys and prints what became of each.
func many(ctx context.Context, a *administration, tenant, act string, filter map[string]any, asJSON bool) error {
	var out struct {
		Done    []newKey          `json:"done"`
		Failed  map[string]string `json:"failed"`
		Pending string            `json:"pending,omitempty"`
		Left    int               `json:"left,omitempty"`
	}
	if err := a.do(ctx, http.MethodPost, "/tenants/"+url.PathEscape(tenant)+"/keys-"+act, filter, &out); err != nil {
		return fmt.Errorf("%s keys: %w", act, err)
	}
	if asJSON {
		if err := printJSON(os.Stdout, out); err != nil {
			return err
		}
	} else {
		for _, n := range out.Done {
			id, _ := n.Key["id"].(string)
			if n.Secret == "" {
				fmt.Println(act+"d", plain(id)) // "revoked"
			} else {
				fmt.Println(plain(id), n.Secret)
			}
		}
		if out.Pending != "" {
			fmt.Fprintln(os.Stderr, plain(out.Pending))
		}
		for id, why := range out.Failed {
			fmt.Fprintln(os.Stderr, plain(id), plain(why))
		}
	}
	if out.Left > 0 {
		return fmt.Errorf("%s keys: %d more match; run it again", act, out.Left)
	}
	if len(out.Failed) > 0 {
		return fmt.Errorf("%s keys: %d of %d failed", act, len(out.Failed), len(out.Failed)+len(out.Done))
	}
	return nil
}

func keyRotateCommand() *cobra.Command {
	c := &cobra.Command{Use: "rotate [ID]", Short: "Give a key a new secret; the old one stays valid for a while",
		Long: "Gives a key a new secret. With --all or another filter, many at once: then the old secrets end at once, as after an incident.", Args: cobra.MaximumNArgs(1)}
	tenant, filter := tenantFlag(c), filterFlags(c)
	grace := c.Flags().Duration("grace", 24*time.Hour, "how long the old secret stays valid; 0 ends it at once; when left out, what its class says comes first")
	return over(c, func(ctx context.Context, a *administration, args []string, asJSON bool) error {
		f, isMany := filter()
		if isMany == (len(args) == 1) {
			return errOneOrMany
		}
		if isMany {
			return many(ctx, a, *tenant, "rotate", f, asJSON)
		}
		body := map[string]string{"grace": grace.String()}
		if !c.Flags().Changed("grace") {
			var k keyInfo
			if err := a.do(ctx, http.MethodGet, keysPath(*tenant, args[0]), nil, &k); err != nil {
				return fmt.Errorf("rotate key: %w", err)
			}
			if slices.ContainsFunc(a.cfg.IAM.KeyClasses, func(x config.KeyClass) bool { return x.Name == k.Class || x.Name == iam.DefaultClass }) {
				body = map[string]string{}
			}
		}
		var n newKey
		if err := a.do(ctx, http.MethodPost, keysPath(*tenant, args[0], "rotate"), body, &n); err != nil {
			return fmt.Errorf("rotate key: %w", err)
		}
		return printNewKey("key.rotate", n, asJSON)
	})
}

func keyRevokeCommand() *cobra.Command {
	c := &cobra.Command{Use: "revoke [ID]", Short: "End a key for good, within two seconds", Args: cobra.MaximumNArgs(1)}
	tenant, filter := tenantFlag(c), filterFlags(c)
	return over(c, func(ctx context.Context, a *administration, args []string, asJSON bool) error {
		f, isMany := filter()
		if isMany == (len(args) == 1) {
			return errOneOrMany
		}
		if isMany {
			return many(ctx, a, *tenant, "revoke", f, asJSON)
		}
		var k map[string]any
		if err := a.do(ctx, http.MethodPost, keysPath(*tenant, args[0], "revoke"), nil, &k); err != nil {
			return fmt.Errorf("revoke key: %w", err)
		}
		if asJSON {
			return printJSON(os.Stdout, map[string]any{"action": "key.revoke", "info": k})
		}
		fmt.Println("revoked", plain(args[0]))
		if why, _ := k["pending"].(string); why != "" {
			fmt.Fprintln(os.Stderr, plain(why))
		}
		return nil
	})
}

func keyDueCommand() *cobra.Command {
	c := &cobra.Command{Use: "due", Short: "List keys whose secrets have to be rotated", Args: cobra.NoArgs}
	tenant := tenantFlag(c)
	return over(c, func(ctx context.Context, a *administration, _ []string, asJSON bool) error {
		var page struct {
			Items []struct {
				Key  keyInfo   `json:"key"`
				Ends time.Time `json:"ends"`
				Over bool      `json:"over"`
			} `json:"items"`
		}
		if err := a.do(ctx, http.MethodGet, "/tenants/"+url.PathEscape(*tenant)+"/keys-due", nil, &page); err != nil {
			return fmt.Errorf("list keys: %w", err)
		}
		if asJSON {
			return printJSON(os.Stdout, page.Items)
		}
		w := tabwriter.NewWriter(os.Stdout, 0, 4, 2, ' ', 0)
		fmt.Fprintln(w, "ID\tNAME\tOWNER\tENDS\tOVER")
		for _, d := range page.Items {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%v\n", plain(d.Key.ID), plain(d.Key.Name), plain(d.Key.Owner), day(d.Ends), d.Over)
		}
		return w.Flush()
	})
}
