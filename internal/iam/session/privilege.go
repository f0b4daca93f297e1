package session

import (
	"context"
	"errors"
	"fmt"

	"sallyport.dev/sallyport/internal/iam/document"
	"sallyport.dev/sallyport/internal/secret"
)

// Privilege says what a person may do, as a short text that is another one whenever that changes: their
// roles, their groups, what a role of theirs permits. A session remembers it; when it is another, the
// session has ended, so that a cookie stolen before the change is dead after it, whichever way the
// change was made and on whichever node. It is safe for concurrent use.
type Privilege interface {
	// Known answers from memory, which may be two seconds old. An error: it cannot be decided.
	Known(tenant, user string) (string, error)
	// Read answers as r sees it.
	Read(ctx context.Context, r document.Reader, tenant, user string) (string, error)
}

// same says whether a session's person may still do what they might when it was made. That they may not
// is said by the store only: memory may be behind.
func (m *Sessions) same(ctx context.Context, s *Session) (bool, error) {
	if m.o.Privilege == nil {
		return true, nil
	}
	can, err := m.o.Privilege.Known(s.Tenant, s.User)
	if err != nil {
		return false, err
	}
	if can == s.Can {
		return true, nil
	}
	can, err = m.read(ctx, m.o.Store, s)
	return can == s.Can, err
}

func (m *Sessions) read(ctx context.Context, r document.Reader, s *Session) (string, error) {
	if m.o.Privilege == nil {
		return s.Can, nil
	}
	return m.o.Privilege.Read(ctx, r, s.Tenant, s.User)
}

// Renew is for who has just changed what they may do themselves, with this session: it goes on with a new
// token, and the old one is dead. The token is empty when nothing changed.
func (m *Sessions) Renew(ctx context.Context, token secret.String) (secret.String, error) {
	if m.o.Privilege == nil || !shaped(token) {
		return secret.String{}, nil
	}
	s, _, err := document.Find[Session](ctx, m.o.Store, key(hash(token)))
	if errors.Is(err, document.ErrNotFound) {
		return secret.String{}, nil // rotated or ended by what was done
	}
	if err != nil {
		return secret.String{}, fmt.Errorf("session: renew: %w", err)
	}
	can, err := m.read(ctx, m.o.Store, &s)
	if err != nil || can == s.Can {
		return secret.String{}, err
	}
	fresh := newToken()
	_, err = m.change(ctx, "renew", token, func(s *Session) { s.Hash, s.Can = hash(fresh), can })
	if err != nil {
		return secret.String{}, err
	}
	return fresh, nil
}
