package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"runtime"
	"runtime/metrics"
	"runtime/pprof"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"sallyport.dev/sallyport/internal/config"
	"sallyport.dev/sallyport/internal/gate"
	"sallyport.dev/sallyport/internal/iam"
	"sallyport.dev/sallyport/internal/iam/apikey"
	"sallyport.dev/sallyport/internal/iam/directory"
	"sallyport.dev/sallyport/internal/iam/document"
	"sallyport.dev/sallyport/internal/iam/limits"
	"sallyport.dev/sallyport/internal/iam/places"
	"sallyport.dev/sallyport/internal/iam/policies"
	"sallyport.dev/sallyport/internal/iam/quota"
	"sallyport.dev/sallyport/internal/secret"
	"sallyport.dev/sallyport/internal/store/memory"
)

// The size that the goal is for.
const (
	hotTenants, hotKeys = 100, 100_000
	hotGoal             = 10 * time.Microsecond
)

// asks counts the questions to a database.
type asks struct{ n atomic.Int64 }

type countedDocs struct {
	document.Store
	*asks
}

func (c countedDocs) Get(ctx context.Context, kind, id string) (document.Doc, error) {
	c.n.Add(1)
	return c.Store.Get(ctx, kind, id)
}

func (c countedDocs) Find(ctx context.Context, kind, key string) (document.Doc, error) {
	c.n.Add(1)
	return c.Store.Find(ctx, kind, key)
}

func (c countedDocs) List(ctx context.Context, q document.Query) ([]document.Doc, error) {
	c.n.Add(1)
	return c.Store.List(ctx, q)
}

func (c countedDocs) Changes(ctx context.Context, at document.Position, limit int) ([]document.Doc, document.Position, error) {
	c.n.Add(1)
	return c.Store.Changes(ctx, at, limit)
}

func (c countedDocs) Write(ctx context.Context, f func(document.Tx) error) error {
	c.n.Add(1)
	return c.Store.Write(ctx, f)
}

// countedKeys is a key store of what it was made with.
type countedKeys struct {
	keys []iam.Key
	*asks
}

func (c countedKeys) Keys(context.Context) ([]iam.Key, int64, error) {
	c.n.Add(1)
	return c.keys, 1, nil
}

func (c countedKeys) Changed(_ context.Context, after int64) ([]iam.Key, bool, int64, error) {
	c.n.Add(1)
	if after > 0 {
		return nil, false, 1, nil
	}
	return c.keys, true, 1, nil
}

func (c countedKeys) Version(context.Context) (int64, error) { c.n.Add(1); return 1, nil }
func (c countedKeys) Insert(context.Context, iam.Key) error  { return iam.ErrExists }
func (c countedKeys) Update(context.Context, string, func(*iam.Key) error) (iam.Key, error) {
	return iam.Key{}, iam.ErrNotFound
}

// hotPolicies are those of each tenant: what people write, over every part of a call.
var hotPolicies = []string{
	`permit(principal, action, resource) when { context.scopes_granted };`,
	`forbid(principal, action, resource) when { context has ip && context.ip.isInRange(ip("192.0.2.0/24")) };`,
	`forbid(principal in Team::"%[1]s", action, resource == Model::"gpt-4");`,
	`forbid(principal, action, resource) when { context has model && context.model like "o1-*" };`,
	`forbid(principal is Key, action, resource) when { principal.class == "ci" && context.streamed };`,
	`forbid(principal, action, resource in Upstream::"other");`,
	`forbid(principal, action, resource) when { context.bytes > 1048576 };`,
	`forbid(principal in Role::"developer", action, resource in Endpoint::"batches");`,
	`forbid(principal, action, resource) when { context has epoch && context.epoch < 1000 };`,
	`forbid(principal, action, resource) when { context has data_classes && context.data_classes.contains("secret") };`,
}

// hot is the first layer as a server wires it, at the size of the goal, without a listener.
type hot struct {
	asks          *asks
	arrive, admit *gate.Pipeline
	settle        func(*gate.Exchange)
	tokens        []string // as they stand in the header
	hasher        *apikey.Hasher
	refresh       func(context.Context) error
	policies      int
}

