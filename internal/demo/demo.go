// Package demo holds the calls of `sallyport demo`: benign ones that must pass unchanged and
// hostile ones that must be stopped, each with what it shows and what has to happen.
package demo

import (
	"net/http"
	"strings"
)

// Verdict is what has to happen to a call.
type Verdict string

const (
	Passed    Verdict = "passed"    // unchanged
	Flagged   Verdict = "flagged"   // unchanged, and named in the record
	Sanitized Verdict = "sanitized" // without the hostile bytes
	Blocked   Verdict = "blocked"   // by a content policy
	Refused   Verdict = "refused"   // for its form
)

// Call is one scripted call.
type Call struct {
	Name   string // a few words
	Shows  string // what the reader learns from it
	Method string
	Path   string
	Header http.Header
	Body   string
	Expect Expect
}

// Expect is what has to be true afterwards. Run checks all of it.
type Expect struct {
	Verdict Verdict
	Status  int
	// AnswerHas and AnswerLacks are texts that the answer's body must and must not hold.
	AnswerHas, AnswerLacks []string
	// UpstreamLacks are texts that must not have arrived at the provider. Where the verdict is
	// Blocked and Unsent is set, and where it is Refused, nothing at all may have arrived; where it
	// is Passed or Flagged, the body must have arrived byte for byte.
	UpstreamLacks []string
	// Unsent says that the call must be stopped before it leaves.
	Unsent bool
}

func openAI(path, body string) Call {
	h := http.Header{"Content-Type": {"application/json"}, "Authorization": {"Bearer sk-demo"}}
	return Call{Method: http.MethodPost, Path: path, Header: h, Body: body}
}

func anthropic(body string) Call {
	h := http.Header{"Content-Type": {"application/json"}, "X-Api-Key": {"sk-demo"}, "Anthropic-Version": {"2023-06-01"}}
	return Call{Method: http.MethodPost, Path: "/v1/messages", Header: h, Body: body}
}

func (c Call) named(name, shows string, e Expect) Call {
	c.Name, c.Shows, c.Expect = name, shows, e
	return c
}

// steered tells the simulated provider what to answer.
func (c Call) steered(script string) Call {
	c.Header.Set("X-Simulate", script)
	return c
}

var passed = Expect{Verdict: Passed, Status: http.StatusOK}

func passes(has ...string) Expect {
	e := passed
	e.AnswerHas = has
	return e
}

// stopped is a request that never leaves.
func stopped(code string) Expect {
	return Expect{Verdict: Blocked, Status: http.StatusBadRequest, AnswerHas: []string{code}, Unsent: true}
}

func quote(s string) string { return strings.ReplaceAll(s, `"`, `\"`) }
