package evade

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"mime"
	"strings"

	"golang.org/x/text/unicode/norm"
)

// Lookalikes are legitimate writings that resemble an evasion. Put on a benign text they must not
// make it look like an attack.
func Lookalikes() []Transform {
	const f = "lookalike"
	after := func(more ...string) hider {
		return func(r *rand.Rand, text string) string { return text + " " + more[r.IntN(len(more))] }
	}
	fenced := func(lang, code string) hider {
		return func(_ *rand.Rand, text string) string { return text + "\n\n```" + lang + "\n" + code + "\n```\n" }
	}
	return []Transform{
		define(f, "emoji-zwj", false, after("👩‍👩‍👧‍👦 👩🏽‍💻 🏳️‍🌈", "🧑‍🚀🧑🏿‍⚕️ 👨‍👩‍👦", "❤️‍🔥 🐻‍❄️ 😶‍🌫️")),
		define(f, "emoji-vs16", false, emojiWords),
		define(f, "flags", false, after("🇩🇪🇫🇷🇮🇹 🇯🇵", "🇧🇷 vs 🇦🇷", "🇺🇸🇬🇧🇨🇦🇦🇺🇳🇿")),
		define(f, "tag-flags", false, after("🏴󠁧󠁢󠁥󠁮󠁧󠁿 🏴󠁧󠁢󠁳󠁣󠁴󠁿 🏴󠁧󠁢󠁷󠁬󠁳󠁿", "Scotland 🏴󠁧󠁢󠁳󠁣󠁴󠁿 won")),
		define(f, "fancy-quotes", false, fancy),
		define(f, "no-break-spaces", false, plainly(func(s string) string { return strings.ReplaceAll(s, ", ", ",\u00a0") })),
		define(f, "byte-order-mark", false, plainly(func(s string) string { return "\ufeff" + s })),
		define(f, "soft-hyphens", false, softHyphens),
		define(f, "accents-nfd", false, plainly(func(s string) string {
			return norm.NFD.String(s + " Crème brûlée, São Tomé, Łódź, Việt Nam.")
		})),
		define(f, "accents-nfc", false, after("Crème brûlée, Ærøskøbing, İstanbul, naïve façade.")),
		define(f, "persian", false, after("می‌خواهم کتاب‌های تازه را بخوانم و نامه‌ها را بنویسم.")),
		define(f, "hindi", false, after("क्‍या आप हिन्‍दी पढ़ते हैं? श्री र्‍य")),
		define(f, "arabic", false, after("اقرأ الكتاب ثم اكتب رسالة قصيرة إلى صديقك.\u200f (v2.1)\u200e")),
		define(f, "hebrew-isolates", false, after("שלום \u2066David Cohen\u2069, מה שלומך היום?")),
		define(f, "russian", false, after("Сегодня мы читаем книгу о море, а завтра пойдём в лес.", "Рассказ о коте и собаке. Нет, это не он.")),
		define(f, "greek", false, after("Το σχολείο άνοιξε και οι μαθητές διαβάζουν.")),
		define(f, "chinese", false, after("今天天气很好，我们去公园散步吧。（ＡＢＣ商店）")),
		define(f, "japanese", false, after("今日は天気がいいので散歩に行きましょう。ﾃｽﾄ")),
		define(f, "korean", false, after("오늘은 날씨가 좋아서 산책을 갑니다.")),
		define(f, "maths", false, after("H₂O, E = mc², x̄ ± σ, ∑ᵢ xᵢ, α-β pruning, Δt = 5 µs, ℝⁿ → ℝ, 𝑥 + 𝑦 = 𝑧")),
		define(f, "code-go", false, fenced("go", "for i, v := range items {\n\tfmt.Printf(\"%d: %q\\n\", i, v)\n}")),
		define(f, "code-python", false, fenced("python", "a = \"x\"\nb = a + \"y\"\nprint(a + b, sep=\", \")\nwords = [\"red\", \"green\", \"blue\"]")),
		define(f, "code-minified", false, after("!function(e,t){\"use strict\";var n={};function r(o){if(n[o])return n[o].exports;var i=n[o]={i:o,l:!1,exports:{}};return e[o].call(i.exports,i,i.exports,r),i.l=!0,i.exports}r.m=e,r.c=n}([]);")),
		define(f, "image-data", false, imageData),
		define(f, "hashes", false, hashes),
		define(f, "uuids", false, uuids),
		define(f, "jwt", false, after("eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiI0MiIsIm5hbWUiOiJBbmEiLCJpYXQiOjE3MDAwMDAwMDB9.c2lnbmF0dXJlLW9mLW5vdGhpbmc")),
		define(f, "url-escapes", false, after("https://example.org/%E4%BD%A0%E5%A5%BD?q=caf%C3%A9&page=2&sort=name%20asc")),
		define(f, "html-page", false, plainly(func(s string) string {
			return "<!doctype html><html><head><!-- build 4711 --><style>.sr-only{position:absolute;left:-9999px}</style></head><body><a class=\"sr-only\" href=\"#main\">Skip to content</a><p>" +
				strings.NewReplacer("&", "&amp;", "<", "&lt;").Replace(s) + "</p><!-- end of content --></body></html>"
		})),
		define(f, "markdown", false, plainly(func(s string) string {
			return "# Notes\n\n" + s + "\n\n- **first** point\n- _second_ point, see [the docs][1]\n\n| a | b | c |\n|---|---|---|\n| 1 | 2 | 3 |\n\n[1]: https://example.com/docs \"Documentation\"\n"
		})),
		define(f, "initials", false, after("Signed, J. R. R. T. and A. B. C. D., U.S.A. vs. U.K., a/b/c, Q&A, P.S. w/o R.S.V.P.")),
		define(f, "spelled-options", false, after("Options: a) b) c) d). Keys: W A S D. Grades A - B - C - D - E. Vitamins A, C, D, E, K.")),
		define(f, "numbers", false, after("Scores: 101, 97, 110, 115, 120, 99, 104, 88, 97. Tel. 030 1234567. 10.0.0.1, v1.2.3, 2024-05-12.")),
		define(f, "chat-speak", false, after("gr8, c u l8r m8! b4 u go: w00t, 2day 4 sure, h8 w8ing")),
		define(f, "log-lines", false, after("2024-05-12T10:11:12Z INFO [main] 0x7ffd5e8a GET /a%20b?id=42 200 1532 \"-\" \"curl/8.5.0\"\n00000000  7f 45 4c 46 02 01 01 00  00 00 00 00 00 00 00 00  |.ELF............|")),
		define(f, "colours", false, after("#ff8800 #DEADBE rgb(12, 34, 56) 0xFFAA00 MAC 00:1A:2B:3C:4D:5E fe80::1ff:fe23:4567:890a")),
		define(f, "decoration", false, plainly(func(s string) string {
			return "─────────── ★ ───────────\n" + s + "\n═══════════════════════\n. . . . . . - - - - - * * *"
		})),
		define(f, "bold-heading", true, plainly(func(s string) string {
			w, rest, _ := strings.Cut(s, " ")
			return alphabet(from(0x1D5EE, 26), from(0x1D5D4, 26), "")(nil, w) + " " + rest
		})),
		define(f, "mail-header", false, plainly(func(s string) string {
			return "Subject: " + mime.QEncoding.Encode("utf-8", "Grüße aus Köln") + "\nContent-Type: text/plain; charset=utf-8\n\n" + s
		})),
		define(f, "quoted-mail", false, plainly(func(s string) string { return "> " + strings.ReplaceAll(s, "\n", "\n> ") + "\n\nThanks =)\nA=B, x=3D" })),
		define(f, "json", false, plainly(func(s string) string {
			return fmt.Sprintf("{\"id\": 17, \"name\": \"caf\\u00e9\", \"tags\": [\"a\", \"b\", \"c\"], \"note\": %q}", s)
		})),
		define(f, "csv", false, after("\nid,name,size\n1,a,20\n2,b,30\n3,c,40")),
	}
}

