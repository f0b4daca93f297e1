package wire_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"sallyport.dev/sallyport/internal/gate"
	"sallyport.dev/sallyport/internal/strictjson"
	"sallyport.dev/sallyport/internal/wire"
	"sallyport.dev/sallyport/internal/wire/anthropic"
	"sallyport.dev/sallyport/internal/wire/openai"
	"sallyport.dev/sallyport/internal/wire/sse"
)

// lanes reads a stream and gives the text of each lane, and the texts that stand alone.
func lanes(t *testing.T, s wire.Stream, stream string) (map[string]string, []string) {
	t.Helper()
	sp := sse.NewSplitter(0)
	sp.Write([]byte(stream))
	got := map[string]string{}
	var alone []string
	for {
		raw, ok := sp.Next()
		if !ok {
			break
		}
		f, err := s.Read(raw)
		if err != nil {
			t.Fatalf("%q: %v", raw, err)
		}
		for _, x := range f.Texts {
			if x.Lane == "" {
				alone = append(alone, string(x.Text))
			} else {
				got[x.Lane] += string(x.Text)
			}
		}
	}
	return got, alone
}

func chatChunk(choices string) string {
	return `data: {"id":"c1","object":"chat.completion.chunk","created":5,"model":"m","choices":[` + choices + `]}` + "\n\n"
}

func TestPiecesOfOneTextShareALane(t *testing.T) {
	for _, c := range []struct {
		name   string
		s      wire.Stream
		stream string
		want   []string
	}{
		{"choices and tool calls interleaved", openai.Dialect{}.Stream(routes[gate.OpenAI]),
			chatChunk(`{"index":1,"delta":{"content":"one "}},{"index":0,"delta":{"content":"zero "}}`) +
				chatChunk(`{"index":0,"delta":{"content":"more","tool_calls":[{"index":1,"function":{"arguments":"{\"a"}}]}}`) +
				chatChunk(`{"index":1,"delta":{"content":"two"}}`) +
				chatChunk(`{"index":0,"delta":{"tool_calls":[{"index":1,"function":{"arguments":"\":1}"}},{"index":0,"function":{"arguments":"x"}}]}}`),
			[]string{"zero more", "one two", `{"a":1}`, "x"}},
		{"logprob tokens", openai.Dialect{}.Stream(routes[gate.OpenAI]),
			chatChunk(`{"index":0,"delta":{"content":"ab"},"logprobs":{"content":[{"token":"a","logprob":-1},{"token":"b","logprob":-1}]}}`),
			[]string{"ab", "ab"}},
		{"responses by item and index", openai.Dialect{}.Stream(wire.Route{Endpoint: "responses"}),
			`data: {"type":"response.output_text.delta","item_id":"i","output_index":0,"content_index":0,"delta":"a "}` + "\n\n" +
				`data: {"type":"response.output_text.delta","item_id":"i","output_index":0,"content_index":1,"delta":"other"}` + "\n\n" +
				`data: {"type":"response.output_text.delta","item_id":"i","output_index":0,"content_index":0,"delta":"b"}` + "\n\n",
			[]string{"a b", "other"}},
		{"anthropic blocks", anthropic.Dialect{}.Stream(routes[gate.Anthropic]),
			`data: {"type":"content_block_start","index":0,"content_block":{"type":"text","text":"be"}}` + "\n\n" +
				`data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"gin"}}` + "\n\n" +
				`data: {"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":"{\"q\""}}` + "\n\n" +
				`data: {"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":":2}"}}` + "\n\n",
			[]string{"begin", `{"q":2}`}},
	} {
		got, _ := lanes(t, c.s, c.stream)
		have := map[string]int{}
		for _, v := range got {
			have[v]++
		}
		for _, w := range c.want {
			if have[w] == 0 {
				t.Errorf("%s: no lane reads %q: %v", c.name, w, got)
			}
			have[w]--
		}
	}
}

