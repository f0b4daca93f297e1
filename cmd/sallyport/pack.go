package main

import (
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"sallyport.dev/sallyport/internal/durable"
	"sallyport.dev/sallyport/internal/inspect/pack"
	"sallyport.dev/sallyport/internal/server"
)

func packCommand() *cobra.Command {
	c := &cobra.Command{Use: "pack", Short: "Build, install, compare and roll back signed packs of rules, thresholds and weights"}
	c.AddCommand(packKeygenCommand(), packBuildCommand(), packVerifyCommand(), packInstallCommand(), packListCommand(),
		packActiveCommand(), packRollbackCommand(), packDiffCommand(), packShadowCommand())
	return c
}

func packKeygenCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "keygen --name NAME --out FILE",
		Short: "Make a key pair to sign packs with",
		Long: `Writes the private key to FILE (mode 0600, never over an existing one) and prints the public key,
which goes into inspect.packs.trusted_keys. Keep the private key off the gateway's host.`,
		Args: cobra.NoArgs,
	}
	name := c.Flags().String("name", "", "what the key is called, such as example.com")
	out := c.Flags().String("out", "", "file for the private key")
	asJSON := c.Flags().Bool("json", false, "print JSON")
	_ = c.MarkFlagRequired("name")
	_ = c.MarkFlagRequired("out")
	c.RunE = func(*cobra.Command, []string) error {
		private, public, err := pack.NewKey(*name)
		if err != nil {
			return fmt.Errorf("make key: %w", err)
		}
		f, err := durable.Create(*out, 0o600)
		if err != nil {
			return fmt.Errorf("write private key: %w", err)
		}
		_, err = f.WriteAt([]byte(private+"\n"), 0)
		if err == nil {
			err = f.Sync()
		}
		if cerr := f.Close(); err == nil {
			err = cerr
		}
		if err != nil {
			return fmt.Errorf("write private key: %w", err)
		}
		if *asJSON {
			return printJSON(os.Stdout, map[string]string{"public": public, "private_file": *out})
		}
		fmt.Println(public)
		return nil
	}
	return c
}

func packBuildCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "build DIR --name NAME --version V --key FILE",
		Short: "Sign a directory as a pack",
		Long: `Reads rules/*.toml, thresholds.json, weights/* and examples.jsonl from DIR, tries the examples, and
writes one signed file. examples.jsonl holds {"text", "channel", "want": "allow"|"attack", "category"?},
an object a line, some of both kinds. The same DIR, name, version and time give the same bytes; the
time is --created or SOURCE_DATE_EPOCH, else now.`,
		Args: cobra.ExactArgs(1),
	}
	f := c.Flags()
	name := f.String("name", "", "name of the pack: lower-case letters, digits, hyphens")
	ver := f.String("version", "", "semantic version, such as 1.4.0; each install must be newer than the last")
	key := f.String("key", "", "file with the private key")
	out := f.String("out", "", "file to write (default: NAME-VERSION.pack)")
	unpacked := f.Bool("unpacked", false, "write a directory instead of one file, for people to look into")
	minimum := f.String("minimum", "", "oldest release of sallyport that can run it")
	replace := f.Bool("replace-rules", false, "the pack's rules stand alone; the built-in ones do not hold")
	created := f.String("created", "", "time of creation (RFC 3339)")
	asJSON := f.Bool("json", false, "print JSON")
	for _, n := range []string{"name", "version", "key"} {
		_ = c.MarkFlagRequired(n)
	}
	c.RunE = func(_ *cobra.Command, args []string) error {
		when, err := creation(*created)
		if err != nil {
			return err
		}
		private, err := os.ReadFile(*key)
		if err != nil {
			return fmt.Errorf("read private key: %w", err)
		}
		p, err := pack.Build(pack.Source{
			Name: *name, Version: *ver, Minimum: *minimum, Extends: !*replace, Created: when, Dir: args[0], Key: string(private),
		})
		if err != nil {
			return fmt.Errorf("build pack: %w", err)
		}
		if err := server.TryPack(p); err != nil {
			return fmt.Errorf("build pack: %w", err)
		}
		to := *out
		if to == "" {
			to = fmt.Sprintf("%s-%s.pack", p.Name, p.Version)
		}
		if *unpacked {
			err = p.Unpack(to)
		} else {
			err = durable.WriteFile(to, p.Bytes(), 0o644)
		}
		if err != nil {
			return fmt.Errorf("write pack: %w", err)
		}
		if *asJSON {
			return printJSON(os.Stdout, describe(p, to))
		}
		fmt.Printf("%s: %s, %d bytes, sha256 %s\n", plain(to), p.ID(), len(p.Bytes()), hex.EncodeToString(p.Digest[:]))
		return nil
	}
	return c
}

