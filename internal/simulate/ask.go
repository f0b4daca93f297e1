package simulate

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"strings"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"
)

// object is a JSON object on its way out.
type object = map[string]any

// ask is what the simulator understands of a request. It reads the way many providers do: loosely,
// the last of two equal keys winning.
type ask struct {
	body     object
	model    string
	stream   bool
	usage    bool // stream_options.include_usage
	n        int
	lastUser string
	tool     string // that the request insists on
	schemas  map[string]any
	format   any // JSON schema the answer has to match
}

const maxPlain = 256 << 20

// undo removes a request's content encoding.
func undo(encoding string, body []byte) ([]byte, error) {
	var r io.Reader
	switch strings.ToLower(strings.TrimSpace(encoding)) {
	case "", "identity":
		return body, nil
	case "gzip", "x-gzip":
		z, err := gzip.NewReader(bytes.NewReader(body))
		if err != nil {
			return nil, err
		}
		r = z
	case "br":
		r = brotli.NewReader(bytes.NewReader(body))
	case "zstd":
		z, err := zstd.NewReader(bytes.NewReader(body), zstd.WithDecoderConcurrency(1))
		if err != nil {
			return nil, err
		}
		defer z.Close()
		r = z
	default:
		return nil, errors.New("unknown content encoding")
	}
	plain, err := io.ReadAll(io.LimitReader(r, maxPlain+1))
	if err == nil && len(plain) > maxPlain {
		err = errors.New("decoded body too long")
	}
	return plain, err
}

// read fills a from a body; bad says that it claims to be JSON and is not an object.
func (a *ask) read(contentType string, body []byte) (bad bool) {
	mt, _, _ := mime.ParseMediaType(contentType)
	if len(body) == 0 || (mt != "" && mt != "application/json") {
		return false
	}
	if err := json.Unmarshal(body, &a.body); err != nil {
		return true
	}
	b := a.body
	a.model, _ = b["model"].(string)
	a.stream, _ = b["stream"].(bool)
	if so, ok := b["stream_options"].(object); ok {
		a.usage, _ = so["include_usage"].(bool)
	}
	a.n = 1
	if n, ok := b["n"].(float64); ok && n >= 1 && n <= 64 {
		a.n = int(n)
	}
	a.readTools()
	a.format = format(b)
	for _, key := range []string{"messages", "input"} {
		turns, _ := b[key].([]any)
		for _, t := range turns {
			if m, ok := t.(object); ok && m["role"] == "user" {
				if text := contentText(m["content"]); text != "" {
					a.lastUser = text
				}
			}
		}
		if s, ok := b[key].(string); ok {
			a.lastUser = s
		}
	}
	if s, ok := b["prompt"].(string); ok {
		a.lastUser = s
	}
	return false
}

func (a *ask) readTools() {
	a.schemas = map[string]any{}
	first := ""
	tools, _ := a.body["tools"].([]any)
	for _, t := range tools {
		m, _ := t.(object)
		if f, ok := m["function"].(object); ok {
			m = f
		}
		name, _ := m["name"].(string)
		if name == "" {
			continue
		}
		if first == "" {
			first = name
		}
		a.schemas[name] = m["parameters"]
		if s, ok := m["input_schema"]; ok {
			a.schemas[name] = s
		}
	}
	switch choice := a.body["tool_choice"].(type) {
	case string:
		if choice == "required" {
			a.tool = first
		}
	case object:
		if choice["type"] == "any" {
			a.tool = first
		}
		if f, ok := choice["function"].(object); ok {
			choice = f
		}
		if name, ok := choice["name"].(string); ok {
			a.tool = name
		}
	}
}

// format finds the JSON schema that an answer has to match, where each dialect has it.
func format(b object) any {
	if f, ok := b["response_format"].(object); ok && f["type"] == "json_schema" {
		if s, ok := f["json_schema"].(object); ok {
			return s["schema"]
		}
	}
	for _, outer := range []string{"text", "output_config"} {
		if t, ok := b[outer].(object); ok {
			if f, ok := t["format"].(object); ok && f["type"] == "json_schema" {
				return f["schema"]
			}
		}
	}
	if f, ok := b["output_format"].(object); ok && f["type"] == "json_schema" {
		return f["schema"]
	}
	return nil
}

// contentText joins the texts of a message's content.
func contentText(content any) string {
	switch c := content.(type) {
	case string:
		return c
	case []any:
		var parts []string
		for _, p := range c {
			if m, ok := p.(object); ok {
				if s, ok := m["text"].(string); ok {
					parts = append(parts, s)
				}
			}
		}
		return strings.Join(parts, "\n")
	}
	return ""
}

// instance makes a small value that matches a JSON schema of the kind the providers accept.
func instance(schema any, root any, depth int) any {
	s, ok := schema.(object)
	if !ok || depth > 16 {
		return nil
	}
	if v, ok := s["const"]; ok {
		return v
	}
	if e, ok := s["enum"].([]any); ok && len(e) > 0 {
		return e[0]
	}
	if ref, ok := s["$ref"].(string); ok {
		return instance(resolve(ref, root), root, depth+1)
	}
	for _, key := range []string{"anyOf", "oneOf", "allOf"} {
		if alternatives, ok := s[key].([]any); ok && len(alternatives) > 0 {
			return instance(alternatives[0], root, depth+1)
		}
	}
	kind, _ := s["type"].(string)
	if kinds, ok := s["type"].([]any); ok && len(kinds) > 0 {
		kind, _ = kinds[0].(string)
	}
	switch kind {
	case "string":
		return "text"
	case "integer", "number":
		if v, ok := s["minimum"].(float64); ok {
			return v
		}
		return 1
	case "boolean":
		return true
	case "array":
		if depth > 8 {
			return []any{}
		}
		return []any{instance(s["items"], root, depth+1)}
	case "object", "":
		out := object{}
		properties, _ := s["properties"].(object)
		for name, p := range properties {
			out[name] = instance(p, root, depth+1)
		}
		return out
	}
	return nil
}

// resolve follows a local reference (#/$defs/name).
func resolve(ref string, root any) any {
	at := root
	path, ok := strings.CutPrefix(ref, "#")
	if !ok {
		return nil
	}
	for _, step := range strings.Split(strings.TrimPrefix(path, "/"), "/") {
		if step == "" {
			continue
		}
		m, ok := at.(object)
		if !ok {
			return nil
		}
		at = m[step]
	}
	return at
}
