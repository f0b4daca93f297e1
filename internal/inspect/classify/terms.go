package classify

import "unicode"

// leastTerms is how many terms a text needs before the learned tiers may accuse it. An order says what
// to do with what: a lone name such as "instructions" or "developer_persona", which is what a form field
// or an identifier holds, orders nothing, and a tier that learned from whole texts has no say about it.
// The rules read it all the same.
const leastTerms = 3

// wordless is how many runes of a script that puts no spaces between words count as a term.
const wordless = 2

// tooShort says whether a text has fewer than leastTerms terms. A term is a run of what is not a space,
// so that an identifier is one however many words it was made of.
func tooShort(text string) bool {
	terms, run, inside := 0, 0, false
	for _, r := range text {
		switch {
		case unicode.IsSpace(r):
			inside, run = false, 0
		case spaceless(r):
			if inside = false; run%wordless == 0 {
				terms++
			}
			run++
		case !inside && (unicode.IsLetter(r) || unicode.IsNumber(r)):
			inside, run = true, 0
			terms++
		}
		if terms >= leastTerms {
			return false
		}
	}
	return true
}

// spaceless says whether a rune belongs to a script that writes words without spaces between them.
func spaceless(r rune) bool {
	return unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Thai, unicode.Lao, unicode.Khmer, unicode.Myanmar, unicode.Tibetan)
}
