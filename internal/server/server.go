// Package server is the one place that knows every room: it builds the graph of parts from a
// configuration, serves it, replaces it as a whole on reload, and shuts it down in order.
package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"sallyport.dev/sallyport/internal/audit"
	"sallyport.dev/sallyport/internal/audit/repeats"
	"sallyport.dev/sallyport/internal/config"
	"sallyport.dev/sallyport/internal/iam/exchange"
	"sallyport.dev/sallyport/internal/iam/places"
	"sallyport.dev/sallyport/internal/iam/quota"
	"sallyport.dev/sallyport/internal/iam/recall"
	"sallyport.dev/sallyport/internal/iam/throttle"
	"sallyport.dev/sallyport/internal/proxy"
	"sallyport.dev/sallyport/internal/proxy/headguard"
	"sallyport.dev/sallyport/internal/store/redis"
)

// Server is a running gateway.
type Server struct {
	path  string // of the configuration file; empty for none
	log   *slog.Logger
	level *slog.LevelVar

	state   *state
	offline time.Duration // how long what is known lasts without the database
	store   *store
	people  *people
	places  *places.Detector
	shared  *redis.Store // of limits; nil: they are this gateway's own
	recall  *recall.Book // keys that ended; nil: there are none
	prices  priceBook
	quota   *quota.Engine      // outlives a configuration, so that a reload forgets nothing
	certs   *certificates      // of callers; nil: none are asked for
	tries   *throttle.Throttle // to exchange tokens
	audit   *audit.Log
	repeats *repeats.Repeats // before it, for administration and sign-in
	load    *proxy.Load
	leaving atomic.Bool

	mu    sync.Mutex // one reload at a time
	cfg   *config.Config
	graph atomic.Pointer[graph]

	http    *http.Server
	ln      net.Listener
	admin   []*http.Server
	console net.Addr

	done chan error
	stop context.CancelFunc
	ran  sync.WaitGroup
}

// Start opens the data directory and the record, builds the graph and listens. The returned server
// accepts calls. path is where the configuration came from, for reloads; it may be empty.
func Start(ctx context.Context, cfg *config.Config, path string, log *slog.Logger) (_ *Server, err error) {
	s := &Server{path: path, log: log, cfg: cfg, offline: cfg.IAM.Offline, load: proxy.NewLoad(), done: make(chan error, 1)}
	if s.state, err = openState(cfg); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	if s.audit, err = openAudit(cfg, log); err != nil {
		return nil, err
	}
	s.repeats = repeats.New(s.audit, nil)
	if s.store, err = openStore(ctx, cfg); err != nil {
		return nil, err
	}
	if s.people, err = newPeople(ctx, cfg, s.store, log, s.audit.Note); err != nil {
		return nil, err
	}
	if s.quota, s.shared, err = openQuota(cfg, log); err != nil {
		return nil, err
	}
	if s.recall, err = s.openRecall(cfg); err != nil {
		return nil, err
	}
	sightings := make(chan places.Sighting, 64)
	s.places, err = places.New(places.Options{Pools: cfg.IAM.AddressPools, Report: func(x places.Sighting) {
		select {
		case sightings <- x:
		default: // the log has enough of them
		}
	}})
	if err != nil {
		return nil, fmt.Errorf("read iam.address_pools: %w", err)
	}
	if s.certs, err = s.openSPIFFE(ctx, cfg); err != nil {
		return nil, err
	}
	p, err := readPrices(cfg.IAM.Prices)
	if err != nil {
		return nil, err
	}
	s.prices.Store(p)
	g, err := s.build(cfg)
	if err != nil {
		return nil, err
	}
	s.graph.Store(g)
	if err := s.listen(); err != nil {
		return nil, err
	}
	ctx, s.stop = context.WithCancel(ctx)
	s.ran.Go(func() { s.people.run(ctx, log) })
	s.ran.Go(func() { s.quota.Run(ctx) })
	if s.recall != nil {
		s.ran.Go(func() { s.recall.Run(ctx) })
	}
	s.ran.Go(func() { s.watchKeys(ctx, sightings) })
	s.follow(ctx)
	if err := s.administer(ctx, cfg); err != nil {
		return nil, err
	}
	note := map[string]string{"policy": g.policy, "pack": g.pack, "mode": cfg.Inspect.Mode, "prices": p.digest, "version": Version()}
	if g.problem != "" {
		note["pack_problem"] = g.problem
	}
	if err := s.audit.Note(ctx, "start", note); err != nil {
		return nil, fmt.Errorf("record start: %w", err)
	}
	go func() {
		err := s.http.Serve(s.ln)
		if errors.Is(err, http.ErrServerClosed) {
			err = nil
		}
		s.done <- err
	}()
	return s, nil
}

// Addr is where the data plane listens.
func (s *Server) Addr() net.Addr { return s.ln.Addr() }

// URL is the base URL to give to a client.
func (s *Server) URL() string {
	scheme := "http"
	if s.cfg.Listen.TLS != nil || s.certs != nil {
		scheme = "https"
	}
	return scheme + "://" + s.ln.Addr().String()
}

