package api

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"reflect"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	docs "sallyport.dev/sallyport/internal/iam/document"
)

func (a *API) handler(r *Route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		c := &Call{r: req, w: w, api: a, route: r, Tenant: req.PathValue("tenant"), ID: newID(), header: w.Header()}
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Sallyport-Event", c.ID)
		out, err := c.run(req.Context())
		if err != nil {
			e := a.refusal(c, err)
			write(w, c.ID, e)
			return
		}
		c.answer(out)
	})
}

// run is the way of one request: who, whether, on the record, and only then what.
func (c *Call) run(ctx context.Context) (out any, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("api: panic in %s: %v", c.route.Operation, p)
		}
	}()
	body, err := c.read()
	if err != nil {
		return nil, err
	}
	if err := c.admit(ctx, body); err != nil {
		c.denied(ctx, err)
		return nil, err
	}
	if c.route.Reads() {
		return c.route.serve(ctx, c, body)
	}
	// The intent is durable before anything changes; what it came to follows.
	if err := c.note(ctx, c.route.Operation, map[string]string{"phase": "intent", "request": summary(body)}); err != nil {
		return nil, err
	}
	out, err = c.route.serve(ctx, c, body)
	c.api.o.After() // also after a failure: it may have been halfway
	if serr := c.api.o.Settle(context.WithoutCancel(ctx), c); serr != nil {
		c.api.o.Fault(c.ID, serr) // what was done was done
	}
	done := map[string]string{"phase": "done", "subject": c.subject}
	if err != nil {
		done["phase"], done["error"] = "failed", err.Error()
	}
	if c.before != nil {
		done["before"] = text(c.before)
	}
	if c.after != nil {
		done["after"] = text(c.after)
	}
	if nerr := c.note(context.WithoutCancel(ctx), c.route.Operation, done); nerr != nil && err == nil {
		return nil, fmt.Errorf("api: %s was done, and its end could not be recorded: %w", c.route.Operation, nerr)
	}
	return out, err
}

// admit says whether the actor may use the route.
func (c *Call) admit(ctx context.Context, body []byte) error {
	actor, err := c.api.o.Identify(c.r)
	c.Actor = actor
	if c.route.Permission == Public {
		if err != nil {
			c.Actor = nil
		}
		return nil
	}
	if err != nil {
		if errors.Is(err, ErrNobody) {
			return &Error{Status: http.StatusUnauthorized, Code: "unauthenticated", Detail: "Sign in first.", Reason: err.Error()}
		}
		return err
	}
	if c.route.Permission == Self {
		return nil
	}
	v, err := c.api.o.Access.Can(actor, c.route.Permission, Resource{Tenant: c.Tenant})
	if err != nil {
		return err
	}
	if !v.Allowed && (!c.route.Own || c.Tenant != actor.Tenant) {
		return c.forbidden(v)
	}
	if v.Allowed && v.StepUp {
		if err := c.Fresh(c.route.Permission); err != nil {
			return err
		}
	}
	if v.Approve && c.api.o.Approvals != nil {
		return c.approved(ctx, body)
	}
	return nil
}

// forbidden is the same for what is not allowed and, in a tenant of others, for what is not there.
func (c *Call) forbidden(v Verdict) error {
	if c.Tenant != "" && c.Actor.Tenant != c.Tenant {
		e := NotFound()
		e.Reason = "another tenant: " + v.Reason
		return e
	}
	return &Error{Status: http.StatusForbidden, Code: "forbidden", Detail: "You may not do this.", Reason: c.route.Permission + ": " + v.Reason}
}

// approved takes a second person's agreement to exactly this request, or asks for it.
func (c *Call) approved(ctx context.Context, body []byte) error {
	p := Pending{Permission: c.route.Permission, Tenant: c.Tenant, Summary: c.route.Operation + " " + c.r.URL.Path, Digest: c.digest(body)}
	if id := c.r.Header.Get("Sallyport-Approval"); id != "" {
		if err := c.api.o.Approvals.Use(ctx, c.Actor, id, p); err != nil {
			return &Error{Status: http.StatusForbidden, Code: "not_approved", Detail: "Nobody has approved exactly this request.", Reason: err.Error()}
		}
		c.approval = id
		return nil
	}
	id, err := c.api.o.Approvals.Ask(ctx, c.Actor, p)
	if err != nil {
		return err
	}
	return &Error{Status: http.StatusAccepted, Code: "approval_required", Detail: "A second person has to approve this. Then repeat the request with the header Sallyport-Approval.",
		Reason: "waits as " + id, Extra: map[string]any{"approval": id}}
}

// digest names one request: nothing of it can change between asking and doing.
func (c *Call) digest(body []byte) string {
	h := sha256.New()
	for _, s := range []string{c.r.Method, c.r.URL.Path, c.r.URL.RawQuery, c.r.Header.Get("If-Match")} {
		fmt.Fprintf(h, "%d:%s", len(s), s)
	}
	h.Write(body)
	return hex.EncodeToString(h.Sum(nil))
}

