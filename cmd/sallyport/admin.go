package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"sallyport.dev/sallyport/internal/config"
	"sallyport.dev/sallyport/internal/iam/quota"
	"sallyport.dev/sallyport/internal/server"
)

// administration is a client of the administrative interface for one command.
type administration struct {
	c    *http.Client
	cfg  *config.Config
	done func()
}

// administer reaches the gateway of the configuration at path: the one that runs, or the same interface
// within this process.
func administer(ctx context.Context, path string) (*administration, error) {
	cfg, err := loadConfig(path)
	if err != nil {
		return nil, err
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	c, done, err := server.Admin(ctx, cfg, log)
	if err != nil {
		return nil, err
	}
	return &administration{c, cfg, done}, nil
}

// do sends one request. in may be nil; out gets the answer, or nothing when it is nil.
func (a *administration) do(ctx context.Context, method, path string, in, out any) error {
	var body io.Reader = http.NoBody
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(b)
	}
	r, err := http.NewRequestWithContext(ctx, method, "http://local/admin/v1"+path, body)
	if err != nil {
		return err
	}
	if in == nil && method == http.MethodPost {
		r.ContentLength = 0
	}
	if method != http.MethodGet {
		r.Header.Set("Content-Type", "application/json")
	}
	res, err := a.c.Do(r)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(io.LimitReader(res.Body, 64<<20))
	if err != nil {
		return err
	}
	if res.StatusCode >= 300 || res.Header.Get("Content-Type") == "application/problem+json" {
		var p struct {
			Detail, Code, Instance string
			Errors, Failures       json.RawMessage
		}
		if json.Unmarshal(b, &p) != nil || p.Detail == "" {
			return fmt.Errorf("the gateway answered %d", res.StatusCode)
		}
		more := ""
		if len(p.Errors)+len(p.Failures) > 0 {
			more = "\n" + string(p.Errors) + string(p.Failures)
		}
		return fmt.Errorf("%s (%s, event %s)%s", p.Detail, p.Code, p.Instance, more)
	}
	if out == nil || len(b) == 0 {
		return nil
	}
	return json.Unmarshal(b, out)
}

// thing is one kind of resource that commands list, make, change and delete.
type thing struct {
	name, plural, short string
	columns             []string // of a list
	fields              []field
	fixed               bool // it cannot be changed, only made and deleted
}

// field is a flag that becomes a member of what is sent.
type field struct {
	flag, member, doc string
	kind              string // text, window, list, bool, yes (a bool that is true by default), number, subjects, links, file (its content), scope (a list within scopes)
	required          bool
}

