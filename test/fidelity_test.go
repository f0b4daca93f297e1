package test

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"sallyport.dev/sallyport/test/gatetest"
)

type request struct {
	name, method, target, contentType string
	header                            http.Header
	body                              []byte
}

func chat(body string) request {
	return request{method: "POST", target: "/v1/chat/completions", contentType: "application/json", body: []byte(body)}
}

func messages(body string) request {
	return request{method: "POST", target: "/v1/messages", contentType: "application/json", body: []byte(body), header: http.Header{"Anthropic-Version": {"2023-06-01"}, "X-Api-Key": {"sk-test"}}}
}

func named(name string, r request) request { r.name = name; return r }

func gzipped(s string) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	w.Write([]byte(s))
	w.Close()
	return b.Bytes()
}

// requests is what clients send that is unusual but valid: none of its bytes may change.
func requests() []request {
	multipart := "--XyZ\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\nuser_data\r\n--XyZ\r\nContent-Disposition: form-data; name=\"file\"; filename=\"notes.txt\"\r\nContent-Type: text/plain\r\n\r\nA note about gardens.\r\n--XyZ--\r\n"
	return []request{
		named("odd spacing and numbers", chat("{ \"model\" :\"gpt-4o\",\n\t\"temperature\":0.70, \"seed\": 12345678901234567890.50,\"messages\":[ {\"role\":\"user\",\"content\":\"caf\\u00e9 \\ud83c\\udf31 / \\/ \u2028\"} ] }\n")),
		named("unknown fields", chat(`{"model":"m","messages":[{"role":"user","content":"hello","x_new":{"a":[1,null,true]}}],"zz_future":"yes"}`)),
		named("every content part", chat(`{"model":"m","messages":[{"role":"user","content":[{"type":"text","text":"what is this"},{"type":"image_url","image_url":{"url":"data:image/png;base64,iVBORw0KGgo="}}]}]}`)),
		named("tools", chat(`{"model":"m","messages":[{"role":"user","content":"weather in Bern?"},{"role":"assistant","tool_calls":[{"id":"c1","type":"function","function":{"name":"w","arguments":"{\"city\":\"B\\u0065rn\"}"}}]},{"role":"tool","tool_call_id":"c1","content":"{\"t\":21}"}],"tools":[{"type":"function","function":{"name":"w","description":"the weather","parameters":{"type":"object","properties":{"city":{"type":"string"},"City":{"type":"string"}}}}}]}`)),
		named("responses items", request{method: "POST", target: "/v1/responses", contentType: "application/json; charset=utf-8", body: []byte(`{"model":"m","instructions":"be kind","input":[{"role":"user","content":[{"type":"input_text","text":"hi"}]},{"type":"function_call_output","call_id":"x","output":"ok"}]}`)}),
		named("anthropic", messages(`{"model":"c","max_tokens":10,"system":[{"type":"text","text":"be kind","cache_control":{"type":"ephemeral"}}],"messages":[{"role":"user","content":"hi"},{"role":"assistant","content":[{"type":"thinking","thinking":"hm","signature":"RXFv"},{"type":"text","text":"yes?"}]},{"role":"user","content":"more"}]}`)),
		named("gzip", func() request {
			r := chat("")
			r.body, r.header = gzipped(`{"model":"m","messages":[{"role":"user","content":"hello"}]}`), http.Header{"Content-Encoding": {"gzip"}}
			return r
		}()),
		named("multipart", request{method: "POST", target: "/v1/files", contentType: "multipart/form-data; boundary=XyZ", body: []byte(multipart)}),
		named("query and escaped path", request{method: "GET", target: "/v1/models/ft%3Agpt%2Fmine?after=a%20b&x=1;2&&limit=3"}),
		named("double slash", request{method: "GET", target: "/v1//models"}),
		named("delete without body", request{method: "DELETE", target: "/v1/files/file-1"}),
		named("post without body", request{method: "POST", target: "/v1/responses/r1/cancel"}),
		named("unknown endpoint", request{method: "POST", target: "/v1/brand/new?x=y", contentType: "application/json", body: []byte(`{"text":"hello"}`)}),
		named("unknown headers", func() request {
			r := chat(`{"model":"m","messages":[]}`)
			r.header = http.Header{"X-Custom": {"a", "b"}, "Openai-Beta": {"x=v1"}, "Idempotency-Key": {"k"}, "X-Stainless-Lang": {"go"}, "Cookie": {"a=b"}}
			return r
		}()),
	}
}

type answer struct {
	name  string
	reply gatetest.Reply
}

