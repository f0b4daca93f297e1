package server

import (
	"context"
	"time"

	"sallyport.dev/sallyport/internal/console/api"
	"sallyport.dev/sallyport/internal/iam/access"
	"sallyport.dev/sallyport/internal/iam/directory"
	"sallyport.dev/sallyport/internal/iam/document"
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
		case <-k.people.left:
			k.sweepSessions(ctx)
		case <-t.C:
			k.sweepSessions(ctx)
			for what, f := range map[string]func(context.Context) (int, error){"sign-ins": k.signin.accounts.Sweep, "assertions": k.sso.Sweep} {
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

func (k *desk) sweepSessions(ctx context.Context) {
	n, err := k.signin.sessions.Sweep(ctx, func(tenant, user string) bool {
		st, err := k.people.roster.Check(tenant, user, time.Now())
		// Who is not known yet has come this moment: memory is behind.
		return err == nil && st.Bad != "" && st.Kind != ""
	})
	if err != nil && ctx.Err() == nil {
		k.log.Warn("cannot take away what has ended", "what", "sessions", "error", err)
	} else if n > 0 {
		k.log.Debug("took away what has ended", "what", "sessions", "number", n)
	}
}

// watchStanding has left say when people or tenants changed.
func (p *people) watchStanding() {
	p.left = make(chan struct{}, 1)
	p.mirror.After(func() error {
		select {
		case p.left <- struct{}{}:
		default: // it is about to look anyway
		}
		return nil
	}, directory.KindUser, directory.KindTenant)
}

// settle comes after an administrative change, when this node knows it: people who lost their standing
// lose their sessions before the change is answered, and who changed what they may do themselves goes on
// with a new token.
func (k *desk) settle(ctx context.Context, c *api.Call) error {
	select {
	case <-k.people.left:
		k.sweepSessions(ctx)
	default:
	}
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
