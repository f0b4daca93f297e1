// Package audit is the record: an append-only, hash-chained log of every call, durable before the
// call may go on, with a Merkle tree over it and signed checkpoints that can be kept elsewhere.
// docs/audit-format.md gives the files and their fields, docs/design/006-audit.md the reasons.
package audit

import (
	"time"

	"sallyport.dev/sallyport/internal/gate"
)

// Mode says what a call waits for.
type Mode uint8

const (
	// Durable: Begin, Finish and Note return nil only when the record has reached the disk.
	Durable Mode = iota
	// BestEffort: they return nil as soon as the record is queued; what is lost is counted, and a
	// gap record says so when the log works again.
	BestEffort
)

var modeNames = [...]string{"durable", "best_effort"}

func (m Mode) String() string {
	if int(m) < len(modeNames) {
		return modeNames[m]
	}
	return "unknown"
}

// ParseMode is the inverse of String.
func ParseMode(s string) (Mode, bool) {
	for i, n := range modeNames {
		if n == s {
			return Mode(i), true
		}
	}
	return 0, false
}

// Options say how a log is kept. The zero value is the default of every field.
type Options struct {
	Mode Mode
	// SegmentBytes is the size at which a new file is begun; 0: 64 MiB.
	SegmentBytes int64
	// ReserveBytes is the size of the file whose room is given back when the disk is full, so that
	// the gap itself can be recorded; 0: 64 MiB, negative: none.
	ReserveBytes int64
	// CheckpointRecords and CheckpointEvery say when a checkpoint is signed: after so many records,
	// and after so long when there was at least one; 0: 1000 and 10 s. One is always signed at Close.
	CheckpointRecords int
	CheckpointEvery   time.Duration
	// Timeout bounds how long a call waits for the disk; 0: 5 s.
	Timeout time.Duration
	// Queue is the number of records that may wait at once; 0: 65536. A caller beyond it is refused.
	Queue int
	// ContentBytes bounds the request text and the answer text kept in one record, each; 0: 1 MiB.
	// What is longer is cut, and the record says so with the length and SHA-256 of the whole.
	ContentBytes int
	// OnCheckpoint, when set, gets every signed checkpoint, in order and after it was made durable.
	// Written elsewhere (stdout, syslog, another host) it is what proves a later truncation or
	// rewriting of the whole directory. It is called from a goroutine of its own.
	OnCheckpoint func(note []byte)
	// OnFault, when set, is told when the log stops working, and with nil when it works again. It
	// is called from the writing goroutine and must not wait.
	OnFault func(err error)
	// Now is the clock; nil: time.Now.
	Now func() time.Time

	// disk is how files are reached; tests put faults in.
	disk disk
}

func (o Options) withDefaults() Options {
	if o.SegmentBytes <= 0 {
		o.SegmentBytes = 64 << 20
	}
	if o.ReserveBytes == 0 {
		o.ReserveBytes = 64 << 20
	}
	if o.CheckpointRecords <= 0 {
		o.CheckpointRecords = 1000
	}
	if o.CheckpointEvery <= 0 {
		o.CheckpointEvery = 10 * time.Second
	}
	if o.Timeout <= 0 {
		o.Timeout = 5 * time.Second
	}
	if o.Queue <= 0 {
		o.Queue = 65536
	}
	if o.ContentBytes <= 0 {
		o.ContentBytes = 1 << 20
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.disk == nil {
		o.disk = osDisk{}
	}
	return o
}

// Stats is what a log says about itself. All counts are since Open.
type Stats struct {
	Records    int64 // in the log, whole history; all durable in mode Durable
	Checkpoint int64 // records covered by the newest signed checkpoint
	Open       int   // calls begun and not finished
	Waiting    int   // records on their way to the disk
	Written    int64 // records written
	Batches    int64 // writes, each with one sync in mode Durable
	Bytes      int64 // bytes written
	Refused    int64 // records that callers were told could not be written
	Lost       int64 // records accepted in mode BestEffort and not written
	Faults     int64 // times the log stopped working
	Failing    bool  // it does not work now
	LastError  string
}

// Outcome words that only the record uses, beside those of gate.
const (
	// OutcomeInFlight is what Export says of a call that began and has not ended.
	OutcomeInFlight gate.Outcome = "in_flight"
)