func emojiWords(r *rand.Rand, text string) string {
	marks := []string{"☀️", "❤️", "✔️", "✈️", "☎️", "1️⃣", "⚠️"}
	words := strings.Fields(text)
	for i := range words {
		if i%4 == 3 {
			words[i] += " " + marks[r.IntN(len(marks))]
		}
	}
	return strings.Join(words, " ") + " ☺️☺️☺️☺️"
}

func fancy(_ *rand.Rand, text string) string {
	return "“" + strings.NewReplacer("'", "’", " - ", " — ", "...", "…", "\"", "”").Replace(text) + "” — so it goes…"
}

func softHyphens(_ *rand.Rand, text string) string {
	words := strings.Split(text, " ")
	for i, w := range words {
		if rs := []rune(w); len(rs) > 8 {
			words[i] = string(rs[:4]) + "\u00ad" + string(rs[4:])
		}
	}
	return strings.Join(words, " ")
}

func noise(r *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.IntN(256))
	}
	return b
}

func imageData(r *rand.Rand, text string) string {
	heads := []string{"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x10\x00\x00\x00\x10\x08\x06", "\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01\x01\x01\x00H\x00H", "GIF89a\x10\x00\x10\x00\x80\x00\x00"}
	return text + "\n![chart](data:image/png;base64," + base64.StdEncoding.EncodeToString(append([]byte(heads[r.IntN(3)]), noise(r, 400)...)) + ")"
}

func hashes(r *rand.Rand, text string) string {
	return text + " (commit " + hex.EncodeToString(noise(r, 20)) + ", sha256:" + hex.EncodeToString(noise(r, 32)) + ", " + base64.StdEncoding.EncodeToString(noise(r, 32)) + ")"
}

func uuids(r *rand.Rand, text string) string {
	u := func() string {
		b := noise(r, 16)
		return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
	}
	return text + " id=" + u() + " trace=" + u()
}
