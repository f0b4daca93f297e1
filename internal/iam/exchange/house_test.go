package exchange_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"sallyport.dev/sallyport/internal/gate"
	"sallyport.dev/sallyport/internal/iam"
	"sallyport.dev/sallyport/internal/iam/datakeys"
	"sallyport.dev/sallyport/internal/iam/directory"
	"sallyport.dev/sallyport/internal/iam/document"
	"sallyport.dev/sallyport/internal/iam/exchange"
	"sallyport.dev/sallyport/internal/iam/jwks"
	"sallyport.dev/sallyport/internal/iam/jwtbearer"
	"sallyport.dev/sallyport/internal/iam/mirror"
	"sallyport.dev/sallyport/internal/iam/revocation"
	"sallyport.dev/sallyport/internal/iam/roster"
	"sallyport.dev/sallyport/internal/iam/signing"
	"sallyport.dev/sallyport/internal/iam/throttle"
	"sallyport.dev/sallyport/internal/secret"
	"sallyport.dev/sallyport/internal/secret/envelope"
	"sallyport.dev/sallyport/internal/store/memory"
	"sallyport.dev/sallyport/internal/store/sqlite"
)

const own = "https://gateway.example"

var (
	ctx   = context.Background()
	star  = []string{"*"}
	every = iam.Scopes{Upstreams: star, Endpoints: star, Models: star}
	chats = iam.Scopes{Upstreams: []string{"openai"}, Endpoints: []string{"chat.*"}, Models: []string{"gpt-*"}}
)

type claims = map[string]any

// issuer is somebody else's, with a key of its own.
type issuer struct {
	url string
	key *ecdsa.PrivateKey
	set *jwks.Set
}

type static []byte

func (s static) JWKS(context.Context) ([]byte, error) { return s, nil }

// house is the parts of a gateway that the exchange concerns, all of them real, under one clock.
type house struct {
	t       *testing.T
	now     time.Time
	docs    *memory.Documents
	mirror  *mirror.Mirror
	who     *iam.IAM
	keys    *iam.Service
	signing *signing.Keys
	issuers map[string]*issuer
	handler *exchange.Handler
	peer    string // SPIFFE id of who asks next

	mu     sync.Mutex
	notes  []map[string]string
	broken error // of the record
}

func (h *house) clock() time.Time { return h.now }