func newHot(tb testing.TB) *hot {
	tb.Helper()
	must := func(err error) {
		tb.Helper()
		if err != nil {
			tb.Fatal(err)
		}
	}
	ctx := context.Background()
	h := &hot{asks: &asks{}}
	cfg, err := config.Parse("hot", []byte(fmt.Sprintf("data_dir: %q\niam: {mode: keys}\nproxy: {upstreams: [{name: openai, dialect: openai, base_url: \"https://127.0.0.1\"}]}\n", tb.TempDir())))
	must(err)
	s := &Server{cfg: cfg, offline: cfg.IAM.Offline, log: slog.New(slog.NewTextHandler(io.Discard, nil))}
	s.state, err = openState(cfg)
	must(err)
	hasher, err := apikey.NewHasher(secret.New(string(s.state.pepper)))
	must(err)
	h.hasher = hasher
	docs := &memory.Documents{}
	h.tokens = make([]string, hotKeys)
	keys := make([]iam.Key, hotKeys)
	must(docs.Write(ctx, func(tx document.Tx) error {
		for t := range hotTenants {
			tenant, team, user := fmt.Sprintf("tenant%d", t), fmt.Sprintf("team_%d", t), fmt.Sprintf("user_%d", t)
			put := []func() error{
				func() error {
					_, err := document.Put(ctx, tx, directory.Tenant{ID: tenant, Name: tenant}, 0)
					return err
				},
				func() error {
					_, err := document.Put(ctx, tx, directory.User{ID: user, Tenant: tenant, UserName: user, Name: user, Active: true, Origin: directory.OriginLocal}, 0)
					return err
				},
				func() error {
					_, err := document.Put(ctx, tx, directory.Team{ID: team, Tenant: tenant, Name: team, Members: []string{user}}, 0)
					return err
				},
				func() error {
					_, err := document.Put(ctx, tx, limits.Limit{ID: "cost_" + tenant, Tenant: tenant, Of: limits.OfTenant, Unit: "cost", Amount: 1 << 49, Window: quota.Month}, 0)
					return err
				},
				func() error {
					_, err := document.Put(ctx, tx, limits.Limit{ID: "each_" + tenant, Tenant: tenant, Of: limits.EachKey, Model: "gpt-*", Unit: "requests", Amount: 1 << 49, Window: quota.Minute}, 0)
					return err
				},
			}
			for i, text := range hotPolicies {
				if strings.Contains(text, "%") {
					text = fmt.Sprintf(text, team)
				}
				put = append(put, func() error {
					_, err := document.Put(ctx, tx, policies.Policy{ID: fmt.Sprintf("policy_%d_%d", t, i), Tenant: tenant, Name: fmt.Sprint("p", i), Text: text}, 0)
					return err
				})
			}
			for _, p := range put {
				if err := p(); err != nil {
					return err
				}
			}
		}
		return nil
	}))
	for i := range keys {
		t, tok := i%hotTenants, apikey.Generate(apikey.NewID())
		keys[i] = iam.Key{
			ID: tok.ID, Tenant: fmt.Sprintf("tenant%d", t), Name: fmt.Sprint("key ", i), Current: hasher.Sum(tok), PepperVersion: hasher.Version(),
			Scopes: iam.Scopes{Upstreams: []string{"openai"}, Endpoints: []string{"chat.*", "responses"}, Models: []string{"gpt-5*"}},
			CIDRs:  []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")},
			Detail: iam.Detail{Team: fmt.Sprintf("team_%d", t), Principal: fmt.Sprintf("user_%d", t), Class: "web", Budgets: []iam.Budget{
				{Unit: "tokens", Amount: 1 << 49, Window: quota.Day}, {Unit: "concurrency", Amount: 1000},
			}},
		}
		h.tokens[i] = "Bearer " + tok.Secret().Reveal()
	}
	s.store = &store{keys: countedKeys{keys, h.asks}, docs: countedDocs{docs, h.asks}, close: func() error { return nil }}
	s.people, err = newPeople(ctx, cfg, s.store, s.log, func(context.Context, string, map[string]string) error { return nil })
	must(err)
	s.places, err = places.New(places.Options{Report: func(places.Sighting) {}})
	must(err)
	s.quota, s.shared, err = openQuota(cfg, s.log)
	must(err)
	who, err := s.identity(ctx, cfg, &graph{})
	must(err)
	p, err := readPrices(cfg.IAM.Prices)
	must(err)
	s.prices.Store(p)
	limit, err := s.limit()
	must(err)
	h.policies = s.people.rules.InForce()
	h.settle = limit.Settle
	h.refresh = func(ctx context.Context) error { return errors.Join(s.people.mirror.Refresh(ctx), who.Refresh(ctx)) }
	h.arrive = &gate.Pipeline{Stages: []gate.Stage{who.Authenticate()}}
	h.admit = &gate.Pipeline{Stages: s.stages(who, limit, nothing{}, nothing{})}
	return h
}

