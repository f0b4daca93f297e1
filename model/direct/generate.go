// Package direct writes the texts of the user's own channel that the detector learns from: attempts
// to override a model's instructions (injection), to lift its safety rules (jailbreak), and, at
// least as many, innocent texts that look like them. The texts come from grammars (data/), each
// technique in its own words in 26 languages; goals of attacks stay generic.
//
// Attacks and innocent texts share what surrounds them: the same document or persona comes once with
// a payload and once without, in the same style, so neither style nor topic gives the label away.
package direct

import (
	"fmt"
	"hash/fnv"
	"iter"
	"math/rand/v2"
	"slices"
	"strings"
)

// Row is one text. Span bounds the attack in bytes, half open; a benign row has none.
type Row struct {
	ID      string `json:"id"`
	Text    string `json:"text"`
	Label   string `json:"label"`
	Channel string `json:"channel"`
	Lang    string `json:"lang"`
	Source  string `json:"source"`
	Family  string `json:"family"`
	Licence string `json:"lic"`
	Span    []int  `json:"span,omitempty"`
	Pair    string `json:"pair,omitempty"` // shared by rows that differ by the attack alone
}

// Options narrow what is written. The zero value writes everything.
type Options struct {
	Families        []string // only these, where given
	WithoutFamilies []string // for judging on families never seen
	Langs           []string // only these, where given
	WithoutLangs    []string
}

// Shares of the whole, in percent. What is left is benign; pairs are half attack, half benign.
const (
	shareEnglish   = 65
	shareInjection = 16
	shareJailbreak = 16
	sharePairs     = 24
)

// plan is what Options leave, by language and label.
type plan struct {
	langs    []string // but English
	english  bool
	families map[string]map[string][]string
}

func newPlan(o Options) plan {
	p := plan{families: map[string]map[string][]string{}}
	for _, l := range langs {
		if len(o.Langs) > 0 && !slices.Contains(o.Langs, l) || slices.Contains(o.WithoutLangs, l) {
			continue
		}
		by := map[string][]string{}
		for _, f := range families {
			if len(o.Families) > 0 && !slices.Contains(o.Families, f.Name) || slices.Contains(o.WithoutFamilies, f.Name) || !slices.Contains(f.Langs, l) {
				continue
			}
			by[f.Label] = append(by[f.Label], f.Name)
		}
		if len(by) == 0 {
			continue
		}
		p.families[l] = by
		if l == "en" {
			p.english = true
		} else {
			p.langs = append(p.langs, l)
		}
	}
	return p
}

func (p plan) lang(rng *rand.Rand) string {
	if p.english && (len(p.langs) == 0 || rng.IntN(100) < shareEnglish) {
		return "en"
	}
	return p.langs[rng.IntN(len(p.langs))]
}

// Generate writes n rows, the same for the same seed and options. It yields nothing where the
// options leave no family.
func Generate(seed uint64, n int, o Options) iter.Seq[Row] {
	return func(yield func(Row) bool) {
		p := newPlan(o)
		if len(p.families) == 0 {
			return
		}
		seen := make(map[uint64]bool, n)
		done := 0
		emit := func(r Row) (fresh, goOn bool) {
			h := fnv.New64a()
			h.Write([]byte(r.Text))
			if seen[h.Sum64()] {
				return false, true
			}
			seen[h.Sum64()] = true
			r.ID = fmt.Sprintf("direct-%d-%d", seed, done)
			r.Channel, r.Source, r.Licence = "user", "direct", "permissive"
			done++
			return true, yield(r) && done < n
		}
		// A narrow choice of families may run out of texts that differ; then duplicates are let by.
		for i, barren := uint64(0), 0; done < n; i++ {
			rng := rand.New(rand.NewPCG(seed, i))
			any := false
			for _, r := range p.rows(rng) {
				if barren > 200 {
					clear(seen)
				}
				fresh, goOn := emit(r)
				if !goOn {
					return
				}
				any = any || fresh
			}
			if barren++; any {
				barren = 0
			}
			if barren > 5000 {
				return
			}
		}
	}
}

// rows writes one text, or two that are a pair.
func (p plan) rows(rng *rand.Rand) []Row {
	lang := p.lang(rng)
	by := p.families[lang]
	switch d := rng.IntN(100); {
	case d < sharePairs && (len(by[Injection]) > 0 || len(by[Jailbreak]) > 0):
		return p.pair(rng, lang)
	case d < sharePairs+shareInjection && len(by[Injection]) > 0:
		return one(rng, lang, Injection, by[Injection])
	case d < sharePairs+shareInjection+shareJailbreak && len(by[Jailbreak]) > 0:
		return one(rng, lang, Jailbreak, by[Jailbreak])
	case len(by[Benign]) > 0:
		return one(rng, lang, Benign, by[Benign])
	case len(by[Injection]) > 0:
		return one(rng, lang, Injection, by[Injection])
	case len(by[Jailbreak]) > 0:
		return one(rng, lang, Jailbreak, by[Jailbreak])
	}
	return nil
}

