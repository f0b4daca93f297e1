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
	act := claims{"sub": "k8s:b", "act": claims{"sub": "k8s:a"}}
	base := func(kv ...any) string {
		return w.a.token(t, append([]any{"sub", "idp:alice", "act", act, "scope", scope, "tenant", "acme", "parents", []string{"idp:77"}}, kv...)...)
	}
	id, err := w.Verify(ctx, base())
	if err != nil {
		t.Fatal(err)
	}
	if id.ID != "k8s:b" || id.OnBehalfOf != "idp:alice" || !slices.Equal(id.Actors, []string{"k8s:b", "k8s:a"}) || id.Tenant != "acme" || id.Scopes.Text() != scope {
		t.Errorf("%+v", id)
	}
	deep := claims{"sub": "k8s:d", "act": claims{"sub": "k8s:c", "act": act}}
	for name, c := range map[string]struct {
		edit []any
		want error
	}{
		"no actor":              {[]any{"act", nil}, errActor},
		"actor a text":          {[]any{"act", "k8s:b"}, errActor},
		"actor of no name":      {[]any{"act", claims{}}, errActor},
		"actor of no issuer":    {[]any{"act", claims{"sub": "b"}}, errActor},
		"a chain of four":       {[]any{"act", deep}, errActor},
		"an actor twice":        {[]any{"act", claims{"sub": "k8s:a", "act": claims{"sub": "k8s:a"}}}, errActor},
		"the subject acts":      {[]any{"act", claims{"sub": "idp:alice"}}, errActor},
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
		"the person":                {Principals: map[string]time.Time{"idp:alice": {}}},
		"the agent":                 {Principals: map[string]time.Time{"k8s:b": {}}},
		"the agent before":          {Principals: map[string]time.Time{"k8s:a": {}}},
	} {
		w.Revoke(r)
		if got := refused(t, w.Verifier, base()); got != reason(errRevoked) {
			t.Errorf("%s is revoked: %q", name, got)
		}
	}
}
