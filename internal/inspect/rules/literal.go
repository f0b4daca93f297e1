package rules

import (
	"regexp/syntax"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	maxLiterals = 64 // literal starts of one rule
	maxLiteral  = 24 // bytes of one
	minLiteral  = 3
)

// literal is a string that a match begins with; exact says that it is the whole of what was read
// so far, so that what follows may be appended.
type literal struct {
	s     string
	exact bool
}

// starts lists literals of which one begins every match of re, lower-cased and with every kind of
// white space as a space. It is the prefilter's completeness argument: a match whose beginning is
// not in the list does not exist. ok is false when no useful list can be made.
func starts(re *syntax.Regexp) (list []string, ok bool) {
	for _, l := range prefixes(re) {
		if len(l.s) > maxLiteral {
			l.s = cut(l.s, maxLiteral)
		}
		list = append(list, l.s)
	}
	list = shortest(list)
	// Too many: shorter ones that stand for several.
	for n := maxLiteral - 4; len(list) > 2*maxLiterals && n >= minLiteral+2; n -= 2 {
		for i, s := range list {
			if len(s) > n {
				list[i] = cut(s, n)
			}
		}
		list = shortest(list)
	}
	for _, s := range list {
		if len(s) < minLiteral || utf8.RuneCountInString(s) < 2 {
			return nil, false
		}
	}
	return list, len(list) > 0
}

