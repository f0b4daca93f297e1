package server

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"time"

	"sallyport.dev/sallyport/internal/config"
	"sallyport.dev/sallyport/internal/gate"
	"sallyport.dev/sallyport/internal/iam"
	"sallyport.dev/sallyport/internal/iam/apikey"
	"sallyport.dev/sallyport/internal/iam/exchange"
	"sallyport.dev/sallyport/internal/iam/leak"
	"sallyport.dev/sallyport/internal/iam/quota"
	"sallyport.dev/sallyport/internal/inspect"
	"sallyport.dev/sallyport/internal/inspect/allow"
	"sallyport.dev/sallyport/internal/inspect/detect"
	"sallyport.dev/sallyport/internal/inspect/pack"
	"sallyport.dev/sallyport/internal/inspect/policy"
	"sallyport.dev/sallyport/internal/inspect/shadow"
	"sallyport.dev/sallyport/internal/proxy"
	"sallyport.dev/sallyport/internal/secret"
	"sallyport.dev/sallyport/internal/wire"
	"sallyport.dev/sallyport/internal/wire/anthropic"
	"sallyport.dev/sallyport/internal/wire/openai"
)

// dialects is every dialect this release speaks.
func dialects() map[gate.Dialect]wire.Dialect {
	return map[gate.Dialect]wire.Dialect{gate.OpenAI: openai.Dialect{}, gate.Anthropic: anthropic.Dialect{}}
}

// graph is everything built from one configuration. Calls hold on to the graph they began with.
type graph struct {
	gateway    *proxy.Gateway
	who        *iam.IAM
	policy     string                       // names what decides: the configuration, the detector, the allow-list
	pack       string                       // id of the active pack
	problem    string                       // why the built-in pack stands in for the active one
	marks      marks                        // of the files it was built from
	loaded     map[[32]byte]detect.Detector // of installed packs, by their digest
	journal    *shadow.Journal              // of the shadow pack, if there is one
	shadowed   string                       // id of the shadow pack
	keysets    map[string]*keyset           // by the part of the configuration they are read for
	transports map[string]*http.Transport   // by the part of the configuration they were made from
	exchange   *exchange.Handler            // nil: tokens are not exchanged
	stop       context.CancelFunc
	ran        sync.WaitGroup
}

// build makes a graph, or nothing.
func (s *Server) build(cfg *config.Config) (_ *graph, err error) {
	g := &graph{transports: map[string]*http.Transport{}, keysets: map[string]*keyset{}}
	ctx, cancel := context.WithCancel(context.Background())
	g.stop = cancel
	defer func() {
		if err != nil {
			g.close(nil)
		}
	}()
	monitor := cfg.Inspect.Mode == config.ModeMonitor
	who, err := s.identity(ctx, cfg, g)
	if err != nil {
		return nil, err
	}
	g.who = who
	g.marks = s.marks(cfg) // before reading, so that no change is missed
	det, err := s.detector(cfg)
	if err != nil {
		return nil, err
	}
	if det.pack != pack.Builtin {
		g.loaded = map[[32]byte]detect.Detector{det.digest: det.own}
	}
	allowed, err := s.state.allowBook().List()
	if err != nil {
		return nil, err
	}
	if det.det, err = s.opinion(ctx, cfg, g, det.det); err != nil {
		return nil, err
	}
	inspector, err := newInspector(cfg, det.det, allowed)
	if err != nil {
		return nil, err
	}
	g.policy, g.pack, g.problem = policyHash(cfg, det.det, allowed), det.pack, det.problem
	front := s.shadow(ctx, cfg, g, inspector, allowed)
	uninspected := cfg.Proxy.Uninspected.Action
	limit, err := s.limit()
	if err != nil {
		return nil, err
	}
	fault := func(x *gate.Exchange, stage string, err error) {
		s.log.Error("a stage failed", "id", x.ID, "stage", stage, "error", err)
	}
	o := proxy.Options{
		Dialects:  dialects(),
		Arrive:    &gate.Pipeline{Stages: []gate.Stage{who.Authenticate()}, Monitor: monitor, Fault: fault},
		Admit:     &gate.Pipeline{Stages: s.stages(who, limit, proxy.Shape{Policy: uninspected, Monitor: monitor}, front), Monitor: monitor, Fault: fault},
		Settle:    limit.Settle,
		Announce:  limit.Announce,
		Recorder:  s.audit,
		Inspector: front,
		Load:      s.load,
		Limits: proxy.Limits{
			Body: int64(cfg.Proxy.Limits.Body), DecodedBody: int64(cfg.Proxy.Limits.DecodedBody),
			Answer: int64(cfg.Proxy.Limits.Answer), Frame: int(cfg.Proxy.Limits.Frame),
			InFlight: int64(cfg.Proxy.Limits.InFlight), PerKey: cfg.Proxy.Limits.PerKey,
			BodyMemory: int64(cfg.Proxy.Limits.BodyMemory),
		},
		Timeouts:         proxy.Timeouts{BodyGrace: bodyGrace, BodyRate: int64(cfg.Proxy.Timeouts.BodyMinRate), WriteStall: cfg.Proxy.Timeouts.WriteStall},
		Uninspected:      uninspected,
		StripCredentials: who.CredentialHeaders(),
		Policy:           g.policy,
		Mode:             cfg.Inspect.Mode,
		Monitor:          monitor,
		Content:          proxy.ContentOptions{Mode: proxy.ContentMode(cfg.Audit.Content), Key: s.state.content},
		Log:              s.log,
	}
	if s.certs != nil {
		o.Peer = s.certs.Identity
	}
	if o.Upstreams, err = s.upstreams(cfg, g); err != nil {
		return nil, err
	}
	if g.gateway, err = proxy.New(o); err != nil {
		return nil, err
	}
	if g.exchange, err = s.exchanger(ctx, cfg, g); err != nil {
		return nil, err
	}
	g.ran.Go(func() { who.Run(ctx) })
	if g.exchange != nil {
		g.ran.Go(func() { s.people.signing.Run(ctx) })
	}
	return g, nil
}

