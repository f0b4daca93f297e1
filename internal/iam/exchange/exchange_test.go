package exchange_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"sallyport.dev/sallyport/internal/gate"
	"sallyport.dev/sallyport/internal/iam"
	"sallyport.dev/sallyport/internal/iam/directory"
	"sallyport.dev/sallyport/internal/iam/exchange"
)

// The token names the person and the agent, is for us, is short, and allows what both may.
func TestAnAgentGetsATokenForAPerson(t *testing.T) {
	h := newHouse(t)
	r := h.get(h.agent("a"), h.person())
	if r.IssuedType != exchange.TypeAccessToken || r.Type != "Bearer" || r.ExpiresIn != 900 || r.Scope != "upstream:openai endpoint:chat.* model:gpt-5*" {
		t.Errorf("%s", r.Text)
	}
	c := payload(t, r.Token)
	if act, _ := json.Marshal(c["act"]); c["iss"] != own || c["aud"] != own || c["sub"] != "user_p" || string(act) != `{"sub":"agent_a"}` || c["tenant"] != "acme" || c["client_id"] != "agent_a" ||
		c["exp"].(float64)-c["iat"].(float64) != 900 || fmt.Sprint(c["parents"]) != "[ci:agent-a-1 corp:p-1]" || c["keys"] != nil {
		t.Errorf("%v", c)
	}
	x, bad := h.call(r.Token)
	p := x.Record.Principal
	if bad != "" || p.Kind != "agent" || p.ID != "agent_a" || p.Holder != "agent_a" || p.OnBehalfOf != "user_p" || p.Tenant != "acme" || p.Grant != nil {
		t.Errorf("%s %+v", bad, p)
	}
	n := h.last()
	if n["ok"] != "true" || n["agent"] != "agent_a" || n["user"] != "user_p" || n["tenant"] != "acme" || n["issuer"] != "corp" || n["subject"] != "p" || n["ip"] != "203.0.113.7" ||
		n["token"] != "sallyport:"+c["jti"].(string) || n["scope"] != r.Scope {
		t.Errorf("%v", n)
	}
	for _, s := range []string{r.Token, h.person(), h.agent("a")} {
		if sig := s[strings.LastIndex(s, ".")+1:]; strings.Contains(fmt.Sprint(h.notes), sig) {
			t.Error("a token is in the record")
		}
	}
	// By another claim, and narrower than possible; as an access token, for a named audience and resource.
	v := form(h.token("hr", "somebody", "chat-app", "employee", claims{"id": "q-7"}), "scope", "upstream:openai endpoint:chat.completions model:gpt-5-mini", "subject_token_type", exchange.TypeAccessToken)
	v["audience"], v["resource"] = []string{own}, []string{own, own}
	if r := h.post(h.agent("a"), v.Encode()); r.Status != 200 || payload(t, r.Token)["sub"] != "user_q" || r.Scope != v.Get("scope") {
		t.Errorf("%s", r.Text)
	}
}

// An API key and a certificate prove an agent, too.
func TestWhatAnAgentProvesItselfWith(t *testing.T) {
	h := newHouse(t)
	id, key := h.key(iam.NewKey{Detail: iam.Detail{Principal: "agent_a"}, Expires: h.now.Add(5 * time.Minute)})
	r := h.get(key, h.person())
	if c := payload(t, r.Token); r.ExpiresIn != 300 || fmt.Sprint(c["keys"]) != "["+id+"]" || fmt.Sprint(c["parents"]) != "[corp:p-1]" {
		t.Errorf("%v", c)
	}
	if _, bad := h.call(r.Token); bad != "" {
		t.Error(bad)
	}
	// In the header that some SDKs use.
	if r := h.post("", form(h.person()).Encode(), func(r *http.Request) { r.Header.Set("X-Api-Key", key) }); r.Status != 200 {
		t.Errorf("%s", r.Text)
	}
}

