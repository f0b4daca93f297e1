// Package api is the administrative interface (/admin/v1): a table of routes, each with the permission
// it needs, and what stands before every one of them: who asks, whether they may, whether they proved it
// freshly enough, whether a second person has to agree, and the record, which is durable before
// anything changes.
//
// The table is the truth: the OpenAPI document, the matrix test (route by role by tenant) and the
// permission checks are all made from it.
package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"time"

	"sallyport.dev/sallyport/internal/iam/directory"
)

// Base is the path that every route begins with.
const Base = "/admin/v1"

// MaxBody is the most bytes of a request body.
const MaxBody = 4 << 20

// Actor is who asks.
type Actor struct {
	// Kind is how they are known: "user" (a session), "service" (a key of the gateway), "local" (a
	// process of the gateway's own account on the same machine, over the socket in the data directory).
	Kind    string
	ID      string
	Name    string
	Tenant  string
	Groups  []string
	Session string // id of the session; empty without one
	// Provider is the identity provider that the session comes from; empty for a local account.
	Provider string
	User     directory.User
	// AMR are the ways in which they proved who they are (RFC 8176), and Fresh until when the last
	// step-up holds.
	AMR   []string
	Fresh time.Time
	IP    netip.Addr
}

// Resource is what a permission is asked for.
type Resource struct {
	Tenant string // empty: the installation
	Team   string
	Owner  string // id of the person that it belongs to
}

// Verdict is the answer to a permission asked for.
type Verdict struct {
	Allowed bool
	StepUp  bool   // the act needs a fresh second factor
	Approve bool   // the act needs a second person
	Reason  string // for the record and for whoever may read bindings
}

// Access decides who may do what. It is safe for concurrent use and asks no store.
type Access interface {
	Can(a *Actor, permission string, r Resource) (Verdict, error)
}

// Identify finds out who sends a request. ErrNobody when no proof was given, an error that wraps it when
// one was given that does not hold.
type Identify func(r *http.Request) (*Actor, error)

// ErrNobody means that nobody is signed in.
var ErrNobody = errors.New("api: nobody is signed in")

// Recorder makes an event durable before it returns nil.
type Recorder interface {
	Note(ctx context.Context, event string, fields map[string]string) error
}

// Approvals keeps acts that wait for a second person.
type Approvals interface {
	// Ask stores that an act waits, and returns its id.
	Ask(ctx context.Context, a *Actor, p Pending) (id string, err error)
	// Use takes an approval for exactly this act, once. It returns an error when there is none.
	Use(ctx context.Context, a *Actor, id string, p Pending) error
}

// Pending is an act that waits. Digest covers the route, the parameters and the body.
type Pending struct {
	Permission, Tenant, Summary, Digest string
}

// Options makes an API. Everything is required but Approvals (nil: nothing needs a second person).
type Options struct {
	Identify  Identify
	Access    Access
	Record    Recorder
	Approvals Approvals
	Routes    []Route
	Version   string
	// After is called when something was changed, before the caller is told: this node takes it at once.
	After func()
	// Settle is called after After when something was done, and may still set a cookie; nil: nothing.
	Settle func(ctx context.Context, c *Call) error
	Fault  func(id string, err error) // is told of what failed inside
	Now    func() time.Time           // nil: time.Now
}

// Call is one request on its way.
type Call struct {
	Actor  *Actor
	Tenant string // from the path; empty for routes of the installation
	ID     string // of the event in the record
	r      *http.Request
	w      http.ResponseWriter
	api    *API
	route  *Route
	// before and after are what changed, for the record.
	before, after any
	subject       string
	approval      string // id of the second person's agreement that was used
	header        http.Header
}

// Path is a part of the path by name.
func (c *Call) Path(name string) string { return c.r.PathValue(name) }

// Query is a parameter that the route declares.
func (c *Call) Query(name string) string { return c.r.URL.Query().Get(name) }

// Header sets a header of the answer.
func (c *Call) Header(name, value string) { c.header.Set(name, value) }

// Request is the request itself, for what it says beside path and body.
func (c *Call) Request() *http.Request { return c.r }

// Cookie sets a cookie with the answer.
func (c *Call) Cookie(k *http.Cookie) { http.SetCookie(c.w, k) }