func newHouse(t *testing.T) *house {
	t.Helper()
	h := &house{t: t, now: time.Date(2031, 5, 6, 7, 8, 9, 0, time.UTC), docs: &memory.Documents{}, issuers: map[string]*issuer{}}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	kek, err := envelope.ParseKEK(secret.New(hex.EncodeToString(bytes.Repeat([]byte{3, 7}, 16))))
	must(err)
	ring, err := envelope.New(ctx, envelope.Options{Store: datakeys.Store{Docs: h.docs}, Current: kek})
	must(err)
	h.mirror = mirror.New(h.docs, h.clock, nil)
	people := roster.New(h.mirror)
	revoked := &jwtbearer.Revocations{}
	revocation.Follow(h.mirror, revoked)
	h.signing, err = signing.New(signing.Options{Store: h.docs, Sealer: ring, Mirror: h.mirror, Now: h.clock})
	must(err)
	for _, id := range []string{"acme", "other"} {
		put(h, directory.Tenant{ID: id, Name: id})
	}
	put(h, directory.User{ID: "user_p", Tenant: "acme", UserName: "p", Active: true, Links: []directory.Link{{Provider: "corp", Issuer: "https://corp.example", Subject: "p"}}})
	put(h, directory.User{ID: "user_q", Tenant: "acme", UserName: "q", Active: true, ExternalID: "q-7"})
	put(h, directory.User{ID: "user_off", Tenant: "acme", UserName: "off", Links: []directory.Link{{Provider: "corp", Issuer: "https://corp.example", Subject: "off"}}})
	put(h, directory.User{ID: "user_o", Tenant: "other", UserName: "o", Active: true, Links: []directory.Link{{Provider: "corp", Issuer: "https://corp.example", Subject: "o"}}})
	agent := func(id, tenant string, who ...string) {
		put(h, directory.Agent{ID: "agent_" + id, Tenant: tenant, Name: id, For: who, Subjects: []directory.Subject{{Issuer: "ci", Subject: "agent-" + id}, {Issuer: "spiffe", Subject: "spiffe://acme/" + id}}})
	}
	agent("a", "acme", "user_p", "user_q")
	for _, id := range []string{"b", "c", "d"} {
		agent(id, "acme", "*")
	}
	agent("nobody", "acme")
	agent("o", "other", "*")
	put(h, directory.Service{ID: "service_s", Tenant: "acme", Name: "s", Subjects: []directory.Subject{{Issuer: "ci", Subject: "service-s"}}})

	db, err := sqlite.Open(ctx, t.TempDir())
	must(err)
	t.Cleanup(func() { _ = db.Close() })
	pepper := secret.New("a pepper of this test alone, long enough")
	h.keys, err = iam.NewService(db.Keys(), pepper, h.clock)
	must(err)
	rule := func(sub, tenant, kind string) jwtbearer.Rule {
		return jwtbearer.Rule{Subject: sub, Kind: kind, Tenant: tenant, Scopes: chats}
	}
	ours := jwtbearer.Issuer{Name: exchange.Name, URL: own, Audiences: []string{own}, Algs: []string{signing.Alg}, Keys: h.signing.Set(), MaxLifetime: signing.MaxLifetime, Exchange: true,
		Rules: []jwtbearer.Rule{{Subject: "*", Kind: iam.KindAgent, Scopes: every}}}
	ci := jwtbearer.Issuer{Name: "ci", URL: "https://ci.example", Audiences: []string{"sallyport"}, Keys: h.issuer("ci"),
		Rules: []jwtbearer.Rule{rule("agent-o", "other", iam.KindAgent), rule("agent-*", "acme", iam.KindAgent), rule("service-*", "acme", iam.KindService)}}
	tokens, err := jwtbearer.New(jwtbearer.Options{Now: h.clock, Revocations: revoked, Issuers: []jwtbearer.Issuer{ci, ours}})
	must(err)
	person := func(path ...string) []jwtbearer.Rule {
		return []jwtbearer.Rule{{Subject: "*", Claims: []jwtbearer.Claim{{Path: path, Pattern: "*", Text: true}}, Kind: iam.KindPerson, Tenant: "acme",
			Scopes: iam.Scopes{Upstreams: star, Endpoints: []string{"chat.*", "embeddings"}, Models: []string{"gpt-5*"}}}}
	}
	subjects, err := jwtbearer.New(jwtbearer.Options{Now: h.clock, Revocations: revoked, Issuers: []jwtbearer.Issuer{ours,
		{Name: "corp", URL: "https://corp.example", Audiences: []string{"chat-app"}, Keys: h.issuer("corp"), Rules: person("sub")},
		{Name: "hr", URL: "https://hr.example", Audiences: []string{"chat-app"}, Keys: h.issuer("hr"), Rules: person("employee", "id")},
	}})
	must(err)
	h.who, err = iam.New(iam.Options{Mode: iam.ModeKeys, Pepper: pepper, Keys: db.Keys(), Now: h.clock, Roster: people, Tokens: tokens})
	must(err)
	h.see()
	must(h.signing.Upkeep(ctx))
	h.now = h.now.Add(signing.First)
	h.see()
	slow, err := throttle.New(&memory.Tries{Now: h.clock}, make([]byte, 32))
	must(err)
	e, err := exchange.New(exchange.Options{
		Issuer: own, Lifetime: 15 * time.Minute, Verifier: subjects, Who: h.who, Roster: people, People: h.docs, Keys: h.signing,
		Subjects: map[string]exchange.Subject{"corp": {URL: "https://corp.example", Claim: []string{"sub"}, Match: exchange.MatchLink}, "hr": {URL: "https://hr.example", Claim: []string{"employee", "id"}, Match: exchange.MatchExternalID}},
		URLs:     map[string]string{"ci": "https://ci.example", "corp": "https://corp.example", "hr": "https://hr.example"},
		Throttle: slow, Now: h.clock,
		Record: func(_ context.Context, event string, f map[string]string) error {
			h.mu.Lock()
			defer h.mu.Unlock()
			if event != "token.exchange" {
				t.Errorf("event %s", event)
			}
			h.notes = append(h.notes, maps.Clone(f))
			return h.broken
		},
	})
	must(err)
	h.handler = exchange.NewHandler(exchange.Handler{Exchanger: e, JWKS: h.signing.JWKS, Log: slog.New(slog.DiscardHandler)})
	return h
}

