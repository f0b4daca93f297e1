package server

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"sallyport.dev/sallyport/internal/audit"
	"sallyport.dev/sallyport/internal/config"
)

// AuditDir is where a configuration keeps its record.
func AuditDir(cfg *config.Config) string { return filepath.Join(cfg.DataDir, "audit") }

// VerifyAudit checks the record in dir; kept, when not empty, is a file of signed checkpoints of
// which the last must be covered.
func VerifyAudit(dir, kept, key string) (audit.Report, error) {
	if _, err := os.Stat(dir); err != nil {
		return audit.Report{}, fmt.Errorf("verify record: %w", err)
	}
	o := audit.VerifyOptions{PublicKey: key}
	if kept != "" {
		b, err := os.ReadFile(kept)
		if err != nil {
			return audit.Report{}, fmt.Errorf("read kept checkpoint: %w", err)
		}
		o.Checkpoint = lastNote(b)
	}
	r, err := audit.Verify(dir, o)
	if err != nil {
		return r, fmt.Errorf("verify record: %w", err)
	}
	return r, nil
}

// lastNote is the last signed note of a file of notes. Each begins with the origin line.
func lastNote(b []byte) []byte {
	origin, _, _ := bytes.Cut(b, []byte("\n"))
	if i := bytes.LastIndex(b, append([]byte("\n\n"), append(origin, '\n')...)); i >= 0 {
		b = b[i+2:]
	}
	return append(bytes.TrimRight(b, "\n"), '\n')
}

// ExportAudit writes the record in dir as JSON lines.
func ExportAudit(ctx context.Context, dir string, w io.Writer, since, until time.Time, outcomes []string, admin bool) error {
	if _, err := os.Stat(dir); err != nil {
		return fmt.Errorf("export record: %w", err)
	}
	err := audit.Export(ctx, dir, w, audit.ExportOptions{Since: since, Until: until, Outcomes: outcomes, Admin: admin})
	if err != nil {
		return fmt.Errorf("export record: %w", err)
	}
	return nil
}
