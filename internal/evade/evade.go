// Package evade writes text the way attackers hide it from filters, one transform for every writing
// that the readings of internal/inspect undo, and dresses benign text in the legitimate look of such
// writings. It is the attacker's side of the evasion tests, of training and of `sallyport eval`
// (internal/server/eval.go); the gateway never calls it. Everything is a pure function of text and
// seed.
//
// The transforms are those of "Bypassing prompt injection and jailbreak detection in LLM guardrails"
// (Hackett et al., arXiv 2504.11168), garak's encoding probes, the payload splitting of Kang et al.
// (arXiv 2302.05733), and hidden text in HTML and Markdown (OWASP LLM01:2025, ATLAS AML.T0051.001).
package evade

import (
	"math/rand/v2"
	"strings"
)

// Transform is one way to hide a text.
type Transform struct {
	Name   string // unique, e.g. "base64-url"
	Family string // invisible, bidi, homoglyph, marks, spacing, leet, styled, encoding, cipher, symbols, order, markup, split, nested
	// Latin says that the transform carries ASCII letters and digits only: what is written in
	// another script is left out or left as it is.
	Latin bool
	// Apply hides text and puts it where such a text is met: an instruction to decode it, a document,
	// nothing at all. The same text and seed give the same result.
	Apply func(text string, seed uint64) string
	// Place is Apply that also says which bytes of the result carry the text.
	Place func(text string, seed uint64) (out string, start, end int)
}

type hider func(r *rand.Rand, text string) string

// define makes a transform of a hider and the places it is found in; "%s" stands for what it makes.
func define(family, name string, latin bool, hide hider, places ...string) Transform {
	if len(places) == 0 {
		places = []string{"%s"}
	}
	place := func(text string, seed uint64) (string, int, int) {
		r := source(name, seed)
		before, after, _ := strings.Cut(places[r.IntN(len(places))], "%s")
		h := hide(r, text)
		return before + h + after, len(before), len(before) + len(h)
	}
	return Transform{Name: name, Family: family, Latin: latin, Place: place, Apply: func(text string, seed uint64) string {
		out, _, _ := place(text, seed)
		return out
	}}
}

func source(name string, seed uint64) *rand.Rand {
	h := uint64(14695981039346656037)
	for i := range len(name) {
		h = (h ^ uint64(name[i])) * 1099511628211
	}
	return rand.New(rand.NewPCG(seed, h))
}

// All is every transform, always in the same order.
func All() []Transform {
	var all []Transform
	for _, part := range [][]Transform{invisible(), letters(), encodings(), ciphers(), markup(), pieces()} {
		all = append(all, part...)
	}
	return append(all, nested(all)...)
}

// Find returns the transform of that name.
func Find(name string) (Transform, bool) {
	for _, t := range All() {
		if t.Name == name {
			return t, true
		}
	}
	return Transform{}, false
}

// nested stacks transforms, innermost first.
func nested(all []Transform) []Transform {
	var out []Transform
	for _, chain := range [][]string{
		{"rot13", "base64"}, {"base64", "base64"}, {"base64", "hex"}, {"reversed", "base64"}, {"base64", "url-percent"},
		{"hex-escaped", "base64"}, {"homoglyph", "zero-width"}, {"leet", "spaced"}, {"fullwidth", "zalgo"},
		{"base64", "html-comment"}, {"zero-width", "html-hidden"}, {"rot13", "reversed"}, {"base32", "base64", "hex"},
	} {
		var steps []Transform
		for _, name := range chain {
			for _, t := range all {
				if t.Name == name {
					steps = append(steps, t)
				}
			}
		}
		last := len(steps) - 1
		latin := false
		for _, s := range steps {
			latin = latin || s.Latin
		}
		place := func(text string, seed uint64) (string, int, int) {
			for _, s := range steps[:last] {
				out, from, to := s.Place(text, seed)
				text = out[from:to]
			}
			return steps[last].Place(text, seed)
		}
		out = append(out, Transform{Name: strings.Join(chain, ">"), Family: "nested", Latin: latin, Place: place,
			Apply: func(text string, seed uint64) string { s, _, _ := place(text, seed); return s }})
	}
	return out
}

// Turns cuts text into n pieces, as an attacker spreads it over the turns or parts of a conversation.
// The pieces joined are text; a cut may fall within a word.
func Turns(text string, n int, seed uint64) []string {
	return cut(source("turns", seed), text, n)
}

func cut(r *rand.Rand, text string, n int) []string {
	rs := []rune(text)
	n = max(1, min(n, len(rs)))
	out := make([]string, 0, n)
	for ; n > 1; n-- {
		// Near the even cut, with some play.
		even := len(rs) / n
		k := max(1, min(even+r.IntN(even+1)-even/2, len(rs)-n+1))
		out = append(out, string(rs[:k]))
		rs = rs[k:]
	}
	return append(out, string(rs))
}

func each(text string, f func(c rune) string) string {
	var b strings.Builder
	for _, c := range text {
		b.WriteString(f(c))
	}
	return b.String()
}

func isLetter(c rune) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }

func isDigit(c rune) bool { return '0' <= c && c <= '9' }
