package exchange

import (
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"sallyport.dev/sallyport/internal/iam"
)

// Words of RFC 8693.
const (
	GrantType = "urn:ietf:params:oauth:grant-type:token-exchange"

	TypeAccessToken = "urn:ietf:params:oauth:token-type:access_token"
	TypeIDToken     = "urn:ietf:params:oauth:token-type:id_token"
	TypeJWT         = "urn:ietf:params:oauth:token-type:jwt"
)

// Bounds of a request, in bytes and in parameters.
const (
	MaxBody                       = 64 << 10
	maxParams, maxTargets, maxOne = 32, 4, 2048
)

// Request is a request for a token (RFC 8693 section 2.1).
type Request struct {
	SubjectToken, SubjectTokenType string
	// Targets are what resource and audience name, all of them.
	Targets []string
	Scope   string // empty: whatever is possible
}

// foreign are ways to say who acts that are not taken: who acts is who authenticates.
var foreign = []string{"actor_token", "actor_token_type", "client_secret", "client_assertion", "client_assertion_type"}

// ParseRequest reads a form. Each parameter but resource and audience stands at most once (RFC 6749
// section 3.2), one without a value counts as left out, and one that is not known is ignored.
func ParseRequest(body string) (*Request, *Error) {
	if len(body) > MaxBody || strings.Count(body, "&") >= maxParams {
		return nil, invalid("The request is too long.", "form: too long")
	}
	form, err := url.ParseQuery(body)
	if err != nil {
		return nil, invalid("The request is not a form.", "form: malformed")
	}
	one := func(name string) string {
		if vs := form[name]; len(vs) == 1 {
			return vs[0]
		}
		return ""
	}
	r := &Request{SubjectToken: one("subject_token"), SubjectTokenType: one("subject_token_type"), Scope: one("scope")}
	for name, vs := range form {
		repeats := name == "resource" || name == "audience"
		switch {
		case len(vs) > 1 && !repeats:
			return nil, invalid("A parameter is given twice.", "form: a parameter twice")
		case slices.ContainsFunc(vs, func(v string) bool { return !utf8.ValidString(v) || strings.ContainsRune(v, 0) }):
			return nil, invalid("A parameter is no text.", "form: no text")
		case name == "subject_token" && len(vs[0]) > iam.MaxToken, name == "scope" && len(vs[0]) > iam.MaxScopeText,
			name != "subject_token" && name != "scope" && slices.ContainsFunc(vs, func(v string) bool { return len(v) > maxOne }):
			return nil, invalid("A parameter is too long.", "form: too long")
		case slices.Contains(foreign, name) && vs[0] != "":
			return nil, invalid("Who acts is who authenticates: send the agent's key or token in the Authorization header, or its certificate, and no "+name+".", "form: "+name)
		}
		for _, v := range vs {
			if repeats && v != "" {
				r.Targets = append(r.Targets, v)
			}
		}
	}
	switch grant, want := one("grant_type"), one("requested_token_type"); {
	case grant == "":
		return nil, invalid("grant_type is missing.", "form: no grant_type")
	case grant != GrantType:
		return nil, &Error{400, "unsupported_grant_type", "Only tokens are exchanged here: " + GrantType + ".", "form: another grant_type"}
	case r.SubjectToken == "":
		return nil, invalid("subject_token is missing.", "form: no subject_token")
	case !slices.Contains([]string{TypeAccessToken, TypeIDToken, TypeJWT}, r.SubjectTokenType):
		return nil, invalid("Expected a subject_token_type of access_token, id_token or jwt, as its whole URN.", "form: subject_token_type")
	case want != "" && want != TypeAccessToken && want != TypeJWT:
		return nil, invalid("Only access tokens are issued.", "form: requested_token_type")
	case len(r.Targets) > maxTargets:
		return nil, invalid("Too many targets are named.", "form: too many targets")
	}
	return r, nil
}
