package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"

	"filippo.io/age"
	"github.com/spf13/cobra"

	"sallyport.dev/sallyport/internal/server"
	"sallyport.dev/sallyport/internal/store/backup"
)

// backupCommand writes a backup beside a running gateway, or without one.
func backupCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "backup FILE", Short: "Write all of the database to a file", Args: cobra.ExactArgs(1),
		Long: `Writes people, roles, policies, limits, keys (their hashes) and sealed credentials to a new file, as they are
at one moment, while the gateway runs. Not in it, and to be kept apart: the master key, the pepper, the
configuration, and the record (the directory audit).`,
	}
	path := configFlag(c)
	asJSON := c.Flags().Bool("json", false, "print JSON")
	to := c.Flags().StringArray("recipient", nil, "age recipient (age1...) to encrypt it to (may be repeated)")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		cfg, err := loadConfig(*path)
		if err != nil {
			return err
		}
		var recipients []age.Recipient
		for _, s := range *to {
			r, err := age.ParseX25519Recipient(s)
			if err != nil {
				return fmt.Errorf("read --recipient: %w", err)
			}
			recipients = append(recipients, r)
		}
		a, err := administer(cmd.Context(), *path)
		if err != nil {
			return err
		}
		err = a.do(cmd.Context(), http.MethodPost, "/system/backups", map[string]any{"file": filepath.Base(args[0]), "encrypted": len(recipients) > 0}, nil)
		a.done()
		if err != nil {
			return fmt.Errorf("record the backup: %w", err)
		}
		end, err := toNewFile(args[0], func(f *os.File) (backup.End, error) { return server.Backup(cmd.Context(), cfg, f, recipients...) })
		if err != nil {
			return fmt.Errorf("back up: %w", err)
		}
		if *asJSON {
			return printJSON(os.Stdout, end)
		}
		fmt.Printf("%d keys, %d documents\n", end.Keys, end.Documents)
		return nil
	}
	return c
}

// toNewFile writes a file that has its name only when it is whole and on disk. Until then it has another, of
// its own each time: what a crash left behind is in nobody's way.
func toNewFile(path string, write func(*os.File) (backup.End, error)) (end backup.End, err error) {
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		return end, fmt.Errorf("%s exists", path)
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*.part") // 0600
	if err != nil {
		return end, err
	}
	defer func() {
		if rerr := os.Remove(f.Name()); !errors.Is(rerr, fs.ErrNotExist) {
			err = errors.Join(err, rerr)
		}
	}()
	end, err = write(f)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return end, err
	}
	err = os.Link(f.Name(), path) // unlike a rename it replaces nothing
	if err != nil && !errors.Is(err, fs.ErrExist) {
		err = os.Rename(f.Name(), path) // where files have one name only
	}
	if err != nil {
		return end, err
	}
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return end, err
	}
	return end, errors.Join(d.Sync(), d.Close())
}

// restoreCommand fills an empty database.
func restoreCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "restore FILE", Short: "Fill an empty database from a backup", Args: cobra.ExactArgs(1),
		Long: `Fills the empty database of a configuration, SQLite or PostgreSQL, from a backup of either: all of it or
nothing. The configuration must have the pepper of the gateway that made it. Run it before the first gateway
starts on that database. People sign in again afterwards.`,
	}
	path := configFlag(c)
	asJSON := c.Flags().Bool("json", false, "print JSON")
	identity := c.Flags().String("identity-file", "", "file with the age identity that decrypts it")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		cfg, err := loadConfig(*path)
		if err != nil {
			return err
		}
		var ids []age.Identity
		if *identity != "" {
			f, err := os.Open(*identity)
			if err != nil {
				return fmt.Errorf("read --identity-file: %w", err)
			}
			ids, err = age.ParseIdentities(f)
			if err = errors.Join(err, f.Close()); err != nil {
				return fmt.Errorf("read --identity-file: %w", err)
			}
		}
		out, err := restoreFrom(cmd.Context(), args[0], func(ctx context.Context, f *os.File) (server.Restored, error) {
			return server.Restore(ctx, cfg, f, ids...)
		})
		if err != nil {
			return fmt.Errorf("restore: %w", err)
		}
		if *asJSON {
			return printJSON(os.Stdout, out)
		}
		fmt.Printf("%d keys, %d documents, of %s\n", out.Keys, out.Documents, out.Made.Format("2006-01-02 15:04 MST"))
		if out.Sealed != "" {
			fmt.Fprintln(os.Stderr, "warning:", plain(out.Sealed))
		}
		return nil
	}
	return c
}

func restoreFrom(ctx context.Context, path string, f func(context.Context, *os.File) (server.Restored, error)) (server.Restored, error) {
	in, err := os.Open(path)
	if err != nil {
		return server.Restored{}, err
	}
	defer in.Close()
	return f(ctx, in)
}
