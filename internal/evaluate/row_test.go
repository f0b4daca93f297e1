package evaluate

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestParseRow(t *testing.T) {
	r, err := parseRow("dir/mine.jsonl.gz", 7, []byte(`{"id":"a","text":"héllo","label":"injection","channel":"tool","lang":"fr","family":"f","lic":"nc","dev_kind":"random","pair":"p","turns":[{"x":1}],"span":[0,2]}`))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ dimension, want string }{
		{"label", "injection"}, {"channel", "tool"}, {"lang", "fr"}, {"length", "<128 B"}, {"dev_kind", "random"}, {"source", "mine"}, {"family", "f"}, {"lic", "nc"}, {"class", "attack"},
	} {
		if got := r.value(c.dimension); got != c.want {
			t.Errorf("%s is %q, want %q", c.dimension, got, c.want)
		}
	}
	if r.ID != "a" || string(r.Text) != "héllo" || r.Pair != "p" || r.Line != 7 || r.Messages != nil {
		t.Errorf("%+v", r)
	}
	for id, want := range map[string]string{`5`: "5", `1e400`: "1e400", `"5"`: "5", `""`: ""} {
		if r, err := parseRow("f", 1, []byte(`{"id":`+id+`,"text":"","label":"benign"}`)); err != nil || r.ID != want {
			t.Errorf("%s: %v %v", id, r, err)
		}
	}
	r, err = parseRow("f", 1, []byte(`{"id":1,"text":null,"label":"jailbreak","lang":null,"messages":[{"role":"system","content":"one"},{"role":"user","content":[{"type":"text","text":"two"},{"type":"image_url","image_url":{"url":"no"}}]},{"role":"assistant","tool_calls":[{"function":{"name":"no","arguments":"{\"three\":3}"}}]}]}`))
	if err != nil || string(r.Text) != "one\ntwo\n{\"three\":3}" || r.value("channel") != "conversation" || r.value("lang") != "-" || !json.Valid(r.Messages) {
		t.Errorf("%+v %v", r, err)
	}
}

func TestClasses(t *testing.T) {
	for row, want := range map[string]Class{
		`"text":"x","label":"benign"`:                                              Negative,
		`"text":"x","label":"injection"`:                                           Positive,
		`"text":"x","label":"jailbreak","channel":"document"`:                      Positive,
		`"text":"x","label":"harmful_request"`:                                     Neutral,
		`"text":"x","label":"benign","channel":"system"`:                           Trusted,
		`"text":"x","label":"injection","channel":"developer"`:                     Trusted,
		`"messages":[{"role":"user","content":"x"}],"label":"benign"`:              Negative,
		`"messages":[],"label":"injection","channel":"system"`:                     Positive,
		`"text":"x","label":"benign","channel":"assistant","unknown":{"deep":[1]}`: Negative,
	} {
		if r, err := parseRow("f", 1, []byte(`{"id":1,`+row+`}`)); err != nil || r.Class() != want {
			t.Errorf("%s: %v %v", row, r, err)
		}
	}
}

var badLines = []string{
	`nonsense`, `[]`, `"text"`, `5`, `null`, `{}`, `{"id":1,"text":"x"}`, `{"text":"x","label":"benign"}`, `{"id":null,"text":"x","label":"benign"}`,
	`{"id":{},"text":"x","label":"benign"}`, `{"id":true,"text":"x","label":"benign"}`, `{"id":1,"label":"benign"}`, `{"id":1,"text":5,"label":"benign"}`,
	`{"id":1,"text":"x","messages":[],"label":"benign"}`, `{"id":1,"messages":"x","label":"benign"}`, `{"id":1,"messages":{},"label":"benign"}`,
	`{"id":1,"text":"x","label":"evil hostile"}`, `{"id":1,"text":"x","label":["benign"]}`, `{"id":1,"text":"x","label":"benign","channel":"hostile"}`,
	`{"id":1,"text":"x","label":"benign","lang":{"hostile":1}}`, `{"id":1,"id":2,"text":"x","label":"benign"}`, `{"id":1,"text":"hostile","te\u0078t":"y","label":"benign"}`,
	`{"id":1,"hostile":1,"hostile":2,"text":"x","label":"benign"}`, `{"id":1,"text":"hostile`, `{"id":1,"text":"x","label":"benign"} {"hostile":2}`,
	"{\"id\":1,\"text\":\"hostile\xff\",\"label\":\"benign\"}", `{"id":1,"text":"\ud800 hostile","label":"benign"}`, "\xef\xbb\xbf{\"id\":1,\"text\":\"x\",\"label\":\"benign\"}",
	`{"id":01,"text":"x","label":"benign"}`, strings.Repeat("[", 20000),
}

