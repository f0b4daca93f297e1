// Package detect says what a detector promises to the rest of the gateway. Detectors (rules today,
// learned models beside them later) implement it; the inspection stage, the output window and
// `sallyport scan` use nothing else of them.
package detect

import "sallyport.dev/sallyport/internal/gate"

// Detector finds attacks and leaks in text. It is safe for concurrent use and keeps nothing of
// what it read.
type Detector interface {
	// Detect reads one whole text. Offsets in the findings are bytes of seg.Text, whatever view the
	// finding was seen in. Category, Rule, Channel, Path, Start, End, View and Score are set; what
	// to do about it is the policy's. The order is by Start, then End, then Rule.
	Detect(seg *gate.Segment) []gate.Finding
	// Lane begins the reading of a text that arrives in pieces. seg gives channel and path; its
	// Text is ignored.
	Lane(seg *gate.Segment) Lane
	// Version changes whenever a verdict may change; verdicts cached under another version are void.
	Version() string
}

// Rater is a Detector that can say how much a text looks like an attack even where it finds none.
type Rater interface {
	Detector
	// Rate is Detect with the attack score of the whole text, 0 to 1, at least that of any finding.
	Rate(seg *gate.Segment) (found []gate.Finding, score float64)
}

// Caller is a Detector that wants to know which texts are of one call, so that it can bound what a
// call waits for it and name the call in what it says afterwards. What it finds in a text is still a
// matter of the text and its channel.
type Caller interface {
	Detector
	// Call begins the reading of one body of the call named id. What it returns is Detect for the
	// texts of that body, and is used by one goroutine at a time.
	Call(id string) func(seg *gate.Segment) []gate.Finding
}

// Wrapper is a Rater that asks elsewhere about some texts. First is the one within, for a reader that
// wants a score and no answer from elsewhere.
type Wrapper interface {
	Rater
	First() Rater
}

// Lane reads one text piece by piece. Whatever the pieces, the findings of all Write calls and of
// Close together are those Detect returns for the whole text: a verdict never depends on chunking.
// It is used by one goroutine at a time.
type Lane interface {
	// Write takes the next piece (any bytes, a rune may be split) and returns what is now decided:
	// new findings, and clear, the number of bytes from the beginning of the text that can no longer
	// become part of a finding that has not been returned yet. clear never goes back, and the
	// undecided rest is bounded (see HoldLimit of the implementation).
	Write(p []byte) (found []gate.Finding, clear int)
	// Expire decides about what is held as if the text ended here, for when it has been held too
	// long, and goes on: a later piece that completes a match is still found.
	Expire() (found []gate.Finding, clear int)
	// Close ends the text.
	Close() []gate.Finding
}
