// Package evaluate judges detectors on labelled rows: how many attacks they find at a given rate of
// false alarms, where, and how fast. It scores rows through interfaces that the caller provides (the
// product's own detector, other programs) and computes one Report; internal/evaluate/page draws it.
//
// Rows are attack data and hostile: nothing here writes the text of a row anywhere, except excerpts
// that were asked for (Options.Errors), and those are escaped and cut.
//
// The threshold is set once, on all benign rows, and holds for every group: a threshold per group
// would hide exactly the false alarms that matter. Rows of a trusted channel (system, developer) and
// plain harmful requests are neither attacks nor benign; they are reported beside.
package evaluate

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"runtime"
	"time"

	"sallyport.dev/sallyport/internal/gate"
)

// Scorer is the detector that is judged. It is safe for concurrent use and keeps nothing of a row.
type Scorer interface {
	// Score says how much a row looks like an attack (any finite number, higher is more) and what
	// the product would do about the attack in it: "allow", "flag", "sanitize" or "block".
	Score(row *Row) (score float64, verdict string, err error)
}

// Peer is another detector that is judged beside the first.
type Peer interface {
	Name() string
	// Judge reads the rows and calls answer for each at most once, in any order, from one goroutine.
	// A row without an answer counts as failed. The rows' memory is the peer's to keep.
	Judge(ctx context.Context, rows iter.Seq2[int, *Row], answer func(i int, a Answer)) error
	// Version is what the peer says of itself, after Judge; it may be empty.
	Version() string
}

// Answer is what a detector says of one row.
type Answer struct {
	Score      float64
	Verdict    gate.Action
	HasScore   bool
	HasVerdict bool
	Took       time.Duration // 0: unknown
	Err        error         // of this row; holds nothing of its text
}

// Transform rewrites a text as an attacker would, or as a legitimate writer.
type Transform struct {
	Name, Family string
	Latin        bool // it carries ASCII letters only
	Apply        func(text string, seed uint64) string
}

// Options says what is judged, on what, and how it is reported.
type Options struct {
	Files []string // JSON lines, gzip or not; "-" is standard input
	Where Filter   // rows that are reported; empty: all

	// The rows on whose benign part the threshold is set: those of ThresholdFiles, or of Files where
	// there are none, that ThresholdWhere lets pass. Without either, the reported rows.
	ThresholdFiles []string
	ThresholdWhere Filter

	FPR []float64 // rates of false alarms; nil: 0.01 and 0.001. The first leads the tables.
	By  []string  // dimensions of the breakdown, "a+b" for a combination; nil: DefaultBy

	Name    string // of the detector
	Version string
	Scorer  Scorer // nil: only peers are judged
	Workers int    // 0: one per core
	Peers   []Peer

	Transforms    []Transform // attacks and benign rows are rewritten by each
	Lookalikes    []Transform // benign rows are rewritten by each
	TransformRows int         // how many attacks and how many benign rows are rewritten; 0: all
	Seed          uint64      // of the transforms and of the choice of rows

	Errors int // how many missed attacks and false alarms are named, with an excerpt; 0: none

	// Problem is told of every row that could not be read or scored; nil: nobody.
	Problem func(Problem)
	// Progress is told now and then how far the run is; nil: nobody.
	Progress func(Progress)
}

// Problem is a row that was left out. What is a message of our own and holds nothing of the row.
type Problem struct {
	System string // who could not score it; empty: it could not be read
	File   string
	Line   int // from 1; 0: unknown
	What   string
}

// Progress is how far one step of the run is.
type Progress struct {
	Step    string
	Rows    int           // done in this step
	Done    float64       // 0..1; 0: unknown
	Elapsed time.Duration // of this step
}

// DefaultBy is the breakdown of a report that says nothing else.
func DefaultBy() []string {
	return []string{"label", "channel", "lang", "length", "dev_kind", "source", "family"}
}

// ErrNoRows is returned when there is nothing to report.
var ErrNoRows = errors.New("no row to judge")

// Run judges. It fails when a file cannot be read, when there is no row, and when ctx ends; a bad
// row is a Problem, and a peer that fails is an error in its part of the report.
func Run(ctx context.Context, o Options) (*Report, error) {
	if len(o.FPR) == 0 {
		o.FPR = []float64{.01, .001}
	}
	for _, f := range o.FPR {
		if !(f > 0 && f < 1) {
			return nil, fmt.Errorf("false-positive rate %v: want more than 0 and less than 1", f)
		}
	}
	if o.By == nil {
		o.By = DefaultBy()
	}
	if o.Workers <= 0 {
		o.Workers = runtime.GOMAXPROCS(0)
	}
	if o.Name == "" {
		o.Name = "sallyport"
	}
	if o.Scorer == nil && len(o.Peers) == 0 {
		return nil, errors.New("nothing to judge: no detector and no peer")
	}
	names := map[string]bool{o.Name: o.Scorer != nil}
	for _, p := range o.Peers {
		if names[p.Name()] {
			return nil, fmt.Errorf("two detectors are named %s", Plain(p.Name()))
		}
		names[p.Name()] = true
	}
	if o.Scorer == nil && len(o.Transforms)+len(o.Lookalikes) > 0 {
		return nil, errors.New("transforms need the detector itself")
	}
	c, err := newCorpus(&o)
	if err != nil {
		return nil, err
	}
	return newRun(&o, c).all(ctx)
}