func newExpander(rng *rand.Rand, lang string) *expander {
	return &expander{rng: rng, own: grammars[lang], shared: shared, vars: map[string]string{}}
}

func one(rng *rand.Rand, lang, label string, of []string) []Row {
	family := of[rng.IntN(len(of))]
	e := newExpander(rng, lang)
	text := e.rule(family)
	if rng.IntN(4) == 0 {
		text = dress(e, text)
	}
	return []Row{assemble(rng, drawStyle(rng, lang), lang, label, family, text)}
}

// pair writes the same surroundings twice: once with a payload, once without or with an innocent
// sentence that has an attack's words in its place.
func (p plan) pair(rng *rand.Rand, lang string) []Row {
	by := p.families[lang]
	label := Injection
	if len(by[Jailbreak]) > 0 && (len(by[Injection]) == 0 || rng.IntN(4) == 0) {
		label = Jailbreak
	}
	family := by[label][rng.IntN(len(by[label]))]
	e := newExpander(rng, lang)
	frame := oneHole(rng, e.rule("carrier"))
	payload := plain(e.rule(family))
	innocent := ""
	if rng.IntN(2) == 0 {
		innocent = plain(e.rule("aside"))
	}
	put := func(s string) string {
		if s == "" {
			return strings.ReplaceAll(strings.ReplaceAll(frame, " "+string(markHole), ""), string(markHole), "")
		}
		before, after, _ := strings.Cut(frame, string(markHole))
		gap := pick(e, " ", " ", "\n", "\n\n")
		if before != "" && !strings.HasSuffix(before, " ") && !strings.HasSuffix(before, "\n") {
			before += gap
		}
		if after != "" && !strings.HasPrefix(after, " ") && !strings.HasPrefix(after, "\n") {
			after = gap + after
		}
		return before + s + after
	}
	s := drawStyle(rng, lang)
	with := assemble(rng, s, lang, label, family, put(string(markOpen)+payload+string(markClose)))
	without := assemble(rng, s, lang, Benign, "pair."+label, put(innocent))
	with.Pair = fmt.Sprintf("p%016x", rng.Uint64())
	without.Pair = with.Pair
	return []Row{with, without}
}

// oneHole keeps one of the places for a payload; without any, the payload follows the text.
func oneHole(rng *rand.Rand, frame string) string {
	n := strings.Count(frame, string(markHole))
	if n == 0 {
		return frame + pick(&expander{rng: rng}, " ", "\n", "\n\n") + string(markHole)
	}
	keep := rng.IntN(n)
	var b strings.Builder
	for _, r := range frame {
		if r == markHole {
			if keep != 0 {
				keep--
				continue
			}
			keep--
		}
		b.WriteRune(r)
	}
	return b.String()
}

// dress puts a greeting before or a courtesy after a text, whatever its label.
func dress(e *expander, text string) string {
	if strings.ContainsRune(text, markOpen) {
		return text
	}
	open, end := string(markOpen), string(markClose)
	switch e.rng.IntN(4) {
	case 0:
		return e.rule("greeting") + " " + open + text + end
	case 1:
		return open + text + end + " " + e.rule("courtesy")
	case 2:
		return e.rule("greeting") + " " + open + text + end + "\n" + e.rule("courtesy")
	}
	return open + text + end + " " + e.rule("emoji")
}

// assemble cuts the marks out of a text, lays the style over its pieces, and keeps where the attack
// stands.
func assemble(rng *rand.Rand, s style, lang, label, family, text string) Row {
	text = strings.TrimSpace(strings.ReplaceAll(text, string(markHole), ""))
	r := Row{Label: label, Lang: lang, Family: family}
	before, rest, marked := strings.Cut(text, string(markOpen))
	attack, after, closed := strings.Cut(rest, string(markClose))
	if !marked || !closed || plain(attack) == "" {
		before, attack, after = "", plain(text), ""
	}
	before, attack, after = plain(before), plain(attack), plain(after)
	if dressed := rng.IntN(2); dressed == 0 && before == "" && after == "" {
		attack = strings.TrimSpace(attack)
	}
	b, a, z := s.apply(rng, before), s.apply(rng, attack), s.apply(rng, after)
	b = strings.TrimLeft(b, " \n\t")
	z = strings.TrimRight(z, " \n\t")
	if b == "" {
		a = strings.TrimLeft(a, " \n\t")
	}
	if z == "" {
		a = strings.TrimRight(a, " \n\t")
	}
	r.Text = b + a + z
	if label != Benign {
		r.Span = []int{len(b), len(b) + len(a)}
	}
	return r
}
