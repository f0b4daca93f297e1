package admin

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strconv"
	"time"

	"sallyport.dev/sallyport/internal/console/api"
	"sallyport.dev/sallyport/internal/iam/account"
	"sallyport.dev/sallyport/internal/iam/directory"
	"sallyport.dev/sallyport/internal/iam/document"
	"sallyport.dev/sallyport/internal/iam/password"
	"sallyport.dev/sallyport/internal/iam/session"
	"sallyport.dev/sallyport/internal/iam/sso"
	"sallyport.dev/sallyport/internal/secret"
)

// Credentials begin a sign-in.
type Credentials struct {
	Tenant   string `json:"tenant,omitempty"` // left out: the default one
	UserName string `json:"user_name"`
	Password string `json:"password"`
}

// Ticket goes on with one.
type Ticket struct {
	Ticket string `json:"ticket"`
	Code   string `json:"code,omitempty"`
}

// Link is a one-time link, and the password that it chooses.
type Link struct {
	Link     string `json:"link"`
	Password string `json:"password"`
}

// SignIn says how far a sign-in has come. The session's token is in a cookie, never here.
type SignIn struct {
	Next     string   `json:"next"` // second, enrol, done
	Ticket   string   `json:"ticket,omitempty"`
	Recovery []string `json:"recovery,omitempty"` // shown this once
}

// Enrolment is what an authenticator app needs.
type Enrolment struct {
	Seed string `json:"seed"`
	URI  string `json:"uri"`
}

// Invitation is a one-time link for a person.
type Invitation struct {
	Link    string    `json:"link"` // path and fragment below the console's address
	Expires time.Time `json:"expires"`
}

// Me is who is signed in.
type Me struct {
	Kind    string         `json:"kind"`
	User    directory.User `json:"user,omitzero"`
	AMR     []string       `json:"amr"`
	Fresh   time.Time      `json:"fresh,omitzero"`
	Session string         `json:"session,omitempty"`
	// Elsewhere: they signed in with an identity provider. StepUp is where to prove it again there, if it can be.
	Elsewhere bool   `json:"elsewhere,omitzero"`
	StepUp    string `json:"step_up,omitempty"`
}

// SessionInfo is a session as it is shown.
type SessionInfo struct {
	ID      string    `json:"id"`
	AMR     []string  `json:"amr"`
	Created time.Time `json:"created"`
	Seen    time.Time `json:"seen"`
	Ends    time.Time `json:"ends"`
	Addr    string    `json:"addr"`
	Agent   string    `json:"agent"`
	This    bool      `json:"this,omitzero"`
}

// deviceCookie remembers a browser that somebody has signed in from.
const deviceCookie = "sallyport-device"

func from(r *http.Request) account.From {
	f := account.From{Agent: r.UserAgent()}
	if a, err := net.ResolveTCPAddr("tcp", r.RemoteAddr); err == nil {
		f.Addr = a.AddrPort().Addr().Unmap()
	}
	if cs := r.CookiesNamed(deviceCookie); len(cs) == 1 {
		f.Device = secret.New(cs[0].Value)
	}
	return f
}

