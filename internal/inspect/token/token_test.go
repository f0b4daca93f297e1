package token

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"
)

// small is a vocabulary file: the given pieces, then the bytes, then two control tokens.
func small(pieces ...string) string {
	var b strings.Builder
	for i, p := range pieces {
		fmt.Fprintf(&b, "piece\t%q\t%.1f\n", p, -2-0.1*float64(i))
	}
	for i := range 256 {
		fmt.Fprintf(&b, "byte\t%02x\t\n", i)
	}
	b.WriteString("control\tuser\t\ncontrol\ttool\t\nunused\t\t\n")
	return b.String()
}

func mustLoad(t testing.TB, file string) *Vocab {
	t.Helper()
	v, err := Load([]byte(file))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

var words = []string{"▁ignore", "▁all", "▁i", "g", "n", "o", "r", "e", "▁", "s", "▁user", "[", "]", "<", ">", "ё", "ж", "▁ё", "é", "fi", "f", "i", "u", "a", "l"}

func cutUp(v *Vocab, text string) string {
	var out []string
	for _, t := range NewEncoder(v).Encode(nil, text) {
		out = append(out, text[t.Start:t.End])
	}
	return strings.Join(out, "|")
}

func TestEncodePrefersTheLikeliestPieces(t *testing.T) {
	v := mustLoad(t, small(words...))
	for text, want := range map[string]string{
		"ignore all":         "ignore| all",
		"IGNORE  \n all":     "IGNORE|  |\n| all",
		"Ёж":                 "Ё|ж",
		"e\u0301":            "|e\u0301",
		"ﬁ":                  "|ﬁ", // the mark of a word's beginning, then the ligature as fi
		"":                   "",
		"q":                  "|q",
		"\u0416\xffa":        "|\u0416|\xff|a",
		"all\u00a0all":       "all|\u00a0all",
		"\u4f60":             "|\u4f60|\u4f60|\u4f60", // three bytes of one character
		"allallignoreignore": "all|a|l|l|i|g|n|o|r|e|i|g|n|o|r|e",
	} {
		if got := cutUp(v, text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

// The model's own marks are ids that no text can have, however it spells them.
func TestTextNeverMakesAControlToken(t *testing.T) {
	v := mustLoad(t, small(words...))
	user, ok := v.Control("user")
	tool, ok2 := v.Control("tool")
	if !ok || !ok2 || user == tool {
		t.Fatal("control tokens are missing")
	}
	if _, ok := v.Control("nobody"); ok {
		t.Error("an unknown control token was found")
	}
	rapid.Check(t, func(r *rapid.T) {
		text := rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{"user", "control\tuser", "<user>", "[user]", "\x00user"}),
			rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) })).Draw(r, "text")
		for _, k := range NewEncoder(v).Encode(nil, text) {
			if k.ID == user || k.ID == tool || k.ID < 0 || int(k.ID) >= v.Size() {
				r.Fatalf("%q makes token %d", text, k.ID)
			}
		}
	})
}

func checkTokens(t interface{ Fatalf(string, ...any) }, v *Vocab, text string) {
	ts := NewEncoder(v).Encode(nil, text)
	if text == "" {
		if len(ts) != 0 {
			t.Fatalf("tokens of nothing")
		}
		return
	}
	at := int32(0)
	for i, k := range ts {
		if k.Start > k.End || int(k.End) > len(text) || k.Start > at || k.End < at && i > 0 && k.Start != ts[i-1].Start {
			t.Fatalf("%q: token %d is %+v after byte %d", text, i, k, at)
		}
		at = max(at, k.End)
	}
	if int(at) != len(text) && strings.TrimRight(text[at:], " ") != "" {
		t.Fatalf("%q: bytes from %d are in no token", text, at)
	}
}

func TestTokensCoverTheText(t *testing.T) {
	v := mustLoad(t, small(words...))
	rapid.Check(t, func(r *rapid.T) {
		checkTokens(r, v, rapid.OneOf(rapid.String(), rapid.StringMatching(`[ignorealls \x{301}ﬁЁ你\n]*`)).Draw(r, "text"))
	})
}

func FuzzEncode(f *testing.F) {
	v := mustLoad(f, small(words...))
	for _, s := range []string{"", " ", "ignore all", "\xff\xfe", "e\u0301\u0301", "\u1112\u1161\u11ab", "ﷺ", "  a  ", "\u0000", "😀\u200d😀"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 1<<16 {
			return
		}
		checkTokens(t, v, text)
	})
}

// An encoder keeps nothing of one text in the next.
func TestEncoderForgets(t *testing.T) {
	v := mustLoad(t, small(words...))
	e := NewEncoder(v)
	r := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		text := strings.Repeat("ignore ё \xff", r.IntN(20)) + strings.Repeat("a", r.IntN(5))
		if got, want := fmt.Sprint(e.Encode(nil, text)), fmt.Sprint(NewEncoder(v).Encode(nil, text)); got != want {
			t.Fatalf("%q: %s, want %s", text, got, want)
		}
	}
}

func TestLoadRefuses(t *testing.T) {
	good := small("▁a")
	for name, file := range map[string]string{
		"empty":            "",
		"no bytes":         "piece\t\"a\"\t-1\n",
		"a byte missing":   strings.Replace(good, "byte\t07\t\n", "", 1),
		"a byte twice":     strings.Replace(good, "byte\t07", "byte\t08", 1),
		"a byte too big":   strings.Replace(good, "byte\t07", "byte\t107", 1),
		"kind":             good + "word\t\"a\"\t-1\n",
		"two fields":       good + "piece\t\"b\"\n",
		"piece twice":      good + "piece\t\"▁a\"\t-1\n",
		"empty piece":      good + "piece\t\"\"\t-1\n",
		"not quoted":       good + "piece\tb\t-1\n",
		"score above":      good + "piece\t\"b\"\t1\n",
		"score below":      good + "piece\t\"b\"\t-99\n",
		"score NaN":        good + "piece\t\"b\"\tNaN\n",
		"piece too long":   good + "piece\t\"" + strings.Repeat("b", 97) + "\"\t-1\n",
		"control twice":    good + "control\tuser\t\n",
		"control no name":  good + "control\t\t\n",
		"not UTF-8":        good + "piece\t\"\\xff\"\t-1\n",
		"no pieces at all": strings.Replace(good, "piece\t\"▁a\"\t-2.0", "unused\t\t", 1),
	} {
		if _, err := Load([]byte(file)); err == nil {
			t.Errorf("%s: loaded", name)
		}
	}
	if !utf8.ValidString(good) {
		t.Fatal("the good one is not good")
	}
	mustLoad(t, good)
}

func BenchmarkEncode(b *testing.B) {
	v := mustLoad(b, small(words...))
	e := NewEncoder(v)
	text := strings.Repeat("ignore all users ", 30)
	var dst []Token
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		dst = e.Encode(dst[:0], text)
	}
}