var things = []thing{
	{"team", "teams", "Manage teams", []string{"id", "name", "members"}, []field{
		{"name", "name", "name of the team", "text", true}, {"member", "members", "id of a person, service or agent in it", "list", false}}, false},
	{"user", "users", "Manage people", []string{"id", "user_name", "name", "active", "origin"}, []field{
		{"user-name", "user_name", "name to sign in with", "text", true}, {"name", "name", "full name", "text", false}, {"email", "email", "address", "text", false},
		{"active", "active", "may sign in", "yes", false}, {"link", "links", "PROVIDER ISSUER SUBJECT of an account that signs in as them", "links", false}, {"break-glass", "break_glass", "an account for emergencies: every use is an alarm", "bool", false}}, false},
	{"group", "groups", "Manage groups of people", []string{"id", "name", "origin", "members"}, []field{
		{"name", "name", "name of the group", "text", true}, {"member", "members", "id of a person in it", "list", false}}, false},
	{"service", "services", "Manage services", []string{"id", "name", "team", "owner", "disabled"}, []field{
		{"name", "name", "name of the service", "text", true}, {"team", "team", "id of its team", "text", false}, {"owner", "owner", "who answers for it", "text", false},
		{"subject", "subjects", "ISSUER SUBJECT of its tokens, or spiffe SPIFFE-ID (* within a segment)", "subjects", false}, {"disabled", "disabled", "refuse it", "bool", false},
		{"upstream", "upstreams", "upstream that its certificate alone may reach", "scope", false}, {"endpoint", "endpoints", "endpoint that it may", "scope", false},
		{"model", "models", "model that it may", "scope", false}}, false},
	{"agent", "agents", "Manage agents", []string{"id", "name", "team", "for", "disabled"}, []field{
		{"name", "name", "name of the agent", "text", true}, {"team", "team", "id of its team", "text", false}, {"owner", "owner", "who answers for it", "text", false},
		{"for", "for", "id of a person that it may act for, or *", "list", false},
		{"subject", "subjects", "ISSUER SUBJECT of its tokens, or spiffe SPIFFE-ID (* within a segment)", "subjects", false}, {"disabled", "disabled", "refuse it", "bool", false},
		{"upstream", "upstreams", "upstream that its certificate alone may reach", "scope", false}, {"endpoint", "endpoints", "endpoint that it may", "scope", false},
		{"model", "models", "model that it may", "scope", false}}, false},
	{"token-revocation", "token-revocations", "End tokens before their time", []string{"id", "token", "principal", "created"}, []field{
		{"token", "token", "one token: the issuer's name, a colon and its jti", "text", false},
		{"principal", "principal", "all until now of: ISSUER:SUBJECT, or (exchanged tokens) the id of a person or agent", "text", false}}, true},
	{"role", "roles", "Manage custom roles", []string{"id", "name", "permissions", "own"}, []field{
		{"name", "name", "name of the role", "text", true}, {"permission", "permissions", "permission in it, such as read:key", "list", false},
		{"own", "own", "permission for what is their own", "list", false}}, false},
	{"limit", "limits", "Manage limits of tenants, teams and principals", []string{"id", "of", "subject", "model", "unit", "amount", "window"}, []field{
		{"of", "of", "whose: tenant, team, principal, each_key", "text", true}, {"subject", "subject", "id of the team or principal", "text", false},
		{"model", "model", "pattern of models that count (default: all)", "text", false}, {"unit", "unit", "requests, tokens, cost (millionths), bytes, concurrency", "text", true},
		{"amount", "amount", "how much", "number", true}, {"window", "window", "in how long: 1m (a minute), 1h, 24h or day, month (days and months by the calendar, in UTC); not for concurrency", "window", false}}, false},
	{"binding", "bindings", "Manage who has which role", []string{"id", "subject_kind", "subject", "role", "team", "deny"}, []field{
		{"kind", "subject_kind", "user, group or service", "text", true}, {"subject", "subject", "id of the person, group, service or agent", "text", true},
		{"role", "role", "role that it has", "text", true}, {"team", "team", "id of the team that it holds in (default: the whole tenant)", "text", false},
		{"deny", "deny", "take the role's permissions away instead", "bool", false}, {"all-tenants", "all_tenants", "in all tenants (of the tenant system only)", "bool", false}}, true},
	{"identity-provider", "identity-providers", "Manage what people of a tenant sign in with", []string{"id", "name", "title", "protocol", "issuer", "disabled"}, []field{
		{"name", "name", "name in addresses and mappings", "text", true}, {"title", "title", "name on the sign-in page", "text", false},
		{"protocol", "protocol", "oidc or saml", "text", true}, {"issuer", "issuer", "issuer, or SAML entity id", "text", true},
		{"client-id", "client_id", "our id there (oidc)", "text", false}, {"client-secret-file", "client_secret", "file with our secret there (oidc)", "file", false},
		{"scope", "scopes", "scope to ask for (oidc)", "list", false}, {"algorithm", "algorithms", "signature algorithm to accept (oidc)", "list", false},
		{"user-info", "user_info", "ask its userinfo endpoint, too (oidc)", "bool", false}, {"metadata-file", "metadata", "file with its metadata (saml)", "file", false},
		{"subject", "subject", "attribute that says who it is; default: NameID (saml)", "text", false}, {"groups", "groups", "claim (a/b: b within a) or attribute with the groups", "text", false},
		{"create", "create", "make people at their first sign-in", "bool", false}, {"match-external-id", "match_external_id", "the subject is the external id of who was provisioned", "bool", false},
		{"strong-amr", "strong_amr", "method that means two factors (default: mfa)", "list", false}, {"strong-acr", "strong_acr", "context that means two factors", "list", false},
		{"ca-file", "ca", "file with the authorities of its certificate", "file", false}, {"disabled", "disabled", "let nobody in with it", "bool", false}}, false},
	{"mapping", "mappings", "Manage which groups of an identity provider have which role", []string{"id", "provider", "group", "role", "team", "deny"}, []field{
		{"provider", "provider", "name of the identity provider", "text", true}, {"group", "group", "group as the provider writes it; * stands for anything", "text", true},
		{"role", "role", "role that who is in it has", "text", true}, {"team", "team", "id of the team that it holds in (default: the whole tenant)", "text", false},
		{"deny", "deny", "take the role away, whatever else gives it", "bool", false}}, false},
}

// adminCommands are the commands over the administrative interface.
func adminCommands() []*cobra.Command {
	cs := []*cobra.Command{initCommand(), tenantCommand(), providerCommand(), masterKeyCommand(), scimTokenCommand(), backupCommand(), restoreCommand(), approvalCommand()}
	for _, t := range things {
		cs = append(cs, t.command())
	}
	return cs
}

// over adds the flags that all these commands have, and runs f with a client.
func over(c *cobra.Command, f func(ctx context.Context, a *administration, args []string, asJSON bool) error) *cobra.Command {
	path := configFlag(c)
	asJSON := c.Flags().Bool("json", false, "print JSON")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		a, err := administer(cmd.Context(), *path)
		if err != nil {
			return err
		}
		defer a.done()
		return f(cmd.Context(), a, args, *asJSON)
	}
	return c
}

