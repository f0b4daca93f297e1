package wire

import (
	"net/http"
	"net/url"
	"strings"

	"sallyport.dev/sallyport/internal/gate"
)

// DialectOf says which dialect a path belongs to: /v1/messages and below, /v1/complete, and whatever
// carries an anthropic-version header, is Anthropic's; the rest is OpenAI's.
func DialectOf(_, path string, h http.Header) gate.Dialect {
	if path == "/v1/messages" || strings.HasPrefix(path, "/v1/messages/") || path == "/v1/complete" || len(h["Anthropic-Version"]) > 0 {
		return gate.Anthropic
	}
	return gate.OpenAI
}

// ReadTarget finds the texts of a request's target: query values, and path elements that are more
// than identifiers. They cannot be edited in place.
func ReadTarget(path, rawQuery string) []gate.Segment {
	var segs []gate.Segment
	add := func(where, raw string, query bool) {
		text, err := url.PathUnescape(raw)
		if query {
			text, err = url.QueryUnescape(raw)
		}
		if err != nil {
			text = raw
		}
		if len(text) < 8 || structural([]byte(text)) {
			return
		}
		segs = append(segs, gate.Segment{Text: []byte(strings.ToValidUTF8(text, "\uFFFD")), Channel: gate.ChannelUser, Path: where, Turn: -1, Place: gate.Place{Coding: gate.Nowhere}})
	}
	for _, e := range strings.Split(path, "/") {
		add("path", e, false)
	}
	for _, kv := range strings.FieldsFunc(rawQuery, func(r rune) bool { return r == '&' || r == ';' }) {
		k, v, _ := strings.Cut(kv, "=")
		add("query", k, true)
		add("query", v, true)
	}
	return segs
}