// read takes the body, as JSON only: a form of another site cannot send that without being asked.
func (c *Call) read() ([]byte, error) {
	r := c.r
	for name := range r.URL.Query() {
		if !c.declares(name) {
			return nil, Refuse(http.StatusBadRequest, "unknown_parameter", "The operation takes no such query parameter.")
		}
	}
	body, err := io.ReadAll(http.MaxBytesReader(c.w, r.Body, MaxBody))
	if err != nil {
		var big *http.MaxBytesError
		if errors.As(err, &big) {
			return nil, Refuse(http.StatusRequestEntityTooLarge, "too_large", "The body is larger than %d bytes.", MaxBody)
		}
		return nil, Refuse(http.StatusBadRequest, "unreadable", "The body could not be read.")
	}
	if c.route.Reads() {
		if len(body) > 0 {
			return nil, Refuse(http.StatusBadRequest, "unexpected_body", "This operation takes no body.")
		}
		return nil, nil
	}
	if r.Method == http.MethodDelete && len(body) == 0 {
		return nil, nil // no form sends it, and what a script of another site sends is asked for first
	}
	if t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || t != "application/json" {
		return nil, Refuse(http.StatusUnsupportedMediaType, "unsupported_media_type", "Send application/json.")
	}
	return bytes.TrimSpace(body), nil
}

func (c *Call) declares(name string) bool {
	for _, p := range c.route.Query {
		if p.Name == name {
			return true
		}
	}
	return false
}

func decode(body []byte, in any) error {
	if len(body) == 0 {
		return Refuse(http.StatusBadRequest, "missing_body", "The operation needs a JSON body.")
	}
	err := json.Unmarshal(body, in, json.RejectUnknownMembers(true), jsontext.AllowDuplicateNames(false))
	if err == nil {
		return nil
	}
	// The error names the place and the kind of mistake; it never holds a value of the body.
	var sem *json.SemanticError
	if errors.As(err, &sem) {
		return Refuse(http.StatusBadRequest, "invalid_body", "At %q: expected %s.", string(sem.JSONPointer), expected(sem))
	}
	return Refuse(http.StatusBadRequest, "invalid_body", "The body is not well-formed JSON, or repeats a name.")
}

func expected(e *json.SemanticError) string {
	if errors.Is(e, json.ErrUnknownName) {
		return "no member of this name"
	}
	if e.GoType == nil {
		return "something else"
	}
	if t := e.GoType; t.Kind() != reflect.Pointer && t.Implements(formType) {
		_, words := formOf(t)
		return words
	}
	switch e.GoType.Kind() {
	case reflect.String:
		return "a string"
	case reflect.Bool:
		return "true or false"
	case reflect.Slice:
		return "an array"
	case reflect.Int, reflect.Int64, reflect.Float64:
		return "a number"
	}
	return "an object or text of the documented form"
}

func (c *Call) answer(out any) {
	status := c.route.Status
	if _, none := out.(None); none {
		if status == 0 {
			status = http.StatusNoContent
		}
		c.w.WriteHeader(status)
		return
	}
	if status == 0 {
		status = http.StatusOK
	}
	body, err := marshal(out)
	if err != nil {
		c.api.o.Fault(c.ID, err)
		write(c.w, c.ID, internal)
		return
	}
	c.w.Header().Set("Content-Type", "application/json")
	c.w.WriteHeader(status)
	_, _ = c.w.Write(append(body, '\n'))
}

func marshal(v any) ([]byte, error) {
	return json.Marshal(v, json.Deterministic(true), jsontext.EscapeForHTML(true), json.FormatNilSliceAsNull(false))
}

var internal = Refuse(http.StatusInternalServerError, "internal", "The gateway failed while handling this request.")

// refusal makes of an error what the caller is told.
func (a *API) refusal(c *Call, err error) *Error {
	var e *Error
	switch {
	case errors.As(err, &e):
		return e
	case errors.Is(err, docs.ErrNotFound):
		return NotFound()
	case errors.Is(err, docs.ErrExists):
		return Refuse(http.StatusConflict, "exists", "Something with this name exists.")
	case errors.Is(err, docs.ErrConflict):
		return Refuse(http.StatusPreconditionFailed, "changed", "It was changed by another. Read it again.")
	}
	a.o.Fault(c.ID, err)
	return internal
}

// write sends a problem document (RFC 9457).
func write(w http.ResponseWriter, id string, e *Error) {
	m := map[string]any{}
	for k, v := range e.Extra {
		m[k] = v
	}
	m["type"], m["title"], m["status"], m["code"], m["detail"] = "about:blank", http.StatusText(e.Status), e.Status, e.Code, e.Detail
	if id != "" {
		m["instance"] = id
	}
	body, _ := marshal(m)
	w.Header().Set("Content-Type", "application/problem+json")
	w.Header().Set("Cache-Control", "no-store")
	if e.Status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Bearer realm="sallyport"`)
	}
	w.WriteHeader(e.Status)
	_, _ = w.Write(append(body, '\n'))
}

func newID() string {
	var b [10]byte
	rand.Read(b[:])
	return "ev_" + hex.EncodeToString(b[:])
}

// revision reads an entity tag such as "12" or W/"12".
func revision(tag string) (int64, error) {
	if tag == "" || tag == "*" {
		return 0, nil
	}
	tag = strings.TrimPrefix(tag, "W/")
	if len(tag) > 2 && tag[0] == '"' && tag[len(tag)-1] == '"' {
		if n, err := strconv.ParseInt(tag[1:len(tag)-1], 10, 64); err == nil && n > 0 {
			return n, nil
		}
	}
	return 0, Refuse(http.StatusBadRequest, "invalid_if_match", "If-Match is not an entity tag that this interface gave.")
}

// Tag is the entity tag of a revision.
func Tag(rev int64) string { return `"` + strconv.FormatInt(rev, 10) + `"` }