func cut(s string, n int) string {
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// shortest drops doubles and every string that another one begins.
func shortest(in []string) []string {
	sorted := slices.Clone(in)
	slices.Sort(sorted)
	out := sorted[:0]
	for _, s := range sorted {
		if len(out) == 0 || !strings.HasPrefix(s, out[len(out)-1]) {
			out = append(out, s)
		}
	}
	return out
}

func prefixes(re *syntax.Regexp) []literal {
	empty := []literal{{"", true}}
	switch re.Op {
	case syntax.OpLiteral:
		var b strings.Builder
		for _, r := range re.Rune {
			b.WriteRune(plain(r))
		}
		return []literal{{b.String(), true}}
	case syntax.OpCharClass:
		seen := map[rune]bool{}
		var out []literal
		for i := 0; i < len(re.Rune); i += 2 {
			for r := re.Rune[i]; r <= re.Rune[i+1]; r++ {
				if p := plain(r); !seen[p] {
					seen[p] = true
					if len(out) == 16 {
						return []literal{{"", false}}
					}
					out = append(out, literal{string(p), true})
				}
			}
		}
		return out
	case syntax.OpEmptyMatch, syntax.OpBeginLine, syntax.OpEndLine, syntax.OpBeginText, syntax.OpEndText, syntax.OpWordBoundary, syntax.OpNoWordBoundary:
		return empty
	case syntax.OpCapture:
		return prefixes(re.Sub[0])
	case syntax.OpQuest:
		return append(prefixes(re.Sub[0]), empty...)
	case syntax.OpStar:
		return append(inexact(prefixes(re.Sub[0])), empty...)
	case syntax.OpPlus:
		return inexact(prefixes(re.Sub[0]))
	case syntax.OpRepeat:
		sub := prefixes(re.Sub[0])
		acc := empty
		for range min(re.Min, 8) {
			acc, _ = cross(acc, sub)
		}
		if re.Min != re.Max || re.Min > 8 {
			acc = inexact(acc)
		}
		if re.Min == 0 {
			acc = append(inexact(sub), empty...)
			if re.Max == 1 {
				acc = append(sub, empty...)
			}
		}
		return acc
	case syntax.OpConcat:
		acc := empty
		for _, s := range re.Sub {
			next, grown := cross(acc, prefixes(s))
			if !grown {
				return inexact(acc)
			}
			acc = next
		}
		return acc
	case syntax.OpAlternate:
		var out []literal
		for _, s := range re.Sub {
			out = append(out, prefixes(s)...)
		}
		return out
	}
	return []literal{{"", false}}
}

func inexact(in []literal) []literal {
	out := make([]literal, len(in))
	for i, l := range in {
		out[i] = literal{l.s, false}
	}
	return out
}

// cross appends each of b to each exact literal of a. It refuses to grow beyond maxLiterals.
func cross(a, b []literal) ([]literal, bool) {
	var out []literal
	seen := map[literal]bool{}
	limit := maxLiterals
	for _, x := range a {
		if x.exact && len(x.s) <= minLiteral { // not distinctive yet
			limit = 16 * maxLiterals
		}
	}
	for _, x := range a {
		if !x.exact || len(x.s) >= maxLiteral {
			x.exact = false
			if !seen[x] {
				seen[x] = true
				out = append(out, x)
			}
			continue
		}
		for _, y := range b {
			l := literal{x.s + y.s, y.exact}
			if !seen[l] {
				seen[l] = true
				out = append(out, l)
			}
		}
		if len(out) > limit && len(out) > len(a) {
			return inexact(a), false
		}
	}
	return out, true
}

func plain(r rune) rune {
	switch {
	case r == '\n' || r == '\t' || r == '\r' || r == '\f' || r == '\v':
		return ' '
	case r < utf8.RuneSelf:
		return unicode.ToLower(r)
	case unicode.ToLower(r) < utf8.RuneSelf: // the Kelvin sign and its like are folded before
		return unicode.ToLower(r)
	}
	return r
}

// longest is the most bytes a match can have; limit when that is more or unbounded.
func longest(re *syntax.Regexp, limit int) int {
	sum := func(n int) int { return min(n, limit) }
	switch re.Op {
	case syntax.OpLiteral:
		n := 0
		for _, r := range re.Rune {
			n += utf8.RuneLen(r)
		}
		return sum(n)
	case syntax.OpCharClass:
		if len(re.Rune) == 0 {
			return 0
		}
		return max(1, utf8.RuneLen(min(re.Rune[len(re.Rune)-1], utf8.MaxRune)))
	case syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		return utf8.UTFMax
	case syntax.OpCapture, syntax.OpQuest:
		return longest(re.Sub[0], limit)
	case syntax.OpStar, syntax.OpPlus:
		return limit
	case syntax.OpRepeat:
		if re.Max < 0 {
			return limit
		}
		return sum(re.Max * longest(re.Sub[0], limit))
	case syntax.OpConcat:
		n := 0
		for _, s := range re.Sub {
			n += longest(s, limit)
		}
		return sum(n)
	case syntax.OpAlternate:
		n := 0
		for _, s := range re.Sub {
			n = max(n, longest(s, limit))
		}
		return n
	}
	return 0
}

// spaced makes every space of a pattern match the view's two kinds of white space.
func spaced(re *syntax.Regexp) *syntax.Regexp {
	class := &syntax.Regexp{Op: syntax.OpCharClass, Rune: []rune{'\n', '\n', ' ', ' '}, Flags: re.Flags}
	return rewrite(re, func(re *syntax.Regexp) *syntax.Regexp {
		switch {
		case re.Op == syntax.OpLiteral && strings.ContainsRune(string(re.Rune), ' '):
			out := &syntax.Regexp{Op: syntax.OpConcat, Flags: re.Flags}
			for _, r := range re.Rune {
				if r == ' ' {
					out.Sub = append(out.Sub, class)
				} else {
					out.Sub = append(out.Sub, &syntax.Regexp{Op: syntax.OpLiteral, Rune: []rune{r}, Flags: re.Flags})
				}
			}
			return out
		case re.Op == syntax.OpCharClass && holds(re.Rune, ' ') && !holds(re.Rune, '\n'):
			c := *re
			c.Rune = append([]rune{'\n', '\n'}, re.Rune...)
			if re.Rune[0] <= '\n' { // keep the ranges in order
				c.Rune = nil
				done := false
				for i := 0; i < len(re.Rune); i += 2 {
					if !done && re.Rune[i] > '\n' {
						c.Rune = append(c.Rune, '\n', '\n')
						done = true
					}
					c.Rune = append(c.Rune, re.Rune[i], re.Rune[i+1])
				}
			}
			return &c
		}
		return re
	})
}

// squeezed makes a pattern for text without anything but letters and digits.
func squeezed(re *syntax.Regexp) *syntax.Regexp {
	nothing := &syntax.Regexp{Op: syntax.OpEmptyMatch}
	return rewrite(re, func(re *syntax.Regexp) *syntax.Regexp {
		switch re.Op {
		case syntax.OpLiteral:
			c := *re
			c.Rune = nil
			for _, r := range re.Rune {
				if wordish(r) {
					c.Rune = append(c.Rune, r)
				}
			}
			if len(c.Rune) == 0 {
				return nothing
			}
			return &c
		case syntax.OpCharClass:
			for i := 0; i < len(re.Rune); i += 2 {
				for r := re.Rune[i]; r <= re.Rune[i+1]; r++ {
					if wordish(r) {
						return re
					}
				}
			}
			return nothing
		case syntax.OpWordBoundary, syntax.OpNoWordBoundary, syntax.OpBeginLine, syntax.OpEndLine, syntax.OpBeginText, syntax.OpEndText:
			return nothing
		}
		return re
	})
}

func wordish(r rune) bool {
	return r >= utf8.RuneSelf || '0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z'
}

func holds(ranges []rune, r rune) bool {
	for i := 0; i < len(ranges); i += 2 {
		if ranges[i] <= r && r <= ranges[i+1] {
			return true
		}
	}
	return false
}

func rewrite(re *syntax.Regexp, f func(*syntax.Regexp) *syntax.Regexp) *syntax.Regexp {
	if len(re.Sub) > 0 {
		c := *re
		c.Sub = make([]*syntax.Regexp, len(re.Sub))
		for i, s := range re.Sub {
			c.Sub[i] = rewrite(s, f)
		}
		re = &c
	}
	return f(re)
}
