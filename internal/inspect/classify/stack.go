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
		if len(ps.Curves) == 0 {
			return nil, fmt.Errorf("stack: place %s has no calibration", p)
		}
		for _, c := range ps.Curves {
			if err := c.check(); err != nil {
				return nil, fmt.Errorf("stack: place %s, %s: %w", p, c.Kind, err)
			}
		}
	}
	return &s, nil
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

// Z is the number: log-odds of an attack before calibration.
func (s *Stack) Z(place Place, e *Evidence) (z float64) {
	if s == nil {
		return 0
	}
	x := e.Vector()
	for i, w := range s.Places[place.String()].Weights {
		z += w * x[i]
	}
	return z
}

// P is the share of benign texts like this one whose number is at least z.
func (s *Stack) P(place Place, e *Evidence, z float64) float64 {
	if s == nil {
		return 1
	}
	cs := s.Places[place.String()].Curves
	kind := Kind(e)
	c := &cs[0]
	for i := range cs {
		if cs[i].Kind == kind {
			c = &cs[i]
		}
	}
	return c.at(z)
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
