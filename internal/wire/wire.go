// Package wire knows what AI traffic means: which path belongs to which dialect, where the text
// sits in a request, an answer and a stream, what a refusal looks like to the official SDKs, and
// how to change a text without touching the bytes around it. It decides nothing.
package wire

import (
	"net/http"

	"sallyport.dev/sallyport/internal/gate"
)

// Route is what a dialect knows about one endpoint.
type Route struct {
	Endpoint string // stable name: "chat.completions", "responses", "messages", "files", ...; "unknown"
	Known    bool
	// Realtime is set where the endpoint leaves plain HTTP (WebSocket, WebRTC).
	Realtime bool
}

// Dialect reads and speaks one family of provider interfaces. Implementations hold no state and
// are safe for concurrent use.
type Dialect interface {
	Name() gate.Dialect
	// Route names the endpoint of a request from its method and escaped path (no query).
	Route(method, path string) Route
	// ReadRequest finds every text in a request body whose content encoding has been undone.
	// Its errors are *gate.Problem: the body cannot be read in one way only, or breaks a limit.
	ReadRequest(rt Route, contentType string, body []byte) (*gate.Reading, error)
	// ReadAnswer finds every text in a whole (not streamed) answer.
	ReadAnswer(rt Route, status int, contentType string, body []byte) (*gate.Reading, error)
	// Stream begins the reading of one streamed answer (text/event-stream).
	Stream(rt Route) Stream
	// Refusal is the error answer that the dialect's official SDK turns into its usual typed
	// exception. id is the Sallyport-Id.
	Refusal(p *gate.Problem, id string) (http.Header, []byte)
}

// Stream reads one streamed answer, frame by frame. It is used by one goroutine at a time.
type Stream interface {
	// Read decodes one frame as the splitter cut it. An error means that the frame cannot be read
	// and so must not pass.
	Read(raw []byte) (gate.Frame, error)
	// Stop is the dialect's own orderly end of a stream that a content policy stops here, after
	// the frames read so far: content_filter, response.incomplete, stop_reason refusal.
	Stop(p *gate.Problem) []byte
	// Fail is the dialect's error event for a stream that cannot go on.
	Fail(p *gate.Problem) []byte
	// Account is what the frames so far said about the answer as a whole.
	Account() Account
}

// Account is what a stream said about itself.
type Account struct {
	Model  string
	Usage  gate.Usage
	Finish string
	Done   bool // the dialect's last event has passed
}
