// Package repeats keeps an attack from filling the record. The refusals that anybody can cause (a wrong
// password, an unknown token) are listed one by one as long as they are few; of more, each is counted, by what
// was refused, who asked and from which network, and the counts are events (docs/design/028-admin-api.md).
//
// What it promises: every refusal is an event of its own or in exactly one count; before the first is
// counted within a window, an event that says so is durable; when the record cannot be written, nothing is
// counted in its stead: the caller is told. A process that ends without Close loses the counts of one window,
// and the event that began it shows that there were some.
package repeats

import (
	"context"
	"errors"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Bounds of one window. However many refusals there are, the record grows by at most Listed + Sources + 3 events.
const (
	Window  = time.Minute
	First   = 10  // refusals of one kind from one source that are listed
	Listed  = 200 // refusals that are listed, all together
	Sources = 256 // sources that are counted apart; what is beyond is counted together
)

// Event names what is written about counted refusals.
const (
	EventBegin = "refusals.counting" // from here on some are counted, not listed
	EventCount = "refusals.counted"  // of one source, or (source "others") of all that had no place
)

// Recorder is the record.
type Recorder interface {
	Note(ctx context.Context, event string, fields map[string]string) error
}

// Repeats is a Recorder before another. It is safe for concurrent use.
type Repeats struct {
	next Recorder
	now  func() time.Time

	mu      sync.Mutex
	since   time.Time // of this window
	listed  int
	begun   bool // EventBegin is durable
	counts  map[source]*count
	pending []pending // counts of windows that are over, to be written
}

// source is what refusals are counted by. It is comparable, and as small as who may be told apart by it.
type source struct {
	event, phase, operation, reason, tenant, user, actor, network string
}

type count struct {
	n           int64 // refusals in this window
	counted     int64 // of these, not listed
	first, last time.Time
}

type pending struct {
	source
	count
}

// others is where refusals are counted that have no place of their own.
var others = source{network: "others"}

// New puts Repeats before a record. now: nil is time.Now.
func New(next Recorder, now func() time.Time) *Repeats {
	if now == nil {
		now = time.Now
	}
	return &Repeats{next: next, now: now, counts: map[source]*count{}}
}

// Note writes an event, or counts it.
func (r *Repeats) Note(ctx context.Context, event string, fields map[string]string) error {
	k, ok := refusal(event, fields)
	if !ok {
		return r.next.Note(ctx, event, fields)
	}
	list, err := r.take(ctx, k)
	if err != nil || !list {
		return err
	}
	return r.next.Note(ctx, event, fields)
}

// take says whether a refusal is listed; otherwise it has been counted.
func (r *Repeats) take(ctx context.Context, k source) (list bool, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.now()
	if now.Sub(r.since) >= Window || now.Before(r.since) {
		r.roll(now)
	}
	c := r.counts[k]
	if c == nil && len(r.counts) >= Sources {
		k = others
		c = r.counts[k]
	}
	if c == nil {
		c = &count{}
		r.counts[k] = c
	}
	c.n++
	if c.n <= First && r.listed < Listed && k != others {
		r.listed++
		return true, nil
	}
	if !r.begun {
		// Held under the lock on purpose: nothing is counted before this is durable.
		if err := r.next.Note(ctx, EventBegin, map[string]string{"since": stamp(now), "window": Window.String()}); err != nil {
			c.n--
			return false, err
		}
		r.begun = true
	}
	if c.counted++; c.counted == 1 || now.Before(c.first) {
		c.first = now
	}
	if now.After(c.last) {
		c.last = now
	}
	return false, nil
}

// roll begins a new window. mu is held.
func (r *Repeats) roll(now time.Time) {
	for k, c := range r.counts {
		if c.counted > 0 {
			r.pending = append(r.pending, pending{k, *c})
		}
	}
	clear(r.counts)
	r.since, r.listed, r.begun = now, 0, false
}

// Run writes the counts of windows that are over until ctx ends.
func (r *Repeats) Run(ctx context.Context) {
	t := time.NewTicker(Window / 12)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			_ = r.Flush(ctx) // what could not be written is kept, and tried again
		case <-ctx.Done():
			return
		}
	}
}

