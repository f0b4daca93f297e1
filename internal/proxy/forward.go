package proxy

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"net/url"
	"os"
	"sync"
	"time"

	"sallyport.dev/sallyport/internal/gate"
)

var (
	errIdle       = errors.New("the provider fell silent")
	errClientGone = errors.New("the client left")
)

// forward sends the call on and lets the answer through.
func (c *call) forward(ctx context.Context, cancel context.CancelCauseFunc) {
	early := &earlyHints{c: c}
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{Got1xxResponse: early.pass})
	req := c.upstreamRequest(ctx)
	resp, err := c.up.Transport.RoundTrip(req)
	early.stop()
	if err != nil {
		c.unreachable(err)
		return
	}
	defer resp.Body.Close()
	c.rec.Status = resp.StatusCode
	if resp.StatusCode == http.StatusSwitchingProtocols {
		c.rec.Error = "protocol switch"
		c.refuse(&gate.Problem{Status: http.StatusBadGateway, Code: gate.CodeUpstreamInvalid, Message: "The provider switched protocols without being asked."}, gate.OutcomeUpstreamError)
		return
	}
	idle := time.AfterFunc(c.up.Idle, func() { cancel(errIdle) })
	defer idle.Stop()
	resp.Body = &watchedBody{resp.Body, idle, c.up.Idle, &c.rec.AnswerBytes}
	c.letThrough(ctx, cancel, resp)
}

// upstreamRequest is the call as the provider gets it: the original bytes, or the changed ones.
func (c *call) upstreamRequest(ctx context.Context) *http.Request {
	base := c.up.Base
	raw := base.EscapedPath() + c.x.Path
	u := &url.URL{Scheme: base.Scheme, Host: base.Host, RawQuery: c.r.URL.RawQuery, ForceQuery: c.r.URL.ForceQuery}
	if p, err := url.PathUnescape(raw); err == nil {
		u.Path, u.RawPath = p, raw
	} else {
		u.Path = raw
	}
	req := &http.Request{
		Method: c.r.Method, URL: u, Host: base.Host, Header: c.g.upstreamHeaders(c),
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}
	if body := c.x.Forward; len(body) > 0 {
		req.ContentLength = int64(len(body))
		req.Body = io.NopCloser(bytes.NewReader(body))
		// Lets the transport try a fresh connection where an idle one had been closed and nothing
		// was written; it never sends a POST twice otherwise.
		req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
	} else if c.r.ContentLength == 0 && (c.r.Method == http.MethodPost || c.r.Method == http.MethodPut || c.r.Method == http.MethodPatch) {
		req.Body = http.NoBody
	}
	return req.WithContext(ctx)
}

// unreachable ends a call that got no answer.
func (c *call) unreachable(err error) {
	c.rec.Error = "upstream"
	if c.r.Context().Err() != nil {
		c.refuse(&gate.Problem{Status: 499, Code: gate.CodeUpstream, Message: "The client left."}, c.g.o.Load.gone())
		return
	}
	c.g.o.Log.Warn("no answer from upstream", "id", c.rec.ID, "upstream", c.up.Name, "error", err)
	p := &gate.Problem{Status: http.StatusBadGateway, Code: gate.CodeUpstream, Message: "The provider could not be reached."}
	var t interface{ Timeout() bool }
	if errors.Is(err, errIdle) || errors.Is(err, os.ErrDeadlineExceeded) || (errors.As(err, &t) && t.Timeout()) {
		p = &gate.Problem{Status: http.StatusGatewayTimeout, Code: gate.CodeUpstreamTimeout, Message: "The provider did not answer in time."}
	}
	c.refuse(p, gate.OutcomeUpstreamError)
}

// earlyHints passes informational answers (RFC 9110 15.2) on, as long as the final one has not come.
type earlyHints struct {
	mu   sync.Mutex
	c    *call
	done bool
}

func (e *earlyHints) pass(code int, header textproto.MIMEHeader) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.done || code == http.StatusContinue || code == http.StatusSwitchingProtocols {
		return nil
	}
	h := e.c.w.Header()
	copyHeaders(h, http.Header(header))
	e.c.maskHeader(h)
	e.c.w.WriteHeader(code)
	for k := range h {
		if k != "Sallyport-Id" {
			delete(h, k)
		}
	}
	return nil
}

func (e *earlyHints) stop() {
	e.mu.Lock()
	e.done = true
	e.mu.Unlock()
}

// watchedBody counts an answer's bytes and restarts the idle clock at each of them.
type watchedBody struct {
	io.ReadCloser
	idle  *time.Timer
	limit time.Duration
	n     *int64
}

func (b *watchedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if n > 0 {
		*b.n += int64(n)
		b.idle.Reset(b.limit)
	}
	return n, err
}
