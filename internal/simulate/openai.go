package simulate

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"mime"
	"mime/multipart"
	"net/http"
	"strings"
)

func (c *call) routeOpenAI() {
	p, post := c.r.URL.Path, c.r.Method == http.MethodPost
	if post && c.ask.body != nil && c.ask.model == "" && p != "/v1/moderations" && p != "/v1/images/generations" {
		c.fail(http.StatusBadRequest, "you must provide a model parameter")
		return
	}
	switch {
	case p == "/v1/chat/completions" && post:
		if c.ask.model == GuardModel && !c.script.has("say") {
			c.script["say"] = c.guard()
		}
		c.chat()
	case p == "/v1/responses" && post:
		c.responses()
	case p == "/v1/completions" && post:
		c.completions()
	case p == "/v1/embeddings" && post:
		c.embeddings()
	case p == "/v1/models":
		c.json(200, object{"object": "list", "data": []any{openAIModel("gpt-4o"), openAIModel("gpt-4o-mini")}})
	case strings.HasPrefix(p, "/v1/models/"):
		c.json(200, openAIModel(strings.TrimPrefix(p, "/v1/models/")))
	case p == "/v1/files" && post:
		c.upload()
	case p == "/v1/files":
		c.json(200, object{"object": "list", "data": []any{}, "has_more": false})
	case p == "/v1/audio/speech" && post:
		c.whole(200, "audio/wav", tone())
	case p == "/v1/audio/transcriptions" && post:
		c.json(200, object{"text": c.script.text("say", sentence("audio", 0))})
	case p == "/v1/moderations" && post:
		c.moderations()
	case p == "/classify" && post:
		c.classify()
	case p == "/v1/images/generations" && post:
		c.json(200, object{"created": created, "data": []any{object{"b64_json": base64.StdEncoding.EncodeToString(dot), "revised_prompt": c.script.text("say", "A dot.")}}})
	default:
		c.fail(http.StatusNotFound, "Unknown request URL: "+c.r.Method+" "+p+".")
	}
}

func openAIModel(id string) object {
	return object{"id": id, "object": "model", "created": created, "owned_by": "simulator"}
}

// usage is the bill in chat's words.
func (c *call) usage(out int) object {
	in := tokens(string(c.body))
	return object{"prompt_tokens": in, "completion_tokens": out, "total_tokens": in + out,
		"prompt_tokens_details": object{"cached_tokens": 0}, "completion_tokens_details": object{"reasoning_tokens": 0}}
}

func (c *call) toolCall(choice int, r reply) object {
	return object{"id": c.toolID(choice), "type": "function", "function": object{"name": r.tool, "arguments": r.arguments}}
}

func (c *call) toolID(choice int) string { return "call_" + c.id[:20] + string(rune('a'+choice%26)) }

func (r reply) chatFinish() string {
	switch {
	case r.finish != "":
		return r.finish
	case r.tool != "":
		return "tool_calls"
	}
	return "stop"
}

func orNull(s string) any {
	if s == "" {
		return nil
	}
	return s
}

func (c *call) chat() {
	n := c.script.number("choices", c.ask.n)
	if c.ask.stream {
		c.chatStream(n)
		return
	}
	out, choices := 0, []any{}
	for i := range n {
		r := c.reply(i)
		out += tokens(r.text + r.arguments)
		m := object{"role": "assistant", "content": orNull(r.text), "refusal": orNull(r.refusal), "annotations": []any{}}
		if r.tool != "" {
			m["tool_calls"] = []any{c.toolCall(i, r)}
		}
		choices = append(choices, object{"index": i, "message": m, "logprobs": nil, "finish_reason": r.chatFinish()})
	}
	answer := object{"id": "chatcmpl-" + c.id, "object": "chat.completion", "created": created, "model": c.ask.model,
		"choices": choices, "usage": c.usage(out), "service_tier": "default", "system_fingerprint": "fp_simulated"}
	if c.script.has("extras") {
		answer["simulated_unknown"] = object{"kept": true}
	}
	c.json(200, answer)
}

