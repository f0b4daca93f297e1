package jwtbearer

import (
	"slices"
	"testing"
	"time"

	"sallyport.dev/sallyport/internal/iam"
)

// Sallyport's own tokens name the actor as the principal, on behalf of the subject, with no more
// than what the token and the rule both allow.
func TestExchangedTokens(t *testing.T) {
	w := newWorld(t, func(i *Issuer) {
		i.Exchange = true
		i.Rules = []Rule{{Subject: "*", Kind: iam.KindAgent, Scopes: iam.Scopes{Upstreams: []string{"openai"}, Endpoints: []string{"*"}, Models: []string{"gpt-*"}}}}
	})
	const scope = "upstream:openai endpoint:chat.* model:gpt-5*"
	act := claims{"sub": "agent_b", "act": claims{"sub": "agent_a"}}
	base := func(kv ...any) string {
		return w.a.token(t, append([]any{"sub", "user_alice", "act", act, "scope", scope, "tenant", "acme", "parents", []string{"idp:77"}}, kv...)...)
	}
	id, err := w.Verify(ctx, base())
	if err != nil {
		t.Fatal(err)
	}
	if id.ID != "agent_b" || id.OnBehalfOf != "user_alice" || !slices.Equal(id.Actors, []string{"agent_b", "agent_a"}) || id.Tenant != "acme" || id.Scopes.Text() != scope {
		t.Errorf("%+v", id)
	}
	deep := claims{"sub": "agent_d", "act": claims{"sub": "agent_c", "act": act}}
	for name, c := range map[string]struct {
		edit []any
		want error
	}{
		"no actor":              {[]any{"act", nil}, errActor},
		"actor a text":          {[]any{"act", "agent_b"}, errActor},
		"actor of no name":      {[]any{"act", claims{}}, errActor},
		"no tenant":             {[]any{"tenant", nil}, errClaims},
		"parents no list":       {[]any{"parents", "idp:77"}, errClaims},
		"too many parents":      {[]any{"parents", []string{"a:1", "a:2", "a:3", "a:4", "a:5", "a:6", "a:7"}}, errClaims},
		"too many keys":         {[]any{"keys", []string{"a", "b", "c", "d"}}, errClaims},
		"keys of no name":       {[]any{"keys", []string{""}}, errClaims},
		"a chain of four":       {[]any{"act", deep}, errActor},
		"an actor twice":        {[]any{"act", claims{"sub": "agent_a", "act": claims{"sub": "agent_a"}}}, errActor},
		"the subject acts":      {[]any{"act", claims{"sub": "user_alice"}}, errActor},
		"no scope":              {[]any{"scope", nil}, errScope},
		"a scope of no model":   {[]any{"scope", "upstream:openai endpoint:chat.*"}, errScope},
		"a scope not known":     {[]any{"scope", scope + " tool:x"}, errScope},
		"a wider model":         {[]any{"scope", "upstream:openai endpoint:chat.* model:*"}, errScope},
		"another upstream":      {[]any{"scope", "upstream:anthropic endpoint:chat.* model:gpt-5*"}, errScope},
		"parents without names": {[]any{"parents", []any{1}}, errClaims},
	} {
		if got := refused(t, w.Verifier, base(c.edit...)); got != reason(c.want) {
			t.Errorf("%s: %q, want %q", name, got, reason(c.want))
		}
	}
	for name, r := range map[string]*Revoked{
		"what it was exchanged for": {Tokens: map[string]struct{}{"idp:77": {}}},
		"the person":                {Principals: map[string]time.Time{"user_alice": {}}},
		"the agent":                 {Principals: map[string]time.Time{"agent_b": {}}},
		"the person, in its tenant": {Tenants: map[string]*Revoked{"acme": {Principals: map[string]time.Time{"user_alice": {}}}}},
		"the agent before":          {Principals: map[string]time.Time{"agent_a": {}}},
	} {
		w.revoked.Set(r)
		if got := refused(t, w.Verifier, base()); got != reason(errRevoked) {
			t.Errorf("%s is revoked: %q", name, got)
		}
	}
	// What another tenant says of it is of no account.
	w.revoked.Set(&Revoked{Tenants: map[string]*Revoked{"other": {Tokens: map[string]struct{}{"idp:77": {}}, Principals: map[string]time.Time{"user_alice": {}}}}})
	if _, err := w.Verify(ctx, base()); err != nil {
		t.Errorf("revoked by another tenant: %v", err)
	}
}
