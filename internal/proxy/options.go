// Package proxy is the fourth layer: it receives a call, has it decided, makes its intent durable,
// forwards the original bytes, and lets the answer through as it is inspected.
//
// It promises that nothing leaves before audit has it, that no answer completes before its record
// does, that bytes pass unchanged unless a policy changed them, and that a call which cannot be
// read, decided or recorded ends with an error in the caller's own dialect. It does not use
// httputil.ReverseProxy, which cuts streamed answers to POSTs (golang/go#40747): the body is read
// whole before anything is sent.
package proxy

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"sallyport.dev/sallyport/internal/gate"
	"sallyport.dev/sallyport/internal/inspect/output"
	"sallyport.dev/sallyport/internal/secret"
	"sallyport.dev/sallyport/internal/wire"
)

// Upstream is one provider.
type Upstream struct {
	Name    string
	Dialect gate.Dialect
	// Base is an origin with an optional path prefix; the request's own path is appended as it came.
	Base *url.URL
	// Credential, when set, replaces whatever credential the caller sent.
	Credential secret.String
	// Sealed, when set, looks up the credential to send for a tenant; it comes before Credential. One
	// that is known and empty cannot be used, and the call is refused. It must not wait.
	Sealed func(tenant string) (s secret.String, known bool)
	// Headers are set on every request.
	Headers map[string]secret.String
	// Secrets are the values of Headers that nobody else may see; others, such as a version, are no secret.
	Secrets []secret.String
	// Transport sends. It must not decompress, follow redirects or use a proxy.
	Transport http.RoundTripper
	// Idle is the longest silence within an answer.
	Idle time.Duration
}

// Recorder is the record. Begin returns nil only when the intent is durable, Finish only when the
// end is. Finish without Begin records a call that never left.
type Recorder interface {
	Begin(ctx context.Context, r *gate.Record) error
	Finish(ctx context.Context, r *gate.Record) error
}

// Inspector reads answers. The request is inspected by a stage of the Admit pipeline.
type Inspector interface {
	Answer(ctx context.Context, x *gate.Exchange, r *gate.Reading, body []byte) ([]byte, gate.Decision, error)
	Stream(x *gate.Exchange, s wire.Stream, now time.Time) *output.Stream
}

// Limits bound what one call, one principal and all calls together may use. Sizes are bytes.
type Limits struct {
	Body, DecodedBody, Answer int64
	Frame                     int
	InFlight                  int64
	PerKey                    int
	BodyMemory                int64
}

// Timeouts bound how slow a client may be.
type Timeouts struct {
	BodyGrace  time.Duration // before the rate counts
	BodyRate   int64         // bytes a second that a body must arrive with
	WriteStall time.Duration // the longest a client may leave an answer unread
}

// Options is everything a Gateway needs. One Gateway is one configuration; a reload makes another.
type Options struct {
	Upstreams []Upstream
	Dialects  map[gate.Dialect]wire.Dialect
	Arrive    *gate.Pipeline // decides from the headers, before the body is read
	Admit     *gate.Pipeline // decides about the whole request
	Recorder  Recorder
	Inspector Inspector
	Load      *Load
	// Settle, when set, is called once for every call, when all is known of it that will be (outcome,
	// usage, bytes) and before its record is written and its last bytes go out; also for calls that were
	// refused, that broke off, or whose handling panicked. It may complete the record. It must not block.
	Settle func(*gate.Exchange)
	// Announce, when set, says what a caller is told of its limits beside the provider's answer. It is
	// asked once, before the answer begins; nil: nothing.
	Announce func(*gate.Exchange) http.Header
	Limits   Limits
	Timeouts Timeouts
	// Uninspected says what happens to what cannot be read.
	Uninspected func(gate.UninspectedKind) gate.Action
	// StripCredentials are headers, in canonical form, that do not go on, however their names are written (keys
	// mode): the caller's credentials, and what says who calls or from where.
	StripCredentials []string
	// Peer, when set, names the caller by its client certificate, which the listener's own TLS
	// configuration has verified. It is asked once for every call over TLS; an error refuses the
	// call and ends the connection. Nil: nobody is named.
	Peer    func(*tls.ConnectionState) (string, error)
	Policy  string // hash of the configuration, for the record
	Mode    string
	Monitor bool
	Content ContentOptions
	Log     *slog.Logger
}
