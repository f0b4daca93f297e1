package rules

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/url"
	"strings"

	"pgregory.net/rapid"

	"sallyport.dev/sallyport/internal/gate"
	"sallyport.dev/sallyport/internal/inspect/views"
)

// obfuscations are the writings that the engine must see through. Secrets are looked for only in
// those that a program, not a person, would undo.
var obfuscations = []struct {
	name   string
	secret bool
	f      func(string) string
}{
	{"upper", false, strings.ToUpper},
	{"zero width", true, func(s string) string { return between(s, "\u200b") }},
	{"soft hyphen", true, func(s string) string { return between(s, "\u00ad") }},
	{"bidi", true, func(s string) string { return "\u202e" + between(s, "\u2066") + "\u202c" }},
	{"fullwidth", true, func(s string) string {
		return strings.Map(func(r rune) rune {
			if r > ' ' && r < 0x7f {
				return r + 0xfee0
			}
			return r
		}, s)
	}},
	{"marks", false, func(s string) string { return between(s, "\u0301\u0336") }},
	{"homoglyphs", false, func(s string) string {
		return strings.NewReplacer("o", "о", "a", "а", "e", "е", "c", "с", "p", "р", "i", "і").Replace(s)
	}},
	{"wide gaps", false, func(s string) string { return strings.ReplaceAll(s, " ", " \t\n  ") }},
	{"tags", true, func(s string) string { return "hello" + tags(s) + " there" }},
	{"variation selectors", true, func(s string) string { return "\U0001f600" + selectors(s) + " ok" }},
	{"base64", true, func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }},
	{"base64 raw url", true, func(s string) string { return "see " + base64.RawURLEncoding.EncodeToString([]byte(s)) + ", thanks" }},
	{"base64 wrapped", true, func(s string) string { return wrap(base64.StdEncoding.EncodeToString([]byte(s+" and go on")), 64) }},
	{"base64 twice", true, func(s string) string {
		return base64.StdEncoding.EncodeToString([]byte(base64.StdEncoding.EncodeToString([]byte(s))))
	}},
	{"hex", true, func(s string) string { return hex.EncodeToString([]byte(s)) }},
	{"url", true, func(s string) string { return strings.ReplaceAll(url.QueryEscape(s), "+", "%20") }},
	{"url all", true, func(s string) string { return each(s, "%%%02X") }},
	{"html", true, func(s string) string { return each(s, "&#%d;") }},
	{"html hex", true, func(s string) string { return each(s, "&#x%x;") }},
	{"unicode escape", true, func(s string) string { return each(s, `\u%04x`) }},
	{"byte escape", true, func(s string) string { return each(s, `\x%02x`) }},
	{"rot13", false, func(s string) string { return string(views.ROT13([]byte(s)).Bytes) }},
	{"reversed", false, func(s string) string { return string(views.Reverse([]byte(s)).Bytes) }},
	{"spaced", false, func(s string) string { return separated(s, " ") }},
	{"dotted", false, func(s string) string { return separated(s, ".") }},
	{"dashed", false, func(s string) string { return separated(s, "-") }},
}

func between(s, x string) string {
	var b strings.Builder
	for _, r := range s {
		b.WriteRune(r)
		if r < 0x80 {
			b.WriteString(x)
		}
	}
	return b.String()
}

func each(s, format string) string {
	var b strings.Builder
	for i := range len(s) {
		fmt.Fprintf(&b, format, s[i])
	}
	return b.String()
}

func tags(s string) string {
	var b strings.Builder
	for i := range len(s) {
		b.WriteRune(0xE0000 + rune(s[i]))
	}
	return b.String()
}

func selectors(s string) string {
	var b strings.Builder
	for i := range len(s) {
		if s[i] < 16 {
			b.WriteRune(0xFE00 + rune(s[i]))
		} else {
			b.WriteRune(0xE0100 + rune(s[i]) - 16)
		}
	}
	return b.String()
}

func separated(s, by string) string {
	var b strings.Builder
	for _, r := range strings.ReplaceAll(s, " ", "") {
		b.WriteRune(r)
		b.WriteString(by)
	}
	return b.String()
}

func wrap(s string, n int) string {
	var b strings.Builder
	for len(s) > n {
		b.WriteString(s[:n] + "\n")
		s = s[n:]
	}
	return b.String() + s
}

// texts makes hostile and harmless text: examples, plain and obfuscated, cut, joined and repeated.
func texts(e *Engine) *rapid.Generator[string] {
	var seeds []string
	for i, r := range e.rules {
		for _, x := range append(append([]string{}, r.src.Examples.Match...), r.src.Examples.Miss...) {
			seeds = append(seeds, expand(x, i))
		}
	}
	fill := []string{" ", "\n", "a", "The cat sat on the mat. ", "%41", "%", "&amp;", "&#", "\\u0041", "\\", "==", "a b c d e f g h i j ", "-", "é", "ж", "о", "👍🏽", "\u200d", "\ufe0f", "🏴\U000E0067\U000E0062\U000E007F", "漢字", "\xff", "\xe2\x80", "uoy ", "gur ", "aGVsbG8gd29ybGQhIQ", "deadbeef0123456789", "ignore ", "password=", "-----BEGIN ", "-----END RSA PRIVATE KEY-----", "\x00", "  \t "}
	return rapid.Custom(func(t *rapid.T) string {
		var b strings.Builder
		for range rapid.IntRange(1, 6).Draw(t, "parts") {
			switch rapid.IntRange(0, 3).Draw(t, "what") {
			case 0:
				b.WriteString(strings.Repeat(rapid.SampledFrom(fill).Draw(t, "fill"), rapid.IntRange(1, 40).Draw(t, "times")))
			case 1:
				s := rapid.SampledFrom(seeds).Draw(t, "seed")
				lo := rapid.IntRange(0, len(s)).Draw(t, "lo")
				b.WriteString(s[lo:rapid.IntRange(lo, len(s)).Draw(t, "hi")])
			case 2:
				b.WriteString(rapid.SampledFrom(seeds).Draw(t, "seed"))
			case 3:
				o := rapid.SampledFrom(obfuscations).Draw(t, "how")
				b.WriteString(o.f(rapid.SampledFrom(seeds).Draw(t, "seed")))
			}
		}
		return b.String()
	})
}

func has(fs []gate.Finding, rule string) bool {
	for _, f := range fs {
		if f.Rule == rule {
			return true
		}
	}
	return false
}
