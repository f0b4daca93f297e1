package quota

import (
	"fmt"
	"sync/atomic"
)

// Prepared is a list of bounds that was checked, for the calls of one caller. It never changes, and may be
// used by many calls at once. It remembers where the accounts of its bounds are, in the first engine it is used
// with.
type Prepared struct {
	engine atomic.Pointer[Engine]
	bounds []prepared
}

type prepared struct {
	Bound
	twice bool // an earlier one is about the same account
	at    atomic.Pointer[account]
}

// Prepare checks bounds: one that makes no sense is an error, as are more than MaxBounds.
func Prepare(bounds []Bound) (*Prepared, error) {
	if len(bounds) > MaxBounds {
		return nil, fmt.Errorf("quota: prepare: %d bounds, at most %d", len(bounds), MaxBounds)
	}
	p := &Prepared{bounds: make([]prepared, len(bounds))}
	for i, b := range bounds {
		if err := b.check(); err != nil {
			return nil, err
		}
		p.bounds[i].Bound = b
		k := key{b.Subject, b.Unit, b.Window}
		for _, o := range bounds[:i] {
			p.bounds[i].twice = p.bounds[i].twice || k.is(&key{o.Subject, o.Unit, o.Window})
		}
	}
	return p, nil
}

// Bounds are those that it was made of; of nil: none.
func (p *Prepared) Bounds() []Bound {
	if p == nil {
		return nil
	}
	bounds := make([]Bound, len(p.bounds))
	for i := range p.bounds {
		bounds[i] = p.bounds[i].Bound
	}
	return bounds
}

// of says whether what it remembers is about this engine.
func (p *Prepared) of(e *Engine) bool {
	return p.engine.Load() == e || p.engine.CompareAndSwap(nil, e)
}
