package test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"sallyport.dev/sallyport/internal/store/pgtest"
	"sallyport.dev/sallyport/internal/store/redistest"
	"sallyport.dev/sallyport/test/gatetest"
)

// try is administrator.do for what may fail.
func (a *administrator) try(method, path, body string) (int, map[string]any) {
	a.t.Helper()
	r, err := http.NewRequest(method, "http://local/admin/v1"+path, strings.NewReader(body))
	if err != nil {
		a.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	res, err := a.c.Do(r)
	if err != nil {
		return 0, nil
	}
	defer res.Body.Close()
	b, _ := io.ReadAll(res.Body)
	var m map[string]any
	_ = json.Unmarshal(b, &m)
	return res.StatusCode, m
}

// cluster is two gateways on one PostgreSQL and one Redis.
type cluster struct {
	t     *testing.T
	pg    *pgtest.Server
	redis *redistest.Server
	up    *gatetest.Upstream
	gates [2]*gatetest.Gate
	admin [2]*administrator
}

func newCluster(t *testing.T, more string) *cluster {
	t.Helper()
	c := &cluster{t: t, pg: pgtest.Start(t), redis: redistest.Start(t), up: gatetest.NewUpstream(t)}
	t.Setenv("DATABASE", c.pg.Database(t))
	t.Setenv("REDIS", c.redis.URL().Reveal())
	t.Setenv("PROVIDER_KEY", "sk-of-the-provider")
	dir := t.TempDir()
	for name, text := range map[string]string{"pepper": "a pepper that two gateways share", "master": "K7gNU3sdo+OL0wNhqoVWhr3g6s1xYv72ol/pe/Unols="} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	yaml := fmt.Sprintf(`
iam: {mode: keys, database: {env: DATABASE}, redis: {env: REDIS}, nodes: 2, pepper: {file: %q}, master_key: {file: %q}%s}
proxy:
  allow_private: [127.0.0.0/8]
  upstreams:
    - {name: openai, dialect: openai, base_url: %q, credential: {env: PROVIDER_KEY}}
`, filepath.Join(dir, "pepper"), filepath.Join(dir, "master"), more, c.up.URL)
	for i := range c.gates {
		c.gates[i] = gatetest.Start(t, c.up, yaml)
		c.admin[i] = administer(t, c.gates[i])
	}
	return c
}

// after makes a change and returns how long it took to hold on each gateway.
func (c *cluster) after(change func(), status int, ask request) [2]time.Duration {
	c.t.Helper()
	start := time.Now()
	change()
	var took [2]time.Duration
	var wg sync.WaitGroup
	for i, g := range c.gates {
		wg.Go(func() {
			for {
				if do(c.t, g.URL, ask).status == status {
					took[i] = time.Since(start)
					return
				}
				if time.Since(start) > 10*time.Second {
					c.t.Errorf("gateway %d: never %d", i, status)
					return
				}
				time.Sleep(10 * time.Millisecond) // a poll of another process's work, bounded above
			}
		})
	}
	wg.Wait()
	return took
}

func (c *cluster) within(what string, took [2]time.Duration, most time.Duration) {
	c.t.Helper()
	c.t.Logf("%s: after %v and %v", what, took[0].Round(time.Millisecond), took[1].Round(time.Millisecond))
	if took[0] > most || took[1] > most {
		c.t.Errorf("%s: later than %v", what, most)
	}
}

// spend sends calls to these gateways (none: both) at once until each has refused twenty, and returns how many passed.
func (c *cluster) spend(ask request, on ...*gatetest.Gate) int {
	c.t.Helper()
	var mu sync.Mutex
	n := 0
	var wg sync.WaitGroup
	if on == nil {
		on = c.gates[:]
	}
	for _, g := range on {
		for range 2 {
			wg.Go(func() {
				for refused := 0; refused < 10; {
					switch res := do(c.t, g.URL, ask); res.status {
					case 200:
						mu.Lock()
						n++
						mu.Unlock()
					case 429:
						refused++
					default:
						c.t.Errorf("%d %s", res.status, res.body)
						return
					}
				}
			})
		}
	}
	wg.Wait()
	return n
}

func (c *cluster) logged(what string, times int) {
	c.t.Helper()
	for i, g := range c.gates {
		for end := time.Now().Add(15 * time.Second); strings.Count(g.Text(), what) < times; time.Sleep(20 * time.Millisecond) {
			if time.Now().After(end) {
				c.t.Fatalf("gateway %d never said %q", i, what)
			}
		}
	}
}

func bearer(key string) request { return chat(question).with("Authorization", "Bearer "+key) }

// Redis is killed under two gateways: limits hold within the stated overshoot, revocations go on through
// the database, and when it is back limits are exact again.
func TestRedisIsKilledUnderTwoGateways(t *testing.T) {
	c := newCluster(t, "")
	a := c.admin[0]
	const amount, nodes = 60, 2
	limited := func() string {
		_, key := a.key(fmt.Sprintf(`,"budgets":[{"unit":"requests","amount":%d,"window":"24h"}]`, amount))
		for _, g := range c.gates {
			soonLimited(t, g.URL, key)
		}
		return key
	}
	id, plain := a.key("")
	c.within("a new key", c.after(func() {}, 200, bearer(plain)), 2500*time.Millisecond)
	c.within("a policy", c.after(func() {
		a.do("POST", "/tenants/default/policies", `{"name":"stop","text":"forbid (principal, action, resource) when { context has model && context.model == \"m1\" };"}`)
	}, 403, bearer(plain)), 2*time.Second)
	for _, p := range a.do("GET", "/tenants/default/policies", "")["items"].([]any) {
		a.do("DELETE", "/tenants/default/policies/"+p.(map[string]any)["id"].(string), "")
	}
	c.within("its end", c.after(func() {}, 200, bearer(plain)), 2*time.Second)
	c.within("a revocation", c.after(func() { a.do("POST", "/tenants/default/keys/"+id+"/revoke", "") }, 401, bearer(plain)), 2*time.Second)

	// exact waits until the gateways share: one can have the whole, and the other has nothing then. A Redis
	// that is new, or came back, first hears what they hold.
	exact := func(when string) {
		for end := time.Now().Add(15 * time.Second); ; {
			key := limited()
			one, two := c.spend(bearer(key), c.gates[0]), c.spend(bearer(key), c.gates[1])
			if one == amount && two == 0 {
				break
			}
			if one+two > amount+amount*(nodes-1)/nodes || time.Now().After(end) {
				t.Fatalf("%s: %d and %d of %d passed", when, one, two, amount)
			}
		}
		key := limited()
		n := c.spend(bearer(key))
		t.Logf("%s: %d of %d passed", when, n, amount)
		if n != amount {
			t.Errorf("%s: not exact", when)
		}
	}
	exact("with Redis")
	before := limited()
	_, more := a.key(fmt.Sprintf(`,"budgets":[{"unit":"requests","amount":%d,"window":"24h"}]`, amount))
	for range 10 {
		if res := do(t, c.gates[0].URL, bearer(before)); res.status != 200 {
			t.Fatal(res.status)
		}
	}
	c.redis.Kill()
	most := amount + amount*(nodes-1)/nodes
	n := 10 + c.spend(bearer(before))
	t.Logf("Redis killed after 10: %d of %d passed, at most %d = amount + amount*(N-1)/N", n, amount, most)
	if n > most || n < amount/2 {
		t.Errorf("%d passed", n)
	}
	// Whose limit begins without Redis: each gateway has its share.
	for _, g := range c.gates {
		soonLimited(t, g.URL, more)
	}
	n = c.spend(bearer(more))
	t.Logf("begun without Redis: %d of %d passed", n, amount)
	if n > amount+nodes-1 || n < amount/2 {
		t.Errorf("%d passed", n)
	}
	id, plain = a.key("")
	c.after(func() {}, 200, bearer(plain))
	c.within("a revocation without Redis", c.after(func() { a.do("POST", "/tenants/default/keys/"+id+"/revoke", "") }, 401, bearer(plain)), 2*time.Second)

	c.redis.Up()
	c.logged("limits are shared", 1)
	exact("Redis is back")
}

// soonLimited waits until a gateway knows a key, without using it up: a call of another endpoint's method
// that the budget of requests does not reach.
func soonLimited(t *testing.T, url, key string) {
	t.Helper()
	wrong := key
	soon(t, url, request{method: "POST", target: "/v1/chat/completions", body: []byte("{")}.with("Authorization", "Bearer "+wrong), 400)
}

// PostgreSQL is killed without warning under two gateways that are being administered: what was
// acknowledged is there when it is back. While it is away, known keys go on, and end when they are
// revoked, on both gateways, within two seconds; then everything is refused.
func TestPostgreSQLIsKilledUnderTwoGateways(t *testing.T) {
	c := newCluster(t, ", offline: 5s")
	_, stays := c.admin[0].key("")
	lostID, lost := c.admin[0].key("")
	c.after(func() {}, 200, bearer(stays))
	c.after(func() {}, 200, bearer(lost))

	// Changes without end at both gateways, until the database is gone.
	var mu sync.Mutex
	acked := map[string]bool{}
	var wg sync.WaitGroup
	for _, a := range c.admin {
		wg.Go(func() {
			for {
				status, m := a.try("POST", "/tenants/default/keys", `{"name":"k","scopes":{"upstreams":["*"],"endpoints":["*"],"models":["*"]}}`)
				if status != 201 {
					return
				}
				mu.Lock()
				acked[m["key"].(map[string]any)["id"].(string)] = true
				mu.Unlock()
			}
		})
	}
	for {
		mu.Lock()
		n := len(acked)
		mu.Unlock()
		if n >= 20 {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	c.pg.Kill9(t)
	wg.Wait()
	killed := time.Now()
	for i, g := range c.gates {
		if res := do(t, g.URL, bearer(stays)); res.status != 200 {
			t.Errorf("gateway %d without the database: %d %s", i, res.status, res.body)
		}
	}
	c.within("a revocation without the database", c.after(func() {
		m := c.admin[1].do("POST", "/tenants/default/keys/"+lostID+"/revoke", "")
		if m["pending"] != "all gateways refuse it; the database is told when it answers" || m["status"] != "revoked" {
			t.Errorf("answered %v", m)
		}
	}, 401, bearer(lost)), 2*time.Second)
	for i, g := range c.gates {
		if res := do(t, g.URL, bearer(stays)); res.status != 200 && time.Since(killed) < 4*time.Second {
			t.Errorf("gateway %d: another key ended too: %d", i, res.status)
		}
		if status, _ := c.admin[i].try("POST", "/tenants/default/keys", `{"name":"k","scopes":{"upstreams":["*"],"endpoints":["*"],"models":["*"]}}`); status < 500 {
			t.Errorf("gateway %d makes a key without a database: %d", i, status)
		}
	}
	took := c.after(func() {}, 503, bearer(stays))
	t.Logf("closed %v after the kill (offline: 5s)", time.Since(killed).Round(time.Millisecond))
	_ = took
	for i, g := range c.gates {
		res := do(t, g.URL, bearer(stays))
		if res.status != 503 || !strings.Contains(string(res.body), "gateway_unavailable") || strings.Contains(string(res.body), "postgres") {
			t.Errorf("gateway %d: %d %s", i, res.status, res.body)
		}
	}
	c.gates[1].Close() // who took the revocation starts again, from its file
	c.pg.Restart(t)
	c.gates[1].Open()
	c.admin[1] = administer(t, c.gates[1])
	c.after(func() {}, 200, bearer(stays))
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		if status, m := c.admin[0].try("GET", "/tenants/default/keys/"+lostID, ""); status == 200 && m["status"] == "revoked" {
			break
		}
		if time.Now().After(end) {
			t.Fatal("the database was not told of the revocation")
		}
	}
	there := map[string]bool{}
	for after := ""; ; {
		m := c.admin[0].do("GET", "/tenants/default/keys?after="+after, "")
		for _, k := range m["items"].([]any) {
			there[k.(map[string]any)["id"].(string)] = true
		}
		if after, _ = m["next"].(string); after == "" {
			break
		}
	}
	missing := 0
	for id := range acked {
		if !there[id] {
			missing++
		}
	}
	t.Logf("%d changes were acknowledged before the kill, %d are missing", len(acked), missing)
	if missing > 0 {
		t.Error("acknowledged changes are lost")
	}
	if res := do(t, c.gates[0].URL, bearer(lost)); res.status != 401 {
		t.Errorf("the revoked key: %d", res.status)
	}
}
