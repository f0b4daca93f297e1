package upkeep

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sallyport.dev/sallyport/internal/store/pgtest"
	"sallyport.dev/sallyport/internal/store/redistest"
)

func command(bin string, args ...string) *exec.Cmd { return exec.Command(bin, args...) }

// size is n, or what a variable of the environment says: SALLYPORT_TEST_TENANTS, SALLYPORT_TEST_ROUNDS.
func size(t *testing.T, name string, n int) int {
	if s := os.Getenv("SALLYPORT_TEST_" + name); s != "" {
		v, err := strconv.Atoi(s)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	return n
}

// sealed are tenants of which each has a key and a provider credential, and what the provider got.
type sealed struct {
	t      *testing.T
	up     string
	shared string
	ids    []string // of the credentials
	keys   []string
	// newest version of each credential that a call may come with, and the oldest.
	newest, oldest []atomic.Int64
	calls          atomic.Int64
	of             map[string]int
}

func tenantOf(i int) string { return fmt.Sprintf("t%d", i) }

func value(i int, version int64) string { return fmt.Sprintf("sk-of-tenant-%d-version-%d", i, version) }

func newSealed(t *testing.T, n int) *sealed {
	s := &sealed{t: t, shared: t.TempDir(), ids: make([]string, n), keys: make([]string, n), newest: make([]atomic.Int64, n), oldest: make([]atomic.Int64, n), of: map[string]int{}}
	for i := range n {
		s.of[tenantOf(i)] = i
	}
	s.up = provider(t, func(tenant, credential string) {
		i, ok := s.of[tenant]
		// What may be seen is widened before the change and narrowed long after it.
		oldest, newest := s.oldest[i].Load(), s.newest[i].Load()
		for v := oldest; ok && v <= newest; v++ {
			if credential == value(i, v) {
				s.calls.Add(1)
				return
			}
		}
		t.Errorf("a call of %s came with %q, versions %d to %d may", tenant, credential, oldest, newest)
	})
	return s
}

// fill makes the tenants.
func (s *sealed) fill(a *admin) {
	for i := range s.ids {
		tenant := tenantOf(i)
		a.do("POST", "/tenants", fmt.Sprintf(`{"id":%q,"name":%q}`, tenant, tenant))
		s.newest[i].Store(1)
		s.oldest[i].Store(1)
		s.ids[i] = a.do("POST", "/tenants/"+tenant+"/providers", fmt.Sprintf(`{"upstream":"openai","name":"n","value":%q}`, value(i, 1)))["id"].(string)
		_, s.keys[i] = a.key(tenant, "k")
	}
}

// settle waits until a gateway sends what is sealed, of every tenant.
func (s *sealed) settle(g *gateway) {
	s.t.Helper()
	for i := range s.keys {
		for end := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
			status, text := g.call(tenantOf(i), s.keys[i])
			if status == 200 {
				break
			}
			if time.Now().After(end) {
				s.t.Fatalf("%s: %d %s", tenantOf(i), status, text)
			}
		}
	}
}

// all calls once for every tenant, of which each call must come with its own credential.
func (s *sealed) all(g *gateway) {
	s.t.Helper()
	var wg sync.WaitGroup
	for c := range 4 {
		wg.Go(func() {
			for i := c; i < len(s.keys); i += 4 {
				if status, text := g.call(tenantOf(i), s.keys[i]); status != 200 {
					s.t.Errorf("%s: %d %s", tenantOf(i), status, text)
				}
			}
		})
	}
	wg.Wait()
}

// rotate gives some tenants a new value, and says which.
func (s *sealed) rotate(a *admin, which []int) {
	s.t.Helper()
	for _, i := range which {
		v := s.newest[i].Add(1)
		a.do("POST", "/tenants/"+tenantOf(i)+"/providers/"+s.ids[i]+"/versions", fmt.Sprintf(`{"value":%q,"activate":true}`, value(i, v)))
	}
}

// inUse says how many data keys each master key wraps.
func inUse(a *admin) (n map[string]int, sum int) {
	a.t.Helper()
	n = map[string]int{}
	for id, v := range a.do("GET", "/system/master-key", "")["in_use"].(map[string]any) {
		n[id] = int(v.(float64))
		sum += n[id]
	}
	return n, sum
}

