package admin

import (
	"context"
	"net/http"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"sallyport.dev/sallyport/internal/console/api"
	"sallyport.dev/sallyport/internal/iam/account"
	"sallyport.dev/sallyport/internal/iam/passkey"
	"sallyport.dev/sallyport/internal/iam/session"
	"sallyport.dev/sallyport/internal/secret"
)

// PasskeyPrompt is what a page gives to the browser, in the terms of Web Authentication Level 3 sections 5.4
// and 5.5, and the ticket to send back with the answer, once, within five minutes.
type PasskeyPrompt struct {
	Ticket  string         `json:"ticket"`
	Options jsontext.Value `json:"options"`
}

// PasskeyAnswer is the browser's answer.
type PasskeyAnswer struct {
	Ticket string         `json:"ticket"`
	Answer jsontext.Value `json:"answer"`
}

// NewPasskey is the browser's answer that makes a passkey.
type NewPasskey struct {
	Ticket string         `json:"ticket"`
	Name   string         `json:"name"`
	Answer jsontext.Value `json:"answer"`
}

// PasskeyName names one.
type PasskeyName struct {
	Name string `json:"name"`
}

// PasskeyInfo is a passkey as it is shown.
type PasskeyInfo struct {
	ID             string    `json:"id"`
	Name           string    `json:"name"`
	BackupEligible bool      `json:"backup_eligible"` // it may be on several devices
	BackedUp       bool      `json:"backed_up"`
	Created        time.Time `json:"created"`
	Used           time.Time `json:"used,omitzero"`
}

// PasskeysHere says whether passkeys can be used with this console.
type PasskeysHere struct {
	Enabled bool `json:"enabled"`
}

func infoOf(k *passkey.Key) PasskeyInfo {
	return PasskeyInfo{k.ID, k.Name, k.BackupEligible, k.BackedUp, k.Created, k.Used}
}

func asked(p account.Prompt, err error) (PasskeyPrompt, error) {
	return PasskeyPrompt{p.Ticket.Reveal(), p.Options}, signinError(err)
}

// passkeys are the routes of signing in with passkeys, and of one's own.
func (d *Deps) passkeys() []api.Route {
	if d.Accounts == nil {
		return nil
	}
	a := d.Accounts
	public := func(method, path, name, summary string) api.Route {
		return api.Route{Method: method, Pattern: path, Operation: "signin." + name, Summary: summary, Permission: api.Public, Secret: method == http.MethodPost}
	}
	self := func(method, path, name, summary string) api.Route {
		return api.Route{Method: method, Pattern: path, Operation: "me." + name, Summary: summary, Permission: api.Self}
	}
	return []api.Route{
		api.Do(public("GET", "/signin/passkey", "passkeys", "Say whether passkeys can be used here"), func(context.Context, *api.Call, api.None) (PasskeysHere, error) {
			return PasskeysHere{a.HasPasskeys()}, nil
		}),
		api.Do(public("POST", "/signin/passkey", "passkey", "Ask for any passkey, to sign in with it alone"), func(ctx context.Context, c *api.Call, _ api.None) (PasskeyPrompt, error) {
			p, err := a.AskSignIn(ctx, from(c.Request()))
			d.wait(c, err)
			return asked(p, err)
		}),
		api.Do(public("POST", "/signin/second/passkey", "second_passkey", "Ask for a passkey as the second factor"), func(ctx context.Context, _ *api.Call, in Ticket) (PasskeyPrompt, error) {
			return asked(a.AskSecond(ctx, secret.New(in.Ticket)))
		}),
		api.Do(public("POST", "/signin/passkey/answer", "passkey_answer", "Sign in with a passkey's answer"), func(ctx context.Context, c *api.Call, in PasskeyAnswer) (SignIn, error) {
			s, err := a.Answer(ctx, secret.New(in.Ticket), in.Answer, from(c.Request()))
			return d.step(c, s, err)
		}),
		api.Do(public("POST", "/signin/enrol/passkey", "enrol_passkey", "Begin to set up a passkey as the first second factor"), func(ctx context.Context, _ *api.Call, in Ticket) (PasskeyPrompt, error) {
			return asked(a.AskEnrol(ctx, secret.New(in.Ticket)))
		}),
		api.Do(public("POST", "/signin/confirm/passkey", "confirm_passkey", "Set up a passkey as the first second factor"), func(ctx context.Context, c *api.Call, in NewPasskey) (SignIn, error) {
			s, err := a.Enrol(ctx, secret.New(in.Ticket), in.Name, in.Answer, from(c.Request()))
			return d.step(c, s, err)
		}),
		api.Do(self("POST", "/me/step-up/passkey", "step_up_passkey", "Ask for a passkey, to prove again who you are"), func(ctx context.Context, c *api.Call, _ api.None) (PasskeyPrompt, error) {
			return asked(a.AskStepUp(ctx, d.token(c)))
		}),
		api.Do(self("POST", "/me/step-up/passkey/answer", "step_up_answer", "Prove again who you are with a passkey's answer"), func(ctx context.Context, c *api.Call, in PasskeyAnswer) (api.None, error) {
			_, next, err := a.AnswerStepUp(ctx, d.token(c), secret.New(in.Ticket), in.Answer, from(c.Request()))
			return d.rotated(c, next, err)
		}),
		api.Do(self("POST", "/me/passkeys/begin", "begin_passkey", "Begin to add a passkey"), func(ctx context.Context, c *api.Call, _ api.None) (PasskeyPrompt, error) {
			return asked(a.AskAdd(ctx, d.token(c)))
		}),
		api.Do(self("POST", "/me/passkeys", "add_passkey", "Add a passkey; every other session ends"), func(ctx context.Context, c *api.Call, in NewPasskey) (PasskeyInfo, error) {
			k, _, next, err := a.Add(ctx, d.token(c), secret.New(in.Ticket), in.Name, in.Answer, from(c.Request()))
			if err == nil {
				c.Changed(c.Actor.ID, nil, infoOf(&k))
			}
			_, err = d.rotated(c, next, err)
			return infoOf(&k), err
		}),
		api.Do(self("PUT", "/me/passkeys/{id}", "name_passkey", "Name one of the own passkeys"), func(ctx context.Context, c *api.Call, in PasskeyName) (api.None, error) {
			return api.None{}, signinError(a.NamePasskey(ctx, d.token(c), c.Path("id"), in.Name))
		}),
		api.Do(self("DELETE", "/me/passkeys/{id}", "remove_passkey", "Remove one of the own passkeys; every other session ends"), func(ctx context.Context, c *api.Call, _ api.None) (api.None, error) {
			_, next, err := a.RemovePasskey(ctx, d.token(c), c.Path("id"), from(c.Request()))
			if err == nil {
				c.Changed(c.Actor.ID, c.Path("id"), nil)
			}
			return d.rotated(c, next, err)
		}),
	}
}

// token is that of the session that a request came with.
func (d *Deps) token(c *api.Call) secret.String {
	tok, _ := session.Token(c.Request(), d.Secure)
	return tok
}

// rotated gives the browser the session's new token.
func (d *Deps) rotated(c *api.Call, next secret.String, err error) (api.None, error) {
	if err == nil {
		c.Cookie(session.Cookie(next, d.Secure))
	}
	d.wait(c, err)
	return api.None{}, signinError(err)
}
