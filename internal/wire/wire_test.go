package wire_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"sallyport.dev/sallyport/internal/gate"
	"sallyport.dev/sallyport/internal/strictjson"
	"sallyport.dev/sallyport/internal/wire"
	"sallyport.dev/sallyport/internal/wire/anthropic"
	"sallyport.dev/sallyport/internal/wire/openai"
)

var dialects = []wire.Dialect{openai.Dialect{}, anthropic.Dialect{}}

var routes = map[gate.Dialect]wire.Route{
	gate.OpenAI:    {Endpoint: "chat.completions", Known: true},
	gate.Anthropic: {Endpoint: "messages", Known: true},
}

// textAt reads a segment's text back from where it says it stands.
func textAt(t *testing.T, body []byte, s *gate.Segment) []byte {
	t.Helper()
	p := s.Place
	if p.Start < 0 || p.End > len(body) || p.Start > p.End {
		t.Fatalf("%s stands at %d..%d of %d bytes", s.Path, p.Start, p.End, len(body))
	}
	b := body[p.Start:p.End]
	switch p.Coding {
	case gate.JSONString:
		return strictjson.Unescape(nil, b)
	case gate.NestedJSON:
		outer := strictjson.Unescape(nil, b)
		return strictjson.Unescape(nil, outer[p.Inner.Start:p.Inner.End])
	}
	return b
}

func checkReading(t *testing.T, body []byte, r *gate.Reading) {
	t.Helper()
	for i := range r.Segments {
		s := &r.Segments[i]
		if !utf8.Valid(s.Text) {
			t.Fatalf("%s: text is not UTF-8: %q", s.Path, s.Text)
		}
		for _, p := range s.Joined {
			part := r.Segments[p.Index].Text
			if !bytes.Equal(s.Text[p.At:p.At+len(part)], part) {
				t.Fatalf("%s: part %d is not at %d", s.Path, p.Index, p.At)
			}
		}
		if s.Place.Coding != gate.Nowhere {
			if got := textAt(t, body, s); !bytes.Equal(got, s.Text) {
				t.Fatalf("%s: text %q, in the body %q", s.Path, s.Text, got)
			}
		}
	}
}

var bodies = []string{
	`{"model":"m","stream":true,"messages":[{"role":"user","content":[{"type":"text","text":"a\u0062"},{"type":"text","text":"c"}]},{"role":"tool","content":"x"}]}`,
	`{"messages":[{"role":"assistant","tool_calls":[{"function":{"name":"f","arguments":"{\"a\":\"\\u0041 \\\"b\"}"}}]}],"tools":[{"function":{"parameters":{"properties":{"City":{"description":"x"},"city":{}}}}}]}`,
	`{"system":[{"type":"text","text":"s"}],"messages":[{"role":"user","content":[{"type":"tool_result","content":"r"},{"type":"document","source":{"type":"base64","media_type":"text/plain","data":"aGVsbG8gd29ybGQ="}}]}]}`,
	`{"input":[{"type":"mcp_call","output":"o","arguments":"{}"},[1,2,3]],"prompt":[[1,2]]}`,
	`[{"a":1}]`, `{"Messages":[]}`, `{"a":"\ud800"}`,
}

func FuzzReadRequest(f *testing.F) {
	for _, b := range bodies {
		f.Add([]byte(b), "application/json")
	}
	f.Add([]byte("--b\r\nContent-Disposition: form-data; name=\"f\"; filename=\"x.jsonl\"\r\n\r\n{\"a\":\"b c\"}\n\r\n--b--\r\n"), "multipart/form-data; boundary=b")
	f.Add([]byte("{\"a\":\"b\"}\n{\"c\":\"d\\n\"}\nnot json\n"), "application/x-ndjson")
	f.Add([]byte("a=b+c&d=%41"), "application/x-www-form-urlencoded")
	f.Fuzz(func(t *testing.T, body []byte, ct string) {
		for _, d := range dialects {
			for _, rt := range []wire.Route{routes[d.Name()], {Endpoint: "files", Known: true}, {Endpoint: "unknown"}} {
				if r, err := d.ReadRequest(rt, ct, body); err == nil {
					checkReading(t, body, r)
				}
				if r, err := d.ReadAnswer(rt, 200, ct, body); err == nil {
					checkReading(t, body, r)
				}
			}
		}
	})
}

