package policy

import (
	"slices"

	cedar "github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/types"
	xast "github.com/cedar-policy/cedar-go/x/exp/ast"
)

// addLong, subLong and mulLong say false where the result does not fit: in Cedar that is an error.
func addLong(a, b int64) (int64, bool) {
	c := a + b
	return c, (c > a) == (b > 0)
}

func subLong(a, b int64) (int64, bool) {
	c := a - b
	return c, (c < a) == (b > 0)
}

func mulLong(a, b int64) (int64, bool) {
	if a == 0 || b == 0 {
		return 0, true
	}
	c := a * b
	// The sign catches the one case in which dividing overflows too: the least number times -1.
	return c, (c < 0) == ((a < 0) != (b < 0)) && c/b == a
}

func arithmetic(l, r any, f func(a, b int64) (int64, bool)) any {
	a, ok1 := l.(term[int64])
	b, ok2 := r.(term[int64])
	if !ok1 || !ok2 {
		return nil
	}
	return pair(a, b, func(_ *question, x, y int64) (int64, bool) { return f(x, y) })
}

func isType(l any, kind cedar.EntityType) any {
	e, ok := l.(term[cedar.EntityUID])
	if !ok {
		return nil
	}
	return after(e, func(_ *question, e cedar.EntityUID) (bool, bool) { return e.Type == kind, true })
}

func within(l, r any) any {
	e, ok := l.(term[cedar.EntityUID])
	if !ok {
		return nil
	}
	switch place := r.(type) {
	case term[cedar.EntityUID]:
		return pair(e, place, func(q *question, e, p cedar.EntityUID) (bool, bool) {
			return e == p || slices.Contains(q.above(e), p), true
		})
	case term[[]cedar.EntityUID]:
		return pair(e, place, func(q *question, e cedar.EntityUID, ps []cedar.EntityUID) (bool, bool) {
			return slices.Contains(ps, e) || overlap(q.above(e), ps), true
		})
	}
	return nil
}

// setLiteral knows sets of constants of one type.
func setLiteral(elements []xast.IsNode) any {
	if len(elements) == 0 {
		return nil
	}
	var (
		words    []string
		numbers  []int64
		entities []cedar.EntityUID
	)
	for _, n := range elements {
		v, ok := n.(xast.NodeValue)
		if !ok {
			return nil
		}
		switch v := v.Value.(type) {
		case cedar.String:
			words = append(words, string(v))
		case cedar.Long:
			numbers = append(numbers, int64(v))
		case cedar.EntityUID:
			entities = append(entities, v)
		}
	}
	switch len(elements) {
	case len(words):
		return constant(words)
	case len(numbers):
		return constant(numbers)
	case len(entities):
		return constant(entities)
	}
	return nil
}

func contains(l, r any) any {
	switch set := l.(type) {
	case term[[]string]:
		return containsOf(set, r)
	case term[[]int64]:
		return containsOf(set, r)
	case term[[]cedar.EntityUID]:
		return containsOf(set, r)
	}
	return nil
}

func containsOf[T comparable](set term[[]T], r any) any {
	v, ok := r.(term[T])
	if !ok {
		return nil
	}
	return pair(set, v, func(_ *question, set []T, v T) (bool, bool) { return slices.Contains(set, v), true })
}

// covers is containsAll, or containsAny.
func covers(l, r any, every bool) any {
	switch set := l.(type) {
	case term[[]string]:
		return coversOf(set, r, every)
	case term[[]int64]:
		return coversOf(set, r, every)
	}
	return nil
}

func coversOf[T comparable](set term[[]T], r any, every bool) any {
	some, ok := r.(term[[]T])
	if !ok {
		return nil
	}
	if every {
		return pair(set, some, func(_ *question, set, some []T) (bool, bool) { return all(set, some), true })
	}
	return pair(set, some, func(_ *question, set, some []T) (bool, bool) { return overlap(set, some), true })
}

func isEmpty(l any) any {
	switch set := l.(type) {
	case term[[]string]:
		return after(set, func(_ *question, s []string) (bool, bool) { return len(s) == 0, true })
	case term[[]int64]:
		return after(set, func(_ *question, s []int64) (bool, bool) { return len(s) == 0, true })
	}
	return nil
}

