// Package gate is the spine of Sallyport: the values that travel through it (Exchange, Segment,
// Finding, Decision, Record), the pipeline that decides about a call, and the one table that says
// what each failure does. It knows no room, no dialect and no store, and imports only the standard
// library. Read it first.
package gate

import (
	"net/http"
	"net/netip"
	"time"
)

// Dialect is a family of provider interfaces.
type Dialect string

const (
	OpenAI    Dialect = "openai"
	Anthropic Dialect = "anthropic"
)

// Principal is who calls. It never holds a credential.
type Principal struct {
	Kind string // "credential" (passed through, known by a keyed hash), "key" (one of ours), "anonymous"
	ID   string // stable, safe to print
	Name string // for people; may be empty
	// Tenant and Team are those that the call counts for, Holder the person, service or agent behind a
	// key, OnBehalfOf whom an agent acts for. All are ids; each may be empty.
	Tenant, Team, Holder, OnBehalfOf string
	// Grant is the identity room's own view of what the principal may do; other rooms do not look inside.
	Grant any
}

// Exchange is one call on its way through. One goroutine at a time owns it.
type Exchange struct {
	ID         string // the Sallyport-Id the caller sees
	Dialect    Dialect
	Upstream   string      // name of the upstream it goes to
	Endpoint   string      // wire's name of the endpoint: "chat.completions", "messages", "unknown"
	Method     string      //
	Path       string      // escaped path as it goes upstream, without the upstream's own prefix
	Query      string      // as the caller wrote it, without the question mark; it goes on, and is in no record
	Header     http.Header // the caller's; read only
	ClientAddr netip.Addr
	Peer       string // SPIFFE id of the caller's certificate, verified by the listener; empty: none
	Principal  Principal

	Body    []byte   // exactly as received
	Plain   []byte   // Body after content decoding; the same slice when it was not encoded
	Reading *Reading // what was found in Plain
	Forward []byte   // what leaves: Body, unless a stage changed it; then it is not content-encoded
	Changed bool     // Forward is not Body

	// Reserved is what the limits hold for this call, Asked what the policies said of it before its text was
	// read. Nobody else looks inside.
	Reserved, Asked any

	Record *Record
}

// Record is the one account of a call that audit, metrics, traces and the console read. It is made
// first, filled on the way and written at the end. It holds no caller text and no credential,
// except in Content, where the operator asked for it.
type Record struct {
	ID       string
	Received time.Time

	Principal  Principal
	ClientAddr netip.Addr
	Upstream   string
	Dialect    Dialect
	Endpoint   string
	Method     string
	Path       string // without the query, which may hold keys
	Model      string
	Streamed   bool // the answer was a stream

	Policy string // hash of the configuration that decided
	Mode   string // enforce or monitor

	Findings     []Finding
	MoreFindings int // found beyond those that Findings names
	Uninspected  []Uninspected
	Decision     Decision // what was decided; in monitor mode see WouldBe
	WouldBe      Action   // what enforce would have decided
	Sanitized    bool     // bytes were changed by policy

	Status  int // of the answer to the caller
	Outcome Outcome
	Error   string // what went wrong, for the operator; generic, no caller text
	Usage   Usage
	Spend   Spend
	Finish  string // why the model stopped

	RequestBytes, ForwardBytes int64 // as received, as sent on
	AnswerBytes, SentBytes     int64 // as received from the provider, as sent to the caller
	// AnswerText is how many bytes of text a streamed answer held, its frames not counted.
	AnswerText int64

	Admitted, Begun, FirstByte, Finished time.Duration // since Received

	Content Content
}

// Spend is what a call was charged to its limits with. Unlike Usage it is never unknown: what the
// provider did not say is estimated.
type Spend struct {
	Tokens    int64 // input and output
	Cost      int64 // micro-units of the currency
	Estimated bool  // the provider did not say; reckoned from bytes
	Guessed   bool  // no price is known for the model; the fallback was taken
}

// Content is what the record keeps of the words themselves, as `audit.content` says.
type Content struct {
	Mode    string // none, hashed, redacted, full
	Request string // keyed hash, or text
	Answer  string
}
