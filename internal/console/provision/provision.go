// Package provision is the SCIM 2.0 interface (RFC 7644) by which a company's directory makes, changes and
// takes away people and groups: package scim over HTTP, each change on the record before it is made.
package provision

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/netip"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"sallyport.dev/sallyport/internal/iam/directory"
	"sallyport.dev/sallyport/internal/iam/scim"
)

// Base is the path that everything is below.
const Base = "/scim/v2"

// FeatureSCIM is what a key must name among its features, word for word, to provision.
const FeatureSCIM = "scim"

// maxBody bounds a request; the largest group is about half of it.
const maxBody = 4 << 20

// Client is the directory that asks: the key that it has.
type Client struct {
	Key, Name, Tenant string
	IP                netip.Addr
}

// ErrNobody means that the request has no token that holds.
var ErrNobody = errors.New("provision: no valid token")

// Recorder makes an event durable before it returns nil.
type Recorder interface {
	Note(ctx context.Context, event string, fields map[string]string) error
}

// Options makes the interface. Everything is required.
type Options struct {
	Service *scim.Service
	// Identify finds the client of a request; an error that wraps ErrNobody when there is none.
	Identify func(*http.Request) (*Client, error)
	Record   Recorder
	// After is called when something was changed, before the client is told: this node takes it at once.
	After func()
	Fault func(id string, err error)
}

// Handler serves Base.
func Handler(o Options) http.Handler {
	h := &handler{o}
	mux := http.NewServeMux()
	for path, k := range map[string]resources{"/Users": h.users(), "/Groups": h.groups()} {
		mux.Handle("GET "+Base+path, h.serve(k.list))
		mux.Handle("POST "+Base+path+"/.search", h.serve(k.search))
		mux.Handle("POST "+Base+path, h.serve(k.create))
		mux.Handle("GET "+Base+path+"/{id}", h.serve(k.get))
		mux.Handle("PUT "+Base+path+"/{id}", h.serve(k.replace))
		mux.Handle("PATCH "+Base+path+"/{id}", h.serve(k.patch))
		mux.Handle("DELETE "+Base+path+"/{id}", h.serve(k.remove))
	}
	mux.Handle("GET "+Base+"/ServiceProviderConfig", h.serve(h.config))
	mux.Handle("GET "+Base+"/ResourceTypes", h.serve(h.types))
	mux.Handle("GET "+Base+"/ResourceTypes/{id}", h.serve(h.types))
	mux.Handle("GET "+Base+"/Schemas", h.serve(h.schemas))
	mux.Handle("GET "+Base+"/Schemas/{id}", h.serve(h.schemas))
	mux.Handle(Base+"/", h.serve(func(c *call) error {
		if p := strings.TrimPrefix(c.r.URL.Path, Base); p == "/Bulk" || p == "/Me" {
			return &scim.Error{Status: http.StatusNotImplemented, Detail: "This is not supported."}
		}
		return &scim.Error{Status: http.StatusNotFound, Detail: "There is no such endpoint, or not with this method."}
	}))
	return mux
}

type handler struct{ o Options }

// call is one request on its way.
type call struct {
	h      *handler
	client *Client
	id     string
	w      http.ResponseWriter
	r      *http.Request
}

func (h *handler) serve(f func(*call) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := &call{h: h, w: w, r: r, id: newID()}
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Sallyport-Event", c.id)
		if err := c.run(f); err != nil {
			c.refuse(err)
		}
	})
}

func (c *call) run(f func(*call) error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("provision: panic: %v", p)
		}
	}()
	if c.client, err = c.h.o.Identify(c.r); err != nil {
		if errors.Is(err, ErrNobody) {
			_ = c.note("scim.denied", map[string]string{"reason": err.Error()})
			c.w.Header().Set("WWW-Authenticate", `Bearer realm="scim"`)
			return &scim.Error{Status: http.StatusUnauthorized, Detail: "A bearer token for SCIM is needed."}
		}
		return err
	}
	return f(c)
}

func (c *call) refuse(err error) {
	e := scim.AsError(err)
	if e == nil {
		c.h.o.Fault(c.id, err)
		e = &scim.Error{Status: http.StatusInternalServerError, Detail: "The gateway failed while handling this request."}
	}
	c.write(e.Status, e.Body())
}

func (c *call) write(status int, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		c.h.o.Fault(c.id, err)
		status, b = http.StatusInternalServerError, nil
	}
	c.w.Header().Set("Content-Type", "application/scim+json")
	c.w.WriteHeader(status)
	_, _ = c.w.Write(b)
}

