package openai

import (
	"strings"

	"sallyport.dev/sallyport/internal/gate"
	"sallyport.dev/sallyport/internal/strictjson"
	"sallyport.dev/sallyport/internal/wire"
)

// names are the names that mean something to the provider at structural places.
var names = wire.Names(
	`model messages input instructions prompt suffix stream stream_options tools tool_choice functions
	function_call parallel_tool_calls response_format text format metadata store n stop user
	temperature top_p max_tokens max_completion_tokens max_output_tokens seed logit_bias logprobs
	top_logprobs prediction reasoning reasoning_effort modalities audio voice previous_response_id
	conversation background truncation include service_tier safety_identifier prompt_cache_key
	verbosity web_search_options frequency_penalty presence_penalty`,
	`role content name type id refusal tool_calls tool_call_id function arguments custom annotations
	reasoning_content transcript image_url url detail input_audio data file file_data file_id file_url
	filename output call_id status summary encrypted_content action query queries results code outputs
	logs operation diff error approve reason approval_request_id server_label server_url
	server_description authorization headers allowed_tools require_approval description parameters
	strict schema json_schema grammar definition syntax variables version item item_id index choices
	message delta finish_reason usage object created created_at system_fingerprint response event
	dimensions encoding_format purpose training_file input_file_id endpoint completion_window`,
)

// values are the names whose strings are structure.
var values = wire.Names(
	`model role type id object status tool_call_id call_id item_id finish_reason service_tier detail
	encoding_format voice system_fingerprint format effort truncation mode purpose language quality
	size style background syntax created_at completion_window endpoint approval_request_id
	reasoning_effort tool_choice response_format verbosity input_file_id training_file event`,
)

var grammar = wire.Grammar{Names: names, Values: values, Nested: wire.Names("arguments"), Enter: enter}

// answers is the same grammar: an answer holds the same items.
var answers = grammar

// free are the names whose objects hold names of the caller's own.
var free = wire.Names("parameters schema metadata variables logit_bias input_schema headers attributes filters args properties sample item state_variables environment env")

// byItem is whose words the items of the Responses API hold, by type.
var byItem = map[string]gate.Channel{
	"function_call": gate.ChannelAssistant, "custom_tool_call": gate.ChannelAssistant, "computer_call": gate.ChannelAssistant,
	"code_interpreter_call": gate.ChannelAssistant, "local_shell_call": gate.ChannelAssistant, "shell_call": gate.ChannelAssistant,
	"apply_patch_call": gate.ChannelAssistant, "image_generation_call": gate.ChannelAssistant, "reasoning": gate.ChannelAssistant,
	"web_search_call": gate.ChannelAssistant, "file_search_call": gate.ChannelAssistant, "mcp_call": gate.ChannelAssistant,
	"mcp_approval_request": gate.ChannelAssistant, "tool_search_call": gate.ChannelAssistant, "program": gate.ChannelAssistant,
	"output_text": gate.ChannelAssistant, "refusal": gate.ChannelAssistant, "compaction": gate.ChannelAssistant,
	"mcp_list_tools": gate.ChannelTool, "mcp_approval_response": gate.ChannelUser, "additional_tools": gate.ChannelTool,
}

// toolName is the name by which a tool is offered; what has none is known by its type.
func toolName(d *strictjson.Doc, i int) string {
	for _, at := range []int{i, d.Get(i, "function"), d.Get(i, "custom")} {
		if n := d.Get(at, "name"); n >= 0 {
			return d.Str(n)
		}
	}
	t := d.Str(d.Get(i, "type"))
	if t == "mcp" {
		return "mcp:" + d.Str(d.Get(i, "server_label"))
	}
	return t
}