const day = 24 * 60 * 60 * 1000 // in milliseconds

// spans are the functions of a duration, by how many milliseconds the unit has.
var spans = map[string]int64{"toMilliseconds": 1, "toSeconds": 1000, "toMinutes": 60 * 1000, "toHours": 60 * 60 * 1000, "toDays": day}

var ipTests = map[string]func(cedar.IPAddr) bool{
	"isIpv4": cedar.IPAddr.IsIPv4, "isIpv6": cedar.IPAddr.IsIPv6, "isLoopback": cedar.IPAddr.IsLoopback, "isMulticast": cedar.IPAddr.IsMulticast,
}

var decimalTests = map[string]func(order int) bool{
	"lessThan": func(c int) bool { return c < 0 }, "lessThanOrEqual": func(c int) bool { return c <= 0 },
	"greaterThan": func(c int) bool { return c > 0 }, "greaterThanOrEqual": func(c int) bool { return c >= 0 },
}

// extension knows Cedar's functions of addresses, times and decimal numbers. What is written as text
// must be a constant that can be read.
func extension(name string, args []xast.IsNode) any {
	switch len(args) {
	case 1:
		if v, ok := args[0].(xast.NodeValue); ok {
			if s, ok := v.Value.(cedar.String); ok {
				return written(name, string(s))
			}
		}
		return ofOne(name, compileTerm(args[0]))
	case 2:
		return ofTwo(name, compileTerm(args[0]), compileTerm(args[1]))
	}
	return nil
}

func written(name, text string) any {
	switch name {
	case "ip":
		if v, err := types.ParseIPAddr(text); err == nil {
			return constant(v)
		}
	case "decimal":
		if v, err := types.ParseDecimal(text); err == nil {
			return constant(v)
		}
	case "datetime":
		if v, err := types.ParseDatetime(text); err == nil {
			return constant(moment(v.Milliseconds()))
		}
	case "duration":
		if v, err := types.ParseDuration(text); err == nil {
			return constant(span(v.ToMilliseconds()))
		}
	}
	return nil
}

func ofOne(name string, arg any) any {
	switch a := arg.(type) {
	case term[cedar.IPAddr]:
		if test, ok := ipTests[name]; ok {
			return after(a, func(_ *question, ip cedar.IPAddr) (bool, bool) { return test(ip), true })
		}
	case term[moment]:
		switch name {
		case "toDate":
			return after(a, func(_ *question, m moment) (moment, bool) { return m - m%day, true })
		case "toTime":
			return after(a, func(_ *question, m moment) (span, bool) { return span(m % day), true })
		}
	case term[span]:
		if unit, ok := spans[name]; ok {
			return after(a, func(_ *question, s span) (int64, bool) { return int64(s) / unit, true })
		}
	}
	return nil
}

func ofTwo(name string, l, r any) any {
	switch a := l.(type) {
	case term[cedar.IPAddr]:
		if b, ok := r.(term[cedar.IPAddr]); ok && name == "isInRange" {
			return pair(a, b, func(_ *question, ip, of cedar.IPAddr) (bool, bool) { return of.Contains(ip), true })
		}
	case term[cedar.Decimal]:
		test, known := decimalTests[name]
		if b, ok := r.(term[cedar.Decimal]); ok && known {
			return pair(a, b, func(_ *question, x, y cedar.Decimal) (bool, bool) { return test(x.Compare(y)), true })
		}
	case term[moment]:
		if b, ok := r.(term[span]); ok && name == "offset" {
			return pair(a, b, func(_ *question, m moment, s span) (moment, bool) {
				v, ok := addLong(int64(m), int64(s))
				return moment(v), ok
			})
		}
		if b, ok := r.(term[moment]); ok && name == "durationSince" {
			return pair(a, b, func(_ *question, x, y moment) (span, bool) {
				v, ok := subLong(int64(x), int64(y))
				return span(v), ok
			})
		}
	}
	return nil
}
