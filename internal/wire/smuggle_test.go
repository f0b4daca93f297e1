package wire_test

import (
	"bytes"
	v1 "encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"reflect"
	"strings"
	"testing"

	"sallyport.dev/sallyport/internal/gate"
	"sallyport.dev/sallyport/internal/wire"
	"sallyport.dev/sallyport/internal/wire/anthropic"
	"sallyport.dev/sallyport/internal/wire/openai"
)

type target struct {
	d    wire.Dialect
	path string
}

var targets = []target{
	{openai.Dialect{}, "/v1/chat/completions"}, {openai.Dialect{}, "/v1/responses"}, {anthropic.Dialect{}, "/v1/messages"},
}

func (t target) read(contentType, body string) (*gate.Reading, error) {
	return t.d.ReadRequest(t.d.Route("POST", t.path), contentType, []byte(body))
}

// smuggled makes the bodies that two parsers could read differently.
func smuggled() map[string]string {
	out := map[string]string{}
	const msgs = `[{"role":"user","content":"hi"}]`
	body := func(extra string) string { return `{"model":"m","messages":` + msgs + extra + `}` }
	escape := func(name string, at int) string {
		return name[:at] + fmt.Sprintf(`\u%04x`, name[at]) + name[at+1:]
	}
	for _, n := range []string{"model", "messages", "tools", "stream", "system", "instructions", "input"} {
		v := map[string]string{"model": `"x"`, "stream": "true", "system": `"x"`, "instructions": `"x"`, "input": `"x"`}[n]
		if v == "" {
			v = "[]"
		}
		head := fmt.Sprintf(`{%q:%s,`, n, v)
		out["twice "+n] = head + fmt.Sprintf(`"x":1,%q:%s}`, n, v)
		for at := range n {
			out[fmt.Sprintf("escaped %s %d", n, at)] = head + fmt.Sprintf(`"%s":%s}`, escape(n, at), v)
			up := n[:at] + strings.ToUpper(n[at:at+1]) + n[at+1:]
			out[fmt.Sprintf("case %s %d", n, at)] = head + fmt.Sprintf(`%q:%s}`, up, v)
			out[fmt.Sprintf("case alone %s %d", n, at)] = fmt.Sprintf(`{"a":1,%q:%s}`, up, v)
		}
		out["upper "+n] = fmt.Sprintf(`{%q:%s}`, strings.ToUpper(n), v)
		if strings.Contains(n, "s") {
			out["long s "+n] = fmt.Sprintf(`{"%s":%s}`, strings.Replace(n, "s", "ſ", 1), v)
			out["long s escaped "+n] = fmt.Sprintf(`{"%s":%s}`, strings.Replace(n, "s", `\u017f`, 1), v)
		}
	}
	out["kelvin"] = `{"model":"m","messages":[{"role":"user","to` + "\u212a" + `en":1,"toKen":2}]}`
	for _, n := range []string{"role", "content", "name", "type"} {
		out["depth 2 "+n] = fmt.Sprintf(`{"messages":[{%q:"a",%q:"b"}]}`, n, n)
		out["depth 2 case "+n] = fmt.Sprintf(`{"messages":[{%q:"a"}]}`, strings.ToUpper(n))
		out["depth 3 "+n] = fmt.Sprintf(`{"messages":[{"content":[{%q:"a","%s":"b"}]}]}`, n, escape(n, 0))
		out["depth 3 case "+n] = fmt.Sprintf(`{"messages":[{"content":[{%q:"a"}]}]}`, strings.ToUpper(n[:1])+n[1:])
		out["in schema "+n] = body(fmt.Sprintf(`,"tools":[{"function":{"parameters":{%q:1,%q:2}}}]`, n, n))
	}
	for name, bad := range map[string]string{
		"ff": "\xff", "overlong": "\xc0\xaf", "overlong 3": "\xe0\x80\xaf", "overlong 4": "\xf0\x80\x80\xaf", "cesu": "\xed\xa0\xbd\xed\xb8\x80", "cut": "\xe2\x82",
		"above": "\xf4\x90\x80\x80", "alone": "\x80", "latin-1": "caf\xe9", "newline": "a\nb", "nul": "a\x00b", "tab": "a\tb", "unit": "\x1f", "high": `\ud800`,
		"low": `\udc00`, "reversed": `\udc00\ud800`, "high high": `\ud800\ud800`, "half": `\ud83dx`, "bad escape": `\x41`, "octal": `\101`, "short": `\u12`, "quote": `\'`,
	} {
		out["value "+name] = body(`,"user":"` + bad + `"`)
		out["content "+name] = `{"messages":[{"role":"user","content":"` + bad + `"}]}`
		out["name "+name] = body(`,"` + bad + `":1`)
	}
	ok := body("")
	for name, b := range map[string]string{
		"bom": "\xef\xbb\xbf" + ok, "utf-16 le": utf16(ok, true, false), "utf-16 be": utf16(ok, false, false), "utf-16 bom": utf16(ok, true, true),
		"two": ok + ok, "two lines": ok + "\n" + ok, "garbage": ok + "x", "nul after": ok + "\x00", "comma after": ok + ",", "line comment": ok + "//x", "before": "//x\n" + ok, "paren": ok + ")", "guard": ")]}'" + ok,
		"comment": strings.Replace(ok, ",", ",/*x*/", 1), "hash": "#x\n" + ok, "trailing comma": `{"model":"m",}`, "array comma": `{"messages":[1,]}`,
		"nan": body(`,"temperature":NaN`), "infinity": body(`,"top_p":-Infinity`), "hex": body(`,"n":0x1`), "plus": body(`,"n":+1`), "zero": body(`,"n":01`), "dot": body(`,"n":1.`), "no zero": body(`,"n":.5`),
		"single": `{'model':'m'}`, "bare": `{model:"m"}`, "true": body(`,"stream":True`), "undefined": body(`,"x":undefined`), "cut": ok[:len(ok)-1], "extra": ok + "}", "form feed": "\f" + ok, "nbsp": "\u00a0" + ok, "vt": "{\v\"model\":1}", "semicolon": `{"a":1;"b":2}`,
		"deep":   body(`,"x":` + strings.Repeat("[", 250) + strings.Repeat("]", 250)),
		"deeper": body(`,"x":` + strings.Repeat(`{"a":`, 50000) + "1" + strings.Repeat("}", 50000)),
		"digits": body(`,"n":` + strings.Repeat("9", 5000)), "key": body(`,"` + strings.Repeat("k", 70<<10) + `":1`),
		"string": `"hello"`, "number": `1`, "null": `null`, "bool": `true`, "text": `hello`, "space": ` `,
	} {
		out[name] = b
	}
	return out
}

