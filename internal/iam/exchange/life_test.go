package exchange_test

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"sallyport.dev/sallyport/internal/gate"
	"sallyport.dev/sallyport/internal/iam"
	"sallyport.dev/sallyport/internal/iam/directory"
	"sallyport.dev/sallyport/internal/iam/document"
	"sallyport.dev/sallyport/internal/iam/exchange"
	"sallyport.dev/sallyport/internal/iam/revocation"
)

// After it was issued a token is worth what the directory says at the moment.
func TestATokenIsJudgedAtEveryCall(t *testing.T) {
	h := newHouse(t)
	id, key := h.key(iam.NewKey{Detail: iam.Detail{Principal: "agent_a"}})
	for name, c := range map[string]struct {
		undo, do func()
		why      string
	}{
		"the person is deprovisioned": {
			do:   func() { change(h, "user_p", func(u *directory.User) { u.Active = false }) },
			undo: func() { change(h, "user_p", func(u *directory.User) { u.Active = true }) }, why: "on behalf of: person is not active"},
		"the agent is switched off": {
			do:   func() { change(h, "agent_a", func(a *directory.Agent) { a.Disabled = true }) },
			undo: func() { change(h, "agent_a", func(a *directory.Agent) { a.Disabled = false }) }, why: "actor: agent is disabled"},
		"the agent acts for others now": {
			do:   func() { change(h, "agent_a", func(a *directory.Agent) { a.For = []string{"user_q"} }) },
			undo: func() { change(h, "agent_a", func(a *directory.Agent) { a.For = []string{"user_p"} }) }, why: "actor may not act for this person"},
		"the tenant is disabled": {
			do:   func() { change(h, "acme", func(t *directory.Tenant) { t.Disabled = true }) },
			undo: func() { change(h, "acme", func(t *directory.Tenant) { t.Disabled = false }) }, why: "on behalf of: tenant is disabled"},
	} {
		r := h.get(key, h.person())
		if _, bad := h.call(r.Token); bad != "" {
			t.Fatal(bad)
		}
		c.do()
		if _, bad := h.call(r.Token); bad != c.why {
			t.Errorf("%s: %q, want %q", name, bad, c.why)
		}
		c.undo()
		if _, bad := h.call(r.Token); bad != "" {
			t.Errorf("%s, and back: %s", name, bad)
		}
	}
	// The person is gone for good, and so is the agent of another token.
	r := h.get(key, h.person())
	// The key behind it: its secret is replaced at once, then it is revoked.
	h.advance(2 * time.Second)
	if _, _, err := h.keys.Rotate(ctx, id, 0); err != nil {
		t.Fatal(err)
	}
	h.see()
	if _, bad := h.call(r.Token); bad != "the secret of the actor's key was rotated away" {
		t.Error(bad)
	}
	_, again := h.key(iam.NewKey{Detail: iam.Detail{Principal: "agent_a", Tools: []string{"search"}, Data: []string{}}, CIDRs: []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}})
	r = h.get(again, h.person())
	x, bad := h.call(r.Token)
	if bad != "" || len(iam.KeysOf(&x.Principal)) != 1 {
		t.Fatal(bad)
	}
	// What limits the key limits the token.
	x.Reading.Tools = []string{"shell"}
	if d, _ := h.who.Authorize().Admit(ctx, x); d.Reason != "a tool outside the key's scope" {
		t.Errorf("%+v", d)
	}
	x.Record.Findings = []gate.Finding{{Direction: gate.Request, Category: gate.Secret}}
	if d, _ := h.who.Data().Admit(ctx, x); !d.Denied() {
		t.Errorf("%+v", d)
	}
	x.ClientAddr = netip.MustParseAddr("198.51.100.1")
	if d, _ := h.who.Authenticate().Admit(ctx, x); d.Reason != "the actor's address outside the key's ranges" {
		t.Errorf("%+v", d)
	}
	if _, err := h.keys.Revoke(ctx, payload(t, r.Token)["keys"].([]any)[0].(string)); err != nil {
		t.Fatal(err)
	}
	h.see()
	if _, bad := h.call(r.Token); bad != "the actor's key is revoked" {
		t.Error(bad)
	}
	if why := h.refused(h.agent("b"), r.Token, "invalid_request", "subject_token_type", exchange.TypeAccessToken); why != "subject: the actor's key is revoked" {
		t.Error(why)
	}
	// A link that was taken away makes no more tokens, though memory might still know it.
	if _, _, _, err := document.Update(ctx, h.docs, "user_p", 0, func(u *directory.User) error { u.Links = nil; return nil }); err != nil {
		t.Fatal(err)
	}
	if why := h.refused(h.agent("a"), h.person(), "invalid_request"); why != "subject is nobody of the directory" {
		t.Error(why)
	}
}

