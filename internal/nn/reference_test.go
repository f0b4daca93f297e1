package nn

import (
	"fmt"
	"math"
)

// reference is the network as a textbook has it: float64, the weights as trained, nothing quantised,
// nothing blocked. It shares no code with what it judges.
type reference struct {
	w weights
	d dims
}

func (r reference) linear(name string, x []float64) []float64 {
	w, b := r.w[name+".weight"], r.w[name+".bias"]
	y := make([]float64, w.shape[0])
	for o := range y {
		y[o] = float64(b.v[o])
		for i, v := range x {
			y[o] += v * float64(w.v[o*len(x)+i])
		}
	}
	return y
}

func (r reference) norm(name string, x []float64) []float64 {
	var mean, variance float64
	for _, v := range x {
		mean += v / float64(len(x))
	}
	for _, v := range x {
		variance += (v - mean) * (v - mean) / float64(len(x))
	}
	y := make([]float64, len(x))
	for i, v := range x {
		y[i] = (v-mean)/math.Sqrt(variance+1e-6)*float64(r.w[name+".weight"].v[i]) + float64(r.w[name+".bias"].v[i])
	}
	return y
}

func (r reference) run(ids []int32) (logits []float64, spans [][]float64) {
	half := r.d.narrow / 2
	var x [][]float64
	for t, id := range ids {
		row := make([]float64, r.d.narrow)
		for i := range row {
			row[i] = 2 * float64(r.w["emb.weight"].v[int(id)*r.d.narrow+i])
			if i < half {
				row[i] += math.Sin(float64(float32(t) * r.w["inv"].v[i]))
			} else {
				row[i] += math.Cos(float64(float32(t) * r.w["inv"].v[i-half]))
			}
		}
		x = append(x, row)
	}
	for l := range layers {
		x = r.layer(fmt.Sprintf("l%d.", l), x)
	}
	pooled := make([]float64, 2*r.d.wide)
	for i := range r.d.wide {
		pooled[r.d.wide+i] = math.Inf(-1)
		for _, row := range x {
			pooled[i] += row[i] / float64(len(x))
			pooled[r.d.wide+i] = max(pooled[r.d.wide+i], row[i])
		}
	}
	h := r.linear("h1", pooled)
	for i := range h {
		h[i] = max(h[i], 0)
	}
	if r.d.spans > 0 {
		for _, row := range x {
			spans = append(spans, r.linear("span", row))
		}
	}
	return r.linear("h2", h), spans
}

func (r reference) layer(p string, x [][]float64) [][]float64 {
	width := len(x[0])
	d := width / heads
	var qkv [][]float64
	for _, row := range x {
		qkv = append(qkv, r.linear(p+"qkv", r.norm(p+"ln1", row)))
	}
	var out [][]float64
	for t, row := range x {
		context := make([]float64, width)
		for h := range heads {
			score := make([]float64, len(x))
			var sum float64
			for u := range x {
				for i := range d {
					score[u] += qkv[t][h*d+i] * qkv[u][width+h*d+i]
				}
				score[u] = math.Exp(score[u] / math.Sqrt(float64(d)))
				sum += score[u]
			}
			for u := range x {
				for i := range d {
					context[h*d+i] += score[u] / sum * qkv[u][2*width+h*d+i]
				}
			}
		}
		residual := row
		if _, ok := r.w[p+"proj.weight"]; ok {
			residual = r.linear(p+"proj", row)
		}
		y := r.linear(p+"o", context)
		for i := range y {
			y[i] += residual[i]
		}
		f := r.linear(p+"f1", r.norm(p+"ln2", y))
		for i := range f {
			f[i] = max(f[i], 0)
		}
		for i, v := range r.linear(p+"f2", f) {
			y[i] += v
		}
		out = append(out, y)
	}
	return out
}
