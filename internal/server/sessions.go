package server

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"sallyport.dev/sallyport/internal/console/api"
	"sallyport.dev/sallyport/internal/iam/access"
	"sallyport.dev/sallyport/internal/iam/directory"
	"sallyport.dev/sallyport/internal/iam/document"
	"sallyport.dev/sallyport/internal/iam/mirror"
	"sallyport.dev/sallyport/internal/iam/revocation"
	"sallyport.dev/sallyport/internal/iam/session"
)

// privileges says what people may do (session.Privilege).
type privileges struct{ p *people }

func (v privileges) Known(tenant, user string) (string, error) {
	st, err := v.p.roster.Check(tenant, user, time.Now())
	if err != nil {
		return "", err
	}
	return v.p.access.Privilege(tenant, user, st.Groups), nil
}

func (privileges) Read(ctx context.Context, r document.Reader, tenant, user string) (string, error) {
	return access.PrivilegeIn(ctx, r, tenant, user)
}

// endedEvery is how often what has ended is taken out of the store. Every node does so: it is the same
// whoever comes first, and a look where there is nothing to do keeps nobody waiting.
const endedEvery = time.Minute

// sweep takes away sessions, tickets, challenges and what was used once, all once they have ended, until ctx ends.
// It ends the sessions of people as soon as they, or their tenant, are no longer in good standing, so
// that a cookie of before is dead even if they are let in again.
func (k *desk) sweep(ctx context.Context) {
	t := time.NewTicker(endedEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-k.people.standing.wake:
			k.endWhoLeft(ctx)
		case <-t.C:
			k.people.standing.changed.Add(1) // sessions end by themselves, too
			k.endWhoLeft(ctx)
			for what, f := range map[string]func(context.Context) (int, error){
				"sign-ins": k.signin.accounts.Sweep, "assertions": k.sso.Sweep, "revocations": k.sweepRevocations,
				"tombstones": k.store.purge, "tries": k.signin.throttle.Sweep,
			} {
				n, err := f(ctx)
				if err != nil && ctx.Err() == nil {
					k.log.Warn("cannot take away what has ended", "what", what, "error", err)
				} else if n > 0 {
					k.log.Debug("took away what has ended", "what", what, "number", n)
				}
			}
		}
	}
}

func (k *desk) sweepRevocations(ctx context.Context) (int, error) {
	return revocation.Sweep(ctx, k.store.docs, time.Now())
}

// standing says when people or tenants changed, so that those who left are looked for.
type standing struct {
	changed atomic.Int64
	wake    chan struct{}
	mu      sync.Mutex // held while they are looked for
	looked  int64
}

// watch has changes of people and tenants noticed.
func (s *standing) watch(m *mirror.Mirror) {
	s.wake = make(chan struct{}, 1)
	m.After(func() error {
		s.changed.Add(1)
		select {
		case s.wake <- struct{}{}:
		default: // somebody is about to look anyway
		}
		return nil
	}, directory.KindUser, directory.KindTenant)
}

// endWhoLeft takes away sessions that have ended and those of people who are not in good standing, unless that was
// done since anything changed. When it returns, it was.
func (k *desk) endWhoLeft(ctx context.Context) {
	s := &k.people.standing
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.changed.Load()
	if now == s.looked {
		return
	}
	n, err := k.signin.sessions.Sweep(ctx, func(tenant, user string) bool {
		// Who is not known has come this moment, and memory is behind; or was deleted, and nobody is
		// signed in with what is left.
		t, known := k.people.roster.Tenants()[tenant]
		if known && t.Disabled {
			return true
		}
		u, known := k.people.roster.User(user)
		return known && !u.Active
	})
	if err != nil {
		if ctx.Err() == nil {
			k.log.Warn("cannot take away what has ended", "what", "sessions", "error", err)
		}
		return
	}
	s.looked = now
	if n > 0 {
		k.log.Debug("took away what has ended", "what", "sessions", "number", n)
	}
}

// settle comes after an administrative change, when this node knows it: people who lost their standing
// lose their sessions before the change is answered, and who changed what they may do themselves goes on
// with a new token.
func (k *desk) settle(ctx context.Context, c *api.Call) error {
	k.endWhoLeft(ctx)
	if c.Actor == nil || c.Actor.Session == "" {
		return nil
	}
	secure := k.cfg().Console.TLS != nil
	tok, ok := session.Token(c.Request(), secure)
	if !ok {
		return nil
	}
	next, err := k.signin.sessions.Renew(ctx, tok)
	if err == nil && !next.Empty() {
		c.Cookie(session.Cookie(next, secure))
	}
	return err
}
