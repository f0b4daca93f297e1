package anthropic

import (
	"strings"

	"sallyport.dev/sallyport/internal/gate"
	"sallyport.dev/sallyport/internal/strictjson"
	"sallyport.dev/sallyport/internal/wire"
)

// names are the names that mean something to the provider at structural places.
var names = wire.Names(
	`model messages system max_tokens stream tools tool_choice thinking metadata stop_sequences
	temperature top_k top_p mcp_servers container context_management service_tier output_format
	output_config betas prompt max_tokens_to_sample requests custom_id params inference_geo`,
	`role content type text source media_type data url file_id title context citations signature id
	name input tool_use_id is_error cache_control thinking redacted_thinking description input_schema
	input_examples strict budget_tokens disable_parallel_tool_use authorization_token
	tool_configuration allowed_tools enabled user_id stop_reason stop_sequence usage input_tokens
	output_tokens cache_creation_input_tokens cache_read_input_tokens message delta index
	content_block partial_json error request_id encrypted_content encrypted_index page_age cited_text
	document_index document_title start_char_index end_char_index stdout stderr return_code
	file_type num_lines start_line total_lines lines caller server_name query max_uses ttl
	allowed_domains blocked_domains user_location result results processing_status`,
)

// values are the names whose strings are structure.
var values = wire.Names(`model role type id tool_use_id media_type stop_reason service_tier custom_id
	request_id ttl processing_status file_type inference_geo`)

var grammar = wire.Grammar{Names: names, Values: values, Enter: enter}

// free are the names whose objects hold names of the caller's own.
var free = wire.Names("input_schema metadata input input_examples properties attributes schema")

// enter says whose words a value holds and what in it cannot be read.
func enter(w *wire.Walk, i int, key string, s *wire.Scope) bool {
	d := w.Doc
	if s.Free {
		return false
	}
	switch d.Kind(i) {
	case strictjson.Object:
		role := d.Str(d.Get(i, "role"))
		if s.Settled {
			role = ""
		}
		s.Settled = s.Settled || role != ""
		switch s2 := role; s2 {
		case "user":
			s.Role, s.Channel = s2, gate.ChannelUser
		case "assistant":
			s.Role, s.Channel = s2, gate.ChannelAssistant
		case "system":
			s.Role, s.Channel = s2, gate.ChannelSystem
		}
		switch typ := d.Str(d.Get(i, "type")); {
		case key == "tools" || key == "mcp_servers" || typ == "tool_addition" || typ == "mcp_tool_listing":
			s.Channel = gate.ChannelTool
			if name := d.Str(d.Get(i, "name")); key == "mcp_servers" {
				w.Offer("mcp:" + name)
			} else if name != "" {
				w.Offer(name)
			} else {
				w.Offer(typ)
			}
		case typ == "document" || typ == "search_result" || strings.HasPrefix(typ, "web_search_") || strings.HasPrefix(typ, "web_fetch_"):
			s.Channel = gate.ChannelDocument
		case typ == "tool_result" || strings.HasSuffix(typ, "_tool_result") || strings.HasSuffix(typ, "_result"):
			if s.Channel != gate.ChannelDocument {
				s.Channel = gate.ChannelTool
			}
		case typ == "tool_use" || typ == "server_tool_use" || typ == "mcp_tool_use" || typ == "compaction":
			s.Channel = gate.ChannelAssistant
		case typ == "thinking":
			s.Channel, s.Sealed = gate.ChannelAssistant, d.Get(i, "signature") >= 0
		case typ == "redacted_thinking":
			w.Unread(gate.UninspectedOpaque, len(d.Value(i)))
			return true
		case typ == "container_upload":
			w.Unread(gate.UninspectedReference, 0)
		case typ == "text" && key == "system" && !s.Settled:
			s.Channel = gate.ChannelSystem
		}
		s.Free = free[key]
		if key == "source" {
			return source(w, i, s)
		}
	case strictjson.Array:
		switch key {
		case "tools", "mcp_servers":
			s.Channel = gate.ChannelTool
		case "system":
			if !s.Settled {
				s.Channel = gate.ChannelSystem
			}
		}
		s.Free = free[key]
	case strictjson.String:
		switch key {
		case "system":
			if !s.Settled {
				s.Channel = gate.ChannelSystem
			}
		case "signature", "encrypted_content", "encrypted_index":
			w.Unread(gate.UninspectedOpaque, len(d.Value(i)))
			return true
		case "file_id":
			w.Unread(gate.UninspectedReference, 0)
		}
	}
	return false
}

// source reads where a document's or an image's content comes from.
func source(w *wire.Walk, i int, s *wire.Scope) bool {
	d := w.Doc
	media := d.Str(d.Get(i, "media_type"))
	switch d.Str(d.Get(i, "type")) {
	case "base64":
		kind := gate.UninspectedFile
		if strings.HasPrefix(media, "image/") {
			kind = gate.UninspectedImage
		}
		if data := d.Get(i, "data"); data >= 0 {
			w.Embedded(data, media, kind, *s)
			return true
		}
	case "url", "file":
		w.Unread(gate.UninspectedReference, 0)
	}
	return false
}
