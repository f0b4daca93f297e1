package policy

import (
	"slices"

	cedar "github.com/cedar-policy/cedar-go"
	xast "github.com/cedar-policy/cedar-go/x/exp/ast"
)

// A term is a compiled expression: its value, and whether it has one. False means that Cedar would
// find an error in it. No term says which: whoever gets false asks Cedar about the whole statement, so
// that Cedar alone decides what an error is, and a term that gives up too soon costs time only.
type term[T any] func(*question) (T, bool)

// Values that Go has no type of its own for. Both are milliseconds, as in Cedar.
type (
	moment int64 // datetime
	span   int64 // duration
)

// verdict is what a compiled statement says of a question.
type verdict uint8

const (
	holds verdict = iota
	fails
	unsure // ask Cedar
)

// run is the conditions of a statement, compiled. nil: something in them is not known here, and Cedar
// is always asked.
type run func(*question) verdict

// compileConditions makes a run of the conditions: all of when must hold and none of unless, and what
// follows the first that fails is not looked at.
func compileConditions(conditions []xast.ConditionType) run {
	parts := make([]term[bool], 0, len(conditions))
	for _, c := range conditions {
		b, ok := compileTerm(c.Body).(term[bool])
		if !ok {
			return nil
		}
		if c.Condition == xast.ConditionUnless {
			b = not(b)
		}
		parts = append(parts, b)
	}
	return func(q *question) verdict {
		for _, p := range parts {
			switch yes, ok := p(q); {
			case !ok:
				return unsure
			case !yes:
				return fails
			}
		}
		return holds
	}
}

// compileTerm makes a term of an expression: a term[bool], term[int64] and so on by its static type,
// or nil for what is not known here or has no one type.
func compileTerm(n xast.IsNode) any {
	switch v := n.(type) {
	case xast.NodeValue:
		return literal(v.Value)
	case xast.NodeTypeVariable:
		return variable(string(v.Name))
	case xast.NodeTypeAccess:
		return access(v.Arg, string(v.Value))
	case xast.NodeTypeHas:
		return has(v.Arg, string(v.Value))
	case xast.NodeTypeAnd:
		return both(compileTerm(v.Left), compileTerm(v.Right), false)
	case xast.NodeTypeOr:
		return both(compileTerm(v.Left), compileTerm(v.Right), true)
	case xast.NodeTypeNot:
		if b, ok := compileTerm(v.Arg).(term[bool]); ok {
			return not(b)
		}
	case xast.NodeTypeIfThenElse:
		return choose(compileTerm(v.If), compileTerm(v.Then), compileTerm(v.Else))
	case xast.NodeTypeEquals:
		return equal(compileTerm(v.Left), compileTerm(v.Right))
	case xast.NodeTypeNotEquals:
		if b, ok := equal(compileTerm(v.Left), compileTerm(v.Right)).(term[bool]); ok {
			return not(b)
		}
	case xast.NodeTypeLessThan:
		return less(compileTerm(v.Left), compileTerm(v.Right), false, false)
	case xast.NodeTypeLessThanOrEqual:
		return less(compileTerm(v.Left), compileTerm(v.Right), true, false)
	case xast.NodeTypeGreaterThan:
		return less(compileTerm(v.Left), compileTerm(v.Right), true, true)
	case xast.NodeTypeGreaterThanOrEqual:
		return less(compileTerm(v.Left), compileTerm(v.Right), false, true)
	case xast.NodeTypeAdd:
		return arithmetic(compileTerm(v.Left), compileTerm(v.Right), addLong)
	case xast.NodeTypeSub:
		return arithmetic(compileTerm(v.Left), compileTerm(v.Right), subLong)
	case xast.NodeTypeMult:
		return arithmetic(compileTerm(v.Left), compileTerm(v.Right), mulLong)
	case xast.NodeTypeNegate:
		return arithmetic(term[int64](func(*question) (int64, bool) { return 0, true }), compileTerm(v.Arg), subLong)
	case xast.NodeTypeLike:
		if s, ok := compileTerm(v.Arg).(term[string]); ok {
			pattern := v.Value
			return after(s, func(_ *question, s string) (bool, bool) { return pattern.Match(cedar.String(s)), true })
		}
	case xast.NodeTypeIs:
		return isType(compileTerm(v.Left), v.EntityType)
	case xast.NodeTypeIsIn:
		return both(isType(compileTerm(v.Left), v.EntityType), within(compileTerm(v.Left), compileTerm(v.Entity)), false)
	case xast.NodeTypeIn:
		return within(compileTerm(v.Left), compileTerm(v.Right))
	case xast.NodeTypeSet:
		return setLiteral(v.Elements)
	case xast.NodeTypeContains:
		return contains(compileTerm(v.Left), compileTerm(v.Right))
	case xast.NodeTypeContainsAll:
		return covers(compileTerm(v.Left), compileTerm(v.Right), true)
	case xast.NodeTypeContainsAny:
		return covers(compileTerm(v.Left), compileTerm(v.Right), false)
	case xast.NodeTypeIsEmpty:
		return isEmpty(compileTerm(v.Arg))
	case xast.NodeTypeExtensionCall:
		return extension(string(v.Name), v.Args)
	}
	return nil
}

