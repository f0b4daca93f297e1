package nn

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// weights are tensors in the making: name to shape and values.
type weights map[string]struct {
	shape []int
	v     []float32
}

func (w weights) set(name string, v []float32, shape ...int) {
	w[name] = struct {
		shape []int
		v     []float32
	}{shape, v}
}

// small is a network with every part of the real one and little of its size.
var small = dims{vocab: 300, narrow: 64, wide: 128, inner: 192, head: 64, logits: 5, spans: 3}

// real is the size that is shipped.
var real = dims{vocab: 8002, narrow: 256, wide: 512, inner: 1536, head: 256, logits: 4, spans: 8}

// trained makes weights whose values resemble trained ones: a bell with a few outliers. Only
// exact operations are used, so that every machine makes the same ones.
func trained(d dims, seed uint64) weights {
	r := rand.New(rand.NewPCG(seed, 1))
	bell := func(n int, scale float32) []float32 {
		v := make([]float32, n)
		for i := range v {
			u := r.Uint64()
			s := int(u&0xff) + int(u>>8&0xff) + int(u>>16&0xff) + int(u>>24&0xff) - 510
			v[i] = float32(float32(s)*(1.0/148)) * scale
			if u>>32&0xfff == 0 {
				v[i] *= 3
			}
		}
		return v
	}
	around := func(n int, mean, scale float32) []float32 {
		v := bell(n, scale)
		for i := range v {
			v[i] += mean
		}
		return v
	}
	w := weights{}
	linear := func(name string, out, in int, gain float32) {
		w.set(name+".weight", bell(out*in, gain*float32(1/math.Sqrt(float64(in)))), out, in)
		w.set(name+".bias", bell(out, .1), out)
	}
	w.set("emb.weight", bell(d.vocab*d.narrow, .5), d.vocab, d.narrow)
	inv := make([]float32, d.narrow/2)
	f := float32(1)
	for i := range inv {
		inv[i], f = f, f*.86
	}
	w.set("inv", inv, 1, len(inv))
	in := d.narrow
	for i := range layers {
		p := fmt.Sprintf("l%d.", i)
		w.set(p+"ln1.weight", around(in, 1, .2), in)
		w.set(p+"ln1.bias", bell(in, .2), in)
		linear(p+"qkv", 3*in, in, 1)
		linear(p+"o", d.wide, in, 1)
		if i == 0 {
			linear(p+"proj", d.wide, in, 1)
		}
		w.set(p+"ln2.weight", around(d.wide, 1, .2), d.wide)
		w.set(p+"ln2.bias", bell(d.wide, .2), d.wide)
		linear(p+"f1", d.inner, d.wide, 1)
		linear(p+"f2", d.wide, d.inner, 1)
		in = d.wide
	}
	linear("h1", d.head, 2*d.wide, 1)
	linear("h2", d.logits, d.head, 3)
	if d.spans > 0 {
		linear("span", d.spans, d.wide, 1)
	}
	return w
}

// file is w in the safetensors format.
func (w weights) file() []byte {
	names := make([]string, 0, len(w))
	for n := range w {
		names = append(names, n)
	}
	slices.Sort(names)
	var head, data bytes.Buffer
	head.WriteString(`{"__metadata__":{"format":"pt"}`)
	for _, n := range names {
		from := data.Len()
		for _, v := range w[n].v {
			_ = binary.Write(&data, binary.LittleEndian, v)
		}
		shape := "["
		for i, d := range w[n].shape {
			if i > 0 {
				shape += ","
			}
			shape += fmt.Sprint(d)
		}
		fmt.Fprintf(&head, `,%q:{"dtype":"F32","shape":%s],"data_offsets":[%d,%d]}`, n, shape, from, data.Len())
	}
	head.WriteString("}")
	out := binary.LittleEndian.AppendUint64(nil, uint64(head.Len()))
	return append(append(out, head.Bytes()...), data.Bytes()...)
}

func packed(t testing.TB, w weights) []byte {
	t.Helper()
	p, err := Convert(bytes.NewReader(w.file()))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func text(r *rand.Rand, d dims, n int) []int32 {
	ids := make([]int32, n)
	for i := range ids {
		ids[i] = int32(r.IntN(d.vocab))
	}
	return ids
}
