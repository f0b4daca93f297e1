package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"time"

	"sallyport.dev/sallyport/internal/config"
	"sallyport.dev/sallyport/internal/console/admin"
	"sallyport.dev/sallyport/internal/console/api"
	"sallyport.dev/sallyport/internal/console/federated"
	"sallyport.dev/sallyport/internal/console/local"
	"sallyport.dev/sallyport/internal/console/provision"
	"sallyport.dev/sallyport/internal/console/web"
	"sallyport.dev/sallyport/internal/gate"
	"sallyport.dev/sallyport/internal/iam"
	"sallyport.dev/sallyport/internal/iam/directory"
	"sallyport.dev/sallyport/internal/iam/recall"
	"sallyport.dev/sallyport/internal/iam/session"
	"sallyport.dev/sallyport/internal/iam/sso"
	"sallyport.dev/sallyport/internal/secret"
)

// desk is the administrative interface and what it works on.
type desk struct {
	state  *state
	store  *store
	people *people
	note   api.Recorder
	log    *slog.Logger
	cfg    func() *config.Config
	who    func() *iam.IAM // of keys; nil: none can be used
	recall *recall.Book
	signin *signin
	sso    *sso.Service
	base   func() string // the console's address as browsers see it
}

// handler builds the interface.
func (k *desk) handler() (*api.API, error) {
	pepper, err := k.state.pepperFor(k.cfg())
	if err != nil {
		return nil, err
	}
	keys, err := iam.NewService(k.store.keys, pepper, nil)
	if err != nil {
		return nil, err
	}
	if k.signin, err = newSignin(k.cfg(), k.state, k.store, k.people, k.note, k.log); err != nil {
		return nil, err
	}
	if k.sso, err = k.newSSO(pepper); err != nil {
		return nil, err
	}
	d := &admin.Deps{
		Docs: k.store.docs, Keys: keys, Classes: func() iam.Classes { return keyClasses(k.cfg()) }, Vault: k.people.vault, Seals: k.people.seals, Signing: k.people.signing, Now: time.Now,
		Tenants: func() []string {
			ids := []string{""}
			for id := range k.people.roster.Tenants() {
				ids = append(ids, id)
			}
			slices.Sort(ids)
			return ids
		},
		Accounts: k.signin.accounts, Sessions: k.signin.sessions, SSO: k.sso, Secure: k.cfg().Console.TLS != nil,
		Upstream: func(name string) bool {
			return slices.ContainsFunc(k.cfg().Proxy.Upstreams, func(u config.Upstream) bool { return u.Name == name })
		},
	}
	rules, err := k.approvals(d)
	if err != nil {
		return nil, err
	}
	if k.recall != nil {
		d.Recall = recaller{k.recall, k.who}
	}
	return api.New(api.Options{
		Identify: k.identify, Access: &admin.Access{Access: k.people.access, Deps: d, FourEyes: rules}, Record: k.note,
		Approvals: admin.Approvals{Service: d.Approvals},
		Routes:    admin.Routes(d), Version: Version(), After: k.refresh, Settle: k.settle,
		Fault: func(id string, err error) { k.log.Error("an administrative request failed", "event", id, "error", err) },
	})
}

// refresh takes what was just changed at once. Other nodes take it within two seconds.
func (k *desk) refresh() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = k.people.mirror.Refresh(ctx)
	if k.who == nil {
		return
	}
	if m := k.who(); m != nil {
		_ = m.Refresh(ctx)
	}
}

// identify finds out who sends an administrative request.
func (k *desk) identify(r *http.Request) (*api.Actor, error) {
	if local.Is(r) {
		return &api.Actor{Kind: admin.KindLocal, ID: admin.KindLocal, AMR: []string{"local"}}, nil
	}
	if r.Header.Get("Authorization") != "" {
		return k.byKey(r)
	}
	if tok, ok := session.Token(r, k.cfg().Console.TLS != nil); ok {
		return k.bySession(r, tok)
	}
	return nil, api.ErrNobody
}

// bySession finds the person whose browser sends the request.
func (k *desk) bySession(r *http.Request, tok secret.String) (*api.Actor, error) {
	s, u, err := k.signin.accounts.Session(r.Context(), tok)
	if errors.Is(err, session.ErrNone) {
		return nil, fmt.Errorf("%w: no such session", api.ErrNobody)
	}
	if err != nil {
		return nil, err
	}
	st, err := k.people.roster.Check(u.Tenant, u.ID, time.Now())
	if err != nil {
		return nil, err
	}
	if st.Bad != "" {
		return nil, fmt.Errorf("%w: %s", api.ErrNobody, st.Bad)
	}
	a := &api.Actor{Kind: "user", ID: u.ID, Name: u.UserName, Tenant: u.Tenant, Groups: st.Groups, Session: s.ID, Provider: s.Provider, User: u, AMR: s.AMR}
	if s.Strong() { // one proof alone makes nothing fresh
		a.Fresh = s.Fresh
	}
	if ap, err := net.ResolveTCPAddr("tcp", r.RemoteAddr); err == nil {
		a.IP = ap.AddrPort().Addr().Unmap()
	}
	return a, nil
}

