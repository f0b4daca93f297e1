package test

import (
	"bytes"
	"context"
	"encoding/base64"
	"net/http"
	"strings"
	"testing"

	"sallyport.dev/sallyport/internal/gate"
	"sallyport.dev/sallyport/test/gatetest"
)

// Overrides by upstream, by endpoint and by key: each opens for what it names and nothing else.
func TestPolicyOverridesByWhereAndWho(t *testing.T) {
	const trusted = "Bearer sk-trusted-caller"
	up := gatetest.NewUpstream(t)
	g := gatetest.Start(t, up, "")
	p, _ := g.Event(do(t, g.URL, good.with("Authorization", trusted)).header.Get("Sallyport-Id"))["principal"].(map[string]any)
	id, _ := p["id"].(string)
	if id == "" {
		t.Fatal("no principal on record")
	}
	toChat := chat(`{"model":"m","messages":[{"role":"user","content":"` + hostile + `"}]}`)
	toResponses := request{method: "POST", target: "/v1/responses", contentType: "application/json", body: []byte(`{"model":"m","input":"` + hostile + `"}`)}
	toClaude := messages(`{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"` + hostile + `"}]}`)
	base := readConfig(t, g)
	for _, c := range []struct {
		rule                  string
		chat, responses, mine int // statuses: of chat, of Responses, of chat with the trusted credential
		claude                int
	}{
		{"{category: secret, action: allow}", 400, 400, 400, 400},
		{"{upstream: anthropic, action: flag}", 400, 400, 400, 200},
		{"{upstream: \"open*\", action: flag}", 200, 200, 200, 400},
		{"{endpoint: responses, action: flag}", 400, 200, 400, 400},
		{"{key: " + id + ", action: flag}", 400, 400, 200, 400},
		{"{key: " + id + "x, action: flag}", 400, 400, 400, 400},
		{"{direction: answer, action: flag}", 400, 400, 400, 400},
	} {
		rewrite(t, g, base, "inspect: {policy: ["+c.rule+"]}\n")
		if err := g.Server.Reload(context.Background()); err != nil {
			t.Fatal(err)
		}
		sent := len(up.Seen())
		passed := 0
		for _, call := range []struct {
			r    request
			want int
		}{{toChat, c.chat}, {toResponses, c.responses}, {toChat.with("Authorization", trusted), c.mine}, {toClaude, c.claude}} {
			res := do(t, g.URL, call.r)
			if res.status != call.want {
				t.Errorf("%s: %s: %d, want %d", c.rule, call.r.target, res.status, call.want)
			}
			if call.want == 200 {
				passed++
				if e := g.Event(res.header.Get("Sallyport-Id")); len(asList(e["findings"])) == 0 {
					t.Errorf("%s: flagged and not on record", c.rule)
				}
			}
		}
		if n := len(up.Seen()) - sent; n != passed {
			t.Errorf("%s: %d calls left, %d passed", c.rule, n, passed)
		}
	}
}

func asList(v any) []any {
	l, _ := v.([]any)
	return l
}

// Where only a span is taken out, every other byte stays: of odd spacing, escapes and numbers too.
func TestSanitiseKeepsAllOtherBytes(t *testing.T) {
	up := gatetest.NewUpstream(t)
	g := gatetest.Start(t, up, "")
	const before = "{ \"model\" :\"m\",\t\"temperature\":0.70, \"messages\":[ {\"role\":\"user\",\"content\":\"caf\\u00e9 \\/ \u2028?\"},\r\n {\"role\":\"assistant\",\"tool_calls\":[{\"id\":\"c1\",\"type\":\"function\",\"function\":{\"name\":\"w\",\"arguments\":\"{}\"}}]},{\"role\":\"tool\",\"tool_call_id\":\"c1\",\"content\":\"The page says: \\u0022"
	const after = "\\u0022 and then the weather: 21 \\u00b0C.\"} ], \"seed\": 12345678901234567890.50 }\n"
	body := before + hostile + after
	plain := chat(body)
	packed := chat("")
	packed.body, packed.header = gzipped(body), http.Header{"Content-Encoding": {"gzip"}}
	for name, r := range map[string]request{"plain": plain, "gzip": packed} {
		res := do(t, g.URL, r)
		if res.status != 200 {
			t.Fatalf("%s: %d %s", name, res.status, res.body)
		}
		seen := up.Seen()[len(up.Seen())-1]
		got := string(seen.Body)
		if !strings.HasPrefix(got, before) || !strings.HasSuffix(got, after) || strings.Contains(got, "Ignore all previous") {
			t.Errorf("%s: upstream got %q", name, got)
		}
		if seen.Header.Get("Content-Encoding") != "" {
			t.Errorf("%s: a plain body is called %s", name, seen.Header.Get("Content-Encoding"))
		}
		if e := g.Event(res.header.Get("Sallyport-Id")); e["sanitized"] != true {
			t.Errorf("%s: the record does not say that bytes were changed: %v", name, e)
		}
	}
}

