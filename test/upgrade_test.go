package test

import (
	"context"
	"fmt"
	"math"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sallyport.dev/sallyport/internal/store/pgtest"
	"sallyport.dev/sallyport/internal/store/redistest"
)

// site is gateways of two releases on the same files, databases and addresses.
type site struct {
	t           *testing.T
	before, now string // programs
	provider    *provider
	gates       []*process
	admin       []*administrator
	consoles    []string
	origin      string
	lb          *balancer
	books       *ledger
	stays       string // a key
	requests    string // one with a budget of requests, budget of them
	tokens      string // one with a budget of tokens, 20 for each of budget calls
	holder      *holder
	spent       [2]atomic.Int64
	refused     atomic.Int64
}

// budget is the calls that a budget is for; most of them are made while gateways are replaced.
const budget, most = 2000, 1500

// newSite begins n gateways of the release before, with what an installation has.
func newSite(t *testing.T, before, now string, n int, database string) *site {
	t.Helper()
	s := &site{t: t, before: before, now: now, provider: newProvider(t), books: newLedger(t, n)}
	t.Setenv("REDIS", redistest.Start(t).URL().Reveal())
	t.Setenv("PROVIDER_KEY", "sk-from-the-config")
	dir := t.TempDir()
	pepper, master := keep(t, dir, "pepper", "a pepper that all gateways share"), keep(t, dir, "master", "K7gNU3sdo+OL0wNhqoVWhr3g6s1xYv72ol/pe/Unols=")
	var urls []string
	for i := range n {
		port, console := freePort(t), freePort(t)
		if i == 0 {
			s.origin = fmt.Sprintf("http://localhost:%d", console)
		}
		urls = append(urls, fmt.Sprintf("http://127.0.0.1:%d", port))
		s.consoles = append(s.consoles, fmt.Sprintf("http://localhost:%d", console))
		yaml := fmt.Sprintf(`
listen: {address: "127.0.0.1:%d"}
data_dir: %q
console: {address: "localhost:%d", public_url: %q}
iam: {mode: keys, redis: {env: REDIS}, nodes: %d, pepper: {file: %q}, master_key: {file: %q}%s}
proxy:
  allow_private: [127.0.0.0/8]
  upstreams:
    - {name: openai, dialect: openai, base_url: %q, credential: {env: PROVIDER_KEY}}
`, port, filepath.Join(dir, fmt.Sprint("data", i)), console, s.origin, n, pepper, master, database, s.provider.URL)
		s.gates = append(s.gates, &process{t: t, url: urls[i], config: keep(t, dir, fmt.Sprintf("%d.yaml", i), yaml)})
		s.gates[i].start(before)
		s.admin = append(s.admin, s.gates[i].administer())
	}
	s.lb = newBalancer(t, s.provider, urls...)
	a := s.admin[0]
	_, s.stays = a.key("")
	_, s.requests = a.key(fmt.Sprintf(`,"budgets":[{"unit":"requests","amount":%d,"window":"744h"}]`, budget))
	_, s.tokens = a.key(fmt.Sprintf(`,"budgets":[{"unit":"tokens","amount":%d,"window":"744h"}]`, 20*budget))
	a.do("POST", "/providers", `{"upstream":"openai","name":"n","value":"sk-that-is-sealed"}`)
	s.holder = newHolder(t, a, s.origin, s.consoles[0], "ada")
	a.do("POST", "/tenants/default/bindings", `{"subject_kind":"user","subject":"`+s.holder.id+`","role":"auditor"}`)
	for _, g := range s.gates {
		for _, key := range []string{s.stays, s.requests, s.tokens} {
			soonLimited(t, g.url, key)
		}
	}
	for seen := ""; seen != "Bearer sk-that-is-sealed"; time.Sleep(5 * time.Millisecond) { // until the change has arrived
		for range s.gates {
			s.one(s.stays)
		}
		all := s.provider.Seen()
		if seen = all[len(all)-1].Header.Get("Authorization"); seen != all[len(all)-n].Header.Get("Authorization") {
			seen = ""
		}
	}
	s.provider.mu.Lock()
	s.provider.keys = map[string]int{}
	s.provider.mu.Unlock()
	return s
}

// one sends a call, which must not be refused.
func (s *site) one(key string) bool {
	status, text := s.lb.call(key)
	if status != 200 {
		s.refused.Add(1)
		s.t.Errorf("a call was refused: %d %s", status, text)
	}
	return status == 200
}

// traffic calls and administers without end until stop.
func (s *site) traffic() (stop func()) {
	ctx, cancel := context.WithCancel(s.t.Context())
	var wg sync.WaitGroup
	client := func(key string, n *atomic.Int64, most int64) {
		wg.Go(func() {
			for ctx.Err() == nil && n.Load() < most && s.one(key) {
				n.Add(1)
				time.Sleep(4 * time.Millisecond) // a pace
			}
		})
	}
	for range 4 {
		client(s.stays, new(atomic.Int64), math.MaxInt64)
	}
	client(s.requests, &s.spent[0], most)
	client(s.tokens, &s.spent[1], most)
	for i := range s.gates {
		as := append([]*administrator{s.admin[i]}, s.admin[:i]...)
		wg.Go(func() { s.books.keep(ctx, i, append(as, s.admin[i+1:]...)...) })
	}
	return func() { cancel(); wg.Wait() }
}

