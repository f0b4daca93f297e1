package admin

import (
	"context"

	"sallyport.dev/sallyport/internal/console/api"
	"sallyport.dev/sallyport/internal/iam/account"
	"sallyport.dev/sallyport/internal/iam/directory"
	"sallyport.dev/sallyport/internal/secret"
)

// FactorsInfo are a person's second factors as they are shown.
type FactorsInfo struct {
	Local         bool          `json:"local"` // there is an account here; otherwise they sign in elsewhere
	Authenticator bool          `json:"authenticator"`
	Recovery      int           `json:"recovery"` // codes that are left
	Passkeys      []PasskeyInfo `json:"passkeys"`
}

// RecoveryCodes are shown once.
type RecoveryCodes struct {
	Recovery []string `json:"recovery"`
}

func (d *Deps) factorsOf(ctx context.Context, user string) (FactorsInfo, error) {
	f, err := d.Accounts.Factors(ctx, user)
	out := FactorsInfo{Local: f.Local, Authenticator: f.Authenticator, Recovery: f.Recovery}
	for i := range f.Passkeys {
		out.Passkeys = append(out.Passkeys, infoOf(&f.Passkeys[i]))
	}
	return out, err
}

// factors are the routes of one's own second factors, and of other people's.
func (d *Deps) factors() []api.Route {
	if d.Accounts == nil {
		return nil
	}
	a := d.Accounts
	self := func(method, path, name, summary string) api.Route {
		return api.Route{Method: method, Pattern: path, Operation: "me." + name, Summary: summary, Permission: api.Self}
	}
	secrets := func(r api.Route) api.Route { r.Secret = true; return r }
	return []api.Route{
		api.Do(self("GET", "/me/factors", "factors", "Say which second factors are set up"), func(ctx context.Context, c *api.Call, _ api.None) (FactorsInfo, error) {
			return d.factorsOf(ctx, c.Actor.ID)
		}),
		api.Do(secrets(self("POST", "/me/authenticator", "replace_authenticator", "Begin to set up another authenticator; go on with signin.enrol and signin.confirm")), func(ctx context.Context, c *api.Call, _ api.None) (SignIn, error) {
			t, err := a.ReplaceSecond(ctx, d.token(c))
			return SignIn{Next: account.NextEnrol, Ticket: t.Reveal()}, signinError(err)
		}),
		api.Do(self("DELETE", "/me/authenticator", "remove_authenticator", "Remove the authenticator, when a passkey is left; every other session ends"), func(ctx context.Context, c *api.Call, _ api.None) (api.None, error) {
			_, next, err := a.RemoveTOTP(ctx, d.token(c), from(c.Request()))
			return d.rotated(c, next, err)
		}),
		api.Do(secrets(self("POST", "/me/recovery", "renew_recovery", "Make new recovery codes; the earlier ones end")), func(ctx context.Context, c *api.Call, _ api.None) (out RecoveryCodes, err error) {
			codes, err := a.NewRecovery(ctx, d.token(c), from(c.Request()))
			for _, s := range codes {
				out.Recovery = append(out.Recovery, s.Reveal())
			}
			return out, signinError(err)
		}),
		api.Do(api.Route{Method: "POST", Pattern: "/signin/reset", Operation: "signin.reset", Summary: "Go on with the link of a reset, and the password, to set up another second factor", Permission: api.Public, Secret: true},
			func(ctx context.Context, c *api.Call, in Link) (SignIn, error) {
				s, err := a.RedeemReset(ctx, secret.New(in.Link), secret.New(in.Password), from(c.Request()))
				return d.step(c, s, err)
			}),
		api.Do(api.Route{Method: "GET", Pattern: "/tenants/{tenant}/users/{id}/factors", Operation: "users.factors", Summary: "Say which second factors a person has", Permission: "read:credential"},
			func(ctx context.Context, c *api.Call, _ api.None) (FactorsInfo, error) {
				if _, _, err := get[directory.User](ctx, c, d.Docs); err != nil {
					return FactorsInfo{}, err
				}
				return d.factorsOf(ctx, c.Path("id"))
			}),
		api.Do(api.Route{Method: "DELETE", Pattern: "/tenants/{tenant}/users/{id}/second-factor", Operation: "users.reset_second", Permission: "delete:credential", Secret: true,
			Summary: "Take away a person's second factors, sessions and devices; the one-time link lets them set up another, with their password"},
			func(ctx context.Context, c *api.Call, _ api.None) (Invitation, error) {
				if err := d.mayReset(ctx, c); err != nil {
					return Invitation{}, err
				}
				before, err := d.factorsOf(ctx, c.Path("id"))
				if err != nil {
					return Invitation{}, err
				}
				tok, err := a.ResetSecond(ctx, c.Path("id"))
				if err != nil {
					return Invitation{}, signinError(err)
				}
				c.Changed(c.Path("id"), before, "reset")
				return Invitation{Link: "/console/reset#" + tok.Reveal(), Expires: d.stamp().Add(account.LinkLife)}, nil
			}),
	}
}