// unreadRequests has, for each kind of content that cannot be read, requests that hold it.
func unreadRequests() map[gate.UninspectedKind][]request {
	b64 := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	part := func(p string) request {
		return chat(`{"model":"m","messages":[{"role":"user","content":[{"type":"text","text":"what is this"},` + p + `]}]}`)
	}
	block := func(p string) request {
		return messages(`{"model":"m","max_tokens":9,"messages":[{"role":"user","content":[{"type":"text","text":"what is this"},` + p + `]}]}`)
	}
	post := func(target, contentType, body string) request {
		return request{method: "POST", target: target, contentType: contentType, body: []byte(body)}
	}
	const png, pdf, mp3, mp4 = "\x89PNG\r\n\x1a\n", "%PDF-1.7\n", "ID3\x04\x00", "\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00"
	return map[gate.UninspectedKind][]request{
		gate.UninspectedImage: {
			part(`{"type":"image_url","image_url":{"url":"data:image/png;base64,` + b64(png) + `"}}`),
			block(`{"type":"image","source":{"type":"base64","media_type":"image/png","data":"` + b64(png) + `"}}`),
		},
		gate.UninspectedAudio: {part(`{"type":"input_audio","input_audio":{"format":"mp3","data":"` + b64(mp3) + `"}}`)},
		gate.UninspectedVideo: {part(`{"type":"file","file":{"filename":"a.mp4","file_data":"data:video/mp4;base64,` + b64(mp4) + `"}}`)},
		gate.UninspectedFile: {
			part(`{"type":"file","file":{"filename":"a.pdf","file_data":"data:application/pdf;base64,` + b64(pdf) + `"}}`),
			block(`{"type":"document","source":{"type":"base64","media_type":"application/pdf","data":"` + b64(pdf) + `"}}`),
		},
		gate.UninspectedReference: {
			post("/v1/responses", "application/json", `{"model":"m","input":"go on","previous_response_id":"resp_1"}`),
			block(`{"type":"image","source":{"type":"url","url":"https://pictures.example/a.png"}}`),
		},
		gate.UninspectedOpaque: {
			post("/v1/responses", "application/json", `{"model":"m","input":[{"type":"reasoning","id":"rs_1","summary":[],"encrypted_content":"`+b64("state of the provider")+`"}]}`),
			messages(`{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"hi"},{"role":"assistant","content":[{"type":"redacted_thinking","data":"` + b64("state of the provider") + `"}]},{"role":"user","content":"go on"}]}`),
		},
		gate.UninspectedTokens:   {post("/v1/completions", "application/json", `{"model":"m","prompt":[1212,318,257]}`)},
		gate.UninspectedEndpoint: {post("/v1/brand/new", "application/json", `{"text":"hello"}`)},
		gate.UninspectedType:     {post("/v1/chat/completions", "application/x-unheard-of", "\x00\x01\x02\xff\xfe")},
		gate.UninspectedRealtime: {{method: "GET", target: "/v1/realtime?model=m"}},
	}
}

