package glob

import (
	"regexp"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestMatch(t *testing.T) {
	for _, c := range []struct {
		pattern, s string
		want       bool
	}{
		{"", "", true}, {"", "a", false}, {"*", "", true}, {"*", "anything/at all", true},
		{"gpt-4o*", "gpt-4o-mini", true}, {"gpt-4o*", "gpt-4", false}, {"gpt-4o*", "GPT-4o", false},
		{"a*b*c", "a-b-b-c", true}, {"a*b*c", "a-c-b", false}, {"*a", "ba", true}, {"*a", "ab", false}, {"a**", "a", true},
		{"?", "x", false}, {"[ab]", "a", false},
		{strings.Repeat("a*", 50) + "b", strings.Repeat("a", 5000), false},
	} {
		if got := Match(c.pattern, c.s); got != c.want {
			t.Errorf("Match(%q, %q) = %t", c.pattern, c.s, got)
		}
	}
	if Any(nil, "") || !Any([]string{"x", "*"}, "") {
		t.Error("Any")
	}
}

// A regular expression that says the same agrees.
func TestMatchIsTheRegularExpression(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pattern, s := rapid.StringMatching(`[ab*.]{0,8}`).Draw(t, "pattern"), rapid.StringMatching(`[ab.]{0,8}`).Draw(t, "s")
		re := regexp.MustCompile(`^` + strings.ReplaceAll(regexp.QuoteMeta(pattern), `\*`, `.*`) + `$`)
		if got, want := Match(pattern, s), re.MatchString(s); got != want {
			t.Fatalf("Match(%q, %q) = %t", pattern, s, got)
		}
	})
}