func put[T document.Entity](h *house, v T) {
	h.t.Helper()
	if _, err := document.Insert(ctx, h.docs, v); err != nil {
		h.t.Fatal(err)
	}
}

func change[T document.Entity](h *house, id string, f func(*T)) {
	h.t.Helper()
	if _, _, _, err := document.Update(ctx, h.docs, id, 0, func(v *T) error { f(v); return nil }); err != nil {
		h.t.Fatal(err)
	}
	h.see()
}

// see takes in what changed, as every node does within two seconds.
func (h *house) see() {
	h.t.Helper()
	if err := errors.Join(h.mirror.Refresh(ctx), h.who.Refresh(ctx)); err != nil {
		h.t.Fatal(err)
	}
	_ = h.signing.Set().Refresh(ctx) // there may be no key yet
}

// at sets the clock to so long after the house was made.
func (h *house) at(d time.Duration) {
	h.now = time.Date(2031, 5, 6, 7, 8, 9, 0, time.UTC).Add(d)
	h.see()
}

func (h *house) advance(d time.Duration) { h.now = h.now.Add(d); h.see() }

func (h *house) issuer(name string) *jwks.Set {
	h.t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		h.t.Fatal(err)
	}
	doc, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: k.Public(), KeyID: "k", Use: "sig"}}})
	if err != nil {
		h.t.Fatal(err)
	}
	set, err := jwks.New(jwks.Options{Source: static(doc), Now: h.clock, MaxStale: 1000 * time.Hour})
	if err != nil {
		h.t.Fatal(err)
	}
	if err := set.Refresh(ctx); err != nil {
		h.t.Fatal(err)
	}
	h.issuers[name] = &issuer{"https://" + name + ".example", k, set}
	return set
}