func (t thing) command() *cobra.Command {
	c := &cobra.Command{Use: t.name, Short: t.short}
	c.AddCommand(t.list(), t.get(), t.write("create"))
	if t.name != "token-revocation" { // none is taken back
		c.AddCommand(t.remove())
	}
	if t.name == "user" {
		c.AddCommand(userInviteCommand(), userResetCommand())
	}
	if !t.fixed {
		c.AddCommand(t.write("update ID"))
	}
	return c
}

// one is the thing in a sentence.
func (t thing) one() string {
	article := "a "
	if strings.ContainsRune("aei", rune(t.name[0])) { // a user, not an user
		article = "an "
	}
	return article + strings.ReplaceAll(t.name, "-", " ")
}

func tenantFlag(c *cobra.Command) *string {
	return c.Flags().String("tenant", "default", "tenant to work in")
}

func (t thing) path(tenant string, id ...string) string {
	p := "/tenants/" + url.PathEscape(tenant) + "/" + t.plural
	for _, i := range id {
		p += "/" + url.PathEscape(i)
	}
	return p
}

func (t thing) list() *cobra.Command {
	c := &cobra.Command{Use: "list", Short: "List " + strings.ReplaceAll(t.plural, "-", " "), Args: cobra.NoArgs}
	tenant := tenantFlag(c)
	return over(c, func(ctx context.Context, a *administration, _ []string, asJSON bool) error {
		items, err := a.all(ctx, t.path(*tenant))
		if err != nil {
			return fmt.Errorf("list %s: %w", t.plural, err)
		}
		return printThings(os.Stdout, items, t.columns, asJSON)
	})
}

// all reads a list to its end.
func (a *administration) all(ctx context.Context, path string) (items []map[string]any, err error) {
	for after := ""; ; {
		var page struct {
			Items []map[string]any
			Next  string
		}
		at := path
		if after != "" {
			at += "?after=" + url.QueryEscape(after)
		}
		if err := a.do(ctx, http.MethodGet, at, nil, &page); err != nil {
			return nil, err
		}
		items = append(items, page.Items...)
		if after = page.Next; after == "" {
			return items, nil
		}
	}
}

func (t thing) get() *cobra.Command {
	c := &cobra.Command{Use: "get ID", Short: "Show " + t.one(), Args: cobra.ExactArgs(1)}
	tenant := tenantFlag(c)
	return over(c, func(ctx context.Context, a *administration, args []string, asJSON bool) error {
		var item map[string]any
		if err := a.do(ctx, http.MethodGet, t.path(*tenant, args[0]), nil, &item); err != nil {
			return fmt.Errorf("get %s: %w", t.name, err)
		}
		return printThing(os.Stdout, item, t.columns, asJSON)
	})
}

// write is create, or update: which changes only what is named.
func (t thing) write(use string) *cobra.Command {
	update := strings.HasPrefix(use, "update")
	c := &cobra.Command{Use: use, Short: "Make " + t.one(), Args: cobra.NoArgs}
	if update {
		c.Short, c.Args = "Change "+t.one()+"; what is not named stays", cobra.ExactArgs(1)
	}
	tenant := tenantFlag(c)
	for _, f := range t.fields {
		if f.required && !update {
			f.doc += " (required)"
		}
		switch f.kind {
		case "text", "file", "window":
			c.Flags().String(f.flag, "", f.doc)
		case "list", "subjects", "links", "scope":
			c.Flags().StringArray(f.flag, nil, f.doc+" (may be repeated)")
		case "number":
			c.Flags().Int64(f.flag, 0, f.doc)
		case "bool", "yes":
			c.Flags().Bool(f.flag, f.kind == "yes", f.doc)
		}
		if f.required && !update {
			_ = c.MarkFlagRequired(f.flag)
		}
	}
	return over(c, func(ctx context.Context, a *administration, args []string, asJSON bool) error {
		body, method, path := map[string]any{}, http.MethodPost, t.path(*tenant)
		if update {
			method, path = http.MethodPut, t.path(*tenant, args[0])
			var old map[string]any
			if err := a.do(ctx, http.MethodGet, path, nil, &old); err != nil {
				return fmt.Errorf("update %s: %w", t.name, err)
			}
			for _, f := range t.fields {
				member := f.member
				if f.kind == "scope" {
					member = "scopes"
				}
				if v, ok := old[member]; ok {
					body[member] = v
				}
			}
		}
		if err := t.fill(c, body, update); err != nil {
			return err
		}
		var item map[string]any
		if err := a.do(ctx, method, path, body, &item); err != nil {
			return fmt.Errorf("%s %s: %w", strings.Fields(use)[0], t.name, err)
		}
		return printThing(os.Stdout, item, t.columns, asJSON)
	})
}