// What cannot be read passes, passes with a flag, or is blocked, as the policy says of its kind; the
// record names it each time.
func TestUninspectedContent(t *testing.T) {
	requests := unreadRequests()
	for _, action := range []gate.Action{gate.Allow, gate.Flag, gate.Block} {
		t.Run(action.String(), func(t *testing.T) {
			up := gatetest.NewUpstream(t)
			var kinds []string
			for _, k := range gate.UninspectedKinds() {
				kinds = append(kinds, k.String()+": "+action.String())
			}
			g := gatetest.Start(t, up, "proxy:\n"+gatetest.Upstreams(up)+"  uninspected: {"+strings.Join(kinds, ", ")+"}\n")
			check := func(kind gate.UninspectedKind, dir string, r request, reply gatetest.Reply) {
				t.Helper()
				up.Answer(reply)
				sent := len(up.Seen())
				res := do(t, g.URL, r)
				e := g.Event(res.header.Get("Sallyport-Id"))
				named := false
				for _, u := range asList(e["uninspected"]) {
					m, _ := u.(map[string]any)
					named = named || (m["kind"] == kind.String() && m["action"] == action.String() && m["direction"] == dir)
				}
				if !named {
					t.Errorf("%s %s %s: the record names %s", kind, dir, r.target, toJSON(e["uninspected"]))
				}
				left := len(up.Seen()) - sent
				if action != gate.Block {
					if res.status != 200 || left != 1 || !bytes.Equal(res.body, reply.Body) || e.Str("outcome") != "completed" {
						t.Errorf("%s %s %s: %d %s, %d left, %s", kind, dir, r.target, res.status, res.body, left, e.Str("outcome"))
					}
					return
				}
				code := string(gate.CodeUninspected)
				if kind == gate.UninspectedRealtime {
					code = string(gate.CodeRealtime)
				}
				if res.status != 400 || !strings.Contains(string(res.body), code) || (dir == "request" && left != 0) {
					t.Errorf("%s %s %s: %d %s, %d left", kind, dir, r.target, res.status, res.body, left)
				}
				if o := e.Str("outcome"); o != "blocked" && kind != gate.UninspectedRealtime {
					t.Errorf("%s %s %s: outcome %s", kind, dir, r.target, o)
				}
			}
			for _, kind := range gate.UninspectedKinds() {
				if kind != gate.UninspectedDetector && len(requests[kind]) == 0 { // that one: the failure table
					t.Errorf("no request for %s", kind)
				}
				for _, r := range requests[kind] {
					check(kind, "request", r, jsonReply(200, `{"ok":true}`, nil))
				}
			}
			binary := func(contentType string) gatetest.Reply {
				return gatetest.Reply{Header: http.Header{"Content-Type": {contentType}}, Body: []byte("\x00\x01\xff\xfe not text")}
			}
			speech := request{method: "POST", target: "/v1/audio/speech", contentType: "application/json", body: []byte(`{"model":"m","input":"hello","voice":"alloy"}`)}
			check(gate.UninspectedAudio, "answer", speech, binary("audio/mpeg"))
			check(gate.UninspectedImage, "answer", speech, binary("image/png"))
			check(gate.UninspectedVideo, "answer", speech, binary("video/mp4"))
			check(gate.UninspectedFile, "answer", speech, binary("application/zip"))
			check(gate.UninspectedFile, "answer", speech, binary("application/octet-stream"))
			check(gate.UninspectedType, "answer", speech, binary("model/x-unheard-of"))
		})
	}
}