// IfMatch is the revision that the caller says the resource has; 0 when it says none.
func (c *Call) IfMatch() (int64, error) { return revision(c.r.Header.Get("If-Match")) }

// Changed says what an act changed; nil before: made, nil after: gone. Neither may hold a secret: what
// does is of a type that does not print it.
func (c *Call) Changed(subject string, before, after any) {
	c.subject, c.before, c.after = subject, before, after
}

// Can asks for a further permission, beyond the route's own.
func (c *Call) Can(permission string, r Resource) error {
	v, err := c.api.o.Access.Can(c.Actor, permission, r)
	if err != nil {
		return err
	}
	if !v.Allowed {
		return &Error{Status: http.StatusForbidden, Code: "forbidden", Detail: "You may not do this.", Reason: permission + ": " + v.Reason}
	}
	if v.StepUp {
		return c.Fresh(permission)
	}
	return nil
}

// Fresh refuses who has not proved a second factor a moment ago; what names the reason, for the record.
func (c *Call) Fresh(what string) error {
	if c.Actor.Fresh.After(c.api.o.Now()) {
		return nil
	}
	return &Error{Status: http.StatusForbidden, Code: "step_up_required", Detail: "Prove again who you are, with a second factor, and repeat the request.", Reason: what}
}

// Error is a refusal. Detail is for the caller, Reason for the record; it never reaches the caller.
type Error struct {
	Status int
	Code   string
	Detail string
	Reason string
	// Extra are further members of the problem document (RFC 9457 section 3.2).
	Extra map[string]any
}

func (e *Error) Error() string {
	if e.Reason != "" {
		return e.Code + ": " + e.Reason
	}
	return e.Code + ": " + e.Detail
}

// Refuse makes an Error.
func Refuse(status int, code, format string, a ...any) *Error {
	return &Error{Status: status, Code: code, Detail: fmt.Sprintf(format, a...)}
}

// NotFound is also what is said of things of another tenant.
func NotFound() *Error { return Refuse(http.StatusNotFound, "not_found", "There is no such thing.") }

// API serves the routes.
type API struct {
	o   Options
	mux *http.ServeMux
	doc []byte
}

// New checks the table of routes and builds the API.
func New(o Options) (*API, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.After == nil {
		o.After = func() {}
	}
	if o.Settle == nil {
		o.Settle = func(context.Context, *Call) error { return nil }
	}
	if o.Fault == nil {
		o.Fault = func(string, error) {}
	}
	a := &API{o: o, mux: http.NewServeMux()}
	seen := map[string]bool{}
	for i := range o.Routes {
		r := &o.Routes[i]
		if err := r.check(); err != nil {
			return nil, err
		}
		if seen[r.Operation] {
			return nil, fmt.Errorf("api: two routes are named %s", r.Operation)
		}
		seen[r.Operation] = true
		a.mux.Handle(r.Method+" "+Base+r.Pattern, a.handler(r))
	}
	doc, err := document(o.Routes, o.Version)
	if err != nil {
		return nil, err
	}
	a.doc = doc
	a.mux.HandleFunc("GET "+Base+"/openapi.json", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(a.doc)
	})
	return a, nil
}

// Routes are the table, for whoever tests or documents it.
func (a *API) Routes() []Route { return append([]Route(nil), a.o.Routes...) }

func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h, pattern := a.mux.Handler(r)
	if pattern == "" {
		a.refuseEarly(w, r, h)
		return
	}
	a.mux.ServeHTTP(w, r)
}

// refuseEarly answers what no route takes: 404, or 405 where another method would be taken.
func (a *API) refuseEarly(w http.ResponseWriter, r *http.Request, h http.Handler) {
	p := &probe{header: http.Header{}}
	h.ServeHTTP(p, r)
	e := NotFound()
	if p.status == http.StatusMethodNotAllowed {
		w.Header().Set("Allow", p.header.Get("Allow"))
		e = Refuse(http.StatusMethodNotAllowed, "method_not_allowed", "This path does not take the method.")
	}
	write(w, "", e)
}

// probe sees what the mux would have answered.
type probe struct {
	header http.Header
	status int
}

func (p *probe) Header() http.Header         { return p.header }
func (p *probe) Write(b []byte) (int, error) { return len(b), nil }
func (p *probe) WriteHeader(status int)      { p.status = status }
