package policy

import (
	"iter"
	"slices"
	"sync"

	cedar "github.com/cedar-policy/cedar-go"

	"sallyport.dev/sallyport/internal/gate"
)

// question is one evaluation: who asks, what about, and what the statements said. Terms read it.
type question struct {
	r      Request // a copy, so that whoever asks need not put theirs on the heap
	t      *tenant
	caller *Principal
	person *Principal // whom the caller acts for
	place  *hierarchy
	about  []cedar.EntityUID // the resource and what it is in
	room   [3]cedar.EntityUID
	time   clock
	placed bool // nets is known
	nets   []string

	matched []*statement
	open    []*statement // Cedar must be asked about them
	later   []*statement // they wait for inspection
	need    attrs        // what of the context they name
	waiting waits
	only    which
	first   earlier
}

// earlier is what a question that is asked in two parts was about.
type earlier struct {
	set     *Set
	reading *gate.Reading
	said    Decision // of the first part
	tools   bool     // a statement on tools waits for inspection
}

// waits is what statements that cannot decide yet could do.
type waits struct{ any, permit bool }

// Questions are used again: what they hold on to is bounded by the number of processors.
var questions = sync.Pool{New: func() any {
	room := make([]*statement, 48)
	return &question{matched: room[:0:32], open: room[32:32:40], later: room[40:40]}
}}

func (t *tenant) decide(r *Request, p *Principal) Decision {
	q := take()
	defer q.put()
	q.aim(t, r, p)
	q.ask()
	return q.conclude(Decision{})
}

func take() *question { return questions.Get().(*question) }

// put gives a question back. It holds no caller, and no more room than a decision should need.
func (q *question) put() {
	if cap(q.matched) <= 1024 && cap(q.open) <= 1024 && cap(q.later) <= 1024 {
		clear(q.matched)
		clear(q.open)
		clear(q.later)
		clear(q.nets)
		*q = question{matched: q.matched[:0], open: q.open[:0], later: q.later[:0], nets: q.nets[:0]}
		questions.Put(q)
	}
}

// aim sets who asks and what about.
func (q *question) aim(t *tenant, r *Request, p *Principal) {
	q.t, q.r, q.caller, q.person = t, *r, p, p.person
	q.place = t.places.of(r.Upstream, r.Endpoint)
	switch {
	case r.Action == UseTool:
		q.about = append(q.room[:0], cedar.NewEntityUID(typeTool, cedar.String(r.Tool)), q.place.in[1])
	case r.Model != "":
		q.about = append(q.room[:0], cedar.NewEntityUID(typeModel, cedar.String(r.Model)), q.place.in[0], q.place.in[1])
	default:
		q.about = q.place.in[:]
	}
}

// ask asks the statements that can match.
func (q *question) ask() {
	ix := &q.t.actions[q.r.Action]
	q.askAll(ix.any)
	if len(ix.by) > 0 {
		for i := range q.caller.in {
			if slices.Contains(ix.types, q.caller.in[i].Type) {
				q.askAll(ix.by[q.caller.in[i]])
			}
		}
	}
}

func (q *question) askAll(list []*statement) {
	known := q.r.Final || q.r.Inspected != nil
	for _, s := range list {
		if q.only.skips(s) || !s.who.fits(q.caller.in) || !s.what.fits(q.about) {
			continue
		}
		if s.deferred && !known {
			q.waiting.any, q.waiting.permit = true, q.waiting.permit || !s.forbid
			q.later = append(q.later, s)
			continue
		}
		says := unsure
		if s.run != nil {
			says = s.run(q)
		}
		switch says {
		case holds:
			q.matched = append(q.matched, s)
		case unsure:
			q.need |= s.needs
			q.open = append(q.open, s)
		}
	}
}

// rest asks those that waited for inspection, now that it is over. All others have said what they say: the
// call is the one they were asked about.
func (q *question) rest(found *Inspected) Decision {
	q.r.Inspected, q.r.Final = found, true
	later := q.later
	q.later, q.open, q.need, q.waiting = q.later[len(later):], q.open[:0], 0, waits{}
	q.askAll(later)
	q.later = later
	return q.conclude(Decision{Errors: q.first.said.Errors})
}

// conclude decides, and names the statements that did.
func (q *question) conclude(d Decision) Decision {
	forbids, permits := q.settle(&d)
	if n := max(forbids, permits); n > 0 {
		d.Policies = q.ids(forbids > 0, forbids+permits)
	}
	return d
}

// settle adds to Cedar's own rule (deny by default, forbid wins, an error is no match) that a forbid
// which cannot be evaluated denies, and that a permit which waits for inspection does not deny yet.
// d is what is known of errors so far. It counts the statements that matched; permits only if they decided.
func (q *question) settle(d *Decision) (forbids, permits int) {
	d.Again = q.waiting.any
	if len(q.open) > 0 {
		q.askCedar(d)
	}
	for _, s := range q.matched {
		if s.forbid {
			forbids++
		}
	}
	permits = len(q.matched) - forbids
	d.Allow = forbids == 0 && (permits > 0 || q.waiting.permit)
	if d.Closed && d.Allow {
		d.Allow, permits = false, 0 // the permits did not decide
	}
	if !d.Allow {
		d.Again = false
	}
	return forbids, permits
}

func (q *question) ids(forbid bool, most int) []string {
	out := make([]string, 0, most)
	for _, s := range q.matched {
		if s.forbid == forbid {
			out = append(out, string(s.id))
		}
	}
	slices.Sort(out)
	return out
}

// askCedar evaluates the open statements one by one; a record of the context costs more than they do.
func (q *question) askCedar(d *Decision) {
	req := cedar.Request{Principal: q.caller.uid, Action: actionUIDs[q.r.Action], Resource: q.about[0], Context: q.r.record(q.need, q.t)}
	for _, s := range q.open {
		_, diag := cedar.Authorize(alone{s}, q, req)
		switch {
		case len(diag.Errors) > 0:
			d.Errors = append(d.Errors, EvalError{Policy: string(s.id), Message: diag.Errors[0].Message})
			d.Closed = d.Closed || s.forbid
		case len(diag.Reasons) > 0:
			q.matched = append(q.matched, s)
		}
	}
}

// alone is a set of one statement, without its head.
type alone struct{ s *statement }

// All implements cedar.PolicyIterator.
func (a alone) All() iter.Seq2[cedar.PolicyID, *cedar.Policy] {
	return func(yield func(cedar.PolicyID, *cedar.Policy) bool) { yield(a.s.id, a.s.bare) }
}

// principal finds somebody whose attributes are known; nil: nobody is.
func (q *question) principal(id cedar.EntityUID) *Principal {
	switch {
	case id == q.caller.uid:
		return q.caller
	case q.person != nil && id == q.person.uid:
		return q.person
	}
	return nil
}

// above is everything that an entity is in. Memberships are flat: what an entity is in, it is in directly.
func (q *question) above(id cedar.EntityUID) []cedar.EntityUID {
	if id == q.about[0] {
		return q.about
	}
	if p := q.principal(id); p != nil {
		return p.in
	}
	return nil
}

// Get implements cedar.EntityGetter.
func (q *question) Get(id cedar.EntityUID) (cedar.Entity, bool) {
	if id == q.about[0] {
		e := cedar.Entity{UID: id}
		switch {
		case q.r.Action == UseTool:
			e.Parents = q.place.tool
		case q.r.Model != "":
			e.Parents = q.place.model
		default:
			e.Parents = q.place.endpoint
		}
		return e, true
	}
	if p := q.principal(id); p != nil {
		return p.entity(), true
	}
	return cedar.Entity{}, false
}
