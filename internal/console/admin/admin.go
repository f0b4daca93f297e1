// Package admin is what the administrative interface does: its routes, over the services of the
// identity room. Package api says who may use them and keeps the record.
package admin

import (
	"context"
	"net/http"
	"time"

	"sallyport.dev/sallyport/internal/console/api"
	"sallyport.dev/sallyport/internal/iam"
	"sallyport.dev/sallyport/internal/iam/account"
	"sallyport.dev/sallyport/internal/iam/approval"
	"sallyport.dev/sallyport/internal/iam/document"
	"sallyport.dev/sallyport/internal/iam/session"
	"sallyport.dev/sallyport/internal/iam/sso"
	"sallyport.dev/sallyport/internal/iam/vault"
	"sallyport.dev/sallyport/internal/secret/envelope"
)

// Deps is what the routes work on. All are required unless they say otherwise.
type Deps struct {
	Docs document.Store
	Keys *iam.Service
	// Recall ends keys while the database does not answer; nil: they cannot be ended then.
	Recall Recaller
	// Classes are the rotation policies of keys.
	Classes func() iam.Classes
	Vault   *vault.Vault
	Seals   *envelope.Keyring
	// Accounts and Sessions are how people sign in; nil: they cannot here.
	Accounts *account.Accounts
	Sessions *session.Sessions
	// SSO signs people in with the identity providers of their tenant; nil: it cannot here.
	SSO *sso.Service
	// Signing are the keys of exchanged tokens; nil: there are none here.
	Signing interface {
		Replace(ctx context.Context) (ended int, err error)
	}
	// Approvals keeps acts that wait for a second person.
	Approvals *approval.Service
	// Secure says that the console is served over TLS, which names its cookies.
	Secure bool
	// Tenants are the ids of all tenants, and "" for the installation.
	Tenants func() []string
	// Upstream says whether the configuration has an upstream of a name; nil: any.
	Upstream func(name string) bool
	Now      func() time.Time
}

// Routes are all routes.
func Routes(d *Deps) []api.Route {
	var rs []api.Route
	for _, more := range [][]api.Route{
		d.tenants(), d.teams().routes(d), d.users().routes(d), d.groups().routes(d), d.services().routes(d), d.agents().routes(d),
		d.builtinRoles(), d.roles().routes(d), d.bindings().routes(d), d.policies().routes(d), d.limits().routes(d), d.keys(), d.revocations(), d.people(), d.factors(), d.passkeys(),
		d.identityProviders(), d.mappings(), d.scimTokens(), d.providers(), d.changes(), d.system(),
	} {
		rs = append(rs, more...)
	}
	return rs
}

// stamp is the time of a change, as stores keep it.
func (d *Deps) stamp() time.Time { return d.Now().UTC().Truncate(time.Microsecond) }

// invalid makes a refusal of what a check found wrong: what the caller sent, so they may know.
func invalid(err error) error {
	if err == nil {
		return nil
	}
	return api.Refuse(http.StatusUnprocessableEntity, "invalid", "%s", err)
}
