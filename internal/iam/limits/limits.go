// Package limits keeps the limits of tenants, teams and principals as documents, and says which hold for
// a call: those, and the budgets of its key. Package quota counts.
package limits

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"sallyport.dev/sallyport/internal/gate"
	"sallyport.dev/sallyport/internal/iam"
	"sallyport.dev/sallyport/internal/iam/document"
	"sallyport.dev/sallyport/internal/iam/glob"
	"sallyport.dev/sallyport/internal/iam/mirror"
	"sallyport.dev/sallyport/internal/iam/quota"
)

// Kind of the documents.
const Kind = "limit"

// Whose a limit is.
const (
	OfTenant    = "tenant"    // all calls of the tenant together
	OfTeam      = "team"      // all calls of one team together
	OfPrincipal = "principal" // all calls of one person, service or agent together
	EachKey     = "each_key"  // every key of the tenant, or of the team, by itself
)

// Limit is one limit of a tenant.
type Limit struct {
	ID      string       `json:"id"`
	Tenant  string       `json:"tenant"`
	Of      string       `json:"of"`                // tenant, team, principal, each_key
	Subject string       `json:"subject,omitempty"` // id of the team or principal; of each_key: of a team, or none
	Model   string       `json:"model,omitempty"`   // pattern; only calls of such models count. Empty: all
	Unit    string       `json:"unit"`              // requests, tokens, cost, bytes, concurrency
	Amount  int64        `json:"amount"`            // cost in millionths of the currency
	Window  quota.Window `json:"window,omitzero"`   // none for concurrency
	Created time.Time    `json:"created"`
}

// Head implements document.Entity.
func (l Limit) Head() document.Head { return document.Head{Kind: Kind, ID: l.ID, Tenant: l.Tenant} }

// Check says what is wrong with a limit.
func (l *Limit) Check() error {
	switch l.Of {
	case OfTenant:
		if l.Subject != "" {
			return fmt.Errorf("limits: a limit of the tenant has no subject")
		}
	case OfTeam, OfPrincipal:
		if l.Subject == "" {
			return fmt.Errorf("limits: expected the id of a %s as subject", l.Of)
		}
	case EachKey:
	default:
		return fmt.Errorf("limits: expected tenant, team, principal or each_key")
	}
	if len(l.Subject) > 128 || len(l.Model) > 200 {
		return fmt.Errorf("limits: a subject is at most 128 bytes, a pattern of models 200")
	}
	b := iam.Budget{Unit: l.Unit, Amount: l.Amount, Window: l.Window}
	return b.Check()
}

// Limits are those in force. It is safe for concurrent use and takes no lock.
type Limits struct {
	view *mirror.View[Limit]
	by   atomic.Pointer[map[string][]ready] // by tenant
}

// ready is a limit as a call is held against it.
type ready struct {
	Limit
	bound quota.Bound // its subject is complete but for each_key
}

// New adds limits to a mirror, which its owner keeps fresh.
func New(m *mirror.Mirror) *Limits {
	l := &Limits{view: mirror.Add[Limit](m)}
	l.by.Store(&map[string][]ready{})
	m.After(l.rebuild, Kind)
	return l
}

func (l *Limits) rebuild() error {
	by := map[string][]ready{}
	for _, x := range l.view.All() {
		unit, err := quota.ParseUnit(x.Unit)
		if err != nil {
			return fmt.Errorf("limits: limit %s: %w", x.ID, err)
		}
		by[x.Tenant] = append(by[x.Tenant], ready{x, quota.Bound{Subject: "limit:" + x.ID, Unit: unit, Amount: x.Amount, Window: x.Window}})
	}
	l.by.Store(&by)
	return nil
}

// made is what Bounds came to for a key, and what from. It never changes.
type made struct {
	by     *map[string][]ready
	model  string // only where a limit of the tenant looks at it
	bounds *quota.Prepared
}

// Bounds are the limits that hold for a call of a key or a token; nil: none does. At most quota.MaxBounds count.
func (l *Limits) Bounds(x *gate.Exchange) (*quota.Prepared, error) {
	key, _ := x.Principal.Grant.(*iam.Key)
	by := l.by.Load()
	tenant := (*by)[x.Principal.Tenant]
	if key == nil {
		bs := bounds(x, iam.KeysOf(&x.Principal), tenant)
		if len(bs) == 0 {
			return nil, nil
		}
		return quota.Prepare(bs)
	}
	if len(tenant) == 0 && len(key.Budgets) == 0 {
		return nil, nil
	}
	memo := key.Memo()
	if memo == nil {
		return quota.Prepare(bounds(x, []*iam.Key{key}, tenant))
	}
	model := ""
	if x.Reading != nil {
		for i := range tenant {
			if tenant[i].Model != "" {
				model = x.Reading.Model
				break
			}
		}
	}
	if m, ok := memo.Bounds.Load().(*made); ok && m.by == by && m.model == model {
		return m.bounds, nil
	}
	p, err := quota.Prepare(bounds(x, []*iam.Key{key}, tenant))
	if err == nil && len(model) <= 256 { // a caller chooses it
		memo.Bounds.Store(&made{by, strings.Clone(model), p}) // a clone: the name stands in the body
	}
	return p, err
}

func bounds(x *gate.Exchange, keys []*iam.Key, tenant []ready) []quota.Bound {
	if len(tenant) == 0 && len(keys) == 0 {
		return nil
	}
	bounds := make([]quota.Bound, 0, 8)
	for _, key := range keys {
		for _, b := range key.Budgets {
			unit, err := quota.ParseUnit(b.Unit)
			if err != nil {
				continue // checked when it was made
			}
			bounds = append(bounds, quota.Bound{Subject: "key:" + key.ID, Unit: unit, Amount: b.Amount, Window: b.Window})
		}
	}
	model := ""
	if x.Reading != nil {
		model = x.Reading.Model
	}
	for i := range tenant {
		r := &tenant[i]
		if r.Model != "" && !glob.Match(r.Model, model) {
			continue
		}
		b := r.bound
		switch r.Of {
		case OfTeam:
			if x.Principal.Team != r.Subject && !slices.ContainsFunc(keys, func(k *iam.Key) bool { return k.Team == r.Subject }) {
				continue
			}
		case OfPrincipal:
			if x.Principal.Holder != r.Subject && x.Principal.ID != r.Subject {
				continue
			}
		case EachKey:
			for _, k := range keys { // those behind a token count as if they were used themselves
				if r.Subject == "" || k.Team == r.Subject {
					each := b
					each.Subject += "/" + k.ID
					bounds = append(bounds, each)
				}
			}
			if len(keys) > 0 || r.Subject != "" && x.Principal.Team != r.Subject {
				continue
			}
			b.Subject += "/" + x.Principal.ID
		}
		bounds = append(bounds, b)
	}
	if len(keys) > 1 {
		return bounds // too many are an error then: none may push out another
	}
	return bounds[:min(len(bounds), quota.MaxBounds)]
}
