package rules

import (
	"regexp/syntax"
	"strconv"
	"strings"

	"sallyport.dev/sallyport/internal/gate"
)

var alphabets = map[string]string{
	"alnum": "q7Zx2Kd9Vb4Lm8Rt3Wp6Yc1Hn5Gs0Fj" + "AEIBCDeiBghkloQruvwUOMNPSTXyz",
	"lower": "q7z2k9x4d8m3t6p1v5c0h" + "bnrsgjwfyla",
	"upper": "Q7Z2K4X3D5M6T" + "BNRSGHWFYLACPV",
	"digit": "7294183650",
	"hex":   "9f2c7a04e8b1d635",
	"b64":   "q7Zx/2Kd9+Vb4Lm8Rt3Wp6Yc1Hn5Gs0FjAEIBCDei",
}

// expand fills in the placeholders of an example: {{kind:N}} and {{}}.
func expand(s string, seed int) string {
	var b strings.Builder
	for {
		pre, rest, ok := strings.Cut(s, "{{")
		b.WriteString(pre)
		if !ok {
			return b.String()
		}
		name, tail, ok := strings.Cut(rest, "}}")
		if !ok {
			b.WriteString("{{" + rest)
			return b.String()
		}
		s = tail
		kind, count, _ := strings.Cut(name, ":")
		n, _ := strconv.Atoi(count)
		a := alphabets[kind]
		for i := range n {
			if a != "" {
				b.WriteByte(a[(i*7+i/len(a)*3+seed)%len(a)])
			}
		}
	}
}

// generate makes a text that an imported rule must find, by walking its pattern.
func generate(s Source) (string, bool) {
	tree, err := syntax.Parse(s.Regex, syntax.Perl)
	if err != nil {
		return "", false
	}
	probe := s
	probe.Category = string(gate.Secret)
	r, err := compile(probe)
	if err != nil {
		return "", false
	}
	e := newEngine([]*rule{r}, "")
	for seed := range 4 {
		w := walker{n: seed}
		w.walk(unpadded(tree))
		text := w.b.String() + " "
		if len(e.Detect(&gate.Segment{Text: []byte(text), Channel: gate.ChannelUser})) > 0 {
			return text, true
		}
	}
	return "", false
}

type walker struct {
	b strings.Builder
	n int
}

func (w *walker) walk(re *syntax.Regexp) {
	switch re.Op {
	case syntax.OpLiteral:
		w.b.WriteString(string(re.Rune))
	case syntax.OpCharClass:
		w.class(re.Rune)
	case syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		w.class([]rune{'0', '9', 'a', 'z'})
	case syntax.OpCapture, syntax.OpPlus:
		w.walk(re.Sub[0])
	case syntax.OpRepeat:
		for range re.Min {
			w.walk(re.Sub[0])
		}
	case syntax.OpConcat:
		for _, s := range re.Sub {
			w.walk(s)
		}
	case syntax.OpAlternate:
		w.walk(re.Sub[0])
	}
}

// class writes one printable character of a class, another one each time.
func (w *walker) class(ranges []rune) {
	var all []rune
	for i := 0; i < len(ranges); i += 2 {
		for r := max(ranges[i], ' '); r <= ranges[i+1] && r < 0x7f; r++ {
			all = append(all, r)
		}
	}
	w.n++
	if len(all) > 0 {
		w.b.WriteRune(all[(w.n*7)%len(all)])
	}
}