// Flush writes the counts of windows that are over. What cannot be written is kept.
func (r *Repeats) Flush(ctx context.Context) error { return r.flush(ctx, false) }

// Close writes all counts. Nothing may be noted after it.
func (r *Repeats) Close(ctx context.Context) error { return r.flush(ctx, true) }

func (r *Repeats) flush(ctx context.Context, all bool) error {
	r.mu.Lock()
	if now := r.now(); all || now.Sub(r.since) >= Window || now.Before(r.since) {
		r.roll(now)
	}
	todo := merge(r.pending)
	r.pending = nil
	r.mu.Unlock()
	var errs []error
	for i, p := range todo {
		if err := r.next.Note(ctx, EventCount, p.fields()); err != nil {
			errs = append(errs, err)
			r.mu.Lock()
			r.pending = append(r.pending, todo[i:]...) // the record is not well: do not ask it for each
			r.mu.Unlock()
			break
		}
	}
	return errors.Join(errs...)
}

// merge makes one of the counts of a source, so that a record that cannot be written for long does not make
// memory grow by more than Sources in a window that is merged with the ones before.
func merge(ps []pending) []pending {
	by := map[source]count{}
	for _, p := range ps {
		k := p.source
		if _, ok := by[k]; !ok && len(by) >= Sources {
			k = others
		}
		c := by[k]
		if c.counted == 0 || p.first.Before(c.first) {
			c.first = p.first
		}
		if p.last.After(c.last) {
			c.last = p.last
		}
		c.counted += p.counted
		by[k] = c
	}
	out := make([]pending, 0, len(by))
	for k, c := range maps.All(by) {
		out = append(out, pending{k, c})
	}
	slices.SortFunc(out, func(a, b pending) int { return a.first.Compare(b.first) })
	return out
}

func (p *pending) fields() map[string]string {
	f := map[string]string{"count": strconv.FormatInt(p.counted, 10), "since": stamp(p.first), "until": stamp(p.last)}
	for k, v := range map[string]string{"event": p.event, "phase": p.phase, "operation": p.operation, "reason": p.reason, "tenant": p.tenant, "user": p.user, "actor": p.actor, "source": p.network} {
		if v != "" {
			f[k] = v
		}
	}
	return f
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

// refusal says whether an event is a refusal that anybody can cause, and what it is counted by. All else is
// listed always: what succeeded, what was changed or begun to be, and what is said of a break-glass account
// that somebody came in with.
func refusal(event string, f map[string]string) (source, bool) {
	k := source{event: event, tenant: f["tenant"], network: network(f["ip"])}
	switch {
	case event == "admin.denied":
		k.operation, k.actor = f["operation"], f["actor"]
		if k.actor == "" { // nobody: whose tenant the path names is their own invention
			k.tenant = ""
		}
	case event == "scim.denied":
	case strings.HasPrefix(event, "admin.signin."):
		// Each step of a sign-in is asked for by nobody yet. One that came to something is listed as done.
		if k.phase = f["phase"]; k.phase != "intent" && k.phase != "failed" {
			return k, false
		}
		k.tenant = ""
	case f["ok"] == "false": // package account and sso: a step of a sign-in that was refused
		k.reason, k.user = f["reason"], f["user"]
	default:
		return k, false
	}
	return k, true
}

// network is the /24 of an IPv4 address, the /64 of an IPv6 one: what the throttle takes for one place.
func network(ip string) string {
	a, err := netip.ParseAddr(ip)
	if err != nil {
		return ""
	}
	a = a.Unmap().WithZone("")
	bits := 24
	if a.Is6() {
		bits = 64
	}
	p, _ := a.Prefix(bits)
	return p.String()
}
