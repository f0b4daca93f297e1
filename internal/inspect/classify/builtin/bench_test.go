package builtin

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"sallyport.dev/sallyport/internal/gate"
	"sallyport.dev/sallyport/internal/inspect/classify"
	"sallyport.dev/sallyport/internal/inspect/rules"
)

// BenchmarkDetect reads a new kilobyte each time, with the tiers that read every byte.
func BenchmarkDetect(b *testing.B) {
	o, err := Options()
	if err != nil {
		b.Fatal(err)
	}
	if o.Rules, err = rules.Default(); err != nil {
		b.Fatal(err)
	}
	o.Encoder = nil
	c := classify.New(o, 1)
	words := strings.Fields("the of and a to in you that report customer server budget question answer explain translate however recipe painting river garden schedule function variable insurance history")
	r := rand.New(rand.NewPCG(1, 1))
	texts := make([][]byte, 2048)
	for i := range texts {
		var t strings.Builder
		for t.Len() < 1000 {
			fmt.Fprintf(&t, "%s %s %s %d. ", words[r.IntN(len(words))], words[r.IntN(len(words))], words[r.IntN(len(words))], r.IntN(1000))
		}
		texts[i] = []byte(t.String())
	}
	b.SetBytes(1000)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		c.Detect(&gate.Segment{Channel: gate.ChannelUser, Text: texts[i%len(texts)], Turn: -1})
	}
}