const chatStream = ": keep-alive\n\ndata: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"finish_reason\":null}]}\n\n" +
	"data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Gr\\u00fc\xc3\x9fe \xf0\x9f\x8c\xb1\"},\"finish_reason\":null}]}\n\n" +
	"event: x-unknown\ndata: {\"anything\":[1,2,{\"a\":\"b\"}]}\n\n" +
	"data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"c\",\"type\":\"function\",\"function\":{\"name\":\"w\",\"arguments\":\"{\\\"a\\\":\"}}]},\"finish_reason\":null}]}\r\n\r\n" +
	"data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n" +
	"data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2,\"total_tokens\":3}}\n\ndata: [DONE]\n\n"

const anthropicStream = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"c\",\"content\":[],\"stop_reason\":null,\"usage\":{\"input_tokens\":3,\"output_tokens\":1}}}\n\n" +
	"event: ping\ndata: {\"type\": \"ping\"}\n\n" +
	"event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n" +
	"event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"The garden is \"}}\n\n" +
	"event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"green.\"}}\n\n" +
	"event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\n" +
	"event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\",\"stop_sequence\":null},\"usage\":{\"output_tokens\":5}}\n\n" +
	"event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"

func jsonReply(status int, body string, more http.Header) gatetest.Reply {
	h := http.Header{"Content-Type": {"application/json"}}
	for k, v := range more {
		h[k] = v
	}
	return gatetest.Reply{Status: status, Header: h, Body: []byte(body)}
}

func answers() []answer {
	binary, _ := base64.StdEncoding.DecodeString("/+MYxAAAAANIAAAAAExBTUUzLjk4LjIA/////w==")
	return []answer{
		{"odd JSON", jsonReply(200, "{\"id\" : \"x\",\n \"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"Gr\\u00fc\u00dfe\",\"unknown\":1.50}}],\"service_tier\":\"default\" }\n", http.Header{"X-Request-Id": {"req_1"}, "Openai-Processing-Ms": {"7"}, "X-Ratelimit-Remaining-Tokens": {"5"}, "X-Unknown": {"a", "b"}, "Set-Cookie": {"a=1", "b=2"}})},
		{"429", jsonReply(429, `{"error":{"message":"slow down","type":"rate_limit_error","param":null,"code":"rate_limit_exceeded"}}`, http.Header{"Retry-After": {"7"}, "Retry-After-Ms": {"6500"}, "X-Should-Retry": {"true"}})},
		{"401", jsonReply(401, `{"error":{"message":"Incorrect API key","type":"invalid_request_error","code":"invalid_api_key","param":null}}`, http.Header{"Www-Authenticate": {"Bearer"}})},
		{"503 as HTML", gatetest.Reply{Status: 503, Header: http.Header{"Content-Type": {"text/html"}}, Body: []byte("<html><body>upstream busy</body></html>")}},
		{"empty 200", gatetest.Reply{Status: 200, Header: http.Header{"Content-Type": {"application/json"}}, Body: nil}},
		{"204", gatetest.Reply{Status: 204, Header: http.Header{"X-Request-Id": {"r"}}}},
		{"307 is not followed", gatetest.Reply{Status: 307, Header: http.Header{"Location": {"http://127.0.0.1:1/elsewhere"}}, Body: nil}},
		{"binary audio", gatetest.Reply{Status: 200, Header: http.Header{"Content-Type": {"audio/mpeg"}}, Chunks: [][]byte{binary[:5], binary[5:]}}},
		{"octet stream with text", gatetest.Reply{Status: 200, Header: http.Header{"Content-Type": {"application/octet-stream"}, "Content-Disposition": {"attachment; filename=\"a.jsonl\""}}, Body: []byte("{\"a\":1}\n{\"a\":2}\n")}},
		{"no content type", gatetest.Reply{Status: 200, Header: http.Header{"Content-Type": nil}, Body: []byte("plain words")}},
		{"trailers", gatetest.Reply{Status: 200, Header: http.Header{"Content-Type": {"text/plain"}}, Chunks: [][]byte{[]byte("a"), []byte("b")}, Trailer: http.Header{"X-Checksum": {"abc"}}}},
	}
}

type got struct {
	status  int
	header  http.Header
	body    []byte
	trailer http.Header
}

