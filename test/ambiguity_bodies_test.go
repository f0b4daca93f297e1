package test

import (
	"bytes"
	"compress/flate"
	"compress/zlib"
	"fmt"
	"net/http"
	"strings"
	"unicode/utf16"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"
)

// lie is one body and what is said about it. A plain lie is bare JSON under application/json: it is
// also read by every reader of TestAmbiguousBodies.
type lie struct {
	name   string
	types  []string // Content-Type lines; nil: one application/json
	coding []string // Content-Encoding lines
	body   []byte
	passes bool // unusual, but read alike by all
}

func (l lie) plain() bool { return l.types == nil && l.coding == nil }

// surface is an endpoint with its names for the turns and for the operator's words.
type surface struct {
	target, turns string
	header        http.Header
}

var surfaces = []surface{
	{"/v1/chat/completions", "messages", nil},
	{"/v1/responses", "input", nil},
	{"/v1/messages", "messages", http.Header{"Anthropic-Version": {"2023-06-01"}, "X-Api-Key": {"sk-test"}}},
}

// with is a good body of the surface with more members and another content.
func (s surface) with(more, content string) string {
	return `{"model":"m","max_tokens":9,"stream":false,"` + s.turns + `":[{"role":"user","content":` + content + `}],"tools":[]` + more + `}`
}

func escapeAt(name string, at int) string {
	return name[:at] + fmt.Sprintf(`\u%04x`, name[at]) + name[at+1:]
}

// lies makes the bodies that two readers could take for different requests.
func lies(s surface) []lie {
	var out []lie
	add := func(name, body string) { out = append(out, lie{name: name, body: []byte(body)}) }
	const hi = `"hi"`
	ok := s.with("", hi)
	values := map[string]string{"model": `"other"`, s.turns: `[{"role":"user","content":"other"}]`, "tools": `[{"name":"other"}]`, "stream": "true"}
	for n, v := range values {
		twins := map[string]string{"twice": n, "upper": strings.ToUpper(n), "title": strings.ToUpper(n[:1]) + n[1:], "last": n[:len(n)-1] + strings.ToUpper(n[len(n)-1:])}
		for at := range n {
			twins[fmt.Sprint("escaped ", at)] = escapeAt(n, at)
		}
		if strings.Contains(n, "s") {
			twins["long s"] = strings.Replace(n, "s", "\u017f", 1)
			twins["long s escaped"] = strings.Replace(n, "s", `\u017f`, 1)
		}
		for how, twin := range twins {
			add(n+" "+how+" after", s.with(`,"`+twin+`":`+v, hi))
			add(n+" "+how+" before", `{"`+twin+`":`+v+","+ok[1:])
			if how != "twice" && !strings.HasPrefix(how, "escaped") { // alone, those are the name itself
				add(n+" "+how+" alone", strings.Replace(ok, `"`+n+`":`, `"`+twin+`":`, 1))
			}
		}
	}
	for _, n := range []string{"role", "content", "type", "text"} {
		for how, twin := range map[string]string{"twice": n, "escaped": escapeAt(n, 1), "case": strings.ToUpper(n[:1]) + n[1:]} {
			pair := fmt.Sprintf(`{%q:"a","%s":"b"}`, n, twin)
			add(n+" "+how+" in a turn", strings.Replace(ok, `{"role":"user","content":"hi"}`, pair, 1))
			add(n+" "+how+" in a part", s.with("", "["+pair+"]"))
			add(n+" "+how+" in a result", s.with("", `[{"type":"tool_result","content":[`+pair+`]}]`))
			if how != "case" { // a schema may well hold twins that differ in case
				add(n+" "+how+" in a schema", strings.Replace(ok, `"tools":[]`, `"tools":[{"name":"f","input_schema":`+pair+`}]`, 1))
			}
		}
	}
	for name, bad := range map[string]string{
		"ff": "\xff", "overlong": "\xc0\xaf", "overlong 3": "\xe0\x80\xaf", "overlong 4": "\xf0\x80\x80\xaf", "CESU": "\xed\xa0\xbd\xed\xb8\x80",
		"cut": "\xe2\x82", "above": "\xf4\x90\x80\x80", "alone": "\x80", "latin-1": "caf\xe9", "newline": "a\nb", "NUL": "a\x00b", "tab": "a\tb", "unit": "\x1f",
		"high": `\ud800`, "low": `\udc00`, "reversed": `\udc00\ud800`, "two high": `\ud800\ud800`, "half": `\ud83dx`, "hex escape": `\x41`, "octal": `\101`, "short": `\u12`, "quote": `\'`,
	} {
		add("content "+name, s.with("", `"`+bad+`"`))
		add("name "+name, s.with(`,"`+bad+`":1`, hi))
		add("model name "+name, s.with(`,"model`+bad+`":"other"`, hi))
	}
	le, be := []byte{}, []byte{}
	for _, u := range utf16.Encode([]rune(ok)) {
		le, be = append(le, byte(u), byte(u>>8)), append(be, byte(u>>8), byte(u))
	}
	for name, b := range map[string]string{
		"BOM": "\xef\xbb\xbf" + ok, "UTF-16 LE": string(le), "UTF-16 BE": string(be), "UTF-16 LE BOM": "\xff\xfe" + string(le), "UTF-16 BE BOM": "\xfe\xff" + string(be),
		"two values": ok + s.with(`,"n":2`, hi), "NDJSON": ok + "\n" + ok + "\n", "garbage": ok + "x", "NUL after": ok + "\x00", "comma after": ok + ",", "brace after": ok + "}", "line comment": ok + "//x",
		"comment": strings.Replace(ok, ",", ",/*x*/", 1), "hash": "#x\n" + ok, "guard": ")]}'\n" + ok, "trailing comma": ok[:len(ok)-1] + ",}", "array comma": strings.Replace(ok, "[]", "[1,]", 1),
		"NaN": s.with(`,"top_p":NaN`, hi), "Infinity": s.with(`,"top_p":-Infinity`, hi), "hex": s.with(`,"n":0x1`, hi), "plus": s.with(`,"n":+1`, hi), "leading zero": s.with(`,"n":01`, hi), "open fraction": s.with(`,"n":1.`, hi), "no digit": s.with(`,"n":.5`, hi),
		"single quotes": strings.ReplaceAll(ok, `"`, `'`), "bare name": `{model:"m"}`, "True": s.with(`,"x":True`, hi), "undefined": s.with(`,"x":undefined`, hi), "cut off": ok[:len(ok)-1],
		"form feed": "\f" + ok, "no-break space": "\u00a0" + ok, "line separator": "\u2028" + ok, "semicolon": `{"a":1;"b":2}`, "string": `"hello"`, "number": `1`, "null": `null`, "text": `hello`, "only spaces": "  ",
		"deep 250": s.with(`,"x":`+strings.Repeat("[", 250)+strings.Repeat("]", 250), hi), "deep 50000": s.with(`,"x":`+strings.Repeat(`{"a":`, 50000)+"1"+strings.Repeat("}", 50000), hi),
		"5000 digits": s.with(`,"n":`+strings.Repeat("9", 5000), hi), "a name of 70 KiB": s.with(`,"`+strings.Repeat("k", 70<<10)+`":1`, hi),
	} {
		add(name, b)
	}
	return append(append(out, typeLies(ok)...), codingLies(ok)...)
}

