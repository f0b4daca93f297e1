package openai

import (
	"sallyport.dev/sallyport/internal/gate"
	"sallyport.dev/sallyport/internal/strictjson"
	"sallyport.dev/sallyport/internal/wire"
)

// usage reads a usage object: of chat completions (prompt_tokens), of responses and pictures (input_tokens,
// input_tokens_details) or of transcripts (input_tokens, input_token_details). What comes from the cache, is
// written to it, or is no text is part of the input; reasoning is part of the output.
func usage(d *strictjson.Doc, u int) gate.Usage {
	if u < 0 {
		return gate.Usage{}
	}
	get := func(obj int, names ...string) int {
		for _, n := range names {
			if v := wire.Int(d, d.Get(obj, n)); v > 0 {
				return v
			}
		}
		return 0
	}
	detail := func(name string, objects ...string) int {
		n := 0
		for _, o := range objects {
			n = max(n, wire.Int(d, d.Get(d.Get(u, o), name)))
		}
		return n
	}
	in := []string{"prompt_tokens_details", "input_tokens_details", "input_token_details"}
	out := []string{"completion_tokens_details", "output_tokens_details", "output_token_details"}
	n := gate.Usage{
		Input:       get(u, "prompt_tokens", "input_tokens"),
		Output:      get(u, "completion_tokens", "output_tokens"),
		CachedInput: detail("cached_tokens", in...),
		CacheWrite:  detail("cache_write_tokens", in...),
		AudioInput:  detail("audio_tokens", in...),
		ImageInput:  detail("image_tokens", in...),
		AudioOutput: detail("audio_tokens", out...),
		Reasoning:   detail("reasoning_tokens", out...),
	}
	n.CacheWriteShort = n.CacheWrite // there is one price
	return n
}

// searched says whether an item of a response's output is a search of the web: those are billed by piece.
// Pages that were opened and searches within them are not.
func searched(d *strictjson.Doc, item int) bool {
	if d.Str(d.Get(item, "type")) != "web_search_call" {
		return false
	}
	action := d.Str(d.Get(d.Get(item, "action"), "type"))
	return action == "" || action == "search"
}
