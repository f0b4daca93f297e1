package nn

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"slices"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// tensors are the contents of a safetensors file: the length of the header (8 bytes), the header (a
// JSON object of tensors) and the data. https://github.com/huggingface/safetensors#format
type tensors struct {
	entries map[string]tensor
	data    []byte
}

type tensor struct {
	DType   string   `json:"dtype"`
	Shape   []int    `json:"shape"`
	Offsets [2]int64 `json:"data_offsets"`
}

const (
	headerLimit = 16 << 20
	dataLimit   = 1 << 30
)

func readTensors(r io.Reader) (tensors, error) {
	var t tensors
	var size [8]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return t, fmt.Errorf("nn: reading the weights' header: %w", err)
	}
	n := binary.LittleEndian.Uint64(size[:])
	if n > headerLimit {
		return t, fmt.Errorf("nn: the weights' header has %d bytes; at most %d are read", n, headerLimit)
	}
	head := make([]byte, n)
	if _, err := io.ReadFull(r, head); err != nil {
		return t, fmt.Errorf("nn: reading the weights' header: %w", err)
	}
	var raw map[string]jsontext.Value
	if err := json.Unmarshal(head, &raw); err != nil {
		return t, fmt.Errorf("nn: the weights' header: %w", err)
	}
	t.entries = make(map[string]tensor, len(raw))
	for name, v := range raw {
		if name == "__metadata__" {
			continue
		}
		var e tensor
		if err := json.Unmarshal(v, &e); err != nil {
			return t, fmt.Errorf("nn: the weights' header, tensor %q: %w", name, err)
		}
		t.entries[name] = e
	}
	var err error
	if t.data, err = io.ReadAll(io.LimitReader(r, dataLimit+1)); err != nil {
		return t, fmt.Errorf("nn: reading the weights: %w", err)
	}
	if len(t.data) > dataLimit {
		return t, fmt.Errorf("nn: the weights have more than %d bytes", dataLimit)
	}
	return t, nil
}

// shape is nil for a tensor that is not there.
func (t tensors) shape(name string) []int { return t.entries[name].Shape }

// floats reads a tensor that must have this shape.
func (t tensors) floats(name string, shape ...int) ([]float32, error) {
	e, ok := t.entries[name]
	if !ok {
		return nil, fmt.Errorf("nn: the weights have no tensor %s", name)
	}
	if e.DType != "F32" || !slices.Equal(e.Shape, shape) {
		return nil, fmt.Errorf("nn: tensor %s is %q %v instead of F32 %v", name, e.DType, e.Shape, shape)
	}
	n := 1
	for _, d := range shape {
		n *= d
	}
	from, to := e.Offsets[0], e.Offsets[1]
	if from < 0 || to < from || to > int64(len(t.data)) || to-from != 4*int64(n) {
		return nil, fmt.Errorf("nn: tensor %s of %d values stands at %d to %d of %d bytes", name, n, from, to, len(t.data))
	}
	v := make([]float32, n)
	for i := range v {
		v[i] = math.Float32frombits(binary.LittleEndian.Uint32(t.data[from+4*int64(i):]))
		if f := float64(v[i]); math.IsNaN(f) || math.IsInf(f, 0) {
			return nil, fmt.Errorf("nn: value %d of tensor %s is %v", i, name, v[i])
		}
	}
	return v, nil
}