func TestWhatIsNotReadableDoesNotPass(t *testing.T) {
	for _, d := range dialects {
		for _, raw := range []string{"data: {\n\n", "data: {\"a\":1,\"a\":2}\n\n", "data: \"\xff\"\n\n", "data: [DONE] \n\n", "data: [done]\n\n", "data: {}{}\n\n", "data: \xef\xbb\xbf{}\n\n", "data: hello\n\n"} {
			if _, err := d.Stream(routes[d.Name()]).Read([]byte(raw)); err == nil {
				t.Errorf("%s: %q was accepted", d.Name(), raw)
			}
		}
	}
}

// The orderly ends are frames that our own reader takes, valid JSON, and end the stream.
func TestOrderlyEnds(t *testing.T) {
	p := &gate.Problem{Status: 400, Code: gate.CodePolicy, Message: "Request blocked by policy: \"x\"\n found."}
	begun := map[string]string{
		"chat":      chatChunk(`{"index":0,"delta":{"content":"a"}},{"index":2,"delta":{"content":"b"}}`) + chatChunk(`{"index":2,"delta":{},"finish_reason":"stop"}`),
		"responses": "event: response.created\ndata: {\"type\":\"response.created\",\"sequence_number\":4,\"response\":{\"id\":\"r\",\"model\":\"m\",\"status\":\"in_progress\"}}\n\n",
		"anthropic": "data: {\"type\":\"message_start\",\"message\":{\"model\":\"c\",\"usage\":{\"input_tokens\":3}}}\n\ndata: {\"type\":\"content_block_start\",\"index\":3,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\ndata: {\"type\":\"content_block_delta\",\"index\":3,\"delta\":{\"type\":\"text_delta\",\"text\":\"a\"}}\n\n",
		"nothing":   "",
	}
	for _, c := range []struct {
		name  string
		d     wire.Dialect
		rt    wire.Route
		begun string
		has   []string
	}{
		{"chat", openai.Dialect{}, routes[gate.OpenAI], "chat", []string{`"finish_reason":"content_filter"`, `"index":0`, `"id":"c1"`, "data: [DONE]\n\n"}},
		{"chat before anything", openai.Dialect{}, routes[gate.OpenAI], "nothing", []string{`"finish_reason":"content_filter"`, "data: [DONE]\n\n"}},
		{"responses", openai.Dialect{}, wire.Route{Endpoint: "responses"}, "responses", []string{`"reason":"content_filter"`, `"sequence_number":5`, `"id":"r"`}},
		{"responses before anything", openai.Dialect{}, wire.Route{Endpoint: "responses"}, "nothing", []string{`"reason":"content_filter"`}},
		{"anthropic", anthropic.Dialect{}, routes[gate.Anthropic], "anthropic", []string{`"stop_reason":"refusal"`, `"index":3`, "event: message_stop"}},
		{"anthropic before anything", anthropic.Dialect{}, routes[gate.Anthropic], "nothing", []string{`event: message_start`, `"stop_reason":"refusal"`, "event: message_stop"}},
	} {
		s := c.d.Stream(c.rt)
		lanes(t, s, begun[c.begun])
		for what, end := range map[string][]byte{"stop": s.Stop(p), "fail": s.Fail(p)} {
			for _, line := range bytes.Split(end, []byte("\n")) {
				if d, ok := bytes.CutPrefix(line, []byte("data: ")); ok && string(d) != "[DONE]" && !json.Valid(d) {
					t.Errorf("%s %s: %q is not JSON", c.name, what, d)
				}
			}
			fresh := c.d.Stream(c.rt)
			lanes(t, fresh, string(end))
			if what == "stop" {
				if !fresh.Account().Done {
					t.Errorf("%s: the end does not end: %s", c.name, end)
				}
				for _, h := range c.has {
					if !strings.Contains(string(end), h) {
						t.Errorf("%s: no %s in %s", c.name, h, end)
					}
				}
			}
			if what == "stop" && strings.Contains(string(end), `"index":2`) {
				t.Errorf("%s: a finished choice ends again", c.name)
			}
		}
	}
}

