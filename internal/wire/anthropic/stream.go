package anthropic

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"

	"sallyport.dev/sallyport/internal/gate"
	"sallyport.dev/sallyport/internal/strictjson"
	"sallyport.dev/sallyport/internal/wire"
)

// stream reads the events of a streamed message, and whatever events are new.
type stream struct {
	events  wire.Events
	account wire.Account
	started bool
	open    int // index of the open block, -1 for none
	next    int // index of the next block
}

// Stream implements wire.Dialect.
func (Dialect) Stream(wire.Route) wire.Stream {
	return &stream{open: -1, events: wire.Events{Values: values, Lane: laneOf, Unread: unread}}
}

// laneOf: a block's text and its deltas are one text, by the block's index and the name of the
// field. The old completions are one text.
func laneOf(e *wire.Events, i int, name, p string) (string, gate.Channel) {
	d := &e.Doc
	index := func() string { return string(d.Value(max(d.Get(strictjson.Root, "index"), 0))) }
	if d.Get(strictjson.Root, "index") < 0 {
		index = func() string { return "" }
	}
	switch {
	case e.Type == "completion" && name == "completion":
		return "completion", gate.ChannelAssistant
	case e.Type == "content_block_start" && (p == "content_block.text" || p == "content_block.thinking"):
		return "b" + index() + "." + name, gate.ChannelAssistant
	case strings.HasSuffix(e.Type, "_delta") && strings.HasPrefix(p, "delta."):
		return "b" + index() + "." + strings.TrimPrefix(p, "delta."), gate.ChannelAssistant
	case strings.HasSuffix(e.Type, ".delta"), strings.HasPrefix(p, "delta"):
		return e.Type + index() + p, gate.ChannelAssistant
	}
	return "", channelOf(e, i)
}

// channelOf: what a server tool found is a tool's or a document's words.
func channelOf(e *wire.Events, i int) gate.Channel {
	for n := e.Doc.Parent(i); n >= 0; n = e.Doc.Parent(n) {
		switch t := e.Doc.Str(e.Doc.Get(n, "type")); {
		case strings.HasPrefix(t, "web_search_"), strings.HasPrefix(t, "web_fetch_"), t == "search_result", t == "document":
			return gate.ChannelDocument
		case strings.HasSuffix(t, "_tool_result"):
			return gate.ChannelTool
		}
	}
	return gate.ChannelAssistant
}

func unread(e *wire.Events, i int, name string) (gate.UninspectedKind, bool) {
	switch name {
	case "signature", "encrypted_content", "encrypted_index":
		return gate.UninspectedOpaque, wire.Base64ish(e.Doc.Value(i))
	case "data":
		return gate.UninspectedOpaque, len(e.Doc.Value(i)) > 64 && wire.Base64ish(e.Doc.Value(i))
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
	}
	if has {
		s.note(&f)
	}
	return f, nil
}

func (s *stream) note(f *gate.Frame) {
	d := &s.events.Doc
	index := wire.Int(d, d.Get(strictjson.Root, "index"))
	switch s.events.Type {
	case "message_start":
		s.started = true
		m := d.Get(strictjson.Root, "message")
		s.account.Model = d.Str(d.Get(m, "model"))
		s.use(d.Get(m, "usage"))
	case "content_block_start":
		s.open, s.next = index, index+1
	case "content_block_stop":
		s.open = -1
		f.Closes = []string{"b" + strconv.Itoa(index) + ".*"}
	case "message_delta":
		if r := d.Str(d.Get(d.Get(strictjson.Root, "delta"), "stop_reason")); r != "" {
			s.account.Finish = r
		}
		s.use(d.Get(strictjson.Root, "usage"))
		f.Closes = []string{"*"}
	case "message_stop", "error":
		s.account.Done, f.Last, f.Closes = true, true, []string{"*"}
	case "completion":
		if r := d.Str(d.Get(strictjson.Root, "stop_reason")); r != "" {
			s.account.Finish, s.account.Done, f.Last, f.Closes = r, true, true, []string{"*"}
		}
	}
}

// use keeps the counts: output counts are cumulative, input counts come once.
func (s *stream) use(u int) {
	n := usage(&s.events.Doc, u)
	s.account.Usage.Input = max(s.account.Usage.Input, n.Input)
	s.account.Usage.Output = max(s.account.Usage.Output, n.Output)
	s.account.Usage.CachedInput = max(s.account.Usage.CachedInput, n.CachedInput)
}

// Account implements wire.Stream.
func (s *stream) Account() wire.Account { return s.account }

// Stop implements wire.Stream: the open block ends, and the message stops with the reason refusal.
func (s *stream) Stop(p *gate.Problem) []byte {
	var b bytes.Buffer
	if !s.started {
		event(&b, "message_start", map[string]any{"type": "message_start", "message": map[string]any{
			"id": "msg_blocked", "type": "message", "role": "assistant", "model": s.account.Model, "content": []any{},
			"stop_reason": nil, "stop_sequence": nil, "usage": map[string]int{"input_tokens": 0, "output_tokens": 0},
		}})
	}
	if s.open >= 0 {
		event(&b, "content_block_stop", map[string]any{"type": "content_block_stop", "index": s.open})
	}
	event(&b, "message_delta", map[string]any{"type": "message_delta",
		"delta": map[string]any{"stop_reason": "refusal", "stop_sequence": nil},
		"usage": map[string]int{"output_tokens": s.account.Usage.Output}})
	event(&b, "message_stop", map[string]any{"type": "message_stop"})
	return b.Bytes()
}

// Fail implements wire.Stream.
func (s *stream) Fail(p *gate.Problem) []byte {
	var b bytes.Buffer
	b.WriteString("event: error\ndata: ")
	b.Write(errorBody(p, ""))
	b.WriteString("\n\n")
	return b.Bytes()
}

func event(b *bytes.Buffer, name string, v any) {
	j, _ := json.Marshal(v)
	b.WriteString("event: " + name + "\ndata: ")
	b.Write(j)
	b.WriteString("\n\n")
}
