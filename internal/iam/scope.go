package iam

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"sallyport.dev/sallyport/internal/iam/glob"
)

// MaxScopeText is the longest scope, in bytes, that is read from a token or a form.
const MaxScopeText = 8 << 10

// dimensions are the lists of Scopes, with the word that stands for each in text.
var dimensions = [...]struct {
	word string
	list func(*Scopes) *[]string
}{
	{"upstream", func(s *Scopes) *[]string { return &s.Upstreams }},
	{"endpoint", func(s *Scopes) *[]string { return &s.Endpoints }},
	{"model", func(s *Scopes) *[]string { return &s.Models }},
}

// Text writes scopes as an OAuth scope (RFC 6749 section 3.3): "upstream:openai endpoint:chat.*".
func (s Scopes) Text() string {
	var b strings.Builder
	for _, d := range dimensions {
		for _, p := range *d.list(&s) {
			if b.Len() > 0 {
				b.WriteByte(' ')
			}
			b.WriteString(d.word + ":" + p)
		}
	}
	return b.String()
}

// ParseScopes is the inverse of Text. An unknown word is an error, since what is not understood may
// have been meant to restrict.
func ParseScopes(text string) (Scopes, error) {
	var s Scopes
	if len(text) > MaxScopeText {
		return s, fmt.Errorf("iam: read scope: more than %d bytes", MaxScopeText)
	}
	for part := range strings.SplitSeq(text, " ") {
		word, pattern, ok := strings.Cut(part, ":")
		if !ok || !validPattern(pattern) {
			return Scopes{}, errors.New(`iam: read scope: expected parts such as "model:gpt-5*" with one space between`)
		}
		known := false
		for _, d := range dimensions {
			if d.word != word {
				continue
			}
			l := d.list(&s)
			if known = true; len(*l) == maxPatterns {
				return Scopes{}, fmt.Errorf("iam: read scope: more than %d patterns of one kind", maxPatterns)
			}
			*l = append(*l, pattern)
		}
		if !known {
			return Scopes{}, errors.New("iam: read scope: an unknown kind of scope; expected upstream, endpoint or model")
		}
	}
	return s, nil
}

// validPattern keeps to the characters of a scope-token (RFC 6749 section 3.3).
func validPattern(p string) bool {
	return p != "" && len(p) <= maxPattern &&
		!strings.ContainsFunc(p, func(r rune) bool { return r <= ' ' || r > '~' || r == '"' || r == '\\' })
}

// Covers says whether everything that t allows, s allows too.
func (s Scopes) Covers(t Scopes) bool {
	for _, d := range dimensions {
		for _, p := range *d.list(&t) {
			// The star of p is a byte like any other here, and only a star of s takes it: so what p
			// matches is matched.
			if !glob.Any(*d.list(&s), p) {
				return false
			}
		}
	}
	return true
}

// Meet allows only what both allow. Of two patterns that overlap without one holding the other,
// nothing is kept: it allows less rather than more.
func (s Scopes) Meet(t Scopes) Scopes {
	var out Scopes
	for _, d := range dimensions {
		a, b := *d.list(&s), *d.list(&t)
		l := d.list(&out)
		for _, p := range a {
			if glob.Any(b, p) {
				*l = append(*l, p)
			}
		}
		for _, p := range b {
			if glob.Any(a, p) && !slices.Contains(*l, p) {
				*l = append(*l, p)
			}
		}
	}
	return out
}

// Void says whether s allows no call at all: a list that is empty allows nothing.
func (s Scopes) Void() bool {
	for _, d := range dimensions {
		if len(*d.list(&s)) == 0 {
			return true
		}
	}
	return false
}