// chatStream interleaves its choices, a delta of each in turn.
func (c *call) chatStream(n int) {
	chunk := func(i int, delta object, finish any, isDelta bool) frame {
		f := data(object{"id": "chatcmpl-" + c.id, "object": "chat.completion.chunk", "created": created, "model": c.ask.model,
			"choices": []any{object{"index": i, "delta": delta, "logprobs": nil, "finish_reason": finish}}, "system_fingerprint": "fp_simulated"})
		f.delta = isDelta
		return f
	}
	out := 0
	lines := make([][]frame, n)
	for i := range n {
		r := c.reply(i)
		out += tokens(r.text + r.arguments)
		l := []frame{chunk(i, object{"role": "assistant", "content": "", "refusal": nil}, nil, false)}
		for _, p := range c.pieces(r.text) {
			l = append(l, chunk(i, object{"content": p}, nil, true))
		}
		for _, p := range c.pieces(r.refusal) {
			l = append(l, chunk(i, object{"refusal": p}, nil, true))
		}
		if r.tool != "" {
			first := c.toolCall(i, reply{tool: r.tool})
			first["index"] = 0
			l = append(l, chunk(i, object{"tool_calls": []any{first}}, nil, true))
			for _, p := range c.pieces(r.arguments) {
				l = append(l, chunk(i, object{"tool_calls": []any{object{"index": 0, "function": object{"arguments": p}}}}, nil, true))
			}
		}
		lines[i] = append(l, chunk(i, object{}, r.chatFinish(), false))
	}
	var frames []frame
	for at, more := 0, true; more; at++ {
		more = false
		for _, l := range lines {
			if at < len(l) {
				frames, more = append(frames, l[at]), true
			}
		}
	}
	if c.ask.usage {
		frames = append(frames, data(object{"id": "chatcmpl-" + c.id, "object": "chat.completion.chunk", "created": created,
			"model": c.ask.model, "choices": []any{}, "usage": c.usage(out)}))
	}
	c.stream(append(frames, frame{data: "[DONE]"}))
}

func (c *call) completions() {
	n := c.script.number("choices", c.ask.n)
	one := func(i int, text string, finish any) object {
		return object{"index": i, "text": text, "logprobs": nil, "finish_reason": finish}
	}
	wrap := func(choices []any) object {
		return object{"id": "cmpl-" + c.id, "object": "text_completion", "created": created, "model": c.ask.model, "choices": choices}
	}
	var frames []frame
	choices, out := []any{}, 0
	for i := range n {
		r := c.reply(i)
		out += tokens(r.text)
		choices = append(choices, one(i, r.text, "stop"))
		for _, p := range c.pieces(r.text) {
			frames = append(frames, deltaFrame("", wrap([]any{one(i, p, nil)})))
		}
		frames = append(frames, data(wrap([]any{one(i, "", "stop")})))
	}
	if c.ask.stream {
		c.stream(append(frames, frame{data: "[DONE]"}))
		return
	}
	answer := wrap(choices)
	answer["usage"] = c.usage(out)
	c.json(200, answer)
}

func (c *call) embeddings() {
	inputs := 1
	if l, ok := c.ask.body["input"].([]any); ok {
		inputs = len(l)
	}
	vector := make([]float32, 8)
	for i := range vector {
		vector[i] = float32(c.id[i]) / 256
	}
	var embedding any = vector
	if c.ask.body["encoding_format"] == "base64" {
		var b bytes.Buffer
		_ = binary.Write(&b, binary.LittleEndian, vector) // a buffer takes everything
		embedding = base64.StdEncoding.EncodeToString(b.Bytes())
	}
	list := []any{}
	for i := range inputs {
		list = append(list, object{"object": "embedding", "index": i, "embedding": embedding})
	}
	in := tokens(string(c.body))
	c.json(200, object{"object": "list", "model": c.ask.model, "data": list, "usage": object{"prompt_tokens": in, "total_tokens": in}})
}

// upload reads a multipart body as strictly as mime/multipart does.
func (c *call) upload() {
	_, params, err := mime.ParseMediaType(c.r.Header.Get("Content-Type"))
	if err != nil {
		c.fail(http.StatusBadRequest, "The request is not multipart.")
		return
	}
	form, err := multipart.NewReader(bytes.NewReader(c.body), params["boundary"]).ReadForm(64 << 20)
	if err != nil || len(form.File["file"]) == 0 {
		c.fail(http.StatusBadRequest, "'file' is a required property")
		return
	}
	defer form.RemoveAll()
	f, purpose := form.File["file"][0], "user_data"
	if p := form.Value["purpose"]; len(p) > 0 {
		purpose = p[0]
	}
	c.json(200, object{"id": "file-" + c.id, "object": "file", "bytes": f.Size, "created_at": created,
		"filename": f.Filename, "purpose": purpose, "status": "processed"})
}

// tone is a short sound as a WAV file: bytes of every value, none of them text.
func tone() []byte {
	const n = 16 << 10
	b := []byte("RIFF")
	b = binary.LittleEndian.AppendUint32(b, 36+n)
	b = append(b, "WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00\x40\x1f\x00\x00\x40\x1f\x00\x00\x01\x00\x08\x00data"...)
	b = binary.LittleEndian.AppendUint32(b, n)
	for i := range n {
		b = append(b, byte(i*7+i/251))
	}
	return b
}

// dot is a picture of one point, as a GIF.
var dot = []byte("GIF89a\x01\x00\x01\x00\x80\x00\x00\xff\xff\xff\x00\x00\x00,\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00;")