func TestRefusalsAreTheDialectsOwn(t *testing.T) {
	for _, status := range []int{400, 401, 403, 404, 408, 413, 415, 429, 500, 502, 503, 504} {
		p := &gate.Problem{Status: status, Code: gate.CodePolicy, Message: "m", Param: "messages[0].content"}
		for _, d := range dialects {
			h, body := d.Refusal(p, "id1")
			var v struct {
				Type  string
				Error struct{ Message, Type, Code, Param string }
			}
			if err := json.Unmarshal(body, &v); err != nil || v.Error.Message == "" || v.Error.Type == "" || h.Get("X-Should-Retry") != "false" || h.Get("Content-Type") != "application/json" {
				t.Errorf("%s %d: %v %s", d.Name(), status, h, body)
			}
			if d.Name() == gate.OpenAI && (v.Error.Code != string(gate.CodePolicy) || v.Error.Param != p.Param) {
				t.Errorf("openai %d: %s", status, body)
			}
			if d.Name() == gate.Anthropic && v.Type != "error" {
				t.Errorf("anthropic %d: %s", status, body)
			}
		}
	}
}

func fuzzStream(f *testing.F, d wire.Dialect, endpoint string) {
	f.Add([]byte(chatChunk(`{"index":0,"delta":{"content":"a\u0062","tool_calls":[{"index":0,"function":{"arguments":"{}"}}]},"finish_reason":"stop"}`)))
	f.Add([]byte("event: content_block_delta\r\ndata: {\"type\":\"content_block_delta\",\r\ndata: \"index\":0,\"delta\":{\"text\":\"x\"}}\r\n\r\n"))
	f.Add([]byte(`data: {"type":"response.brand_new.delta","item_id":"i","delta":"d","response":{"output":[{"content":[{"text":"t"}]}]}}` + "\n\n"))
	f.Add([]byte(": comment with words\n\ndata: [DONE]\n\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		s := d.Stream(wire.Route{Endpoint: endpoint})
		sp := sse.NewSplitter(0)
		sp.Write(in)
		for {
			raw, ok := sp.Next()
			if !ok {
				break
			}
			fr, err := s.Read(raw)
			if err != nil {
				continue
			}
			for i := range fr.Texts {
				seg := &fr.Texts[i].Segment
				if seg.Place.Coding == gate.Nowhere {
					continue
				}
				got := textAt(t, raw, seg)
				if seg.Place.Coding == gate.Verbatim {
					got = bytes.ToValidUTF8(got, []byte("\uFFFD"))
				}
				if !bytes.Equal(got, seg.Text) {
					t.Fatalf("%s: text %q, in the frame %q", seg.Path, seg.Text, got)
				}
			}
		}
		for _, end := range [][]byte{s.Stop(&gate.Problem{Status: 400}), s.Fail(&gate.Problem{Status: 500})} {
			for _, line := range bytes.Split(end, []byte("\n")) {
				if j, ok := bytes.CutPrefix(line, []byte("data: ")); ok && string(j) != "[DONE]" {
					if _, err := strictjson.Parse(j, strictjson.Limits{}); err != nil {
						t.Fatalf("end is not JSON: %v %q", err, j)
					}
				}
			}
		}
	})
}

func FuzzOpenAIStream(f *testing.F)    { fuzzStream(f, openai.Dialect{}, "chat.completions") }
func FuzzResponsesStream(f *testing.F) { fuzzStream(f, openai.Dialect{}, "responses") }
func FuzzAnthropicStream(f *testing.F) { fuzzStream(f, anthropic.Dialect{}, "messages") }

func BenchmarkChatChunk(b *testing.B) {
	raw := []byte(chatChunk(`{"index":0,"delta":{"content":" word"},"logprobs":null,"finish_reason":null}`))
	s := openai.Dialect{}.Stream(routes[gate.OpenAI])
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Read(raw); err != nil {
			b.Fatal(err)
		}
	}
}