func TestBadLinesAreNamedWithoutTheirText(t *testing.T) {
	for _, b := range badLines {
		r, err := parseRow("f", 1, []byte(b))
		if err == nil {
			t.Errorf("%.80q gave %+v", b, r)
		} else if strings.Contains(err.Error(), "hostile") {
			t.Errorf("%.80q: %v", b, err)
		}
	}
}

func FuzzRow(f *testing.F) {
	f.Add([]byte(`{"id":1,"text":"hello","label":"benign"}`))
	f.Add([]byte(`{"id":"a","messages":[{"role":"user","content":[{"type":"text","text":"hi"}]}],"label":"jailbreak","pair":"p"}`))
	f.Add([]byte(`{"id":"a","text":"\ud83d\ude00","label":"injection","channel":"tool","source":"\u202e"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := parseRow("f", 1, b)
		if err != nil {
			return
		}
		if !json.Valid(b) {
			t.Fatalf("%q is not JSON", b)
		}
		for _, d := range dimensions {
			v := r.value(d)
			if v == "" || len(v) > maxValue+3 {
				t.Fatalf("%s of %q is %q", d, b, v)
			}
			for _, c := range Plain(Readable(v)) {
				if c < ' ' || c > '~' {
					t.Fatalf("%q on a terminal", v)
				}
			}
		}
	})
}

func TestFilter(t *testing.T) {
	row, err := parseRow("f", 1, []byte(`{"id":1,"text":"x","label":"injection","channel":"tool","lang":"en","source":"web_a","family":"x*y"}`))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		specs []string
		want  bool
	}{
		{nil, true},
		{[]string{"source=web_a"}, true},
		{[]string{"source=web_b"}, false},
		{[]string{"source=web_b,web_a"}, true},
		{[]string{"source=web_b", "source=web_a"}, true},
		{[]string{"source=web_a,lang=de"}, false},
		{[]string{"source=web_a", "lang=en"}, true},
		{[]string{"source=web_*"}, true},
		{[]string{"source=*a"}, true},
		{[]string{"source=*eb*"}, true},
		{[]string{"source=*"}, true},
		{[]string{"source=*b_*b*"}, false},
		{[]string{"channel!=user"}, true},
		{[]string{"channel!=user,tool"}, false},
		{[]string{"label=injection,label!=injection"}, false},
		{[]string{"dev_kind=-"}, true},
		{[]string{"class=attack"}, true},
	} {
		f, err := ParseFilter(c.specs)
		if err != nil || f.Match(row) != c.want {
			t.Errorf("%q: %v, want %v", c.specs, err, c.want)
		}
		again, err := ParseFilter([]string{f.String()})
		if !f.Empty() && (err != nil || again.Match(row) != c.want || again.String() != f.String()) {
			t.Errorf("%q is %q: %v", c.specs, f, err)
		}
	}
	for _, bad := range []string{"", "source", "text=x", "=x", "a,source=b"} {
		if _, err := ParseFilter([]string{bad}); err == nil {
			t.Errorf("%q: accepted", bad)
		}
	}
}

func TestShown(t *testing.T) {
	for _, c := range []struct{ in, readable, plain string }{
		{"plain", "plain", "plain"},
		{"a\x1b[31mb", `a\x1b[31mb`, `a\x1b[31mb`},
		{"a\u202eb", `a\u202eb`, `a\u202eb`},
		{"héllo 你好", "héllo 你好", `h\u00e9llo \u4f60\u597d`},
		{"a\u0301\u00ad\u200d\ufeff", `a\u0301\u00ad\u200d\ufeff`, `a\u0301\u00ad\u200d\ufeff`},
		{"\U000e0041", `\U000e0041`, `\U000e0041`},
		{"\u3164\u00a0", `\u3164\u00a0`, `\u3164\u00a0`},
		{"\xff\r\n\t", `\xff\r\n\t`, `\xff\r\n\t`},
		{`q"\`, `q"\\`, `q"\\`},
		{"\u009b1m\x7f", `\u009b1m\x7f`, `\u009b1m\x7f`},
	} {
		if got := Readable(c.in); got != c.readable {
			t.Errorf("Readable(%q) = %q, want %q", c.in, got, c.readable)
		}
		if got := Plain(Readable(c.in)); got != c.plain {
			t.Errorf("Plain(Readable(%q)) = %q, want %q", c.in, got, c.plain)
		}
	}
	if got := Plain("\x1b\u202e"); got != `\x1b\u202e` {
		t.Errorf("%q", got)
	}
	if n := len([]rune(excerpt([]byte(strings.Repeat("你", 1000))))); n != excerptRunes {
		t.Errorf("an excerpt of %d runes", n)
	}
}