// What ends first ends the token.
func TestTheTokenIsTheShortest(t *testing.T) {
	h := newHouse(t)
	if r := h.get(h.agent("a"), h.person("exp", h.now.Add(100*time.Second).Unix())); r.ExpiresIn != 100 {
		t.Errorf("the subject ends in 100 s: %d", r.ExpiresIn)
	}
	actor := h.token("ci", "agent-a", "sallyport", "exp", h.now.Add(50*time.Second).Unix())
	r := h.get(actor, h.person())
	if r.ExpiresIn != 50 {
		t.Errorf("the actor ends in 50 s: %d", r.ExpiresIn)
	}
	h.advance(115 * time.Second) // and what two clocks may differ by
	if _, bad := h.call(r.Token); bad != "token: expired" {
		t.Errorf("after its end: %q", bad)
	}
	// A token that is taken only for the sake of clocks that differ is not made longer by that.
	subject := h.person("exp", h.now.Add(10*time.Second).Unix())
	h.now = h.now.Add(20 * time.Second)
	if why := h.refused(h.agent("a"), subject, "invalid_request"); why != "subject or actor has ended" {
		t.Error(why)
	}
}

func TestSubjectTokensThatAreRefused(t *testing.T) {
	h := newHouse(t)
	stranger, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	public, err := x509.MarshalPKIXPublicKey(h.issuers["corp"].key.Public())
	if err != nil {
		t.Fatal(err)
	}
	none := func() string {
		parts := strings.Split(h.person(), ".")
		return "eyJhbGciOiJub25lIiwia2lkIjoiayJ9." + parts[1] + "."
	}
	for name, c := range map[string]struct {
		token func() string
		why   string
	}{
		"for another audience":            {func() string { return h.person("aud", "another-app") }, "subject token: for another audience"},
		"for nobody":                      {func() string { return h.person("aud", nil) }, "subject token: for another audience"},
		"for the gateway, not the client": {func() string { return h.person("aud", "sallyport") }, "subject token: for another audience"},
		"expired": {func() string {
			return h.person("iat", h.now.Add(-time.Hour).Unix(), "exp", h.now.Add(-2*time.Minute).Unix())
		}, "subject token: expired"},
		"not valid yet":      {func() string { return h.person("nbf", h.now.Add(10*time.Minute).Unix()) }, "subject token: not valid yet"},
		"without end":        {func() string { return h.person("exp", nil) }, "subject token: exp or iat is missing or no time"},
		"of a day":           {func() string { return h.person("exp", h.now.Add(24*time.Hour).Unix()) }, "subject token: lives longer than accepted"},
		"nobody's":           {func() string { return h.person("sub", "stranger") }, "subject is nobody of the directory"},
		"of another tenant":  {func() string { return h.person("sub", "o") }, "subject is nobody of the directory"},
		"deprovisioned":      {func() string { return h.person("sub", "off") }, "person is not active"},
		"another issuer's":   {func() string { return h.person("iss", "https://evil.example") }, "subject token: unknown issuer"},
		"said by another":    {func() string { return h.token("hr", "p", "chat-app") }, "subject token: no rule fits"},
		"linked elsewhere":   {func() string { return h.token("hr", "x", "chat-app", "employee", claims{"id": "p"}) }, "subject is nobody of the directory"},
		"a list of people":   {func() string { return h.token("hr", "x", "chat-app", "employee", claims{"id": []string{"q-7"}}) }, "subject token: no rule fits"},
		"with an act":        {func() string { return h.person("act", claims{"sub": "agent_a"}) }, "subject token: act or may_act cannot be read"},
		"a self-made act":    {func() string { return h.person("act", claims{"sub": "agent_b", "act": claims{"sub": "agent_c"}}) }, "subject token: act or may_act cannot be read"},
		"may_act of another": {func() string { return h.person("may_act", claims{"sub": "agent-b", "iss": "https://ci.example"}) }, "may_act names another party"},
		"may_act there":      {func() string { return h.person("may_act", claims{"sub": "agent-a"}) }, "may_act names another party"},
		"may_act by name":    {func() string { return h.person("may_act", claims{"sub": "a", "iss": own}) }, "may_act names another party"},
		"may_act with more":  {func() string { return h.person("may_act", claims{"sub": "agent_a", "iss": own, "aud": "x"}) }, "subject token: act or may_act cannot be read"},
		"may_act of no form": {func() string { return h.person("may_act", "agent_a") }, "subject token: act or may_act cannot be read"},
		"a stranger's key":   {func() string { return sign(t, jose.ES256, "k", stranger, h.claims("corp", "p", "chat-app")) }, "subject token: wrong signature"},
		"an unknown key id": {func() string {
			return sign(t, jose.ES256, "k2", h.issuers["corp"].key, h.claims("corp", "p", "chat-app"))
		}, "subject token: unknown key"},
		"another issuer's key": {func() string {
			return sign(t, jose.ES256, "k", h.issuers["hr"].key, h.claims("corp", "p", "chat-app"))
		}, "subject token: wrong signature"},
		"HMAC by the public key": {func() string { return byHMAC(public, h.person()) }, "subject token: algorithm not accepted"},
		"alg none":               {none, "subject token: not three parts of base64url, or too long"},
		"no token":               {func() string { return "sp_live_x" }, "subject token: not three parts of base64url, or too long"},
		"the agent's own":        {func() string { return h.agent("a") }, "subject token: unknown issuer"},
		"called ours": {func() string {
			return sign(t, jose.ES256, "k", h.issuers["corp"].key, h.claims("corp", "user_p", own, "iss", own, "act", claims{"sub": "agent_b"}, "tenant", "acme", "scope", "upstream:* endpoint:* model:*"))
		}, "subject token: lives longer than accepted"},
		"called ours, and short": {func() string {
			return sign(t, jose.ES256, "k", h.issuers["corp"].key, h.claims("corp", "user_p", own, "iss", own, "act", claims{"sub": "agent_b"}, "tenant", "acme", "scope", "upstream:* endpoint:* model:*", "exp", h.now.Add(time.Minute).Unix()))
		}, "subject token: unknown key"},
	} {
		if why := h.refused(h.agent("a"), c.token(), "invalid_request"); why != c.why {
			t.Errorf("%s: %q, want %q", name, why, c.why)
		}
	}
	// A may_act that names the agent, however the agent is known.
	for _, may := range []claims{{"sub": "agent-a", "iss": "https://ci.example"}, {"sub": "agent_a", "iss": own}, {"sub": "spiffe://acme/a"}} {
		h.get(h.agent("a"), h.person("may_act", may))
	}
	// What the caller is told does not depend on who exists.
	a, b := h.post(h.agent("a"), form(h.person("sub", "stranger")).Encode()), h.post(h.agent("nobody"), form(h.person()).Encode())
	if a.Text != b.Text {
		t.Errorf("%s and %s", a.Text, b.Text)
	}
}

