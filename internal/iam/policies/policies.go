// Package policies keeps policies as documents, has the hot path ask those that are in force, and knows
// callers as policies see them. A policy can be kept only when it can be read and does what its own
// examples say. A change counts everywhere within two seconds.
package policies

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"sallyport.dev/sallyport/internal/gate"
	"sallyport.dev/sallyport/internal/iam"
	"sallyport.dev/sallyport/internal/iam/access"
	"sallyport.dev/sallyport/internal/iam/directory"
	"sallyport.dev/sallyport/internal/iam/document"
	"sallyport.dev/sallyport/internal/iam/mirror"
	"sallyport.dev/sallyport/internal/iam/policy"
	"sallyport.dev/sallyport/internal/iam/rbac"
	"sallyport.dev/sallyport/internal/iam/roster"
)

// Kind of the documents.
const Kind = "policy"

// Policy is one policy of a tenant; of the system tenant it holds for all.
type Policy struct {
	ID       string    `json:"id"`
	Tenant   string    `json:"tenant"`
	Name     string    `json:"name"` // unique in the tenant
	Text     string    `json:"text"` // Cedar
	Examples string    `json:"examples,omitempty"`
	Off      bool      `json:"off,omitzero"` // kept, not in force
	Created  time.Time `json:"created"`
	Updated  time.Time `json:"updated"`
}

// Head implements document.Entity.
func (p Policy) Head() document.Head {
	return document.Head{Kind: Kind, ID: p.ID, Tenant: p.Tenant, Keys: []string{directory.NameKey(p.Tenant, p.Name)}}
}

func (p *Policy) plain() policy.Policy {
	tenant := p.Tenant
	if tenant == rbac.System {
		tenant = policy.Platform
	}
	return policy.Policy{ID: p.ID, Tenant: tenant, Text: p.Text}
}

// ErrExamples means that a policy does not do what its examples say.
var ErrExamples = errors.New("policies: the policy does not do what its examples say")

// Check says whether a policy may be kept. What is wrong with its text or its examples is a
// policy.Errors, with line and column; failures are examples that came out otherwise.
func (p *Policy) Check() ([]policy.Failure, error) {
	if err := directory.Name("policy name", p.Name); err != nil {
		return nil, err
	}
	if err := policy.CheckFile(p.plain(), "policy"); err != nil {
		return nil, err
	}
	if p.Examples == "" {
		return nil, nil
	}
	examples, err := policy.ParseExamples("examples", []byte(p.Examples))
	if err != nil {
		return nil, err
	}
	failures, err := policy.Try(p.plain(), examples)
	if err == nil && len(failures) > 0 {
		err = ErrExamples
	}
	return failures, err
}

// Policies are those in force. It is safe for concurrent use.
type Policies struct {
	view   *mirror.View[Policy]
	roster *roster.Roster
	access *access.Access
	engine policy.Engine
	fault  func(error)
	now    func() time.Time

	gen   atomic.Uint64 // grows when what a caller is may have changed
	known sync.Map      // by key id: *known
}

// known is a caller as policies see it, and what it was made from.
type known struct {
	gen uint64
	of  any // *iam.Key or *iam.Identity
	p   *policy.Principal
}

// New adds policies to a mirror, which its owner keeps fresh. fault is told of policies that cannot be
// read: their tenant's calls are refused until they are mended.
func New(m *mirror.Mirror, r *roster.Roster, a *access.Access, now func() time.Time, fault func(error)) *Policies {
	if now == nil {
		now = time.Now
	}
	p := &Policies{view: mirror.Add[Policy](m), roster: r, access: a, fault: fault, now: now}
	m.After(p.rebuild, Kind)
	m.After(func() error { p.gen.Add(1); return nil }, directory.KindUser, directory.KindTeam, directory.KindGroup,
		directory.KindService, directory.KindAgent, access.KindRole, access.KindBinding)
	return p
}

func (p *Policies) rebuild() error {
	var ps []policy.Policy
	for _, x := range p.view.All() {
		if !x.Off {
			ps = append(ps, x.plain())
		}
	}
	slices.SortFunc(ps, func(a, b policy.Policy) int {
		if a.ID < b.ID {
			return -1
		}
		return 1
	})
	s := policy.NewSet(ps, nil)
	p.engine.Use(s)
	for id, err := range s.Broken() {
		p.fault(fmt.Errorf("policies: policy %s: %w", id, err))
	}
	return nil
}

// Guard makes the stages that ask.
func (p *Policies) Guard() *policy.Guard {
	return &policy.Guard{Engine: &p.engine, Caller: p.caller, ModelFree: iam.ModelFree, Now: p.now}
}

// InForce is how many policies are in force, in all tenants.
func (p *Policies) InForce() int {
	n := 0
	for _, x := range p.view.All() {
		if !x.Off {
			n++
		}
	}
	return n
}

