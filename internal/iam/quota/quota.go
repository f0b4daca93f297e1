// Package quota keeps limits: how many requests, tokens, micro-units of money, bytes and calls at once
// a subject may use. What a call will use is reserved before it leaves and settled when it ends, so
// that concurrent calls cannot overspend between them.
//
// A subject is an opaque string ("key:ab12", "tenant:y/model:gpt-5*"). It must come from the
// configuration or from a key, never from a caller's own words, or a caller could fill the memory.
//
// State is per subject, unit and window; its locks are sharded by subject, so calls meet only where
// they share a subject. Reserve with local limits makes no system call beyond reading the clock. With
// a Store the amounts are global: each node leases slices of them (see Store).
package quota

import (
	"fmt"
	"time"
)

// Unit is what is counted.
type Unit uint8

const (
	Requests    Unit = iota
	Tokens           // input and output
	Cost             // micro-units of the currency (a millionth of a dollar)
	Bytes            // of request and answer bodies
	Concurrency      // calls at once; has no window
)

var unitNames = [...]string{"requests", "tokens", "cost", "bytes", "concurrency"}

func (u Unit) String() string {
	if int(u) < len(unitNames) {
		return unitNames[u]
	}
	return "unknown"
}

// ParseUnit is the inverse of String.
func ParseUnit(s string) (Unit, error) {
	for i, n := range unitNames {
		if n == s {
			return Unit(i), nil
		}
	}
	return 0, fmt.Errorf("quota: unknown unit %q; expected one of %v", s, unitNames)
}

// Bound is one limit. Several hold at once; the call must fit them all.
type Bound struct {
	Subject string
	Unit    Unit
	Amount  int64 // 0: nothing is allowed; at most MaxAmount
	Window  Window
}

// MaxAmount bounds amounts and estimates, so that sums stay exact, in Redis' doubles too.
const MaxAmount = 1 << 50

// MaxBounds is how many bounds one call may have.
const MaxBounds = 64

func (b *Bound) check() error {
	switch {
	case b.Unit > Concurrency:
		return fmt.Errorf("quota: check bound: unknown unit %d", b.Unit)
	case b.Amount < 0 || b.Amount > MaxAmount:
		return fmt.Errorf("quota: check bound: amount %d of %s is not between 0 and %d", b.Amount, b.Unit, int64(MaxAmount))
	case b.Unit == Concurrency && b.Window != 0:
		return fmt.Errorf("quota: check bound: concurrency has no window")
	case b.Unit != Concurrency && b.Window != Month && (b.Window < Second || b.Window%Second != 0):
		return fmt.Errorf("quota: check bound: the window %v of %s is not a month or whole seconds", time.Duration(b.Window), b.Unit)
	}
	return nil
}

// Amounts is what one call uses, or is expected to. Concurrency is always one.
type Amounts struct {
	Requests, Tokens, Cost, Bytes int64
}

// of is the amount in one unit, within the bounds of what is counted.
func (a *Amounts) of(u Unit) int64 {
	var n int64
	switch u {
	case Requests:
		n = a.Requests
	case Tokens:
		n = a.Tokens
	case Cost:
		n = a.Cost
	case Bytes:
		n = a.Bytes
	case Concurrency:
		n = 1
	}
	return min(max(n, 0), MaxAmount)
}

// Exceeded says which bound a call did not fit. It is a decision, not an error.
type Exceeded struct {
	Bound     Bound
	Used      int64         // of the window, reservations included, as far as this node knows
	Asked     int64         // what the call needed
	Remaining int64         // what a smaller call could have had
	Never     bool          // the call alone is larger than the bound: waiting does not help
	Reset     time.Duration // until the window ends; 0 for concurrency
	Retry     time.Duration // until a retry may succeed; 0 when Never
}
