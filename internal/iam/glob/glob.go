// Package glob matches names against patterns in which * stands for any run of bytes.
package glob

import "strings"

// Match says whether s fits pattern. A star stands for any run of bytes, none included; everything
// else, letter case too, counts as it is written. It takes at most len(pattern)*len(s) steps.
func Match(pattern, s string) bool {
	p, i := 0, 0
	star, from := -1, 0
	for i < len(s) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, from = p, i
			p++
		case p < len(pattern) && pattern[p] == s[i]:
			p++
			i++
		case star >= 0:
			from++
			p, i = star+1, from
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}

// Any says whether s fits one of the patterns.
func Any(patterns []string, s string) bool {
	for _, p := range patterns {
		if Match(p, s) {
			return true
		}
	}
	return false
}
