package test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// ledger is every administrative change that was acknowledged, to be compared with what there is later.
type ledger struct {
	t        *testing.T
	mu       sync.Mutex
	keys     map[string]*madeKey // by id
	policies map[string]*madePolicy
	others   map[string]string // "teams/id": name
	changes  []int             // by gateway
	lost     int               // changes that were not answered: nobody knows
}

type madeKey struct {
	secret  string
	revoked bool
	unsure  bool // a change of it was not answered
}

type madePolicy struct {
	model           string
	deleted, unsure bool
}

func newLedger(t *testing.T, gateways int) *ledger {
	return &ledger{t: t, keys: map[string]*madeKey{}, policies: map[string]*madePolicy{}, others: map[string]string{}, changes: make([]int, gateways)}
}

// note runs f on the books.
func (l *ledger) note(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f()
}

func (l *ledger) done(gateway int) (n int) {
	l.note(func() { n = l.changes[gateway] })
	return n
}

// keep makes changes at a gateway, at others when it does not take them, until ctx ends. Every answer must be
// the one of a change that was made.
func (l *ledger) keep(ctx context.Context, gateway int, as ...*administrator) {
	ask := func(want int, method, path, body string) (map[string]any, bool) {
		status, m, ok := asOne(method, "/tenants/default"+path, body, as...)
		switch {
		case !ok:
			l.note(func() { l.lost++ })
			return nil, false
		case status != want:
			l.t.Errorf("an administrative change was refused: %s %s: %d %v", method, path, status, m)
			return nil, false
		}
		l.note(func() { l.changes[gateway]++ })
		return m, true
	}
	for i := 0; ctx.Err() == nil && !l.t.Failed(); i++ {
		name := fmt.Sprintf("%d-%d", gateway, i)
		if m, ok := ask(201, "POST", "/keys", `{"name":"`+name+`","scopes":{"upstreams":["*"],"endpoints":["*"],"models":["*"]}}`); ok {
			id := m["key"].(map[string]any)["id"].(string)
			l.note(func() { l.keys[id] = &madeKey{secret: m["secret"].(string)} })
			if i%2 == 1 {
				_, ok := ask(200, "POST", "/keys/"+id+"/revoke", "")
				l.note(func() { l.keys[id].revoked, l.keys[id].unsure = ok, !ok })
			}
		}
		if m, ok := ask(201, "POST", "/policies", `{"name":"`+name+`","text":"forbid (principal, action, resource) when { context has model && context.model == \"forbidden-`+name+`\" };"}`); ok {
			id := m["id"].(string)
			l.note(func() { l.policies[id] = &madePolicy{model: "forbidden-" + name} })
			if i%3 != 0 {
				_, ok := ask(204, "DELETE", "/policies/"+id, "")
				l.note(func() { l.policies[id].deleted, l.policies[id].unsure = ok, !ok })
			}
		}
		for kind, body := range map[string]string{"teams": `{"name":"` + name + `"}`, "users": `{"user_name":"u` + name + `","name":"` + name + `","active":true}`} {
			if m, ok := ask(201, "POST", "/"+kind, body); ok {
				l.note(func() { l.others[kind+"/"+m["id"].(string)] = name })
			}
		}
		time.Sleep(20 * time.Millisecond) // a pace, so that calls go on beside it
	}
}

// all reads a whole list.
func (a *administrator) all(path string) map[string]map[string]any {
	a.t.Helper()
	out := map[string]map[string]any{}
	for after := ""; ; {
		m := a.do("GET", path+"?after="+after, "")
		for _, x := range m["items"].([]any) {
			out[x.(map[string]any)["id"].(string)] = x.(map[string]any)
		}
		if after, _ = m["next"].(string); after == "" {
			return out
		}
	}
}

// compare holds what was acknowledged against what an administrator and callers of a gateway find.
func (l *ledger) compare(where string, a *administrator, url string) {
	l.t.Helper()
	keys, policies := a.all("/tenants/default/keys"), a.all("/tenants/default/policies")
	missing := 0
	miss := func(format string, args ...any) {
		l.t.Helper()
		if missing++; missing <= 10 {
			l.t.Errorf(where+": "+format, args...)
		}
	}
	for id, k := range l.keys {
		if k.unsure {
			continue
		}
		status, want := "active", http.StatusOK
		if k.revoked {
			status, want = "revoked", http.StatusUnauthorized
		}
		if keys[id] == nil || keys[id]["status"] != status {
			miss("the key %s is lost or not %s: %v", id, status, keys[id])
		} else if res := do(l.t, url, bearer(k.secret)); res.status != want {
			miss("the key %s, %s: %d %s", id, status, res.status, res.body)
		}
	}
	var living string
	for _, k := range l.keys {
		if !k.revoked && !k.unsure {
			living = k.secret
		}
	}
	for id, p := range l.policies {
		if p.unsure {
			continue
		}
		want := http.StatusForbidden
		if p.deleted {
			want = http.StatusOK
		}
		if (policies[id] == nil) != p.deleted {
			miss("the policy %s: deleted is %v, found %v", id, p.deleted, policies[id])
		} else if res := do(l.t, url, chat(strings.Replace(question, "m1", p.model, 1)).with("Authorization", "Bearer "+living)); res.status != want {
			miss("the policy of %s: %d %s", p.model, res.status, res.body)
		}
	}
	for _, kind := range []string{"teams", "users"} {
		found := a.all("/tenants/default/" + kind)
		for at, name := range l.others {
			if id, ok := strings.CutPrefix(at, kind+"/"); ok && (found[id] == nil || found[id]["name"] != name) {
				miss("%s %s is lost: %v", kind, id, found[id])
			}
		}
	}
	l.t.Logf("%s: %d keys, %d policies and %d others were acknowledged; %d are not as they were, %d changes were not answered",
		where, len(l.keys), len(l.policies), len(l.others), missing, l.lost)
}

// recorded holds the changes against the records of all gateways.
func (l *ledger) recorded(text string) {
	l.t.Helper()
	missing := 0
	look := func(id string) {
		if !strings.Contains(text, id) {
			missing++
		}
	}
	for id := range l.keys {
		look(id)
	}
	for id := range l.policies {
		look(id)
	}
	for at := range l.others {
		_, id, _ := strings.Cut(at, "/")
		look(id)
	}
	if missing > 0 {
		l.t.Errorf("%d changes are not on the record", missing)
	}
}