// byHMAC signs a token's claims anew with a public key as the secret.
func byHMAC(secret []byte, token string) string {
	in := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"HS256","kid":"k","typ":"JWT"}`)) + "." + strings.Split(token, ".")[1]
	m := hmac.New(sha256.New, secret)
	m.Write([]byte(in))
	return in + "." + base64.RawURLEncoding.EncodeToString(m.Sum(nil))
}

// Who may not ask: who is no agent, or may not act for this person, or acts for somebody already.
func TestActorsThatAreRefused(t *testing.T) {
	h := newHouse(t)
	_, nobodys := h.key(iam.NewKey{})
	_, persons := h.key(iam.NewKey{Detail: iam.Detail{Principal: "user_p"}})
	_, services := h.key(iam.NewKey{Detail: iam.Detail{Principal: "service_s"}})
	_, elsewhere := h.key(iam.NewKey{Tenant: "other", Detail: iam.Detail{Principal: "agent_o"}})
	_, narrow := h.key(iam.NewKey{Detail: iam.Detail{Principal: "agent_a"}, CIDRs: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}})
	_, bound := h.key(iam.NewKey{Detail: iam.Detail{Principal: "agent_a", SPIFFE: []string{"spiffe://acme/a"}}})
	for name, c := range map[string]struct {
		credential func() string
		code, why  string
	}{
		"a key of nobody":                {func() string { return nobodys }, "unauthorized_client", "client: nobody of the directory"},
		"a person's key":                 {func() string { return persons }, "unauthorized_client", "client: no agent in good standing"},
		"a service's key":                {func() string { return services }, "unauthorized_client", "client: no agent in good standing"},
		"a service's token":              {func() string { return h.token("ci", "service-s", "sallyport") }, "unauthorized_client", "client: no agent in good standing"},
		"an agent nobody knows":          {func() string { return h.token("ci", "agent-x", "sallyport") }, "unauthorized_client", "client: nobody of the directory"},
		"an agent of another tenant":     {func() string { return elsewhere }, "invalid_request", "subject of another tenant"},
		"its token":                      {func() string { return h.token("ci", "agent-o", "sallyport") }, "invalid_request", "subject of another tenant"},
		"an agent for nobody":            {func() string { return h.agent("nobody") }, "invalid_request", "agent may not act for this person"},
		"nobody":                         {func() string { return "" }, "invalid_client", "client: no key"},
		"a wrong key":                    {func() string { return nobodys[:len(nobodys)-3] + "abc" }, "invalid_client", "client: not a well-formed key"},
		"the person's own token":         {func() string { return h.person() }, "invalid_client", "client: token: unknown issuer"},
		"a token of the wrong audience":  {func() string { return h.token("ci", "agent-a", "other") }, "invalid_client", "client: token: for another audience"},
		"a key from elsewhere":           {func() string { return narrow }, "invalid_client", "client: address outside the key's ranges"},
		"a key without its certificate":  {func() string { return bound }, "invalid_client", "client: certificate outside the key's SPIFFE ids"},
		"a token that acts for somebody": {func() string { return h.get(h.agent("b"), h.person()).Token }, "unauthorized_client", "client: acts for somebody already, or is not known by a key, token or certificate"},
	} {
		if why := h.refused(c.credential(), h.person(), c.code); why != c.why {
			t.Errorf("%s: %q, want %q", name, why, c.why)
		}
	}
	change(h, "agent_a", func(a *directory.Agent) { a.Disabled = true })
	if why := h.refused(h.agent("a"), h.person(), "invalid_client"); why != "client: agent is disabled" {
		t.Error(why)
	}
	h.advance(2 * time.Minute)
	if r := h.post("", form(h.person()).Encode()); r.Status != 401 || r.Header.Get("WWW-Authenticate") == "" {
		t.Errorf("%d %v", r.Status, r.Header)
	}
	h.advance(2 * time.Minute)
	if r := h.post(nobodys, form(h.person()).Encode(), func(r *http.Request) { r.Header.Set("X-Api-Key", persons) }); r.Status != 401 {
		t.Errorf("two credentials: %s", r.Text)
	}
}

// What may be done is never more than all of them may.
func TestScopesAreNeverWidened(t *testing.T) {
	h := newHouse(t)
	const possible = "upstream:openai endpoint:chat.* model:gpt-5*"
	for name, ask := range map[string]string{
		"a wider model":       "upstream:openai endpoint:chat.* model:gpt-*",
		"what the agent may":  "upstream:openai endpoint:chat.* model:gpt-4",
		"what the person may": "upstream:openai endpoint:embeddings model:gpt-5",
		"everything":          "upstream:* endpoint:* model:*",
		"something else":      possible + " tool:x",
		"no model":            "upstream:openai endpoint:chat.*",
		"nonsense":            "a b",
		"two spaces":          "upstream:openai  endpoint:chat.* model:gpt-5",
		"a quote":             `upstream:openai endpoint:chat.* model:gpt-5"`,
	} {
		if why := h.refused(h.agent("a"), h.person(), "invalid_scope", "scope", ask); !strings.HasPrefix(why, "scope: ") {
			t.Errorf("%s: %s", name, why)
		}
	}
	_, key := h.key(iam.NewKey{Detail: iam.Detail{Principal: "agent_a"}, Scopes: iam.Scopes{Upstreams: star, Endpoints: star, Models: []string{"claude-*"}}})
	if why := h.refused(key, h.person(), "invalid_scope"); why != "scope: nothing that both may" {
		t.Error(why)
	}
	r := h.get(h.agent("a"), h.person(), "scope", "upstream:openai endpoint:chat.completions model:gpt-5")
	if _, bad := h.call(r.Token); bad != "" {
		t.Error(bad)
	}
	// In a chain, too: the second gets no more than the first had.
	if why := h.refused(h.agent("b"), r.Token, "invalid_scope", "subject_token_type", exchange.TypeAccessToken, "scope", possible); why == "" {
		t.Error("a chain widens the scope")
	}
	if r = h.get(h.agent("b"), r.Token, "subject_token_type", exchange.TypeAccessToken); r.Scope != "upstream:openai endpoint:chat.completions model:gpt-5" {
		t.Errorf("%s", r.Scope)
	}
}

