package policy

import (
	"fmt"
	"slices"
	"strings"

	cedar "github.com/cedar-policy/cedar-go"
	cast "github.com/cedar-policy/cedar-go/ast"
	xast "github.com/cedar-policy/cedar-go/x/exp/ast"
	"github.com/cedar-policy/cedar-go/x/exp/eval"
)

// What one statement had to say about a question.
const (
	Matched = "matched" // it applies
	Failed  = "failed"  // its head does not fit, or a condition does not hold
	Errored = "error"   // a condition cannot be evaluated
	Waiting = "waiting" // it names what only inspection can tell
)

// Account is why a decision is what it is, for people.
type Account struct {
	Decision   Decision  `json:"decision"`
	Principal  string    `json:"principal"`
	Action     string    `json:"action"`
	Resource   string    `json:"resource"`
	OnBehalfOf string    `json:"on_behalf_of,omitzero"`
	Statements []Finding `json:"statements"`
}

// Finding is one statement's part in a decision.
type Finding struct {
	Policy string `json:"policy"`
	Effect string `json:"effect"` // permit or forbid
	Result string `json:"result"` // Matched, Failed, Errored or Waiting
	// About is set where somebody else than the caller was asked about: the person it acts for.
	About string `json:"about,omitzero"`
	// Why says which part of the head did not fit, or what was wrong.
	Why        string      `json:"why,omitzero"`
	Conditions []Condition `json:"conditions,omitzero"`
}

// Condition is one part of a when or unless, as parted by &&.
type Condition struct {
	Text   string   `json:"text"`
	Unless bool     `json:"unless,omitzero"`
	Holds  bool     `json:"holds"`
	Error  string   `json:"error,omitzero"`
	Values []string `json:"values,omitzero"` // "context.hour = 3", of what it names
}

// Explain decides, and tells of every statement of the tenant what it had to say. It is slow and
// meant for people. The error says that there was nothing to ask.
func (s *Set) Explain(r *Request) (Account, error) {
	if r.Principal == nil || r.Action >= actions {
		return Account{}, fmt.Errorf("policy: explain a decision: no principal or no such action")
	}
	t := s.of(r.Principal.tenant)
	if t.closed != nil {
		return Account{}, fmt.Errorf("policy: explain a decision: a policy cannot be read, so nothing passes: %w", t.closed)
	}
	a := Account{Decision: s.Decide(r), Principal: r.Principal.String(), Action: r.Action.String()}
	who := []*Principal{r.Principal}
	if p := r.Principal.person; p != nil {
		who, a.OnBehalfOf = append(who, p), p.String()
	}
	for i, p := range who {
		q := &question{}
		env := t.environment(q, r, p)
		a.Resource = q.about[0].String()
		for _, st := range t.all {
			f := st.account(env, r.Final || r.Inspected != nil)
			if i > 0 {
				f.About = p.String()
			}
			a.Statements = append(a.Statements, f)
		}
	}
	return a, nil
}

// environment is what a statement is evaluated in, with the whole context.
func (t *tenant) environment(q *question, r *Request, p *Principal) eval.Env {
	q.aim(t, r, p)
	return eval.Env{Entities: q, Principal: p.uid, Action: actionUIDs[r.Action], Resource: q.about[0], Context: r.record(allAttrs, t)}
}

func (st *statement) account(env eval.Env, known bool) Finding {
	f := Finding{Policy: string(st.id), Effect: "permit", Result: Matched}
	if st.forbid {
		f.Effect = "forbid"
	}
	if part, ok := st.headFits(env); !ok {
		f.Result, f.Why = Failed, part+" does not fit"
		return f
	}
	if st.deferred && !known {
		f.Result, f.Why = Waiting, "it names what is known only after inspection"
		return f
	}
	for _, c := range st.tree.Conditions {
		unless := c.Condition == xast.ConditionUnless
		parts := []xast.IsNode{c.Body}
		if !unless {
			parts = conjuncts(c.Body, nil)
		}
		for _, n := range parts {
			one := condition(n, env)
			one.Unless = unless
			f.Conditions = append(f.Conditions, one)
			switch {
			case one.Error != "":
				f.Result, f.Why = Errored, one.Error
				return f
			case one.Holds == unless:
				f.Result = Failed
				return f // Cedar looks no further either
			}
		}
	}
	return f
}

// headFits tries the parts of the head one by one. They cannot fail to be evaluated.
func (st *statement) headFits(env eval.Env) (string, bool) {
	everything := xast.Scope{}.All()
	for _, part := range []struct {
		name string
		p    xast.Policy
	}{
		{"principal", xast.Policy{Principal: st.tree.Principal, Action: everything, Resource: everything}},
		{"action", xast.Policy{Principal: everything, Action: st.tree.Action, Resource: everything}},
		{"resource", xast.Policy{Principal: everything, Action: everything, Resource: st.tree.Resource}},
	} {
		v, err := eval.Eval(eval.PolicyToNode(&part.p).AsIsNode(), env)
		if err != nil || v != cedar.Value(cedar.True) {
			return part.name, false
		}
	}
	return "", true
}

func conjuncts(n xast.IsNode, out []xast.IsNode) []xast.IsNode {
	if and, ok := n.(xast.NodeTypeAnd); ok {
		return conjuncts(and.Right, conjuncts(and.Left, out))
	}
	return append(out, n)
}

func condition(n xast.IsNode, env eval.Env) Condition {
	c := Condition{Text: nodeText(n)}
	v, err := eval.Eval(n, env)
	if err != nil {
		c.Error = err.Error()
	}
	if b, ok := v.(cedar.Boolean); ok {
		c.Holds = bool(b)
	} else if err == nil {
		c.Error = "not a condition: " + eval.TypeName(v)
	}
	xast.Inspect(xast.NewNode(n), func(n xast.IsNode) bool {
		var access xast.IsNode
		switch v := n.(type) {
		case xast.NodeTypeAccess:
			access = v
		case xast.NodeTypeHas:
			access = xast.NodeTypeAccess(v)
		case xast.NodeTypeVariable:
			if v.Name != "context" {
				access = v
			}
		}
		if access != nil {
			text := nodeText(access)
			if v, err := eval.Eval(access, env); err == nil {
				text += " = " + string(v.MarshalCedar())
			} else {
				text += " is not known"
			}
			if !slices.Contains(c.Values, text) {
				c.Values = append(c.Values, text)
			}
			return false
		}
		return true
	})
	return c
}

// nodeText is a term as Cedar text.
func nodeText(n xast.IsNode) string {
	p := xast.Permit().When(xast.NewNode(n))
	s := string(cedar.NewPolicyFromAST((*cast.Policy)(p)).MarshalCedar())
	if i := strings.Index(s, "when {"); i >= 0 {
		s = s[i+len("when {"):]
	}
	return strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(s), "};"))
}
