// Package roster answers, for the hot path, whether a principal is still in good standing: its tenant is
// not disabled, the person was not deprovisioned, the service or agent was not switched off. It reads a
// mirror of the directory: no database call, no lock, and what changed counts within two seconds.
package roster

import (
	"fmt"
	"sync/atomic"
	"time"

	"sallyport.dev/sallyport/internal/iam/directory"
	"sallyport.dev/sallyport/internal/iam/mirror"
)

// Roster is the directory as it stands. It is safe for concurrent use.
type Roster struct {
	m        *mirror.Mirror
	tenants  *mirror.View[directory.Tenant]
	teams    *mirror.View[directory.Team]
	users    *mirror.View[directory.User]
	groups   *mirror.View[directory.Group]
	services *mirror.View[directory.Service]
	agents   *mirror.View[directory.Agent]
	index    atomic.Pointer[index]
}

// index is what the views do not answer by themselves.
type index struct {
	subjects map[directory.Subject]string // id of the service or agent
	teams    map[string][]string          // ids of the teams that a principal is in
	groups   map[string][]string          // ids of the groups that a person is in
	certs    certificates
}

// New adds the directory to a mirror, which its owner keeps fresh.
func New(m *mirror.Mirror) *Roster {
	r := &Roster{
		m: m, tenants: mirror.Add[directory.Tenant](m), teams: mirror.Add[directory.Team](m), users: mirror.Add[directory.User](m),
		groups: mirror.Add[directory.Group](m), services: mirror.Add[directory.Service](m), agents: mirror.Add[directory.Agent](m),
	}
	r.index.Store(&index{})
	m.After(r.rebuild, directory.KindTeam, directory.KindGroup, directory.KindService, directory.KindAgent)
	return r
}

func (r *Roster) rebuild() error {
	x := &index{subjects: map[directory.Subject]string{}, teams: map[string][]string{}, groups: map[string][]string{}}
	x.certs.init()
	for id, s := range r.services.All() {
		x.certs.add(&Program{directory.KindService, id, s.Tenant, s.Name, s.Scopes}, s.Subjects)
		for _, sub := range s.Subjects {
			x.subjects[sub] = id
		}
	}
	for id, a := range r.agents.All() {
		x.certs.add(&Program{directory.KindAgent, id, a.Tenant, a.Name, a.Scopes}, a.Subjects)
		for _, sub := range a.Subjects {
			if other, taken := x.subjects[sub]; taken {
				return fmt.Errorf("roster: %s and %s have the same subject", other, id)
			}
			x.subjects[sub] = id
		}
	}
	for id, t := range r.teams.All() {
		for _, m := range t.Members {
			x.teams[m] = append(x.teams[m], id)
		}
	}
	for id, g := range r.groups.All() {
		for _, m := range g.Members {
			x.groups[m] = append(x.groups[m], id)
		}
	}
	r.index.Store(x)
	return nil
}

// Standing is what is known of a principal.
type Standing struct {
	Kind   string // directory.KindUser, KindService or KindAgent; empty for a key of nobody
	ID     string
	Tenant string
	Team   string   // that a service or agent belongs to
	Teams  []string // that it is a member of
	Groups []string
	// Bad says why it may not call; empty when it may. It is for the record.
	Bad string
}

// Check looks a principal up by id; an empty id is a key that belongs to its tenant alone. The error is
// a gate.Fault when what is known is too old to decide by.
func (r *Roster) Check(tenant, id string, now time.Time) (Standing, error) {
	if err := r.m.Check(now); err != nil {
		return Standing{}, err
	}
	s := Standing{ID: id, Tenant: tenant}
	t, ok := r.tenants.Get(tenant)
	switch {
	case !ok:
		s.Bad = "unknown tenant"
		return s, nil
	case t.Disabled:
		s.Bad = "tenant is disabled"
		return s, nil
	case id == "":
		return s, nil
	}
	x := r.index.Load()
	s.Teams, s.Groups = x.teams[id], x.groups[id]
	of := ""
	if u, ok := r.users.Get(id); ok {
		s.Kind, of = directory.KindUser, u.Tenant
		if !u.Active {
			s.Bad = "person is not active"
		}
	} else if v, ok := r.services.Get(id); ok {
		s.Kind, s.Team, of = directory.KindService, v.Team, v.Tenant
		if v.Disabled {
			s.Bad = "service is disabled"
		}
	} else if a, ok := r.agents.Get(id); ok {
		s.Kind, s.Team, of = directory.KindAgent, a.Team, a.Tenant
		if a.Disabled {
			s.Bad = "agent is disabled"
		}
	}
	switch {
	case of == "":
		s.Bad = "unknown principal"
	case of != tenant:
		s.Bad = "principal of another tenant"
	}
	return s, nil
}

// BySubject finds the service or agent that a token or certificate speaks for, in good standing or not.
func (r *Roster) BySubject(sub directory.Subject, now time.Time) (Standing, bool, error) {
	id, ok := r.index.Load().subjects[sub]
	if !ok {
		return Standing{}, false, r.m.Check(now)
	}
	tenant := ""
	if s, ok := r.services.Get(id); ok {
		tenant = s.Tenant
	} else if a, ok := r.agents.Get(id); ok {
		tenant = a.Tenant
	}
	st, err := r.Check(tenant, id, now)
	return st, err == nil, err
}

// MayActFor says whether an agent may act on behalf of a person of its tenant.
func (r *Roster) MayActFor(agent, user string) bool {
	a, ok := r.agents.Get(agent)
	u, known := r.users.Get(user)
	if !ok || !known || a.Disabled || !u.Active || a.Tenant != u.Tenant {
		return false
	}
	for _, f := range a.For {
		if f == "*" || f == user {
			return true
		}
	}
	return false
}

// Tenants are all of them.
func (r *Roster) Tenants() map[string]directory.Tenant { return r.tenants.All() }

// User finds a person.
func (r *Roster) User(id string) (directory.User, bool) { return r.users.Get(id) }

// Agent finds an agent.
func (r *Roster) Agent(id string) (directory.Agent, bool) { return r.agents.Get(id) }
