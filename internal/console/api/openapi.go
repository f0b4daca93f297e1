package api

import (
	"encoding"
	"fmt"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// document makes the OpenAPI 3.1 document of the routes, out of the types that the handlers take and
// give.
func document(routes []Route, version string) ([]byte, error) {
	s := &schemas{named: map[string]any{}, types: map[string]reflect.Type{}}
	paths := map[string]map[string]any{}
	for i := range routes {
		r := &routes[i]
		op := map[string]any{
			"operationId": r.Operation, "summary": r.Summary, "tags": []string{strings.SplitN(r.Operation, ".", 2)[0]},
			"x-permission": r.Permission, "responses": responses(r, s),
		}
		if r.Permission == Public {
			op["security"] = []any{}
		}
		var params []any
		for _, name := range r.pathValues() {
			params = append(params, map[string]any{"name": name, "in": "path", "required": true, "schema": map[string]any{"type": "string"}})
		}
		for _, q := range r.Query {
			params = append(params, map[string]any{"name": q.Name, "in": "query", "description": q.Doc, "schema": map[string]any{"type": "string"}})
		}
		if params != nil {
			op["parameters"] = params
		}
		if r.in != reflect.TypeFor[None]() {
			op["requestBody"] = map[string]any{"required": true, "content": content("application/json", s.of(r.in))}
		}
		path := Base + r.Pattern
		if paths[path] == nil {
			paths[path] = map[string]any{}
		}
		paths[path][strings.ToLower(r.Method)] = op
	}
	problem := map[string]any{"type": "object", "description": "RFC 9457", "properties": map[string]any{
		"type": str, "title": str, "status": map[string]any{"type": "integer"}, "code": str, "detail": str,
		"instance": map[string]any{"type": "string", "description": "id of the event in the record"},
	}}
	s.named["Problem"] = problem
	if s.err != nil {
		return nil, s.err
	}
	return marshal(map[string]any{
		"openapi": "3.1.0",
		"info":    map[string]any{"title": "Sallyport administration", "version": version, "license": map[string]any{"name": "Apache-2.0", "identifier": "Apache-2.0"}},
		"paths":   paths,
		"components": map[string]any{"schemas": s.named, "securitySchemes": map[string]any{
			"session": map[string]any{"type": "apiKey", "in": "cookie", "name": "__Host-sallyport"},
			"key":     map[string]any{"type": "http", "scheme": "bearer", "description": "a Sallyport key of a service"},
		}},
		"security": []any{map[string]any{"session": []any{}}, map[string]any{"key": []any{}}},
	})
}

var str = map[string]any{"type": "string"}

func content(media string, schema any) map[string]any {
	return map[string]any{media: map[string]any{"schema": schema}}
}

func responses(r *Route, s *schemas) map[string]any {
	out := map[string]any{"default": map[string]any{"description": "A problem.", "content": content("application/problem+json", map[string]any{"$ref": "#/components/schemas/Problem"})}}
	status := r.Status
	if r.out == reflect.TypeFor[None]() {
		if status == 0 {
			status = http.StatusNoContent
		}
		out[strconv.Itoa(status)] = map[string]any{"description": "Done."}
		return out
	}
	if status == 0 {
		status = http.StatusOK
	}
	text := "The result."
	if r.Secret {
		text = "The result. It holds a secret that is shown this once."
	}
	out[strconv.Itoa(status)] = map[string]any{"description": text, "content": content("application/json", s.of(r.out))}
	return out
}

// schemas turns Go types into JSON Schema (2020-12), each named struct once.
type schemas struct {
	named map[string]any
	types map[string]reflect.Type
	err   error
}

var (
	timeType  = reflect.TypeFor[time.Time]()
	textType  = reflect.TypeFor[encoding.TextMarshaler]()
	bytesType = reflect.TypeFor[[]byte]()
	rawType   = reflect.TypeFor[jsontext.Value]()
	formType  = reflect.TypeFor[texted]()
)

// texted is a type that is written as text and says how: as a pattern (ECMA-262), and in words.
type texted interface {
	TextForm() (pattern, words string)
}

func formOf(t reflect.Type) (pattern, words string) {
	return reflect.Zero(t).Interface().(texted).TextForm()
}

func (s *schemas) of(t reflect.Type) any {
	switch {
	case t.Kind() == reflect.Pointer:
		return s.of(t.Elem())
	case t == timeType:
		return map[string]any{"type": "string", "format": "date-time"}
	case t == bytesType:
		return map[string]any{"type": "string", "contentEncoding": "base64"}
	case t == rawType: // any JSON: another standard says what is in it
		return map[string]any{}
	case t.Implements(formType):
		pattern, words := formOf(t)
		return map[string]any{"type": "string", "pattern": pattern, "description": words}
	case t.Implements(textType) || reflect.PointerTo(t).Implements(textType):
		return str
	}
	switch t.Kind() {
	case reflect.String:
		return str
	case reflect.Bool:
		return map[string]any{"type": "boolean"}
	case reflect.Int, reflect.Int64, reflect.Int32, reflect.Uint8, reflect.Uint32, reflect.Uint64:
		return map[string]any{"type": "integer"}
	case reflect.Float64:
		return map[string]any{"type": "number"}
	case reflect.Slice, reflect.Array:
		return map[string]any{"type": "array", "items": s.of(t.Elem())}
	case reflect.Map:
		return map[string]any{"type": "object", "additionalProperties": s.of(t.Elem())}
	case reflect.Interface:
		return map[string]any{}
	case reflect.Struct:
		if t.Name() == "" || strings.Contains(t.Name(), "[") {
			return s.object(t)
		}
		name := t.Name()
		if other := s.types[name]; other != nil && other != t {
			name = strings.ToUpper(t.PkgPath()[strings.LastIndexByte(t.PkgPath(), '/')+1:][:1]) + t.PkgPath()[strings.LastIndexByte(t.PkgPath(), '/')+2:] + name
		}
		if s.types[name] == nil {
			s.types[name] = t
			s.named[name] = s.object(t)
		} else if s.types[name] != t {
			s.err = fmt.Errorf("api: two types are named %s", name)
		}
		return map[string]any{"$ref": "#/components/schemas/" + name}
	}
	s.err = fmt.Errorf("api: a %s has no JSON Schema", t)
	return nil
}

func (s *schemas) object(t reflect.Type) any {
	props := map[string]any{}
	required := []string{}
	var add func(t reflect.Type)
	add = func(t reflect.Type) {
		for i := range t.NumField() {
			f := t.Field(i)
			name, rest, _ := strings.Cut(f.Tag.Get("json"), ",")
			if name == "-" || (!f.IsExported() && !f.Anonymous) {
				continue
			}
			if f.Anonymous && name == "" {
				add(f.Type)
				continue
			}
			if name == "" {
				name = f.Name
			}
			props[name] = s.of(f.Type)
			if !strings.Contains(rest, "omit") && f.Type.Kind() != reflect.Pointer {
				required = append(required, name)
			}
		}
	}
	add(t)
	o := map[string]any{"type": "object", "properties": props, "additionalProperties": false}
	if len(required) > 0 {
		o["required"] = required
	}
	return o
}
