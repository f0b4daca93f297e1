package evade

import (
	"math/rand/v2"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// twins are letters of other scripts that are drawn like a Latin one (UTS 39 confusables).
var twins = map[rune]string{
	'a': "аα", 'c': "сϲ", 'd': "ԁ", 'e': "еҽ", 'g': "ɡց", 'h': "һհ", 'i': "іι", 'j': "јϳ", 'k': "кκ", 'l': "ӏ", 'n': "ո", 'o': "оοօ",
	'p': "рρ", 'q': "ԛզ", 's': "ѕ", 't': "тτ", 'u': "υս", 'v': "νѵ", 'w': "ԝω", 'x': "хχ", 'y': "уγ", 'r': "гᴦ", 'm': "м", 'b': "Ьв",
	'A': "АΑᎪ", 'B': "ВΒᏴ", 'C': "СϹᏟ", 'D': "Ꭰ", 'E': "ЕΕᎬ", 'G': "Ԍ", 'H': "НΗᎻ", 'I': "ІΙ", 'J': "ЈᎫ", 'K': "КΚᏦ", 'L': "Ꮮ", 'M': "МΜᎷ",
	'N': "Ν", 'O': "ОΟ", 'P': "РΡᏢ", 'S': "ЅᏚ", 'T': "ТΤᎢ", 'V': "ѴᏙ", 'W': "ԜᎳ", 'X': "ХΧ", 'Y': "ΥҮ", 'Z': "ΖᏃ",
}

// homoglyph swaps about share percent of the letters that have a twin, at least one a word.
func homoglyph(share int) hider {
	return func(r *rand.Rand, text string) string {
		fresh := true
		return each(text, func(c rune) string {
			if !isLetter(c) {
				fresh = true
				return string(c)
			}
			if t := []rune(twins[c]); len(t) > 0 && (fresh || r.IntN(100) < share) {
				fresh = false
				return string(t[r.IntN(len(t))])
			}
			return string(c)
		})
	}
}

// marked puts up to n combining marks on every letter.
func marked(n int, marks string) hider {
	m := []rune(marks)
	return func(r *rand.Rand, text string) string {
		return each(text, func(c rune) string {
			if !unicode.IsLetter(c) {
				return string(c)
			}
			s := string(c)
			for range 1 + r.IntN(n) {
				s += string(m[r.IntN(len(m))])
			}
			return s
		})
	}
}

func accented(r *rand.Rand, text string) string {
	return norm.NFC.String(marked(1, "\u0300\u0301\u0302\u0308\u030a\u0304")(r, text))
}

// spaced puts a separator between the letters of a word and a wider gap between words.
func spaced(gap string, separators ...string) hider {
	return func(r *rand.Rand, text string) string {
		sep := separators[r.IntN(len(separators))]
		words := strings.Fields(text)
		for i, w := range words {
			letters := strings.Split(w, "")
			words[i] = strings.Join(letters, sep)
		}
		return strings.Join(words, gap)
	}
}

func spacedMixed(r *rand.Rand, text string) string {
	seps := []string{".", "-", "_", "*", " ", "/", "|"}
	words := strings.Fields(text)
	for i, w := range words {
		words[i] = strings.Join(strings.Split(w, ""), seps[r.IntN(len(seps))])
	}
	return strings.Join(words, "   ")
}

// leet writes letters as the digits and signs they look like.
func leet(share int, table map[rune][]string) hider {
	return func(r *rand.Rand, text string) string {
		return each(text, func(c rune) string {
			if v := table[unicode.ToLower(c)]; len(v) > 0 && r.IntN(100) < share {
				return v[r.IntN(len(v))]
			}
			return string(c)
		})
	}
}

var (
	leetPlain = map[rune][]string{'a': {"4"}, 'e': {"3"}, 'i': {"1"}, 'o': {"0"}, 's': {"5"}, 't': {"7"}}
	leetHeavy = map[rune][]string{'a': {"4", "@"}, 'b': {"8"}, 'e': {"3"}, 'g': {"9"}, 'i': {"1", "!"}, 'l': {"1", "|"}, 'o': {"0"}, 's': {"5", "$"}, 't': {"7", "+"}, 'z': {"2"}}
)

// alphabet writes a-z, A-Z and 0-9 in another alphabet that keeps their order; "" leaves them.
func alphabet(low, up, dig string) hider {
	l, u, d := []rune(low), []rune(up), []rune(dig)
	return func(_ *rand.Rand, text string) string {
		return each(text, func(c rune) string {
			switch {
			case 'a' <= c && c <= 'z' && len(l) == 26:
				c = l[c-'a']
			case 'A' <= c && c <= 'Z' && len(u) == 26:
				c = u[c-'A']
			case isDigit(c) && len(d) == 10:
				c = d[c-'0']
			}
			return string(c)
		})
	}
}

func from(first rune, n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteRune(first + rune(i))
	}
	return b.String()
}

