package gate

import (
	"net/http"
	"time"
)

// Action is what a policy says about one finding, and what was decided about a whole call. The
// order is the order of severity.
type Action uint8

const (
	Allow    Action = iota // pass, leave no trace but the record
	Flag                   // pass, say so in the record
	Sanitize               // pass without the offending bytes
	Block                  // do not pass
)

var actionNames = [...]string{"allow", "flag", "sanitize", "block"}

func (a Action) String() string { return nameOf(actionNames[:], int(a)) }

// ParseAction is the inverse of String.
func ParseAction(s string) (Action, bool) {
	i, ok := indexOf(actionNames[:], s)
	return Action(i), ok
}

// Category is what a finding is about.
type Category string

const (
	Injection        Category = "injection"         // OWASP LLM01, ATLAS AML.T0051
	Jailbreak        Category = "jailbreak"         // OWASP LLM01, ATLAS AML.T0054
	PromptExtraction Category = "prompt_extraction" // OWASP LLM07, ATLAS AML.T0056
	Secret           Category = "secret"            // OWASP LLM02, ATLAS AML.T0057
	// Unread is said of a text that a part of the detector could not read; what the others found
	// stands beside it.
	Unread Category = "uninspected"
)

// Categories lists the categories that this release can find.
func Categories() []Category {
	return []Category{Injection, Jailbreak, PromptExtraction, Secret, Unread}
}

// Attack says whether a finding of this category is an attack on the model, as opposed to a leak.
func (c Category) Attack() bool { return c == Injection || c == Jailbreak || c == PromptExtraction }

// OWASP is the entry of the OWASP Top 10 for LLM Applications (2025) that a finding of this category
// is an instance of, and ATLAS the technique of MITRE ATLAS; both empty where there is none.
func (c Category) OWASP() string {
	switch c {
	case Injection, Jailbreak:
		return "LLM01:2025"
	case PromptExtraction:
		return "LLM07:2025"
	case Secret:
		return "LLM02:2025"
	}
	return ""
}

// ATLAS: see OWASP. An injection by somebody else's words is the indirect one.
func (c Category) ATLAS(ch Channel) string {
	switch c {
	case Injection:
		if ch == ChannelTool || ch == ChannelDocument {
			return "AML.T0051.001"
		}
		return "AML.T0051.000"
	case Jailbreak:
		return "AML.T0054"
	case PromptExtraction:
		return "AML.T0056"
	case Secret:
		return "AML.T0057"
	}
	return ""
}

// Finding is one thing found in one text. It never holds the text itself.
type Finding struct {
	Category  Category
	Rule      string // stable id of the rule or model that found it
	Direction Direction
	Channel   Channel
	Path      string  // of the segment
	Start     int     // byte offsets in the segment's own text, whatever view it was seen in
	End       int     //
	View      string  // the reading it was seen in: raw, folded, base64, ...
	Score     float64 // 0..1
	Action    Action  // what the policy says about it
	Span      string  // keyed hash of the words found, by which an allow-list names them; may be empty
	Excused   string  // id of the allow-list entry that made the action Allow; empty: none
	// Segment is the index in Reading.Segments while a call is being decided; -1 for a stream.
	Segment int
}

// Decision is what a stage, or the pipeline, decided. The zero value lets the call pass.
type Decision struct {
	Verdict Action
	Stage   string   // who decided; set by the pipeline
	Problem *Problem // what the caller is told; set when Verdict is Block
	Reason  string   // what the record is told; never holds caller text
}

// Denied says whether the call ends here.
func (d Decision) Denied() bool { return d.Verdict == Block }

// Deny makes a blocking decision.
func Deny(p *Problem, reason string) Decision {
	return Decision{Verdict: Block, Problem: p, Reason: reason}
}

// Code names a refusal. Codes are part of the public interface: they appear in error bodies and in
// the record, and they never change their meaning.
type Code string

const (
	CodePolicy          Code = "content_policy_violation"     // a finding that the policy blocks
	CodeUninspected     Code = "uninspected_content"          // content that cannot be read and may not pass unread
	CodeAmbiguous       Code = "ambiguous_request"            // two parsers could read the request differently
	CodeInvalidKey      Code = "invalid_api_key"              // no, an unknown, an expired or a revoked credential
	CodeDenied          Code = "policy_denied"                // the credential may not do this
	CodeNotFound        Code = "unknown_route"                // no upstream takes this path
	CodeTooLarge        Code = "request_too_large"            // body over the limit, encoded or decoded
	CodeEncoding        Code = "unsupported_content_encoding" // a Content-Encoding that is not read
	CodeTooSlow         Code = "request_timeout"              // the caller sent its body too slowly
	CodeBusy            Code = "concurrency_limit_exceeded"   // too many calls at once for this key
	CodeRateLimited     Code = "rate_limit_exceeded"          // more than is allowed in a second, a minute, an hour
	CodeBudget          Code = "budget_exceeded"              // more money than is allowed, or more of anything than a day or a month has
	CodeOverloaded      Code = "gateway_overloaded"           // too many calls at once for this gateway
	CodeUnavailable     Code = "gateway_unavailable"          // a part that must work does not: closed
	CodeInternal        Code = "gateway_error"                // a fault of ours
	CodeUpstream        Code = "upstream_unreachable"         // no connection, or it broke before an answer
	CodeUpstreamTimeout Code = "upstream_timeout"             // no answer in time
	CodeUpstreamInvalid Code = "upstream_invalid_answer"      // an answer that cannot be read and may not pass unread
	CodeRealtime        Code = "realtime_not_supported"       // WebSocket and WebRTC sessions
)

// Problem is what the caller is told, before it is put into the dialect's own error body. It holds
// nothing of the caller's text, of the upstream's credential, or of the gateway's inside.
type Problem struct {
	Status     int
	Code       Code
	Message    string
	Param      string        // path of the offending parameter, where there is one
	RetryAfter time.Duration // 0: no Retry-After header; retries would not help
	// Header holds further fields for the answer, in canonical form; they win over the dialect's own.
	// Read only. Nil: none.
	Header http.Header
}

func (p *Problem) Error() string { return string(p.Code) + ": " + p.Message }

// Outcome is how a call ended, in one word.
type Outcome string

const (
	OutcomeCompleted       Outcome = "completed"        // the answer was delivered whole (whatever its status)
	OutcomeBlocked         Outcome = "blocked"          // stopped by a content policy, before or within the answer
	OutcomeRefused         Outcome = "refused"          // stopped by anything else of ours: identity, limits, form
	OutcomeClientAborted   Outcome = "client_aborted"   // the caller left
	OutcomeUpstreamError   Outcome = "upstream_error"   // no answer from the provider
	OutcomeUpstreamAborted Outcome = "upstream_aborted" // the provider's answer broke off
	OutcomeFailed          Outcome = "failed"           // a fault of ours
	OutcomeInterrupted     Outcome = "interrupted"      // the gateway ended with the call in flight: cut at shutdown, or found on recovery
)