// people are the routes of signing in and of one's own account.
func (d *Deps) people() []api.Route {
	if d.Accounts == nil {
		return nil
	}
	a := d.Accounts
	public := func(path, name, summary string) api.Route {
		return api.Route{Method: "POST", Pattern: path, Operation: "signin." + name, Summary: summary, Permission: api.Public, Secret: true}
	}
	self := func(method, path, name, summary string) api.Route {
		return api.Route{Method: method, Pattern: path, Operation: "me." + name, Summary: summary, Permission: api.Self}
	}
	return []api.Route{
		api.Do(public("/signin", "password", "Sign in with a password"), func(ctx context.Context, c *api.Call, in Credentials) (SignIn, error) {
			if in.Tenant == "" {
				in.Tenant = directory.DefaultTenant
			}
			s, err := a.SignIn(ctx, in.Tenant, in.UserName, secret.New(in.Password), from(c.Request()))
			return d.step(c, s, err)
		}),
		api.Do(public("/signin/second", "second", "Give the second factor"), func(ctx context.Context, c *api.Call, in Ticket) (SignIn, error) {
			s, err := a.Second(ctx, secret.New(in.Ticket), in.Code, from(c.Request()))
			return d.step(c, s, err)
		}),
		api.Do(public("/signin/link", "link", "Choose a password with a one-time link"), func(ctx context.Context, c *api.Call, in Link) (SignIn, error) {
			s, err := a.Redeem(ctx, secret.New(in.Link), secret.New(in.Password), from(c.Request()))
			return d.step(c, s, err)
		}),
		api.Do(public("/signin/enrol", "enrol", "Begin to set up an authenticator"), func(ctx context.Context, _ *api.Call, in Ticket) (Enrolment, error) {
			seed, uri, err := a.EnrolTOTP(ctx, secret.New(in.Ticket))
			return Enrolment{seed.Reveal(), uri.Reveal()}, signinError(err)
		}),
		api.Do(public("/signin/confirm", "confirm", "Confirm an authenticator with a code of it"), func(ctx context.Context, c *api.Call, in Ticket) (SignIn, error) {
			s, err := a.ConfirmTOTP(ctx, secret.New(in.Ticket), in.Code, from(c.Request()))
			return d.step(c, s, err)
		}),
		api.Do(self("GET", "/me", "get", "Say who is signed in"), func(ctx context.Context, c *api.Call, _ api.None) (Me, error) {
			m := Me{Kind: c.Actor.Kind, User: c.Actor.User, AMR: c.Actor.AMR, Fresh: c.Actor.Fresh, Session: c.Actor.Session}
			if c.Actor.Provider == "" || d.SSO == nil {
				return m, nil
			}
			m.Elsewhere = true
			there, err := d.SSO.StepsUp(ctx, c.Actor.Tenant, c.Actor.Provider)
			if there {
				m.StepUp = sso.Path + c.Actor.Tenant + "/" + c.Actor.Provider + "/step-up"
			}
			return m, err
		}),
		api.Do(self("POST", "/me/step-up", "step_up", "Prove again who you are, for what is dangerous"), func(ctx context.Context, c *api.Call, in Ticket) (api.None, error) {
			tok, _ := session.Token(c.Request(), d.Secure)
			_, next, err := a.StepUp(ctx, tok, in.Code, from(c.Request()))
			if err == nil {
				c.Cookie(session.Cookie(next, d.Secure))
			}
			return api.None{}, signinError(err)
		}),
		api.Do(secretly(self("POST", "/me/second-factor", "add_second", "Begin to set up an authenticator, for who signed in with an identity provider")), func(ctx context.Context, c *api.Call, _ api.None) (Enrolment, error) {
			tok, _ := session.Token(c.Request(), d.Secure)
			seed, uri, err := a.AddSecond(ctx, tok)
			return Enrolment{seed.Reveal(), uri.Reveal()}, signinError(err)
		}),
		api.Do(secretly(self("POST", "/me/second-factor/confirm", "confirm_second", "Confirm that authenticator with a code of it")), func(ctx context.Context, c *api.Call, in Ticket) (SignIn, error) {
			tok, _ := session.Token(c.Request(), d.Secure)
			next, codes, err := a.ConfirmSecond(ctx, tok, in.Code, from(c.Request()))
			return d.step(c, account.Step{Next: account.NextDone, Token: next, Recovery: codes}, err)
		}),
		api.Do(self("POST", "/me/password", "password", "Change the own password; every other session ends"), func(ctx context.Context, c *api.Call, in struct {
			Old string `json:"old"`
			New string `json:"new"`
		}) (api.None, error) {
			tok, _ := session.Token(c.Request(), d.Secure)
			_, next, err := a.ChangePassword(ctx, tok, secret.New(in.Old), secret.New(in.New), from(c.Request()))
			if err == nil {
				c.Cookie(session.Cookie(next, d.Secure))
			}
			return api.None{}, signinError(err)
		}),
		api.Do(self("POST", "/me/sign-out", "sign_out", "End this session"), func(ctx context.Context, c *api.Call, _ api.None) (api.None, error) {
			c.Cookie(session.ClearCookie(d.Secure))
			if c.Actor.Session == "" {
				return api.None{}, nil
			}
			return api.None{}, signinError(d.Sessions.Revoke(ctx, c.Actor.Tenant, c.Actor.ID, c.Actor.Session))
		}),
		api.Do(self("GET", "/me/sessions", "sessions", "List the own sessions"), func(ctx context.Context, c *api.Call, _ api.None) (Page[SessionInfo], error) {
			return d.sessions(ctx, c, c.Actor.Tenant, c.Actor.ID)
		}),
		api.Do(self("DELETE", "/me/sessions", "end_sessions", "End all of the own sessions but this one"), func(ctx context.Context, c *api.Call, _ api.None) (api.None, error) {
			n, err := d.Sessions.RevokeAll(ctx, c.Actor.Tenant, c.Actor.ID, c.Actor.Session)
			if err == nil {
				c.Changed(c.Actor.ID, nil, map[string]int{"ended": n})
			}
			return api.None{}, err
		}),
		api.Do(self("DELETE", "/me/sessions/{id}", "end_session", "End one of the own sessions"), func(ctx context.Context, c *api.Call, _ api.None) (api.None, error) {
			return api.None{}, signinError(d.Sessions.Revoke(ctx, c.Actor.Tenant, c.Actor.ID, c.Path("id")))
		}),
		api.Do(api.Route{Method: "GET", Pattern: "/tenants/{tenant}/users/{id}/sessions", Operation: "sessions.list", Summary: "List the sessions of a person", Permission: "read:session"},
			func(ctx context.Context, c *api.Call, _ api.None) (Page[SessionInfo], error) {
				return d.sessions(ctx, c, c.Tenant, c.Path("id"))
			}),
		api.Do(api.Route{Method: "DELETE", Pattern: "/tenants/{tenant}/users/{id}/sessions", Operation: "sessions.end", Summary: "End all sessions of a person", Permission: "delete:session"},
			func(ctx context.Context, c *api.Call, _ api.None) (api.None, error) {
				n, err := d.Sessions.RevokeAll(ctx, c.Tenant, c.Path("id"), "")
				if err == nil {
					c.Changed(c.Path("id"), nil, map[string]int{"ended": n})
				}
				return api.None{}, err
			}),
		api.Do(api.Route{Method: "POST", Pattern: "/tenants/{tenant}/users/{id}/invite", Operation: "users.invite", Summary: "Make a one-time link with which a person chooses a password", Permission: "write:credential", Secret: true},
			func(ctx context.Context, c *api.Call, _ api.None) (Invitation, error) {
				if err := d.mayReset(ctx, c); err != nil {
					return Invitation{}, err
				}
				tok, err := a.Invite(ctx, c.Path("id"))
				if err != nil {
					return Invitation{}, signinError(err)
				}
				c.Changed(c.Path("id"), nil, "invited")
				// In the fragment: a browser sends that to nobody, and no log has it.
				return Invitation{Link: "/console/link#" + tok.Reveal(), Expires: d.stamp().Add(account.LinkLife)}, nil
			}),
	}
}

