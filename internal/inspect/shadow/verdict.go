// Package shadow says what another detector would decide: about rows of text, about recorded calls
// whose content was kept, and about live calls, beside the detector that decides and off its path.
//
// It promises that it never changes a verdict, a byte or the time at which a call goes on; that what
// it did not compare is counted with the reason; and that it writes ids and keyed hashes, never text.
package shadow

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"slices"
	"time"

	"sallyport.dev/sallyport/internal/gate"
	"sallyport.dev/sallyport/internal/inspect"
	"sallyport.dev/sallyport/internal/wire"
	"sallyport.dev/sallyport/internal/wire/sse"
)

// Verdict is what one detector and the policy make of one text or call.
type Verdict struct {
	Verdict string   `json:"verdict"`
	Rules   []string `json:"rules,omitempty"` // ids of what found something, each once
}

// maxRules bounds how many rules one verdict names.
const maxRules = 16

func verdictOf(a gate.Action, fs []gate.Finding, dir gate.Direction) Verdict {
	v := Verdict{Verdict: a.String()}
	for i := range fs {
		if fs[i].Direction == dir {
			v.add(fs[i].Rule)
		}
	}
	slices.Sort(v.Rules)
	return v
}

func (v *Verdict) add(rule string) {
	if len(v.Rules) < maxRules && !slices.Contains(v.Rules, rule) {
		v.Rules = append(v.Rules, rule)
	}
}

// Change is one verdict that is, or would be, another.
type Change struct {
	Time      time.Time `json:"time,omitzero"`
	ID        string    `json:"id"`                  // of the row or of the call
	Line      int       `json:"line,omitempty"`      // of the row, from 1
	Direction string    `json:"direction,omitempty"` // of a call's text
	Text      string    `json:"text,omitempty"`      // keyed hash of the body
	Active    Verdict   `json:"active"`
	Candidate Verdict   `json:"candidate"`
}

// Summary counts a comparison.
type Summary struct {
	Compared int64 `json:"compared"`
	Changed  int64 `json:"changed"`
	// OtherFindings counts what gets the same verdict for other reasons.
	OtherFindings int64 `json:"other_findings"`
	// Changes counts the changed verdicts by kind: "allow to block".
	Changes map[string]int64 `json:"changes,omitempty"`
	// Skipped counts what was not compared, by reason.
	Skipped map[string]int64 `json:"skipped,omitempty"`
}

// compare counts one pair and says whether the verdict changes.
func (s *Summary) compare(active, candidate Verdict) bool {
	s.Compared++
	switch {
	case active.Verdict != candidate.Verdict:
		s.Changed++
		if s.Changes == nil {
			s.Changes = map[string]int64{}
		}
		s.Changes[active.Verdict+" to "+candidate.Verdict]++
		return true
	case !slices.Equal(active.Rules, candidate.Rules):
		s.OtherFindings++
	}
	return false
}

func (s *Summary) skip(why string, n int64) {
	if n == 0 {
		return
	}
	if s.Skipped == nil {
		s.Skipped = map[string]int64{}
	}
	s.Skipped[why] += n
}

func sortedKeys(m map[string]int64) []string { return slices.Sorted(maps.Keys(m)) }

// exchange is what an inspector needs to decide about a request again.
type exchange struct {
	dialect            gate.Dialect
	method, path       string
	endpoint, upstream string
	contentType        string
	principal          gate.Principal
	status             int
	plain              []byte
	reading            *gate.Reading
}

func (e *exchange) gate() *gate.Exchange {
	return &gate.Exchange{
		Dialect: e.dialect, Upstream: e.upstream, Endpoint: e.endpoint, Method: e.method, Path: e.path,
		Header: http.Header{"Content-Type": {e.contentType}}, Principal: e.principal,
		Body: e.plain, Plain: e.plain, Forward: e.plain, Reading: e.reading,
		Record: &gate.Record{Status: e.status, Principal: e.principal, Upstream: e.upstream},
	}
}

// judgeRequest decides about a request.
func judgeRequest(ctx context.Context, in *inspect.Inspector, e *exchange) (Verdict, error) {
	x := e.gate()
	if _, err := in.Admit(ctx, x); err != nil {
		return Verdict{}, err
	}
	return verdictOf(x.Record.WouldBe, x.Record.Findings, gate.Request), nil
}

// judgeAnswer decides about a whole answer whose reading is r.
func judgeAnswer(ctx context.Context, in *inspect.Inspector, e *exchange, r *gate.Reading, body []byte) (Verdict, error) {
	x := e.gate()
	if _, _, err := in.Answer(ctx, x, r, body); err != nil {
		return Verdict{}, err
	}
	return verdictOf(x.Record.WouldBe, x.Record.Findings, gate.Answer), nil
}

// judgeStream decides about a streamed answer, fed in pieces as they came.
func judgeStream(in *inspect.Inspector, e *exchange, ws wire.Stream, body []byte) (Verdict, error) {
	x := e.gate()
	s := in.Stream(x, ws, time.Time{})
	split := sse.NewSplitter(len(body) + 1)
	split.Write(body)
	for {
		frame, ok := split.Next()
		if !ok {
			break
		}
		if _, end, err := s.Push(frame, time.Time{}); err != nil || end != nil {
			return verdictOf(x.Record.WouldBe, x.Record.Findings, gate.Answer), err
		}
	}
	if len(split.Rest()) > 0 || split.Err() != nil {
		s.Abort()
		return Verdict{}, errors.New("the stream does not end with a whole event")
	}
	_, _, err := s.Close(time.Time{})
	return verdictOf(x.Record.WouldBe, x.Record.Findings, gate.Answer), err
}
