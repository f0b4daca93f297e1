// Package places notices a key that is used from two places at once: somebody has a copy of it.
//
// A place is a network: the /24 of an IPv4 address, the /48 of an IPv6 one, or a pool that the operator
// named. People who roam change their network and stay there, or come back once in a while. Two users of one key
// go A, B, A, B. So what counts is coming back to a network that was left a short time ago: within Quick
// three points, within Window one. Points drain evenly, Limit of them in Window; at Limit the key is
// reported, once an hour. One flapping link (A, B, A) is three points and reports nothing.
//
// The two families are looked at apart: a client with IPv4 and IPv6 changes between them all day long.
package places

import (
	"errors"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// Quick and Window are how soon a return has to come to count much, or at all.
	Quick  = 10 * time.Second
	Window = 10 * time.Minute
	// Limit is how many points are reported.
	Limit = 9
	// Quiet is how long a key that was reported is not reported again.
	Quiet = time.Hour
	// MaxKeys is how many keys are followed at a time; further ones are counted in Dropped.
	MaxKeys = 200_000

	quickPoints, slowPoints = 3, 1
	slots                   = 4 // networks remembered per key and family
)

// Sighting is a report. It must be handled as a suspicion: the key may be used by one party behind
// addresses that nobody told us belong together.
type Sighting struct {
	Key  string // public id
	From [2]netip.Prefix
	At   time.Time
}

// Options makes a Detector.
type Options struct {
	// Pools are ranges whose addresses are one place each, such as the exits of a NAT or a carrier.
	Pools []netip.Prefix
	// Exempt are ranges that are not looked at.
	Exempt []netip.Prefix
	// Report is called, on the goroutine of the request, with no lock held. It must not block.
	Report func(Sighting)
	Now    func() time.Time // nil: time.Now
}

// Detector follows keys. It is safe for concurrent use. Calls for different keys share no lock; a call
// from the network that its key was last used from takes none at all.
type Detector struct {
	pools, exempt []netip.Prefix
	report        func(Sighting)
	now           func() time.Time
	keys          sync.Map // id -> *track; a read of a key that is there takes no lock
	n, dropped    atomic.Int64
}

// New makes a detector.
func New(o Options) (*Detector, error) {
	if o.Report == nil {
		return nil, errors.New("places: nobody to report to")
	}
	for _, ps := range [][]netip.Prefix{o.Pools, o.Exempt} {
		for _, p := range ps {
			if !p.IsValid() || p != p.Masked() || p.Addr().Is4In6() {
				return nil, errors.New("places: expected address ranges such as 10.0.0.0/8")
			}
		}
	}
	d := &Detector{pools: o.Pools, exempt: o.Exempt, report: o.Report, now: o.Now}
	if d.now == nil {
		d.now = time.Now
	}
	return d, nil
}

// track is what is known of one key: the same size whatever it does.
type track struct {
	family   [2]family
	reported atomic.Int64 // Unix nanoseconds; 0: never
	gone     atomic.Bool  // forgotten: whoever still knows it looks anew
}

type family struct {
	last atomic.Pointer[place] // where it was last used from; changed with mu held
	mu   sync.Mutex
	seen [slots]*place // with last among them; nil: free
	// points drain from at on.
	points float64
	at     time.Time
}

// place is a network that a key was used from.
type place struct {
	net  netip.Prefix
	used atomic.Int64 // Unix nanoseconds, to the second while nothing changes
}

// Note tells that a key was used from an address. Only keys that were proven should be noted: who can
// invent ids could fill the memory. shared says that the key is used from many places on purpose.
func (d *Detector) Note(key string, addr netip.Addr, shared bool) { d.NoteAt(nil, key, addr, shared) }