// nothing stands where the text is read, which is another layer's time.
type nothing struct{}

func (nothing) Name() string { return "nothing" }
func (nothing) Admit(context.Context, *gate.Exchange) (gate.Decision, error) {
	return gate.Decision{}, nil
}

var hotBody = []byte(`{"model":"gpt-5","messages":[{"role":"user","content":"Which roses like half shade?"}]}`)

// hotCall is one call of a key: its parts are made by the proxy, outside of this layer.
type hotCall struct {
	x   gate.Exchange
	rec gate.Record
	rd  gate.Reading
}

func newHotCall() *hotCall {
	return &hotCall{rd: gate.Reading{Model: "gpt-5", MaxOutput: 500, Segments: []gate.Segment{{Channel: gate.ChannelUser, Text: hotBody[50:78]}}}}
}

func (h *hot) call(ctx context.Context, c *hotCall, header http.Header) error {
	c.rec = gate.Record{}
	c.x = gate.Exchange{Dialect: gate.OpenAI, Upstream: "openai", Endpoint: "chat.completions", Method: "POST", Header: header,
		ClientAddr: netip.AddrFrom4([4]byte{10, 1, 2, 3}), Body: hotBody, Plain: hotBody, Reading: &c.rd, Record: &c.rec}
	if d := h.arrive.Admit(ctx, &c.x); d.Denied() {
		return fmt.Errorf("%s: %s", d.Stage, d.Reason)
	}
	if d := h.admit.Admit(ctx, &c.x); d.Denied() {
		return fmt.Errorf("%s: %s", d.Stage, d.Reason)
	}
	c.rec.Begun, c.rec.Usage, c.rec.Outcome = 1, gate.Usage{Input: 10, Output: 100}, gate.OutcomeCompleted
	c.rec.RequestBytes, c.rec.AnswerBytes = 90, 500
	h.settle(&c.x)
	return nil
}

var (
	hotMade sync.Once
	hotOne  *hot
	hotRate = map[int]map[int]float64{} // requests a second, by keys and processors
)

func hotPath(tb testing.TB) *hot {
	hotMade.Do(func() {
		hotOne = newHot(tb)
		header, c := http.Header{"Authorization": {""}}, newHotCall()
		for _, tok := range hotOne.tokens { // all callers are known, as they are after a while
			header["Authorization"][0] = tok
			if err := hotOne.call(context.Background(), c, header); err != nil {
				tb.Fatal(err)
			}
		}
		runtime.GC()
	})
	if err := hotOne.refresh(context.Background()); err != nil { // what is known lasts for half a minute
		tb.Fatal(err)
	}
	hotOne.asks.n.Store(0)
	return hotOne
}

