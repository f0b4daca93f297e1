package direct

import (
	"math/rand/v2"
	"regexp"
	"strings"
	"unicode"
)

// style is one way of writing, drawn once a row and laid over the attack and what surrounds it
// alike, and over benign rows in the same shares: so it says nothing about the label.
type style struct {
	letters int // 0 as written, 1 lower, 2 upper, 3 first letters lower, 4 each word capital
	typos   float64
	sms     bool
	noStops bool
	shout   bool
	breaks  bool
	spaces  bool
	curly   bool
}

func drawStyle(rng *rand.Rand, lang string) style {
	var s style
	switch p := rng.IntN(100); {
	case p < 66:
	case p < 84:
		s.letters = 1
	case p < 88:
		s.letters = 2
	case p < 95:
		s.letters = 3
	case p < 97:
		s.letters = 4
	}
	if rng.IntN(7) == 0 {
		s.typos = 0.02 + rng.Float64()*0.06
	}
	s.sms = lang == "en" && rng.IntN(16) == 0
	s.noStops = rng.IntN(9) == 0
	s.shout = rng.IntN(20) == 0
	s.breaks = rng.IntN(10) == 0
	s.spaces = rng.IntN(30) == 0
	s.curly = rng.IntN(8) == 0
	return s
}

var smsWords = map[string]string{
	"you": "u", "your": "ur", "are": "r", "please": "pls", "because": "cuz", "before": "b4", "to": "2",
	"for": "4", "with": "w/", "and": "n", "what": "wat", "people": "ppl", "message": "msg", "about": "abt",
	"tomorrow": "tmrw", "thanks": "thx", "without": "w/o", "going": "goin", "something": "smth", "see": "c",
	"right": "rite", "great": "gr8", "instructions": "instrs", "everything": "evrything", "okay": "k",
}

var (
	word     = regexp.MustCompile(`[\p{L}\p{M}']+`)
	endStop  = regexp.MustCompile(`([.!?])( +)(\p{Lu})`)
	anyStop  = regexp.MustCompile(`[.,;:!?]+(\s|$)`)
	codeLike = regexp.MustCompile("```|[{}<|]|==|\\(\\)|;\n|\": ")
	lastStop = regexp.MustCompile(`[.]( |$)`)
)

// apply changes one piece of a row. A seed of its own keeps the pieces' changes apart.
func (s style) apply(rng *rand.Rand, text string) string {
	if text == "" {
		return ""
	}
	if codeLike.MatchString(text) {
		s.noStops, s.spaces, s.curly, s.breaks, s.shout = false, false, false, false, false
		s.typos /= 4
	}
	if s.breaks {
		text = endStop.ReplaceAllString(text, "$1\n$3")
	}
	if s.sms {
		text = word.ReplaceAllStringFunc(text, func(w string) string {
			if short, ok := smsWords[strings.ToLower(w)]; ok && rng.IntN(4) > 0 {
				return short
			}
			return w
		})
	}
	if s.typos > 0 {
		text = typos(rng, text, s.typos)
	}
	if s.noStops {
		text = anyStop.ReplaceAllString(text, "$1")
	}
	if s.shout {
		text = lastStop.ReplaceAllString(text, strings.Repeat("!", 1+rng.IntN(3))+"$1")
	}
	if s.spaces {
		text = strings.ReplaceAll(text, ", ", ",")
	}
	if s.curly {
		text = strings.ReplaceAll(text, "'", "’")
	}
	switch s.letters {
	case 1:
		text = strings.ToLower(text)
	case 2:
		text = strings.ToUpper(text)
	case 3:
		for i, r := range text {
			if unicode.IsLetter(r) {
				text = text[:i] + string(unicode.ToLower(r)) + text[i+len(string(r)):]
				break
			}
		}
	case 4:
		text = word.ReplaceAllStringFunc(text, capital)
	}
	return text
}

// typos swaps, drops or doubles letters inside words longer than three letters.
func typos(rng *rand.Rand, text string, share float64) string {
	r := []rune(text)
	out := make([]rune, 0, len(r))
	for i := 0; i < len(r); i++ {
		inside := i > 0 && i+1 < len(r) && unicode.IsLetter(r[i-1]) && unicode.IsLetter(r[i]) && unicode.IsLetter(r[i+1])
		if !inside || rng.Float64() >= share {
			out = append(out, r[i])
			continue
		}
		switch rng.IntN(4) {
		case 0:
			out = append(out, r[i+1], r[i])
			i++
		case 1:
		case 2:
			out = append(out, r[i], r[i])
		default:
			if r[i] >= 'a' && r[i] <= 'z' {
				near := neighbours[r[i]-'a']
				out = append(out, rune(near[rng.IntN(len(near))]))
			} else {
				out = append(out, r[i])
			}
		}
	}
	return string(out)
}

// neighbours are the keys beside each letter.
var neighbours = [26]string{"sqz", "vgn", "xvd", "sfe", "wrd", "dgr", "fht", "gju", "uok", "hki", "jlo", "kop", "nj", "bmh", "ipl", "ol", "wa", "etf", "adw", "ryg", "yij", "cbf", "qes", "zcs", "tuh", "xsa"}