// byKey authenticates a service or an agent by its key, as the data plane does.
func (k *desk) byKey(r *http.Request) (*api.Actor, error) {
	key, ip, err := k.keyWith(r, admin.FeatureAdmin, api.ErrNobody)
	if err != nil {
		return nil, err
	}
	st, err := k.people.roster.Check(key.Tenant, key.Principal, time.Now())
	if err != nil {
		return nil, err
	}
	if st.Bad != "" || (st.Kind != directory.KindService && st.Kind != directory.KindAgent) {
		return nil, fmt.Errorf("%w: the key belongs to no service", api.ErrNobody)
	}
	return &api.Actor{Kind: "service", ID: st.ID, Name: key.Name, Tenant: key.Tenant, AMR: []string{"key"}, IP: ip}, nil
}

// keyWith authenticates the key of a request, which must name a feature word for word. Whoever has none
// is nobody.
func (k *desk) keyWith(r *http.Request, feature string, nobody error) (*iam.Key, netip.Addr, error) {
	x := &gate.Exchange{Header: http.Header{"Authorization": r.Header["Authorization"]}, Record: &gate.Record{}}
	if ap, err := net.ResolveTCPAddr("tcp", r.RemoteAddr); err == nil {
		x.ClientAddr = ap.AddrPort().Addr().Unmap()
	}
	if k.who == nil || k.who() == nil {
		return nil, x.ClientAddr, fmt.Errorf("%w: keys are not in use here", nobody)
	}
	d, err := k.who().Authenticate().Admit(r.Context(), x)
	if err != nil {
		return nil, x.ClientAddr, err
	}
	if d.Denied() {
		return nil, x.ClientAddr, fmt.Errorf("%w: %s", nobody, d.Reason)
	}
	key, ok := x.Principal.Grant.(*iam.Key)
	if !ok || !slices.Contains(key.Features, feature) {
		return nil, x.ClientAddr, fmt.Errorf("%w: the key is not for this", nobody)
	}
	return key, x.ClientAddr, nil
}

// administer opens the socket of the data directory, and the console's listener where there is one.
func (s *Server) administer(ctx context.Context, cfg *config.Config) error {
	k := &desk{
		state: s.state, store: s.store, people: s.people, note: s.repeats, log: s.log, recall: s.recall,
		cfg: func() *config.Config { s.mu.Lock(); defer s.mu.Unlock(); return s.cfg },
		who: func() *iam.IAM {
			if g := s.graph.Load(); g.who.Keyed() {
				return g.who
			}
			return nil
		},
	}
	k.base = func() string { return consoleURL(k.cfg(), s.console) }
	h, err := k.handler()
	if err != nil {
		return fmt.Errorf("build administration: %w", err)
	}
	s.ran.Go(func() { k.sweep(ctx) })
	s.ran.Go(func() { s.repeats.Run(ctx) })
	ln, err := local.Listen(cfg.DataDir)
	if err != nil {
		return fmt.Errorf("open administration: %w", err)
	}
	s.admin = append(s.admin, s.serveAdmin(ln, h, local.ConnContext))
	if cfg.Console.Address == "" {
		return nil
	}
	if ln, err = net.Listen("tcp", cfg.Console.Address); err != nil {
		return fmt.Errorf("open console: %w", err)
	}
	s.console = ln.Addr()
	if t := cfg.Console.TLS; t != nil {
		cert, err := tls.LoadX509KeyPair(t.Cert, t.Key)
		if err != nil {
			_ = ln.Close()
			return fmt.Errorf("load console.tls: %w", err)
		}
		ln = tls.NewListener(ln, &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}})
	}
	mux := http.NewServeMux()
	mux.Handle(api.Base+"/", h)
	mux.Handle(web.Base, web.Handler())
	mux.Handle(sso.Path, k.federated())
	mux.Handle(provision.Base+"/", k.provision())
	mux.Handle("GET /{$}", http.RedirectHandler(web.Base, http.StatusFound))
	// What a page of another site sends with the browser's own cookies is refused (ASVS 5.0 3.5.1).
	cross := http.NewCrossOriginProtection()
	cross.AddInsecureBypassPattern(federated.CrossSite)
	s.admin = append(s.admin, s.serveAdmin(ln, cross.Handler(mux), nil))
	return nil
}

func (s *Server) serveAdmin(ln net.Listener, mux http.Handler, conn func(context.Context, net.Conn) context.Context) *http.Server {
	srv := &http.Server{
		Handler: mux, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: time.Minute, WriteTimeout: 5 * time.Minute, IdleTimeout: 2 * time.Minute,
		MaxHeaderBytes: 32 << 10, ConnContext: conn, ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	s.ran.Go(func() {
		if err := srv.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
			s.log.Error("administration ended", "error", err)
		}
	})
	return srv
}

// ConsoleAddr is where the console listens; nil where it does not.
func (s *Server) ConsoleAddr() net.Addr { return s.console }