// stages is what decides about a whole request, in this order: what the caller may do, by its scopes and
// by policies; what is left of its limits; what cannot be read; what is in the text; and what the caller
// may do with that in it.
func (s *Server) stages(who *iam.IAM, limit, shape, inspect gate.Stage) []gate.Stage {
	if !who.Keyed() {
		return []gate.Stage{who.Authorize(), shape, inspect, who.Data()} // a passed-through credential has no tenant
	}
	guard := s.people.rules.Guard()
	return []gate.Stage{who.Authorize(), guard.Before(), limit, shape, inspect, who.Data(), guard.After()}
}

// limit is the stage that keeps calls within their limits.
func (s *Server) limit() (*quota.Stage, error) {
	return quota.NewStage(quota.StageOptions{Engine: s.quota, Bounds: s.people.limits.Bounds, Prices: &s.prices})
}

// bodyGrace is how long a body may take before its rate counts.
const bodyGrace = 10 * time.Second

// close ends what a graph keeps running. next, when there is one, has taken over the transports it
// shares.
func (g *graph) close(next *graph) {
	g.stop()
	g.ran.Wait()
	if g.journal != nil && (next == nil || next.journal != g.journal) {
		g.journal.Close()
	}
	for k, ks := range g.keysets {
		if next == nil || next.keysets[k] != ks {
			ks.stop()
		}
	}
	for k, t := range g.transports {
		if next == nil || next.transports[k] != t {
			t.CloseIdleConnections()
		}
	}
}

// identity builds the first layer.
func (s *Server) identity(ctx context.Context, cfg *config.Config, g *graph) (*iam.IAM, error) {
	o := iam.Options{
		Mode: cfg.IAM.Mode, HashKey: s.state.hashKey, TrustedProxies: cfg.IAM.TrustedProxies,
		Roster: s.people.roster, Classes: keyClasses(cfg), MaxAge: s.offline,
		Fault: func(err error) {
			if err != nil {
				s.log.Error("the key store does not answer", "error", err)
			} else {
				s.log.Info("the key store answers again")
			}
		},
	}
	if cfg.IAM.Mode == config.IAMKeys {
		var err error
		if o.Pepper, err = s.state.pepperFor(cfg); err != nil {
			return nil, err
		}
		o.Keys, o.Places = s.store.keys, s.places
		if s.recall != nil {
			o.Recalled = s.recall
		}
		if cfg.IAM.LeakedKeys != "" {
			h, err := apikey.NewHasher(o.Pepper)
			if err != nil {
				return nil, err
			}
			if o.Leaked, err = leak.Load(cfg.IAM.LeakedKeys, h); err != nil {
				return nil, fmt.Errorf("read iam.leaked_keys: %w", err)
			}
		}
		if o.Tokens, err = s.tokens(ctx, cfg, g); err != nil {
			return nil, err
		}
	}
	return iam.New(o)
}

