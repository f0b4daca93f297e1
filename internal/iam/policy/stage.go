package policy

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"slices"
	"time"

	"sallyport.dev/sallyport/internal/gate"
)

// Caller is who makes a call and how they proved it.
type Caller struct {
	Principal *Principal
	AMR       []string
	MFA       time.Time // of the last second factor; zero: none
}

// Guard makes the two stages of a pipeline that ask an Engine. Both need the request to have been
// taken apart (for the model), and the caller's scopes to have been checked.
type Guard struct {
	Engine *Engine
	// Caller finds the caller of a call; the error means that nobody can say who it is.
	Caller func(*gate.Exchange) (Caller, error)
	// ModelFree says whether a call that names no model can use none. nil: no call can.
	ModelFree func(*gate.Exchange) bool
	Now       func() time.Time // nil: time.Now
}

// Names of the two stages, in the record too.
const (
	StageBefore = "policy"
	StageAfter  = "policy_findings"
)

// Before is the stage before inspection: it stops a call before its text is read.
func (g *Guard) Before() gate.Stage { return stage{g, StageBefore, false} }

// After is the stage after inspection. It asks about everything again: policies may have changed
// meanwhile, and what let the call pass before may have waited for what was found.
func (g *Guard) After() gate.Stage { return stage{g, StageAfter, true} }

type stage struct {
	g     *Guard
	name  string
	after bool
}

func (s stage) Name() string { return s.name }

var notAllowed = gate.Problem{Status: http.StatusForbidden, Code: gate.CodeDenied, Message: "A policy does not allow this call."}

// toolNotAllowed names no tool: which are known to policies is not the caller's to find out.
var toolNotAllowed = gate.Problem{Status: http.StatusForbidden, Code: gate.CodeDenied, Message: "A policy does not allow the model a tool that this request offers.", Param: "tools"}

// Admit implements gate.Stage. It asks about the call, and then whether the model may use each of the
// tools that the request offers it.
func (s stage) Admit(_ context.Context, x *gate.Exchange) (gate.Decision, error) {
	who, err := s.g.Caller(x)
	if err == nil && who.Principal == nil {
		err = fmt.Errorf("no principal")
	}
	if err != nil {
		return gate.Decision{}, gate.Fail(gate.FailIdentity, fmt.Errorf("policy: find caller: %w", err))
	}
	now := s.g.Now
	if now == nil {
		now = time.Now
	}
	r := Request{Principal: who.Principal, Upstream: x.Upstream, Endpoint: x.Endpoint, Circumstances: Circumstances{
		Time: now(), IP: x.ClientAddr, AMR: who.AMR, MFA: who.MFA, ScopesGranted: true, Bytes: int64(len(x.Body)),
	}}
	if s.g.ModelFree != nil {
		r.ModelFree = s.g.ModelFree(x)
	}
	if x.Reading != nil {
		r.Model, r.Streamed = x.Reading.Model, x.Reading.Stream
		r.Channels = channels(x.Reading)
	}
	if s.after {
		r.Inspected, r.Final = Found(x.Record), true
	}
	if d := s.g.Engine.Decide(&r); !d.Allow {
		problem := notAllowed // a copy: others may add to it
		return gate.Deny(&problem, "policy: "+d.String()), nil
	}
	if x.Reading != nil && len(x.Reading.Tools) > 0 {
		if d, tool := s.g.Engine.Tools(&r, x.Reading.Tools); !d.Allow {
			problem := toolNotAllowed
			return gate.Deny(&problem, fmt.Sprintf("policy: tool %.100q: %s", tool, d)), nil
		}
	}
	return gate.Decision{}, nil
}

// channels is whose words a request holds.
func channels(r *gate.Reading) []string {
	var seen [16]bool
	var out []string
	for i := range r.Segments {
		if c := r.Segments[i].Channel; int(c) < len(seen) && !seen[c] {
			seen[c] = true
			out = append(out, c.String())
		}
	}
	return out
}

// Found is what inspection wrote into a record; nil where there is none. What an analyst excused was not found; where more
// was found than the record names, or a part was not read, it is as if unread.
func Found(rec *gate.Record) *Inspected {
	i := &Inspected{}
	if rec == nil {
		return nil
	}
	add := func(list *[]string, s string) {
		if !slices.Contains(*list, s) {
			*list = append(*list, s)
		}
	}
	i.Unread = rec.MoreFindings > 0 || len(rec.Uninspected) > 0
	for _, f := range rec.Findings {
		if f.Direction != gate.Request || f.Excused != "" {
			continue
		}
		switch {
		case f.Category == gate.Unread:
			i.Unread = true
			continue
		case f.Category.Attack():
			add(&i.Attacks, string(f.Category))
		default:
			add(&i.DataClasses, string(f.Category))
		}
		add(&i.FoundIn, f.Channel.String())
		i.Risk = max(i.Risk, min(100, int(math.Ceil(f.Score*100))))
	}
	return i
}
