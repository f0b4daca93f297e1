package openai

import (
	"bytes"
	"encoding/json"
	"errors"
	"sort"
	"strings"

	"sallyport.dev/sallyport/internal/gate"
	"sallyport.dev/sallyport/internal/strictjson"
	"sallyport.dev/sallyport/internal/wire"
)

// stream reads chat completion chunks, completion chunks, the events of the Responses API and of
// the assistants, and whatever events are new.
type stream struct {
	events   wire.Events
	endpoint string
	account  wire.Account

	id, model string
	created   int
	object    string
	seen      map[int]bool    // the choices; true while not finished
	ended     map[string]bool // what has had its *.done
	response  []byte          // the response object of response.created
	sequence  int
}

// Stream implements wire.Dialect.
func (Dialect) Stream(rt wire.Route) wire.Stream {
	return &stream{endpoint: rt.Endpoint, events: wire.Events{Values: streamValues, Names: names, Free: streamFree, Lane: laneOf, Unread: unread}}
}

var streamValues = wire.Names(`id object model system_fingerprint service_tier role type finish_reason
	item_id response_id call_id event status previous_response_id assistant_id thread_id run_id obfuscation`)

// streamFree are the names below which an event's names are somebody's own.
var streamFree = wire.Names("parameters schema input_schema metadata variables logit_bias headers attributes properties top_logprobs env environment state_variables")

// begins are the texts that an *.added event may begin: clients append the deltas to them.
var begins = map[string]string{
	"output_text part.text": "response.output_text", "reasoning_text part.text": "response.reasoning_text",
	"summary_text part.text": "response.reasoning_summary_text", "refusal part.refusal": "response.refusal",
	"function_call item.arguments": "response.function_call_arguments", "mcp_call item.arguments": "response.mcp_call_arguments",
	"custom_tool_call item.input": "response.custom_tool_call_input", "code_interpreter_call item.code": "response.code_interpreter_call_code",
}

// laneOf: within a choice every string of the delta continues the one before; in a *.delta event
// the delta does, by item and index. Other strings stand alone.
func laneOf(e *wire.Events, i int, name, p string) (string, gate.Channel) {
	if strings.HasPrefix(p, "choices[") {
		if strings.Contains(p, "].delta") || strings.HasSuffix(p, "].text") || strings.Contains(p, "].logprobs") && name == "token" {
			if strings.Contains(p, "].logprobs") {
				p = p[:strings.IndexByte(p, ']')] + "].logprobs.token"
			}
			return p, gate.ChannelAssistant
		}
		return "", gate.ChannelAssistant
	}
	if strings.HasSuffix(e.Type, "_part.added") || e.Type == "response.output_item.added" {
		if base, ok := begins[e.Doc.Str(e.Doc.Get(e.Doc.Parent(i), "type"))+" "+p]; ok {
			return laneName(e, base) + "delta", gate.ChannelAssistant
		}
	}
	if e.Type == "transcript.text.segment" && p == "text" {
		return e.Type, gate.ChannelAssistant
	}
	base, isDelta := strings.CutSuffix(e.Type, ".delta")
	if !isDelta && !strings.HasPrefix(p, "delta") && e.Type != "" {
		return "", channelOf(e, i, name)
	}
	if e.Type == "" && !strings.Contains(p, "delta") {
		return "", gate.ChannelAssistant
	}
	return laneName(e, base) + p, channelOf(e, i, name)
}

// laneName is what the events of one text have in common, place first so that an item's or a part's
// texts share a beginning. The official SDKs go by the indexes; ids differ from event to event with
// some providers, and count only where there is no index.
func laneName(e *wire.Events, base string) string {
	var b strings.Builder
	placeOf(&b, e)
	b.WriteString(base)
	b.WriteByte('|')
	return b.String()
}

func placeOf(b *strings.Builder, e *wire.Events) {
	d := &e.Doc
	indexed := d.Get(strictjson.Root, "output_index") >= 0
	for _, k := range []string{"stream_id", "output_index", "content_index", "summary_index", "command_index", "item_id", "id"} {
		if indexed && (k == "item_id" || k == "id") {
			continue
		}
		if n := d.Get(strictjson.Root, k); n >= 0 {
			b.WriteString(k)
			b.Write(d.Value(n))
			b.WriteByte('|')
		}
	}
}

// channelOf: results of the provider's own tools are a tool's words, all else is the model's.
func channelOf(e *wire.Events, i int, name string) gate.Channel {
	for n := e.Doc.Parent(i); n >= 0; n = e.Doc.Parent(n) {
		switch string(e.Doc.Key(n)) {
		case "results", "search_results":
			return gate.ChannelDocument
		case "outputs", "tools":
			return gate.ChannelTool
		}
	}
	if strings.Contains(e.Type, "output_content") || strings.Contains(e.Type, "mcp_list_tools") {
		return gate.ChannelTool
	}
	return gate.ChannelAssistant
}