// caller finds out who a call is from, as policies see it.
func (p *Policies) caller(x *gate.Exchange) (policy.Caller, error) {
	switch g := x.Principal.Grant.(type) {
	case *iam.Key:
		pr, err := p.byKey(g)
		return policy.Caller{Principal: pr, AMR: keyAMR}, err
	case *iam.Identity:
		pr, err := p.principal(g.ID, g, func() (policy.Who, error) { return p.token(x, g) })
		amr := tokenAMR
		if g.Issuer == directory.IssuerSPIFFE {
			amr = certificateAMR
		}
		return policy.Caller{Principal: pr, AMR: amr}, err
	case *iam.Delegation:
		pr, err := p.principal(g.ID+" "+g.OnBehalfOf, g.Identity, func() (policy.Who, error) { return p.token(x, g.Identity) })
		return policy.Caller{Principal: pr, AMR: tokenAMR}, err
	}
	return policy.Caller{}, errors.New("policies: the caller has no grant")
}

var keyAMR, tokenAMR, certificateAMR = []string{"key"}, []string{"jwt"}, []string{"mtls"}

// maxKnown bounds how many callers by token are remembered: those of keys are bounded by the keys.
const maxKnown = 200_000

// byKey remembers at the key itself who calls with it.
func (p *Policies) byKey(g *iam.Key) (*policy.Principal, error) {
	m := g.Memo()
	if m == nil {
		return p.principal(g.ID, g, func() (policy.Who, error) { return p.key(g) })
	}
	gen := p.gen.Load()
	if k, ok := m.Caller.Load().(*known); ok && k.gen == gen {
		return k.p, nil
	}
	w, err := p.key(g)
	if err != nil {
		return nil, err
	}
	pr, err := policy.NewPrincipal(w)
	if err != nil {
		return nil, err
	}
	m.Caller.Store(&known{gen, g, pr})
	return pr, nil
}

func (p *Policies) principal(id string, of any, make func() (policy.Who, error)) (*policy.Principal, error) {
	gen := p.gen.Load()
	if v, ok := p.known.Load(id); ok {
		if k := v.(*known); k.gen == gen && k.of == of {
			return k.p, nil
		}
	}
	w, err := make()
	if err != nil {
		return nil, err
	}
	pr, err := policy.NewPrincipal(w)
	if err != nil {
		return nil, err
	}
	p.known.Store(id, &known{gen, of, pr})
	return pr, nil
}

// Sweep forgets callers when there are too many. Call it now and then.
func (p *Policies) Sweep() {
	n := 0
	p.known.Range(func(any, any) bool { n++; return n <= maxKnown })
	if n > maxKnown {
		p.known.Clear()
	}
}

func (p *Policies) key(k *iam.Key) (policy.Who, error) {
	w := policy.Who{Kind: policy.KindKey, ID: k.ID, Name: k.Name, Tenant: k.Tenant, Class: k.Class, Purpose: k.Purpose}
	if k.Team != "" {
		w.Teams = []string{k.Team}
	}
	if k.Principal == "" {
		return w, nil
	}
	owner, err := p.holder(k.Tenant, k.Principal)
	if err != nil {
		return w, err
	}
	w.Owner = &owner
	return w, nil
}

// holder is a person, service or agent of the directory.
func (p *Policies) holder(tenant, id string) (policy.Who, error) {
	st, err := p.roster.Check(tenant, id, p.now())
	if err != nil {
		return policy.Who{}, err
	}
	kinds := map[string]policy.Kind{directory.KindUser: policy.KindUser, directory.KindService: policy.KindService, directory.KindAgent: policy.KindAgent}
	w := policy.Who{Kind: kinds[st.Kind], ID: id, Name: id, Tenant: tenant, Teams: st.Teams, Groups: st.Groups, Roles: p.access.Roles(tenant, id, st.Groups)}
	if st.Team != "" && !slices.Contains(w.Teams, st.Team) {
		w.Teams = append(slices.Clone(w.Teams), st.Team)
	}
	if w.Kind == "" {
		return w, fmt.Errorf("policies: nobody is called %s", id)
	}
	return w, nil
}

func (p *Policies) token(x *gate.Exchange, g *iam.Identity) (policy.Who, error) {
	tenant := x.Principal.Tenant
	kinds := map[string]policy.Kind{iam.KindService: policy.KindService, iam.KindAgent: policy.KindAgent, iam.KindPerson: policy.KindUser}
	w := policy.Who{Kind: kinds[g.Kind], ID: g.ID, Name: g.Subject, Tenant: tenant}
	if x.Principal.Holder != "" {
		var err error
		if w, err = p.holder(tenant, x.Principal.Holder); err != nil {
			return w, err
		}
	}
	if g.Team != "" && !slices.Contains(w.Teams, g.Team) {
		w.Teams = append(slices.Clone(w.Teams), g.Team)
	}
	if g.OnBehalfOf != "" {
		person, err := p.holder(tenant, g.OnBehalfOf)
		if err != nil {
			return w, err
		}
		w.OnBehalfOf = &person
	}
	return w, nil
}
