// Package federation holds what OpenID Connect and SAML sign-in have in common: what a company's
// identity provider asserts of a person, the sign-in under way, and what may be used once.
package federation

import (
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Bounds of what is kept of an assertion.
const (
	MaxIssuer  = 1024 // bytes, as all of these
	MaxSubject = 255  // OpenID Connect Core 1.0 section 2
	MaxGroup   = 256
	MaxGroups  = 1000 // as many as rbac looks at
	maxName    = 256
	maxEmail   = 254 // RFC 5321 section 4.5.3.1.3
	maxContext = 256
	maxAMR     = 16
	maxRaw     = 64
	maxRawName = 128
	maxRawList = 32
	maxRawText = 512
)

// Assertion is what an identity provider says of a person who signed in with it, verified. Who it is
// are Issuer and Subject together. Never Email: it can be given to somebody else, and at some
// providers people choose it themselves.
type Assertion struct {
	Provider      string // our name for the provider
	Issuer        string
	Subject       string
	Name          string // to show; decides nothing
	Email         string // to show and to reach; decides nothing
	EmailVerified bool
	Groups        []string // as the provider writes them, each once
	AMR           []string // RFC 8176: how the person was authenticated
	ACR           string   // OIDC acr, SAML AuthnContextClassRef
	AuthTime      time.Time
	Session       string    // OIDC sid, SAML SessionIndex; for logout
	SessionEnds   time.Time // SAML SessionNotOnOrAfter: no session may outlive it; zero: not said
	// Raw are further claims or attributes, for conditions in a mapping: at most 64 names.
	Raw map[string][]string
}

// Key is the identity: equal for the same person at the same provider, and for nobody else. Neither
// part can hold the separator.
func (a *Assertion) Key() string { return a.Issuer + "\n" + a.Subject }

// Bound checks and trims an assertion before anything is decided on it. Who it is and the groups
// must be whole: a group that is left out may be one that is denied, so too many groups or one that
// cannot be shown refuse the sign-in. What only describes a person is dropped when it does not fit.
func (a *Assertion) Bound() error {
	switch {
	case !Printable(a.Issuer, MaxIssuer):
		return Refuse("issuer is empty, too long or not printable")
	case !Printable(a.Subject, MaxSubject) || strings.TrimSpace(a.Subject) != a.Subject:
		return Refuse("subject is empty, too long or not printable")
	}
	groups, err := boundGroups(a.Groups)
	if err != nil {
		return err
	}
	a.Groups = groups
	if !Printable(a.Name, maxName) {
		a.Name = ""
	}
	if !Printable(a.Email, maxEmail) || strings.Count(a.Email, "@") != 1 || strings.ContainsAny(a.Email, " <>,;:\"\\") {
		a.Email, a.EmailVerified = "", false
	}
	if !Printable(a.ACR, maxContext) {
		a.ACR = ""
	}
	if !Printable(a.Session, maxContext) {
		a.Session = ""
	}
	var amr []string
	for _, m := range a.AMR {
		if Printable(m, maxContext) && len(amr) < maxAMR {
			amr = append(amr, m)
		}
	}
	a.AMR = amr
	return nil
}

func boundGroups(all []string) ([]string, error) {
	if len(all) > MaxGroups {
		return nil, Refuse(fmt.Sprintf("more than %d groups; let the provider send only those that matter here", MaxGroups))
	}
	var out []string
	seen := make(map[string]bool, len(all))
	for _, g := range all {
		if !Printable(g, MaxGroup) {
			return nil, Refuse("a group is empty, too long or not printable")
		}
		if !seen[g] {
			seen[g] = true
			out = append(out, g)
		}
	}
	return out, nil
}

// Add keeps a further claim, while there is room. What does not fit is left out, never cut.
func (a *Assertion) Add(name string, values ...string) {
	if !Printable(name, maxRawName) || len(values) == 0 || len(values) > maxRawList {
		return
	}
	if _, known := a.Raw[name]; known || len(a.Raw) >= maxRaw {
		return
	}
	for _, v := range values {
		if !Printable(v, maxRawText) {
			return
		}
	}
	if a.Raw == nil {
		a.Raw = map[string][]string{}
	}
	a.Raw[name] = values
}

// Printable says whether s is UTF-8 of 1 to limit bytes that a terminal and a page can show as what
// it is: no control characters, no line breaks, none of the invisible or direction-changing ones.
func Printable(s string, limit int) bool {
	if s == "" || len(s) > limit || !utf8.ValidString(s) {
		return false
	}
	for _, r := range s {
		if !unicode.IsPrint(r) || r == utf8.RuneError {
			return false
		}
	}
	return true
}
