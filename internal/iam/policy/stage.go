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
	set := s.g.Engine.Set()
	if s.after {
		if q := asked(x, set, who.Principal); q != nil {
			return q.resume(x), nil
		}
	}
	r := s.request(x, who)
	if q := set.begin(&r); q != nil && !s.after {
		return q.begun(x, set), nil
	}
	d := set.Decide(&r)
	if !d.Allow {
		return refuse(d), nil
	}
	_, no := toolsOf(set, &r, x)
	return no, nil
}

// request is the question about a call.
func (s stage) request(x *gate.Exchange, who Caller) Request {
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
	return r
}

func refuse(d Decision) gate.Decision {
	problem := notAllowed // a copy: others may add to it
	return gate.Deny(&problem, "policy: "+d.String())
}

// toolsOf asks about the tools that a call offers, and says whether to ask again after inspection.
func toolsOf(set *Set, r *Request, x *gate.Exchange) (again bool, _ gate.Decision) {
	if x.Reading == nil || len(x.Reading.Tools) == 0 {
		return false, gate.Decision{}
	}
	d, tool := set.Tools(r, x.Reading.Tools)
	if !d.Allow {
		problem := toolNotAllowed
		return false, gate.Deny(&problem, fmt.Sprintf("policy: tool %.100q: %s", tool, d))
	}
	return d.Again, gate.Decision{}
}

// begun asks the first part of a question, and leaves the rest at the exchange.
func (q *question) begun(x *gate.Exchange, set *Set) gate.Decision {
	q.ask()
	var d Decision
	if q.settle(&d); !d.Allow {
		q.open = q.open[:0] // Cedar was asked
		defer q.put()
		return refuse(q.conclude(d))
	}
	again, no := toolsOf(set, &q.r, x)
	if no.Denied() {
		q.put()
		return no
	}
	q.first = earlier{set: set, reading: x.Reading, said: d, tools: again}
	x.Asked = q
	return gate.Decision{}
}

// asked finds the question that was begun about a call, as long as the policies, the caller and the call
// are the ones it was begun with; nil: ask anew.
func asked(x *gate.Exchange, set *Set, p *Principal) *question {
	q, ok := x.Asked.(*question)
	if !ok || set == nil || q.first.set != set || q.caller != p || q.first.reading != x.Reading || q.r.Bytes != int64(len(x.Body)) || q.r.IP != x.ClientAddr {
		return nil
	}
	x.Asked = nil
	return q
}

// resume asks the rest.
func (q *question) resume(x *gate.Exchange) gate.Decision {
	defer q.put()
	if len(q.later) == 0 && !q.first.tools {
		return gate.Decision{} // nothing waited
	}
	if d := q.rest(Found(x.Record)); !d.Allow {
		return refuse(d)
	}
	if q.first.tools {
		_, no := toolsOf(q.first.set, &q.r, x)
		return no
	}
	return gate.Decision{}
}

// channels is whose words a request holds.
func channels(r *gate.Reading) []string {
	set := 0
	for i := range r.Segments {
		set |= 1 << r.Segments[i].Channel & (len(channelSets) - 1)
	}
	return channelSets[set]
}

// channelSets are the sets of channels, by their bits.
var channelSets = func() [][]string {
	all := gate.Channels()
	sets := make([][]string, 1<<len(all))
	for set := range sets {
		for i, c := range all {
			if set&(1<<i) != 0 {
				sets[set] = append(sets[set], c.String())
			}
		}
	}
	return sets
}()

var nothing Inspected // nobody changes it

// Found is what inspection wrote into a record; nil where there is none. What an analyst excused was not found; where more
// was found than the record names, or a part was not read, it is as if unread.
func Found(rec *gate.Record) *Inspected {
	if rec == nil {
		return nil
	}
	if len(rec.Findings) == 0 && rec.MoreFindings == 0 && len(rec.Uninspected) == 0 {
		return &nothing
	}
	i := &Inspected{}
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