func keyClasses(cfg *config.Config) iam.Classes {
	cs := iam.Classes{}
	for _, c := range cfg.IAM.KeyClasses {
		cs[c.Name] = iam.Class{MaxAge: c.MaxAge, Warn: c.Warn, Overlap: c.Overlap}
	}
	return cs
}

func (s *state) pepperFor(cfg *config.Config) (secret.String, error) {
	if cfg.IAM.Pepper == nil {
		return secret.New(string(s.pepper)), nil
	}
	p, err := cfg.IAM.Pepper.Resolve()
	if err != nil {
		return p, fmt.Errorf("resolve iam.pepper: %w", err)
	}
	return p, nil
}

// policyHash names everything that decides about a call: the configuration, which holds the names of
// rule files, the detector, whose version covers their contents and the pack's, and the allow-list.
func policyHash(cfg *config.Config, det detect.Detector, allowed *allow.List) string {
	sum := sha256.Sum256([]byte(cfg.Hash() + "\n" + det.Version() + "\n" + allowed.Version()))
	return hex.EncodeToString(sum[:])
}

// newInspector builds the second layer.
func newInspector(cfg *config.Config, det detect.Detector, allowed *allow.List) (*inspect.Inspector, error) {
	pol, err := policy.New(policyOptions(cfg))
	if err != nil {
		return nil, fmt.Errorf("read inspect.policy: %w", err)
	}
	modes := map[string]inspect.Mode{config.ModeMonitor: inspect.Monitor, config.ModeEnforce: inspect.Enforce, config.ModeEnforceStrict: inspect.EnforceStrict}
	return inspect.New(inspect.Options{
		Detector: det, Policy: pol, Allow: allowed, Mode: modes[cfg.Inspect.Mode], Dialects: dialects(),
		HoldTime: cfg.Inspect.Stream.HoldTime, HoldBytes: int(cfg.Inspect.Stream.HoldBytes),
		CacheBytes: int(cfg.Inspect.CacheBytes), Uninspected: cfg.Proxy.Uninspected.Action,
		MarkUntrusted: cfg.Inspect.MarkUntrusted,
	})
}

func policyOptions(cfg *config.Config) policy.Options {
	var o policy.Options
	for _, r := range cfg.Inspect.Policy {
		o.Rules = append(o.Rules, policy.Rule{
			Category: r.Category, Channel: r.Channel, Direction: r.Direction,
			Upstream: r.Upstream, Model: r.Model, Endpoint: r.Endpoint, Key: r.Key, Action: r.Action,
		})
	}
	return o
}

// upstreams builds the fourth layer's client side. A transport whose part of the configuration has
// not changed is taken over with its connections.
func (s *Server) upstreams(cfg *config.Config, g *graph) ([]proxy.Upstream, error) {
	old, v := s.graph.Load(), s.people.vault
	var ups []proxy.Upstream
	for _, u := range cfg.Proxy.Upstreams {
		base, err := url.Parse(u.BaseURL)
		if err != nil {
			return nil, fmt.Errorf("read base_url of upstream %s: %w", u.Name, errors.Unwrap(err))
		}
		up := proxy.Upstream{Name: u.Name, Dialect: u.Dialect, Base: base, Idle: u.Timeouts.Idle, Headers: map[string]secret.String{}}
		if u.Credential != nil {
			if up.Credential, err = u.Credential.Resolve(); err != nil {
				return nil, fmt.Errorf("resolve credential of upstream %s: %w", u.Name, err)
			}
		}
		for k, v := range u.Headers {
			val := secret.New(v.Value)
			if !v.Ref.IsZero() {
				if val, err = v.Ref.Resolve(); err != nil {
					return nil, fmt.Errorf("resolve header %s of upstream %s: %w", k, u.Name, err)
				}
				up.Secrets = append(up.Secrets, val)
			}
			up.Headers[k] = val
		}
		if cfg.IAM.Mode == config.IAMKeys {
			up.Sealed = func(tenant string) (secret.String, bool) {
				s, _ := v.Current(u.Name, tenant)
				return s, v.Knows(u.Name, tenant)
			}
		}
		key := fmt.Sprintf("%s|%s|%v|%s|%v", u.Name, u.Protocol, u.Timeouts, u.CAFile, cfg.Proxy.AllowPrivate)
		if old != nil && old.transports[key] != nil && u.CAFile == "" {
			g.transports[key] = old.transports[key]
		} else if g.transports[key], err = newTransport(u, cfg.Proxy.AllowPrivate); err != nil {
			return nil, err
		}
		up.Transport = g.transports[key]
		ups = append(ups, up)
	}
	return ups, nil
}
