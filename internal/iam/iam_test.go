package iam_test

import (
	"context"
	"net/http"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sallyport.dev/sallyport/internal/gate"
	"sallyport.dev/sallyport/internal/iam"
	"sallyport.dev/sallyport/internal/secret"
	"sallyport.dev/sallyport/internal/store/sqlite"
)

var (
	ctx    = context.Background()
	pepper = secret.New("a pepper for tests, long enough")
	all    = iam.Scopes{Upstreams: []string{"*"}, Endpoints: []string{"*"}, Models: []string{"*"}}
)

// house is a gateway's identity room and an administrator, over one file but two handles of it, as
// in two processes.
type house struct {
	*iam.IAM
	admin *iam.Service
	dir   string
	now   atomic.Pointer[time.Time]
}

type tb interface {
	Helper()
	Fatal(...any)
	Cleanup(func())
	TempDir() string
}

func newHouse(t tb) *house {
	t.Helper()
	h := &house{dir: t.TempDir()}
	h.set(time.Date(2031, 5, 6, 7, 8, 9, 0, time.UTC))
	var err error
	if h.admin, err = iam.NewService(openStore(t, h.dir).Keys(), pepper, h.clock); err != nil {
		t.Fatal(err)
	}
	h.IAM, err = iam.New(iam.Options{Mode: iam.ModeKeys, Pepper: pepper, Keys: openStore(t, h.dir).Keys(), Now: h.clock})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func openStore(t tb, dir string) *sqlite.DB {
	t.Helper()
	db, err := sqlite.Open(ctx, dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func (h *house) clock() time.Time        { return *h.now.Load() }
func (h *house) set(t time.Time)         { h.now.Store(&t) }
func (h *house) advance(d time.Duration) { h.set(h.clock().Add(d)) }

func (h *house) create(t tb, n iam.NewKey) (string, string) {
	t.Helper()
	if n.Name == "" {
		n.Name = "test"
	}
	if n.Scopes.Upstreams == nil {
		n.Scopes = all
	}
	c, tok, err := h.admin.Create(ctx, n)
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Refresh(ctx); err != nil {
		t.Fatal(err)
	}
	return c.After.ID, tok.Reveal()
}

func call(token string) *gate.Exchange {
	x := &gate.Exchange{
		Upstream: "openai", Endpoint: "chat.completions", Method: "POST", Header: http.Header{},
		ClientAddr: netip.MustParseAddr("203.0.113.7"), Reading: &gate.Reading{Model: "gpt-5"}, Record: &gate.Record{},
	}
	if token != "" {
		x.Header.Set("Authorization", "Bearer "+token)
	}
	return x
}

// admit runs both stages; "" means the call passes.
func admit(t interface{ Fatal(...any) }, m *iam.IAM, x *gate.Exchange) (gate.Code, int, string) {
	for _, s := range []gate.Stage{m.Authenticate(), m.Authorize()} {
		d, err := s.Admit(ctx, x)
		if err != nil {
			t.Fatal(err)
		}
		if d.Denied() {
			return d.Problem.Code, d.Problem.Status, d.Problem.Message
		}
	}
	return "", 0, ""
}

func TestKeysMode(t *testing.T) {
	h := newHouse(t)
	id, good := h.create(t, iam.NewKey{})
	_, other := h.create(t, iam.NewKey{})
	wrong := good[:21] + other[21:] // another key's secret: refused by its check
	expired, expiredKey := h.create(t, iam.NewKey{Expires: h.clock().Add(time.Hour)})
	_, early := h.create(t, iam.NewKey{NotBefore: h.clock().Add(48 * time.Hour)})
	revoked, revokedKey := h.create(t, iam.NewKey{})
	_, ranged := h.create(t, iam.NewKey{CIDRs: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}})
	stranger := newHouse(t) // a well-formed key that this house never made
	_, unknown := stranger.create(t, iam.NewKey{})
	if _, err := h.admin.Revoke(ctx, revoked); err != nil {
		t.Fatal(err)
	}
	h.advance(time.Hour)
	if err := h.Refresh(ctx); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		set    func(h http.Header)
		code   gate.Code
		status int
	}{
		"authorization":           {func(h http.Header) { h.Set("Authorization", "Bearer "+good) }, "", 0},
		"scheme in any case":      {func(h http.Header) { h.Set("Authorization", "bEaReR  "+good+" ") }, "", 0},
		"x-api-key":               {func(h http.Header) { h.Set("x-api-key", good) }, "", 0},
		"api-key":                 {func(h http.Header) { h.Set("api-key", good) }, "", 0},
		"the same in two":         {func(h http.Header) { h.Set("api-key", good); h.Set("Authorization", "Bearer "+good) }, "", 0},
		"an empty one besides":    {func(h http.Header) { h.Set("api-key", good); h.Set("Authorization", "Bearer ") }, "", 0},
		"none":                    {func(h http.Header) {}, gate.CodeInvalidKey, 401},
		"only our own headers":    {func(h http.Header) { h.Set("Sallyport-Key", good); h.Set("X-Sallyport-Key", good) }, gate.CodeAmbiguous, 400},
		"a cookie":                {func(h http.Header) { h.Set("Cookie", "key="+good) }, gate.CodeAmbiguous, 400},
		"a provider's key":        {func(h http.Header) { h.Set("x-api-key", "sk-ant-something") }, gate.CodeInvalidKey, 401},
		"basic":                   {func(h http.Header) { h.Set("Authorization", "Basic "+good) }, gate.CodeInvalidKey, 401},
		"no scheme":               {func(h http.Header) { h.Set("Authorization", good) }, "", 0},
		"two different":           {func(h http.Header) { h.Set("api-key", good); h.Set("x-api-key", other) }, gate.CodeAmbiguous, 400},
		"ours and the providers":  {func(h http.Header) { h.Set("Authorization", "Bearer "+good); h.Set("x-api-key", "sk-ant-x") }, gate.CodeAmbiguous, 400},
		"twice the same":          {func(h http.Header) { h["X-Api-Key"] = []string{good, good} }, gate.CodeAmbiguous, 400},
		"twice, first empty":      {func(h http.Header) { h["Authorization"] = []string{"", "Bearer " + good} }, gate.CodeAmbiguous, 400},
		"a list":                  {func(h http.Header) { h.Set("Authorization", "Bearer "+good+", Bearer "+other) }, gate.CodeAmbiguous, 400},
		"a twin with underscores": {func(h http.Header) { h.Set("x-api-key", good); h["X_api_key"] = []string{"other"} }, gate.CodeAmbiguous, 400},
		"only a twin":             {func(h http.Header) { h["Api_key"] = []string{good} }, gate.CodeAmbiguous, 400},
		"one in a cookie besides": {func(h http.Header) { h.Set("x-api-key", good); h.Set("Cookie", "k="+other) }, gate.CodeAmbiguous, 400},
		"a space within":          {func(h http.Header) { h.Set("x-api-key", good+" x") }, gate.CodeInvalidKey, 401},
		"wrong check":             {func(h http.Header) { h.Set("x-api-key", wrong) }, gate.CodeInvalidKey, 401},
		"unknown id":              {func(h http.Header) { h.Set("x-api-key", unknown) }, gate.CodeInvalidKey, 401},
		"expired this moment":     {func(h http.Header) { h.Set("x-api-key", expiredKey) }, gate.CodeInvalidKey, 401},
		"not yet valid":           {func(h http.Header) { h.Set("x-api-key", early) }, gate.CodeInvalidKey, 401},
		"revoked":                 {func(h http.Header) { h.Set("x-api-key", revokedKey) }, gate.CodeInvalidKey, 401},
		"another address":         {func(h http.Header) { h.Set("x-api-key", ranged) }, gate.CodeDenied, 403},
		"another address, claiming a right one": {func(h http.Header) {
			h.Set("x-api-key", ranged)
			h.Set("X-Forwarded-For", "10.0.0.1")
		}, gate.CodeDenied, 403},
	} {
		x := call("")
		c.set(x.Header)
		code, status, msg := admit(t, h.IAM, x)
		if code != c.code || status != c.status {
			t.Errorf("%s: %q %d, want %q %d", name, code, status, c.code, c.status)
		}
		if strings.Contains(msg, good[8:20]) || strings.Contains(msg, good[21:40]) {
			t.Errorf("%s: the message names the key", name)
		}
		if c.code == "" && (x.Principal.Kind != "key" || x.Principal.ID != id || x.Record.Principal.ID != id || x.Record.Principal.Grant != nil) {
			t.Errorf("%s: principal %+v, in the record %+v", name, x.Principal, x.Record.Principal)
		}
	}
	x := call(expiredKey)
	admit(t, h.IAM, x)
	if x.Record.Principal.ID != expired {
		t.Error("the record does not say whose expired key it was")
	}
}

func TestUnknownIDAndWrongSecretLookTheSame(t *testing.T) {
	h, other := newHouse(t), newHouse(t)
	id, _ := h.create(t, iam.NewKey{})
	_, unknown := other.create(t, iam.NewKey{})
	// A well-formed key with a known id and a secret that was never given out.
	_, wrong, err := h.admin.Rotate(ctx, id, 0)
	if err != nil {
		t.Fatal(err)
	}
	var ds [2]gate.Decision
	for i, tok := range []string{unknown, wrong.Reveal()} { // h has not refreshed: it knows the old secret only
		x := call(tok)
		if ds[i], err = h.Authenticate().Admit(ctx, x); err != nil {
			t.Fatal(err)
		}
		if x.Principal.Kind != "anonymous" {
			t.Errorf("principal %+v", x.Principal)
		}
	}
	if !reflect.DeepEqual(ds[0].Problem, ds[1].Problem) || ds[0].Reason != ds[1].Reason || !ds[0].Denied() {
		t.Errorf("%+v, %+v", ds[0], ds[1])
	}
}

func TestScopes(t *testing.T) {
	h := newHouse(t)
	tight := iam.Scopes{Upstreams: []string{"openai", "local-*"}, Endpoints: []string{"chat.completions", "models", "files", "batches", "unknown", "realtime"}, Models: []string{"gpt-5*", "*-mini"}}
	_, key := h.create(t, iam.NewKey{Scopes: tight})
	for name, c := range map[string]struct {
		edit func(x *gate.Exchange)
		pass bool
	}{
		"as it stands":                {func(x *gate.Exchange) {}, true},
		"a pattern of upstreams":      {func(x *gate.Exchange) { x.Upstream = "local-a" }, true},
		"another upstream":            {func(x *gate.Exchange) { x.Upstream = "anthropic" }, false},
		"an upstream's name longer":   {func(x *gate.Exchange) { x.Upstream = "openai2" }, false},
		"another endpoint":            {func(x *gate.Exchange) { x.Endpoint = "responses" }, false},
		"an endpoint below":           {func(x *gate.Exchange) { x.Endpoint = "chat.completions.store" }, false},
		"a pattern of models":         {func(x *gate.Exchange) { x.Reading.Model = "o9-mini" }, true},
		"another model":               {func(x *gate.Exchange) { x.Reading.Model = "gpt-4" }, false},
		"a model in another case":     {func(x *gate.Exchange) { x.Reading.Model = "GPT-5" }, false},
		"a model with a space before": {func(x *gate.Exchange) { x.Reading.Model = " gpt-5" }, false},
		"no model":                    {func(x *gate.Exchange) { x.Reading.Model = "" }, false},
		"nothing read":                {func(x *gate.Exchange) { x.Reading = nil }, false},
		"a list of models":            {func(x *gate.Exchange) { x.Reading, x.Method, x.Endpoint = nil, "GET", "models" }, true},
		"a GET with a body":           {func(x *gate.Exchange) { x.Reading, x.Method, x.Endpoint, x.Body = nil, "GET", "models", []byte("{}") }, false},
		"a GET that upgrades": {func(x *gate.Exchange) {
			x.Reading, x.Method, x.Endpoint = nil, "GET", "realtime"
			x.Header.Set("Upgrade", "websocket")
		}, false},
		"a file":             {func(x *gate.Exchange) { x.Reading, x.Endpoint = &gate.Reading{}, "files" }, true},
		"a batch":            {func(x *gate.Exchange) { x.Reading, x.Endpoint = &gate.Reading{}, "batches" }, false},
		"an unknown one":     {func(x *gate.Exchange) { x.Reading, x.Endpoint = &gate.Reading{}, "unknown" }, false},
		"a method of no RFC": {func(x *gate.Exchange) { x.Reading, x.Method, x.Endpoint = nil, "BREW", "models" }, false},
	} {
		x := call(key)
		c.edit(x)
		code, status, _ := admit(t, h.IAM, x)
		if c.pass && code != "" || !c.pass && (code != gate.CodeDenied || status != 403) {
			t.Errorf("%s: %q %d", name, code, status)
		}
	}
}

func TestAuthorizeAloneIsClosed(t *testing.T) {
	h := newHouse(t)
	for _, grant := range []any{nil, "x", (*iam.Key)(nil)} {
		x := call("")
		x.Principal.Grant = grant
		if _, err := h.Authorize().Admit(ctx, x); gate.FailureOf(err) != gate.FailIdentity {
			t.Errorf("%v: %v", grant, err)
		}
	}
}

func TestPassthrough(t *testing.T) {
	make := func(key string) *iam.IAM {
		m, err := iam.New(iam.Options{Mode: iam.ModePassthrough, HashKey: []byte(key)})
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	m := make("0123456789abcdef")
	name := func(m *iam.IAM, header, value string) gate.Principal {
		x := call("")
		x.Header.Set(header, value)
		if code, _, _ := admit(t, m, x); code != "" {
			t.Fatalf("%s refused: %s", header, code)
		}
		return x.Principal
	}
	p := name(m, "Authorization", "Bearer sk-secret-1")
	if p.Kind != "credential" || len(p.ID) != len("cred_")+32 || strings.Contains(p.ID, "secret") {
		t.Errorf("%+v", p)
	}
	if name(m, "x-api-key", "sk-secret-1") != p {
		t.Error("the same credential has two names")
	}
	if name(m, "x-api-key", "sk-secret-2").ID == p.ID || name(make("0123456789abcdeX"), "x-api-key", "sk-secret-1").ID == p.ID {
		t.Error("the name does not depend on credential and key")
	}
	if q := name(m, "Authorization", `AWS4-HMAC-SHA256 Credential=a, Signature=b`); q.Kind != "credential" {
		t.Errorf("%+v", q)
	}
	x := call("")
	if code, _, _ := admit(t, m, x); code != "" || x.Principal.Kind != "anonymous" {
		t.Errorf("no credential: %s, %+v", code, x.Principal)
	}
	x = call("sk-one")
	x.Header.Set("x-api-key", "sk-two")
	if code, status, _ := admit(t, m, x); code != gate.CodeAmbiguous || status != 400 {
		t.Errorf("two credentials: %s", code)
	}
	if m.CredentialHeaders() != nil {
		t.Error("a passed-through credential would be stripped")
	}
	if got := newHouse(t).CredentialHeaders(); len(got) < 20 || got[0] != "Authorization" || !slices.Contains(got, "X-Forwarded-User") {
		t.Errorf("%v", got)
	}
}

func TestForwardedFor(t *testing.T) {
	m, err := iam.New(iam.Options{Mode: iam.ModePassthrough, HashKey: make([]byte, 16), TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		peer string
		xff  []string
		want string
	}{
		{"203.0.113.7", []string{"10.0.0.1"}, "203.0.113.7"}, // not from a trusted proxy
		{"10.0.0.1", nil, "10.0.0.1"},
		{"10.0.0.1", []string{"198.51.100.1"}, "198.51.100.1"},
		{"10.0.0.1", []string{"192.0.2.66, 198.51.100.1"}, "198.51.100.1"}, // the caller's own claim stands first
		{"10.0.0.1", []string{"192.0.2.66", "198.51.100.1, 10.0.0.9"}, "198.51.100.1"},
		{"10.0.0.1", []string{"198.51.100.1:443"}, "198.51.100.1"},
		{"fd00::1", []string{"[2001:db8::5]:443"}, "2001:db8::5"},
		{"fd00::1", []string{"2001:db8::5"}, "2001:db8::5"},
		{"::ffff:10.0.0.1", []string{"::ffff:198.51.100.1"}, "198.51.100.1"},
		{"10.0.0.1", []string{"192.0.2.66, junk"}, "10.0.0.1"},
		{"10.0.0.1", []string{"192.0.2.66, "}, "10.0.0.1"},
		{"10.0.0.1", []string{"192.0.2.66, unknown, 10.0.0.9"}, "10.0.0.9"},
		{"10.0.0.1", []string{"10.0.0.2, 10.0.0.3"}, "10.0.0.2"},
		{"10.0.0.1", []string{""}, "10.0.0.1"},
	} {
		x := call("")
		x.ClientAddr = netip.MustParseAddr(c.peer)
		x.Header["X-Forwarded-For"] = c.xff
		admit(t, m, x)
		if x.ClientAddr.String() != c.want || x.Record.ClientAddr != x.ClientAddr {
			t.Errorf("%s %q: %v, want %s", c.peer, c.xff, x.ClientAddr, c.want)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	store := openStore(t, t.TempDir())
	for name, o := range map[string]iam.Options{
		"no mode":           {},
		"short hash key":    {Mode: iam.ModePassthrough, HashKey: make([]byte, 15)},
		"no store":          {Mode: iam.ModeKeys, Pepper: pepper},
		"no pepper":         {Mode: iam.ModeKeys, Keys: store.Keys()},
		"a store that errs": {Mode: iam.ModeKeys, Pepper: pepper, Keys: broken{}},
	} {
		if _, err := iam.New(o); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
