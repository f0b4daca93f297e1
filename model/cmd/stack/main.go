// Command stack fits the stack and its calibration on rows that no tier was trained on: a logistic
// regression per place over the evidence, then the tail of the benign rows per kind of text.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"math"
	"os"
	"slices"
	"strings"
	"sync"

	"sallyport.dev/sallyport/internal/evade"
	"sallyport.dev/sallyport/internal/inspect/classify"
	"sallyport.dev/sallyport/model/rows"
	"sallyport.dev/sallyport/model/tiers"
)

type sample struct {
	es     []classify.Evidence
	attack bool
	weight float64
	key    string
	at     int // its turn: what is summed is summed in the same order in every run
}

func main() {
	dir := flag.String("weights", "", "directory with vocab.txt, lexical.bin, encoder.bin")
	out := flag.String("out", "", "file of the stack")
	every := flag.Int("evade", 6, "hide every n-th held row, attack or benign, in each of a few ways")
	without := flag.String("without", "", "sources left out, and what is made of their rows, with commas")
	flag.Parse()
	left := strings.Split(*without, ",")
	c, err := tiers.Open(*dir, true)
	if err != nil {
		log.Fatal(err)
	}
	var mu sync.Mutex
	by := map[classify.Place][]*sample{}
	work := make(chan func())
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for f := range work {
				f()
			}
		})
	}
	places := map[string]classify.Place{"user": classify.User, "tool": classify.Tool, "document": classify.Document}
	n, turn := 0, 0
	add := func(s *sample, text string, at []classify.Place) {
		for _, p := range at {
			t := *s
			t.at, turn = turn, turn+1
			work <- func() {
				var err error
				if t.es, err = c.Weigh(text, p); err != nil {
					log.Fatal(err)
				}
				mu.Lock()
				by[p] = append(by[p], &t)
				mu.Unlock()
			}
		}
	}
	transforms := evade.All()
	for _, name := range flag.Args() {
		err := rows.Each(name, func(r *rows.Row) error {
			p, ok := places[r.Channel]
			if r.Part(true) != rows.Fitted || !ok || r.From(left) || strings.TrimSpace(r.Text) == "" {
				return nil
			}
			attack, _ := r.Attack()
			s := &sample{attack: attack, weight: 1, key: r.Source}
			at := []classify.Place{p}
			add(s, r.Text, at)
			if n++; n%*every == 0 && len(r.Text) < 2000 {
				for k := range 2 {
					t := transforms[(n / *every * 2 + k)%len(transforms)]
					v := *s
					v.weight, v.key = 0.3, "hidden"
					add(&v, t.Apply(r.Text, uint64(n)), at)
				}
			}
			return nil
		})
		if err != nil {
			log.Fatal(err)
		}
	}
	close(work)
	wg.Wait()
	stack := classify.Stack{Format: 1, Places: map[string]classify.PlaceStack{}}
	for p, ss := range by {
		slices.SortFunc(ss, func(a, b *sample) int { return a.at - b.at })
		w := fit(ss)
		fmt.Fprintf(os.Stderr, "%s: %d rows, weights %.3v\n", p, len(ss), w)
		ps := classify.PlaceStack{Weights: w, Curves: calibrate(ss, w)}
		if c.HasEncoder() {
			ps.Fast = fast(ss, &ps)
			fmt.Fprintf(os.Stderr, "%s: the encoder is not asked from %.2f, weights %.3v\n", p, ps.Fast.Clear, ps.Fast.Weights)
		}
		stack.Places[p.String()] = ps
	}
	b, err := json.MarshalIndent(stack, "", " ")
	if err != nil {
		log.Fatal(err)
	}
	if err := os.WriteFile(*out, append(b, '\n'), 0o644); err != nil {
		log.Fatal(err)
	}
}

// lost is the share of the attacks the full stack finds that may be cleared before the encoder reads.
const lost = 0.01