func utf16(s string, little, mark bool) string {
	var b bytes.Buffer
	if mark {
		s = "\ufeff" + s
	}
	for _, r := range s {
		if little {
			b.Write([]byte{byte(r), byte(r >> 8)})
		} else {
			b.Write([]byte{byte(r >> 8), byte(r)})
		}
	}
	return b.String()
}

func TestAmbiguousBodiesAreRefused(t *testing.T) {
	bodies := smuggled()
	if len(bodies) < 200 {
		t.Fatalf("only %d bodies", len(bodies))
	}
	for _, to := range targets {
		// A name that only the other dialect knows is no name here, and its variants are not either.
		foreign := map[gate.Dialect]string{gate.OpenAI: "system", gate.Anthropic: "instructions"}[to.d.Name()]
		for name, b := range bodies {
			if strings.Contains(name, foreign) && !strings.HasPrefix(name, "twice") && !strings.HasPrefix(name, "escaped") && !strings.HasPrefix(name, "case "+foreign) {
				continue
			}
			_, err := to.read("application/json", b)
			if p, ok := err.(*gate.Problem); !ok || p.Status != http.StatusBadRequest || p.Code != gate.CodeAmbiguous {
				t.Errorf("%s %s: %.80q got %v", to.path, name, b, err)
			}
		}
	}
	t.Logf("%d bodies", len(bodies))
}