// What the record keeps of the words, in each mode; and what it never keeps.
func TestContentModes(t *testing.T) {
	const asked, told = "roses like half shade", "tulips like full sun"
	for _, c := range []struct {
		mode          string
		words, secret bool
	}{{"none", false, false}, {"hashed", false, false}, {"redacted", true, false}, {"full", true, true}} {
		t.Run(c.mode, func(t *testing.T) {
			up := gatetest.NewUpstream(t)
			g := gatetest.Start(t, up, "audit: {content: "+c.mode+"}\nwatch: {log: {level: debug}}\n")
			up.Answer(jsonReply(200, `{"choices":[{"index":0,"message":{"role":"assistant","content":"`+told+`"},"finish_reason":"stop"}]}`, nil))
			ask := func(text string) (request, answer any) {
				res := do(t, g.URL, chat(`{"model":"m","messages":[{"role":"user","content":"`+text+`"}]}`))
				if res.status != 200 {
					t.Fatalf("%d %s", res.status, res.body)
				}
				content, _ := g.Event(res.header.Get("Sallyport-Id"))["content"].(map[string]any)
				if content["mode"] != c.mode {
					t.Errorf("content %v", content)
				}
				return content["request"], content["answer"]
			}
			text := asked + ", and my token is " + leaked
			q1, a1 := ask(text)
			q2, a2 := ask(text)
			q3, _ := ask(asked)
			if q1 != q2 || a1 != a2 || (q1 == q3 && c.mode != "none") || (q1 != nil && c.mode == "none") || (q1 == nil && c.mode != "none") {
				t.Errorf("kept of equal calls: %v and %v, of another: %v; of the answers: %v and %v", q1, q2, q3, a1, a2)
			}
			g.Close()
			for _, what := range []struct {
				text string
				want bool
			}{{asked, c.words}, {told, c.words}, {leaked, c.secret}} {
				if found := holds(t, g.Dir, what.text); (len(found) > 0) != what.want {
					t.Errorf("%q is in %v", what.text, found)
				}
				if strings.Contains(g.Log.String(), what.text) {
					t.Errorf("%q is in the log", what.text)
				}
			}
		})
	}
}

// Every answer has one Sallyport-Id, of its own, that the record knows, whoever made the answer.
func TestEveryAnswerHasItsID(t *testing.T) {
	up := gatetest.NewUpstream(t)
	g := gatetest.Start(t, up, "proxy:\n"+gatetest.Upstreams(up)+"  limits: {body: 64KiB}\n")
	ids := map[string]bool{}
	check := func(name string, r request, reply gatetest.Reply, status int) {
		t.Helper()
		up.Answer(reply)
		res := do(t, g.URL, r)
		id := res.header.Values("Sallyport-Id")
		if res.status != status || len(id) != 1 || len(id[0]) != 26 || ids[id[0]] {
			t.Errorf("%s: %d, ids %v", name, res.status, id)
			return
		}
		ids[id[0]] = true
		g.Event(id[0])
	}
	ok := jsonReply(200, `{}`, nil)
	check("passed", good, ok, 200)
	check("Anthropic", goodClaude, ok, 200)
	check("the provider's own", good, jsonReply(200, `{}`, http.Header{"Sallyport-Id": {"01m83jmfkpyt7bpdk6mx63x37j", "b"}}), 200)
	check("stream", goodStream, streamReply(chatStream), 200)
	check("HEAD", request{method: "HEAD", target: "/v1/models"}, ok, 200)
	check("no content", request{method: "DELETE", target: "/v1/files/f"}, gatetest.Reply{Status: 204}, 204)
	check("provider's error", good, jsonReply(429, `{"error":{"message":"slow down"}}`, http.Header{"Retry-After": {"3"}}), 429)
	check("blocked", chat(`{"model":"m","messages":[{"role":"user","content":"`+hostile+`"}]}`), ok, 400)
	check("ambiguous", chat(`{"model":"m","model":"n"}`), ok, 400)
	check("too large", chat(`{"model":"m","x":"`+strings.Repeat("a", 70<<10)+`"}`), ok, 413)
	check("unknown route", request{method: "GET", target: "/elsewhere"}, ok, 404)
	check("dots", request{method: "GET", target: "/v1/%2e%2e/admin"}, ok, 400)
	check("two credentials", good.with("X-Api-Key", "a").with("Authorization", "Bearer b"), ok, 400)
	check("unreadable answer", good, jsonReply(200, `{"a":`, nil), 502)
	check("binary answer", good, gatetest.Reply{Header: http.Header{"Content-Type": {"audio/mpeg"}}, Body: []byte("\xff\xfb")}, 200)
}