func creation(s string) (time.Time, error) {
	if s == "" {
		if epoch := os.Getenv("SOURCE_DATE_EPOCH"); epoch != "" {
			n, err := strconv.ParseInt(epoch, 10, 64)
			if err != nil {
				return time.Time{}, errors.New("read SOURCE_DATE_EPOCH: want a number of seconds")
			}
			return time.Unix(n, 0), nil
		}
		return time.Now(), nil
	}
	return parseTime(s)
}

// described is a pack as the commands print it.
type described struct {
	ID       string    `json:"id"`
	Path     string    `json:"path,omitempty"`
	Created  time.Time `json:"created"`
	Minimum  string    `json:"minimum_sallyport,omitempty"`
	Extends  bool      `json:"extends_builtin"`
	Signer   string    `json:"signer,omitempty"`
	Digest   string    `json:"sha256"`
	Bytes    int       `json:"bytes"`
	Contents []string  `json:"contents"`
}

func describe(p *pack.Pack, path string) described {
	d := described{
		ID: p.ID(), Path: path, Created: p.Created, Minimum: p.Minimum, Extends: p.Extends, Signer: p.Signer,
		Digest: hex.EncodeToString(p.Digest[:]), Bytes: len(p.Bytes()),
	}
	for _, f := range p.Manifest.Files {
		d.Contents = append(d.Contents, f.Path)
	}
	return d
}

func packVerifyCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "verify FILE|DIR|URL",
		Short: "Check a pack's signature, contents and examples; install nothing",
		Args:  cobra.ExactArgs(1),
	}
	path := configFlag(c)
	keys := c.Flags().StringArray("key", nil, "public key to trust instead of those in the configuration")
	asJSON := c.Flags().Bool("json", false, "print JSON")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		cfg, err := loadConfig(*path)
		if err != nil {
			return err
		}
		p, err := server.ReadPack(cmd.Context(), cfg, args[0], *keys...)
		if err == nil {
			err = server.TryPack(p)
		}
		if *asJSON {
			out := map[string]any{"valid": err == nil}
			if err != nil {
				out["error"] = err.Error()
			} else {
				out["pack"] = describe(p, "")
			}
			if perr := printJSON(os.Stdout, out); perr != nil {
				return perr
			}
			if err != nil {
				return exitCode(1)
			}
			return nil
		}
		if err != nil {
			return err
		}
		fmt.Printf("%s is whole, signed by %s, and gets its examples right\n", p.ID(), p.Signer)
		return nil
	}
	return c
}

func packInstallCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "install FILE|DIR|URL|NAME@VERSION",
		Short: "Verify a pack, store it and make it active",
		Long: `Verifies a pack from a file, a directory or an http(s) URL under inspect.packs.trusted_keys, tries
its examples, stores it and makes it the active one in one atomic step. A running gateway takes it up
within a second and drops no call. With --store-only it is only stored, for inspect.packs.shadow and
pack diff; NAME@VERSION then makes a stored one active. A version older than what was active is
refused: see pack rollback. A URL is fetched through the same guard as upstreams (proxy.allow_private),
without redirects.`,
		Args: cobra.ExactArgs(1),
	}
	path := configFlag(c)
	only := c.Flags().Bool("store-only", false, "store it without making it active")
	asJSON := c.Flags().Bool("json", false, "print JSON")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		cfg, err := loadConfig(*path)
		if err != nil {
			return err
		}
		ch, err := server.InstallPack(cmd.Context(), cfg, args[0], !*only)
		if err != nil {
			return err
		}
		return printChange(ch, *asJSON)
	}
	return c
}

