package main

import (
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"sallyport.dev/sallyport/internal/durable"
	"sallyport.dev/sallyport/internal/inspect/pack"
	"sallyport.dev/sallyport/internal/server"
)

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
