package main

import (
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"sallyport.dev/sallyport/internal/server"
)

func auditCommand() *cobra.Command {
	c := &cobra.Command{Use: "audit", Short: "Prove or export the record"}
	c.AddCommand(auditVerifyCommand(), auditExportCommand())
	return c
}

func auditVerifyCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "verify",
		Short: "Check the whole record offline; name the first bad sequence number",
		Long: `Reads the record from its first byte and checks every hash, the chain, the Merkle roots of the
signed checkpoints and their signatures. With --checkpoint, a checkpoint that was kept elsewhere, a
cut or rewritten record is found too. The exit status is 0 only when everything holds.`,
		Args: cobra.NoArgs,
	}
	path := configFlag(c)
	dir := c.Flags().String("dir", "", "directory of the record (default: audit in the data directory)")
	kept := c.Flags().String("checkpoint", "", "file with a signed checkpoint kept elsewhere; the last one in it counts")
	key := c.Flags().String("key", "", "public key that must have signed (default: the one beside the record)")
	asJSON := c.Flags().Bool("json", false, "print JSON")
	c.RunE = func(*cobra.Command, []string) error {
		d, err := auditDir(*dir, *path)
		if err != nil {
			return err
		}
		r, err := server.VerifyAudit(d, *kept, *key)
		if err != nil {
			return err
		}
		if *asJSON {
			if err := printJSON(os.Stdout, r); err != nil {
				return err
			}
		} else if r.OK {
			fmt.Printf("the record is whole: %d records, %d calls, %d covered by signed checkpoints, %d gaps\n", r.Records, r.Calls, r.Signed, r.Gaps)
			if r.Tail > 0 {
				fmt.Printf("%d bytes at the end are an unfinished write and not part of it\n", r.Tail)
			}
		} else {
			fmt.Printf("the record is NOT whole: first bad sequence number %d: %s\n", r.FirstBad, plain(r.Problem))
		}
		if !r.OK {
			return exitCode(1)
		}
		return nil
	}
	return c
}

func auditExportCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "export",
		Short: "Write the record as JSON lines, an event a line",
		Args:  cobra.NoArgs,
	}
	path := configFlag(c)
	dir := c.Flags().String("dir", "", "directory of the record (default: audit in the data directory)")
	since := c.Flags().String("since", "", "only calls received at or after this time (RFC 3339)")
	until := c.Flags().String("until", "", "only calls received before this time (RFC 3339)")
	outcome := c.Flags().StringSlice("outcome", nil, "only these outcomes: completed, blocked, refused, ...")
	admin := c.Flags().Bool("admin", false, "administrative events and gaps too")
	c.Flags().Bool("json", true, "the output is always JSON lines")
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		d, err := auditDir(*dir, *path)
		if err != nil {
			return err
		}
		from, err := parseTime(*since)
		if err != nil {
			return err
		}
		to, err := parseTime(*until)
		if err != nil {
			return err
		}
		return server.ExportAudit(cmd.Context(), d, os.Stdout, from, to, *outcome, *admin)
	}
	return c
}

func auditDir(dir, configPath string) (string, error) {
	if dir != "" {
		return dir, nil
	}
	cfg, err := loadConfig(configPath)
	if err != nil {
		return "", err
	}
	return server.AuditDir(cfg), nil
}

func parseTime(s string) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return t, fmt.Errorf("read time %q: want RFC 3339, such as 2026-01-31T15:04:05Z", s)
	}
	return t, nil
}
