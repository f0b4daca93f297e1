package config

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml"

	"sallyport.dev/sallyport/internal/secret"
)

// Show writes the effective configuration as YAML, in the order of the structs. Secrets appear as
// references only; settings that are not set are left out. What it writes, Parse reads back.
func (c *Config) Show(w io.Writer) error {
	b, err := yaml.MarshalWithOptions(tree(reflect.ValueOf(c).Elem()), yaml.IndentSequence(true))
	if err != nil {
		return fmt.Errorf("config: %w", err)
	}
	_, err = w.Write(b)
	return err
}

// Hash names the effective configuration: 64 hexadecimal digits, the same for the same settings
// however the file is written. References to secrets count, their values do not; nor do the
// contents of the files it names.
func (c *Config) Hash() string {
	b, err := json.Marshal(plain(tree(reflect.ValueOf(c).Elem())))
	if err != nil {
		panic("config: a setting that JSON cannot hold: " + err.Error()) // a test walks the schema
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// tree turns settings into what the YAML and JSON writers know: MapSlice, []any and scalars.
func tree(v reflect.Value) any {
	switch x := v.Interface().(type) {
	case secret.Ref:
		return refTree(x)
	case HeaderValue:
		if !x.Ref.IsZero() {
			return refTree(x.Ref)
		}
		return x.Value
	case time.Duration:
		return x.String()
	case netip.Prefix:
		return x.String()
	case Size:
		return x.String()
	}
	switch v.Kind() {
	case reflect.Pointer:
		return tree(v.Elem())
	case reflect.Struct:
		m := yaml.MapSlice{}
		for _, f := range fieldsOf(v.Type()) {
			if fv := v.Field(f.index); !absent(fv) {
				m = append(m, yaml.MapItem{Key: f.name, Value: tree(fv)})
			}
		}
		return m
	case reflect.Slice:
		l := make([]any, v.Len())
		for i := range l {
			l[i] = tree(v.Index(i))
		}
		return l
	case reflect.Map:
		m := yaml.MapSlice{}
		for _, k := range slices.SortedFunc(slices.Values(v.MapKeys()), func(a, b reflect.Value) int {
			return strings.Compare(a.String(), b.String())
		}) {
			m = append(m, yaml.MapItem{Key: k.String(), Value: tree(v.MapIndex(k))})
		}
		return m
	case reflect.Bool, reflect.Int, reflect.Float64:
		return v.Interface()
	}
	return wordOf(v.Interface()) // string kinds, and the enumerations that have String
}

// absent says that a setting without a value of its own is left out.
func absent(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map:
		return v.IsZero()
	case reflect.String:
		return v.Len() == 0
	}
	return false
}

func refTree(r secret.Ref) yaml.MapSlice {
	if r.Env != "" {
		return yaml.MapSlice{{Key: "env", Value: r.Env}}
	}
	return yaml.MapSlice{{Key: "file", Value: r.File}}
}

func wordOf(x any) string {
	if s, ok := x.(fmt.Stringer); ok {
		return s.String()
	}
	return fmt.Sprint(x)
}

// plain turns MapSlices into maps, which the JSON writer sorts.
func plain(x any) any {
	switch t := x.(type) {
	case yaml.MapSlice:
		m := make(map[string]any, len(t))
		for _, e := range t {
			m[e.Key.(string)] = plain(e.Value)
		}
		return m
	case []any:
		l := make([]any, len(t))
		for i, e := range t {
			l[i] = plain(e)
		}
		return l
	}
	return x
}
