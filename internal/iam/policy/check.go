package policy

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	cedar "github.com/cedar-policy/cedar-go"
	cast "github.com/cedar-policy/cedar-go/ast"
	xast "github.com/cedar-policy/cedar-go/x/exp/ast"
)

// compile checks one statement against the schema and notes what it needs.
func compile(c *cedar.Policy, id cedar.PolicyID, at place) (*statement, Errors) {
	tree := (*xast.Policy)(c.AST())
	s := &statement{id: id, text: c, tree: tree, forbid: c.Effect() == cedar.Forbid}
	var errs Errors
	size := 0
	for _, cond := range tree.Conditions {
		xast.Inspect(xast.NewNode(cond.Body), func(n xast.IsNode) bool {
			size++
			more, err := s.look(n, at)
			if err != nil {
				errs = append(errs, err)
			}
			return more
		})
	}
	if size > maxNodes {
		return nil, Errors{at.error(fmt.Sprintf("larger than %d terms; split it", maxNodes), "")}
	}
	s.deferred = s.needs&afterInspection != 0
	s.scope(tree)
	if err := validator.Policy("", tree); err != nil {
		errs = append(errs, schemaErrors(err, at, errs)...)
	}
	return s, errs
}

// look notes which context attributes a term names. The validator lets `has` test a name that
// nothing has, and reads no further; such a test never holds, so it is an error here.
func (s *statement) look(n xast.IsNode, at place) (more bool, _ *Error) {
	var on xast.IsNode
	var name string
	switch v := n.(type) {
	case xast.NodeTypeAccess:
		on, name = v.Arg, string(v.Value)
	case xast.NodeTypeHas:
		on, name = v.Arg, string(v.Value)
	case xast.NodeTypeVariable:
		if v.Name == "context" { // as a whole
			s.needs |= allAttrs
		}
		return true, nil
	default:
		return true, nil
	}
	if v, ok := on.(xast.NodeTypeVariable); ok && v.Name == "context" {
		bit, known := attrByName[name]
		if !known {
			return false, at.error("there is no attribute "+quoted(name)+" in context"+nearest(name, attrNames[:]), name)
		}
		s.needs |= bit
		return false, nil
	}
	if _, literal := on.(xast.NodeTypeRecord); !literal && !names[name] {
		return true, at.error("no entity has an attribute "+quoted(name), name)
	}
	return true, nil
}

// head is what a statement says of the principal, or of the resource, before its conditions.
type head struct {
	entity cedar.EntityUID  // it is, or is in, this one; zero: any
	exact  bool             // it is this one
	kind   cedar.EntityType // it is of this type; empty: any
}

// fits says whether an entity, given with everything it is in (itself first), is meant.
func (h *head) fits(in []cedar.EntityUID) bool {
	switch {
	case h.kind != "" && h.kind != in[0].Type:
		return false
	case h.entity == cedar.EntityUID{}:
		return true
	case h.exact:
		return h.entity == in[0]
	}
	for i := range in {
		if in[i] == h.entity {
			return true
		}
	}
	return false
}

func headOf(n xast.IsScopeNode) head {
	switch v := n.(type) {
	case xast.ScopeTypeEq:
		return head{entity: v.Entity, exact: true}
	case xast.ScopeTypeIn:
		return head{entity: v.Entity}
	case xast.ScopeTypeIsIn:
		return head{entity: v.Entity, kind: v.Type}
	case xast.ScopeTypeIs:
		return head{kind: v.Type}
	}
	return head{}
}

// scope notes what the head of the statement says, for the index.
func (s *statement) scope(p *xast.Policy) {
	s.who, s.what = headOf(p.Principal), headOf(p.Resource)
	s.who.entity.ID = once(string(s.who.entity.ID))
	bare := *p
	bare.Principal, bare.Action, bare.Resource = xast.Scope{}.All(), xast.Scope{}.All(), xast.Scope{}.All()
	s.bare = cedar.NewPolicyFromAST((*cast.Policy)(&bare))
	s.run = compileConditions(p.Conditions)
	s.looks = looksAtResource(&s.what, p.Conditions)
	for a := range actions {
		switch v := p.Action.(type) {
		case xast.ScopeTypeEq:
			s.actions[a] = v.Entity == actionUIDs[a]
		case xast.ScopeTypeIn:
			s.actions[a] = v.Entity == actionUIDs[a]
		case xast.ScopeTypeInSet:
			for _, e := range v.Entities {
				s.actions[a] = s.actions[a] || e == actionUIDs[a]
			}
		default:
			s.actions[a] = true
		}
	}
}

var backquoted = regexp.MustCompile("`([^`]*)`")

// schemaErrors gives the validator's errors a place, and drops what is the same error for another
// kind of principal or resource, or was found already.
func schemaErrors(err error, at place, found Errors) Errors {
	var out Errors
	seen := map[string]bool{}
	for _, e := range found {
		seen[fmt.Sprintf("%d:%d", e.Line, e.Col)] = true
	}
	for _, e := range flatten(err) {
		msg := e.Error()
		name := ""
		if m := backquoted.FindStringSubmatch(msg); m != nil {
			name = m[1]
		}
		switch {
		case strings.HasPrefix(msg, "attribute ") && strings.Contains(msg, " in context for"):
			msg = "there is no attribute " + quoted(name) + " in context" + nearest(name, attrNames[:])
		case strings.HasPrefix(msg, "unable to guarantee safety of access to optional attribute"):
			what := "it"
			if strings.Contains(msg, " in context") {
				what = "context has " + name
			}
			msg = quoted(name) + " is not always known; test for it first: " + what + " && ..."
		}
		if _, id, ok := strings.Cut(name, `::"`); ok { // Action::"cal": the place of the id
			name = strings.TrimSuffix(id, `"`)
		}
		pe := at.error(msg, name)
		if key := fmt.Sprintf("%d:%d", pe.Line, pe.Col); name != "" && seen[key] || seen[msg] {
			continue
		} else {
			seen[msg] = true
			if name != "" {
				seen[key] = true
			}
		}
		out = append(out, pe)
	}
	return out
}

func flatten(err error) []error {
	var many interface{ Unwrap() []error }
	if !errors.As(err, &many) {
		return []error{err}
	}
	var out []error
	for _, e := range many.Unwrap() {
		out = append(out, flatten(e)...)
	}
	return out
}

func quoted(s string) string { return fmt.Sprintf("%q", s) }

// nearest proposes the known name that differs from this one only in case and underscores, or
// begins with it, or that it begins with.
func nearest(name string, known []string) string {
	plain := func(s string) string { return strings.ToLower(strings.ReplaceAll(s, "_", "")) }
	n := plain(name)
	for _, pass := range []func(k string) bool{
		func(k string) bool { return plain(k) == n },
		func(k string) bool {
			return len(n) > 2 && (strings.HasPrefix(plain(k), n) || strings.HasPrefix(n, plain(k)))
		},
	} {
		for _, k := range known {
			if pass(k) {
				return "; did you mean " + k + "?"
			}
		}
	}
	return ""
}