func TestJSONUnderAnotherType(t *testing.T) {
	ok := `{"model":"m","messages":[{"role":"user","content":"hi"}]}`
	for _, to := range targets {
		for _, ct := range []string{"", "text/plain", "application/octet-stream", "application/x-www-form-urlencoded", "application/x-ndjson", "application/jsonl", "application/json; charset=utf-16", "application/json; charset=latin1", "application/json, text/plain", "nonsense;;", "text/html", "application/xml"} {
			for _, b := range []string{ok, "\n\t " + ok, "\xef\xbb\xbf" + ok} {
				if _, err := to.read(ct, b); err == nil {
					t.Errorf("%s: JSON under %q was accepted", to.path, ct)
				}
			}
		}
		for _, ct := range []string{"application/json", "Application/JSON", "application/json; charset=utf-8", `application/json; charset="UTF-8"`, "application/vnd.x+json"} {
			if r, err := to.read(ct, ok); err != nil || r.Model != "m" {
				t.Errorf("%s: %q: %v", to.path, ct, err)
			}
		}
	}
}

func TestUnusualButClearBodiesPass(t *testing.T) {
	for _, b := range []string{
		`{}`, `[]`, ` { "model" : "m" } ` + "\r\n", `{"model":5,"stream":"yes","messages":"x"}`, `{"messages":null}`, `{"m\u006fdel":"m"}`, `{"a":"\u0000"}`, `{"a":"\ud83d\ude00 😀"}`,
		`{"metadata":{"Role":"x","role":"y","ID":"1","id":"2"}}`, `{"tools":[{"type":"function","function":{"name":"f","parameters":{"properties":{"Content":{},"content":{},"MODEL":{}}}}}]}`,
		`{"tools":[{"name":"f","input_schema":{"properties":{"Type":{},"type":{}}}}]}`, `{"xCamel":1,"Other":{"Deep":1}}`, `{"":1}`, `{"n":-0.0e+10}`, `{"n":1e999}`,
		`{"x":` + strings.Repeat("[", 150) + strings.Repeat("]", 150) + `}`, `{"messages":[{"content":[[["x"]]]}]}`, `{"messages":[{"content":""},{"content":[]},{}]}`,
	} {
		for _, to := range targets {
			if _, err := to.read("application/json", b); err != nil {
				t.Errorf("%s: %.80q: %v", to.path, b, err)
			}
		}
	}
}

// What passes is read alike by encoding/json (which folds names) and by node.
func TestWhatPassesIsReadAlike(t *testing.T) {
	node, nodeErr := exec.LookPath("node")
	if nodeErr != nil && os.Getenv("SALLYPORT_TEST_REQUIRE") == "all" {
		t.Fatal("node is required")
	}
	var passed []string
	bodies := smuggled()
	for i, b := range []string{`{"model":"m","messages":[]}`, `{"m\u006fdel":"é\u00e9","stream":true}`, `{"tools":[{"a":"\ud83d\ude00"}],"x":{"Y":1}}`, `{"stream":false,"metadata":{"Model":"x"}}`} {
		bodies[fmt.Sprint("good ", i)] = b
	}
	type view struct {
		Model, Messages, Tools, Stream any
	}
	for name, b := range bodies {
		r, err := targets[0].read("application/json", b)
		if err != nil {
			continue
		}
		passed = append(passed, b)
		var folded view
		var exact map[string]any
		if v1.Unmarshal([]byte(b), &folded) != nil || v1.Unmarshal([]byte(b), &exact) != nil {
			t.Errorf("%s: encoding/json refuses what passes", name)
			continue
		}
		if got := (view{exact["model"], exact["messages"], exact["tools"], exact["stream"]}); !reflect.DeepEqual(got, folded) {
			t.Errorf("%s: %v and %v", name, got, folded)
		}
		if m, _ := exact["model"].(string); m != r.Model {
			t.Errorf("%s: model %q, read as %q", name, m, r.Model)
		}
	}
	if len(passed) < 4 {
		t.Fatalf("only %d bodies passed", len(passed))
	}
	if nodeErr != nil {
		t.Skip("no node: only encoding/json was compared")
	}
	in, _ := v1.Marshal(passed)
	cmd := exec.Command(node, "-e", `const a=JSON.parse(require("fs").readFileSync(0,"utf8"));console.log(JSON.stringify(a.map(s=>{const o=JSON.parse(s);return [o.model??null,o.messages??null,o.tools??null,o.stream??null]})))`)
	cmd.Stdin = bytes.NewReader(in)
	res, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var got [][]any
	if err := v1.Unmarshal(res, &got); err != nil {
		t.Fatal(err)
	}
	for i, b := range passed {
		var exact map[string]any
		_ = v1.Unmarshal([]byte(b), &exact)
		if want := []any{exact["model"], exact["messages"], exact["tools"], exact["stream"]}; !reflect.DeepEqual(got[i], want) {
			t.Errorf("node reads %.80q as %v, not %v", b, got[i], want)
		}
	}
}

