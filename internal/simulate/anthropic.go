package simulate

import (
	"encoding/json"
	"net/http"
	"strings"
)

func (c *call) routeAnthropic() {
	p, post := c.r.URL.Path, c.r.Method == http.MethodPost
	switch {
	case p == "/v1/messages" && post:
		switch {
		case c.ask.model == "":
			c.fail(http.StatusBadRequest, "model: Field required")
		case c.ask.body["max_tokens"] == nil:
			c.fail(http.StatusBadRequest, "max_tokens: Field required")
		default:
			c.messages()
		}
	case p == "/v1/messages/count_tokens" && post:
		c.json(200, object{"input_tokens": tokens(string(c.body))})
	case p == "/v1/complete" && post:
		c.json(200, object{"type": "completion", "id": "compl_" + c.id, "completion": c.reply(0).text, "stop_reason": "stop_sequence", "model": c.ask.model})
	case p == "/v1/models":
		m := anthropicModel("claude-sonnet-4-5")
		c.json(200, object{"data": []any{m}, "has_more": false, "first_id": m["id"], "last_id": m["id"]})
	case strings.HasPrefix(p, "/v1/models/"):
		c.json(200, anthropicModel(strings.TrimPrefix(p, "/v1/models/")))
	default:
		c.fail(http.StatusNotFound, "Not found")
	}
}

func anthropicModel(id string) object {
	return object{"type": "model", "id": id, "display_name": id, "created_at": "2026-01-01T00:00:00Z"}
}

// blocks are the content of an answer.
func (c *call) blocks(r reply) []any {
	out := []any{}
	thinking := r.thinking
	if t, ok := c.ask.body["thinking"].(object); ok && thinking == "" && (t["type"] == "enabled" || t["type"] == "adaptive") {
		thinking = "The question is simple; a short answer will do."
	}
	if thinking != "" {
		out = append(out, object{"type": "thinking", "thinking": thinking, "signature": "c2ltdWxhdGVk"})
	}
	if text := r.text + r.refusal; text != "" {
		out = append(out, object{"type": "text", "text": text})
	}
	if r.tool != "" {
		var input any
		if json.Unmarshal([]byte(r.arguments), &input) != nil {
			input = object{}
		}
		out = append(out, object{"type": "tool_use", "id": "toolu_" + c.id, "name": r.tool, "input": input})
	}
	return out
}

func (r reply) stopReason() string {
	switch {
	case r.finish != "":
		return r.finish
	case r.tool != "":
		return "tool_use"
	case r.refusal != "":
		return "refusal"
	}
	return "end_turn"
}

func (c *call) message(content []any, stop any, out int) object {
	return object{"id": "msg_" + c.id, "type": "message", "role": "assistant", "model": c.ask.model, "content": content,
		"stop_reason": stop, "stop_sequence": nil, "usage": object{"input_tokens": tokens(string(c.body)), "output_tokens": out,
			"cache_creation_input_tokens": 0, "cache_read_input_tokens": 0, "service_tier": "standard"}}
}

// messages answers POST /v1/messages. The sequence of events follows
// https://docs.anthropic.com/en/docs/build-with-claude/streaming.
func (c *call) messages() {
	r := c.reply(0)
	blocks, out := c.blocks(r), tokens(r.text+r.arguments+r.thinking)
	if !c.ask.stream {
		c.json(200, c.message(blocks, r.stopReason(), out))
		return
	}
	frames := []frame{event("message_start", object{"type": "message_start", "message": c.message([]any{}, nil, 1)})}
	for i, b := range blocks {
		frames = c.blockEvents(frames, i, b.(object), r)
		if i == 0 {
			frames = append(frames, event("ping", object{"type": "ping"}))
		}
	}
	frames = append(frames,
		event("message_delta", object{"type": "message_delta", "delta": object{"stop_reason": r.stopReason(), "stop_sequence": nil}, "usage": object{"output_tokens": out}}),
		event("message_stop", object{"type": "message_stop"}))
	c.stream(frames)
}

func (c *call) blockEvents(frames []frame, i int, b object, r reply) []frame {
	open := object{}
	for k, v := range b {
		open[k] = v
	}
	kind, field, text := "text_delta", "text", ""
	switch b["type"] {
	case "text":
		open["text"], text = "", b["text"].(string)
	case "thinking":
		open["thinking"], open["signature"] = "", ""
		kind, field, text = "thinking_delta", "thinking", b["thinking"].(string)
	case "tool_use":
		open["input"] = object{}
		kind, field, text = "input_json_delta", "partial_json", r.arguments
	}
	frames = append(frames, event("content_block_start", object{"type": "content_block_start", "index": i, "content_block": open}))
	delta := func(d object) {
		frames = append(frames, deltaFrame("content_block_delta", object{"type": "content_block_delta", "index": i, "delta": d}))
	}
	for _, p := range c.pieces(text) {
		delta(object{"type": kind, field: p})
	}
	if b["type"] == "thinking" {
		delta(object{"type": "signature_delta", "signature": b["signature"]})
	}
	return append(frames, event("content_block_stop", object{"type": "content_block_stop", "index": i}))
}