// Only the span of an edit changes, and what was valid stays valid.
func FuzzSplice(f *testing.F) {
	for _, b := range bodies {
		f.Add([]byte(b), 0, 0, 3, "[\"cut\"]\n")
		f.Add([]byte(b), 2, 1, 2, "")
	}
	f.Fuzz(func(t *testing.T, body []byte, seg, start, end int, with string) {
		if !utf8.ValidString(with) {
			return
		}
		d := openai.Dialect{}
		r, err := d.ReadRequest(routes[gate.OpenAI], "application/json", body)
		if err != nil || seg < 0 || seg >= len(r.Segments) {
			return
		}
		s := r.Segments[seg]
		onRune := func(i int) bool { return i >= 0 && i <= len(s.Text) && (i == len(s.Text) || utf8.RuneStart(s.Text[i])) }
		if !onRune(start) || !onRune(end) || start > end {
			return
		}
		out, err := wire.Splice(body, r.Segments, []gate.Edit{{Segment: seg, Start: start, End: end, With: with}})
		if err != nil {
			return
		}
		if !json.Valid(out) {
			t.Fatalf("no longer JSON: %q from %q", out, body)
		}
		if s.Joined != nil || s.Place.Coding != gate.JSONString {
			return
		}
		doc, err := strictjson.Parse(out, strictjson.Limits{})
		if err != nil {
			t.Fatalf("%v in %q", err, out)
		}
		want := string(s.Text[:start]) + with + string(s.Text[end:])
		found := false
		for i := range doc.Nodes {
			found = found || doc.Nodes[i].Kind == strictjson.String && doc.Str(i) == want
		}
		if !found || !bytes.HasPrefix(out, body[:s.Place.Start]) || !bytes.HasSuffix(out, body[s.Place.End:]) {
			t.Fatalf("edit %d..%d of %q with %q gave %q", start, end, s.Text, with, out)
		}
	})
}

func TestSpliceOfJoinedAndNestedTexts(t *testing.T) {
	body := []byte(`{"messages":[{"role":"user","content":[{"type":"text","text":"one\u0020two"},{"type":"text","text":"three"}]},{"role":"assistant","tool_calls":[{"function":{"arguments":"{\"q\":\"say \\\"hi\\\" now\"}"}}]}]}`)
	r, err := openai.Dialect{}.ReadRequest(routes[gate.OpenAI], "application/json", body)
	if err != nil {
		t.Fatal(err)
	}
	var edits []gate.Edit
	for i, s := range r.Segments {
		if s.Joined != nil && string(s.Text) == "one twothree" {
			edits = append(edits, gate.Edit{Segment: i, Start: 4, End: 10, With: "[x]"})
		}
		if s.Place.Coding == gate.NestedJSON {
			edits = append(edits, gate.Edit{Segment: i, Start: 4, End: 8, With: "\"y\""})
		}
	}
	out, err := wire.Splice(body, r.Segments, edits)
	if err != nil || len(edits) != 2 {
		t.Fatal(err, edits)
	}
	want := strings.NewReplacer(`one\u0020two`, `one\u0020[x]`, `"three"`, `"ee"`, `say \\\"hi\\\" now`, `say \\\"y\\\" now`).Replace(string(body))
	if string(out) != want {
		t.Fatalf("got  %s\nwant %s", out, want)
	}
	for _, e := range []gate.Edit{{Segment: -1}, {Segment: 99}, {Segment: 0, Start: 2, End: 1}, {Segment: 0, Start: 0, End: 999}} {
		if _, err := wire.Splice(body, r.Segments, []gate.Edit{e}); err == nil {
			t.Errorf("edit %+v was carried out", e)
		}
	}
}

