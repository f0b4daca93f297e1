package admin

import (
	"context"
	"errors"
	"net/http"
	"time"

	"sallyport.dev/sallyport/internal/console/api"
	"sallyport.dev/sallyport/internal/iam"
	"sallyport.dev/sallyport/internal/iam/document"
	"sallyport.dev/sallyport/internal/iam/recall"
)

// Recaller ends keys while the database does not answer. It is safe for concurrent use.
type Recaller interface {
	// Known finds a key as it was when the database last answered.
	Known(id string) (iam.Key, bool)
	// KnownMatching are the living keys that a filter names, oldest first, as they were then.
	KnownMatching(f iam.Filter) []iam.Key
	// Recall ends keys. When it returns nil this gateway will not forget it; everywhere says that the others
	// are told too.
	Recall(ctx context.Context, ids ...string) (everywhere bool, err error)
	// Tell tells the others of keys whose end is in the database, should it not answer them.
	Tell(ctx context.Context, ids ...string)
}

// What KeyInfo.Pending says.
const (
	PendingEverywhere = "all gateways refuse it; the database is told when it answers"
	PendingHere       = "this gateway refuses it; the others when the database answers"
)

// What ManyKeys.Pending says.
const (
	ManyPendingEverywhere = "all gateways refuse them; the database is told when it answers; keys made in the last moments before it was lost may be missing"
	ManyPendingHere       = "this gateway refuses them; the others when the database answers; keys made in the last moments before it was lost may be missing"
	ManyPendingNone       = "the database does not answer, and this gateway knows no living key of these"
)

// maxRecalled is how many keys one request ends without the database.
const maxRecalled = 10_000

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
	if !d.away(ctx, err) {
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
	i := d.ended(k, everywhere)
	c.Changed(k.ID, &k, &i.Key)
	return i, nil
}

// away says whether an act failed because the database did not answer, and keys can be ended without it.
func (d *Deps) away(ctx context.Context, err error) bool {
	var refused *api.Error
	return d.Recall != nil && err != nil && !errors.As(err, &refused) && !errors.Is(err, document.ErrNotFound) && ctx.Err() == nil
}

// ended is a key that was ended without the database.
func (d *Deps) ended(k iam.Key, everywhere bool) KeyInfo {
	if k.Revoked.IsZero() {
		k.Revoked = d.stamp()
	}
	i := d.info(k)
	if i.Pending = PendingHere; everywhere {
		i.Pending = PendingEverywhere
	}
	return i
}

// revokeMany ends all keys of a filter, in the database or, from where that does not answer on, without it.
// One that fails does not stop the others.
func (d *Deps) revokeMany(ctx context.Context, c *api.Call, in KeyFilter) (out ManyKeys, err error) {
	f, err := in.filter(c.Tenant)
	if err != nil {
		return out, err
	}
	ask, cancel := context.WithTimeout(ctx, askAway)
	keys, err := d.Keys.Matching(ask, f)
	cancel()
	without := d.away(ctx, err)
	if without {
		keys = d.Recall.KnownMatching(f)
	} else if err != nil {
		return out, err
	}
	var ids []string
	i := 0
	for ; i < len(keys) && !without; i++ {
		ask, cancel := context.WithTimeout(ctx, askAway)
		ch, err := d.Keys.Revoke(ask, keys[i].ID)
		cancel()
		err = keyError(err)
		if without = d.away(ctx, err); without {
			break
		}
		if err != nil {
			out.fail(keys[i].ID)
			continue
		}
		out.Done, ids = append(out.Done, NewKey{Key: d.info(*ch.After)}), append(ids, keys[i].ID)
	}
	d.tell(ctx, ids...)
	if without && len(keys) == 0 {
		out.Pending = ManyPendingNone
	}
	if rest := keys[i:]; without && len(rest) > 0 {
		some := rest[:min(len(rest), maxRecalled)]
		out.Left = len(rest) - len(some)
		ended := make([]string, len(some))
		for j := range some {
			ended[j] = some[j].ID
		}
		everywhere, err := d.Recall.Recall(ctx, ended...)
		if errors.Is(err, recall.ErrFull) {
			err = api.Refuse(http.StatusServiceUnavailable, "recall_full", "More keys have ended without the database than gateways tell each other of. The others end when it answers, or with everything else that is known from memory.")
		}
		if err != nil && len(ids) == 0 {
			return out, err
		}
		if out.Pending = ManyPendingHere; everywhere {
			out.Pending = ManyPendingEverywhere
		}
		for _, k := range some {
			if err != nil {
				out.fail(k.ID)
			} else {
				out.Done, ids = append(out.Done, NewKey{Key: d.ended(k, everywhere)}), append(ids, k.ID)
			}
		}
	}
	return out, d.recordMany(ctx, c, ids, &out)
}

func (m *ManyKeys) fail(id string) {
	if m.Failed == nil {
		m.Failed = map[string]string{}
	}
	m.Failed[id] = failedAlone
}

func (d *Deps) tell(ctx context.Context, ids ...string) {
	if d.Recall != nil {
		d.Recall.Tell(ctx, ids...)
	}
}
