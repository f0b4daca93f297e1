package kernel

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// BenchmarkKernels runs each kernel at the shipped network's shapes for 100 tokens.
func BenchmarkKernels(b *testing.B) {
	const m = 100
	r := rand.New(rand.NewPCG(1, 1))
	a, c, rows := activations(r, m*1536), make([]float32, m*1536), make([]Row, m)
	x, y := fill(r, 112*1536, 1), make([]float32, 112*1536)
	q, w1 := make([]uint8, 1536), w8(r, 256*1024)
	for _, s := range sets() {
		for _, shape := range [][2]int{{256, 768}, {512, 1536}, {1536, 512}} {
			w := matrix(r, shape[0], shape[1])
			b.Run(fmt.Sprintf("%s/gemm8/%dx%d", s.Name, shape[0], shape[1]), func(b *testing.B) {
				for b.Loop() {
					s.Gemm8(c, a, rows, m, w, Store)
				}
				b.ReportMetric(float64(m*shape[0]*shape[1])*float64(b.N)/float64(b.Elapsed().Nanoseconds()), "GMAC/s")
			})
		}
		for name, run := range map[string]func(){
			"scores":    func() { s.GemmF(c, 112, x, 1536, x, m, 128, 112) },
			"context":   func() { s.GemmF(c, 512, y, 112, x, m, m, 128) },
			"softmax":   func() { s.Softmax(y[:112], 100, .1) },
			"norm":      func() { s.Norm(q, x[:512], x[512:], x[1024:], y) },
			"quant":     func() { s.Quant(q, x[:1536]) },
			"transpose": func() { s.Transpose(y, x, 1536, m, 128) },
			"columns":   func() { s.Columns(y, x, 1536, m, 128) },
			"gemv":      func() { s.Gemv(y[:256], x[:1024], w1, x, x) },
			"pool":      func() { s.Pool(y, y[512:], x, m, 512) },
		} {
			b.Run(s.Name+"/"+name, func(b *testing.B) {
				for b.Loop() {
					run()
				}
			})
		}
	}
}