// Of a whole call (who it is, standing, scopes, policies before and after inspection, limits reserved and
// settled) nothing asks a database, for any of 100,000 keys.
func TestTheHotPathAsksNoDatabase(t *testing.T) {
	h := hotPath(t)
	if h.policies != 1000 || len(h.tokens) != hotKeys {
		t.Fatalf("%d policies, %d keys", h.policies, len(h.tokens))
	}
	header, c := http.Header{"Authorization": {""}}, newHotCall()
	for _, tok := range h.tokens {
		header["Authorization"][0] = tok
		if err := h.call(context.Background(), c, header); err != nil {
			t.Fatal(err)
		}
		if c.rec.Spend.Tokens != 110 || c.rec.Principal.Tenant == "" {
			t.Fatalf("%+v", c.rec)
		}
	}
	// The same for who is not known: nobody can make the gateway ask.
	for range 1000 {
		header["Authorization"][0] = "Bearer " + apikey.Generate(apikey.NewID()).Secret().Reveal()
		if err := h.call(context.Background(), c, header); err == nil {
			t.Fatal("an unknown key passes")
		}
	}
	if n := h.asks.n.Load(); n != 0 {
		t.Errorf("%d questions to the database in %d calls", n, hotKeys+1000)
	}
}

// BenchmarkHotPath is the same from every processor at once. Run it with -cpu 1,2.
func BenchmarkHotPath(b *testing.B) {
	for _, busy := range []int{hotKeys, 1000} { // all in turn: hardly any memory is in the processor's cache
		b.Run(fmt.Sprintf("keys=%d", busy), func(b *testing.B) { benchHot(b, busy) })
	}
}

func benchHot(b *testing.B, busy int) {
	h := hotPath(b)
	old := runtime.SetMutexProfileFraction(1)
	defer runtime.SetMutexProfileFraction(old)
	waited, cpu := mutexWait(), cpuTime()
	asked := h.asks.n.Load()
	var worker atomic.Int64
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		c := newHotCall()
		header := http.Header{"Authorization": {""}}
		i := int(worker.Add(1)) * 31337
		for pb.Next() {
			i = (i + 7919) % busy
			header["Authorization"][0] = h.tokens[i]
			if err := h.call(context.Background(), c, header); err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.StopTimer()
	n, procs := float64(b.N), runtime.GOMAXPROCS(0)
	each := (cpuTime() - cpu).Seconds() / n // whatever else the machine does, and the collector's included
	b.ReportMetric(each*1e9, "cpu-ns/op")
	b.ReportMetric((mutexWait()-waited)*1e9/n, "lock-wait-ns/op")
	b.ReportMetric(float64(h.asks.n.Load()-asked)/n, "db/op")
	if h.asks.n.Load() != asked {
		b.Errorf("the database was asked")
	}
	if b.N < 10_000 {
		return
	}
	unit := h.hash()
	b.ReportMetric(float64(unit), "hmac-ns")
	b.Logf("the HMAC-SHA256 of a key takes %v here and now, 600ns on an idle processor: as if %.2f µs each", unit, each*1e6*600/float64(max(unit, 600)))
	rate := hotRate[busy]
	if rate == nil {
		rate = map[int]float64{}
		hotRate[busy] = rate
	}
	rate[procs] = n / b.Elapsed().Seconds()
	b.Logf("%d processors: %.0f requests a second, %.2f µs of a processor each (goal %v)", procs, rate[procs], each*1e6, hotGoal)
	if one := rate[1]; procs > 1 && one > 0 {
		b.Logf("scaling: %.2f times the rate of one processor on %d", rate[procs]/one, procs)
		var p strings.Builder
		_ = pprof.Lookup("mutex").WriteTo(&p, 1)
		if lines := strings.Split(p.String(), "\n"); len(lines) > 4 {
			b.Logf("mutex profile, most waited for first:\n%s", strings.Join(lines[2:min(len(lines), 30)], "\n"))
		} else {
			b.Log("mutex profile: empty")
		}
	}
}

// hash is what the digest of a key costs: a measure of how much of a processor there is to be had, since
// the machines that this runs on are shared.
func (h *hot) hash() time.Duration {
	t, _ := apikey.Parse(strings.TrimPrefix(h.tokens[0], "Bearer "))
	const n = 20_000
	cpu := cpuTime()
	for range n {
		h.hasher.Sum(t)
	}
	return (cpuTime() - cpu) / n
}

// cpuTime is what this process has used of the processors.
func cpuTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// mutexWait is how many seconds goroutines have waited for locks of any kind, of the runtime too.
func mutexWait() float64 {
	s := []metrics.Sample{{Name: "/sync/mutex/wait/total:seconds"}}
	metrics.Read(s)
	return s[0].Value.Float64()
}
