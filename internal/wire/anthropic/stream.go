package anthropic

import (
	"bytes"
	"encoding/json"
	"errors"
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
	// shown and shownStarted are open and started before the frame in hand, which has not left when
	// the stream is stopped. Everything before a block's start or stop has, or will never.
	shown        int
	shownStarted bool
	stopped      map[int]bool // blocks that have ended
}

// Stream implements wire.Dialect.
func (Dialect) Stream(wire.Route) wire.Stream {
	return &stream{open: -1, shown: -1, events: wire.Events{Values: values, Names: names, Free: free, Lane: laneOf, Unread: unread}}
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
	s.shown, s.shownStarted = s.open, s.started
	f, has, done, err := s.events.Take(raw)
	if err != nil {
		return f, err
	}
	if done {
		s.account.Done, f.Last, f.Closes = true, true, []string{"*"}
	}
	if has {
		if s.events.Type == "content_block_delta" && len(f.Texts) > 0 && s.stopped[wire.Int(&s.events.Doc, s.events.Doc.Get(strictjson.Root, "index"))] {
			return f, errAfter
		}
		s.note(&f)
	}
	return f, nil
}

// errAfter: a block's lanes are closed at its end, so what follows could not be read with it.
var errAfter = errors.New("anthropic: a block goes on after its end")

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
		s.open = index
		delete(s.stopped, index)
	case "content_block_stop":
		s.open = -1
		if len(s.stopped) < 4096 {
			if s.stopped == nil {
				s.stopped = map[int]bool{}
			}
			s.stopped[index] = true
			f.Closes = []string{"b" + strconv.Itoa(index) + ".*"}
		}
	case "message_delta":
		if r := d.Str(d.Get(d.Get(strictjson.Root, "delta"), "stop_reason")); r != "" {
			s.account.Finish = r
		}
		s.use(d.Get(strictjson.Root, "usage"))
	case "message_stop", "error":
		s.account.Done, f.Last, f.Closes = true, true, []string{"*"}
	case "completion":
		if r := d.Str(d.Get(strictjson.Root, "stop_reason")); r != "" {
			s.account.Finish, s.account.Done, f.Last, f.Closes = r, true, true, []string{"*"}
		}
	}
}

// use keeps the counts: those of the end are cumulative, some come at the beginning only.
func (s *stream) use(u int) {
	n, a := usage(&s.events.Doc, u), &s.account.Usage
	a.Input, a.Output, a.Reasoning = max(a.Input, n.Input), max(a.Output, n.Output), max(a.Reasoning, n.Reasoning)
	a.CachedInput, a.CacheWrite = max(a.CachedInput, n.CachedInput), max(a.CacheWrite, n.CacheWrite)
	a.CacheWriteShort, a.Searches = max(a.CacheWriteShort, n.CacheWriteShort), max(a.Searches, n.Searches)
	if n.Tier != "" {
		a.Tier = n.Tier
	}
}

// Account implements wire.Stream.
func (s *stream) Account() wire.Account { return s.account }

// Stop implements wire.Stream: the open block ends, and the message stops with the reason refusal.
func (s *stream) Stop(p *gate.Problem) []byte {
	var b bytes.Buffer
	if !s.shownStarted {
		event(&b, "message_start", map[string]any{"type": "message_start", "message": map[string]any{
			"id": "msg_blocked", "type": "message", "role": "assistant", "model": s.account.Model, "content": []any{},
			"stop_reason": nil, "stop_sequence": nil, "usage": map[string]int{"input_tokens": 0, "output_tokens": 0},
		}})
	}
	if s.shown >= 0 {
		event(&b, "content_block_stop", map[string]any{"type": "content_block_stop", "index": s.shown})
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
