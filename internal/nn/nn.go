// Package nn runs a small transformer encoder on one core, in int8, without cgo and without a
// library: it turns the tokens of a text into a few logits for the whole and a few per token.
//
// The network is that of the Universal Sentence Encoder Lite (Cer et al. 2018, arXiv:1803.11175):
// two pre-norm layers with four heads, the second wider than the first, sinusoidal positions, and two
// heads of ours on top. Weights have 8 bits and a scale per output, activations 7 bits and a scale and
// zero point per token (Jacob et al. 2018, arXiv:1712.05877). Attention, norms and what is added up
// stay float32. [Convert] makes the packed file from trained weights, [Open] reads it.
//
// The same tokens give the same bits on every machine: see package kernel.
package nn

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"unsafe"

	"sallyport.dev/sallyport/internal/nn/kernel"
)

// MaxTokens is the most that one Run reads; positions beyond were never trained.
const MaxTokens = 256

// PathVariable is the environment variable that forces a kernel path: avx512, avx2 or go.
const PathVariable = "SALLYPORT_NN"

// chosen is decided once, so that a verdict cannot change while the process runs.
var chosen = sync.OnceValues(func() (*kernel.Set, error) {
	set, err := kernel.Choose(os.Getenv(PathVariable))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", PathVariable, err)
	}
	return set, nil
})

// Path names the kernels that Open uses: what [PathVariable] says, or else the best ones here. A
// forced path that this machine cannot run is an error, here and in Open.
func Path() (string, error) {
	set, err := chosen()
	if err != nil {
		return "", err
	}
	return set.Name, nil
}

// Paths names every path that this machine can run, best first.
func Paths() []string { return kernel.Available() }

// Encoder is a network ready to run. It is read-only and safe for concurrent use.
type Encoder struct {
	model
	kern *kernel.Set
}

// Open reads a packed file. The large part of it is used where it stands: packed must not change as
// long as the encoder is in use. Anything that is not exactly what Convert writes is an error:
// another version, sizes that do not fit, a checksum, weights outside their bounds. Kernels that
// compute otherwise than plain Go on this machine are passed over, unless they are forced.
func Open(packed []byte) (*Encoder, error) {
	set, err := chosen()
	if err != nil {
		return nil, err
	}
	e, err := open(packed, set)
	if errors.Is(err, errKernels) && os.Getenv(PathVariable) == "" {
		for _, name := range Paths() {
			if e, err := OpenOn(name, packed); err == nil {
				return e, nil
			}
		}
	}
	return e, err
}

// OpenString is Open for a file that was embedded as a string.
func OpenString(packed string) (*Encoder, error) {
	return Open(unsafe.Slice(unsafe.StringData(packed), len(packed)))
}

// OpenOn is Open with a path forced, for tests and benchmarks.
func OpenOn(path string, packed []byte) (*Encoder, error) {
	set, err := kernel.Choose(path)
	if err != nil {
		return nil, err
	}
	return open(packed, set)
}

func open(packed []byte, set *kernel.Set) (*Encoder, error) {
	e := &Encoder{kern: set}
	if err := e.decode(packed); err != nil {
		return nil, err
	}
	if err := e.verify(); err != nil {
		return nil, err
	}
	return e, nil
}

// Path names the kernels that this encoder runs on.
func (e *Encoder) Path() string { return e.kern.Name }

// Vocabulary is the number of tokens: ids are below it.
func (e *Encoder) Vocabulary() int { return e.vocab }

// Logits is the number of logits for a whole text.
func (e *Encoder) Logits() int { return e.logits }

// Spans is the number of logits for each token; it may be 0.
func (e *Encoder) Spans() int { return e.spans }
