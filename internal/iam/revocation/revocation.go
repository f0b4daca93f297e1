// Package revocation keeps the tokens that no longer count although they have not ended: single ones, and
// all that were issued to somebody until a moment. Whoever runs verifiers on any node sees a change within
// two seconds. One that can concern no token any more is taken away.
package revocation

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"sallyport.dev/sallyport/internal/iam/directory"
	"sallyport.dev/sallyport/internal/iam/document"
	"sallyport.dev/sallyport/internal/iam/jwtbearer"
	"sallyport.dev/sallyport/internal/iam/mirror"
	"sallyport.dev/sallyport/internal/iam/rbac"
)

// Kind of the documents.
const Kind = "revocation"

// Keep is how long one is kept: the longest life of a token that any issuer may be given, and what clocks
// may differ by.
const Keep = 25 * time.Hour

// Revocation ends tokens of a tenant; of the system tenant, those of all.
type Revocation struct {
	ID     string `json:"id"`
	Tenant string `json:"tenant"`
	// Token is one, as the issuer's name, a colon and its jti; what was exchanged for it ends with it.
	// Principal is whose tokens end that were issued until Created: the issuer's name, a colon and the
	// subject, or, of exchanged tokens, the id of a person or agent. One of them is given.
	Token     string    `json:"token,omitempty"`
	Principal string    `json:"principal,omitempty"`
	Created   time.Time `json:"created"`
}

// Head implements document.Entity.
func (r Revocation) Head() document.Head {
	return document.Head{Kind: Kind, ID: r.ID, Tenant: r.Tenant}
}

// Check says what is wrong with a revocation.
func (r *Revocation) Check() error {
	if (r.Token == "") == (r.Principal == "") {
		return fmt.Errorf("revocation: expected a token or a principal")
	}
	what := r.Token + r.Principal
	if len(what) > 512 || strings.ContainsFunc(what, func(c rune) bool { return c < ' ' || c > '~' }) {
		return fmt.Errorf("revocation: expected at most 512 printable ASCII characters")
	}
	if issuer, jti, ok := strings.Cut(r.Token, ":"); r.Token != "" && (!ok || issuer == "" || jti == "") {
		return fmt.Errorf("revocation: expected the issuer's name, a colon and the token's jti, as the record names it")
	}
	return nil
}

// Follow adds the revocations to a mirror, which its owner keeps fresh, and hands them to verifiers.
func Follow(m *mirror.Mirror, to *jwtbearer.Revocations) {
	view := mirror.Add[Revocation](m)
	m.After(func() error {
		all := &jwtbearer.Revoked{Tenants: map[string]*jwtbearer.Revoked{}}
		for _, r := range view.All() {
			l := all
			if r.Tenant != rbac.System {
				if l = all.Tenants[r.Tenant]; l == nil {
					l = &jwtbearer.Revoked{}
					all.Tenants[r.Tenant] = l
				}
			}
			add(l, r)
		}
		to.Set(all)
		return nil
	}, Kind)
}

func add(l *jwtbearer.Revoked, r Revocation) {
	if r.Token != "" {
		if l.Tokens == nil {
			l.Tokens = map[string]struct{}{}
		}
		l.Tokens[r.Token] = struct{}{}
		return
	}
	if l.Principals == nil {
		l.Principals = map[string]time.Time{}
	}
	if r.Created.After(l.Principals[r.Principal]) {
		l.Principals[r.Principal] = r.Created
	}
}

// Sweep takes away those that can concern no token any more, and says how many. Call it every few minutes.
func Sweep(ctx context.Context, s document.Store, now time.Time) (n int, err error) {
	all, err := document.List[Revocation](ctx, s, nil)
	if err != nil {
		return 0, err
	}
	var old []string
	for _, r := range all {
		if now.Sub(r.Created) > Keep {
			old = append(old, r.ID)
		}
	}
	if len(old) == 0 {
		return 0, nil
	}
	return len(old), s.Write(ctx, func(tx document.Tx) error {
		for _, id := range old {
			if err := tx.Delete(ctx, Kind, id); err != nil && !errors.Is(err, document.ErrNotFound) {
				return err
			}
		}
		return nil
	})
}

// New makes one.
func New(tenant, token, principal string, now time.Time) Revocation {
	return Revocation{ID: directory.NewID("revocation"), Tenant: tenant, Token: token, Principal: principal, Created: now}
}
