// Package anthropic reads and speaks the Anthropic interfaces: messages, batches, token counting,
// files, skills and the older completions.
package anthropic

import (
	"strings"

	"sallyport.dev/sallyport/internal/gate"
	"sallyport.dev/sallyport/internal/strictjson"
	"sallyport.dev/sallyport/internal/wire"
)

// Dialect implements wire.Dialect.
type Dialect struct{}

// Name implements wire.Dialect.
func (Dialect) Name() gate.Dialect { return gate.Anthropic }

var families = wire.Names(`messages complete models files skills user_profiles agents sessions environments
	memory_stores vaults deployments dreams tunnels organizations`)

// Route implements wire.Dialect.
func (Dialect) Route(_, path string) wire.Route {
	rest, ok := strings.CutPrefix(path, "/v1/")
	if !ok {
		return wire.Route{Endpoint: "unknown"}
	}
	e := strings.Split(strings.Trim(rest, "/"), "/")
	if !families[e[0]] {
		return wire.Route{Endpoint: "unknown"}
	}
	rt := wire.Route{Endpoint: e[0], Known: true}
	if e[0] == "messages" && len(e) > 1 {
		rt.Endpoint = "messages." + e[1]
		if e[1] != "batches" && e[1] != "count_tokens" {
			return wire.Route{Endpoint: "unknown"}
		}
	}
	return rt
}

var jsonless = wire.Names("files skills unknown environments sessions agents memory_stores")

// ReadRequest implements wire.Dialect.
func (Dialect) ReadRequest(rt wire.Route, contentType string, body []byte) (*gate.Reading, error) {
	if len(body) == 0 {
		return &gate.Reading{}, nil
	}
	s := wire.Scope{Channel: gate.ChannelUser, Turn: -1}
	if m, _, ok := wire.MediaOf(contentType); !ok || m != wire.MediaJSON {
		return wire.ReadBody(&grammar, contentType, body, s, !jsonless[rt.Endpoint])
	}
	r, d, err := wire.ReadJSON(&grammar, body, s)
	if err != nil {
		return nil, err
	}
	r.Model = d.Str(d.Get(strictjson.Root, "model"))
	r.Stream = d.Kind(d.Get(strictjson.Root, "stream")) == strictjson.True
	r.MaxOutput = max(wire.Whole(d, d.Get(strictjson.Root, "max_tokens")), wire.Whole(d, d.Get(strictjson.Root, "max_tokens_to_sample")))
	return r, nil
}

// ReadAnswer implements wire.Dialect.
func (Dialect) ReadAnswer(rt wire.Route, status int, contentType string, body []byte) (*gate.Reading, error) {
	s := wire.Scope{Channel: gate.ChannelAssistant, Turn: -1}
	if rt.Endpoint == "files" || rt.Endpoint == "skills" {
		s.Channel = gate.ChannelDocument
	}
	if len(body) == 0 {
		return &gate.Reading{}, nil
	}
	if m, _, ok := wire.MediaOf(contentType); !ok || m != wire.MediaJSON {
		return wire.ReadBody(&grammar, contentType, body, s, false)
	}
	r, d, err := wire.ReadJSON(&grammar, body, s)
	if err != nil {
		return nil, err
	}
	r.Model = d.Str(d.Get(strictjson.Root, "model"))
	r.Finish = d.Str(d.Get(strictjson.Root, "stop_reason"))
	r.Usage = usage(d, d.Get(strictjson.Root, "usage"))
	return r, nil
}

func usage(d *strictjson.Doc, u int) gate.Usage {
	if u < 0 {
		return gate.Usage{}
	}
	n := counted(d, u)
	n.Reasoning = wire.Int(d, d.Get(d.Get(u, "output_tokens_details"), "thinking_tokens"))
	n.Searches = wire.Int(d, d.Get(d.Get(u, "server_tool_use"), "web_search_requests"))
	n.Tier = gate.TierOf(d.Str(d.Get(u, "service_tier")))
	if t := gate.TierOf(d.Str(d.Get(u, "speed"))); t != "" {
		n.Tier = t
	}
	// Steps that the total leaves out: making a context shorter, and asking another model.
	for i := range d.Children(d.Get(u, "iterations")) {
		switch d.Str(d.Get(i, "type")) {
		case "compaction", "advisor_message":
			m := counted(d, i)
			n.Input, n.Output, n.CachedInput = n.Input+m.Input, n.Output+m.Output, n.CachedInput+m.CachedInput
			n.CacheWrite, n.CacheWriteShort = n.CacheWrite+m.CacheWrite, n.CacheWriteShort+m.CacheWriteShort
		}
	}
	return n
}

// counted reads the counts of a usage object, or of one step in it. The input is what was neither read from
// the cache nor written to it.
func counted(d *strictjson.Doc, u int) gate.Usage {
	n := gate.Usage{
		Input:           wire.Int(d, d.Get(u, "input_tokens")),
		Output:          wire.Int(d, d.Get(u, "output_tokens")),
		CachedInput:     wire.Int(d, d.Get(u, "cache_read_input_tokens")),
		CacheWrite:      wire.Int(d, d.Get(u, "cache_creation_input_tokens")),
		CacheWriteShort: wire.Int(d, d.Get(d.Get(u, "cache_creation"), "ephemeral_5m_input_tokens")),
	}
	n.CacheWrite = max(n.CacheWrite, n.CacheWriteShort)
	return n
}
