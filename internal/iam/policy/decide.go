package policy

import (
	"fmt"
	"slices"
	"sync/atomic"
)

// Request is one question.
type Request struct {
	Principal *Principal
	Action    Action
	Upstream  string
	Endpoint  string
	Model     string // as the request names it; of a Call, empty: the call is about the endpoint
	Tool      string // UseTool: its name
	Circumstances
	// Final says that nothing more will become known. Until then a policy that names what only
	// inspection can tell does not decide.
	Final bool
}

// Decision is the answer.
type Decision struct {
	Allow bool
	// Again says that a policy waits for what inspection finds: ask again then. Where Allow rests on
	// such a permit alone, Policies is empty.
	Again bool
	// Closed says that it was denied because a forbid could not be evaluated.
	Closed bool
	// Policies are the statements that decided, by id: the forbids that matched, or else the permits.
	Policies []string
	// Errors are the statements that could not be evaluated.
	Errors []EvalError
}

// EvalError is a statement that could not be evaluated. Of a permit this means that it does not permit.
type EvalError struct {
	Policy  string `json:"policy"`
	Message string `json:"message"`
}

// Engine serves the current Set. The zero value denies everything.
type Engine struct{ set atomic.Pointer[Set] }

// Use makes a set the current one. Decisions under way end under the one they began with.
func (e *Engine) Use(s *Set) { e.set.Store(s) }

// Set is the current one; nil before the first Use.
func (e *Engine) Set() *Set { return e.set.Load() }

// Decide answers under the current set. It takes no lock and makes no call to anything outside.
func (e *Engine) Decide(r *Request) Decision { return e.set.Load().Decide(r) }

// Decide answers one question. For an agent that acts for a person, and for its keys, the person is
// asked about too, and both must be allowed. A nil set denies.
func (s *Set) Decide(r *Request) Decision {
	if s == nil {
		return Decision{Closed: true, Errors: []EvalError{{Message: "no policies were read yet"}}}
	}
	p := r.Principal
	if p == nil || r.Action >= actions {
		return Decision{Closed: true, Errors: []EvalError{{Message: "no principal or no such action"}}}
	}
	t := s.of(p.tenant)
	if t.closed != nil {
		return Decision{Closed: true, Errors: []EvalError{{Message: "a policy cannot be read: " + t.closed.Error()}}}
	}
	d := t.decide(r, p)
	if p.person == nil || !d.Allow {
		return d
	}
	two := t.decide(r, p.person)
	two.Again = two.Again || d.Again
	two.Errors = append(two.Errors, d.Errors...)
	if two.Allow {
		two.Policies = union(d.Policies, two.Policies)
	}
	return two
}

// begin takes a question of one caller up; nil where there is more to it, or where nothing can pass.
func (s *Set) begin(r *Request) *question {
	p := r.Principal
	if s == nil || p == nil || p.person != nil || r.Action >= actions {
		return nil
	}
	t := s.of(p.tenant)
	if t.closed != nil {
		return nil
	}
	q := take()
	q.aim(t, r, p)
	return q
}

func union(a, b []string) []string {
	all := append(slices.Clone(a), b...)
	slices.Sort(all)
	return slices.Compact(all)
}

// String is for the record: what was decided, and by which policies.
func (d Decision) String() string {
	switch {
	case d.Closed:
		return fmt.Sprintf("denied: a policy could not be evaluated: %v", errorIDs(d.Errors))
	case d.Allow:
		return fmt.Sprintf("allowed by %v", d.Policies)
	case len(d.Policies) == 0:
		return "denied: no policy permits it"
	}
	return fmt.Sprintf("denied by %v", d.Policies)
}

func errorIDs(es []EvalError) []string {
	var ids []string
	for _, e := range es {
		ids = append(ids, e.Policy)
	}
	return ids
}
