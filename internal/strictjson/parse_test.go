package strictjson

import (
	"bytes"
	v1 "encoding/json"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
)

func TestRefused(t *testing.T) {
	for in, want := range map[string]Code{
		``: UnexpectedEnd, ` `: UnexpectedEnd, `{`: UnexpectedEnd, `[1,]`: Syntax, `{"a":1,}`: Syntax, `{a:1}`: Syntax,
		`{"a":1,"a":2}`: Duplicate, `{"a":1,"\u0061":2}`: Duplicate, `{"x":{"y":[{"k":1,"k":1}]}}`: Duplicate,
		"\xef\xbb\xbf{}": ByteOrder, `{} {}`: Trailing, `{}x`: Trailing, `1 2`: Trailing, `{}//c`: Trailing, "{}\x00": Trailing,
		"\"\xff\"": BadUTF8, "\"\xc0\xaf\"": BadUTF8, "\"\xed\xa0\x80\"": BadUTF8, "{\"\xff\":1}": BadUTF8,
		`"\ud800"`: Surrogate, `"\udc00"`: Surrogate, `"\ud800\u0041"`: Surrogate, `"\ud83dx"`: Surrogate,
		"\"a\nb\"": ControlChar, "\"a\x00b\"": ControlChar, "\"abcdefgh\x1f\"": ControlChar,
		`NaN`: Syntax, `Infinity`: Syntax, `'a'`: Syntax, `01`: Trailing, `-`: UnexpectedEnd, `1.`: UnexpectedEnd, `.5`: Syntax, `+1`: Syntax, `1e`: UnexpectedEnd, `0x1`: Trailing,
		`"\x41"`: Syntax, `"\u12g4"`: Syntax, `"abc`: UnexpectedEnd, `"abc\`: UnexpectedEnd, `[1 2]`: Syntax, `{"a" 1}`: Syntax, `]`: Syntax, `[}`: Syntax, `{"a":[}`: Syntax, `tru`: UnexpectedEnd,
		strings.Repeat("[", 201) + strings.Repeat("]", 201): TooDeep, strings.Repeat("9", 2000): TooLong,
	} {
		_, err := Parse([]byte(in), Limits{})
		var e *Error
		if !errors.As(err, &e) {
			t.Errorf("%.40q was accepted", in)
		} else if e.Code != want && !(want == UnexpectedEnd && e.Code == Syntax) {
			t.Errorf("%.40q: %s, want %s", in, e.Code, want)
		}
	}
}

func TestLargeObjectsAndLimits(t *testing.T) {
	var b strings.Builder
	b.WriteByte('{')
	for i := range 2000 {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(`"k` + strings.Repeat("x", i%7) + string(rune('a'+i%26)) + string(v1.Number(strings.Repeat("1", 1+i%3))) + `_` + strings.Repeat("z", i/26) + `":1`)
	}
	good := b.String() + "}"
	if _, err := Parse([]byte(good), Limits{}); err != nil {
		t.Fatal(err)
	}
	first := good[1:strings.Index(good, ":")]
	if _, err := Parse([]byte(b.String()+","+first+":2}"), Limits{}); err == nil {
		t.Fatal("a duplicate among many was accepted")
	}
	if _, err := Parse([]byte(`[1,2,3]`), Limits{Nodes: 3}); err == nil {
		t.Fatal("too many values were accepted")
	}
}

func TestAccess(t *testing.T) {
	d, err := Parse([]byte(` {"a\u0062":[1,{"c":"x\ny \ud83c\udf31z"}],"d":null} `), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	ab := d.Get(Root, "ab")
	c := d.Get(int(d.Nodes[ab+1].Next), "c")
	if got := d.Str(c); got != "x\ny 🌱z" {
		t.Fatalf("got %q", got)
	}
	s, e := d.Inside(c)
	in := d.Raw[s:e]
	for off, want := range map[int]int{0: 0, 1: 1, 2: 3, 4: 5, 5: 5, 8: 17, 9: 18} {
		if got := RawOffset(in, off); got != want {
			t.Errorf("offset %d is raw %d, want %d", off, got, want)
		}
	}
	if d.Get(Root, "zz") != -1 || d.Get(c, "a") != -1 || d.Text(ab) != nil {
		t.Error("what is not there was found")
	}
	if Fold([]byte("meſſages")) != Fold([]byte("MESSAGES")) || Fold([]byte("toKens")) != Fold([]byte("tokens")) || Fold([]byte("a")) == Fold([]byte("b")) {
		t.Error("folding")
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{`{}`, `[1,-2.5e+3,"a\u00e9\ud83d\ude00\\"]`, `{"a":{"b":[true,false,null]},"\u0062":"x"}`, `{"a":1,"a":2}`, "\"\xff\"", `"\ud800"`, ` [ ] x`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		d, err := Parse(in, Limits{})
		if err != nil {
			return
		}
		if !v1.Valid(in) {
			t.Fatalf("encoding/json refuses %q", in)
		}
		// The stricter oracle reads the same strings, names and order.
		dec := jsontext.NewDecoder(bytes.NewReader(in))
		var want, got []string
		for {
			tok, err := dec.ReadToken()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatalf("jsontext refuses %q: %v", in, err)
			}
			if tok.Kind() == '"' {
				want = append(want, tok.String())
			}
		}
		for i, n := range d.Nodes {
			if n.KeyAt >= 0 {
				got = append(got, string(d.Key(i)))
			}
			if n.Kind == String {
				got = append(got, d.Str(i))
				s, e := d.Inside(i)
				if RawOffset(d.Raw[s:e], len(d.Text(i))) != e-s {
					t.Fatalf("offsets of %q", d.Raw[s:e])
				}
			}
		}
		if strings.Join(want, "\x00") != strings.Join(got, "\x00") || len(want) != len(got) {
			t.Fatalf("%q: strings %q, want %q", in, got, want)
		}
	})
}

func BenchmarkParse(b *testing.B) {
	in := []byte(`{"model":"gpt-4o","temperature":0.7,"messages":[{"role":"system","content":"` + strings.Repeat("You are a helpful assistant. ", 15) + `"},{"role":"user","content":"` + strings.Repeat("What grows in spring? ", 20) + `"}]}`)
	b.SetBytes(int64(len(in)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Parse(in, Limits{}); err != nil {
			b.Fatal(err)
		}
	}
}