// A token may be handed on to at most two more agents, each of which may act for the person itself.
func TestChains(t *testing.T) {
	h := newHouse(t)
	jwt := func(credential, subject string) reply {
		h.t.Helper()
		return h.get(credential, subject, "subject_token_type", exchange.TypeJWT)
	}
	one := jwt(h.agent("a"), h.person())
	h.advance(5 * time.Minute)
	two := jwt(h.agent("b"), one.Token)
	_, key := h.key(iam.NewKey{Detail: iam.Detail{Principal: "agent_c"}})
	three := jwt(key, two.Token)
	if two.ExpiresIn != 600 || three.ExpiresIn != 600 {
		t.Errorf("a chain makes it longer: %d, %d", two.ExpiresIn, three.ExpiresIn)
	}
	c := payload(t, three.Token)
	if act, _ := json.Marshal(c["act"]); string(act) != `{"act":{"act":{"sub":"agent_a"},"sub":"agent_b"},"sub":"agent_c"}` || len(c["parents"].([]any)) != 5 || len(c["keys"].([]any)) != 1 {
		t.Errorf("%v", c)
	}
	x, bad := h.call(three.Token)
	if bad != "" || x.Principal.ID != "agent_c" || x.Principal.OnBehalfOf != "user_p" {
		t.Errorf("%s %+v", bad, x.Principal)
	}
	as := []string{"subject_token_type", exchange.TypeAccessToken}
	for name, c := range map[string]struct {
		token string
		agent string
		why   string
	}{
		"a fourth":                {three.Token, "d", "chain of actors is too long, or has the agent already"},
		"again":                   {two.Token, "b", "chain of actors is too long, or has the agent already"},
		"in a circle":             {two.Token, "a", "chain of actors is too long, or has the agent already"},
		"who acts for nobody":     {one.Token, "nobody", "agent may not act for this person"},
		"an agent of another one": {one.Token, "o", "subject of another tenant"},
	} {
		h.at(5*time.Minute + 10*time.Second)
		if why := h.refused(h.agent(c.agent), c.token, "invalid_request", as...); why != c.why {
			t.Errorf("%s: %q", name, why)
		}
	}
	h.at(5*time.Minute + 10*time.Second)
	if why := h.refused(h.agent("d"), two.Token, "invalid_request"); why != "subject is no ID token" {
		t.Error(why)
	}
	// Everybody in the chain counts: the first one is switched off.
	h.at(5*time.Minute + 10*time.Second)
	change(h, "agent_a", func(a *directory.Agent) { a.Disabled = true })
	if _, bad := h.call(three.Token); bad != "actor: agent is disabled" {
		t.Error(bad)
	}
	if why := h.refused(h.agent("d"), one.Token, "invalid_request", as...); why != "subject: actor: agent is disabled" {
		t.Error(why)
	}
}

