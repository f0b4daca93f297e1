package admin

import (
	"context"

	"sallyport.dev/sallyport/internal/console/api"
	"sallyport.dev/sallyport/internal/iam/directory"
	"sallyport.dev/sallyport/internal/iam/document"
	"sallyport.dev/sallyport/internal/iam/limits"
	"sallyport.dev/sallyport/internal/iam/quota"
)

// LimitSpec makes or changes a limit; see limits.Limit.
type LimitSpec struct {
	Of      string       `json:"of"`
	Subject string       `json:"subject,omitempty"`
	Model   string       `json:"model,omitempty"`
	Unit    string       `json:"unit"`
	Amount  int64        `json:"amount"`
	Window  quota.Window `json:"window,omitzero"`
}

func (d *Deps) limits() resource[limits.Limit, LimitSpec] {
	fill := func(ctx context.Context, c *api.Call, tx document.Tx, l *limits.Limit, in LimitSpec) error {
		l.Of, l.Subject, l.Model, l.Unit, l.Amount, l.Window = in.Of, in.Subject, in.Model, in.Unit, in.Amount, in.Window
		if err := l.Check(); err != nil {
			return invalid(err)
		}
		switch {
		case l.Subject == "":
			return nil
		case l.Of == limits.OfPrincipal:
			return belong(ctx, tx, c.Tenant, []string{l.Subject}, directory.KindUser, directory.KindService, directory.KindAgent)
		}
		return belong(ctx, tx, c.Tenant, []string{l.Subject}, directory.KindTeam)
	}
	return resource[limits.Limit, LimitSpec]{
		name: "limit", plural: "limits", doc: "a limit",
		make: func(ctx context.Context, c *api.Call, tx document.Tx, in LimitSpec) (limits.Limit, error) {
			l := limits.Limit{ID: directory.NewID("limit"), Tenant: c.Tenant, Created: d.stamp()}
			if err := tenantExists(ctx, tx, c.Tenant); err != nil {
				return l, err
			}
			return l, fill(ctx, c, tx, &l, in)
		},
		edit: fill,
	}
}
