// Package inspect is the second layer: is this text an attack or a leak, and what does the policy
// say about it.
package inspect

import (
	"context"
	"time"

	"sallyport.dev/sallyport/internal/gate"
	"sallyport.dev/sallyport/internal/inspect/detect"
	"sallyport.dev/sallyport/internal/inspect/output"
	"sallyport.dev/sallyport/internal/inspect/policy"
	"sallyport.dev/sallyport/internal/wire"
)

// Mode is the master switch.
type Mode uint8

const (
	Enforce       Mode = iota // the policy acts
	EnforceStrict             // and a learned detector that cannot answer closes
	Monitor                   // nothing is stopped or changed; the record says what would have been
)

// Options is everything an Inspector needs.
type Options struct {
	Detector detect.Detector
	Policy   *policy.Policy
	Mode     Mode
	// Dialects read a changed body again, to see that it is clean. A body of a dialect that is not
	// here is blocked where it would have been sanitised.
	Dialects map[gate.Dialect]wire.Dialect
	// HoldTime and HoldBytes bound how long and how much of a streamed answer waits for its verdict.
	HoldTime  time.Duration // 0: 5 s
	HoldBytes int           // 0: 256 KiB
	// CacheBytes bounds the cache of verdicts. 0: no cache.
	CacheBytes int
	// CacheKey keys the cache; 16 bytes or more. nil: a random key.
	CacheKey []byte
	// Uninspected says what happens to parts of an answer's frames that cannot be read; nil: Flag.
	Uninspected func(gate.UninspectedKind) gate.Action
}

// Inspector is safe for concurrent use.
type Inspector struct {
	opt Options
	out output.Options
}

// New makes an Inspector.
func New(o Options) (*Inspector, error) { panic("todo") }

// Name implements gate.Stage.
func (in *Inspector) Name() string { return "inspect" }

// Admit implements gate.Stage: it reads every segment of x.Reading.
func (in *Inspector) Admit(ctx context.Context, x *gate.Exchange) (gate.Decision, error) {
	panic("todo")
}

// Answer decides about a whole answer. out is body itself when nothing changed.
func (in *Inspector) Answer(ctx context.Context, x *gate.Exchange, r *gate.Reading, body []byte) (out []byte, d gate.Decision, err error) {
	panic("todo")
}

// Stream begins the inspection of a streamed answer.
func (in *Inspector) Stream(x *gate.Exchange, ws wire.Stream, now time.Time) *output.Stream {
	panic("todo")
}