// secretly marks a route whose answer or body nobody may keep.
func secretly(r api.Route) api.Route { r.Secret = true; return r }

// mayReset: who gives somebody a new way to sign in could use it, so they must hold what the person holds.
func (d *Deps) mayReset(ctx context.Context, c *api.Call) error {
	if _, _, err := get[directory.User](ctx, c, d.Docs); err != nil {
		return err
	}
	if c.Actor.ID == c.Path("id") { // whoever has their cookie is not yet them
		if err := c.Fresh("another way to sign in"); err != nil {
			return err
		}
	}
	return d.holdsAll(ctx, c, d.Docs, c.Path("id"))
}

func (d *Deps) sessions(ctx context.Context, c *api.Call, tenant, user string) (p Page[SessionInfo], err error) {
	ss, err := d.Sessions.List(ctx, tenant, user)
	for _, s := range ss {
		p.Items = append(p.Items, SessionInfo{s.ID, s.AMR, s.Created, s.Seen, d.Sessions.Ends(&s), s.Addr, s.Agent, s.ID == c.Actor.Session})
	}
	return p, err
}

// step answers a step of a sign-in.
func (d *Deps) step(c *api.Call, s account.Step, err error) (SignIn, error) {
	d.wait(c, err)
	if err != nil {
		return SignIn{}, signinError(err)
	}
	if !s.Token.Empty() {
		c.Cookie(session.Cookie(s.Token, d.Secure))
	}
	if !s.Device.Empty() {
		c.Cookie(&http.Cookie{Name: deviceCookie, Value: s.Device.Reveal(), Path: "/", MaxAge: 365 * 24 * 3600, Secure: d.Secure, HttpOnly: true, SameSite: http.SameSiteStrictMode})
	}
	out := SignIn{Next: s.Next, Ticket: s.Ticket.Reveal()}
	for _, r := range s.Recovery {
		out.Recovery = append(out.Recovery, r.Reveal())
	}
	return out, nil
}

