package classify

import (
	"errors"
	"fmt"
	"math"
	"sort"

	"github.com/go-json-experiment/json"
)

// Stack makes one number of the evidence, and of that number the share of benign texts that reach it.
// It is data: fitted by model/cmd/stack, loaded from JSON.
type Stack struct {
	Format int                   `json:"format"`
	Places map[string]PlaceStack `json:"places"`
}

// PlaceStack is the stack of one place.
type PlaceStack struct {
	Weights []float64 `json:"weights"`
	Curves  []Curve   `json:"curves"`
	// Fast judges before the encoder has read; nil: the encoder reads everything.
	Fast *FastStack `json:"fast,omitempty"`
}

// FastStack is the stack of the tiers that read every byte. Of a text that at least the share Clear of
// the benign ones outdo, the encoder is not asked: what it says there is the verdict.
type FastStack struct {
	Weights []float64 `json:"weights"`
	Curves  []Curve   `json:"curves"`
	Clear   float64   `json:"clear"`
}

// Curve is the calibration of one kind of text: P[i] is the share of benign texts of that kind
// whose number is at least Z[i]; Z grows and P falls. Beyond the last point the share goes on
// falling by the same factor per unit (an exponential tail).
type Curve struct {
	Kind string    `json:"kind"` // short, middle, long; "other" before it for scripts that are not Latin
	Z    []float64 `json:"z"`
	P    []float64 `json:"p"`
	Tail float64   `json:"tail"` // falls by e per so many units
}

// LoadStack reads and checks a stack.
func LoadStack(file []byte) (*Stack, error) {
	var s Stack
	if err := json.Unmarshal(file, &s, json.RejectUnknownMembers(true)); err != nil {
		return nil, fmt.Errorf("stack: %w", err)
	}
	if s.Format != 1 {
		return nil, fmt.Errorf("stack: format %d is not known", s.Format)
	}
	for p := range places {
		ps, ok := s.Places[p.String()]
		if !ok || len(ps.Weights) != Features {
			return nil, fmt.Errorf("stack: place %s lacks its %d weights", p, Features)
		}
		if err := checkCurves(ps.Curves); err != nil {
			return nil, fmt.Errorf("stack: place %s: %w", p, err)
		}
		if f := ps.Fast; f != nil {
			if len(f.Weights) != Features || !(f.Clear > 0 && f.Clear <= 1) {
				return nil, fmt.Errorf("stack: place %s: the fast stack lacks its %d weights or its share", p, Features)
			}
			if err := checkCurves(f.Curves); err != nil {
				return nil, fmt.Errorf("stack: place %s, fast: %w", p, err)
			}
		}
	}
	return &s, nil
}

func checkCurves(cs []Curve) error {
	if len(cs) == 0 {
		return errors.New("no calibration")
	}
	for _, c := range cs {
		if err := c.check(); err != nil {
			return fmt.Errorf("%s: %w", c.Kind, err)
		}
	}
	return nil
}

func (c *Curve) check() error {
	if len(c.Z) < 2 || len(c.Z) != len(c.P) || c.Tail <= 0 {
		return errors.New("a curve needs two points and a tail")
	}
	for i := range c.Z {
		if c.P[i] <= 0 || c.P[i] > 1 || i > 0 && (c.Z[i] <= c.Z[i-1] || c.P[i] > c.P[i-1]) {
			return fmt.Errorf("point %d is out of order", i)
		}
	}
	return nil
}

// Judge is the number, log-odds of an attack before calibration, and the share of benign texts of a kind
// whose number is at least that.
func (s *Stack) Judge(place Place, kind string, e *Evidence) (z, p float64) {
	if s == nil {
		return 0, 1
	}
	ps := s.Places[place.String()]
	if z = dot(ps.Weights, e); math.IsNaN(z) {
		return z, 1
	}
	return z, curveOf(ps.Curves, kind).at(z)
}

// Cleared judges before the encoder has read, and says whether that is enough.
func (s *Stack) Cleared(place Place, kind string, e *Evidence) (z, p float64, ok bool) {
	if s == nil {
		return 0, 1, false
	}
	f := s.Places[place.String()].Fast
	if f == nil {
		return 0, 1, false
	}
	if z = dot(f.Weights, e); math.IsNaN(z) {
		return z, 1, false
	}
	p = curveOf(f.Curves, kind).at(z)
	return z, p, p >= f.Clear
}

func dot(w []float64, e *Evidence) (z float64) {
	x := e.Vector()
	for i := range w {
		z += w[i] * x[i]
	}
	return z
}

func curveOf(cs []Curve, kind string) *Curve {
	for i := range cs {
		if cs[i].Kind == kind {
			return &cs[i]
		}
	}
	return &cs[0]
}

// Kind is the sort of text that is calibrated by itself.
func Kind(e *Evidence) string {
	k := "long"
	switch {
	case e.Windows <= 1:
		k = "short"
	case e.Windows <= 4:
		k = "middle"
	}
	if e.Foreign > 0.5 {
		k = "other"
	}
	return k
}

func (c *Curve) at(z float64) float64 {
	n := len(c.Z) - 1
	switch {
	case z <= c.Z[0]:
		return c.P[0]
	case z >= c.Z[n]:
		return c.P[n] * math.Exp(-(z-c.Z[n])/c.Tail)
	}
	i := sort.SearchFloat64s(c.Z, z)
	t := (z - c.Z[i-1]) / (c.Z[i] - c.Z[i-1])
	return math.Exp((1-t)*math.Log(c.P[i-1]) + t*math.Log(c.P[i]))
}