func TestMultipartThatCanBeReadTwoWays(t *testing.T) {
	const ct = "multipart/form-data; boundary=B"
	field := func(name, v string) string {
		return "--B\r\nContent-Disposition: form-data; name=\"" + name + "\"\r\n\r\n" + v + "\r\n"
	}
	file := "--B\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.png\"\r\nContent-Type: image/png\r\n\r\n"
	for name, c := range map[string][2]string{
		"twice":             {ct, field("model", "a") + field("model", "b") + "--B--\r\n"},
		"field and file":    {ct, field("file", "a") + file + "x\r\n--B--\r\n"},
		"file and field":    {ct, file + "x\r\n" + field("file", "a") + "--B--\r\n"},
		"two boundaries":    {ct + "; boundary=C", field("a", "b") + "--B--\r\n"},
		"no boundary":       {"multipart/form-data", field("a", "b") + "--B--\r\n"},
		"no end":            {ct, field("a", "b")},
		"epilogue":          {ct, field("a", "b") + "--B--\r\nmore"},
		"preamble":          {ct, "pre\r\n" + field("a", "b") + "--B--\r\n"},
		"bare LF":           {ct, strings.ReplaceAll(field("a", "b"), "\r\n", "\n") + "--B--\n"},
		"LF in head":        {ct, "--B\r\nContent-Disposition: form-data; name=\"a\"\nX: y\r\n\r\nb\r\n--B--\r\n"},
		"filename*":         {ct, "--B\r\nContent-Disposition: form-data; name=\"a\"; filename=\"a\"; filename*=UTF-8''b\r\n\r\nb\r\n--B--\r\n"},
		"two filenames":     {ct, "--B\r\nContent-Disposition: form-data; name=\"a\"; filename=\"a\"; filename=\"b\"\r\n\r\nb\r\n--B--\r\n"},
		"two dispositions":  {ct, "--B\r\nContent-Disposition: form-data; name=\"a\"\r\nContent-Disposition: form-data; name=\"b\"\r\n\r\nb\r\n--B--\r\n"},
		"no name":           {ct, "--B\r\nContent-Disposition: form-data\r\n\r\nb\r\n--B--\r\n"},
		"no head":           {ct, "--B\r\n\r\nb\r\n--B--\r\n"},
		"base64":            {ct, "--B\r\nContent-Disposition: form-data; name=\"a\"\r\nContent-Transfer-Encoding: base64\r\n\r\naGk=\r\n--B--\r\n"},
		"quoted-printable":  {ct, "--B\r\nContent-Disposition: form-data; name=\"a\"\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n=68\r\n--B--\r\n"},
		"long head":         {ct, "--B\r\nContent-Disposition: form-data; name=\"a\"\r\nX: " + strings.Repeat("x", 100<<10) + "\r\n\r\nb\r\n--B--\r\n"},
		"boundary prefix":   {ct, field("a", "b\r\n--BC") + "--B--\r\n"},
		"space before name": {ct, "--B\r\nContent-Disposition : form-data; name=\"a\"\r\n\r\nb\r\n--B--\r\n"},
		"empty":             {ct, "--B"},
	} {
		d := openai.Dialect{}
		if _, err := d.ReadRequest(d.Route("POST", "/v1/files"), c[0], []byte(c[1])); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
	d := openai.Dialect{}
	body := field("purpose", "batch") + file + `{"custom_id":"1","body":{"messages":[{"role":"system","content":"in a line"}]}}` + "\r\n--B--\r\n"
	r, err := d.ReadRequest(d.Route("POST", "/v1/files"), `multipart/form-data; boundary="B"`, []byte(body))
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for _, s := range r.Segments {
		if string(s.Text) == "in a line" {
			found = s.Channel == gate.ChannelSystem && body[s.Place.Start:s.Place.End] == "in a line"
		}
	}
	if !found {
		t.Errorf("lines under image/png are not read: %+v", r)
	}
}
