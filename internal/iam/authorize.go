package iam

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"sallyport.dev/sallyport/internal/gate"
	"sallyport.dev/sallyport/internal/iam/glob"
)

var (
	notUpstream = &gate.Problem{Status: http.StatusForbidden, Code: gate.CodeDenied, Message: "The API key may not use this provider."}
	notEndpoint = &gate.Problem{Status: http.StatusForbidden, Code: gate.CodeDenied, Message: "The API key may not use this endpoint."}
	notModel    = &gate.Problem{Status: http.StatusForbidden, Code: gate.CodeDenied, Message: "The API key may not use this model.", Param: "model"}
	noModel     = &gate.Problem{Status: http.StatusForbidden, Code: gate.CodeDenied, Message: "The API key may use certain models only, and this request does not say which it uses.", Param: "model"}
)

type authorize struct{ m *IAM }

func (authorize) Name() string { return "authorize" }

// Admit checks the scopes of a key or of an identity. A passed-through credential has none: the provider decides.
//
// A key whose models are restricted may make calls that name no model only where none can be
// used: a plain read or delete without a body (GET, HEAD, DELETE), and the upload of a file. A
// batch, a run or an unknown body could use any model, so it is refused.
func (a authorize) Admit(_ context.Context, x *gate.Exchange) (gate.Decision, error) {
	if a.m.mode != ModeKeys {
		return gate.Decision{}, nil
	}
	s := scopesOf(x.Principal.Grant)
	if s == nil {
		return gate.Decision{}, gate.Fail(gate.FailIdentity, fmt.Errorf("iam: Authorize without Authenticate"))
	}
	switch {
	case !glob.Any(s.Upstreams, x.Upstream):
		return deny(notUpstream, "upstream outside the key's scope"), nil
	case !glob.Any(s.Endpoints, x.Endpoint):
		return deny(notEndpoint, "endpoint outside the key's scope"), nil
	case unrestricted(s.Models):
	case x.Reading != nil && x.Reading.Model != "":
		if !glob.Any(s.Models, x.Reading.Model) {
			return deny(notModel, "model outside the key's scope"), nil
		}
	case !ModelFree(x):
		return deny(noModel, "no model named, and the key's models are restricted"), nil
	}
	if k, ok := x.Principal.Grant.(*Key); ok {
		d, _ := granted(&k.Detail, x)
		return d, nil
	}
	for _, k := range KeysOf(&x.Principal) {
		if d, ok := granted(&k.Detail, x); !ok {
			return d, nil
		}
	}
	return gate.Decision{}, nil
}

// ModelFree says whether a call that names no model can use none.
func ModelFree(x *gate.Exchange) bool {
	switch x.Method {
	case http.MethodGet, http.MethodHead, http.MethodDelete:
		return len(x.Body) == 0 && len(x.Header["Upgrade"]) == 0 && len(x.Header["Sec-Websocket-Key"]) == 0 &&
			x.Header.Get(":protocol") == ""
	case http.MethodPost:
		return x.Endpoint == "files" || strings.HasPrefix(x.Endpoint, "files.") ||
			x.Endpoint == "uploads" || strings.HasPrefix(x.Endpoint, "uploads.")
	}
	return false
}

func unrestricted(patterns []string) bool {
	for _, p := range patterns {
		if p == "*" {
			return true
		}
	}
	return false
}
