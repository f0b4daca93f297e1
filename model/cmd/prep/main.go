// Command prep turns rows of texts into what the encoder is trained on: windows cut and tokenised by
// the very code that reads them in production. Files of rows in, JSONL on stdout.
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"hash/fnv"
	"io"
	"log"
	"math/rand/v2"
	"os"
	"strings"

	"sallyport.dev/sallyport/internal/inspect/classify"
	"sallyport.dev/sallyport/internal/inspect/token"
	"sallyport.dev/sallyport/model/rows"
)

type out struct {
	ID      string    `json:"id"`
	Label   string    `json:"y"`
	Channel string    `json:"ch"`
	Lang    string    `json:"lang"`
	Source  string    `json:"src"`
	Family  string    `json:"fam"`
	Licence string    `json:"lic"`
	DevKind string    `json:"kind"`
	Windows [][]int32 `json:"w"`
	Marks   [][]int8  `json:"m,omitempty"` // per token: part of the attack
}

func main() {
	vocab := flag.String("vocab", "", "vocabulary")
	held := flag.Bool("held", false, "the rows kept from training instead of the others")
	most := flag.Int("windows", 4, "windows of a row: head, tail and random ones")
	all := flag.Bool("all", false, "every window")
	shippable := flag.Bool("shippable", false, "only rows whose licence may shape shipped weights")
	seed := flag.Uint64("seed", 1, "seed")
	flag.Parse()
	file, err := os.ReadFile(*vocab)
	if err != nil {
		log.Fatal(err)
	}
	v, err := token.Load(file)
	if err != nil {
		log.Fatal(err)
	}
	enc := token.NewEncoder(v)
	w := bufio.NewWriterSize(os.Stdout, 1<<20)
	defer w.Flush()
	to := json.NewEncoder(w)
	for _, name := range flag.Args() {
		err := rows.Each(name, func(r *rows.Row) error {
			kept, _ := r.Withheld()
			if *shippable && !r.Shippable() || r.Channel == "system" || !*all && (kept || *held != r.Held() || r.Label != "benign" && r.Encoded()) || strings.TrimSpace(r.Text) == "" {
				return nil
			}
			o := out{r.ID, r.Label, r.Channel, r.Lang, r.Source, r.Family, r.Licence, r.DevKind, nil, nil}
			ws := classify.Windows(r.Text)
			if !*all && len(ws) > *most {
				ws = choose(ws, *most, r, *seed)
			}
			for _, s := range ws {
				toks := enc.Encode(nil, r.Text[s.Start:s.End])
				ids, marks := make([]int32, len(toks)), make([]int8, len(toks))
				for i, t := range toks {
					ids[i] = t.ID
					if len(r.Span) == 2 && int(t.End)+s.Start > r.Span[0] && int(t.Start)+s.Start < r.Span[1] {
						marks[i] = 1
					}
				}
				o.Windows = append(o.Windows, ids)
				if len(r.Span) == 2 {
					o.Marks = append(o.Marks, marks)
				}
			}
			return to.Encode(o)
		})
		if err != nil {
			log.Fatal(err)
		}
	}
}

// choose keeps the first and the last window, those that touch the attack, and random ones.
func choose(ws []classify.Span, most int, r *rows.Row, seed uint64) []classify.Span {
	h := fnv.New64a()
	io.WriteString(h, r.Text)
	rnd := rand.New(rand.NewPCG(seed, h.Sum64()))
	keep := make([]bool, len(ws))
	n := 0
	mark := func(i int) {
		if !keep[i] && n < most {
			keep[i] = true
			n++
		}
	}
	if len(r.Span) == 2 {
		for i, w := range ws {
			if w.Start <= r.Span[0] && r.Span[1] <= w.End {
				mark(i)
			}
		}
	}
	mark(0)
	mark(len(ws) - 1)
	for n < most {
		mark(rnd.IntN(len(ws)))
	}
	var out []classify.Span
	for i, k := range keep {
		if k {
			out = append(out, ws[i])
		}
	}
	return out
}
