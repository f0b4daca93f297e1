// Package simulate is a provider of AI answers that thinks nothing: it speaks the OpenAI and the
// Anthropic dialect on one listener, answers the same request with the same bytes every time, and
// does what it is told to. Tests, benchmarks, `sallyport demo` and users who try the gateway share
// it. It is not a provider to trust with anything: it accepts every credential unless told one.
//
// # Steering
//
// A call is steered by a request header
//
//	X-Simulate: key=value; key; key=value
//
// or, where a client cannot set headers, by the same text in the last user message as
// [[simulate: key=value; key]]. The header wins. Values are percent-decoded (a semicolon is %3B);
// a key with the suffix -base64 takes its value in standard base64. An unknown key is answered with
// 400, so that a misspelt one is not taken for a passed test.
//
//	status=429         answer with this status and the dialect's error body; 429 and 529 carry Retry-After
//	retry-after=2      its seconds
//	say=TEXT           the answer; say2=, say3= … the answers of further choices
//	choices=2          how many choices (OpenAI chat and completions; otherwise the request's n)
//	chunk=1            bytes per streamed delta, never within a character; default: a word each
//	write=1            bytes per write to the connection, each flushed
//	delay=50ms         wait before every delta
//	ttft=1s            wait before the first byte of the answer
//	tool=NAME          answer with a call of this tool; say, when given too, comes before it
//	arguments=JSON     its arguments; default: made from the tool's schema
//	thinking=TEXT      reasoning before the answer (Responses, Anthropic)
//	refusal=TEXT       a refusal in the place the dialect has for it
//	finish=REASON      finish_reason or stop_reason
//	size=BYTES         make the answer at least this long
//	extras             SSE comments, an id, an event and fields that no SDK knows
//	reset-after=N      break the connection (RST) after N frames; a whole answer: in its middle
//	end-after=N        end the stream cleanly after N frames, without the dialect's last event
//	error-after=N      the dialect's error event after N frames, then the end
//	garbage-after=N    a frame that cannot be decoded after N frames
//	silence-after=N    after N frames nothing more, until the client leaves
//	echo               answer with what arrived: {"method","path","sha256","bytes","headers"}
//
// # The guard
//
// The model "guard" of the chat endpoint, /v1/moderations and vLLM's /classify judge texts: unsafe is
// one that holds "pretend", "bypass", "override", "jailbreak" or "no restrictions".
package simulate

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"
)

// SteerHeader is the header that steers a call.
const SteerHeader = "X-Simulate"

// created is the time that every answer says it was made at, in Unix seconds: answers to the same
// request are the same bytes.
const created = 1767225600

// Options say how the simulator behaves. The zero value is usable.
type Options struct {
	// Credential, when set, is the only one accepted (Authorization: Bearer or X-Api-Key).
	Credential string
	// MaxBody is the largest request body in bytes; 0 means 64 MiB. A longer one is answered 413.
	MaxBody int64
	// Keep is how many requests Seen remembers; 0 means 1024, negative none.
	Keep int
	// OnRequest, when set, is called with every request once its body has arrived.
	OnRequest func(Seen)
	// OnEnd, when set, is called when a request is over.
	OnEnd func(End)
	// Fast answers every chat and messages call with one fixed small answer and does nothing else:
	// no steering, no record, no parsing. It is for benchmarks.
	Fast bool
	// Interval is the wait before each of a fast stream's Deltas deltas.
	Interval time.Duration
	// Deltas is how many deltas a fast stream has; 0 means 8.
	Deltas int
}

// Simulator is the provider. It is safe for concurrent use.
type Simulator struct {
	opt      Options
	recorder recorder
	fast     *fast
}

// New makes a simulator.
func New(opt Options) *Simulator {
	if opt.MaxBody <= 0 {
		opt.MaxBody = 64 << 20
	}
	if opt.Keep == 0 {
		opt.Keep = 1024
	}
	s := &Simulator{opt: opt, recorder: recorder{keep: max(opt.Keep, 0)}}
	if opt.Fast {
		s.fast = newFast(opt)
	}
	return s
}

// call is one request being answered.
type call struct {
	w         http.ResponseWriter
	r         *http.Request
	anthropic bool
	body      []byte // as received
	id        string // 24 hex digits that depend on the body and the path
	script    script
	ask       ask
}

