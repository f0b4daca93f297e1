// Command lexical trains the weights of internal/inspect/lexical: logistic regression by AdaGrad over
// rows of JSONL, a row being judged by its worst window. Seeded; the same rows give the same weights.
package main

import (
	"flag"
	"fmt"
	"log"
	"math"
	"math/rand/v2"
	"os"
	"strings"
	"unicode"

	"sallyport.dev/sallyport/internal/inspect/classify"
	"sallyport.dev/sallyport/internal/inspect/lexical"
	"sallyport.dev/sallyport/model/rows"
)

type sample struct {
	windows []window
	y       float32
	weight  float32
	side    lexical.Side
	both    bool // a user's attack is one in a document too
}

// window is the n-grams of one window: their hashes, then the slots of those that own one.
type window struct {
	x []uint32
	n int // n-grams, with a slot or without
}

func main() {
	bits := flag.Uint("bits", 19, "log2 of the size of a table")
	epochs := flag.Int("epochs", 6, "passes")
	rate := flag.Float64("rate", 0.1, "learning rate")
	least := flag.Int("least", 3, "windows that an n-gram must be in to have a weight")
	prior := flag.Float64("prior", -3, "log-odds of a text of which nothing is known")
	bare := flag.Int("bare", 10, "one row in so many is also read without its blanks and marks, as some readings are")
	l2 := flag.Float64("l2", 1e-6, "decay")
	capRows := flag.Int("cap", 1200, "rows of a source and label that count in full")
	shippable := flag.Bool("shippable", false, "only rows whose licence may shape shipped weights")
	out := flag.String("out", "", "file of weights")
	seed := flag.Uint64("seed", 1, "seed")
	without := flag.String("without", "", "sources left out, and what is made of their rows, with commas")
	flag.Parse()
	left := strings.Split(*without, ",")
	var samples []sample
	var once lexical.Once
	count := map[string]int{}
	var keys []string
	for _, name := range flag.Args() {
		err := rows.Each(name, func(r *rows.Row) error {
			if r.Part(*shippable) != rows.Trained || r.From(left) {
				return nil
			}
			attack, _ := r.Attack()
			s := sample{side: lexical.Foreign}
			if attack {
				s.y = 1
			}
			if r.Channel == "user" {
				s.side, s.both = lexical.Caller, s.y == 1
			}
			k := fmt.Sprint(r.Source, s.y, s.side)
			if r.Source == "indirect" {
				k += r.Family // each of our own families is a source
			}
			texts := []string{r.Text}
			if m := len(samples) % (2 * *bare); *bare > 0 && m < 2 {
				texts = append(texts, strip(r.Text, m == 0))
			}
			for _, text := range texts {
				s.windows = read(text, &once)
				count[k]++
				keys = append(keys, k)
				samples = append(samples, s)
			}
			return nil
		})
		if err != nil {
			log.Fatal(err)
		}
	}
	for i := range samples {
		if n := count[keys[i]]; n > *capRows {
			samples[i].weight = float32(math.Sqrt(float64(*capRows) / float64(n)))
		} else {
			samples[i].weight = 1
		}
	}
	tags := assign(samples, *bits, *least)
	var weights [2][]float32
	var bias [2]float32
	for side := range weights {
		weights[side], bias[side] = train(samples, lexical.Side(side), 1<<*bits, *epochs, float32(*rate), float32(*l2), float32(*prior), *seed)
	}
	if err := os.WriteFile(*out, lexical.Save(*bits, tags, weights, bias), 0o644); err != nil {
		log.Fatal(err)
	}
}

// read is the windows of a text.
func read(text string, once *lexical.Once) (out []window) {
	ws := classify.Windows(text)
	if len(ws) > 6 {
		ws = append(ws[:4:4], ws[len(ws)-2:]...)
	}
	for _, w := range ws {
		var hs []uint32
		once.Begin()
		for _, f := range lexical.Features(nil, []byte(text[w.Start:w.End])) {
			if once.New(f) {
				hs = append(hs, f.Hash)
			}
		}
		out = append(out, window{hs, len(hs)})
	}
	return out
}

// strip is what is left of a text where only its letters came through: an acrostic, Morse, a list of
// numbers.
func strip(text string, blanks bool) string {
	return strings.Map(func(r rune) rune {
		switch {
		case unicode.IsLetter(r) || unicode.IsDigit(r):
			return unicode.ToLower(r)
		case blanks && unicode.IsSpace(r):
			return ' '
		}
		return -1
	}, text)
}

// assign gives each slot to the n-gram of it that is in the most windows, and every window the slots
// of its n-grams in place of their hashes.
func assign(samples []sample, bits uint, least int) []uint8 {
	mask := uint32(1)<<bits - 1
	of := func(h uint32) uint32 { return uint32(lexical.Tag(h))<<bits | h&mask }
	seen := make([]uint16, 256<<bits)
	for _, s := range samples {
		for _, w := range s.windows {
			for _, h := range w.x {
				if c := &seen[of(h)]; *c < math.MaxUint16 {
					*c++
				}
			}
		}
	}
	tags, most := make([]uint8, 1<<bits), make([]uint16, 1<<bits)
	owned := 0
	for slot := range uint32(1) << bits {
		for tag := range uint32(256) {
			if c := seen[tag<<bits|slot]; c > most[slot] && int(c) >= least {
				tags[slot], most[slot] = uint8(tag), c
			}
		}
		if most[slot] > 0 {
			owned++
		}
	}
	for _, s := range samples {
		for i := range s.windows {
			w := &s.windows[i]
			known := w.x[:0]
			for _, h := range w.x {
				if tags[h&mask] == lexical.Tag(h) && most[h&mask] > 0 {
					known = append(known, h&mask)
				}
			}
			w.x = known
		}
	}
	fmt.Fprintf(os.Stderr, "%d of %d slots are owned\n", owned, len(tags))
	return tags
}

func train(samples []sample, side lexical.Side, size, epochs int, rate, l2, b float32, seed uint64) ([]float32, float32) {
	var at []int
	for i, s := range samples {
		if s.side == side || s.both {
			at = append(at, i)
		}
	}
	w, g := make([]float32, size), make([]float32, size)
	rnd := rand.New(rand.NewPCG(seed, 1))
	for e := range epochs {
		rnd.Shuffle(len(at), func(i, j int) { at[i], at[j] = at[j], at[i] })
		var loss float64
		for _, i := range at {
			s := &samples[i]
			var top float32 = -1e9
			var x []uint32
			n := 0
			for _, win := range s.windows {
				var z float32
				for _, h := range win.x {
					z += w[h]
				}
				if win.n > 0 {
					z /= float32(math.Sqrt(float64(win.n)))
				}
				if z > top {
					top, x, n = z, win.x, win.n
				}
			}
			if len(x) == 0 {
				continue
			}
			y := s.y*0.98 + 0.01
			p := float32(1 / (1 + math.Exp(-float64(top+b))))
			loss -= float64(s.weight) * (float64(y)*math.Log(float64(p)+1e-9) + float64(1-y)*math.Log(float64(1-p)+1e-9))
			d := (p - y) * s.weight
			if side == lexical.Foreign && s.both {
				d *= 0.5
			}
			d /= float32(math.Sqrt(float64(n)))
			for _, h := range x {
				k := d + l2*w[h]
				g[h] += k * k
				w[h] -= rate * k / (float32(math.Sqrt(float64(g[h]))) + 1e-4)
			}
		}
		fmt.Fprintf(os.Stderr, "side %d pass %d: %d rows, loss %.4f\n", side, e, len(at), loss/float64(len(at)))
	}
	return w, b
}
