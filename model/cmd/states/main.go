// Command states runs the encoder that will be shipped over prepared rows (of model/cmd/prep) and
// writes what its heads are trained on: per window the pooled states, and for some windows with known
// marks the states of every token. Heads are so trained on the very numbers they will see.
//
//	states --encoder encoder.bin --out PREFIX FILE.prep...
//
// PREFIX.rows.jsonl has a line per row (its label, source, channel, and how many windows), PREFIX.f32
// the pooled states, 1,024 numbers a window; PREFIX.tokens.f32 512 numbers and one mark per token.
package main

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"flag"
	"hash/fnv"
	"io"
	"log"
	"os"
	"runtime"

	"sallyport.dev/sallyport/internal/nn"
)

type row struct {
	ID      string    `json:"id"`
	Label   string    `json:"y"`
	Channel string    `json:"ch"`
	Lang    string    `json:"lang"`
	Source  string    `json:"src"`
	Family  string    `json:"fam"`
	DevKind string    `json:"kind"`
	Windows [][]int32 `json:"w,omitempty"`
	Marks   [][]int8  `json:"m,omitempty"`
	N       int       `json:"n"`
}

type result struct {
	row    row
	pooled []float32
	tokens []float32
}

func main() {
	file := flag.String("encoder", "", "packed encoder")
	prefix := flag.String("out", "", "prefix of the output")
	most := flag.Int("tokens", 128, "of a window")
	marked := flag.Uint64("marked", 12, "one in so many rows with known marks gives its tokens")
	flag.Parse()
	packed, err := os.ReadFile(*file)
	check(err)
	enc, err := nn.Open(packed)
	check(err)
	control := map[string]int32{"user": 8258, "tool": 8259, "document": 8260}
	rows, pooled, tokens := create(*prefix+".rows.jsonl"), create(*prefix+".f32"), create(*prefix+".tokens.f32")
	in, out := make(chan chan result, 64), make(chan struct{})
	work := make(chan func(*nn.Scratch), 64)
	for range runtime.NumCPU() {
		go func() {
			var s nn.Scratch
			for f := range work {
				f(&s)
			}
		}()
	}
	go func() {
		defer close(out)
		for c := range in {
			r := <-c
			check(json.NewEncoder(rows.w).Encode(r.row))
			check(binary.Write(pooled.w, binary.LittleEndian, r.pooled))
			check(binary.Write(tokens.w, binary.LittleEndian, r.tokens))
		}
	}()
	for _, name := range flag.Args() {
		f, err := os.Open(name)
		check(err)
		sc := bufio.NewScanner(f)
		sc.Buffer(nil, 16<<20)
		for sc.Scan() {
			var r row
			check(json.Unmarshal(sc.Bytes(), &r))
			c := make(chan result, 1)
			in <- c
			work <- func(s *nn.Scratch) { c <- run(enc, s, r, control[r.Channel], *most, *marked) }
		}
		check(sc.Err())
		f.Close()
	}
	close(in)
	<-out
	rows.close()
	pooled.close()
	tokens.close()
}

func run(enc *nn.Encoder, s *nn.Scratch, r row, control int32, most int, marked uint64) (res result) {
	h := fnv.New64a()
	io.WriteString(h, r.ID)
	keep := h.Sum64()%marked == 0 && (r.Marks != nil || r.Label == "benign")
	for i, w := range r.Windows {
		ids := append([]int32{control}, w[:min(len(w), most-1)]...)
		o, err := enc.Run(ids, s)
		check(err)
		res.pooled = append(res.pooled, o.Pooled...)
		if keep && i == 0 {
			wide := len(o.States) / len(ids)
			for t := 1; t < len(ids); t++ {
				res.tokens = append(res.tokens, o.States[t*wide:(t+1)*wide]...)
				m := float32(0)
				if r.Marks != nil && r.Marks[i][t-1] != 0 {
					m = 1
				}
				res.tokens = append(res.tokens, m)
			}
		}
	}
	r.N = len(r.Windows)
	r.Windows, r.Marks = nil, nil
	res.row = r
	return res
}

type output struct {
	f *os.File
	w *bufio.Writer
}

func create(name string) output {
	f, err := os.Create(name)
	check(err)
	return output{f, bufio.NewWriterSize(f, 1<<20)}
}

func (o output) close() {
	check(o.w.Flush())
	check(o.f.Close())
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