// ServeHTTP answers one call.
func (s *Simulator) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if s.fast != nil {
		s.fast.ServeHTTP(w, r)
		return
	}
	c := &call{w: w, r: r, anthropic: isAnthropic(r)}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, s.opt.MaxBody))
	if err != nil {
		var long *http.MaxBytesError
		if errors.As(err, &long) {
			c.fail(http.StatusRequestEntityTooLarge, "The request body is too large.")
		}
		return
	}
	c.body = body
	sum := sha256.Sum256(append([]byte(r.Method+" "+r.URL.Path+"\n"), body...))
	c.id = hex.EncodeToString(sum[:12])
	seen := newSeen(r, body)
	s.recorder.add(seen)
	if s.opt.OnRequest != nil {
		s.opt.OnRequest(seen)
	}
	if s.opt.OnEnd != nil {
		defer func() {
			s.opt.OnEnd(End{Seen: seen, Left: r.Context().Err() != nil, At: time.Now()})
		}()
	}
	c.headers()
	if !s.admitted(r) {
		c.fail(http.StatusUnauthorized, "Incorrect API key provided.")
		return
	}
	c.answer()
}

func (s *Simulator) admitted(r *http.Request) bool {
	if s.opt.Credential == "" {
		return true
	}
	return r.Header.Get("Authorization") == "Bearer "+s.opt.Credential || r.Header.Get("X-Api-Key") == s.opt.Credential
}

// isAnthropic says which dialect a request speaks. The model list has one path in both.
func isAnthropic(r *http.Request) bool {
	p := r.URL.Path
	return strings.HasPrefix(p, "/v1/messages") || p == "/v1/complete" || r.Header.Get("Anthropic-Version") != ""
}

// headers are what a provider's answer carries besides its body.
func (c *call) headers() {
	h := c.w.Header()
	h.Set("X-Simulated-Unknown", `kept; "as is"`)
	if c.anthropic {
		h.Set("Request-Id", "req_"+c.id)
		h.Set("Anthropic-Organization-Id", "00000000-0000-4000-8000-000000000000")
		h.Set("Anthropic-Ratelimit-Requests-Limit", "1000")
		h.Set("Anthropic-Ratelimit-Requests-Remaining", "999")
		h.Set("Anthropic-Ratelimit-Requests-Reset", "2026-01-01T00:00:01Z")
		return
	}
	h.Set("X-Request-Id", "req_"+c.id)
	h.Set("Openai-Processing-Ms", "7")
	h.Set("Openai-Version", "2020-10-01")
	h.Set("X-Ratelimit-Limit-Requests", "10000")
	h.Set("X-Ratelimit-Remaining-Requests", "9999")
	h.Set("X-Ratelimit-Reset-Requests", "6ms")
	h.Set("X-Ratelimit-Limit-Tokens", "2000000")
	h.Set("X-Ratelimit-Remaining-Tokens", "1999990")
}

// answer reads the request, follows its script and finds the endpoint.
func (c *call) answer() {
	plain, err := undo(c.r.Header.Get("Content-Encoding"), c.body)
	if err != nil {
		c.fail(http.StatusBadRequest, "The request's content encoding could not be undone.")
		return
	}
	bad := c.ask.read(c.r.Header.Get("Content-Type"), plain)
	steer := c.r.Header.Get(SteerHeader)
	if steer == "" {
		steer = marker(c.ask.lastUser)
	}
	if c.script, err = parseScript(steer); err != nil {
		c.fail(http.StatusBadRequest, err.Error())
		return
	}
	if !c.wait(c.script.duration("ttft")) {
		return
	}
	switch {
	case c.script.has("echo"):
		c.echo()
	case c.script.has("status"):
		c.fail(c.script.number("status", 500), c.script.text("message", "Simulated failure."))
	case bad:
		c.fail(http.StatusBadRequest, "We could not parse the JSON body of your request.")
	case c.anthropic:
		c.routeAnthropic()
	default:
		c.routeOpenAI()
	}
}

// wait pauses; false means that the client has left.
func (c *call) wait(d time.Duration) bool {
	if d <= 0 {
		return c.r.Context().Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-c.r.Context().Done():
		return false
	}
}

func (c *call) echo() {
	sum := sha256.Sum256(c.body)
	c.json(http.StatusOK, object{
		"method": c.r.Method, "path": c.r.URL.RequestURI(), "sha256": hex.EncodeToString(sum[:]),
		"bytes": len(c.body), "headers": c.r.Header,
	})
}
