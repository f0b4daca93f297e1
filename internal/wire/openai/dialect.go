// Package openai reads and speaks the OpenAI interfaces: chat completions, responses, completions,
// assistants, files, audio, images, batches and the rest (OpenAI's OpenAPI document).
package openai

import (
	"bytes"
	"strings"

	"sallyport.dev/sallyport/internal/gate"
	"sallyport.dev/sallyport/internal/strictjson"
	"sallyport.dev/sallyport/internal/wire"
)

// Dialect implements wire.Dialect.
type Dialect struct{}

// Name implements wire.Dialect.
func (Dialect) Name() gate.Dialect { return gate.OpenAI }

// families are the first path elements after /v1 that this release knows; what stands below one is
// known with it.
var families = wire.Names(`chat completions responses conversations embeddings moderations images audio files
	uploads batches fine_tuning vector_stores assistants threads evals containers realtime live videos skills
	chatkit agents environments sessions vaults decisions safety content_provenance_checks models organization projects edits engines`)

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
	switch e[0] {
	case "chat":
		rt.Endpoint = "chat.completions"
		rt.Known = len(e) > 1 && e[1] == "completions"
	case "audio", "images", "fine_tuning", "organization":
		if len(e) > 1 {
			rt.Endpoint += "." + e[1]
		}
	case "realtime", "live":
		// Only making a client secret or a session is plain HTTP; calls are SDP and sockets.
		rt.Realtime = len(e) < 2 || (e[1] != "client_secrets" && e[1] != "sessions" && e[1] != "transcription_sessions" && !(e[1] == "translations" && len(e) > 2))
		if e[0] == "realtime" && len(e) == 4 && e[1] == "calls" {
			// accept, refer, reject, hangup: plain JSON about a call whose media never come this way.
			rt.Endpoint, rt.Realtime = "realtime.calls", false
		}
		if e[0] == "live" && len(e) > 3 {
			rt.Realtime = rt.Realtime || e[3] == "attach" || e[3] == "fork"
		}
	}
	if !rt.Known {
		rt.Endpoint = "unknown"
	}
	return rt
}

// jsonless are the endpoints that take multipart or other bodies besides JSON.
var jsonless = wire.Names("files uploads audio.transcriptions audio.translations audio.voices images.edits images.variations containers videos skills content_provenance_checks realtime live unknown")

// ReadRequest implements wire.Dialect.
func (Dialect) ReadRequest(rt wire.Route, contentType string, body []byte) (*gate.Reading, error) {
	r, err := readRequest(rt, contentType, body)
	if err == nil && rt.Endpoint == "realtime.calls" {
		r.Uninspected = append(r.Uninspected, gate.Uninspected{Kind: gate.UninspectedReference, Path: "call_id"})
	}
	return r, err
}

func readRequest(rt wire.Route, contentType string, body []byte) (*gate.Reading, error) {
	if len(body) == 0 {
		return &gate.Reading{}, nil
	}
	s := wire.Scope{Channel: gate.ChannelUser, Turn: -1}
	if m, _, ok := wire.MediaOf(contentType); !ok || m != wire.MediaJSON {
		r, err := wire.ReadBody(&grammar, contentType, body, s, !jsonless[rt.Endpoint])
		if err == nil && rt.Endpoint == "uploads" && m == wire.MediaMultipart {
			// One part of a file: what runs over into the next cannot be read here.
			r.Uninspected = append(r.Uninspected, gate.Uninspected{Kind: gate.UninspectedFile, Path: "split upload", Bytes: len(body)})
		}
		return r, err
	}
	r, doc, err := wire.ReadJSON(&grammar, body, s)
	if err != nil {
		return nil, err
	}
	r.Model = doc.Str(doc.Get(strictjson.Root, "model"))
	r.Stream = doc.Kind(doc.Get(strictjson.Root, "stream")) == strictjson.True
	for _, name := range []string{"max_completion_tokens", "max_output_tokens", "max_tokens"} {
		r.MaxOutput = max(r.MaxOutput, wire.Whole(doc, doc.Get(strictjson.Root, name)))
	}
	r.Answers = max(wire.Whole(doc, doc.Get(strictjson.Root, "n")), wire.Whole(doc, doc.Get(strictjson.Root, "best_of")))
	return r, nil
}

// ReadAnswer implements wire.Dialect.
func (Dialect) ReadAnswer(rt wire.Route, status int, contentType string, body []byte) (*gate.Reading, error) {
	s := wire.Scope{Channel: gate.ChannelAssistant, Turn: -1}
	if rt.Endpoint == "vector_stores" || rt.Endpoint == "files" || rt.Endpoint == "containers" {
		s.Channel = gate.ChannelDocument
	}
	if len(body) == 0 {
		return &gate.Reading{}, nil
	}
	if m, _, ok := wire.MediaOf(contentType); !ok || m != wire.MediaJSON {
		return wire.ReadBody(&answers, contentType, body, s, false)
	}
	r, d, err := wire.ReadJSON(&answers, body, s)
	if err != nil {
		return nil, err
	}
	r.Model = d.Str(d.Get(strictjson.Root, "model"))
	r.Usage = usage(d, d.Get(strictjson.Root, "usage"))
	r.Usage.Tier = gate.TierOf(d.Str(d.Get(strictjson.Root, "service_tier")))
	for item := range d.Children(d.Get(strictjson.Root, "output")) {
		if searched(d, item) {
			r.Usage.Searches++
		}
	}
	for c := range d.Children(d.Get(strictjson.Root, "choices")) {
		spelled(d, c, r)
		if f := d.Str(d.Get(c, "finish_reason")); f != "" && r.Finish == "" {
			r.Finish = f
		}
	}
	if r.Finish == "" && d.Str(d.Get(strictjson.Root, "object")) == "response" {
		r.Finish = d.Str(d.Get(strictjson.Root, "status"))
	}
	return r, nil
}

// spelled reads the bytes of a choice's log probabilities, which give the answer once more.
func spelled(d *strictjson.Doc, choice int, r *gate.Reading) {
	lp := d.Get(choice, "logprobs")
	for _, list := range []string{"content", "refusal"} {
		var text []byte
		for t := range d.Children(d.Get(lp, list)) {
			if b := d.Get(t, "bytes"); b >= 0 {
				text = append(text, wire.Spelled(d, b)...)
			}
		}
		if len(text) > 0 {
			r.Segments = append(r.Segments, gate.Segment{
				Text: bytes.ToValidUTF8(text, []byte("\uFFFD")), Channel: gate.ChannelAssistant,
				Path: "choices[].logprobs." + list + "[].bytes", Turn: -1, Place: gate.Place{Coding: gate.Nowhere},
			})
		}
	}
}
