package jwtbearer

import (
	"time"

	"sallyport.dev/sallyport/internal/iam"
)

// Revoked is what no longer counts although it has not ended. It is handed in whole and must not be
// changed afterwards.
type Revoked struct {
	// Tokens are single ones, by iam.Identity.Token: issuer ":" jti. What was exchanged for one of
	// them is revoked with it.
	Tokens map[string]struct{}
	// Principals are everything of somebody, by iam.Identity.ID: tokens issued until that moment,
	// seconds counted in full, do not count, whether the principal acts or is acted for. The zero
	// time revokes all, whenever issued.
	Principals map[string]time.Time
}

// Revoke puts a new list in place of the one before. From its return on every call sees it, also
// for tokens that are known already. nil revokes nothing.
func (v *Verifier) Revoke(r *Revoked) { v.revoked.Store(r) }

func (v *Verifier) isRevoked(id *iam.Identity) bool {
	r := v.revoked.Load()
	if r == nil {
		return false
	}
	if len(r.Tokens) > 0 {
		if has(r.Tokens, id.Token) {
			return true
		}
		for _, p := range id.Parents {
			if has(r.Tokens, p) {
				return true
			}
		}
	}
	if len(r.Principals) > 0 {
		if r.ended(id.ID, id.Issued) || r.ended(id.OnBehalfOf, id.Issued) {
			return true
		}
		for _, a := range id.Actors {
			if r.ended(a, id.Issued) {
				return true
			}
		}
	}
	return false
}

func has(m map[string]struct{}, k string) bool {
	_, ok := m[k]
	return ok && k != ""
}

func (r *Revoked) ended(id string, issued time.Time) bool {
	t, ok := r.Principals[id]
	return ok && id != "" && (t.IsZero() || !issued.After(t))
}
