package classify

import (
	"hash/maphash"
	"math"
	"slices"

	"sallyport.dev/sallyport/internal/gate"
	"sallyport.dev/sallyport/internal/inspect/lexical"
	"sallyport.dev/sallyport/internal/inspect/sentence"
	"sallyport.dev/sallyport/internal/inspect/token"
)

// worker is the memory of one text being read.
type worker struct {
	o     *Options
	lex   *lexical.Reader
	cut   *token.Encoder
	net   Encoder
	toks  []token.Token
	ids   []int32
	lexes []float64
	encs  []float64
}

func newWorker(o *Options) *worker {
	w := &worker{o: o, lex: lexical.NewReader(o.Lexical), cut: token.NewEncoder(o.Vocab)}
	if o.Encoder != nil {
		w.net = o.Encoder()
	}
	return w
}

// verdict is what a text is: how rare such a score is among benign texts, and where it stands.
type verdict struct {
	p          float64
	z          float64
	start, end int
	marked     bool // start and end are from the first to the last token that the encoder marked
	of         *Reading
	view       string
	jailbreak  bool
	cut        bool // there are more readings than were made
	evidence   Evidence
}

// read judges a text and each of its readings, and returns the worst.
func (w *worker) read(text string, place Place, rules []gate.Finding) (verdict, error) {
	best, err := w.one(text, place, ruleScore(rules), nil, "")
	if err != nil {
		return best, err
	}
	best.view = "raw"
	if tooShort(text) {
		best.p = 1
	}
	kind := Kind(&best.evidence)
	cut := false
	if w.o.Readings != nil {
		var rs []Reading
		rs, cut = w.o.otherwise(text)
		for _, r := range rs {
			if r.Text == "" {
				continue
			}
			fs := w.o.Rules.Detect(&gate.Segment{Text: []byte(r.Text), Channel: channels[place]})
			v, err := w.one(r.Text, place, ruleScore(fs), &r, kind)
			if err != nil {
				return best, err
			}
			if v.p < best.p && !tooShort(r.Text) {
				v.view, v.of = r.View, &r
				best = v
			}
		}
	}
	best.cut = cut
	if best.p <= w.o.Budget {
		w.locate(text, place, &best)
	}
	return best, nil
}

// locate says where in the text as it came the attack stands: of a caller's text the window, which is
// blocked as a whole; of anything else the sentences, which can be cut out.
func (w *worker) locate(text string, place Place, v *verdict) {
	if place != User {
		read := text
		if v.of != nil {
			read = v.of.Text
		}
		w.lex.Read([]byte(read), lexical.Foreign)
		v.start, v.end = pinpoint(w.lex, read, Span{v.start, v.end}, v.marked)
	}
	if v.of != nil {
		v.start, v.end = v.of.Source(v.start, v.end)
	}
	if place != User {
		v.start, v.end = sentence.Around(text, v.start, v.end)
	}
}

var channels = [places]gate.Channel{User: gate.ChannelUser, Tool: gate.ChannelTool, Document: gate.ChannelDocument}

func ruleScore(fs []gate.Finding) (s float64) {
	for _, f := range fs {
		if f.Category.Attack() {
			s = max(s, f.Score)
		}
	}
	return s
}

// one judges one reading as a text of that kind; of is nil and the kind empty for the text itself.
func (w *worker) one(text string, place Place, rule float64, of *Reading, kind string) (verdict, error) {
	ws := Windows(text)
	n := len(ws)
	if of != nil {
		for _, d := range of.Decoded {
			for _, s := range Windows(text[d[0]:d[1]]) {
				ws = append(ws, Span{d[0] + s.Start, d[0] + s.End})
			}
		}
	}
	side := lexical.Foreign
	if place == User {
		side = lexical.Caller
	}
	w.lex.Read([]byte(text), side)
	w.lexes = w.lexes[:0]
	hot := 0
	for i, s := range ws {
		w.lexes = append(w.lexes, float64(w.lex.Score(s.Start, s.End)))
		if w.lexes[i] > w.lexes[hot] {
			hot = i
		}
	}
	ev := Evidence{Rule: rule, Windows: n, Foreign: alien(text), Decoded: of != nil && len(of.Decoded) > 0}
	v := verdict{start: ws[hot].Start, end: ws[hot].End}
	if kind == "" {
		kind = Kind(&ev)
	}
	chosen := w.choose(text, len(ws))
	ev.Lexical, ev.Lexical3 = worst3(w.lexes)
	if w.net != nil {
		var clear bool
		if v.z, v.p, clear = w.o.Stack.Cleared(place, kind, &ev); clear {
			v.evidence = ev
			return v, nil
		}
		if err := w.encode(text, ws, chosen, place, &ev, &v); err != nil {
			return v, err
		}
	}
	v.evidence = ev
	if v.z, v.p = w.o.Stack.Judge(place, kind, &ev); math.IsNaN(v.z) {
		return v, errNumber // it would compare as harmless
	}
	return v, nil
}

// choose lists the windows that the encoder reads: all of a short text; of a longer one the first
// and the last, one that nobody can foresee, and those the lexical tier likes least.
func (w *worker) choose(text string, n int) []int {
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	if n <= w.o.Windows {
		return all
	}
	keep := map[int]bool{0: true, n - 1: true}
	for r := maphash.String(seed, text); len(keep) < 3; r = r*6364136223846793005 + 1442695040888963407 {
		keep[int(r>>33)%n] = true
	}
	slices.SortFunc(all, func(a, b int) int {
		switch {
		case w.lexes[a] > w.lexes[b]:
			return -1
		case w.lexes[a] < w.lexes[b]:
			return 1
		}
		return a - b
	})
	for _, i := range all {
		if len(keep) >= w.o.Windows {
			break
		}
		keep[i] = true
	}
	out := all[:0]
	for i := range n {
		if keep[i] {
			out = append(out, i)
		}
	}
	return out
}

// seed is new in every process: which windows of a long text are read cannot be foreseen.
var seed = maphash.MakeSeed()