// wait says when to try again.
func (d *Deps) wait(c *api.Call, err error) {
	var wait *account.WaitError
	if errors.As(err, &wait) {
		c.Header("Retry-After", strconv.Itoa(int((wait.After+time.Second-1)/time.Second)))
	}
}

// signinError says the same of everything that an outsider could learn something from.
func signinError(err error) error {
	var wait *account.WaitError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &wait):
		return api.Refuse(http.StatusTooManyRequests, "too_many_tries", "There were too many tries. Try again later.")
	case errors.Is(err, account.ErrRefused):
		return api.Refuse(http.StatusUnauthorized, "refused", "The name, password or code is not right.")
	case errors.Is(err, account.ErrTicket):
		return api.Refuse(http.StatusUnauthorized, "expired", "This link or sign-in is no longer valid; begin again.")
	case errors.Is(err, account.ErrFresh):
		return api.Refuse(http.StatusForbidden, "step_up_required", "Prove again who you are, with a second factor, and repeat the request.")
	case errors.Is(err, account.ErrLink):
		return api.Refuse(http.StatusForbidden, "link_needed", "Your second factor was reset. Use the link that your administrator gave you.")
	case errors.Is(err, account.ErrLast):
		return api.Refuse(http.StatusConflict, "last_factor", "This is your only second factor; set up another one first.")
	case errors.Is(err, account.ErrMany):
		return api.Refuse(http.StatusConflict, "too_many", "You have as many passkeys as there may be; remove one first.")
	case errors.Is(err, account.ErrName):
		return api.Refuse(http.StatusUnprocessableEntity, "invalid", "A name is 1 to 64 characters that can be printed.")
	case errors.Is(err, account.ErrNoPasskeys):
		return api.Refuse(http.StatusNotFound, "no_passkeys", "Passkeys cannot be used here: the configuration names no console.public_url that they could be for.")
	case errors.Is(err, session.ErrNone):
		return document.ErrNotFound
	case errors.Is(err, password.ErrBusy):
		return api.Refuse(http.StatusServiceUnavailable, "busy", "Too many people sign in at once. Try again.")
	}
	for _, weak := range []error{password.ErrShort, password.ErrLong, password.ErrText, password.ErrCommon, password.ErrName} {
		if errors.Is(err, weak) {
			return api.Refuse(http.StatusUnprocessableEntity, "weak_password", "%s", weak)
		}
	}
	return err
}
