package policy

import (
	"net/netip"
	"time"

	cedar "github.com/cedar-policy/cedar-go"
	xast "github.com/cedar-policy/cedar-go/x/exp/ast"
)

// variable is principal, action or resource; the context as a whole is Cedar's.
func variable(name string) any {
	switch name {
	case "principal":
		return term[cedar.EntityUID](func(q *question) (cedar.EntityUID, bool) { return q.caller.uid, true })
	case "action":
		return term[cedar.EntityUID](func(q *question) (cedar.EntityUID, bool) { return actionUIDs[q.r.Action], true })
	case "resource":
		return term[cedar.EntityUID](func(q *question) (cedar.EntityUID, bool) { return q.about[0], true })
	}
	return nil
}

func isContext(n xast.IsNode) bool {
	v, ok := n.(xast.NodeTypeVariable)
	return ok && v.Name == "context"
}

// has asks for an attribute. An entity that nobody knows has none.
func has(on xast.IsNode, name string) any {
	if isContext(on) {
		return contextHas(name)
	}
	e, ok := compileTerm(on).(term[cedar.EntityUID])
	if !ok {
		return nil
	}
	return after(e, func(q *question, e cedar.EntityUID) (bool, bool) {
		p := q.principal(e)
		return p != nil && p.has(name), true
	})
}

// access reads an attribute; where there is none, that is an error.
func access(on xast.IsNode, name string) any {
	if isContext(on) {
		return contextTerms[name]
	}
	e, ok := compileTerm(on).(term[cedar.EntityUID])
	if !ok {
		return nil
	}
	if name == "on_behalf_of" {
		return after(e, func(q *question, e cedar.EntityUID) (cedar.EntityUID, bool) {
			p := q.principal(e)
			if p == nil || !p.has(name) {
				return cedar.EntityUID{}, false
			}
			return p.person.uid, true
		})
	}
	var read func(*Principal) string
	switch name {
	case "name":
		read = func(p *Principal) string { return p.name }
	case "class":
		read = func(p *Principal) string { return p.class }
	case "purpose":
		read = func(p *Principal) string { return p.purpose }
	default:
		return nil
	}
	return after(e, func(q *question, e cedar.EntityUID) (string, bool) {
		p := q.principal(e)
		if p == nil || !p.has(name) {
			return "", false
		}
		return read(p), true
	})
}

// contextHas is context has name: always, but for what is optional.
func contextHas(name string) any {
	switch bit := attrByName[name]; {
	case bit == 0:
		return nil
	case bit&afterInspection != 0:
		return term[bool](func(q *question) (bool, bool) { return q.r.Inspected != nil, true })
	case bit == attrIP:
		return term[bool](func(q *question) (bool, bool) { return q.r.IP.IsValid(), true })
	case bit == attrMFAAge:
		return term[bool](func(q *question) (bool, bool) { _, ok := q.r.mfaAge(); return ok, true })
	case bit == attrModel:
		return term[bool](func(q *question) (bool, bool) { return q.r.Model != "", true })
	}
	return constant(true)
}

func always[T any](f func(*question) T) any {
	return term[T](func(q *question) (T, bool) { return f(q), true })
}

// found reads what inspection found; before it there is nothing.
func found[T any](f func(*Inspected) T) any {
	return term[T](func(q *question) (v T, ok bool) {
		if q.r.Inspected == nil {
			return v, false
		}
		return f(q.r.Inspected), true
	})
}

// contextTerms read the context's attributes, as record writes them. A test holds the two together.
var contextTerms = map[string]any{
	"now":     always(func(q *question) moment { return moment(q.r.Time.UnixMilli()) }),
	"epoch":   always(func(q *question) int64 { return q.r.Time.Unix() }),
	"hour":    always(func(q *question) int64 { return int64(q.clock().hour) }),
	"weekday": always(func(q *question) int64 { return int64(q.clock().weekday) }),
	"ip": term[cedar.IPAddr](func(q *question) (cedar.IPAddr, bool) {
		ip := q.r.address()
		if !ip.IsValid() {
			return cedar.IPAddr{}, false
		}
		return cedar.IPAddr(netip.PrefixFrom(ip, ip.BitLen())), true
	}),
	"networks":       always((*question).networks),
	"amr":            always(func(q *question) []string { return q.r.AMR }),
	"mfa_age":        term[int64](func(q *question) (int64, bool) { return q.r.mfaAge() }),
	"scopes_granted": always(func(q *question) bool { return q.r.ScopesGranted }),
	"upstream":       always(func(q *question) string { return q.r.Upstream }),
	"endpoint":       always(func(q *question) string { return q.r.Endpoint }),
	"model":          term[string](func(q *question) (string, bool) { return q.r.Model, q.r.Model != "" }),
	"model_free":     always(func(q *question) bool { return q.r.ModelFree }),
	"streamed":       always(func(q *question) bool { return q.r.Streamed }),
	"bytes":          always(func(q *question) int64 { return q.r.Bytes }),
	"channels":       always(func(q *question) []string { return q.r.Channels }),
	"data_classes":   found(func(i *Inspected) []string { return i.DataClasses }),
	"attacks":        found(func(i *Inspected) []string { return i.Attacks }),
	"found_in":       found(func(i *Inspected) []string { return i.FoundIn }),
	"risk":           found(func(i *Inspected) int64 { return int64(i.Risk) }),
	"unread":         found(func(i *Inspected) bool { return i.Unread }),
}

// clock is the tenant's time of day, worked out once for a question.
type clock struct {
	known         bool
	hour, weekday int8
}

func (q *question) clock() clock {
	if !q.time.known {
		at := q.r.Time.In(q.t.zone)
		q.time = clock{true, int8(at.Hour()), int8((at.Weekday()+6)%7 + 1)}
	}
	return q.time
}

// networks is the names of the networks that hold the address, worked out once for a question.
func (q *question) networks() []string {
	if q.r.Networks != nil {
		return q.r.Networks
	}
	if !q.placed {
		q.placed, q.nets = true, q.t.named(q.nets[:0], q.r.address())
	}
	return q.nets
}

// address is the caller's, in the one form that addresses are compared in.
func (c *Circumstances) address() netip.Addr { return c.IP.Unmap().WithZone("") }

// mfaAge is seconds since the last second factor, and whether there was one. One from the future
// proves nothing; a minute is the clocks of two nodes.
func (c *Circumstances) mfaAge() (int64, bool) {
	if c.MFA.IsZero() {
		return 0, false
	}
	age := c.Time.Sub(c.MFA)
	return int64(max(age, 0) / time.Second), age > -time.Minute
}
