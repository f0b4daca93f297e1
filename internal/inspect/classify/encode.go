package classify

import (
	"fmt"
	"math"
)

const (
	maxTokens    = 128 // of one run, the control token included
	tokenOverlap = 24  // between the runs of a window that has more
	mostRuns     = 2   // of the network, for each window it may read: bytes that no piece covers make many tokens
	markLevel    = 0.0 // log-odds from which a token counts as part of an attack
)

// encode runs the encoder over the chosen windows.
func (w *worker) encode(text string, ws []Span, chosen []int, place Place, ev *Evidence, v *verdict) error {
	control, ok := w.o.Vocab.Control(place.String())
	if !ok {
		panic("classify: vocabulary has no control token " + place.String())
	}
	w.encs = w.encs[:0]
	best := math.Inf(-1)
	ev.Mark, ev.Harm = math.Inf(-1), math.Inf(-1)
	for _, i := range chosen {
		base := ws[i].Start
		w.toks = w.cut.Encode(w.toks[:0], text[ws[i].Start:ws[i].End])
		for from := 0; ; {
			to := min(len(w.toks), from+maxTokens-1)
			w.ids = append(w.ids[:0], control)
			for _, t := range w.toks[from:to] {
				w.ids = append(w.ids, t.ID)
			}
			logits, marks, err := w.net.Run(w.ids)
			if err != nil {
				return fmt.Errorf("%w: %w", errEncoder, err)
			}
			b, inj, jail, harm := float64(logits[0]), float64(logits[1]), float64(logits[2]), float64(logits[3])
			z := add(inj, jail) - add(b, harm)
			ev.Harm = max(ev.Harm, harm-b)
			w.encs = append(w.encs, z)
			for _, m := range marks {
				ev.Mark = max(ev.Mark, float64(m))
			}
			if z > best {
				best = z
				v.jailbreak = jail > inj
				ev.Jailbrk = jail - inj
				start, end := w.spot(marks[1:], from, to)
				v.start, v.end = ws[i].Start, ws[i].End
				if v.marked = end > start; v.marked && place != User {
					v.start, v.end = base+start, base+end
				}
			}
			if to == len(w.toks) || len(w.encs) >= mostRuns*w.o.Windows {
				break
			}
			from = to - tokenOverlap
		}
	}
	ev.Encoder, ev.Encoder3 = worst3(w.encs)
	return nil
}

// spot is the range of bytes of the marked tokens.
func (w *worker) spot(marks []float32, from, to int) (start, end int) {
	start = -1
	for k := from; k < to; k++ {
		if float64(marks[k-from]) < markLevel {
			continue
		}
		t := w.toks[k]
		if start < 0 {
			start = int(t.Start)
		}
		end = int(t.End)
	}
	if start < 0 {
		return 0, 0
	}
	return start, end
}

// add is log(exp(a)+exp(b)).
func add(a, b float64) float64 { return math.Max(a, b) + math.Log1p(math.Exp(-math.Abs(a-b))) }
