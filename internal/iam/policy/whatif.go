package policy

import (
	"iter"
	"maps"
	"net/netip"
	"slices"
	"time"

	cedar "github.com/cedar-policy/cedar-go"
	xast "github.com/cedar-policy/cedar-go/x/exp/ast"
)

// Recorded is a call of the past, as far as policies ask about it. Who was in which team then is the
// caller's to know; with today's teams the answer is about today.
type Recorded struct {
	ID        string
	Principal *Principal
	Action    Action
	Upstream  string
	Endpoint  string
	Model     string
	Tool      string
	Time      time.Time
	IP        netip.Addr
	Networks  []string
	AMR       []string
	MFA       time.Time
	ModelFree bool
	Streamed  bool
	Bytes     int64
	Channels  []string
	Inspected *Inspected // nil: it was not
	Allowed   bool       // what was decided then
}

// Turned is one call whose decision would change.
type Turned struct {
	ID        string    `json:"id"`
	Time      time.Time `json:"time"`
	Principal string    `json:"principal"`
	Upstream  string    `json:"upstream"`
	Endpoint  string    `json:"endpoint"`
	Model     string    `json:"model,omitzero"`
	Decision  Decision  `json:"decision"` // of the candidate
}

// Report is what would have been.
type Report struct {
	Calls        int      `json:"calls"`
	Denied       int      `json:"denied"`  // allowed then, denied by the candidate
	Allowed      int      `json:"allowed"` // denied then, allowed by the candidate
	Errors       int      `json:"errors"`  // calls for which a statement could not be evaluated
	NewlyDenied  []Turned `json:"newly_denied,omitzero"`
	NewlyAllowed []Turned `json:"newly_allowed,omitzero"`
}

// WhatIf puts recorded calls to a candidate. What was decided then is what now says of them, or, where
// now is nil, what the record says. It keeps the first n calls of each kind, and stops at the first
// call that cannot be read.
func WhatIf(calls iter.Seq2[Recorded, error], candidate, now *Set, n int) (Report, error) {
	var rep Report
	for c, err := range calls {
		if err != nil {
			return rep, err
		}
		r := c.request()
		d := candidate.Decide(r)
		was := c.Allowed
		if now != nil {
			was = now.Decide(r).Allow
		}
		rep.Calls++
		if len(d.Errors) > 0 {
			rep.Errors++
		}
		if was == d.Allow {
			continue
		}
		count, list := &rep.Denied, &rep.NewlyDenied
		if d.Allow {
			count, list = &rep.Allowed, &rep.NewlyAllowed
		}
		*count++
		if len(*list) < n {
			*list = append(*list, Turned{ID: c.ID, Time: c.Time, Principal: nameOf(r.Principal), Upstream: c.Upstream, Endpoint: c.Endpoint, Model: c.Model, Decision: d})
		}
	}
	return rep, nil
}

// Mentions is what a policy speaks of, as sorted words: attributes, and types of entities. The error is
// what Check says of it.
func Mentions(p Policy) ([]string, error) {
	ss, err := parse(p, p.ID+".cedar")
	if err != nil {
		return nil, err
	}
	words := map[string]bool{}
	kind := func(t cedar.EntityType) {
		if t != "" {
			words[string(t)] = true
		}
	}
	for _, s := range ss {
		for _, h := range []head{s.who, s.what} {
			kind(h.kind)
			kind(h.entity.Type)
		}
		if s.actions[UseTool] && !s.actions[Call] {
			kind(typeTool)
		}
		for _, c := range s.tree.Conditions {
			xast.Inspect(xast.NewNode(c.Body), func(n xast.IsNode) bool {
				switch v := n.(type) {
				case xast.NodeTypeAccess:
					words[string(v.Value)] = true
				case xast.NodeTypeHas:
					words[string(v.Value)] = true
				case xast.NodeTypeIs:
					kind(v.EntityType)
				case xast.NodeTypeIsIn:
					kind(v.EntityType)
				case xast.NodeValue:
					if e, ok := v.Value.(cedar.EntityUID); ok {
						kind(e.Type)
					}
				}
				return true
			})
		}
	}
	return slices.Sorted(maps.Keys(words)), nil
}

// request is the question that the call was. Its scopes allowed it, or it would not have come so far.
func (c *Recorded) request() *Request {
	return &Request{Principal: c.Principal, Action: c.Action, Upstream: c.Upstream, Endpoint: c.Endpoint, Model: c.Model, Tool: c.Tool, Final: true,
		Circumstances: Circumstances{Time: c.Time, IP: c.IP, Networks: c.Networks, AMR: c.AMR, MFA: c.MFA, ScopesGranted: true, ModelFree: c.ModelFree,
			Streamed: c.Streamed, Bytes: c.Bytes, Channels: c.Channels, Inspected: c.Inspected}}
}

func nameOf(p *Principal) string {
	if p == nil {
		return "unknown"
	}
	return p.String()
}
