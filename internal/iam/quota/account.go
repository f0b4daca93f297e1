package quota

import (
	"math"
	"time"
)

// key names an account.
type key struct {
	subject string
	unit    Unit
	window  Window
}

// account is what one subject has used of one unit in one window. Its shard's lock guards it.
type account struct {
	key  key
	home *shard
	id   uint64
	next *account // another key with the same id
	gone bool     // swept: whoever still points here opens it anew

	index  int64 // number of the window that used is of; it never goes back
	end    int64 // when that window is over, Unix nanoseconds
	used   int64 // settled and reserved; above amount it is a debt
	amount int64 // of the bound, as last seen

	first, last *hold // of concurrency: the calls, oldest first
	lease       *lease
}

// hold is one call's place in a concurrency account.
type hold struct {
	prev, next *hold
	deadline   time.Duration // on the engine's own clock
	in         *account      // nil once it is given back
}

// roll moves the account to the window that now is in. What was used above the amount is not
// forgiven: each window that passed pays off one amount of it. A clock that goes back changes nothing
// until it is where it was.
func (a *account) roll(now time.Time) {
	if now.UnixNano() >= a.end {
		a.turn(a.key.window.index(now))
	}
}

func (a *account) turn(n, end int64) {
	if n <= a.index {
		return
	}
	if l := a.lease; l != nil {
		// What was leased, or allowed while there was nobody to lease from, is paid with.
		a.used = max(0, a.used-l.granted-l.extra)
		l.granted, l.extra, l.known, l.spared, l.deniedUntil = 0, 0, 0, false, 0
	} else {
		a.used = after(a.used, a.amount, n-a.index)
	}
	a.index, a.end = n, end
}

// after is what is left of used when k windows of amount have passed.
func after(used, amount, k int64) int64 {
	if amount > 0 && k > used/amount {
		return 0
	}
	return max(0, used-amount*k)
}

// expire gives back the places of calls whose deadline is over: their callers are lost.
func (a *account) expire(at time.Duration) {
	for a.first != nil && a.first.deadline <= at {
		a.drop(a.first)
	}
}

func (a *account) add(h *hold) {
	h.in, h.prev = a, a.last
	if a.last != nil {
		a.last.next = h
	} else {
		a.first = h
	}
	a.last = h
	a.used++
}

// drop takes a call out, once.
func (a *account) drop(h *hold) {
	if h.in != a {
		return
	}
	if h.prev != nil {
		h.prev.next = h.next
	} else {
		a.first = h.next
	}
	if h.next != nil {
		h.next.prev = h.prev
	} else {
		a.last = h.prev
	}
	*h = hold{}
	a.used--
}

// sum adds without running over.
func sum(a, b int64) int64 {
	if b > 0 && a > math.MaxInt64-b {
		return math.MaxInt64
	}
	return a + b
}
