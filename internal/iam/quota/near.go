package quota

import (
	"net/http"
	"time"

	"sallyport.dev/sallyport/internal/gate"
)

// near is the bound that a call left the least of, as a part of its amount.
type near struct {
	bound *Bound // nil: none has a window
	left  int64
	reset time.Duration
}

// see takes a bound into account that the call was just charged to. The account's shard is locked.
func (n *near) see(b *Bound, a *account, now time.Time) {
	left := max(0, b.Amount-a.used)
	if l := a.lease; l != nil && !l.spared {
		// What nobody has leased, and what this node has left of its own lease.
		left = min(b.Amount, max(0, b.Amount-max(l.known, l.granted))+max(0, l.granted-a.used))
	}
	if n.bound == nil || float64(left)*float64(n.bound.Amount) < float64(n.left)*float64(b.Amount) {
		*n = near{b, left, time.Duration(max(0, a.end-now.UnixNano()))}
	}
}

// Announce is what a caller whose call passed is told of its limits, in the fields of a refusal
// (draft-ietf-httpapi-ratelimit-headers): the one of which the least is left, as it stood when the
// call was let through, with what it may use taken off. Nil where no limit with a window holds.
func (s *Stage) Announce(x *gate.Exchange) http.Header {
	h, ok := x.Reserved.(*held)
	if !ok || h.r.near.bound == nil {
		return nil
	}
	n := &h.r.near
	return headers(&Exceeded{Bound: *n.bound, Remaining: n.left, Reset: n.reset})
}