// typeLies are good bodies under a Content-Type that says something else.
func typeLies(ok string) []lie {
	var out []lie
	for name, types := range map[string][]string{
		"no type": {}, "text/plain": {"text/plain"}, "text/html": {"text/html"}, "octets": {"application/octet-stream"}, "form": {"application/x-www-form-urlencoded"}, "lines": {"application/x-ndjson"},
		"xml": {"application/xml"}, "list of types": {"application/json, text/plain"}, "two types": {"application/json", "text/plain"}, "same type twice": {"application/json", "application/json"},
		"charset utf-16": {"application/json; charset=utf-16"}, "charset utf-7": {"application/json; charset=utf-7"}, "charset latin1": {"application/json; charset=iso-8859-1"},
		"malformed": {"nonsense;;"}, "open parameter": {"application/json; charset"}, "charset twice": {"application/json; charset=utf-8; charset=utf-16"}, "multipart": {"multipart/form-data; boundary=b"}, "multipart, no boundary": {"multipart/form-data"},
	} {
		out = append(out, lie{name: "under " + name, types: types, body: []byte(ok)})
	}
	return append(out, lie{name: "BOM under text/plain", types: []string{"text/plain"}, body: []byte("\xef\xbb\xbf" + ok)})
}

// codingLies are bodies that are not what their Content-Encoding says, or hide a lie in one.
func codingLies(ok string) []lie {
	gz := gzipped(ok)
	var raw bytes.Buffer
	fw, _ := flate.NewWriter(&raw, 9)
	fw.Write([]byte(ok))
	fw.Close()
	twin := strings.Replace(ok, "{", `{"Model":"other",`, 1)
	mk := func(name string, body []byte, coding ...string) lie {
		return lie{name: "coding: " + name, coding: coding, body: body}
	}
	return []lie{
		mk("no gzip", []byte(ok), "gzip"), mk("no br", []byte(ok), "br"), mk("no zstd", []byte(ok), "zstd"), mk("no deflate", []byte(ok), "deflate"),
		mk("unknown", []byte(ok), "x-secret"), mk("compress", []byte(ok), "compress"), mk("gzip cut", gz[:len(gz)-4], "gzip"), mk("gzip and more", append(append([]byte{}, gz...), "more"...), "gzip"),
		mk("gzip, another member's lie", append(append([]byte{}, gz...), gz...), "gzip"), mk("gzip once, said twice", gz, "gzip, gzip"), mk("gzip twice, said once", gzipped(string(gz)), "gzip"),
		mk("gzip unsaid", gz), mk("zstd said, gzip sent", gz, "zstd"), mk("two lines", gz, "gzip", "br"), mk("wrong checksum", append(append([]byte{}, gz[:len(gz)-8]...), 1, 2, 3, 4, 5, 6, 7, 8), "gzip"),
		mk("a lie in gzip", gzipped(twin), "gzip"), mk("a lie in br", brotlied(twin), "br"), mk("a lie in zstd", zstded(twin), "zstd"), mk("br and more", append(brotlied(ok), "more"...), "br"), mk("zstd and more", append(zstded(ok), "more"...), "zstd"),
	}
}

