package views

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"testing"
)

func fold(text []byte, cut int) (string, []Span) {
	var f Folder
	var t Text
	for len(text) > 0 {
		n := min(cut, len(text))
		f.Write(text[:n], &t)
		text = text[n:]
	}
	f.Close(&t)
	return string(t.Low), t.Src
}

func TestFold(t *testing.T) {
	for in, want := range map[string]string{
		"Hello  \t World":      "hello world",
		"a \n b":               "a\nb",
		"i\u200bg\u00adn":      "ign",
		"ｉｇｎｏｒｅ":               "ignore",
		"Crème":                "creme",
		"іgnоrе":               "ignore", // Cyrillic look-alikes in a Latin word
		"рано":                 "рано",   // a Russian word
		"𝐢𝐠𝐧 ⓘⓖ":               "ign ig",
		"👍\ufe0f ok":           "👍 ok",
		"ɪɢɴᴏʀᴇ “x”":           "ignore \"x\"",
		"a\x00b":               "ab",
		"\u202eabc\u202c":      "abc",
		"忽略 한국어":               "忽略 한국어",
		"i\u0301\u0336g\u0489": "ig",
	} {
		if got, _ := fold([]byte(in), 1<<20); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

// FuzzFolder: whatever the pieces, the same view with the same way back, inside the text and in order.
func FuzzFolder(f *testing.F) {
	f.Add([]byte("Hello  wörld і gnоrе \U000E0041 \xff\xe2\x80 ok"), 1)
	f.Add([]byte("а\n\nб рaр 👍\ufe0f \u200d x"), 3)
	f.Fuzz(func(t *testing.T, text []byte, cut int) {
		whole, src := fold(text, len(text)+1)
		pieces, src2 := fold(text, max(1, cut%16))
		if whole != pieces {
			t.Fatalf("%q: %q in pieces, %q whole", text, pieces, whole)
		}
		last := int32(0)
		for i := range src {
			if src[i] != src2[i] || src[i].S < last || src[i].E <= src[i].S || int(src[i].E) > len(text) {
				t.Fatalf("%q: span %d is %v and %v", text, i, src[i], src2[i])
			}
			last = src[i].S
		}
	})
}

func TestDecoders(t *testing.T) {
	plain := []byte("The quick brown fox, 42 times: äöü!")
	for _, e := range []*base64.Encoding{base64.StdEncoding, base64.RawStdEncoding, base64.URLEncoding, base64.RawURLEncoding} {
		if got := Base64(nil, []byte(e.EncodeToString(plain)), 0); !bytes.Equal(got, plain) {
			t.Errorf("base64: %q", got)
		}
	}
	if got, ok := Hex(nil, []byte(hex.EncodeToString(plain))); !ok || !bytes.Equal(got, plain) {
		t.Errorf("hex: %q", got)
	}
	for in, want := range map[string]string{
		"%41%c3%a9 %zz": "Aé %zz", "&#65;&#x42;&lt;&nope;": "AB<&nope;", `\u0041\x42\u{43}\q`: `ABC\q`, "100% sure &": "100% sure &",
	} {
		d := Unescape([]byte(in))
		if string(d.Bytes) != want || len(d.At) != len(d.Bytes)+1 {
			t.Errorf("%q: %q", in, d.Bytes)
		}
	}
	if got := Reverse(Reverse(plain).Bytes).Bytes; !bytes.Equal(got, plain) {
		t.Errorf("reversed twice: %q", got)
	}
	if got := ROT13(ROT13(plain).Bytes).Bytes; !bytes.Equal(got, plain) {
		t.Errorf("rotated twice: %q", got)
	}
	if Plausible([]byte{1, 2, 'a', 'b', 3, 'c'}, 3) || !Plausible([]byte("\x01abc"), 3) {
		t.Error("Plausible")
	}
}
