package policy

import (
	"fmt"
	"iter"
	"slices"
	"sync/atomic"

	cedar "github.com/cedar-policy/cedar-go"
)

// Request is one question.
type Request struct {
	Principal *Principal
	Action    Action
	Upstream  string
	Endpoint  string
	Model     string // Call: as the request names it; empty: the call is about the endpoint
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
func (e *Engine) Decide(r *Request) Decision {
	s := e.set.Load()
	if s == nil {
		return Decision{Closed: true, Errors: []EvalError{{Message: "no policies were read yet"}}}
	}
	return s.Decide(r)
}

// Decide answers one question. For an agent that acts for a person, and for its keys, the person is
// asked about too, and both must be allowed.
func (s *Set) Decide(r *Request) Decision {
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

// question is one evaluation: the statements that can match, and the entities they may look at.
type question struct {
	picked   []*statement
	person   *Principal
	caller   *Principal
	resource cedar.Entity
	about    []cedar.EntityUID // the resource and what it is in
	room     [3]cedar.EntityUID
	buf      [16]*statement
}

func (t *tenant) decide(r *Request, p *Principal) Decision {
	q := &question{caller: p, person: p.person}
	t.aim(q, r)
	need, waiting := t.pick(q, r, p)
	allow, diag := cedar.Authorize(q, q, cedar.Request{
		Principal: p.uid, Action: actionUIDs[r.Action], Resource: q.resource.UID, Context: r.record(need, t),
	})
	return q.conclude(allow == cedar.Allow, diag, waiting)
}

// aim sets what the call is about.
func (t *tenant) aim(q *question, r *Request) {
	h := t.places.of(r.Upstream, r.Endpoint)
	switch {
	case r.Action == UseTool:
		q.resource = cedar.Entity{UID: cedar.NewEntityUID(typeTool, cedar.String(r.Tool)), Parents: h.tool}
		q.about = append(q.room[:0], q.resource.UID, h.in[1])
	case r.Model != "":
		q.resource = cedar.Entity{UID: cedar.NewEntityUID(typeModel, cedar.String(r.Model)), Parents: h.model}
		q.about = append(q.room[:0], q.resource.UID, h.in[0], h.in[1])
	default:
		q.resource = h.endpoint
		q.about = h.in[:]
	}
}

// waits is what statements that cannot decide yet could do.
type waits struct{ any, permit bool }

// pick finds the statements that can match, and what of the context they name.
func (t *tenant) pick(q *question, r *Request, p *Principal) (need attrs, w waits) {
	known := r.Final || r.Inspected != nil
	q.picked = q.buf[:0]
	take := func(list []*statement) {
		for _, s := range list {
			if !s.who.fits(p.in) || !s.what.fits(q.about) {
				continue
			}
			if s.deferred && !known {
				w.any, w.permit = true, w.permit || !s.forbid
				continue
			}
			need |= s.needs
			q.picked = append(q.picked, s)
		}
	}
	ix := &t.actions[r.Action]
	take(ix.any)
	if len(ix.by) > 0 {
		for i := range p.in {
			take(ix.by[p.in[i]])
		}
	}
	return need, w
}

// conclude adds to Cedar's own rule (deny by default, forbid wins, an error is no match) that a forbid
// which cannot be evaluated denies, and that a permit which waits for inspection does not deny yet.
func (q *question) conclude(allow bool, diag cedar.Diagnostic, w waits) Decision {
	d := Decision{Allow: allow, Again: w.any}
	for _, reason := range diag.Reasons {
		d.Policies = append(d.Policies, string(reason.PolicyID))
	}
	for _, e := range diag.Errors {
		d.Errors = append(d.Errors, EvalError{Policy: string(e.PolicyID), Message: e.Message})
		if q.forbids(e.PolicyID) {
			d.Closed = true
		}
	}
	forbidden := !allow && len(diag.Reasons) > 0
	if !allow && !forbidden && w.permit {
		d.Allow = true
	}
	if d.Closed {
		if d.Allow {
			d.Policies = nil // the permits did not decide
		}
		d.Allow = false
	}
	if !d.Allow {
		d.Again = false
	}
	slices.Sort(d.Policies)
	return d
}

func (q *question) forbids(id cedar.PolicyID) bool {
	for _, s := range q.picked {
		if s.id == id {
			return s.forbid
		}
	}
	return true // unknown: closed
}

// All implements cedar.PolicyIterator.
func (q *question) All() iter.Seq2[cedar.PolicyID, *cedar.Policy] {
	return func(yield func(cedar.PolicyID, *cedar.Policy) bool) {
		for _, s := range q.picked {
			if !yield(s.id, s.bare) {
				return
			}
		}
	}
}

// Get implements cedar.EntityGetter. Memberships are flat: what an entity is in, it is in directly.
func (q *question) Get(id cedar.EntityUID) (cedar.Entity, bool) {
	switch {
	case id == q.caller.uid:
		return q.caller.entity, true
	case id == q.resource.UID:
		return q.resource, true
	case q.person != nil && id == q.person.uid:
		return q.person.entity, true
	}
	return cedar.Entity{}, false
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