// fast is the stack of the evidence without the encoder's, and the share of benign texts from which that
// is enough: the lowest that loses no more than lost of the attacks that full finds at one in a hundred.
func fast(ss []*sample, full *classify.PlaceStack) *classify.FastStack {
	bare := make([]*sample, len(ss))
	for i, s := range ss {
		b := *s
		b.es = nil
		for _, e := range s.es {
			e.Encoder, e.Encoder3, e.Jailbrk, e.Harm, e.Mark = 0, 0, 0, 0, 0
			b.es = append(b.es, e)
		}
		bare[i] = &b
	}
	w := fit(bare)
	f := &classify.FastStack{Weights: w, Curves: calibrate(bare, w)}
	for _, f.Clear = range []float64{0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1} {
		found, cleared := 0.0, 0.0
		one := classify.Stack{Places: map[string]classify.PlaceStack{"user": {Weights: full.Weights, Curves: full.Curves, Fast: f}}}
		for k, s := range ss {
			if !s.attack {
				continue
			}
			kind := classify.Kind(&s.es[0])
			at, _ := s.worst(full.Weights)
			if _, p := one.Judge(classify.User, kind, &s.es[at]); p > 0.01 {
				continue
			}
			found += s.weight
			all := true
			for i := range bare[k].es {
				_, _, ok := one.Cleared(classify.User, kind, &bare[k].es[i])
				all = all && ok
			}
			if all {
				cleared += s.weight
			}
		}
		if cleared <= lost*found {
			break
		}
	}
	return f
}

func dot(w []float64, e *classify.Evidence) (z float64) {
	x := e.Vector()
	for i := range w {
		z += w[i] * x[i]
	}
	return z
}

// worst is the evidence with the highest number.
func (s *sample) worst(w []float64) (at int, z float64) {
	z = math.Inf(-1)
	for i := range s.es {
		if v := dot(w, &s.es[i]); v > z {
			at, z = i, v
		}
	}
	return at, z
}

// fit is logistic regression by gradient descent; a row is judged by its worst reading, and the
// sources of a label weigh as the root of their size.
func fit(ss []*sample) []float64 {
	count := map[string]float64{}
	k := func(s *sample) string { return fmt.Sprint(s.key, s.attack) }
	for _, s := range ss {
		count[k(s)]++
	}
	var total [2]float64
	weight := make([]float64, len(ss))
	for i, s := range ss {
		weight[i] = s.weight / math.Sqrt(count[k(s)])
		total[b2i(s.attack)] += weight[i]
	}
	w := make([]float64, classify.Features)
	w[1], w[2], w[5] = 0.3, 0.6, 1
	m, v := make([]float64, len(w)), make([]float64, len(w))
	for step := 1; step <= 1500; step++ {
		g := make([]float64, len(w))
		for i, s := range ss {
			at, z := s.worst(w)
			y := float64(b2i(s.attack))
			d := (1/(1+math.Exp(-z)) - y) * weight[i] / total[b2i(s.attack)]
			x := s.es[at].Vector()
			for i := range g {
				g[i] += d * x[i]
			}
		}
		for i := range w {
			if i > 0 {
				g[i] += 1e-3 * w[i]
			}
			m[i] = 0.9*m[i] + 0.1*g[i]
			v[i] = 0.999*v[i] + 0.001*g[i]*g[i]
			w[i] -= 0.02 * m[i] / (1 - math.Pow(0.9, float64(step))) / (math.Sqrt(v[i]/(1-math.Pow(0.999, float64(step)))) + 1e-9)
			if i == 1 || i == 2 || i == 5 {
				w[i] = max(w[i], 0)
			}
		}
	}
	return w
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// calibrate draws the curve of every kind that has enough benign rows; the first is of all of them.
func calibrate(ss []*sample, w []float64) (cs []classify.Curve) {
	zs := map[string][]float64{}
	for _, s := range ss {
		if s.attack || s.key == "hidden" {
			continue
		}
		_, z := s.worst(w)
		zs["all"] = append(zs["all"], z)
		kind := classify.Kind(&s.es[0])
		zs[kind] = append(zs[kind], z)
	}
	for _, kind := range []string{"all", "short", "middle", "long", "other"} {
		if len(zs[kind]) >= 150 {
			cs = append(cs, curve(kind, zs[kind]))
		}
	}
	return cs
}

// curve is the empirical share at a few quantiles, and an exponential tail fitted to the top 3 %.
func curve(kind string, z []float64) classify.Curve {
	slices.Sort(z)
	n := len(z)
	c := classify.Curve{Kind: kind}
	add := func(z, p float64) {
		if k := len(c.Z); k == 0 || z > c.Z[k-1]+1e-6 {
			c.Z, c.P = append(c.Z, z), append(c.P, p)
		}
	}
	add(z[0]-1, 1)
	for _, q := range []float64{0.75, 0.5, 0.3, 0.2, 0.1, 0.05, 0.03} {
		add(z[int(float64(n)*(1-q))], q)
	}
	k := max(8, int(float64(n)*0.03))
	u := z[n-k]
	var sum float64
	for _, x := range z[n-k:] {
		sum += x - u
	}
	c.Tail = max(0.3, sum/float64(k))
	return c
}