// sign signs claims, which a caller of the test may have made up.
func sign(t *testing.T, alg jose.SignatureAlgorithm, kid string, key any, c claims) string {
	t.Helper()
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: jose.JSONWebKey{Key: key, KeyID: kid}}, (&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	j, err := s.Sign(b)
	if err != nil {
		t.Fatal(err)
	}
	token, err := j.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// claims of a good token of an issuer, with changes: name and value pairs; nil leaves one out.
func (h *house) claims(issuer, sub, aud string, kv ...any) claims {
	c := claims{"iss": h.issuers[issuer].url, "sub": sub, "aud": aud, "jti": sub + "-1", "iat": h.now.Unix(), "exp": h.now.Add(30 * time.Minute).Unix()}
	for i := 0; i < len(kv); i += 2 {
		if c[kv[i].(string)] = kv[i+1]; kv[i+1] == nil {
			delete(c, kv[i].(string))
		}
	}
	return c
}

func (h *house) token(issuer, sub, aud string, kv ...any) string {
	h.t.Helper()
	return sign(h.t, jose.ES256, "k", h.issuers[issuer].key, h.claims(issuer, sub, aud, kv...))
}

// person is a token of the person p; agent is the credential of an agent.
func (h *house) person(kv ...any) string {
	h.t.Helper()
	return h.token("corp", "p", "chat-app", kv...)
}
func (h *house) agent(id string) string {
	h.t.Helper()
	return h.token("ci", "agent-"+id, "sallyport")
}

func (h *house) key(n iam.NewKey) (id, key string) {
	h.t.Helper()
	n.Name = "k"
	if n.Tenant == "" {
		n.Tenant = "acme"
	}
	if n.Scopes.Upstreams == nil {
		n.Scopes = chats
	}
	c, k, err := h.keys.Create(ctx, n)
	if err != nil {
		h.t.Fatal(err)
	}
	h.see()
	return c.After.ID, k.Reveal()
}

// reply is what the endpoint answered.
type reply struct {
	Status int
	Header http.Header
	Text   string

	Token       string `json:"access_token"`
	IssuedType  string `json:"issued_token_type"`
	Type        string `json:"token_type"`
	ExpiresIn   int64  `json:"expires_in"`
	Scope       string
	Error       string
	Description string `json:"error_description"`
}

func form(subject string, kv ...string) url.Values {
	v := url.Values{"grant_type": {exchange.GrantType}, "subject_token": {subject}, "subject_token_type": {exchange.TypeIDToken}}
	for i := 0; i < len(kv); i += 2 {
		v.Set(kv[i], kv[i+1])
	}
	return v
}

func (h *house) post(credential, body string, edit ...func(*http.Request)) reply {
	h.t.Helper()
	r := httptest.NewRequest("POST", exchange.TokenPath, strings.NewReader(body))
	r.RemoteAddr = "203.0.113.7:4711"
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if credential != "" {
		r.Header.Set("Authorization", "Bearer "+credential)
	}
	for _, f := range edit {
		f(r)
	}
	w := httptest.NewRecorder()
	h.handler.ServeHTTP(w, r)
	out := reply{Status: w.Code, Header: w.Header(), Text: w.Body.String()}
	if err := json.Unmarshal(w.Body.Bytes(), &out); err != nil {
		h.t.Fatalf("%d %q: %v", w.Code, w.Body, err)
	}
	if w.Header().Get("Cache-Control") != "no-store" || w.Header().Get("Content-Type") != "application/json" {
		h.t.Errorf("headers %v", w.Header())
	}
	if out.Error != "" && out.Token != "" {
		h.t.Errorf("an error with a token: %+v", out)
	}
	return out
}

// get exchanges what must succeed.
func (h *house) get(credential, subject string, kv ...string) reply {
	h.t.Helper()
	r := h.post(credential, form(subject, kv...).Encode())
	if r.Status != 200 {
		h.t.Fatalf("%d %s; %v", r.Status, r.Text, h.last())
	}
	return r
}

// refused exchanges what must not, and returns the reason in the record. The endpoint forgets it.
func (h *house) refused(credential, subject, code string, kv ...string) string {
	h.t.Helper()
	before := len(h.notes)
	r := h.post(credential, form(subject, kv...).Encode())
	h.advance(2 * time.Minute) // or the next one waits
	if r.Error != code || r.Status/100 != 4 || r.Token != "" || len(h.notes) != before+1 || h.last()["ok"] != "false" {
		h.t.Errorf("%d %s, want %s; %v", r.Status, r.Text, code, h.last())
	}
	return h.last()["reason"]
}

func (h *house) last() map[string]string {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.notes) == 0 {
		return nil
	}
	return h.notes[len(h.notes)-1]
}

// call makes a call with a token, and says why it is refused; "" when it passes.
func (h *house) call(token string) (*gate.Exchange, string) {
	h.t.Helper()
	x := &gate.Exchange{Upstream: "openai", Endpoint: "chat.completions", Method: "POST", Header: http.Header{"Authorization": {"Bearer " + token}},
		ClientAddr: netip.MustParseAddr("203.0.113.7"), Peer: h.peer, Reading: &gate.Reading{Model: "gpt-5"}, Record: &gate.Record{}}
	for _, s := range []gate.Stage{h.who.Authenticate(), h.who.Authorize(), h.who.Data()} {
		d, err := s.Admit(ctx, x)
		if err != nil {
			h.t.Fatal(err)
		}
		if d.Denied() {
			return x, d.Reason
		}
	}
	return x, ""
}

func payload(t *testing.T, token string) claims {
	t.Helper()
	j, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		t.Fatal(err)
	}
	var c claims
	if err := json.Unmarshal(j.UnsafePayloadWithoutVerification(), &c); err != nil {
		t.Fatal(err)
	}
	return c
}