func styledAlphabet(low, up, dig rune) hider {
	d := ""
	if dig != 0 {
		d = from(dig, 10)
	}
	return alphabet(from(low, 26), from(up, 26), d)
}

func fullwidth(_ *rand.Rand, text string) string {
	return each(text, func(c rune) string {
		switch {
		case c == ' ':
			c = 0x3000
		case c > ' ' && c < 0x7f:
			c += 0xFEE0
		}
		return string(c)
	})
}

const (
	lowAll  = "abcdefghijklmnopqrstuvwxyz"
	turned  = "ɐqɔpǝɟƃɥᴉɾʞlɯuodbɹsʇnʌʍxʎz"
	capsLow = "ᴀʙᴄᴅᴇꜰɢʜɪᴊᴋʟᴍɴᴏᴘǫʀꜱᴛᴜᴠᴡxʏᴢ"
	super   = "ᵃᵇᶜᵈᵉᶠᵍʰⁱʲᵏˡᵐⁿᵒᵖqʳˢᵗᵘᵛʷˣʸᶻ"
	double  = "𝔸𝔹ℂ𝔻𝔼𝔽𝔾ℍ𝕀𝕁𝕂𝕃𝕄ℕ𝕆ℙℚℝ𝕊𝕋𝕌𝕍𝕎𝕏𝕐ℤ"
)

func upsideDown(r *rand.Rand, text string) string {
	return backwards(alphabet(turned, "", "")(r, strings.ToLower(text)))
}

// regional puts a zero-width space between letters, so that no two of them make a flag.
func regional(_ *rand.Rand, text string) string {
	return each(strings.ToLower(text), func(c rune) string {
		if isLetter(c) {
			return string(0x1F1E6+c-'a') + "\u200b"
		}
		return string(c)
	})
}

func letters() []Transform {
	return []Transform{
		define("homoglyph", "homoglyph", true, homoglyph(35)),
		define("homoglyph", "homoglyph-full", true, homoglyph(100)),
		define("marks", "zalgo", false, marked(6, "\u0300\u0301\u0302\u0303\u0308\u0310\u0316\u0317\u0321\u0323\u0330\u0334\u0336\u0348\u034a\u0353\u0489")),
		define("marks", "strike-through", false, marked(1, "\u0336")),
		define("marks", "underline", false, marked(1, "\u0332\u0333")),
		define("marks", "accents", true, accented),
		define("spacing", "spaced", false, spaced("   ", " ")),
		define("spacing", "spaced-flat", true, spaced(" ", " ")),
		define("spacing", "dotted", false, spaced("  ", ".")),
		define("spacing", "dashed", false, spaced(" ", "-")),
		define("spacing", "separated", false, spaced("  ", "_", "*", "|", "~", "/", "·", "•")),
		define("spacing", "separated-mixed", false, spacedMixed),
		define("spacing", "thin-spaced", false, spaced("   ", "\u2009", "\u00a0", "\u2002", "\u2800")),
		define("spacing", "letter-lines", false, spaced("\n\n", "\n")),
		define("leet", "leet", true, leet(100, leetPlain)),
		define("leet", "leet-heavy", true, leet(85, leetHeavy)),
		define("leet", "leet-light", true, leet(50, leetPlain)),
		define("styled", "fullwidth", true, fullwidth),
		define("styled", "math-bold", true, styledAlphabet(0x1D41A, 0x1D400, 0x1D7CE)),
		define("styled", "math-script", true, styledAlphabet(0x1D4EA, 0x1D4D0, 0)),
		define("styled", "math-fraktur", true, styledAlphabet(0x1D586, 0x1D56C, 0)),
		define("styled", "math-double", true, alphabet(from(0x1D552, 26), double, from(0x1D7D8, 10))),
		define("styled", "math-sans", true, styledAlphabet(0x1D5EE, 0x1D5D4, 0x1D7EC)),
		define("styled", "math-mono", true, styledAlphabet(0x1D68A, 0x1D670, 0x1D7F6)),
		define("styled", "circled", true, styledAlphabet(0x24D0, 0x24B6, 0)),
		define("styled", "circled-dark", true, styledAlphabet(0x1F150, 0x1F150, 0)),
		define("styled", "squared", true, styledAlphabet(0x1F130, 0x1F130, 0)),
		define("styled", "squared-dark", true, styledAlphabet(0x1F170, 0x1F170, 0)),
		define("styled", "parenthesised", true, styledAlphabet(0x249C, 0x1F110, 0)),
		define("styled", "small-caps", true, alphabet(capsLow, capsLow, "")),
		define("styled", "superscript", true, alphabet(super, super, "⁰¹²³⁴⁵⁶⁷⁸⁹")),
		define("styled", "upside-down", true, upsideDown),
		define("styled", "regional", true, regional),
	}
}