func (t thing) fill(c *cobra.Command, body map[string]any, update bool) error {
	for _, f := range t.fields {
		if !c.Flags().Changed(f.flag) && (update || f.kind != "yes" && f.kind != "text") {
			continue
		}
		switch f.kind {
		case "text":
			if v, _ := c.Flags().GetString(f.flag); v != "" || update || f.required {
				body[f.member] = v
			}
		case "window":
			delete(body, f.member)
			if v, _ := c.Flags().GetString(f.flag); v != "" { // none, to make it a limit of calls at once
				if _, err := quota.ParseWindow(v); err != nil {
					return fmt.Errorf("read --%s: %w", f.flag, err)
				}
				body[f.member] = v
			}
		case "number":
			body[f.member], _ = c.Flags().GetInt64(f.flag)
		case "bool", "yes":
			body[f.member], _ = c.Flags().GetBool(f.flag)
		case "list":
			body[f.member], _ = c.Flags().GetStringArray(f.flag)
		case "scope":
			scopes, ok := body["scopes"].(map[string]any)
			if !ok {
				scopes = map[string]any{"upstreams": []string{}, "endpoints": []string{}, "models": []string{}}
				body["scopes"] = scopes
			}
			scopes[f.member], _ = c.Flags().GetStringArray(f.flag)
		case "subjects":
			list, _ := c.Flags().GetStringArray(f.flag)
			subjects := []map[string]string{}
			for _, s := range list {
				issuer, subject, ok := strings.Cut(s, " ")
				if !ok {
					return fmt.Errorf("read --%s %q: want the issuer and the subject with a space between", f.flag, s)
				}
				subjects = append(subjects, map[string]string{"issuer": issuer, "subject": subject})
			}
			body[f.member] = subjects
		case "links":
			list, _ := c.Flags().GetStringArray(f.flag)
			links := []map[string]string{}
			for _, s := range list {
				w := strings.Fields(s)
				if len(w) != 3 {
					return fmt.Errorf("read --%s %q: want the provider's name, the issuer and the subject with spaces between", f.flag, s)
				}
				links = append(links, map[string]string{"provider": w[0], "issuer": w[1], "subject": w[2]})
			}
			body[f.member] = links
		case "file":
			path, _ := c.Flags().GetString(f.flag)
			b, err := os.ReadFile(path)
			if err != nil {
				return fmt.Errorf("read --%s: %w", f.flag, err)
			}
			body[f.member] = strings.TrimRight(string(b), "\r\n")
		}
	}
	return nil
}

func (t thing) remove() *cobra.Command {
	c := &cobra.Command{Use: "delete ID", Short: "Delete " + t.one() + "; its id is never used again", Args: cobra.ExactArgs(1)}
	tenant := tenantFlag(c)
	return over(c, func(ctx context.Context, a *administration, args []string, asJSON bool) error {
		if err := a.do(ctx, http.MethodDelete, t.path(*tenant, args[0]), nil, nil); err != nil {
			return fmt.Errorf("delete %s: %w", t.name, err)
		}
		if asJSON {
			return printJSON(os.Stdout, map[string]string{"deleted": args[0]})
		}
		fmt.Println("deleted", plain(args[0]))
		return nil
	})
}

// printThings prints a table of what others may have named: nothing in it can steer a terminal.
func printThings(w io.Writer, items []map[string]any, columns []string, asJSON bool) error {
	if asJSON {
		if items == nil {
			items = []map[string]any{}
		}
		return printJSON(w, items)
	}
	tw := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	fmt.Fprintln(tw, strings.ToUpper(strings.Join(columns, "\t")))
	for _, item := range items {
		cells := make([]string, len(columns))
		for i, c := range columns {
			cells[i] = cell(item[c])
			if w, err := quota.ParseWindow(cells[i]); c == "window" && err == nil {
				cells[i] = w.String() // day, not 24h0m0s
			}
		}
		fmt.Fprintln(tw, strings.Join(cells, "\t"))
	}
	return tw.Flush()
}

// printThing prints one.
func printThing(w io.Writer, item map[string]any, columns []string, asJSON bool) error {
	if asJSON {
		return printJSON(w, item)
	}
	return printThings(w, []map[string]any{item}, columns, false)
}

func cell(v any) string {
	switch v := v.(type) {
	case nil:
		return "-"
	case []any:
		var parts []string
		for _, x := range v {
			parts = append(parts, cell(x))
		}
		return strings.Join(parts, ",")
	case string:
		if v == "" {
			return "-"
		}
		return plain(v)
	case float64: // JSON's numbers; as people write them
		return strconv.FormatFloat(v, 'f', -1, 64)
	}
	return plain(fmt.Sprint(v))
}