func unread(e *wire.Events, i int, name string) (gate.UninspectedKind, bool) {
	v := e.Doc.Value(i)
	switch name {
	case "encrypted_content":
		return gate.UninspectedOpaque, wire.Base64ish(v)
	case "data", "audio", "delta", "b64_json", "partial_image_b64", "result":
		if !wire.Base64ish(v) || len(v) < 64 {
			return 0, false
		}
		switch {
		case name == "b64_json" || name == "partial_image_b64" || name == "result":
			return gate.UninspectedImage, true
		case name == "delta" && strings.Contains(e.Type, "audio") && !strings.Contains(e.Type, "transcript"):
			return gate.UninspectedAudio, true
		case name == "audio" || name == "data" && string(e.Doc.Key(e.Doc.Parent(i))) == "audio":
			return gate.UninspectedAudio, true
		}
	}
	return 0, false
}

// Read implements wire.Stream.
func (s *stream) Read(raw []byte) (gate.Frame, error) {
	f, has, done, err := s.events.Take(raw)
	if err != nil {
		return f, err
	}
	if done {
		s.account.Done, f.Last, f.Closes = true, true, []string{"*"}
		return f, nil
	}
	if has {
		if s.after(&f) {
			return f, errAfter
		}
		s.note(&f)
	}
	return f, nil
}

// errAfter: the lanes of a text are closed at its end, so what follows could not be read with it.
var errAfter = errors.New("openai: a text goes on after its end")

// maxEnded bounds how many ended texts a stream remembers.
const maxEnded = 4096

// after says whether a delta comes after the end of its text. An *.added event begins a new one.
func (s *stream) after(f *gate.Frame) bool {
	if len(s.ended) == 0 {
		return false
	}
	e := &s.events
	if strings.HasSuffix(e.Type, ".added") {
		var b strings.Builder
		placeOf(&b, e)
		for n := range s.ended {
			if strings.HasPrefix(n, b.String()) || strings.HasPrefix(b.String(), n) {
				delete(s.ended, n)
			}
		}
		return false
	}
	for i := range f.Texts {
		lane := f.Texts[i].Lane
		for at := strings.IndexByte(lane, '|'); at >= 0; {
			if s.ended[lane[:at+1]] {
				return true
			}
			next := strings.IndexByte(lane[at+1:], '|')
			if next < 0 {
				break
			}
			at += 1 + next
		}
	}
	return false
}

// end closes the lanes whose names begin with prefix, for good.
func (s *stream) end(f *gate.Frame, prefix string) {
	if prefix == "" || len(s.ended) >= maxEnded {
		return // they stay open to the end of the stream
	}
	if s.ended == nil {
		s.ended = map[string]bool{}
	}
	s.ended[prefix] = true
	f.Closes = append(f.Closes, prefix+"*")
}

// note keeps what the stream says about itself and which lanes an event ends.
func (s *stream) note(f *gate.Frame) {
	e := &s.events
	d := &e.Doc
	if choices := d.Get(strictjson.Root, "choices"); choices >= 0 {
		s.chunk(choices)
		return
	}
	s.use(strictjson.Root)
	if n := d.Get(strictjson.Root, "sequence_number"); n >= 0 {
		s.sequence = wire.Int(d, n)
	}
	r := d.Get(strictjson.Root, "response")
	if d.Kind(r) == strictjson.Object {
		if m := d.Str(d.Get(r, "model")); m != "" {
			s.account.Model = m
		}
		s.use(r)
		if s.response == nil {
			s.response = bytes.Clone(d.Value(r))
		}
	}
	switch e.Type {
	case "response.completed", "response.failed", "response.incomplete", "response.cancelled":
		s.account.Finish = d.Str(d.Get(r, "status"))
		s.account.Done, f.Last, f.Closes = true, true, []string{"*"}
	case "error":
		f.Closes = []string{"*"}
	case "response.output_item.done", "response.content_part.done", "response.reasoning_summary_part.done":
		var b strings.Builder
		placeOf(&b, e)
		s.end(f, b.String())
		if e.Type == "response.output_item.done" && searched(d, d.Get(strictjson.Root, "item")) {
			s.account.Usage.Searches++
		}
	default:
		if base, ok := strings.CutSuffix(e.Type, ".done"); ok && strings.HasPrefix(base, "response.") {
			s.end(f, laneName(e, base))
		}
	}
	if e.Type == "transcript.text.done" || e.Type == "speech.audio.done" || e.Type == "image_generation.completed" || e.Type == "image_edit.completed" {
		s.account.Done, f.Last, f.Closes = true, true, []string{"*"}
	}
}

