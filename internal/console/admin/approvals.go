package admin

import (
	"context"
	"errors"
	"net/http"
	"time"

	"sallyport.dev/sallyport/internal/console/api"
	"sallyport.dev/sallyport/internal/iam/approval"
	"sallyport.dev/sallyport/internal/iam/rbac"
)

// Approvals has dangerous acts wait for a second person (api.Approvals). Only a person asks: a program
// may be the approver's own.
type Approvals struct{ Service *approval.Service }

var _ api.Approvals = Approvals{}

// Ask implements api.Approvals.
func (a Approvals) Ask(ctx context.Context, who *api.Actor, p api.Pending) (string, error) {
	if who.Kind != "user" {
		return "", api.Refuse(http.StatusForbidden, "person_required", "A second person has to approve this, so a person has to ask for it: sign in.")
	}
	c, err := a.Service.Ask(ctx, who.ID, where(p.Tenant), p.Permission, p.Summary, []byte(p.Digest))
	if errors.Is(err, approval.ErrFull) {
		return "", api.Refuse(http.StatusConflict, "too_many_changes", "Too many changes wait already. Decide or refuse some of them.")
	}
	return c.ID, err
}

// Use implements api.Approvals. The digest covers method, path, query, revision and body, so what is
// done is what was approved.
func (a Approvals) Use(ctx context.Context, who *api.Actor, id string, p api.Pending) error {
	if who.Kind != "user" {
		return approval.ErrMayNot
	}
	_, err := a.Service.Redeem(ctx, who.ID, where(p.Tenant), id, []byte(p.Digest))
	return err
}

// where is the tenant of an act: those on the installation belong to the platform's own.
func where(tenant string) string {
	if tenant == "" {
		return rbac.System
	}
	return tenant
}

// ChangeInfo is an act that waits, or waited.
type ChangeInfo struct {
	ID        string    `json:"id"`
	Action    string    `json:"action"` // the permission it needs
	Target    string    `json:"target"` // operation and path
	Requested string    `json:"requested"`
	Created   time.Time `json:"created"`
	Expires   time.Time `json:"expires"`
	State     string    `json:"state"` // pending, approved, refused, done, expired
	Decided   string    `json:"decided,omitempty"`
	DecidedAt time.Time `json:"decided_at,omitzero"`
	DoneAt    time.Time `json:"done_at,omitzero"`
}

func (d *Deps) changeInfo(c approval.Change) ChangeInfo {
	i := ChangeInfo{c.ID, c.Action, c.Target, c.Requested, c.Created, c.Expires, string(c.State), c.Decided, c.DecidedAt, c.DoneAt}
	if (c.State == approval.Pending || c.State == approval.Approved) && !d.Now().Before(c.Expires) {
		i.State = "expired"
	}
	return i
}

func (d *Deps) changes() []api.Route {
	decide := func(verb func(ctx context.Context, c *api.Call, id string) (approval.Change, error)) func(context.Context, *api.Call, api.None) (ChangeInfo, error) {
		return func(ctx context.Context, c *api.Call, _ api.None) (ChangeInfo, error) {
			after, err := verb(ctx, c, c.Path("id"))
			if err != nil {
				return ChangeInfo{}, undecided(err)
			}
			c.Changed(after.ID, nil, d.changeInfo(after))
			return d.changeInfo(after), nil
		}
	}
	return []api.Route{
		api.Do(api.Route{Method: "GET", Pattern: "/tenants/{tenant}/changes", Operation: "changes.list", Summary: "List the acts that wait, or waited, for a second person", Permission: "read:change"},
			func(ctx context.Context, c *api.Call, _ api.None) (p Page[ChangeInfo], err error) {
				all, err := d.Approvals.List(ctx, c.Tenant)
				for _, x := range all {
					p.Items = append(p.Items, d.changeInfo(x))
				}
				return p, err
			}),
		api.Do(api.Route{Method: "POST", Pattern: "/tenants/{tenant}/changes/{id}/approve", Operation: "changes.approve", Summary: "Agree to what another person wants to do", Permission: "approve:change"},
			decide(func(ctx context.Context, c *api.Call, id string) (approval.Change, error) {
				if c.Actor.Kind != "user" { // whoever holds the machine is no second person, nor is a program
					return approval.Change{}, approval.ErrMayNot
				}
				return d.Approvals.Approve(ctx, c.Actor.ID, c.Tenant, id)
			})),
		api.Do(api.Route{Method: "POST", Pattern: "/tenants/{tenant}/changes/{id}/refuse", Operation: "changes.refuse", Summary: "End an act that waits; who asked for it may, too", Permission: "approve:change", Own: true},
			decide(func(ctx context.Context, c *api.Call, id string) (approval.Change, error) {
				if c.Actor.Kind == KindLocal { // ending is the safe direction
					return d.Approvals.Cancel(ctx, c.Actor.ID, c.Tenant, id)
				}
				return d.Approvals.Refuse(ctx, c.Actor.ID, c.Tenant, id)
			})),
	}
}

// undecided tells why a change was not decided, to somebody who may know of it.
func undecided(err error) error {
	switch {
	case errors.Is(err, approval.ErrNotFound):
		return api.NotFound()
	case errors.Is(err, approval.ErrSelf):
		return api.Refuse(http.StatusForbidden, "same_person", "Another person than who asked has to approve.")
	case errors.Is(err, approval.ErrMayNot):
		return api.Refuse(http.StatusForbidden, "may_not_approve", "Only a person who may do this themselves, and may approve, decides.")
	case errors.Is(err, approval.ErrExpired), errors.Is(err, approval.ErrState), errors.Is(err, approval.ErrChanged):
		return api.Refuse(http.StatusConflict, "not_waiting", "The change does not wait for this.")
	}
	return err
}