// Done is closed with an error, or nil, when the listener ends.
func (s *Server) Done() <-chan error { return s.done }

func (s *Server) listen() error {
	ln, err := net.Listen("tcp", s.cfg.Listen.Address)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	t := s.cfg.Proxy.Timeouts
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	secure := s.cfg.Listen.TLS != nil || s.certs != nil
	protocols.SetHTTP2(secure)
	protocols.SetUnencryptedHTTP2(!secure && s.cfg.Listen.H2C)
	s.http = &http.Server{
		Handler:           http.HandlerFunc(s.serve),
		ReadHeaderTimeout: t.Header,
		IdleTimeout:       t.Idle,
		MaxHeaderBytes:    int(s.cfg.Proxy.Limits.Header),
		Protocols:         protocols,
		ConnContext:       headguard.ConnContext,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
		HTTP2:             &http.HTTP2Config{MaxConcurrentStreams: 250, SendPingTimeout: 30 * time.Second},
	}
	guarded := headguard.Listen(ln)
	if c := s.cfg.Listen.TLS; c != nil {
		cert, err := tls.LoadX509KeyPair(c.Cert, c.Key)
		if err != nil {
			_ = ln.Close()
			return fmt.Errorf("load certificate: %w", err)
		}
		guarded = headguard.ListenTLS(ln, &tls.Config{
			Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"},
		}, t.Header)
	}
	if s.certs != nil {
		guarded = headguard.ListenTLS(ln, s.certs.ServerTLS(), t.Header)
	}
	s.ln = guarded
	return nil
}

// serve gives one call to the graph of the moment. A call keeps the graph it started with.
func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	if s.leaving.Load() {
		w.Header().Set("Connection", "close") // HTTP/2: GOAWAY
	}
	if own := s.own(r.URL.Path); own != nil {
		// The guard judges every head of a connection, in order.
		if err := headguard.Check(r.Context(), r); err != nil {
			w.Header().Set("Connection", "close")
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		own.ServeHTTP(w, r)
		return
	}
	s.graph.Load().gateway.ServeHTTP(w, r)
}

// own is what answers at one of the gateway's own paths; nil: nothing, and the call is the data plane's, which
// forwards none of these.
func (s *Server) own(path string) http.Handler {
	switch path {
	case proxy.Reserved + "health":
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { s.health(w) })
	case exchange.TokenPath, exchange.KeysPath:
		if h := s.graph.Load().exchange; h != nil {
			return h
		}
	}
	return nil
}

// health says whether calls should be sent here: 200, or 503 while the record cannot be written, and
// once the gateway leaves.
func (s *Server) health(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	status, word := http.StatusOK, "ok"
	if s.audit.Stats().Failing {
		status, word = http.StatusServiceUnavailable, "record_unavailable"
	}
	if s.leaving.Load() {
		status, word = http.StatusServiceUnavailable, "leaving"
	}
	w.WriteHeader(status)
	fmt.Fprintf(w, "{\"status\":%q,\"in_flight\":%d}\n", word, s.load.InFlight())
}

// Leave takes calls for so long, or until ctx ends, while it tells whoever sends them to go elsewhere: the health
// check fails, and each connection ends with its next answer. A connection that is kept would otherwise be closed
// in the moment in which a caller sends a call over it, who then cannot know what became of the call.
func (s *Server) Leave(ctx context.Context, d time.Duration) {
	s.leaving.Store(true)
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// Shutdown stops taking calls, lets those in flight end for as long as ctx allows, cuts the rest
// (each with its record), and closes the record.
func (s *Server) Shutdown(ctx context.Context) error {
	err := s.http.Shutdown(ctx)
	if err != nil {
		// Closing the connections ends the calls; each still writes its record.
		s.load.Cut()
		_ = s.http.Close()
		for wait := time.Now().Add(2 * time.Second); s.load.InFlight() > 0 && time.Now().Before(wait); {
			time.Sleep(5 * time.Millisecond)
		}
	}
	s.close()
	if errors.Is(err, context.DeadlineExceeded) {
		return nil
	}
	return err
}

func (s *Server) close() {
	if s.stop != nil {
		s.stop()
	}
	if s.ln != nil {
		_ = s.ln.Close()
	}
	for _, a := range s.admin {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		if a.Shutdown(ctx) != nil {
			_ = a.Close()
		}
		cancel()
	}
	if g := s.graph.Load(); g != nil {
		g.close(nil)
	}
	s.ran.Wait()
	if s.certs != nil {
		_ = s.certs.source.Close()
	}
	if s.shared != nil {
		_ = s.shared.Close()
	}
	if s.store != nil {
		if err := s.store.close(); err != nil {
			s.log.Error("cannot close the database", "error", err)
		}
	}
	if s.repeats != nil {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		if err := s.repeats.Close(ctx); err != nil {
			s.log.Error("cannot record how many refusals there were", "error", err)
		}
		cancel()
	}
	if s.audit != nil {
		if err := s.audit.Close(); err != nil {
			s.log.Error("cannot close the record", "error", err)
		}
	}
}
