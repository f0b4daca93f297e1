package nn

import (
	"errors"
	"fmt"
	"math"

	"sallyport.dev/sallyport/internal/nn/kernel"
)

// proof is how many tokens the kernels are tried on before they are trusted.
const proof = 33

var errKernels = errors.New("compute otherwise than plain Go on this machine")

// verify runs a fixed text on these kernels and on plain Go. A verdict must not depend on the machine:
// a processor, or a hypervisor between, that computes otherwise is found before it judges anything.
func (e *Encoder) verify() error {
	plain, err := kernel.Choose(kernel.Plain)
	if err != nil || e.kern.Name == plain.Name {
		return err
	}
	ids := make([]int32, proof)
	for i, r := 0, uint32(1); i < len(ids); i++ {
		r = r*1664525 + 1013904223
		ids[i] = int32(r>>8) % int32(e.vocab)
	}
	var a, b Scratch
	got, err := e.Run(ids, &a)
	if err != nil {
		return err
	}
	want, err := (&Encoder{model: e.model, kern: plain}).Run(ids, &b)
	if err != nil {
		return err
	}
	if !same(got.Logits, want.Logits) || !same(got.Spans, want.Spans) {
		return fmt.Errorf("nn: kernels %q: %w", e.kern.Name, errKernels)
	}
	return nil
}

func same(a, b []float32) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if math.Float32bits(a[i]) != math.Float32bits(b[i]) {
			return false
		}
	}
	return true
}
