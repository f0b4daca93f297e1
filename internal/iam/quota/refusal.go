package quota

import (
	"fmt"
	"net/http"
	"strconv"
	"time"

	"sallyport.dev/sallyport/internal/gate"
)

// longRetry is how long a wait the official SDKs take from Retry-After; above it they would try again
// sooner, in vain, so they are told not to.
const longRetry = time.Minute

// refusal is what a caller is told who is over a limit. It names the limit, and not whose it is.
func refusal(e *Exceeded) *gate.Problem {
	b := &e.Bound
	p := &gate.Problem{Status: http.StatusTooManyRequests, RetryAfter: e.Retry, Header: headers(e)}
	what := b.Unit.String()
	if b.Unit != Concurrency {
		what += " per " + b.Window.String()
	}
	if b.Window == Day || b.Window == Month {
		what += " (in UTC)"
	}
	switch {
	case b.Unit == Concurrency:
		p.Code, p.Message = gate.CodeBusy, "Too many calls at once."
	case b.Unit == Cost || b.Window == Month || b.Window >= Day:
		p.Code, p.Message = gate.CodeBudget, "The budget of "+what+" is used up."
	default:
		p.Code, p.Message = gate.CodeRateLimited, "The limit of "+what+" is reached."
	}
	switch {
	case e.Never && b.Amount > 0:
		p.Message = fmt.Sprintf("This request alone may use more than the whole limit of %s. Ask for less output, or send less.", what)
	case e.Remaining > 0:
		p.Message = fmt.Sprintf("What is left of the limit of %s is too little for this request.", what)
	}
	return p
}

// headers are those of draft-ietf-httpapi-ratelimit-headers-09: the policy and what is left of it, as
// structured fields (RFC 9651). The units "tokens" and "cost" are ours.
func headers(e *Exceeded) http.Header {
	b := &e.Bound
	unit, name := b.Unit.String(), b.Unit.String()
	switch b.Unit {
	case Bytes:
		unit = "content-bytes"
	case Concurrency:
		unit = "concurrent-requests"
	}
	if b.Unit != Concurrency {
		name += "-per-" + b.Window.String()
	}
	policy := strconv.Quote(name) + ";q=" + strconv.FormatInt(b.Amount, 10)
	if b.Unit != Requests {
		policy += ";qu=" + strconv.Quote(unit)
	}
	now := strconv.Quote(name) + ";r=" + strconv.FormatInt(e.Remaining, 10)
	if b.Window > 0 {
		policy += ";w=" + strconv.FormatInt(int64(b.Window/Second), 10)
	}
	if e.Reset > 0 {
		now += ";t=" + strconv.FormatInt(int64((e.Reset+time.Second-1)/time.Second), 10)
	}
	h := http.Header{"Ratelimit-Policy": {policy}, "Ratelimit": {now}}
	if e.Retry > longRetry {
		h["X-Should-Retry"] = []string{"false"}
	}
	return h
}
