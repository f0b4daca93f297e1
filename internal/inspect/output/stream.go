// Package output lets a streamed answer through as fast as it can be decided.
package output

import (
	"time"

	"sallyport.dev/sallyport/internal/gate"
	"sallyport.dev/sallyport/internal/inspect/detect"
	"sallyport.dev/sallyport/internal/inspect/policy"
	"sallyport.dev/sallyport/internal/wire"
)

// Options is what all streams of one inspector share.
type Options struct {
	Detector    detect.Detector
	Monitor     bool
	HoldTime    time.Duration
	HoldBytes   int
	Uninspected func(gate.UninspectedKind) gate.Action
}

// End says that the stream ends here by policy.
type End struct {
	Problem *gate.Problem
	Bytes   []byte // the dialect's orderly end, to be sent after what was returned with it
}

// Stream is one streamed answer on its way through. One goroutine at a time uses it.
type Stream struct {
	opt   *Options
	table policy.Table
	rec   *gate.Record
	ws    wire.Stream
}

// New begins a stream. Findings are appended to rec.
func New(opt *Options, table policy.Table, rec *gate.Record, ws wire.Stream) *Stream {
	return &Stream{opt: opt, table: table, rec: rec, ws: ws}
}

// Push takes one frame.
func (s *Stream) Push(raw []byte, now time.Time) (out []byte, end *End, err error) { panic("todo") }

// Deadline is when the oldest held bytes are due; zero when nothing is held.
func (s *Stream) Deadline() time.Time { panic("todo") }

// Expire decides about what has been held too long.
func (s *Stream) Expire(now time.Time) (out []byte, end *End, err error) { panic("todo") }

// Close ends the stream at the provider's end.
func (s *Stream) Close(now time.Time) (out []byte, end *End, err error) { panic("todo") }

// Abort ends the stream without deciding anything.
func (s *Stream) Abort() { panic("todo") }

// Started says whether any byte was released.
func (s *Stream) Started() bool { panic("todo") }
