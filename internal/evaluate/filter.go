package evaluate

import (
	"fmt"
	"slices"
	"strings"
)

// Filter chooses rows. Conditions on one dimension are alternatives; different dimensions must all
// hold; a row that an exclusion names is out. The zero value lets every row pass.
type Filter struct{ conditions []condition }

type condition struct {
	dimension string
	not       bool
	values    []string // alternatives, in which * stands for any text
}

// ParseFilter reads conditions: "source=a,lang=en", "family=tool_*", "channel!=user". An element
// without = is one more value of the condition before it: "source=a,b".
func ParseFilter(specs []string) (Filter, error) {
	var f Filter
	for _, spec := range specs {
		open := -1
		for _, part := range strings.Split(spec, ",") {
			name, value, ok := strings.Cut(part, "=")
			if !ok {
				if open < 0 {
					return f, fmt.Errorf("condition %q: want NAME=VALUE", part)
				}
				f.conditions[open].values = append(f.conditions[open].values, part)
				continue
			}
			name, not := strings.CutSuffix(name, "!")
			if !slices.Contains(dimensions, name) {
				return f, fmt.Errorf("condition %q: want one of %s", part, strings.Join(dimensions, ", "))
			}
			open = slices.IndexFunc(f.conditions, func(c condition) bool { return c.dimension == name && c.not == not })
			if open < 0 {
				open = len(f.conditions)
				f.conditions = append(f.conditions, condition{dimension: name, not: not})
			}
			f.conditions[open].values = append(f.conditions[open].values, value)
		}
	}
	return f, nil
}

// Empty says that every row passes.
func (f Filter) Empty() bool { return len(f.conditions) == 0 }

// Match says whether the row passes.
func (f Filter) Match(r *Row) bool {
	for _, c := range f.conditions {
		v := r.value(c.dimension)
		if slices.ContainsFunc(c.values, func(pattern string) bool { return like(pattern, v) }) == c.not {
			return false
		}
	}
	return true
}

// String is the filter in the form that ParseFilter reads.
func (f Filter) String() string {
	var parts []string
	for _, c := range f.conditions {
		op := "="
		if c.not {
			op = "!="
		}
		parts = append(parts, c.dimension+op+strings.Join(c.values, ","))
	}
	return strings.Join(parts, ",")
}

// like matches a pattern in which * stands for any text, in linear time for each star.
func like(pattern, s string) bool {
	first, rest, star := strings.Cut(pattern, "*")
	if !star {
		return pattern == s
	}
	s, ok := strings.CutPrefix(s, first)
	if !ok {
		return false
	}
	for {
		part, more, star := strings.Cut(rest, "*")
		if !star {
			return strings.HasSuffix(s, part)
		}
		i := strings.Index(s, part)
		if i < 0 {
			return false
		}
		s, rest = s[i+len(part):], more
	}
}
