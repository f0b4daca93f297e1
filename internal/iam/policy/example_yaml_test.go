package policy

import (
	"fmt"
	"strings"
	"testing"
)

// keys is a mapping of n different keys, in lines or in brackets.
func keys(n int, line string) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, line, i)
	}
	return b.String()
}

// A mapping of 15,000 keys took a second and more to be refused.
func TestMappingsAreBounded(t *testing.T) {
	lists := "- name: a\n  request:\n    principal: {kind: user, id: a}\n    context:\n      amr:\n      - pwd\n      - hwk\n  want: allow\n"
	for name, c := range map[string]struct {
		text string
		many bool
	}{
		"lines":               {"- " + strings.TrimSpace(keys(maxYAMLKeys+1, "  k%d: b\n")) + "\n", true},
		"as many as may":      {"- " + strings.TrimSpace(keys(maxYAMLKeys, "  k%d: b\n")) + "\n", false},
		"brackets":            {"- {" + keys(maxYAMLKeys+1, "k%d: b, ") + "}\n", true},
		"brackets in lines":   {"- a: [{\n" + keys(maxYAMLKeys+1, "k%d: b,\n") + "}]\n", true},
		"with mappings in it": {"- " + strings.TrimSpace(keys(maxYAMLKeys+1, "  k%d:\n    x: y\n    z: {q: 1}\n")) + "\n", true},
		"with lists in it":    {"- " + strings.TrimSpace(keys(maxYAMLKeys+1, "  k%d:\n  - x: y\n  - z\n")) + "\n", true},
		"with texts in it":    {"- " + strings.TrimSpace(keys(maxYAMLKeys+1, "  k%d: |\n   a: b\n   c\n")) + "\n", true},
		"quoted":              {"- " + strings.TrimSpace(keys(maxYAMLKeys+1, "  \"k%d\" : b\n")) + "\n", true},
		"no list":             {keys(maxYAMLKeys+1, "k%d: b\n"), true},
		"many mappings":       {strings.Repeat(lists, 100), false},
		"many in brackets":    {strings.Repeat("- {name: a, request: {principal: {kind: user, id: a}}, want: allow}\n", 100), false},
	} {
		_, err := ParseExamples("f", []byte(c.text))
		if got := err != nil && strings.Contains(err.Error(), "too many keys in one mapping"); got != c.many {
			t.Errorf("%s: %v", name, err)
		}
	}
}
