// Package peer matches SPIFFE ids (SPIFFE-ID 1.0) of verified callers against patterns.
package peer

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// maxID is the longest SPIFFE id (SPIFFE-ID section 2.3).
const maxID = 2048

const scheme = "spiffe://"

// Check says whether a pattern can be used: a SPIFFE id in whose path * stands for any run of
// characters within one segment, none included. A segment never matches two, and the trust domain
// is always named in full.
//
//	spiffe://prod.example/ns/agents/sa/planner      this one
//	spiffe://prod.example/ns/agents/sa/*            every account of one namespace
//	spiffe://prod.example/ns/agents/sa/planner-*    those that begin so
func Check(pattern string) error {
	rest, ok := strings.CutPrefix(pattern, scheme)
	domain, path, hasPath := strings.Cut(rest, "/")
	if !ok || len(pattern) > maxID || domain == "" || strings.Trim(domain, "abcdefghijklmnopqrstuvwxyz0123456789.-_") != "" {
		return errors.New("peer: expected spiffe:// and a trust domain in lower case")
	}
	if !hasPath {
		return errors.New("peer: expected a path; a trust domain alone names its authority, no caller")
	}
	for seg := range strings.SplitSeq(path, "/") {
		if seg == "" || seg == "." || seg == ".." {
			return errors.New("peer: expected no empty path segment and none of dots alone")
		}
		for _, r := range seg {
			if r != '*' && !pathChar(r) {
				return fmt.Errorf("peer: expected letters, digits, %q and * in the path", "-._")
			}
		}
		if strings.Contains(seg, "**") {
			return errors.New("peer: * stands for characters of one segment; write each segment")
		}
	}
	return nil
}

func pathChar(r rune) bool {
	return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '-' || r == '.' || r == '_'
}

// Match says whether id, of a peer that was verified, fits the pattern. What is no pattern matches
// nothing, and neither does the empty id.
func Match(pattern, id string) bool {
	if id == "" || len(id) > maxID || Check(pattern) != nil {
		return false
	}
	if pattern == id {
		return true
	}
	rest, ok := strings.CutPrefix(id, scheme)
	if !ok {
		return false
	}
	p, more := pattern[len(scheme):], true
	for first := true; more; first = false {
		var want, got string
		var left bool
		want, p, more = strings.Cut(p, "/")
		got, rest, left = strings.Cut(rest, "/")
		if more != left || first && want != got || !first && !segment(want, got) {
			return false
		}
	}
	return true
}

// segment matches one segment; an empty one is none.
func segment(pattern, s string) bool {
	if s == "" {
		return false
	}
	part, pattern, star := strings.Cut(pattern, "*")
	if s, ok := strings.CutPrefix(s, part); ok && star {
		for {
			part, rest, more := strings.Cut(pattern, "*")
			if !more {
				return strings.HasSuffix(s, part)
			}
			at := strings.Index(s, part)
			if at < 0 {
				return false
			}
			s, pattern = s[at+len(part):], rest
		}
	}
	return !star && part == s
}

// Any says whether id fits one of the patterns. No pattern: no.
func Any(patterns []string, id string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return Match(p, id) })
}

// Bound says whether a key that is bound to patterns may be used by this peer. A key without any is
// not bound. A bound key is of no use to who is no peer (""), so a key that leaks is worth nothing
// without a certificate of the right workload.
func Bound(patterns []string, peer string) bool { return len(patterns) == 0 || Any(patterns, peer) }