func TestRequestsThatAreRefused(t *testing.T) {
	h := newHouse(t)
	good := form(h.person())
	more := func(kv ...string) string { return form(h.person(), kv...).Encode() }
	for name, c := range map[string]struct{ body, code string }{
		"empty":                {"", "invalid_request"},
		"no form":              {"%zz", "invalid_request"},
		"semicolons":           {strings.ReplaceAll(good.Encode(), "&", ";"), "invalid_request"},
		"another grant":        {more("grant_type", "client_credentials"), "unsupported_grant_type"},
		"a grant twice":        {good.Encode() + "&grant_type=" + url.QueryEscape(exchange.GrantType), "invalid_request"},
		"a subject twice":      {good.Encode() + "&subject_token=x", "invalid_request"},
		"an unknown twice":     {good.Encode() + "&x=1&x=2", "invalid_request"},
		"no subject":           {more("subject_token", ""), "invalid_request"},
		"no type":              {more("subject_token_type", ""), "invalid_request"},
		"a SAML assertion":     {more("subject_token_type", "urn:ietf:params:oauth:token-type:saml2"), "invalid_request"},
		"a refresh token":      {more("requested_token_type", "urn:ietf:params:oauth:token-type:refresh_token"), "invalid_request"},
		"another audience":     {more("audience", "https://elsewhere.example"), "invalid_target"},
		"another resource":     {good.Encode() + "&resource=" + url.QueryEscape(own) + "&resource=https%3A%2F%2Felsewhere.example", "invalid_target"},
		"five targets":         {good.Encode() + strings.Repeat("&resource=a", 5), "invalid_request"},
		"an actor token":       {more("actor_token", h.agent("b"), "actor_token_type", exchange.TypeJWT), "invalid_request"},
		"a client's secret":    {more("client_id", "a", "client_secret", "b"), "invalid_request"},
		"a client's assertion": {more("client_assertion", "b"), "invalid_request"},
		"bytes":                {more("audience", "\xff"), "invalid_request"},
		"a zero":               {more("scope", "a\x00"), "invalid_request"},
		"a long scope":         {more("scope", strings.Repeat("a", 9000)), "invalid_request"},
		"a long token":         {more("subject_token", strings.Repeat("a", 17000)), "invalid_request"},
		"many parameters":      {good.Encode() + strings.Repeat("&a=", 40), "invalid_request"},
		"too much":             {good.Encode() + "&x=" + strings.Repeat("a", 70000), "invalid_request"},
	} {
		before := len(h.notes)
		r := h.post(h.agent("a"), c.body)
		h.advance(2 * time.Minute)
		if r.Status != 400 || r.Error != c.code || r.Description == "" || len(h.notes) != before+1 || h.last()["agent"] != "" && c.code != "invalid_target" {
			t.Errorf("%s: %d %s %v", name, r.Status, r.Text, h.last())
		}
	}
	for name, c := range map[string]struct {
		edit   func(*http.Request)
		status int
	}{
		"JSON":        {func(r *http.Request) { r.Header.Set("Content-Type", "application/json") }, 400},
		"compressed":  {func(r *http.Request) { r.Header.Set("Content-Encoding", "gzip") }, 400},
		"in the path": {func(r *http.Request) { r.URL.RawQuery = good.Encode() }, 400},
		"a GET":       {func(r *http.Request) { r.Method = "GET" }, 405},
	} {
		if r := h.post(h.agent("a"), form(h.person()).Encode(), c.edit); r.Status != c.status {
			t.Errorf("%s: %d %s", name, r.Status, r.Text)
		}
		h.advance(2 * time.Minute)
	}
	// What is not known, and what is empty, is passed over (RFC 6749 section 3.2).
	if r := h.post(h.agent("a"), form(h.person(), "x", "y", "audience", "", "actor_token", "", "requested_token_type", exchange.TypeJWT).Encode()); r.Status != 200 {
		t.Errorf("%s", r.Text)
	}
}