func printChange(ch pack.Change, asJSON bool) error {
	if asJSON {
		return printJSON(os.Stdout, ch)
	}
	if ch.Stored != "" {
		fmt.Println("stored", ch.Stored)
	}
	if ch.Active != ch.Before {
		fmt.Printf("active: %s (before: %s)\n", ch.Active, ch.Before)
	} else {
		fmt.Printf("active: %s, as before\n", ch.Active)
	}
	return nil
}

func packListCommand() *cobra.Command {
	c := &cobra.Command{Use: "list", Short: "List installed packs; each is verified", Args: cobra.NoArgs}
	path := configFlag(c)
	asJSON := c.Flags().Bool("json", false, "print JSON")
	c.RunE = func(*cobra.Command, []string) error {
		cfg, err := loadConfig(*path)
		if err != nil {
			return err
		}
		store, err := server.Packs(cfg)
		if err != nil {
			return err
		}
		list, err := store.List()
		if err != nil {
			return fmt.Errorf("list packs: %w", err)
		}
		if *asJSON {
			return printJSON(os.Stdout, list)
		}
		w := tabwriter.NewWriter(os.Stdout, 0, 4, 2, ' ', 0)
		fmt.Fprintln(w, "PACK\tSTATE\tCREATED\tSIGNED BY\tPROBLEM")
		for _, l := range list {
			state := "-"
			if l.Active {
				state = "active"
			} else if l.Before {
				state = "before"
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", plain(l.ID), state, day(l.Created), plain(l.Signer), plain(l.Problem))
		}
		return w.Flush()
	}
	return c
}

func packActiveCommand() *cobra.Command {
	c := &cobra.Command{Use: "active", Short: "Say which pack is active, and whether it can be loaded", Args: cobra.NoArgs}
	path := configFlag(c)
	asJSON := c.Flags().Bool("json", false, "print JSON")
	c.RunE = func(*cobra.Command, []string) error {
		cfg, err := loadConfig(*path)
		if err != nil {
			return err
		}
		store, err := server.Packs(cfg)
		if err != nil {
			return err
		}
		st, err := store.State()
		if err != nil {
			return err
		}
		_, _, lerr := store.Active()
		if *asJSON {
			out := map[string]any{"active": st.Active, "history": st.History, "loads": lerr == nil}
			if lerr != nil {
				out["problem"] = lerr.Error()
			}
			if err := printJSON(os.Stdout, out); err != nil {
				return err
			}
		} else {
			fmt.Println(st.Active.ID)
			if lerr != nil {
				fmt.Fprintln(os.Stderr, "it cannot be loaded:", plain(lerr.Error()))
			}
		}
		if lerr != nil {
			return exitCode(1)
		}
		return nil
	}
	return c
}

func packRollbackCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "rollback",
		Short: "Make the pack active again that was active before",
		Long: `Goes back to the pack that was active before this one, in one atomic step; a running gateway takes it
up within a second. Again goes one further back. --to names one of those before, or builtin, to which
it is always possible to go back.`,
		Args: cobra.NoArgs,
	}
	path := configFlag(c)
	to := c.Flags().String("to", "", "pack that was active before, or builtin")
	asJSON := c.Flags().Bool("json", false, "print JSON")
	c.RunE = func(*cobra.Command, []string) error {
		cfg, err := loadConfig(*path)
		if err != nil {
			return err
		}
		store, err := server.Packs(cfg)
		if err != nil {
			return err
		}
		ch, err := store.Rollback(*to)
		if err != nil {
			return fmt.Errorf("roll back: %w", err)
		}
		return printChange(ch, *asJSON)
	}
	return c
}