// Whatever a token was exchanged for takes it along, and so does the end of all that somebody was issued; what
// another tenant says ends nothing; and what is revoked is not exchanged.
func TestParentsThatAreRevoked(t *testing.T) {
	for name, c := range map[string]struct {
		tenant, token, principal string
		exchanged                string // why the person's token is refused, if it is
		passes                   bool
	}{
		"the person's token":             {tenant: "acme", token: "corp:p-1", exchanged: "subject token: revoked"},
		"the agent's token":              {tenant: "acme", token: "ci:agent-a-1", exchanged: "client: token: revoked"},
		"all of the person":              {tenant: "acme", principal: "user_p"},
		"all of the agent":               {tenant: "acme", principal: "agent_a"},
		"all of the issuer's person":     {tenant: "acme", principal: "corp:p", exchanged: "subject token: revoked", passes: true},
		"by the platform":                {tenant: "system", token: "corp:p-1", exchanged: "subject token: revoked"},
		"by another tenant":              {tenant: "other", token: "corp:p-1", passes: true},
		"by another tenant, the person":  {tenant: "other", principal: "user_p", passes: true},
		"the first of a chain, by token": {tenant: "acme", token: "chain"},
	} {
		h := newHouse(t)
		one := h.get(h.agent("a"), h.person())
		two := h.get(h.agent("b"), one.Token, "subject_token_type", exchange.TypeJWT)
		if c.token == "chain" {
			c.token = "sallyport:" + payload(t, one.Token)["jti"].(string)
		}
		r := revocation.New(c.tenant, c.token, c.principal, h.now)
		if err := r.Check(); err != nil {
			t.Fatal(err)
		}
		put(h, r)
		h.see()
		for which, token := range map[string]string{"one": one.Token, "two": two.Token} {
			if _, bad := h.call(token); (bad == "") != c.passes || !c.passes && bad != "token: revoked" {
				t.Errorf("%s: %s: %q", name, which, bad)
			}
		}
		if c.exchanged == "" {
			h.now = h.now.Add(time.Second) // what is issued later is not concerned
			h.see()
			h.get(h.agent("a"), h.person("jti", "later"))
			continue
		}
		code := "invalid_request"
		if strings.HasPrefix(c.exchanged, "client") {
			code = "invalid_client"
		}
		if why := h.refused(h.agent("a"), h.person("iat", h.now.Add(-time.Second).Unix()), code); why != c.exchanged {
			t.Errorf("%s: %q, want %q", name, why, c.exchanged)
		}
		// A day later it concerns no token any more.
		if n, err := revocation.Sweep(ctx, h.docs, r.Created.Add(revocation.Keep-time.Minute)); n != 0 || err != nil {
			t.Errorf("taken away too early: %d, %v", n, err)
		}
		if n, err := revocation.Sweep(ctx, h.docs, r.Created.Add(revocation.Keep+time.Minute)); n != 1 || err != nil {
			t.Errorf("%d taken away, %v", n, err)
		}
	}
	for _, r := range []revocation.Revocation{{}, {Token: "a:b", Principal: "c"}, {Token: "ab"}, {Token: ":b"}, {Token: "a:"}, {Principal: "a\n"}, {Principal: strings.Repeat("a", 513)}} {
		if r.Check() == nil {
			t.Errorf("%+v passes", r)
		}
	}
}

// The signing keys are rotated under tokens: each is good until its own end.
func TestTokensOutliveTheRotation(t *testing.T) {
	h := newHouse(t)
	var last reply
	for range 100 {
		h.now = h.now.Add(15*time.Minute - time.Second)
		if err := h.signing.Upkeep(ctx); err != nil {
			t.Fatal(err)
		}
		h.see()
		if last.Token != "" {
			if _, bad := h.call(last.Token); bad != "" {
				t.Fatalf("at %v: %s", h.now, bad)
			}
		}
		last = h.get(h.agent("a"), h.person())
	}
}
