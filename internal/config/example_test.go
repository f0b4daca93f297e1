package config

import (
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/goccy/go-yaml/token"
)

func example(t *testing.T) []byte {
	t.Helper()
	b, err := os.ReadFile("../../sallyport.example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestExampleIsTheDefaults(t *testing.T) {
	t.Setenv("XDG_STATE_HOME", "/state")
	c, err := Parse("sallyport.example.yaml", example(t))
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(c, Default()) {
		t.Errorf("the example differs from the defaults:\n%+v\n%+v", c, Default())
	}
}

// With its commented settings switched on, the example loads too, and names every setting there is.
func TestExampleHasEveryKey(t *testing.T) {
	b := regexp.MustCompile(`(?m)^( *)#(\S)`).ReplaceAll(example(t), []byte("$1$2"))
	b = regexp.MustCompile(`(?m)^\w+[^:\n]*$`).ReplaceAll(b, nil) // prose at the margin, had there been any
	b = []byte(strings.Replace(string(b), "mode: passthrough", "mode: keys", 1))
	d := &decoder{at: map[string]*token.Position{}}
	body := d.document(b)
	if body == nil {
		t.Fatal(d.errs)
	}
	c := Default()
	d.into(body, c)
	c.Listen.TLS = nil // it and iam.spiffe exclude each other
	d.validate(c)
	if len(d.errs) > 0 {
		t.Fatal(d.errs)
	}
	seen := map[string]bool{}
	for key := range d.at {
		seen[regexp.MustCompile(`\[\d+\]`).ReplaceAllString(key, "[]")] = true
	}
	n := 0
	walk(reflect.TypeFor[Config](), "", func(key string, _ reflect.Type) {
		if n++; !seen[key] && !strings.HasSuffix(key, "[]") {
			t.Errorf("the example does not have %s", key)
		}
	})
	if n < 70 {
		t.Errorf("only %d settings were looked for", n)
	}
	if r := c.Inspect.Policy[0]; r.Category == nil || *r.Category != "secret" || r.Model != "gpt-*" || c.Proxy.Upstreams[0].Credential.Env != "OPENAI_API_KEY" {
		t.Errorf("%+v", r)
	}
}

// walk calls f for every setting of the schema.
func walk(t reflect.Type, key string, f func(string, reflect.Type)) {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if key != "" {
		f(key, t)
	}
	if _, ok := scalars[t]; ok {
		return
	}
	switch t.Kind() {
	case reflect.Struct:
		for _, fd := range fieldsOf(t) {
			walk(t.Field(fd.index).Type, join(key, fd.name), f)
		}
	case reflect.Slice:
		walk(t.Elem(), key+"[]", f)
	}
}

// Every setting has a name and a type that the decoder and the printer know.
func TestSchema(t *testing.T) {
	var top []string
	for _, f := range fieldsOf(reflect.TypeFor[Config]()) {
		top = append(top, f.name)
	}
	if got := strings.Join(top, " "); got != "listen data_dir iam inspect watch proxy audit console" {
		t.Errorf("top-level keys: %s", got)
	}
	walk(reflect.TypeFor[Config](), "", func(key string, typ reflect.Type) {
		if !regexp.MustCompile(`^[a-z0-9_.\[\]]+$`).MatchString(key) {
			t.Errorf("%s: a setting without a proper name", key)
		}
		_, ok := scalars[typ]
		switch typ.Kind() {
		case reflect.Struct, reflect.Slice:
			ok = true
		case reflect.Map:
			ok = typ == reflect.TypeFor[map[string]HeaderValue]()
		}
		if !ok {
			t.Errorf("%s: the decoder does not know %v", key, typ)
		}
	})
}
