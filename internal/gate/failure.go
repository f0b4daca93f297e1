package gate

import (
	"errors"
	"fmt"
	"net/http"
)

// Failure names something that can go wrong inside the gateway, as opposed to a decision it takes.
type Failure string

const (
	FailIdentity      Failure = "identity"       // authentication, authorisation or the key store could not decide
	FailParse         Failure = "parse"          // the request cannot be read in one way only
	FailDetector      Failure = "detector"       // a detector panicked or overran its time
	FailModel         Failure = "model"          // a learned detector is absent, slow or saturated
	FailRecordBegin   Failure = "record_begin"   // the intent could not be made durable
	FailRecordFinish  Failure = "record_finish"  // the end could not be made durable
	FailLimits        Failure = "limits"         // the shared limit store is away
	FailAnswerScan    Failure = "answer_scan"    // the answer, or a frame of it, could not be read
	FailNotify        Failure = "notify"         // an alert or export target is away
	FailReload        Failure = "reload"         // a new configuration is invalid
	FailClock         Failure = "clock"          // the clock jumped back
	FailDisk          Failure = "disk"           // the disk is full
	FailStagePanicked Failure = "stage_panicked" // any other stage panicked
)

// Disposition is what a failure does to the call it happens in.
type Disposition uint8

const (
	Closed Disposition = iota // the call is refused
	Open                      // the call goes on, and the record says what was not done
)

func (d Disposition) String() string {
	if d == Open {
		return "open"
	}
	return "closed"
}

// FailureRow is one line of the table: what a failure does by default, whether a policy may choose
// otherwise, and what the caller sees when it closes.
type FailureRow struct {
	Failure Failure
	Default Disposition
	// Alternative is the setting under which the other disposition holds; empty when there is none.
	Alternative string
	Status      int
	Code        Code
	Message     string
	// Effect says in words what happens, for the documentation and for whoever reads the table.
	Effect string
}

// Failures is the one table that says what opens and what closes (ASVS 5.0 16.5.2-16.5.4). It is
// held by one test per row.
var Failures = []FailureRow{
	{FailIdentity, Closed, "", http.StatusServiceUnavailable, CodeUnavailable, "The gateway cannot check credentials at the moment.", "no call passes; known keys are served from memory and need no store"},
	{FailParse, Closed, "", http.StatusBadRequest, CodeAmbiguous, "The request body can be read in more than one way.", "refused before any stage reads it"},
	{FailDetector, Closed, "inspect.mode: monitor", http.StatusServiceUnavailable, CodeUnavailable, "The gateway could not inspect this call.", "closed in enforce; in monitor it passes with an uninspected entry"},
	{FailModel, Open, "inspect.mode: enforce_strict", http.StatusServiceUnavailable, CodeUnavailable, "The gateway could not inspect this call.", "rules still decide; the record says what was not read"},
	{FailRecordBegin, Closed, "audit.mode: best_effort", http.StatusServiceUnavailable, CodeUnavailable, "The gateway cannot record calls at the moment.", "nothing leaves"},
	{FailRecordFinish, Closed, "audit.mode: best_effort", http.StatusServiceUnavailable, CodeUnavailable, "The gateway cannot record calls at the moment.", "an answer not yet sent is withheld; a stream ends with an error before its last event"},
	{FailLimits, Open, "", http.StatusServiceUnavailable, CodeUnavailable, "The gateway cannot check limits at the moment.", "limits are kept locally"},
	{FailAnswerScan, Closed, "inspect.mode: monitor", http.StatusBadGateway, CodeUpstreamInvalid, "The provider's answer could not be inspected.", "an answer not yet sent is withheld; a stream ends with an error event"},
	{FailNotify, Open, "", 0, "", "", "calls are not affected"},
	{FailReload, Open, "", 0, "", "", "the old configuration stays; an event is recorded"},
	{FailClock, Open, "", 0, "", "", "sequence numbers stay monotonic; the record is marked"},
	{FailDisk, Closed, "audit.mode: best_effort", http.StatusServiceUnavailable, CodeUnavailable, "The gateway cannot record calls at the moment.", "nothing leaves; a reserve lets the gap itself be recorded"},
	{FailStagePanicked, Closed, "", http.StatusInternalServerError, CodeInternal, "The gateway failed while handling this call.", "the call ends, the process lives"},
}

// Row finds a failure's line. An unknown failure closes as an internal error.
func (f Failure) Row() FailureRow {
	for _, r := range Failures {
		if r.Failure == f {
			return r
		}
	}
	return FailureRow{Failure: f, Default: Closed, Status: http.StatusInternalServerError, Code: CodeInternal, Message: "The gateway failed while handling this call."}
}

// Problem is what the caller sees when the failure closes.
func (r FailureRow) Problem() *Problem {
	return &Problem{Status: r.Status, Code: r.Code, Message: r.Message}
}

// Fault is an error that knows its line in the table.
type Fault struct {
	Failure Failure
	Err     error
}

func (e *Fault) Error() string { return fmt.Sprintf("%s: %v", e.Failure, e.Err) }
func (e *Fault) Unwrap() error { return e.Err }

// Fail marks err as a failure of the given kind.
func Fail(f Failure, err error) error { return &Fault{f, err} }

// FailureOf finds the failure an error stands for; an unmarked error is a fault of ours.
func FailureOf(err error) Failure {
	var f *Fault
	if errors.As(err, &f) {
		return f.Failure
	}
	return FailStagePanicked
}
