package pack

import (
	"bytes"
	"strings"
	"testing"
)

const seedManifest = origin + "\n{\n \"format\": 1,\n \"name\": \"acme\",\n \"version\": \"1.2.0\",\n \"created\": \"2026-03-04T05:06:07Z\",\n \"minimum_sallyport\": \"0.1.0\",\n \"extends_builtin\": true,\n \"files\": [\n  {\"path\": \"examples.jsonl\", \"size\": 3, \"sha256\": \"00000000000000000000000000000000000000000000000000000000000000ff\"},\n  {\"path\": \"rules/a.toml\", \"size\": 4, \"sha256\": \"00000000000000000000000000000000000000000000000000000000000000fe\"}\n ]\n}\n"

// Whatever is read is read in one way only, names only places within the pack, and stays in bounds.
func FuzzManifest(f *testing.F) {
	f.Add([]byte(seedManifest))
	f.Add([]byte(strings.Replace(seedManifest, "rules/a.toml", "../a.toml", 1)))
	f.Add([]byte(strings.Replace(seedManifest, ` "name"`, ` "n\u0061me": "x", "name"`, 1)))
	f.Add([]byte(origin + "\n{}\n"))
	f.Add([]byte(origin + "\n[[[[[[[["))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := parseManifest(b)
		if err != nil {
			if strings.ContainsFunc(err.Error(), func(r rune) bool { return r < ' ' || r > '~' }) {
				t.Fatalf("raw text in %q", err)
			}
			return
		}
		if !bytes.Equal(m.encode(), b) {
			t.Fatal("read in a way that is not how it is written")
		}
		total := int64(0)
		for _, f := range m.Files {
			if strings.Contains(f.Path, "..") || strings.HasPrefix(f.Path, "/") || strings.ContainsAny(f.Path, "\\\x00:") {
				t.Fatalf("path %q", f.Path)
			}
			total += f.Size
		}
		if total > MaxBytes || !ValidID(m.ID()) {
			t.Fatalf("%d bytes, id %q", total, m.ID())
		}
	})
}

// A pack file of any other bytes is refused, without a panic.
func FuzzOpen(f *testing.F) {
	key, trust := keys(f)
	good := build(f, key, "1.0.0", nil).Bytes()
	f.Add(good)
	f.Add([]byte(magic + "5\nabcde"))
	f.Add([]byte(magic + "-1\n"))
	f.Add([]byte(magic + "007\n1234567"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := Open(b, trust); err == nil && !bytes.Equal(b, good) {
			t.Fatal("taken") // keys are new in every run: nothing else can be signed
		}
	})
}

func FuzzExamples(f *testing.F) {
	f.Add([]byte(examples))
	f.Add([]byte(`{"text":"a","channel":"user","want":"attack"}` + "\n" + `{"text":"\ud83d\ude00","channel":"tool","want":"allow"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		es, err := ParseExamples(b)
		if err == nil && (len(es) < 2 || len(es) > MaxExamples) {
			t.Fatalf("%d examples", len(es))
		}
	})
}

func FuzzState(f *testing.F) {
	f.Add([]byte(`{"format":1,"serial":3,"active":{"id":"builtin"},"history":[{"id":"a@1.0.0","digest":"` + strings.Repeat("00", 32) + `","since":"2026-01-01T00:00:00Z"}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := parseState(b)
		if err != nil {
			return
		}
		for _, e := range append(s.History, s.Active) {
			if e.ID != Builtin && !ValidID(e.ID) {
				t.Fatalf("id %q", e.ID)
			}
		}
	})
}