// use keeps the last usage that an object names, and the tier that it was served in.
func (s *stream) use(object int) {
	d, u := &s.events.Doc, &s.account.Usage
	if n := d.Get(object, "usage"); d.Kind(n) == strictjson.Object {
		tier, searches := u.Tier, u.Searches
		*u = usage(d, n)
		u.Tier, u.Searches = tier, searches
	}
	if t := d.Get(object, "service_tier"); d.Kind(t) == strictjson.String {
		u.Tier = gate.TierOf(d.Str(t))
	}
}

func (s *stream) chunk(choices int) {
	d := &s.events.Doc
	if s.id == "" {
		s.id, s.model = d.Str(d.Get(strictjson.Root, "id")), d.Str(d.Get(strictjson.Root, "model"))
		s.created, s.object = wire.Int(d, d.Get(strictjson.Root, "created")), d.Str(d.Get(strictjson.Root, "object"))
		s.account.Model = s.model
	}
	s.use(strictjson.Root)
	k := 0
	for c := range d.Children(choices) {
		n := k
		if x := d.Get(c, "index"); x >= 0 {
			n = wire.Int(d, x)
		}
		k++
		if s.seen == nil {
			s.seen = map[int]bool{}
		}
		// A finish reason does not close the choice's lanes: some providers send one, or an empty
		// one, with every chunk. [DONE] does, which follows at once.
		fr := d.Str(d.Get(c, "finish_reason"))
		if fr != "" {
			s.account.Finish = fr
		}
		if _, ok := s.seen[n]; ok || len(s.seen) < 1024 {
			s.seen[n] = fr == ""
		}
	}
}

// Account implements wire.Stream.
func (s *stream) Account() wire.Account { return s.account }

// Stop implements wire.Stream: the finish reason content_filter for every open choice, or
// response.incomplete with the reason content_filter.
func (s *stream) Stop(p *gate.Problem) []byte {
	if s.endpoint == "responses" || s.response != nil {
		return s.incomplete()
	}
	if s.endpoint != "chat.completions" && s.endpoint != "completions" && s.endpoint != "unknown" && s.seen == nil {
		return s.Fail(p)
	}
	open := make([]int, 0, len(s.seen)+1)
	for n, unfinished := range s.seen {
		if unfinished {
			open = append(open, n)
		}
	}
	if len(open) == 0 { // the last finish reasons were read but may not have left
		for n := range s.seen {
			open = append(open, n)
		}
	}
	if len(open) == 0 {
		open = append(open, 0)
	}
	sort.Ints(open)
	object, id := s.object, s.id
	if object == "" {
		object = "chat.completion.chunk"
	}
	if id == "" {
		id = "chatcmpl-blocked"
	}
	var b bytes.Buffer
	for _, n := range open {
		choice := map[string]any{"index": n, "finish_reason": "content_filter", "logprobs": nil}
		if object == "text_completion" || s.endpoint == "completions" {
			object, choice["text"] = "text_completion", ""
		} else {
			choice["delta"] = struct{}{}
		}
		data(&b, "", map[string]any{"id": id, "object": object, "created": s.created, "model": s.model, "choices": []any{choice}})
	}
	b.WriteString("data: [DONE]\n\n")
	return b.Bytes()
}

// incomplete is response.incomplete, with the stream's own response object and none of its output.
func (s *stream) incomplete() []byte {
	response := map[string]any{"id": "resp_blocked", "object": "response", "created_at": s.created, "model": s.account.Model, "tools": []any{}, "tool_choice": "auto", "parallel_tool_calls": true, "metadata": map[string]any{}}
	if s.response != nil {
		_ = json.Unmarshal(s.response, &response)
	}
	response["status"], response["output"] = "incomplete", []any{}
	response["error"] = nil
	response["incomplete_details"] = map[string]string{"reason": "content_filter"}
	var b bytes.Buffer
	data(&b, "response.incomplete", map[string]any{"type": "response.incomplete", "sequence_number": s.sequence + 1, "response": response})
	return b.Bytes()
}

// Fail implements wire.Stream.
func (s *stream) Fail(p *gate.Problem) []byte {
	var b bytes.Buffer
	if s.endpoint == "responses" || s.response != nil {
		data(&b, "error", map[string]any{"type": "error", "sequence_number": s.sequence + 1, "code": string(p.Code), "message": p.Message, "param": nil})
		return b.Bytes()
	}
	b.WriteString("data: ")
	b.Write(errorBody(p))
	b.WriteString("\n\ndata: [DONE]\n\n")
	return b.Bytes()
}

func data(b *bytes.Buffer, event string, v any) {
	if event != "" {
		b.WriteString("event: " + event + "\n")
	}
	j, _ := json.Marshal(v)
	b.WriteString("data: ")
	b.Write(j)
	b.WriteString("\n\n")
}
