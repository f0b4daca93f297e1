package audit

import (
	"context"
	"errors"
	"io"
	"time"

	"sallyport.dev/sallyport/internal/gate"
)

var errSoon = errors.New("audit: under construction")

type disk interface{}
type osDisk struct{}

// Log is the record, open for appending. It is safe for concurrent use.
type Log struct{}

// Open opens the log in dir, making it where there is none.
func Open(dir string, o Options) (*Log, error) { return nil, errSoon }

// Begin records the intent of a call.
func (l *Log) Begin(ctx context.Context, r *gate.Record) error { return errSoon }

// Finish records the end of a call. ctx being cancelled does not stop it: a caller who left is recorded too.
func (l *Log) Finish(ctx context.Context, r *gate.Record) error { return errSoon }

// Note records an administrative event, such as config_reload, with its fields.
func (l *Log) Note(ctx context.Context, event string, fields map[string]string) error { return errSoon }

// Close writes what waits, signs a last checkpoint and gives the directory back.
func (l *Log) Close() error { return errSoon }

// Stats is a snapshot.
func (l *Log) Stats() Stats { return Stats{} }

// PublicKey is the key that signs the checkpoints, in the form of golang.org/x/mod/sumdb/note.
func (l *Log) PublicKey() string { return "" }

// VerifyOptions say what else is known about the log.
type VerifyOptions struct {
	Checkpoint []byte // a checkpoint that was kept elsewhere; the log must contain what it covers
	PublicKey  string // the key that must have signed; empty: the one in dir
}

// Report is what Verify found.
type Report struct {
	OK       bool
	FirstBad int64  // sequence number of the first record that is wrong or missing; 0: none
	Problem  string // what is wrong with it
	Records  int64  // good records, from the first
	Signed   int64  // of them, covered by a signed checkpoint
	Calls    int64  // calls begun or recorded as refused
	InFlight int64  // begun, not finished
	Gaps     int64  // gap records
	Tail     int64  // bytes of an unfinished write at the end, not part of the record
}

// Verify reads the log in dir from its first byte and checks everything.
func Verify(dir string, o VerifyOptions) (Report, error) { return Report{}, errSoon }

// ExportOptions choose the calls.
type ExportOptions struct {
	Since, Until time.Time // by time of reception; zero: no bound; Until is exclusive
	Outcomes     []string  // empty: all
	Admin        bool      // notes and gaps too
	Follow       bool      // go on until ctx ends; calls in flight are not written then
}

// Export writes one JSON line per call, in the order in which they ended.
func Export(ctx context.Context, dir string, w io.Writer, o ExportOptions) error { return errSoon }