// Guessing is slowed down, and does not fill the record; who is right is not held up by how much it asks.
func TestGuessingIsSlow(t *testing.T) {
	h := newHouse(t)
	for range 50 {
		h.get(h.agent("a"), h.person())
	}
	h.advance(time.Minute)
	before := len(h.notes)
	held := 0
	for i := range 200 {
		if r := h.post(h.agent("a"), form(h.person("sub", fmt.Sprint("guess", i))).Encode()); r.Status == 429 {
			if held++; r.Header.Get("Retry-After") == "" {
				t.Error("no Retry-After")
			}
		}
	}
	if n := len(h.notes) - before; n > 5 || held < 190 {
		t.Errorf("%d guesses of 200 were looked at, %d held", n, held)
	}
	h.get(h.agent("b"), h.person()) // another agent is none the worse
	// The same without a credential.
	h.advance(time.Hour)
	before, held = len(h.notes), 0
	for i := range 200 {
		if r := h.post(fmt.Sprint("sp_live_guess", i), form(h.person()).Encode()); r.Status == 429 {
			held++
		}
	}
	if n := len(h.notes) - before; n > 5 || held < 190 {
		t.Errorf("%d tries of 200 without a credential were recorded, %d held", n, held)
	}
	h.get(h.agent("a"), h.person())
}

// Nothing is issued that is not on the record, and nothing while who asks cannot be judged.
func TestWithoutARecordOrADirectory(t *testing.T) {
	h := newHouse(t)
	h.broken = errors.New("the disk is full")
	if r := h.post(h.agent("a"), form(h.person()).Encode()); r.Status != 503 || r.Token != "" || strings.Contains(r.Text, "disk") {
		t.Errorf("%d %s", r.Status, r.Text)
	}
	if r := h.post(h.agent("nobody"), form(h.person()).Encode()); r.Status != 503 {
		t.Errorf("%d %s", r.Status, r.Text)
	}
	h.broken = nil
	r := h.get(h.agent("a"), h.person())
	h.now = h.now.Add(31 * time.Second) // the stores have not answered since
	if r := h.post(h.agent("a"), form(h.person()).Encode()); r.Status != 503 || r.Token != "" {
		t.Errorf("%d %s", r.Status, r.Text)
	}
	x := &gate.Exchange{Header: http.Header{"Authorization": {"Bearer " + r.Token}}}
	if d, err := h.who.Authenticate().Admit(ctx, x); err == nil {
		t.Errorf("an old directory is believed: %+v", d)
	}
	// No key may sign.
	h.see()
	h.now = h.now.Add(26 * time.Hour)
	h.see()
	if r := h.post(h.agent("a"), form(h.person()).Encode()); r.Status != 503 || r.Token != "" {
		t.Errorf("%d %s", r.Status, r.Text)
	}
}
