package proxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"sync/atomic"
	"time"

	"sallyport.dev/sallyport/internal/gate"
	"sallyport.dev/sallyport/internal/proxy/headguard"
	"sallyport.dev/sallyport/internal/secret"
	"sallyport.dev/sallyport/internal/wire"
)

// Gateway serves calls under one configuration.
type Gateway struct {
	o         Options
	byName    map[string]*Upstream
	byDialect map[gate.Dialect]*Upstream
	strip     map[string]bool // Options.StripCredentials
}

// New checks the options and builds a gateway.
func New(o Options) (*Gateway, error) {
	g := &Gateway{o: o, byName: map[string]*Upstream{}, byDialect: map[gate.Dialect]*Upstream{}, strip: map[string]bool{}}
	for _, k := range o.StripCredentials {
		g.strip[k] = true
	}
	if len(o.Upstreams) == 0 {
		return nil, errors.New("build gateway: no upstream is configured")
	}
	for i := range o.Upstreams {
		u := &o.Upstreams[i]
		if o.Dialects[u.Dialect] == nil {
			return nil, fmt.Errorf("build gateway: upstream %s has the unknown dialect %q", u.Name, u.Dialect)
		}
		g.byName[u.Name] = u
		if g.byDialect[u.Dialect] == nil {
			g.byDialect[u.Dialect] = u
		}
	}
	return g, nil
}

// call is the state of one call. One goroutine owns it, but for the hold timer of a stream.
type call struct {
	g     *Gateway
	w     http.ResponseWriter
	rc    *http.ResponseController
	r     *http.Request
	x     *gate.Exchange
	rec   *gate.Record
	d     wire.Dialect
	up    *Upstream
	route wire.Route
	// credential is the provider's, to be sent instead of the caller's; empty: the caller's goes on.
	credential secret.String

	began    bool        // the intent is in the record
	recorded bool        // the end is in the record
	started  bool        // bytes of an answer were written
	settled  bool        // what was reserved is
	masked   atomic.Bool // a secret of the gateway was overwritten in the answer
	answer   contentHash

	reserved int64
	inFlight bool
	key      string
}

// ServeHTTP takes one call through the six hops.
func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	now := time.Now()
	c := &call{g: g, w: w, rc: http.NewResponseController(w), r: r}
	c.rec = &gate.Record{
		ID: newID(now), Received: now, ClientAddr: clientAddr(r),
		Method: r.Method, Path: recorded(escapedPath(r)), Policy: g.o.Policy, Mode: g.o.Mode,
		Content: gate.Content{Mode: string(g.o.Content.Mode)},
	}
	c.x = &gate.Exchange{ID: c.rec.ID, Method: r.Method, Header: r.Header, ClientAddr: c.rec.ClientAddr, Record: c.rec}
	w.Header()["Sallyport-Id"] = []string{c.rec.ID}
	defer c.end()
	c.serve()
}

// end is what happens however the call went: a panic becomes a refusal, what was reserved is given
// back, and the record is written if it was not.
func (c *call) end() {
	rec := recover()
	defer func() {
		c.settle()
		if c.reserved > 0 {
			c.g.o.Load.release(c.reserved)
		}
		if c.key != "" {
			c.g.o.Load.leaveKey(c.key)
		}
		if c.inFlight {
			c.g.o.Load.leave()
		}
	}()
	if rec == http.ErrAbortHandler {
		c.finishAnyhow(gate.OutcomeFailed)
		panic(rec)
	}
	if rec != nil {
		c.g.o.Log.Error("call panicked", "id", c.rec.ID, "error", gate.Panicked("proxy", rec))
		c.rec.Error = "panic"
		if c.started {
			c.finishAnyhow(gate.OutcomeFailed)
			panic(http.ErrAbortHandler)
		}
		c.refuse(gate.FailStagePanicked.Row().Problem(), gate.OutcomeFailed)
	}
	c.finishAnyhow(gate.OutcomeFailed)
}

