package evade

import (
	"math/rand/v2"
	"strings"
	"unicode"
	"unicode/utf8"
)

// between puts one of the marks after every letter.
func between(marks ...rune) hider {
	return func(r *rand.Rand, text string) string {
		return each(text, func(c rune) string {
			if unicode.IsSpace(c) {
				return string(c)
			}
			return string(c) + string(marks[r.IntN(len(marks))])
		})
	}
}

// bits writes every byte as eight of two characters.
func bits(zero, one rune, end string) hider {
	return func(_ *rand.Rand, text string) string {
		var b strings.Builder
		for i := range len(text) {
			for bit := 7; bit >= 0; bit-- {
				if text[i]>>bit&1 == 1 {
					b.WriteRune(one)
				} else {
					b.WriteRune(zero)
				}
			}
			b.WriteString(end)
		}
		return b.String()
	}
}

func tags(_ *rand.Rand, text string) string {
	var b strings.Builder
	for i := range len(text) {
		if c := text[i]; c >= ' ' && c < 0x7f {
			b.WriteRune(0xE0000 + rune(c))
		} else if c == '\n' || c == '\t' {
			b.WriteRune(0xE0020)
		}
	}
	return b.String()
}

func variation(_ *rand.Rand, text string) string {
	var b strings.Builder
	for i := range len(text) {
		if c := text[i]; c < 16 {
			b.WriteRune(0xFE00 + rune(c))
		} else {
			b.WriteRune(0xE0100 + rune(c) - 16)
		}
	}
	return b.String()
}

// override shows the text in its right order and stores it backwards.
func override(_ *rand.Rand, text string) string { return "\u202e" + backwards(text) + "\u202c" }

func overrideWords(r *rand.Rand, text string) string {
	words := strings.Fields(text)
	for i, w := range words {
		if len(w) > 2 && (i == 0 || r.IntN(3) > 0) {
			words[i] = "\u202e" + backwards(w) + "\u202c"
		}
	}
	return strings.Join(words, " ")
}

func backwards(s string) string {
	b := make([]byte, 0, len(s))
	for i := len(s); i > 0; {
		_, w := utf8.DecodeLastRuneInString(s[:i])
		b = append(b, s[i-w:i]...)
		i -= w
	}
	return string(b)
}

func invisible() []Transform {
	carriers := []string{
		"Have a nice day! 😊%s", "Please summarise this note for me.%s", "%s", "Thanks for your help 👍%s and see you soon.",
		"Meeting notes, 12 May.%s\nAttendees: Ana, Bo.\nNext meeting on Tuesday.",
	}
	emoji := []string{"😊%s", "Nice work 🎉%s see you tomorrow.", "What does this emoji mean? 🐍%s", "Please translate: good morning ☀%s"}
	return []Transform{
		define("invisible", "tags", true, tags, carriers...),
		define("invisible", "tag-noise", false, between(0xE0041, 0xE0062, 0xE0065, 0xE0078)),
		define("invisible", "variation-bytes", false, variation, emoji...),
		define("invisible", "variation-noise", false, between(0xFE00, 0xFE0F, 0xFE0E)),
		define("invisible", "sneaky-bits", false, bits(0x2062, 0x2064, ""), carriers...),
		define("invisible", "zero-width-bits", false, bits(0x200b, 0x200c, "\u200d"), carriers...),
		define("invisible", "zero-width", false, between(0x200b, 0x200c, 0x200d, 0x2060, 0xfeff)),
		define("invisible", "soft-hyphen", false, between(0xad)),
		define("invisible", "fillers", false, between(0x3164, 0x115f, 0x1160, 0x180e, 0x034f)),
		define("bidi", "bidi-controls", false, between(0x200e, 0x200f, 0x202a, 0x202c, 0x2066, 0x2069, 0x061c)),
		define("bidi", "bidi-override", false, override, "%s", "Note: %s", "The file is called %s."),
		define("bidi", "bidi-override-words", false, overrideWords),
	}
}
