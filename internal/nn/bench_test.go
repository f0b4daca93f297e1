package nn

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// BenchmarkEncoder runs the size that is shipped on distinct texts. The weights are random: time does
// not depend on them.
func BenchmarkEncoder(b *testing.B) {
	p := packed(b, trained(real, 9))
	for _, path := range Paths() {
		for _, n := range []int{32, 100, 128} {
			b.Run(fmt.Sprintf("%s/%d", path, n), func(b *testing.B) {
				e := openOn(b, path, p)
				r := rand.New(rand.NewPCG(8, 8))
				var texts [16][]int32
				for i := range texts {
					texts[i] = text(r, real, n)
				}
				var s Scratch
				run(b, e, texts[0], &s)
				var took []time.Duration
				b.ReportAllocs()
				for b.Loop() {
					from := time.Now()
					if _, err := e.Run(texts[len(took)%len(texts)], &s); err != nil {
						b.Fatal(err)
					}
					took = append(took, time.Since(from))
				}
				slices.Sort(took)
				b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
				b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
			})
		}
	}
}

func BenchmarkOpen(b *testing.B) {
	p := packed(b, trained(real, 9))
	for b.Loop() {
		if _, err := Open(p); err != nil {
			b.Fatal(err)
		}
	}
}