// after applies f to a value; an error before it stays one.
func after[A, B any](a term[A], f func(*question, A) (B, bool)) any {
	return term[B](func(q *question) (B, bool) {
		v, ok := a(q)
		if !ok {
			var none B
			return none, false
		}
		return f(q, v)
	})
}

// pair applies f to two values, of which both are had, left first: an error in either is one.
func pair[A, B, C any](l term[A], r term[B], f func(*question, A, B) (C, bool)) any {
	return term[C](func(q *question) (c C, ok bool) {
		a, ok := l(q)
		if !ok {
			return c, false
		}
		b, ok := r(q)
		if !ok {
			return c, false
		}
		return f(q, a, b)
	})
}

func constant[T any](v T) any { return term[T](func(*question) (T, bool) { return v, true }) }

func literal(v cedar.Value) any {
	switch v := v.(type) {
	case cedar.Boolean:
		return constant(bool(v))
	case cedar.Long:
		return constant(int64(v))
	case cedar.String:
		return constant(string(v))
	case cedar.EntityUID:
		return constant(v)
	}
	return nil
}

func not(b term[bool]) term[bool] {
	return func(q *question) (bool, bool) {
		v, ok := b(q)
		return !v, ok
	}
}

// both is && and, with or, ||: the right is had only where the left does not settle it, so an error
// in it counts only then.
func both(l, r any, or bool) any {
	a, ok1 := l.(term[bool])
	b, ok2 := r.(term[bool])
	if !ok1 || !ok2 {
		return nil
	}
	return term[bool](func(q *question) (bool, bool) {
		v, ok := a(q)
		if !ok || v == or {
			return v, ok
		}
		return b(q)
	})
}

func choose(cond, yes, no any) any {
	c, ok := cond.(term[bool])
	if !ok {
		return nil
	}
	switch y := yes.(type) {
	case term[bool]:
		return chooseOf(c, y, no)
	case term[int64]:
		return chooseOf(c, y, no)
	case term[string]:
		return chooseOf(c, y, no)
	case term[cedar.EntityUID]:
		return chooseOf(c, y, no)
	case term[[]string]:
		return chooseOf(c, y, no)
	case term[cedar.IPAddr]:
		return chooseOf(c, y, no)
	case term[moment]:
		return chooseOf(c, y, no)
	case term[span]:
		return chooseOf(c, y, no)
	}
	return nil
}

func chooseOf[T any](c term[bool], yes term[T], other any) any {
	no, ok := other.(term[T])
	if !ok {
		return nil
	}
	return term[T](func(q *question) (none T, ok bool) {
		switch first, ok := c(q); {
		case !ok:
			return none, false
		case first:
			return yes(q)
		}
		return no(q)
	})
}

func equal(l, r any) any {
	switch a := l.(type) {
	case term[bool]:
		return equalOf(a, r)
	case term[int64]:
		return equalOf(a, r)
	case term[string]:
		return equalOf(a, r)
	case term[cedar.EntityUID]:
		return equalOf(a, r)
	case term[cedar.IPAddr]:
		return equalOf(a, r)
	case term[cedar.Decimal]:
		return equalOf(a, r)
	case term[moment]:
		return equalOf(a, r)
	case term[span]:
		return equalOf(a, r)
	case term[[]string]:
		return equalSets(a, r)
	case term[[]int64]:
		return equalSets(a, r)
	}
	return nil
}

func equalOf[T comparable](a term[T], r any) any {
	b, ok := r.(term[T])
	if !ok {
		return nil
	}
	return pair(a, b, func(_ *question, x, y T) (bool, bool) { return x == y, true })
}

// Sets are lists here, in which a value may stand twice.
func equalSets[T comparable](a term[[]T], r any) any {
	b, ok := r.(term[[]T])
	if !ok {
		return nil
	}
	return pair(a, b, func(_ *question, x, y []T) (bool, bool) { return all(x, y) && all(y, x), true })
}

// all says whether every one of some is in set.
func all[T comparable](set, some []T) bool {
	for _, v := range some {
		if !slices.Contains(set, v) {
			return false
		}
	}
	return true
}

func overlap[T comparable](set, some []T) bool {
	for _, v := range some {
		if slices.Contains(set, v) {
			return true
		}
	}
	return false
}

// less is <; orEqual makes it <=, and negated turns the answer round, which makes > of <= and >= of <.
func less(l, r any, orEqual, negated bool) any {
	switch a := l.(type) {
	case term[int64]:
		return lessOf(a, r, orEqual, negated)
	case term[moment]:
		return lessOf(a, r, orEqual, negated)
	case term[span]:
		return lessOf(a, r, orEqual, negated)
	}
	return nil
}

func lessOf[T ~int64](a term[T], r any, orEqual, negated bool) any {
	b, ok := r.(term[T])
	if !ok {
		return nil
	}
	return pair(a, b, func(_ *question, x, y T) (bool, bool) { return (x < y || orEqual && x == y) != negated, true })
}