// Two gateways on PostgreSQL and Redis call with credentials that are sealed, for many tenants, while the master key is
// replaced on both, credentials and data keys are rotated and everything is sealed anew: no call is refused, each comes
// with its own tenant's credential, and what the old master key wrapped is gone.
func TestTheMasterKeyIsReplacedOnTwoGateways(t *testing.T) {
	pg, redis := pgtest.Start(t), redistest.Start(t)
	env := []string{"DATABASE=" + pg.Database(t), "REDIS=" + redis.URL().Reveal()}
	for _, e := range env {
		k, v, _ := strings.Cut(e, "=")
		t.Setenv(k, v)
	}
	s := newSealed(t, size(t, "TENANTS", 60))
	var gates [2]*gateway
	for i := range gates {
		gates[i] = newGateway(t, s.shared, s.up, ", database: {env: DATABASE}, redis: {env: REDIS}, nodes: 2")
		gates[i].configure(s.shared, 0)
		gates[i].mustStart()
	}
	a := gates[0].admin()
	s.fill(a)
	s.settle(gates[0])
	s.settle(gates[1])
	stop := load(t, 8, func(i int) (int, string) {
		return gates[i%2].call(tenantOf(i%len(s.keys)), s.keys[i%len(s.keys)])
	})
	passed := func(n int64) { // that many more calls
		for from := s.calls.Load(); s.calls.Load() < from+n && !t.Failed(); time.Sleep(time.Millisecond) {
			continue // other goroutines call
		}
	}
	passed(200)
	// Readable everywhere first, then current everywhere.
	for _, keys := range [][]int{{0, 1}, {1, 0}} {
		for _, g := range gates {
			g.configure(s.shared, keys...)
			g.reload()
			passed(100)
		}
	}
	var some []int
	for i := range s.keys {
		if i%3 == 0 {
			some = append(some, i)
		}
	}
	var wg sync.WaitGroup
	wg.Go(func() { s.rotate(gates[1].admin(), some) })
	for range 2 { // both are asked at the same time
		wg.Go(func() { a.do("POST", "/system/master-key/rewrap", "") })
		wg.Go(func() { gates[1].admin().do("POST", "/system/master-key/rewrap", "") })
	}
	wg.Wait()
	passed(200)
	a.do("POST", "/system/data-keys/rotate", "")
	passed(200)
	a.do("POST", "/system/master-key/rewrap", "")
	n, sum := inUse(a)
	if len(n) != 1 || sum < len(s.keys) {
		t.Errorf("%v", n)
	}
	for _, g := range gates {
		g.configure(s.shared, 1)
		g.reload()
		passed(200)
	}
	// By now the values of before must be out of use.
	for _, i := range some {
		s.oldest[i].Store(s.newest[i].Load())
	}
	passed(400)
	calls := stop()
	t.Logf("%d calls of %d tenants on two gateways, none refused; %d data keys, %d credentials rotated", calls, len(s.keys), sum, len(some))
	for _, g := range gates {
		g.proc.Kill()
	}
	// The old master key opens nothing.
	gates[0].configure(s.shared, 0)
	if err := gates[0].start(); err == nil {
		t.Error("it starts with the master key of before")
	}
	gates[0].configure(s.shared, 1)
	gates[0].mustStart()
	s.all(gates[0])
}

