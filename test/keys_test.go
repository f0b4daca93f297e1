package test

import (
	"bytes"
	"context"
	"encoding/json"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sallyport.dev/sallyport/internal/config"
	"sallyport.dev/sallyport/internal/iam"
	"sallyport.dev/sallyport/internal/server"
	"sallyport.dev/sallyport/test/gatetest"
)

// with returns the request with this header.
func (r request) with(k, v string) request {
	h := http.Header{}
	for n, vs := range r.header {
		h[n] = vs
	}
	h.Set(k, v)
	r.header = h
	return r
}

func toJSON(v any) string {
	b, _ := json.Marshal(v)
	return string(b)
}

// holds says which files of a directory hold any of these bytes.
func holds(t *testing.T, dir, what string) (found []string) {
	t.Helper()
	filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			if b, _ := os.ReadFile(p); bytes.Contains(b, []byte(what)) {
				found = append(found, p)
			}
		}
		return nil
	})
	return found
}

// A key's life: made, used, out of scope, rotated, revoked; the provider's credential is injected
// and the caller's key never leaves.
func TestGatewayKeys(t *testing.T) {
	const provider = "sk-provider-credential-0123456789"
	t.Setenv("PROVIDER_KEY", provider)
	up := gatetest.NewUpstream(t)
	g := gatetest.Start(t, up, "iam: {mode: keys}\nproxy:\n  allow_private: [127.0.0.0/8]\n  upstreams:\n    - {name: openai, dialect: openai, base_url: \""+up.URL+"\", credential: {env: PROVIDER_KEY}}\n    - {name: anthropic, dialect: anthropic, base_url: \""+up.URL+"\", credential: {env: PROVIDER_KEY}}\n")
	cfg, err := config.Load(g.Config)
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	svc, done, err := server.Keys(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer done()
	made, key, err := svc.Create(ctx, iam.NewKey{Name: "test", Scopes: iam.Scopes{Upstreams: []string{"*"}, Endpoints: []string{"chat.completions", "messages"}, Models: []string{"m*"}}})
	if err != nil {
		t.Fatal(err)
	}
	// A running gateway sees a change of another handle of the store within two seconds.
	eventually := func(r request, status int) got {
		t.Helper()
		start := time.Now()
		for {
			res := do(t, g.URL, r)
			if res.status == status {
				if took := time.Since(start); took > 2500*time.Millisecond {
					t.Errorf("%d only after %v", status, took)
				}
				return res
			}
			if time.Since(start) > 10*time.Second {
				t.Fatalf("still %d: %s", res.status, res.body)
			}
			time.Sleep(20 * time.Millisecond) // a poll of another clock's work, bounded above
		}
	}
	ask := chat(`{"model":"m1","messages":[{"role":"user","content":"hi"}]}`)
	res := eventually(ask.with("Authorization", "Bearer "+key.Reveal()), 200)
	if e := g.Event(res.header.Get("Sallyport-Id")); !strings.Contains(toJSON(e["principal"]), made.After.ID) {
		t.Errorf("the record names %v, not the key", e["principal"])
	}
	claude := messages(`{"model":"m1","max_tokens":9,"messages":[{"role":"user","content":"hi"}]}`).with("X-Api-Key", key.Reveal())
	if res := do(t, g.URL, claude); res.status != 200 {
		t.Errorf("anthropic: %d %s", res.status, res.body)
	}
	seen := up.Seen()
	if a := seen[len(seen)-2].Header.Get("Authorization"); a != "Bearer "+provider {
		t.Errorf("OpenAI got Authorization %q", a)
	}
	if a := seen[len(seen)-1].Header.Get("X-Api-Key"); a != provider {
		t.Errorf("Anthropic got X-Api-Key %q", a)
	}
	for _, s := range seen {
		if strings.Contains(toJSON(s.Header), "sp_live_") || bytes.Contains(s.Body, []byte("sp_live_")) {
			t.Errorf("the caller's key left: %v", s.Header)
		}
	}
	left := len(seen)
	last := "x"
	if strings.HasSuffix(key.Reveal(), last) {
		last = "y"
	}
	damaged := key.Reveal()[:len(key.Reveal())-1] + last
	for name, c := range map[string]struct {
		r      request
		status int
	}{
		"model out of scope":    {chat(`{"model":"x","messages":[]}`).with("Authorization", "Bearer "+key.Reveal()), 403},
		"endpoint out of scope": {request{method: "GET", target: "/v1/files"}.with("Authorization", "Bearer "+key.Reveal()), 403},
		"no key":                {ask.with("Authorization", "Bearer sk-something"), 401},
		"damaged key":           {ask.with("Authorization", "Bearer "+damaged), 401},
		"two keys":              {ask.with("Authorization", "Bearer "+key.Reveal()).with("X-Api-Key", "other"), 400},
	} {
		if res := do(t, g.URL, c.r); res.status != c.status || strings.Contains(string(res.body), "sp_live_") {
			t.Errorf("%s: %d %s", name, res.status, res.body)
		}
	}
	if n := len(up.Seen()); n != left {
		t.Errorf("%d refused calls left", n-left)
	}
	_, next, err := svc.Rotate(ctx, made.After.ID, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	eventually(ask.with("Authorization", "Bearer "+next.Reveal()), 200)
	if res := do(t, g.URL, ask.with("Authorization", "Bearer "+key.Reveal())); res.status != 200 {
		t.Errorf("the old secret within its grace: %d", res.status)
	}
	if _, err := svc.Revoke(ctx, made.After.ID); err != nil {
		t.Fatal(err)
	}
	eventually(ask.with("Authorization", "Bearer "+next.Reveal()), 401)
	eventually(ask.with("Authorization", "Bearer "+key.Reveal()), 401)

	g.Close() // so that everything is on disk
	secretPart := strings.Split(key.Reveal(), "_")[3]
	for _, s := range []string{secretPart, strings.Split(next.Reveal(), "_")[3], provider} {
		if f := holds(t, g.Dir, s); len(f) > 0 {
			t.Errorf("a usable secret is in %v", f)
		}
		if strings.Contains(g.Log.String(), s) {
			t.Error("a usable secret is in the log")
		}
	}
}

// Passed-through credentials are known by a keyed hash and kept nowhere.
func TestPassedThroughCredentialsAreKeptNowhere(t *testing.T) {
	const credential = "sk-caller-own-credential-abcdef"
	up := gatetest.NewUpstream(t)
	g := gatetest.Start(t, up, "audit: {content: full}\n")
	res := do(t, g.URL, good.with("Authorization", "Bearer "+credential))
	if res.status != 200 || up.Seen()[0].Header.Get("Authorization") != "Bearer "+credential {
		t.Fatalf("%d, upstream got %q", res.status, up.Seen()[0].Header.Get("Authorization"))
	}
	e := g.Event(res.header.Get("Sallyport-Id"))
	if p := toJSON(e["principal"]); !strings.Contains(p, "cred_") || strings.Contains(p, credential[3:12]) {
		t.Errorf("principal %s", p)
	}
	g.Close()
	if f := holds(t, g.Dir, credential); len(f) > 0 || strings.Contains(g.Log.String(), credential) {
		t.Errorf("the credential is kept in %v", f)
	}
}

// Monitor changes nothing and says what it would have done.
func TestMonitorOnlyWatches(t *testing.T) {
	up := gatetest.NewUpstream(t)
	g := gatetest.Start(t, up, "inspect: {mode: monitor}\n")
	r := chat(`{"model":"m","messages":[{"role":"user","content":"` + hostile + `"},{"role":"tool","content":"` + hostile + `"}]}`)
	res := do(t, g.URL, r)
	if res.status != 200 || sum(up.Seen()[0].Body) != sum(r.body) {
		t.Fatalf("%d, upstream got %s", res.status, up.Seen()[0].Body)
	}
	if e := g.Event(res.header.Get("Sallyport-Id")); e.Str("would_be") != "block" || e.Str("outcome") != "completed" {
		t.Errorf("would_be %q, outcome %q", e.Str("would_be"), e.Str("outcome"))
	}
}

// Overrides: the first rule that fits decides, by model and by upstream.
func TestPolicyOverrides(t *testing.T) {
	up := gatetest.NewUpstream(t)
	g := gatetest.Start(t, up, "inspect:\n  policy:\n    - {model: \"red-*\", action: flag}\n    - {category: injection, channel: tool, action: block}\n")
	ask := func(model, role string) int {
		return do(t, g.URL, chat(`{"model":"`+model+`","messages":[{"role":"`+role+`","content":"`+hostile+`"}]}`)).status
	}
	for _, c := range []struct {
		model, role string
		want        int
	}{{"red-team", "user", 200}, {"gpt", "user", 400}, {"gpt", "tool", 400}, {"gpt", "system", 200}} {
		if got := ask(c.model, c.role); got != c.want {
			t.Errorf("%s %s: %d, want %d", c.model, c.role, got, c.want)
		}
	}
}
