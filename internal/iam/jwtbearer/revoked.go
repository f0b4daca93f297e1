package jwtbearer

import (
	"sync/atomic"
	"time"

	"sallyport.dev/sallyport/internal/iam"
	"sallyport.dev/sallyport/internal/iam/directory"
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
	// Tenants are lists that concern the tokens of one tenant only.
	Tenants map[string]*Revoked
}

// Revocations are what is revoked at the moment, for any number of verifiers. The zero value revokes
// nothing. It is safe for concurrent use.
type Revocations struct{ now atomic.Pointer[Revoked] }

// Set puts a new list in place of the one before. From its return on every call sees it, also for tokens
// that are known already. nil revokes nothing.
func (r *Revocations) Set(list *Revoked) { r.now.Store(list) }

func (r *Revocations) has(id *iam.Identity) bool {
	list := r.now.Load()
	if list == nil {
		return false
	}
	tenant := id.Tenant
	if tenant == "" {
		tenant = directory.DefaultTenant
	}
	return list.has(id) || list.Tenants[tenant].has(id)
}

func (r *Revoked) has(id *iam.Identity) bool {
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