// A gateway that is killed in the midst of a re-wrap, at a random moment, starts again with both master keys: every
// data key is wrapped by one of them, everything sealed opens, and a further re-wrap ends what was begun.
func TestKilledWithinARewrap(t *testing.T) {
	for _, engine := range []string{"sqlite", "postgres"} {
		t.Run(engine, func(t *testing.T) {
			s := newSealed(t, size(t, "TENANTS", 150))
			more := ""
			if engine == "postgres" {
				t.Setenv("DATABASE", pgtest.Start(t).Database(t))
				more = ", database: {env: DATABASE}"
			}
			g := newGateway(t, s.shared, s.up, more)
			g.configure(s.shared, 0)
			g.mustStart()
			s.fill(g.admin())
			s.settle(g)
			_, total := inUse(g.admin())
			g.proc.Kill()

			seed := uint64(time.Now().UnixNano())
			r := rand.New(rand.NewPCG(seed, 1))
			rounds, within := size(t, "ROUNDS", 12), 0
			whole := time.Duration(0) // how long a re-wrap takes when nobody interferes
			for round := range rounds {
				now, before := (round+1)%2, round%2
				g.configure(s.shared, now, before)
				g.mustStart()
				a := g.admin()
				if round == 0 {
					// The first is not interrupted, and is undone.
					start := time.Now()
					a.do("POST", "/system/master-key/rewrap", "")
					whole = time.Since(start)
					g.proc.Kill()
					g.configure(s.shared, before, now)
					g.mustStart()
					g.admin().do("POST", "/system/master-key/rewrap", "")
					g.proc.Kill()
					g.configure(s.shared, now, before)
					g.mustStart()
					a = g.admin()
				}
				done := make(chan struct{})
				go func() {
					defer close(done)
					a.try("POST", "/system/master-key/rewrap", "")
				}()
				time.Sleep(time.Duration(r.Int64N(int64(whole)))) // the moment of the crash, not a wait for something
				g.proc.Kill()
				<-done
				g.mustStart()
				a = g.admin()
				n, sum := inUse(a)
				if sum != total {
					t.Fatalf("round %d, seed %d: %d data keys, want %d", round, seed, sum, total)
				}
				if len(n) == 2 {
					within++
				}
				s.all(g)
				if m := a.do("POST", "/system/master-key/rewrap", ""); len(m["in_use"].(map[string]any)) != 1 {
					t.Fatalf("round %d, seed %d: %v", round, seed, m)
				}
				g.proc.Kill()
				g.configure(s.shared, now) // the other one is not needed any more
				g.mustStart()
				s.all(g)
				g.proc.Kill()
			}
			t.Logf("killed %d times, %d of them with a part of %d data keys done (seed %d, %v each)", rounds, within, total, seed, whole.Round(time.Millisecond))
			if within < rounds/4 {
				t.Error("too few were within")
			}
		})
	}
}

// The database is killed in the midst of a re-wrap. The gateway goes on calling with what it has opened; when the
// database is back, a further re-wrap ends what was begun.
func TestTheDatabaseIsKilledWithinARewrap(t *testing.T) {
	pg := pgtest.Start(t)
	t.Setenv("DATABASE", pg.Database(t))
	s := newSealed(t, size(t, "TENANTS", 60))
	g := newGateway(t, s.shared, s.up, ", database: {env: DATABASE}")
	g.configure(s.shared, 0, 1)
	g.mustStart()
	a := g.admin()
	s.fill(a)
	s.settle(g)
	_, total := inUse(a)
	stop := load(t, 4, func(i int) (int, string) { return g.call(tenantOf(i%len(s.keys)), s.keys[i%len(s.keys)]) })
	now, within := 1, 0
	for round := range 6 {
		g.configure(s.shared, now, 1-now)
		g.reload()
		answered := make(chan int, 1)
		go func() {
			status, _ := a.try("POST", "/system/master-key/rewrap", "")
			answered <- status
		}()
		for len(answered) == 0 { // until a part is done
			if _, m := a.try("GET", "/system/master-key", ""); len(m["in_use"].(map[string]any)) == 2 {
				break
			}
		}
		pg.Kill9(t)
		status := <-answered
		pg.Restart(t)
		var n map[string]int
		for end := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
			if status, m := a.try("GET", "/system/master-key", ""); status == 200 {
				n = map[string]int{}
				sum := 0
				for id, v := range m["in_use"].(map[string]any) {
					n[id] = int(v.(float64))
					sum += n[id]
				}
				if sum != total {
					t.Fatalf("round %d: %d data keys, want %d", round, sum, total)
				}
				break
			}
			if time.Now().After(end) {
				t.Fatal("the gateway does not find the database again")
			}
		}
		if len(n) == 2 {
			within++
			if status == 200 {
				t.Errorf("round %d: a part is not done, and it was said to be", round)
			}
		}
		if m := a.do("POST", "/system/master-key/rewrap", ""); len(m["in_use"].(map[string]any)) != 1 {
			t.Fatalf("round %d: %v", round, m)
		}
		now = 1 - now
	}
	t.Logf("%d calls meanwhile, none refused; killed 6 times, %d of them with a part of %d data keys done", stop(), within, total)
	g.proc.Kill()
	g.configure(s.shared, 1-now)
	g.mustStart()
	s.all(g)
}
