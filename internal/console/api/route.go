package api

import (
	"context"
	"fmt"
	"net/http"
	"reflect"
	"regexp"
	"strings"
)

// Route is one line of the table.
type Route struct {
	Method  string
	Pattern string // below Base, in http.ServeMux's terms; {tenant} is the tenant acted in
	// Operation names it: "keys.rotate". It is also the name of the event in the record.
	Operation string
	Summary   string
	// Permission is what the actor needs in the tenant of the path, or in the installation where the
	// path names none. Anyone who is signed in may use a route whose permission is Self, and anybody at
	// all one whose permission is Public.
	Permission string
	// Own says that somebody without the permission may still use the route for what is theirs: the
	// handler checks that it is.
	Own   bool
	Query []Param
	// Status of a success; 0: 200, or 204 when there is nothing to say.
	Status int
	// Secret says that the answer holds a secret that is shown once.
	Secret bool

	in, out reflect.Type
	serve   func(ctx context.Context, c *Call, body []byte) (any, error)
}

// Permissions that are none.
const (
	Self   = "self"   // whoever is signed in, about themselves
	Public = "public" // nobody needs to be signed in
)

// Param is a parameter of the query.
type Param struct{ Name, Doc string }

// None is the input or output of a route that has none.
type None struct{}

// Do completes a route with what it does. In is read from the body of a POST, PUT or PATCH: an unknown
// or repeated member is refused. Both must be structs, or slices of them.
func Do[In, Out any](r Route, f func(ctx context.Context, c *Call, in In) (Out, error)) Route {
	r.in, r.out = reflect.TypeFor[In](), reflect.TypeFor[Out]()
	r.serve = func(ctx context.Context, c *Call, body []byte) (any, error) {
		var in In
		if r.in != reflect.TypeFor[None]() {
			if err := decode(body, &in); err != nil {
				return nil, err
			}
		} else if len(body) > 0 {
			return nil, Refuse(http.StatusBadRequest, "unexpected_body", "This operation takes no body.")
		}
		return f(ctx, c, in)
	}
	return r
}

// Reads says whether the route changes nothing.
func (r *Route) Reads() bool { return r.Method == http.MethodGet }

var (
	operationName = regexp.MustCompile(`^[a-z_]+(\.[a-z_]+)+$`)
	pathValue     = regexp.MustCompile(`\{([a-z_]+)\}`)
)

func (r *Route) check() error {
	where := r.Method + " " + r.Pattern
	switch {
	case r.serve == nil:
		return fmt.Errorf("api: route %s does nothing", where)
	case !operationName.MatchString(r.Operation):
		return fmt.Errorf("api: route %s: operation %q: expected a name such as keys.rotate", where, r.Operation)
	case r.Permission == "":
		return fmt.Errorf("api: route %s needs no permission; name one, or say that it is public", where)
	case r.Summary == "":
		return fmt.Errorf("api: route %s says nothing about itself", where)
	case !strings.HasPrefix(r.Pattern, "/"):
		return fmt.Errorf("api: route %s does not begin with /", where)
	}
	switch r.Method {
	case http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete:
	default:
		return fmt.Errorf("api: route %s has an unknown method", where)
	}
	if r.Reads() && r.in != reflect.TypeFor[None]() {
		return fmt.Errorf("api: route %s reads and takes a body", where)
	}
	return nil
}

func (r *Route) pathValues() []string {
	var names []string
	for _, m := range pathValue.FindAllStringSubmatch(r.Pattern, -1) {
		names = append(names, m[1])
	}
	return names
}