// NoteAt is Note with room where the key is kept, so that the next call does not have to look for it. Each
// detector must be given room of its own; nil: none.
func (d *Detector) NoteAt(room *atomic.Value, key string, addr netip.Addr, shared bool) {
	addr = addr.Unmap().WithZone("")
	if shared || !addr.IsValid() || within(d.exempt, addr) {
		return
	}
	now := d.now()
	net := d.network(addr)
	t := d.at(room, key)
	if t == nil {
		return
	}
	f := &t.family[0]
	if addr.Is6() {
		f = &t.family[1]
	}
	if p := f.last.Load(); p != nil && p.net == net {
		if n := now.UnixNano(); n-p.used.Load() >= int64(time.Second) {
			p.used.Store(n)
		}
		return
	}
	other, over := f.move(net, now)
	if !over {
		return
	}
	if was := t.reported.Load(); (was == 0 || now.UnixNano()-was >= int64(Quiet)) && t.reported.CompareAndSwap(was, now.UnixNano()) {
		d.report(Sighting{Key: key, From: [2]netip.Prefix{other, net}, At: now})
	}
}

// move takes note of a change of network, and says which it came from and whether that was one too many.
func (f *family) move(net netip.Prefix, now time.Time) (from netip.Prefix, over bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	last := f.last.Load()
	if last != nil && last.net == net {
		return from, false // another call was faster
	}
	var here *place
	oldest := 0
	for i, p := range f.seen {
		switch {
		case p == nil:
			oldest = i
		case p.net == net:
			here = p
		case f.seen[oldest] != nil && p.used.Load() < f.seen[oldest].used.Load():
			oldest = i
		}
	}
	if here == nil {
		here = &place{net: net}
		f.seen[oldest] = here
	} else {
		f.drain(now)
		switch away := now.UnixNano() - here.used.Load(); {
		case away < 0 || away > int64(Window): // a clock set back decides nothing
		case away <= int64(Quick):
			f.points += quickPoints
		default:
			f.points += slowPoints
		}
	}
	here.used.Store(now.UnixNano())
	f.last.Store(here)
	if last != nil {
		from = last.net
	}
	if f.points < Limit {
		return from, false
	}
	f.points = Limit // so that it drains away within Window of the last return
	return from, true
}

func (f *family) drain(now time.Time) {
	if d := now.Sub(f.at); d > 0 {
		f.points = max(0, f.points-Limit*float64(d)/float64(Window))
	}
	f.at = now
}

func (d *Detector) at(room *atomic.Value, key string) *track {
	if room == nil {
		return d.track(key)
	}
	if t, ok := room.Load().(*track); ok && !t.gone.Load() {
		return t
	}
	t := d.track(key)
	if t != nil {
		room.Store(t)
	}
	return t
}

func (d *Detector) track(key string) *track {
	if t, ok := d.keys.Load(key); ok {
		return t.(*track)
	}
	if d.n.Add(1) > MaxKeys {
		d.n.Add(-1)
		d.dropped.Add(1)
		return nil
	}
	t, was := d.keys.LoadOrStore(key, &track{})
	if was {
		d.n.Add(-1)
	}
	return t.(*track)
}

// Dropped counts the calls that were not looked at because MaxKeys keys were followed already.
func (d *Detector) Dropped() int64 { return d.dropped.Load() }

// Keys is how many keys are followed.
func (d *Detector) Keys() int { return int(d.n.Load()) }

// Sweep forgets keys that were idle for Quiet. Call it every few minutes.
func (d *Detector) Sweep() {
	before := d.now().Add(-Quiet).UnixNano()
	d.keys.Range(func(k, v any) bool {
		t := v.(*track)
		idle := t.reported.Load() <= before
		for i := range t.family {
			p := t.family[i].last.Load()
			idle = idle && (p == nil || p.used.Load() <= before)
		}
		if idle && d.keys.CompareAndDelete(k, v) {
			t.gone.Store(true)
			d.n.Add(-1)
		}
		return true
	})
}

// network is the place an address is in.
func (d *Detector) network(a netip.Addr) netip.Prefix {
	for _, p := range d.pools {
		if p.Contains(a) {
			return p
		}
	}
	bits := 24
	if a.Is6() {
		bits = 48
	}
	p, _ := a.Prefix(bits) // never fails: both are in range
	return p
}

func within(ps []netip.Prefix, a netip.Addr) bool {
	for _, p := range ps {
		if p.Contains(a) {
			return true
		}
	}
	return false
}
