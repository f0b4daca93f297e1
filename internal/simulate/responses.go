package simulate

// responses answers POST /v1/responses. The sequence of events follows
// https://platform.openai.com/docs/api-reference/responses-streaming.
func (c *call) responses() {
	r := c.reply(0)
	items := c.items(r)
	if !c.ask.stream {
		c.json(200, c.response("completed", items, r))
		return
	}
	s := &sequence{}
	s.add("response.created", object{"response": c.response("in_progress", []any{}, r)}, false)
	s.add("response.in_progress", object{"response": c.response("in_progress", []any{}, r)}, false)
	for i, item := range items {
		c.itemEvents(s, i, item.(object))
	}
	s.add("response.completed", object{"response": c.response("completed", items, r)}, false)
	c.stream(s.frames)
}

// sequence numbers the events of one stream.
type sequence struct{ frames []frame }

func (s *sequence) add(name string, v object, delta bool) {
	v["type"] = name
	v["sequence_number"] = len(s.frames)
	s.frames = append(s.frames, frame{event: name, data: encode(v), delta: delta})
}

func (c *call) response(status string, output []any, r reply) object {
	var usage any
	if status == "completed" {
		in, out := tokens(string(c.body)), tokens(r.text+r.arguments+r.thinking)
		usage = object{"input_tokens": in, "input_tokens_details": object{"cached_tokens": 0}, "output_tokens": out,
			"output_tokens_details": object{"reasoning_tokens": 0}, "total_tokens": in + out}
	}
	tools, _ := c.ask.body["tools"].([]any)
	if tools == nil {
		tools = []any{}
	}
	return object{"id": "resp_" + c.id, "object": "response", "created_at": created, "status": status, "model": c.ask.model,
		"output": output, "usage": usage, "error": nil, "incomplete_details": nil, "instructions": c.ask.body["instructions"],
		"metadata": object{}, "parallel_tool_calls": true, "temperature": 1, "top_p": 1, "tool_choice": "auto", "tools": tools,
		"text": object{"format": object{"type": "text"}}}
}

// items are the finished output items of an answer.
func (c *call) items(r reply) []any {
	out := []any{}
	if r.thinking != "" {
		out = append(out, object{"type": "reasoning", "id": "rs_" + c.id,
			"summary": []any{object{"type": "summary_text", "text": r.thinking}}})
	}
	var content []any
	if r.text != "" {
		content = append(content, object{"type": "output_text", "text": r.text, "annotations": []any{}})
	}
	if r.refusal != "" {
		content = append(content, object{"type": "refusal", "refusal": r.refusal})
	}
	if content != nil {
		out = append(out, object{"type": "message", "id": "msg_" + c.id, "status": "completed", "role": "assistant", "content": content})
	}
	if r.tool != "" {
		out = append(out, object{"type": "function_call", "id": "fc_" + c.id, "status": "completed", "call_id": c.toolID(0),
			"name": r.tool, "arguments": r.arguments})
	}
	return out
}

func (c *call) itemEvents(s *sequence, index int, item object) {
	at := func(more object) object {
		more["item_id"], more["output_index"] = item["id"], index
		return more
	}
	open := object{}
	for k, v := range item {
		open[k] = v
	}
	switch item["type"] {
	case "function_call":
		open["status"], open["arguments"] = "in_progress", ""
	case "message":
		open["status"], open["content"] = "in_progress", []any{}
	case "reasoning":
		open["summary"] = []any{}
	}
	s.add("response.output_item.added", object{"output_index": index, "item": open}, false)
	switch item["type"] {
	case "function_call":
		arguments := item["arguments"].(string)
		for _, p := range c.pieces(arguments) {
			s.add("response.function_call_arguments.delta", at(object{"delta": p}), true)
		}
		s.add("response.function_call_arguments.done", at(object{"name": item["name"], "arguments": arguments}), false)
	case "reasoning":
		part := item["summary"].([]any)[0].(object)
		s.add("response.reasoning_summary_part.added", at(object{"summary_index": 0, "part": object{"type": "summary_text", "text": ""}}), false)
		for _, p := range c.pieces(part["text"].(string)) {
			s.add("response.reasoning_summary_text.delta", at(object{"summary_index": 0, "delta": p}), true)
		}
		s.add("response.reasoning_summary_text.done", at(object{"summary_index": 0, "text": part["text"]}), false)
		s.add("response.reasoning_summary_part.done", at(object{"summary_index": 0, "part": part}), false)
	case "message":
		for i, p := range item["content"].([]any) {
			c.partEvents(s, at, i, p.(object))
		}
	}
	s.add("response.output_item.done", object{"output_index": index, "item": item}, false)
}

func (c *call) partEvents(s *sequence, at func(object) object, i int, part object) {
	field, name := "text", "response.output_text"
	open := object{"type": part["type"], "text": "", "annotations": []any{}}
	if part["type"] == "refusal" {
		field, name = "refusal", "response.refusal"
		open = object{"type": "refusal", "refusal": ""}
	}
	s.add("response.content_part.added", at(object{"content_index": i, "part": open}), false)
	for _, p := range c.pieces(part[field].(string)) {
		s.add(name+".delta", at(object{"content_index": i, "delta": p, "logprobs": []any{}}), true)
	}
	s.add(name+".done", at(object{"content_index": i, field: part[field], "logprobs": []any{}}), false)
	s.add("response.content_part.done", at(object{"content_index": i, "part": part}), false)
}