// going waits until every one of these gateways has answered some more calls, and some changes were made.
func (s *site) going(when string, gateways ...int) {
	s.t.Helper()
	for _, i := range gateways {
		calls, changes := s.lb.answered[i].Load()+150, s.books.done(i)+20
		for end := time.Now().Add(30 * time.Second); s.lb.answered[i].Load() < calls || s.books.done(i) < changes; time.Sleep(5 * time.Millisecond) {
			if s.t.Failed() || time.Now().After(end) {
				s.t.Fatalf("%s: gateway %d stands still: %d calls, %d changes\n%s", when, i, s.lb.answered[i].Load(), s.books.done(i), &s.gates[i].log)
			}
		}
	}
}

// replace ends a gateway in the middle of calls, and begins this release on what it left. A call that it has
// begun ends well. It returns how many connections ended without an answer meanwhile.
func (s *site) replace(i int) int64 {
	s.t.Helper()
	n, body := s.lb.numbered()
	answer := s.provider.hold(n)
	type result struct {
		status int
		text   string
	}
	got := make(chan result, 1)
	go func() { status, text := s.lb.send(i, n, s.stays, body); got <- result{status, text} }()
	for end := time.Now().Add(20 * time.Second); s.provider.times(n) == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			s.t.Fatal("the call that is to be in flight does not arrive")
		}
	}
	cut, began := s.lb.cut.Load(), time.Now()
	s.gates[i].signal()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		c, err := net.Dial("tcp", strings.TrimPrefix(s.gates[i].url, "http://"))
		if err != nil {
			break
		}
		if _ = c.Close(); time.Now().After(end) {
			s.t.Fatal("it goes on taking calls")
		}
	}
	close(answer)
	if r := <-got; r.status != 200 {
		s.t.Errorf("the call in flight: %d %s", r.status, r.text)
	}
	if err := s.gates[i].end(); err != nil {
		s.t.Fatalf("the release before ended badly: %v\n%s", err, &s.gates[i].log)
	}
	s.gates[i].start(s.now)
	s.t.Logf("gateway %d was away for %v, %d connections were cut before an answer", i, time.Since(began).Round(time.Millisecond), s.lb.cut.Load()-cut)
	return s.lb.cut.Load() - cut
}

// between makes changes at one gateway that must hold at another.
func (s *site) between(from, to int) {
	s.t.Helper()
	a, url := s.admin[from], s.gates[to].url
	id, key := a.key("")
	soon(s.t, url, bearer(key), 200)
	p := a.do("POST", "/tenants/default/policies", `{"name":"between","text":"forbid (principal, action, resource) when { context has model && context.model == \"between\" };"}`)["id"].(string)
	ask := chat(strings.Replace(question, "m1", "between", 1)).with("Authorization", "Bearer "+key)
	soon(s.t, url, ask, 403)
	a.do("DELETE", "/tenants/default/policies/"+p, "")
	soon(s.t, url, ask, 200)
	a.do("POST", "/tenants/default/keys/"+id+"/revoke", "")
	soon(s.t, url, bearer(key), 401)
	// Somebody who signed in at one goes on at the other, until they sign out.
	b := s.holder.signIn(newBrowser(s.t, s.consoles[from]))
	plant(s.t, s.consoles[to], b.token()).must(200, "GET", "/me", "")
	b.must(204, "POST", "/me/sign-out", "")
	plant(s.t, s.consoles[to], b.token()).must(401, "GET", "/me", "")
}

// finish compares everything with what was acknowledged. All gateways are of this release.
func (s *site) finish(session string) {
	s.t.Helper()
	t := s.t
	for i, g := range s.gates {
		name := fmt.Sprint("gateway ", i)
		time.Sleep(600 * time.Millisecond) // what was changed last arrives within two polls of the store
		s.books.compare(name, s.admin[i], g.url)
		plant(t, s.consoles[i], session).must(200, "GET", "/me", "")
	}
	s.provider.mu.Lock()
	for n, times := range s.provider.came {
		if times != 1 {
			t.Errorf("call %s came to the provider %d times", n, times)
		}
	}
	if n := len(s.provider.keys); n != 1 || s.provider.keys["Bearer sk-that-is-sealed"] == 0 {
		t.Errorf("calls had these credentials: %v", s.provider.keys)
	}
	came := len(s.provider.came)
	s.provider.mu.Unlock()
	t.Logf("%d calls, %d refused; %d connections not taken, %d cut before an answer", came, s.refused.Load(), s.lb.over.Load(), s.lb.cut.Load())
	// Budgets are what they were: what is left can be spent, and not more.
	for i, x := range []struct {
		what, key string
		slack     int64 // calls that the last reservations may keep out
	}{{"requests", s.requests, 0}, {"tokens", s.tokens, 8}} {
		before := s.spent[i].Load()
		n := before
		for refused := 0; refused < 2*len(s.gates)+2; {
			switch status, text := s.lb.call(x.key); status {
			case 200:
				n, refused = n+1, 0
			case 429:
				refused++
			default:
				t.Fatalf("%d %s", status, text)
			}
		}
		t.Logf("budget of %s: %d calls before, %d in all, of %d", x.what, before, n, budget)
		if n > budget || n < budget-x.slack {
			t.Errorf("of a budget for %d calls %d were used", budget, n)
		}
	}
}

