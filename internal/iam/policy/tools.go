package policy

import (
	"fmt"

	cedar "github.com/cedar-policy/cedar-go"
	xast "github.com/cedar-policy/cedar-go/x/exp/ast"
)

// MaxTools is how many tools one request may offer where policies are asked about each. Providers take
// up to 128 functions; several servers of tools offer some hundreds.
const MaxTools = 1024

// Tools answers for every tool that a request offers: r with the action UseTool and each of the names.
// It gives the first denial, with the tool that is denied; where all pass, an answer without Policies.
// Statements that do not look at the tool are asked once for all. More than MaxTools are denied.
func (s *Set) Tools(r *Request, tools []string) (Decision, string) {
	if len(tools) > MaxTools {
		return Decision{Closed: true, Errors: []EvalError{{Message: fmt.Sprintf("%d tools are offered, and at most %d are looked at", len(tools), MaxTools)}}}, ""
	}
	if len(tools) == 0 {
		return Decision{Allow: true}, ""
	}
	one := *r
	one.Action, one.Tool = UseTool, tools[0]
	p := one.Principal
	if s == nil || p == nil || s.of(p.tenant).closed != nil {
		return s.Decide(&one), tools[0]
	}
	t := s.of(p.tenant)
	d, tool := t.tools(&one, p, tools)
	if p.person == nil || !d.Allow {
		return d, tool
	}
	two, tool := t.tools(&one, p.person, tools)
	two.Again = two.Allow && (two.Again || d.Again)
	two.Errors = append(two.Errors, d.Errors...)
	return two, tool
}

// tools asks about each tool: first what none of them changes, then, for each, the rest.
func (t *tenant) tools(r *Request, p *Principal, tools []string) (Decision, string) {
	q := take()
	defer q.put()
	q.aim(t, r, p)
	q.only = sharedOnly
	q.ask()
	var shared Decision
	if len(q.open) > 0 {
		q.askCedar(&shared)
	}
	matched, waiting, out := len(q.matched), q.waiting, Decision{Allow: true}
	q.only = toolsOnly
	for i, name := range tools {
		q.matched, q.open, q.need, q.waiting = q.matched[:matched], q.open[:0], 0, waiting
		q.about[0].ID, q.r.Tool = cedar.String(name), name
		if t.lookAtTools {
			q.ask()
		} else if i > 0 {
			break // as of the first
		}
		d := q.conclude(Decision{Closed: shared.Closed, Errors: shared.Errors[:len(shared.Errors):len(shared.Errors)]})
		if !d.Allow {
			return d, name
		}
		out.Again = out.Again || d.Again
		if len(d.Errors) > len(out.Errors) {
			out.Errors = d.Errors
		}
	}
	return out, ""
}

// which statements a question asks.
type which uint8

const (
	everyone which = iota
	sharedOnly
	toolsOnly // those that look at the resource
)

func (w which) skips(s *statement) bool {
	return w == sharedOnly && s.looks || w == toolsOnly && !s.looks
}

// looksAtResource says whether it matters to a statement which tool it is asked about, beyond that it
// is a tool of its upstream.
func looksAtResource(what *head, conditions []xast.ConditionType) bool {
	looks := what.entity.Type == typeTool
	for _, c := range conditions {
		xast.Inspect(xast.NewNode(c.Body), func(n xast.IsNode) bool {
			v, ok := n.(xast.NodeTypeVariable)
			looks = looks || ok && v.Name == "resource"
			return true
		})
	}
	return looks
}
