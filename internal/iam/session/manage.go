package session

import (
	"context"
	"fmt"
	"time"

	"sallyport.dev/sallyport/internal/iam/document"
)

// List returns a person's living sessions, by id.
func (m *Sessions) List(ctx context.Context, tenant, user string) ([]Session, error) {
	all, err := document.List[Session](ctx, m.o.Store, &tenant)
	if err != nil {
		return nil, fmt.Errorf("session: list: %w", err)
	}
	var out []Session
	now := m.o.Now()
	for _, s := range all {
		if s.User == user && !m.ended(&s, now) {
			out = append(out, s)
		}
	}
	return out, nil
}

// Revoke ends one session of a person. ErrNone: they have no such session, whoever else may have.
func (m *Sessions) Revoke(ctx context.Context, tenant, user, id string) error {
	err := m.o.Store.Write(ctx, func(tx document.Tx) error {
		s, _, err := document.Get[Session](ctx, tx, id)
		if err != nil {
			return err
		}
		if s.Tenant != tenant || s.User != user {
			return ErrNone
		}
		return tx.Delete(ctx, Kind, id)
	})
	if err != nil {
		return none("revoke", err)
	}
	return nil
}

// RevokeAll ends all sessions of a person, but for the one with the id except ("": none), and says how many.
func (m *Sessions) RevokeAll(ctx context.Context, tenant, user, except string) (n int, err error) {
	return m.drop(ctx, "revoke all", &tenant, func(s *Session) bool { return s.User == user && s.ID != except })
}

// EndRemote ends sessions that a provider signed people in for: those of a person, those of its own session
// remote, or, when both are given, those that are both. It says how many.
func (m *Sessions) EndRemote(ctx context.Context, tenant, provider, user, remote string) (int, error) {
	if provider == "" || user == "" && remote == "" {
		return 0, nil
	}
	return m.drop(ctx, "end remote", &tenant, func(s *Session) bool {
		return s.Provider == provider && (user == "" || s.User == user) && (remote == "" || s.Remote == remote)
	})
}

// End ends, within a transaction, those sessions of a tenant that which is true of.
func End(ctx context.Context, tx document.Tx, tenant string, which func(*Session) bool) (n int, err error) {
	all, err := document.List[Session](ctx, tx, &tenant)
	if err != nil {
		return 0, err
	}
	for i := range all {
		if !which(&all[i]) {
			continue
		}
		if err := tx.Delete(ctx, Kind, all[i].ID); err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}

// Sweep takes away what has ended, and the sessions of whom gone is true (nil: nobody), and says how many.
// Call it every few minutes, on as many nodes as there are.
func (m *Sessions) Sweep(ctx context.Context, gone func(tenant, user string) bool) (int, error) {
	n, err := document.Sweep(ctx, m.o.Store, nil, func(s *Session) bool {
		return m.ended(s, m.o.Now()) || gone != nil && gone(s.Tenant, s.User)
	})
	if err != nil {
		return n, fmt.Errorf("session: sweep: %w", err)
	}
	return n, nil
}

func (m *Sessions) drop(ctx context.Context, verb string, tenant *string, which func(*Session) bool) (int, error) {
	n, err := document.Sweep(ctx, m.o.Store, tenant, which)
	if err != nil {
		return n, fmt.Errorf("session: %s: %w", verb, err)
	}
	return n, nil
}

// Ends is when the session ends if it is not used again.
func (m *Sessions) Ends(s *Session) time.Time {
	idle, end := s.Seen.Add(m.o.Idle), s.Created.Add(m.o.Absolute)
	if !s.Ends.IsZero() && s.Ends.Before(end) {
		end = s.Ends
	}
	if idle.Before(end) {
		return idle
	}
	return end
}