func do(t *testing.T, base string, r request) got {
	t.Helper()
	req, err := http.NewRequestWithContext(context.Background(), r.method, base+r.target, bytes.NewReader(r.body))
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range r.header {
		req.Header[k] = v
	}
	if r.contentType != "" {
		req.Header.Set("Content-Type", r.contentType)
	}
	if req.Header.Get("Authorization") == "" && req.Header.Get("X-Api-Key") == "" {
		req.Header.Set("Authorization", "Bearer sk-test")
	}
	req.Header.Set("User-Agent", "fidelity/1")
	tr := &http.Transport{DisableCompression: true}
	defer tr.CloseIdleConnections()
	resp, err := tr.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("read answer: %v", err)
	}
	return got{resp.StatusCode, resp.Header, b, resp.Trailer}
}

func sum(b []byte) string { return fmt.Sprintf("%x", sha256.Sum256(b)) }

// sameHeaders compares end-to-end fields; what may differ is named.
func sameHeaders(t *testing.T, what string, direct, through http.Header, may ...string) {
	t.Helper()
	skip := map[string]bool{"Date": true, "Sallyport-Id": true}
	for _, k := range may {
		skip[k] = true
	}
	for k, v := range direct {
		if !skip[k] && strings.Join(v, "\x00") != strings.Join(through[k], "\x00") {
			t.Errorf("%s: header %s is %q, directly %q", what, k, through[k], v)
		}
	}
	for k := range through {
		if _, ok := direct[k]; !ok && !skip[k] {
			t.Errorf("%s: header %s: %q was added", what, k, through[k])
		}
	}
}

// MUST SHOW 3: request bytes at the upstream and answer bytes at the client are those of a direct call.
func TestBytesAreThoseOfADirectCall(t *testing.T) {
	up := gatetest.NewUpstream(t)
	g := gatetest.Start(t, up, "")
	for _, r := range requests() {
		t.Run("request/"+r.name, func(t *testing.T) {
			up.Answer(jsonReply(200, `{"ok":true}`, nil))
			do(t, up.URL, r)
			through := do(t, g.URL, r)
			seen := up.Seen()
			a, b := seen[len(seen)-2], seen[len(seen)-1]
			if through.status != 200 {
				t.Fatalf("status %d: %s", through.status, through.body)
			}
			if sum(a.Body) != sum(b.Body) || a.Method != b.Method || a.URI != b.URI {
				t.Errorf("the upstream saw %s %s %q, directly %s %s %q", b.Method, b.URI, b.Body, a.Method, a.URI, a.Body)
			}
			sameHeaders(t, "request", a.Header, b.Header, "Accept-Encoding")
		})
	}
	for _, a := range answers() {
		t.Run("answer/"+a.name, func(t *testing.T) {
			up.Answer(a.reply)
			r := requests()[0]
			direct, through := do(t, up.URL, r), do(t, g.URL, r)
			if direct.status != through.status || sum(direct.body) != sum(through.body) {
				t.Errorf("status %d body %q, directly %d %q", through.status, through.body, direct.status, direct.body)
			}
			sameHeaders(t, "answer", direct.header, through.header)
			sameHeaders(t, "trailer", direct.trailer, through.trailer)
			if len(through.header.Get("Sallyport-Id")) != 26 {
				t.Errorf("Sallyport-Id is %q", through.header.Get("Sallyport-Id"))
			}
		})
	}
}

// Streams chunked at every byte offset: the same bytes come out, in both dialects.
func TestStreamsPassByteForByteHoweverChunked(t *testing.T) {
	up := gatetest.NewUpstream(t)
	g := gatetest.Start(t, up, "audit: {mode: best_effort}\n")
	h := http.Header{"Content-Type": {"text/event-stream; charset=utf-8"}, "X-Request-Id": {"r1"}}
	for _, s := range []struct {
		name, stream string
		r            request
	}{
		{"openai", chatStream, chat(`{"model":"m","stream":true,"messages":[{"role":"user","content":"hi"}]}`)},
		{"anthropic", anthropicStream, messages(`{"model":"c","max_tokens":9,"stream":true,"messages":[{"role":"user","content":"hi"}]}`)},
	} {
		t.Run(s.name, func(t *testing.T) {
			want := sum([]byte(s.stream))
			try := func(what string, chunks [][]byte) {
				up.Answer(gatetest.Reply{Status: 200, Header: h, Chunks: chunks})
				if got := do(t, g.URL, s.r); got.status != 200 || sum(got.body) != want {
					t.Fatalf("%s: status %d, got %q", what, got.status, got.body)
				}
			}
			for at := 1; at < len(s.stream); at++ {
				try(fmt.Sprintf("cut at %d", at), [][]byte{[]byte(s.stream[:at]), []byte(s.stream[at:])})
			}
			var single [][]byte
			for i := range len(s.stream) {
				single = append(single, []byte(s.stream[i:i+1]))
			}
			try("byte by byte", single)
		})
	}
}
