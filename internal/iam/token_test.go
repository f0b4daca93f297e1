package iam_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"
	"pgregory.net/rapid"

	"sallyport.dev/sallyport/internal/gate"
	"sallyport.dev/sallyport/internal/iam"
	"sallyport.dev/sallyport/internal/iam/glob"
	"sallyport.dev/sallyport/internal/iam/jwks"
	"sallyport.dev/sallyport/internal/iam/jwtbearer"
)

type static []byte

func (s static) JWKS(context.Context) ([]byte, error) { return s, nil }

// tokenHouse is a house that believes one issuer, too.
type tokenHouse struct {
	*house
	key  *ecdsa.PrivateKey
	both *iam.IAM
}

func newTokenHouse(t *testing.T, scopes iam.Scopes) *tokenHouse {
	t.Helper()
	h := &tokenHouse{house: newHouse(t)}
	var err error
	if h.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		t.Fatal(err)
	}
	doc, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: h.key.Public(), KeyID: "k", Use: "sig"}}})
	if err != nil {
		t.Fatal(err)
	}
	set, err := jwks.New(jwks.Options{Source: static(doc), Now: h.clock})
	if err != nil {
		t.Fatal(err)
	}
	if err := set.Refresh(ctx); err != nil {
		t.Fatal(err)
	}
	v, err := jwtbearer.New(jwtbearer.Options{Now: h.clock, Issuers: []jwtbearer.Issuer{{
		Name: "idp", URL: "https://idp.example", Audiences: []string{"sallyport"}, Keys: set,
		Rules: []jwtbearer.Rule{{Subject: "*", Kind: iam.KindAgent, Scopes: scopes}},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	h.both, err = iam.New(iam.Options{Mode: iam.ModeKeys, Pepper: pepper, Keys: openStore(t, h.dir).Keys(), Now: h.clock, Tokens: v})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func (h *tokenHouse) mint(t *testing.T, aud string) string {
	t.Helper()
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: h.key, KeyID: "k"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	now := h.clock().Unix()
	raw, _ := json.Marshal(map[string]any{"iss": "https://idp.example", "sub": "agent-1", "aud": aud, "iat": now, "exp": now + 600})
	jws, err := s.Sign(raw)
	if err != nil {
		t.Fatal(err)
	}
	tok, err := jws.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

// A token authenticates a call as a key does, and its scopes limit it as a key's do.
func TestTokenAuthenticates(t *testing.T) {
	h := newTokenHouse(t, iam.Scopes{Upstreams: []string{"openai"}, Endpoints: []string{"chat.*"}, Models: []string{"gpt-5*"}})
	tok := h.mint(t, "sallyport")
	x := call(tok)
	if code, _, _ := admit(t, h.both, x); code != "" {
		t.Fatal(code)
	}
	if x.Principal.Kind != "agent" || x.Principal.ID != "idp:agent-1" || x.Record.Principal.ID != "idp:agent-1" || x.Record.Principal.Grant != nil {
		t.Errorf("%+v", x.Principal)
	}
	for name, edit := range map[string]func(*gate.Exchange){
		"another upstream": func(x *gate.Exchange) { x.Upstream = "anthropic" },
		"another endpoint": func(x *gate.Exchange) { x.Endpoint = "responses" },
		"another model":    func(x *gate.Exchange) { x.Reading.Model = "gpt-4" },
		"no model":         func(x *gate.Exchange) { x.Reading.Model = "" },
	} {
		x := call(tok)
		edit(x)
		if code, status, _ := admit(t, h.both, x); code != gate.CodeDenied || status != 403 {
			t.Errorf("%s: %q", name, code)
		}
	}
	// Keys go on as before, and a gateway without issuers takes no token.
	_, key := h.create(t, iam.NewKey{})
	if err := h.both.Refresh(ctx); err != nil {
		t.Fatal(err)
	}
	if code, _, _ := admit(t, h.both, call(key)); code != "" {
		t.Errorf("a key: %s", code)
	}
	if code, status, _ := admit(t, h.IAM, call(tok)); code != gate.CodeInvalidKey || status != 401 {
		t.Errorf("without issuers: %q", code)
	}
	for name, bad := range map[string]string{
		"for somebody else": h.mint(t, "other"), "one letter off": tok[:len(tok)-20] + "A" + tok[len(tok)-19:], "no signature": tok[:strings.LastIndex(tok, ".")+1],
		"four parts": tok + ".x", "a key with dots": "sp_live_aaaa.bbbb.cccc", "dots": "a..b", "nothing": "..", "too long": strings.Repeat("A", iam.MaxToken) + ".a.b",
	} {
		x := call(bad)
		if code, status, _ := admit(t, h.both, x); code != gate.CodeInvalidKey || status != 401 || x.Principal.Kind != iam.KindAnonymous {
			t.Errorf("%s: %q, %+v", name, code, x.Principal)
		}
	}
}

// One credential, in one header: whatever mix could be read by two readers as two callers is refused.
func TestTokenHeaderConfusion(t *testing.T) {
	h := newTokenHouse(t, all)
	tok, other := h.mint(t, "sallyport"), h.mint(t, "other")
	_, key := h.create(t, iam.NewKey{})
	if err := h.both.Refresh(ctx); err != nil {
		t.Fatal(err)
	}
	type hs = map[string][]string
	for name, c := range map[string]struct {
		header hs
		want   gate.Code
	}{
		"Bearer":                        {hs{"Authorization": {"Bearer " + tok}}, ""},
		"bearer":                        {hs{"Authorization": {"bearer " + tok}}, ""},
		"x-api-key":                     {hs{"X-Api-Key": {tok}}, ""},
		"the same in both":              {hs{"Authorization": {"Bearer " + tok}, "X-Api-Key": {tok}}, ""},
		"token and key":                 {hs{"Authorization": {"Bearer " + tok}, "X-Api-Key": {key}}, gate.CodeAmbiguous},
		"key and token":                 {hs{"Authorization": {"Bearer " + key}, "X-Api-Key": {tok}}, gate.CodeAmbiguous},
		"key and token, Azure's header": {hs{"Authorization": {"Bearer " + key}, "Api-Key": {tok}}, gate.CodeAmbiguous},
		"two tokens":                    {hs{"Authorization": {"Bearer " + tok}, "X-Api-Key": {other}}, gate.CodeAmbiguous},
		"the header twice":              {hs{"Authorization": {"Bearer " + tok, "Bearer " + tok}}, gate.CodeAmbiguous},
		"a list":                        {hs{"Authorization": {"Bearer " + tok + ", Bearer " + tok}}, gate.CodeAmbiguous},
		"token and Basic":               {hs{"Authorization": {"Basic dTpw"}, "X-Api-Key": {tok}}, gate.CodeAmbiguous},
		"another scheme with the token": {hs{"Authorization": {"DPoP " + tok}}, gate.CodeInvalidKey},
		"the token with a word behind":  {hs{"Authorization": {"Bearer " + tok + " x"}}, gate.CodeInvalidKey},
		"Bearer twice":                  {hs{"Authorization": {"Bearer Bearer " + tok}}, gate.CodeInvalidKey},
		"a token with a line break":     {hs{"X-Api-Key": {tok + "\n"}}, gate.CodeAmbiguous},
		"another audience's":            {hs{"Authorization": {"Bearer " + other}}, gate.CodeInvalidKey},
		"in the proxy's header":         {hs{"Proxy-Authorization": {"Bearer " + tok}}, gate.CodeInvalidKey},
		"key, and token empty":          {hs{"Authorization": {"Bearer " + key}, "X-Api-Key": {""}}, ""},
	} {
		x := call("")
		for k, v := range c.header {
			x.Header[k] = v
		}
		if code, _, _ := admit(t, h.both, x); code != c.want {
			t.Errorf("%s: %q, want %q", name, code, c.want)
		}
	}
}

type verifier struct {
	id  *iam.Identity
	err error
}

func (v verifier) Verify(context.Context, string) (*iam.Identity, error) { return v.id, v.err }

// A verifier that cannot decide closes: nobody passes, and nobody is told that the token is wrong.
func TestTokenUndecided(t *testing.T) {
	h := newHouse(t)
	for name, v := range map[string]verifier{
		"the issuer is away": {nil, jwks.ErrUnavailable}, "any error": {nil, errors.New("x")}, "no answer": {nil, nil},
	} {
		m, err := iam.New(iam.Options{Mode: iam.ModeKeys, Pepper: pepper, Keys: openStore(t, h.dir).Keys(), Now: h.clock, Tokens: v})
		if err != nil {
			t.Fatal(err)
		}
		x := call("a.b.c")
		d, err := m.Authenticate().Admit(ctx, x)
		if gate.FailureOf(err) != gate.FailIdentity || d.Denied() || x.Principal.Kind != iam.KindAnonymous {
			t.Errorf("%s: %v, %v", name, d, err)
		}
	}
	// A passed-through JWT is the provider's business.
	p, err := iam.New(iam.Options{Mode: iam.ModePassthrough, HashKey: make([]byte, 16), Tokens: verifier{nil, errors.New("asked")}})
	if err != nil {
		t.Fatal(err)
	}
	if code, _, _ := admit(t, p, call("a.b.c")); code != "" {
		t.Error(code)
	}
}

var patterns = rapid.StringMatching(`[ab*]{1,6}`)

// What one scope covers it allows, and what two have in common both allow.
func TestScopesCoverAndMeet(t *testing.T) {
	lists := rapid.SliceOfN(patterns, 1, 3)
	rapid.Check(t, func(t *rapid.T) {
		p, q := lists.Draw(t, "p"), lists.Draw(t, "q")
		s, u := iam.Scopes{Upstreams: p, Endpoints: p, Models: p}, iam.Scopes{Upstreams: q, Endpoints: q, Models: q}
		m := s.Meet(u)
		if !s.Covers(m) || !u.Covers(m) || !s.Covers(s) {
			t.Fatalf("%v %v meet in %v", p, q, m)
		}
		allows := func(l []string, x string) bool {
			for _, p := range l {
				if glob.Match(p, x) {
					return true
				}
			}
			return false
		}
		x := rapid.StringMatching(`[abc]{0,8}`).Draw(t, "x")
		if s.Covers(u) && allows(q, x) && !allows(p, x) {
			t.Fatalf("%v covers %v, but not %q", p, q, x)
		}
		if allows(m.Models, x) && (!allows(p, x) || !allows(q, x)) {
			t.Fatalf("%v meets %v in %v, which allows %q", p, q, m.Models, x)
		}
		back, err := iam.ParseScopes(s.Text())
		if err != nil || !reflect.DeepEqual(back, s) {
			t.Fatalf("%q: %v, %v", s.Text(), back, err)
		}
	})
}

// A new kind of scope must be written, read, covered and met, or a narrower token would not be.
func TestEveryScopeIsInText(t *testing.T) {
	full := iam.Scopes{}
	v := reflect.ValueOf(&full).Elem()
	for i := range v.NumField() {
		if v.Field(i).Type() != reflect.TypeFor[[]string]() {
			t.Fatalf("%s is no list; Text, ParseScopes, Covers and Meet must learn of it", v.Type().Field(i).Name)
		}
		v.Field(i).Set(reflect.ValueOf([]string{"x"}))
	}
	back, err := iam.ParseScopes(full.Text())
	if err != nil || !reflect.DeepEqual(back, full) {
		t.Fatalf("%q: %+v, %v", full.Text(), back, err)
	}
	for i := range v.NumField() {
		less := full
		reflect.ValueOf(&less).Elem().Field(i).Set(reflect.ValueOf([]string(nil)))
		if less.Covers(full) || !less.Void() || !full.Meet(less).Void() {
			t.Errorf("%s does not count", v.Type().Field(i).Name)
		}
	}
}

func TestParseScopesRefuses(t *testing.T) {
	for _, s := range []string{"", " ", "model:", ":x", "model", "tool:x", "Model:x", "model:a  model:b", " model:a", "model:a ", "model:a\tmodel:b", "model:\"", `model:\`, "model:\u00e4",
		"model:" + strings.Repeat("x", 201), strings.TrimSpace(strings.Repeat("model:x ", 65)), strings.Repeat("x", iam.MaxScopeText+1)} {
		if got, err := iam.ParseScopes(s); err == nil {
			t.Errorf("%q: %+v", s, got)
		}
	}
}