func (c *call) serve() {
	g, r := c.g, c.r
	up, path, ok := g.route(r)
	c.up, c.d = up, g.dialectOf(r, up)
	c.rec.Dialect = c.d.Name()
	if err := headguard.Check(r.Context(), r); err != nil {
		c.w.Header().Set("Connection", "close")
		p := &gate.Problem{Status: http.StatusBadRequest, Code: gate.CodeAmbiguous, Message: "The request head can be read in more than one way."}
		errors.As(err, &p)
		c.rec.Error = "request head"
		c.g.o.Log.Debug("request head refused", "id", c.rec.ID, "error", err)
		c.refuse(p, gate.OutcomeRefused)
		return
	}
	if g.o.Peer != nil && r.TLS != nil {
		var err error
		if c.x.Peer, err = g.o.Peer(r.TLS); err != nil {
			c.x.Peer = ""
			c.w.Header().Set("Connection", "close") // a connection has one certificate for all of its life
			c.rec.Error = "client certificate"
			c.g.o.Log.Debug("client certificate refused", "id", c.rec.ID, "error", err)
			c.refuse(&gate.Problem{Status: http.StatusUnauthorized, Code: gate.CodeInvalidKey, Message: "The client certificate is not valid any more."}, gate.OutcomeRefused)
			return
		}
	}
	if dotted(path) {
		c.refuse(&gate.Problem{Status: http.StatusBadRequest, Code: gate.CodeAmbiguous, Message: "The path can be read in more than one way."}, gate.OutcomeRefused)
		return
	}
	if !ok {
		c.refuse(&gate.Problem{Status: http.StatusNotFound, Code: gate.CodeNotFound, Message: "No upstream of this gateway takes this path."}, gate.OutcomeRefused)
		return
	}
	c.x.Dialect, c.x.Upstream, c.x.Path, c.x.Query = up.Dialect, up.Name, path, r.URL.RawQuery
	c.rec.Upstream, c.rec.Path = up.Name, recorded(path)
	c.route = c.d.Route(r.Method, path)
	c.x.Endpoint, c.rec.Endpoint = c.route.Endpoint, c.route.Endpoint

	if c.inFlight = g.o.Load.enter(g.o.Limits.InFlight); !c.inFlight {
		c.refuse(&gate.Problem{Status: http.StatusServiceUnavailable, Code: gate.CodeOverloaded, Message: "This gateway is serving as many calls as it may.", RetryAfter: time.Second}, gate.OutcomeRefused)
		return
	}
	ctx, cancel := context.WithCancelCause(r.Context())
	defer cancel(nil)

	d := g.o.Arrive.Admit(ctx, c.x)
	c.rec.Principal = c.x.Principal
	if d.Denied() {
		c.deny(d)
		return
	}
	if !g.o.Load.enterKey(c.x.Principal.ID, g.o.Limits.PerKey) {
		c.refuse(&gate.Problem{Status: http.StatusTooManyRequests, Code: gate.CodeBusy, Message: "Too many calls at once for this credential.", RetryAfter: time.Second}, gate.OutcomeRefused)
		return
	}
	c.key = c.x.Principal.ID

	if p := c.readBody(); p != nil {
		c.refuseUnread(p)
		return
	}
	if p := c.read(); p != nil {
		c.refuse(p, gate.OutcomeRefused)
		return
	}
	d = g.o.Admit.Admit(ctx, c.x)
	c.rec.Decision = d
	c.rec.Admitted = time.Since(c.rec.Received)
	if d.Denied() {
		c.deny(d)
		return
	}
	if c.credential = c.up.Credential; c.up.Sealed != nil {
		if s, known := c.up.Sealed(c.x.Principal.Tenant); known {
			if c.credential = s; s.Empty() {
				c.rec.Error = "provider credential"
				c.refuse(gate.FailIdentity.Row().Problem(), gate.OutcomeRefused)
				return
			}
		}
	}
	c.rec.ForwardBytes = int64(len(c.x.Forward))
	c.keepRequest()
	if err := g.o.Recorder.Begin(ctx, c.rec); err != nil {
		g.o.Log.Error("cannot record call", "id", c.rec.ID, "error", err)
		c.rec.Error = "record"
		c.refuse(rowOf(err, gate.FailRecordBegin).Problem(), gate.OutcomeRefused)
		return
	}
	c.began = true
	c.rec.Begun = time.Since(c.rec.Received)
	c.forward(ctx, cancel)
}

// rowOf is the failure's line; an error that names none has the given one.
func rowOf(err error, otherwise gate.Failure) gate.FailureRow {
	var f *gate.Fault
	if errors.As(err, &f) {
		return f.Failure.Row()
	}
	return otherwise.Row()
}

// read finds the texts of the request and what in it cannot be read.
func (c *call) read() *gate.Problem {
	rd, err := c.d.ReadRequest(c.route, c.r.Header.Get("Content-Type"), c.x.Plain)
	if err != nil {
		var p *gate.Problem
		if errors.As(err, &p) {
			c.rec.Error = string(p.Code)
			return p
		}
		c.g.o.Log.Error("cannot read request", "id", c.rec.ID, "error", err)
		return gate.FailParse.Row().Problem()
	}
	if rd == nil {
		rd = &gate.Reading{}
	}
	if c.r.URL.RawQuery != "" || !c.route.Known {
		rd.Segments = append(rd.Segments, wire.ReadTarget(c.x.Path, c.r.URL.RawQuery)...)
	}
	if !c.route.Known {
		rd.Uninspected = append(rd.Uninspected, gate.Uninspected{Kind: gate.UninspectedEndpoint, Bytes: len(c.x.Plain)})
	}
	if c.route.Realtime || c.r.Header.Get("Upgrade") != "" {
		rd.Uninspected = append(rd.Uninspected, gate.Uninspected{Kind: gate.UninspectedRealtime})
	}
	c.x.Reading = rd
	c.rec.Model = rd.Model
	return nil
}

func clientAddr(r *http.Request) netip.Addr {
	if a, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr); ok && a.Network() == "unix" {
		return netip.Addr{}
	}
	ap, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return ap.Addr().Unmap()
}