// verify ends all gateways and looks at their records.
func (s *site) verify() {
	s.t.Helper()
	var records strings.Builder
	for _, g := range s.gates {
		g.stop()
		if out, err := g.command(s.now, "audit", "verify"); err != nil || !strings.Contains(out, "the record is whole") {
			s.t.Errorf("the record is not whole: %v\n%s", err, out)
		}
		out, err := g.command(s.now, "audit", "export", "--admin")
		if err != nil {
			s.t.Fatalf("%v\n%s", err, out)
		}
		records.WriteString(out)
	}
	s.books.recorded(records.String())
}

// olderRefuses begins the release before on the newer schema, which it must refuse in so many words.
func (s *site) olderRefuses(i int) {
	s.t.Helper()
	s.gates[i].stop()
	s.gates[i].begin(s.before)
	if err := s.gates[i].end(); err == nil || !strings.Contains(s.gates[i].log.String(), "use a newer release") {
		s.t.Errorf("the release before, on the newer schema: %v\n%s", err, &s.gates[i].log)
	}
}

// The release before is replaced by this one while calls and changes go on, as an operator does it: no
// request is refused, and nothing that was acknowledged is lost.
func TestUpgradeFromTheReleaseBefore(t *testing.T) {
	before := theReleaseBefore(t)
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	now := builtFrom(t, root, "now")
	t.Run("two gateways on PostgreSQL", func(t *testing.T) {
		t.Setenv("DATABASE", pgtest.Start(t).Database(t))
		s := newSite(t, before, now, 2, ", database: {env: DATABASE}")
		session := s.holder.signIn(newBrowser(t, s.consoles[0])).token()
		stop := s.traffic()
		s.going("before", 0, 1)
		s.replace(0) // this release changes the schema; the release before goes on at the other
		s.going("both releases", 0, 1)
		s.between(0, 1)
		s.between(1, 0)
		plant(t, s.consoles[0], session).must(200, "GET", "/me", "")
		plant(t, s.consoles[1], session).must(200, "GET", "/me", "")
		s.replace(1)
		s.going("after", 0, 1)
		s.between(0, 1)
		// The same, from this release to itself, which tells the balancer before it closes.
		if n := s.replace(0); n != 0 {
			t.Errorf("%d connections were cut before an answer", n)
		}
		s.going("again", 0, 1)
		stop()
		if t.Failed() {
			return
		}
		s.finish(session)
		s.olderRefuses(1)
		s.one(s.stays) // the other one goes on
		s.gates[1].start(now)
		s.verify()
	})
	t.Run("one gateway on SQLite", func(t *testing.T) {
		s := newSite(t, before, now, 1, "")
		session := s.holder.signIn(newBrowser(t, s.consoles[0])).token()
		stop := s.traffic()
		s.going("before", 0)
		// The files are one process's: another one does not begin beside it, and leaves them alone.
		second := &process{t: t, config: s.gates[0].config}
		second.begin(now)
		if err := second.end(); err == nil {
			t.Error("two gateways on one data directory")
		}
		s.going("after another was turned away", 0)
		files := t.TempDir()
		first, last := filepath.Join(files, "first"), filepath.Join(files, "last")
		if out, err := s.gates[0].command(before, "backup", first); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		s.replace(0)
		s.going("after", 0)
		stop()
		if t.Failed() {
			return
		}
		s.finish(session)
		if out, err := s.gates[0].command(now, "backup", last); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		s.olderRefuses(0)
		s.wayBack(first, false)
		s.wayBack(last, true)
		s.gates[0].start(now)
		s.one(s.stays)
		s.verify()
	})
}

// wayBack restores a backup with the release before, in an empty place; whole says that it was made last.
func (s *site) wayBack(backup string, whole bool) {
	s.t.Helper()
	text, err := os.ReadFile(s.gates[0].config)
	if err != nil {
		s.t.Fatal(err)
	}
	dir := s.t.TempDir()
	yaml := strings.Replace(string(text), "data_dir: ", "data_dir: "+filepath.Join(dir, "data")+" # ", 1)
	p := &process{t: s.t, config: keep(s.t, dir, "back.yaml", yaml), url: s.gates[0].url}
	if out, err := p.command(s.before, "restore", backup); err != nil {
		s.t.Fatalf("%v\n%s", err, out)
	}
	p.start(s.before)
	s.one(s.stays)
	if whole {
		s.books.compare("the release before, from a backup of this one", p.administer(), p.url)
	}
	p.stop()
}