// enter says whose words a value holds and what in it cannot be read.
func enter(w *wire.Walk, i int, key string, s *wire.Scope) bool {
	d := w.Doc
	if s.Free {
		return false
	}
	switch d.Kind(i) {
	case strictjson.Object:
		if role := d.Get(i, "role"); role >= 0 && !s.Settled {
			s.Settled = true
			s.Role = d.Str(role)
			switch s.Role {
			case "system":
				s.Channel = gate.ChannelSystem
			case "developer":
				s.Channel = gate.ChannelDeveloper
			case "assistant":
				s.Channel = gate.ChannelAssistant
			case "tool", "function":
				s.Channel = gate.ChannelTool
			case "user":
				s.Channel = gate.ChannelUser
			}
		}
		if t := d.Get(i, "type"); t >= 0 {
			typ := d.Str(t)
			if c, ok := byItem[typ]; ok && !(s.Settled && s.Channel == gate.ChannelTool) { // a tool's parts stay the tool's, whatever they call themselves
				s.Channel = c
			} else if strings.HasSuffix(typ, "_output") && typ != "computer_output" {
				s.Channel, s.Settled = gate.ChannelTool, true
			}
			switch typ {
			case "item_reference":
				w.Unread(gate.UninspectedReference, 0)
			case "computer_screenshot", "computer_call_output":
				w.Unread(gate.UninspectedImage, 0)
			}
		}
		s.Free = free[key]
		switch key {
		case "tools", "functions":
			s.Channel = gate.ChannelTool
			w.Offer(toolName(d, i))
		case "output", "error":
			if p := d.Parent(i); p >= 0 && d.Str(d.Get(p, "type")) == "mcp_call" {
				s.Channel, s.Settled = gate.ChannelTool, true
			}
		case "prompt", "conversation":
			if d.Get(i, "id") >= 0 {
				w.Unread(gate.UninspectedReference, 0)
			}
		}
	case strictjson.Array:
		switch key {
		case "tools", "functions":
			s.Channel = gate.ChannelTool
		case "prompt", "input":
			if w.TokenIDs(i) {
				w.Unread(gate.UninspectedTokens, len(d.Value(i)))
				return true
			}
		case "results":
			s.Channel = gate.ChannelDocument
		case "outputs", "output":
			if s.Channel == gate.ChannelAssistant && w.At() != "output" {
				s.Channel = gate.ChannelTool
			}
		case "embedding", "bytes", "tokens":
			return w.TokenIDs(i) && key != "tokens"
		}
	case strictjson.String:
		switch key {
		case "instructions", "additional_instructions":
			if !s.Settled {
				s.Channel = gate.ChannelSystem
			}
		case "url":
			if string(d.Key(d.Parent(i))) == "image_url" {
				w.Embedded(i, "", gate.UninspectedImage, *s)
				return true
			}
		case "data":
			if p := string(d.Key(d.Parent(i))); p == "input_audio" || p == "audio" {
				w.Embedded(i, "audio/", gate.UninspectedAudio, *s)
				return true
			}
		case "embedding": // numbers, as base64 (the SDKs ask for it so)
			if wire.Base64ish(d.Value(i)) {
				w.Unread(gate.UninspectedOpaque, len(d.Value(i)))
				return true
			}
		case "image_url":
			w.Embedded(i, "", gate.UninspectedImage, *s)
			return true
		case "file_data":
			w.Embedded(i, "", gate.UninspectedFile, *s)
			return true
		case "b64_json", "result", "partial_image_b64":
			if len(d.Value(i)) > 256 && wire.Base64ish(d.Value(i)) {
				w.Unread(gate.UninspectedImage, len(d.Value(i)))
				return true
			}
		case "encrypted_content":
			w.Unread(gate.UninspectedOpaque, len(d.Value(i)))
			return true
		case "file_id", "previous_response_id", "conversation", "file_url", "input_file_id", "training_file":
			w.Unread(gate.UninspectedReference, 0)
		case "output", "error":
			// of an mcp_call, or of a function_call_output item: what a tool said
			if s.Channel == gate.ChannelAssistant && w.At() != "output" {
				s.Channel = gate.ChannelTool
			}
		}
	}
	return false
}