// note writes an event about this call.
func (c *call) note(event string, more map[string]string) error {
	f := map[string]string{"id": c.id, "method": c.r.Method, "path": c.r.URL.EscapedPath()}
	if cl := c.client; cl != nil {
		f["actor"], f["actor_kind"], f["tenant"], f["amr"] = cl.Key, "scim", cl.Tenant, "key"
		if cl.IP.IsValid() {
			f["ip"] = cl.IP.String()
		}
	} else if ap, err := netip.ParseAddrPort(c.r.RemoteAddr); err == nil { // nobody, from somewhere
		f["ip"] = ap.Addr().Unmap().String()
	}
	for k, v := range more {
		if v != "" {
			f[k] = v
		}
	}
	return c.h.o.Record.Note(context.WithoutCancel(c.r.Context()), event, f)
}

// change makes a change between its intent and its outcome, both durable.
func (c *call) change(event string, act func() (scim.Result, error)) (scim.Result, error) {
	if err := c.note(event, map[string]string{"phase": "intent"}); err != nil {
		c.h.o.Fault(c.id, err)
		return scim.Result{}, &scim.Error{Status: http.StatusServiceUnavailable, Detail: "The gateway cannot record changes at the moment, so nothing was changed."}
	}
	res, err := act()
	c.h.o.After()
	done := map[string]string{"phase": "done", "before": text(res.Before), "after": text(res.After)}
	if err != nil {
		done = map[string]string{"phase": "failed", "error": cut(err.Error())}
	}
	if nerr := c.note(event, done); nerr != nil && err == nil {
		return res, fmt.Errorf("provision: %s was done, and its end could not be recorded: %w", event, nerr)
	}
	return res, err
}

func text(v any) string {
	if v == nil {
		return ""
	}
	switch x := v.(type) { // groups may be large: who came and went is in the two of them
	case directory.Group:
		if len(x.Members) > 50 {
			x.Members = append(x.Members[:50:50], fmt.Sprintf("and %d more", len(x.Members)-50))
			v = x
		}
	}
	b, err := json.Marshal(v, jsontext.AllowInvalidUTF8(true))
	if err != nil {
		return "unprintable"
	}
	return cut(string(b))
}

func cut(s string) string {
	if len(s) > 1900 {
		s = strings.ToValidUTF8(s[:1900], "") + "..."
	}
	return s
}

func newID() string {
	var b [10]byte
	_, _ = rand.Read(b[:])
	return "sc_" + hex.EncodeToString(b[:])
}

// body reads what was sent: one object, no name twice.
func (c *call) body() (map[string]any, error) {
	t, _, err := mime.ParseMediaType(c.r.Header.Get("Content-Type"))
	if err != nil || t != "application/scim+json" && t != "application/json" {
		return nil, &scim.Error{Status: http.StatusUnsupportedMediaType, Detail: "Send application/scim+json."}
	}
	b, err := io.ReadAll(http.MaxBytesReader(c.w, c.r.Body, maxBody))
	if err != nil {
		var big *http.MaxBytesError
		if errors.As(err, &big) {
			return nil, &scim.Error{Status: http.StatusRequestEntityTooLarge, Type: "tooMany", Detail: "The body is too large."}
		}
		return nil, &scim.Error{Status: http.StatusBadRequest, Detail: "The body could not be read."}
	}
	var m map[string]any
	if err := json.Unmarshal(b, &m, jsontext.AllowDuplicateNames(false)); err != nil || m == nil {
		return nil, &scim.Error{Status: http.StatusBadRequest, Type: "invalidSyntax", Detail: "The body is not one JSON object in which no name stands twice."}
	}
	return m, nil
}

// query reads the parameters of a list.
func (c *call) query() (q scim.Query, err error) {
	v := c.r.URL.Query()
	q = scim.Query{Filter: v.Get("filter"), StartIndex: 1, Count: scim.MaxCount, SortBy: v.Get("sortBy"), Descending: strings.EqualFold(v.Get("sortOrder"), "descending")}
	for name, p := range map[string]*int{"startIndex": &q.StartIndex, "count": &q.Count} {
		if s := v.Get(name); s != "" {
			if *p, err = strconv.Atoi(s); err != nil {
				return q, &scim.Error{Status: http.StatusBadRequest, Type: "invalidValue", Detail: name + " is a number."}
			}
		}
	}
	q.Attributes, q.Excluded = names(v.Get("attributes")), names(v.Get("excludedAttributes"))
	return q, nil
}

func names(s string) (out []string) {
	for _, n := range strings.Split(s, ",") {
		if n = strings.TrimSpace(n); n != "" {
			out = append(out, n)
		}
	}
	return out
}