func brotlied(s string) []byte {
	var b bytes.Buffer
	w := brotli.NewWriter(&b)
	w.Write([]byte(s))
	w.Close()
	return b.Bytes()
}

func zstded(s string) []byte {
	w, _ := zstd.NewWriter(nil)
	defer w.Close()
	return w.EncodeAll([]byte(s), nil)
}

func zlibbed(s string) []byte {
	var b bytes.Buffer
	w := zlib.NewWriter(&b)
	w.Write([]byte(s))
	w.Close()
	return b.Bytes()
}

// truths are unusual bodies that every reader takes for the same request.
func truths(s surface) []lie {
	ok := s.with("", `"hi"`)
	var out []lie
	for name, b := range map[string]string{
		"plain": ok, "spaces": " \r\n\t" + strings.ReplaceAll(ok, ",", " ,\n ") + "\n\n", "escaped name alone": strings.Replace(ok, `"model"`, `"m\u006fdel"`, 1), "escaped turns alone": strings.Replace(ok, `"`+s.turns+`"`, `"`+escapeAt(s.turns, 2)+`"`, 1),
		"escaped value": s.with("", `"\u0068\u0069"`), "pair": s.with("", `"\ud83d\ude00 😀"`), "NUL escaped": s.with("", `"a\u0000b"`), "DEL": s.with("", "\"a\x7fb\""), "U+2028": s.with("", "\"a\u2028b\""), "noncharacter": s.with("", "\"\uffff\""), "BOM in a text": s.with("", "\"\ufeffhi\""),
		"slash": s.with("", `"a\/b \b\f\n\r\t\"\\"`), "empty text": s.with("", `""`), "null content": s.with("", `null`), "no parts": s.with("", `[]`), "empty name": s.with(`,"":1`, `"hi"`), "-0": s.with(`,"temperature":-0`, `"hi"`), "1e400": s.with(`,"n":1e400`, `"hi"`), "-0.0E+0": s.with(`,"n":-0.0E+0`, `"hi"`),
		"big integer": s.with(`,"seed":123456789012345678901234567890`, `"hi"`), "small": s.with(`,"n":1e-400`, `"hi"`), "deep 150": s.with(`,"x":`+strings.Repeat("[", 150)+strings.Repeat("]", 150), `"hi"`), "unknown": s.with(`,"xNew":{"Deep":[1,null,true,"x"]}`, `"hi"`),
		"metadata twins": s.with(`,"metadata":{"Role":"x","role":"y"}`, `"hi"`), "like a known name": s.with(`,"models":[],"model_":1,"mode":"x","xtools":1`, `"hi"`), "no model": strings.Replace(ok, `"model":"m",`, "", 1), "proto": s.with(`,"__proto__":{"x":1}`, `"hi"`), "constructor": s.with(`,"constructor":"x","toString":1`, `"hi"`),
		"numeric names": s.with(`,"2":1,"1":2,"10":3`, `"hi"`), "names of accents": s.with(`,"modèle":"m"`, `"hi"`), "composed and not": s.with(",\"\u00e9\":1,\"e\u0301\":2", `"hi"`), "wide names": s.with(`,"ｍｏｄｅｌ":"x"`, `"hi"`), "model is null": strings.Replace(ok, `"m"`, "null", 1), "a long text": s.with("", `"`+strings.Repeat("garden ", 20000)+`"`),
		"many members": s.with(func() string {
			var b strings.Builder
			for i := range 500 {
				fmt.Fprintf(&b, `,"x%d":%d`, i, i)
			}
			return b.String()
		}(), `"hi"`),
		"JSON in a text": s.with("", `"{\"model\":\"a\",\"model\":\"b\"}"`), "empty object": `{}`,
	} {
		out = append(out, lie{name: name, body: []byte(b), passes: true})
	}
	for _, ct := range []string{"application/json; charset=utf-8", `Application/JSON;charset="UTF-8"`, "application/vnd.x+json", "application/json;"} {
		out = append(out, lie{name: "under " + ct, types: []string{ct}, body: []byte(ok), passes: true})
	}
	return append(out, lie{name: "gzip", coding: []string{"gzip"}, body: gzipped(ok), passes: true}, lie{name: "gzip twice", coding: []string{"gzip, gzip"}, body: gzipped(string(gzipped(ok))), passes: true},
		lie{name: "gzip in two lines", coding: []string{"gzip", "identity"}, body: gzipped(ok), passes: true}, lie{name: "br", coding: []string{"br"}, body: brotlied(ok), passes: true},
		lie{name: "zstd", coding: []string{"zstd"}, body: zstded(ok), passes: true}, lie{name: "deflate", coding: []string{"deflate"}, body: zlibbed(ok), passes: true}, lie{name: "x-gzip", coding: []string{"X-GZIP"}, body: gzipped(ok), passes: true})
}
