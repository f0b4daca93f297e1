package admin

import (
	"context"
	"errors"
	"time"

	"sallyport.dev/sallyport/internal/console/api"
	"sallyport.dev/sallyport/internal/iam"
	"sallyport.dev/sallyport/internal/iam/document"
)

// Recaller ends keys while the database does not answer. It is safe for concurrent use.
type Recaller interface {
	// Known finds a key as it was when the database last answered.
	Known(id string) (iam.Key, bool)
	// Recall ends it. When it returns nil this gateway will not forget it; everywhere says that the others
	// are told too.
	Recall(ctx context.Context, id string) (everywhere bool, err error)
	// Tell tells the others of keys whose end is in the database, should it not answer them.
	Tell(ctx context.Context, ids ...string)
}

// What KeyInfo.Pending says.
const (
	PendingEverywhere = "all gateways refuse it; the database is told when it answers"
	PendingHere       = "this gateway refuses it; the others when the database answers"
)

// askAway is how long the database has to answer before a key is ended without it.
const askAway = 2 * time.Second

// revoke ends a key, in the database or, while that does not answer, without it: ending a key is the one
// change that must not wait.
func (d *Deps) revoke(ctx context.Context, c *api.Call) (KeyInfo, error) {
	ask, cancel := context.WithTimeout(ctx, askAway)
	defer cancel()
	k, err := d.key(ask, c, "delete:key")
	if err == nil {
		var ch iam.Change
		if ch, err = d.Keys.Revoke(ask, k.ID); err == nil {
			c.Changed(k.ID, ch.Before, ch.After)
			d.tell(ctx, k.ID)
			return d.info(*ch.After), nil
		}
		err = keyError(err)
	}
	var refused *api.Error
	if d.Recall == nil || errors.As(err, &refused) || errors.Is(err, document.ErrNotFound) || ctx.Err() != nil {
		return KeyInfo{}, err
	}
	k, ok := d.Recall.Known(c.Path("id"))
	if !ok || k.Tenant != c.Tenant {
		return KeyInfo{}, err // perhaps the database knows it
	}
	if err := c.Can("delete:key", api.Resource{Tenant: k.Tenant, Team: k.Team, Owner: k.Principal}); err != nil {
		return KeyInfo{}, err
	}
	everywhere, err := d.Recall.Recall(ctx, k.ID)
	if err != nil {
		return KeyInfo{}, err
	}
	after := k
	if after.Revoked.IsZero() {
		after.Revoked = d.stamp()
	}
	c.Changed(k.ID, &k, &after)
	i := d.info(after)
	if i.Pending = PendingHere; everywhere {
		i.Pending = PendingEverywhere
	}
	return i, nil
}

func (d *Deps) tell(ctx context.Context, ids ...string) {
	if d.Recall != nil {
		d.Recall.Tell(ctx, ids...)
	}
}