func TestRefusedRequests(t *testing.T) {
	mp := func(b string) string { return strings.ReplaceAll(b, "\n", "\r\n") }
	ok := "--b\nContent-Disposition: form-data; name=\"model\"\n\nm\n--b--\n"
	for _, c := range []struct{ name, ct, body string }{
		{"case variant of a known name", "application/json", `{"Messages":[]}`},
		{"long s", "application/json", "{\"me\u017f\u017fages\":[]}"},
		{"kelvin sign", "application/json", "{\"to\u212aens\":1,\"messages\":[{\"role\":\"user\",\"tool_calls\":[],\"TOOLS\":1}]}"},
		{"case twins of unknown names", "application/json", `{"abc":1,"aBc":2}`},
		{"variant in a message", "application/json", `{"messages":[{"role":"user","Content":"x"}]}`},
		{"variant in a part", "application/json", `{"messages":[{"content":[{"type":"text","Text":"x"}]}]}`},
		{"duplicate deep in a schema", "application/json", `{"tools":[{"function":{"parameters":{"a":{"b":1,"\u0062":2}}}}]}`},
		{"UTF-16", "application/json; charset=utf-16", `{}`},
		{"not JSON", "application/json", `hello`},
		{"a string", "application/json", `"x"`},
		{"JSON as text", "text/plain", `{"model":"m"}`},
		{"JSON without a type", "", ` {"model":"m"}`},
		{"JSON as a form", "application/x-www-form-urlencoded", `{"model":"m"}`},
		{"JSON as octets", "application/octet-stream", `{"model":"m"}`},
		{"BOM under text", "text/plain", "\xef\xbb\xbf{}"},
		{"two types", "application/json, text/plain", `{}`},
		{"malformed type", "application/json; charset", `{}`},
		{"multipart with LF", "multipart/form-data; boundary=b", ok},
		{"multipart with preamble", "multipart/form-data; boundary=b", mp("x\n" + ok)},
		{"multipart with epilogue", "multipart/form-data; boundary=b", mp(ok + "more")},
		{"multipart without end", "multipart/form-data; boundary=b", mp("--b\nContent-Disposition: form-data; name=\"a\"\n\nx")},
		{"multipart field twice", "multipart/form-data; boundary=b", mp("--b\nContent-Disposition: form-data; name=\"model\"\n\na\n" + ok)},
		{"filename twice", "multipart/form-data; boundary=b", mp("--b\nContent-Disposition: form-data; name=\"a\"; filename=\"x\"; filename*=UTF-8''y\n\nx\n--b--\n")},
		{"no boundary", "multipart/form-data", mp(ok)},
		{"transfer encoding", "multipart/form-data; boundary=b", mp("--b\nContent-Disposition: form-data; name=\"a\"\nContent-Transfer-Encoding: base64\n\neA==\n--b--\n")},
		{"long part head", "multipart/form-data; boundary=b", mp("--b\nContent-Disposition: form-data; name=\"a\"\nX: " + strings.Repeat("y", 9000) + "\n\nx\n--b--\n")},
		{"header twice", "multipart/form-data; boundary=b", mp("--b\nContent-Disposition: form-data; name=\"a\"\nContent-Disposition: form-data; name=\"b\"\n\nx\n--b--\n")},
	} {
		if _, err := (openai.Dialect{}).ReadRequest(routes[gate.OpenAI], c.ct, []byte(c.body)); err == nil {
			t.Errorf("%s was accepted", c.name)
		}
	}
	if r, err := (openai.Dialect{}).ReadRequest(wire.Route{Endpoint: "audio.transcriptions", Known: true}, "multipart/form-data; boundary=b", []byte(mp(ok))); err != nil || r.Model != "m" {
		t.Errorf("a good multipart body: %v", err)
	}
}

func TestChannelsAndRoles(t *testing.T) {
	for _, c := range []struct {
		d          wire.Dialect
		body, text string
		want       gate.Channel
		path       string
	}{
		{openai.Dialect{}, `{"messages":[{"role":"user","content":"hi there"},{"role":"tool","content":"THE TEXT"}]}`, "THE TEXT", gate.ChannelTool, "messages[1].content"},
		{openai.Dialect{}, `{"messages":[{"role":"developer","content":[{"type":"text","text":"THE TEXT"}]}]}`, "THE TEXT", gate.ChannelDeveloper, "messages[0].content[0].text"},
		{openai.Dialect{}, `{"instructions":"THE TEXT"}`, "THE TEXT", gate.ChannelSystem, "instructions"},
		{openai.Dialect{}, `{"input":[{"type":"function_call_output","output":[{"type":"input_text","text":"THE TEXT"}]}]}`, "THE TEXT", gate.ChannelTool, "input[0].output[0].text"},
		{openai.Dialect{}, `{"input":[{"type":"mcp_call","output":"THE TEXT"}]}`, "THE TEXT", gate.ChannelTool, "input[0].output"},
		{openai.Dialect{}, `{"input":[{"type":"file_search_call","results":[{"text":"THE TEXT"}]}]}`, "THE TEXT", gate.ChannelDocument, "input[0].results[0].text"},
		{openai.Dialect{}, `{"tools":[{"type":"function","function":{"description":"THE TEXT"}}]}`, "THE TEXT", gate.ChannelTool, "tools[0].function.description"},
		{anthropic.Dialect{}, `{"system":"THE TEXT"}`, "THE TEXT", gate.ChannelSystem, "system"},
		{anthropic.Dialect{}, `{"messages":[{"role":"user","content":[{"type":"tool_result","content":[{"type":"text","text":"THE TEXT"}]}]}]}`, "THE TEXT", gate.ChannelTool, "messages[0].content[0].content[0].text"},
		{anthropic.Dialect{}, `{"messages":[{"role":"user","content":[{"type":"document","source":{"type":"base64","media_type":"text/plain","data":"VEhFIFRFWFQ="}}]}]}`, "THE TEXT", gate.ChannelDocument, "messages[0].content[0].source.data"},
		{anthropic.Dialect{}, `{"requests":[{"params":{"system":"THE TEXT"}}]}`, "THE TEXT", gate.ChannelSystem, "requests[0].params.system"},
	} {
		r, err := c.d.ReadRequest(routes[c.d.Name()], "application/json", []byte(c.body))
		if err != nil {
			t.Errorf("%s: %v", c.body, err)
			continue
		}
		found := false
		for _, s := range r.Segments {
			if string(s.Text) == c.text && s.Channel == c.want && strings.HasPrefix(s.Path, strings.TrimSuffix(c.path, ".data")) {
				found = true
			}
		}
		if !found {
			t.Errorf("%s: want channel %v at %s, got %+v", c.body, c.want, c.path, r.Segments)
		}
	}
}

func TestWhatCannotBeReadIsNamed(t *testing.T) {
	for _, c := range []struct {
		d    wire.Dialect
		body string
		want gate.UninspectedKind
	}{
		{openai.Dialect{}, `{"messages":[{"content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,iVBORw0KGgoAAAA="}}]}]}`, gate.UninspectedImage},
		{openai.Dialect{}, `{"messages":[{"content":[{"type":"image_url","image_url":{"url":"https://example.com/a.png"}}]}]}`, gate.UninspectedReference},
		{openai.Dialect{}, `{"messages":[{"content":[{"type":"input_audio","input_audio":{"data":"UklGRg==","format":"wav"}}]}]}`, gate.UninspectedAudio},
		{openai.Dialect{}, `{"input":[1,2,3]}`, gate.UninspectedTokens},
		{openai.Dialect{}, `{"prompt":[[1],[2]]}`, gate.UninspectedTokens},
		{openai.Dialect{}, `{"previous_response_id":"r"}`, gate.UninspectedReference},
		{openai.Dialect{}, `{"prompt":{"id":"p"}}`, gate.UninspectedReference},
		{openai.Dialect{}, `{"input":[{"type":"reasoning","encrypted_content":"gAAAA"}]}`, gate.UninspectedOpaque},
		{openai.Dialect{}, `{"messages":[{"content":[{"type":"file","file":{"file_data":"JVBERi0xLjcK"}}]}]}`, gate.UninspectedFile},
		{anthropic.Dialect{}, `{"messages":[{"role":"user","content":[{"type":"image","source":{"type":"base64","media_type":"image/png","data":"iVBORw0KGgo="}}]}]}`, gate.UninspectedImage},
		{anthropic.Dialect{}, `{"messages":[{"role":"assistant","content":[{"type":"redacted_thinking","data":"x"}]}]}`, gate.UninspectedOpaque},
		{anthropic.Dialect{}, `{"messages":[{"role":"user","content":[{"type":"document","source":{"type":"file","file_id":"f"}}]}]}`, gate.UninspectedReference},
	} {
		r, err := c.d.ReadRequest(routes[c.d.Name()], "application/json", []byte(c.body))
		if err != nil {
			t.Errorf("%s: %v", c.body, err)
			continue
		}
		found := false
		for _, u := range r.Uninspected {
			found = found || u.Kind == c.want
		}
		if !found {
			t.Errorf("%s: want %v, got %+v", c.body, c.want, r.Uninspected)
		}
	}
}

func BenchmarkReadRequest(b *testing.B) {
	body := []byte(`{"model":"gpt-4o","temperature":0.7,"messages":[{"role":"system","content":"` + strings.Repeat("You are a helpful assistant. ", 15) + `"},{"role":"user","content":"` + strings.Repeat("What grows in spring? ", 20) + `"}]}`)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := (openai.Dialect{}).ReadRequest(routes[gate.OpenAI], "application/json", body); err != nil {
			b.Fatal(err)
		}
	}
}
