package pack

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"
)

// signed signs any text with the trusted key: what a mistaken or hostile holder of the key could do.
func signed(t testing.TB, key, text string) []byte {
	t.Helper()
	s, err := note.NewSigner(key)
	if err != nil {
		t.Fatal(err)
	}
	b, err := note.Sign(&note.Note{Text: text}, s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func packed(note []byte, files string) []byte {
	return []byte(fmt.Sprintf("%s%d\n%s%s", magic, len(note), note, files))
}

func TestHostileManifestsWithAGoodSignature(t *testing.T) {
	key, trust := keys(t)
	good := string(build(t, key, "1.2.0", map[string]string{"rules/walrus.toml": "", "weights/w.bin": "", "thresholds.json": ""}).encode())
	if _, err := parseManifest([]byte(good)); err != nil {
		t.Fatal(err)
	}
	file := good[strings.Index(good, "  {") : strings.Index(good, "}\n")+1]
	sz := fmt.Sprintf(`"size": %d`, len(examples))
	for name, c := range map[string][2]string{
		"another origin":         {origin, "sallyport.dev/audit/0123"},
		"another format":         {`"format": 1`, `"format": 2`},
		"a member twice":         {` "name": "acme",`, " \"name\": \"acme\",\n \"name\": \"acme\","},
		"a file twice":           {file, file + ",\n" + file},
		"a member by escape":     {`"name"`, `"n\u0061me"`},
		"an unknown member":      {` "name"`, " \"color\": 1,\n \"name\""},
		"a missing member":       {" \"version\": \"1.2.0\",\n", ""},
		"another spelling":       {`"format": 1`, `"format":1`},
		"a size as a fraction":   {sz, sz + ".0"},
		"a size as an exponent":  {sz, sz + "0e-1"},
		"a negative size":        {sz, strings.Replace(sz, ": ", ": -", 1)},
		"an endless size":        {sz, `"size": 99999999999999999999`},
		"a size that overflows":  {sz, `"size": 9223372036854775807`},
		"no size":                {sz, `"size": 0`},
		"dots":                   {`"path": "examples.jsonl"`, `"path": "../examples.jsonl"`},
		"dots within":            {`"path": "examples.jsonl"`, `"path": "rules/../examples.jsonl"`},
		"an absolute path":       {`"path": "examples.jsonl"`, `"path": "/etc/passwd"`},
		"a backslash":            {`"path": "examples.jsonl"`, `"path": "rules\\x.toml"`},
		"a drive":                {`"path": "examples.jsonl"`, `"path": "c:/x.toml"`},
		"upper case":             {`"path": "examples.jsonl"`, `"path": "rules/X.toml"`},
		"two dots in a name":     {`"path": "examples.jsonl"`, `"path": "weights/a..b"`},
		"a subdirectory":         {`"path": "examples.jsonl"`, `"path": "weights/a/b"`},
		"an empty name":          {`"path": "examples.jsonl"`, `"path": "weights/"`},
		"the note itself":        {`"path": "examples.jsonl"`, `"path": "pack.note"`},
		"a control character":    {`"path": "examples.jsonl"`, `"path": "weights/\u001b[31m"`},
		"another name":           {`"name": "acme"`, `"name": "../acme"`},
		"the built-in's name":    {`"name": "acme"`, `"name": "builtin"`},
		"a name with a slash":    {`"name": "acme"`, `"name": "a/b"`},
		"a long name":            {`"name": "acme"`, `"name": "` + strings.Repeat("a", 41) + `"`},
		"a version with v":       {`"1.2.0"`, `"v1.2.0"`},
		"a short version":        {`"1.2.0"`, `"1.2"`},
		"build metadata":         {`"1.2.0"`, `"1.2.0+x"`},
		"a leading zero":         {`"1.2.0"`, `"1.02.0"`},
		"a path as version":      {`"1.2.0"`, `"../../1"`},
		"no time":                {`"2026-03-04T05:06:07Z"`, `"yesterday"`},
		"a time in another zone": {`"2026-03-04T05:06:07Z"`, `"2026-03-04T06:06:07+01:00"`},
		"parts of a second":      {`"2026-03-04T05:06:07Z"`, `"2026-03-04T05:06:07.5Z"`},
		"no files":               {"\n" + file + "\n", "\n"},
		"a hash too short":       {`"sha256": "`, `"sha256": "00", "x": "`},
		"upper-case hash":        {`"sha256": "`, `"sha256": "AB`},
		"two values":             {"]\n}\n", "]\n}\n{}\n"},
		"a blank line":           {"]\n}\n", "]\n}\n\n"},
		"extends as text":        {`"extends_builtin": false`, `"extends_builtin": "false"`},
	} {
		text := strings.Replace(good, c[0], c[1], 1)
		if text == good {
			t.Errorf("%s: nothing was changed", name)
			continue
		}
		if name != "a blank line" { // a note cannot be told from its own blank line
			if _, err := parseManifest([]byte(text)); err == nil {
				t.Errorf("%s: the manifest was taken", name)
			}
		}
		_, err := Open(packed(signed(t, key, text), examples), trust)
		if !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrTooLarge) {
			t.Errorf("%s: %v", name, err)
		}
		if err != nil && strings.ContainsFunc(err.Error(), func(r rune) bool { return r < ' ' || r > '~' }) {
			t.Errorf("%s: the error holds it raw: %q", name, err)
		}
	}
}

func TestSignatures(t *testing.T) {
	key, trust := keys(t)
	otherKey, otherTrust := keys(t) // same name, another key
	p := build(t, key, "1.2.0", nil)
	if _, err := Open(p.Bytes(), otherTrust); !errors.Is(err, ErrUntrusted) {
		t.Errorf("a key of the same name: %v", err)
	}
	none, err := NewTrust(nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(p.Bytes(), none); !errors.Is(err, ErrUntrusted) {
		t.Errorf("no trusted key: %v", err)
	}
	text := string(p.encode())
	files := string(p.Bytes()[strings.LastIndex(string(p.Bytes()), "\u2014 test-key "):])
	files = files[strings.Index(files, "\n")+1:]
	one := signed(t, key, text)
	two, err := note.Sign(&note.Note{Text: text}, signer(t, key), signer(t, otherKey))
	if err != nil {
		t.Fatal(err)
	}
	for name, n := range map[string][]byte{
		"unsigned":              []byte(text),
		"two signatures":        two,
		"the same twice":        append(bytes.Clone(one), one[len(text)+1:]...),
		"carriage return":       bytes.Replace(one, []byte("\n\n\u2014"), []byte("\r\n\n\u2014"), 1),
		"a line in the base64":  append(bytes.Clone(one[:len(one)-9]), append([]byte("\r"), one[len(one)-9:]...)...),
		"another's signature":   append([]byte(text+"\n"), signed(t, otherKey, text)[len(text)+1:]...),
		"a signature elsewhere": append([]byte(text+"\n"), signed(t, key, "sallyport.dev/audit/x\n1\n")[len("sallyport.dev/audit/x\n1\n")+1:]...),
	} {
		if _, err := Open(packed(n, files), trust); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	if _, err := Open(packed(one, files), trust); err != nil {
		t.Fatalf("the pack itself: %v", err)
	}
	for _, k := range []string{"", "x", key, "name+00000000+AAAA", strings.Replace(key, "PRIVATE+KEY+", "", 1)} {
		if CheckKey(k) == nil {
			t.Errorf("%.20q is a public key", k)
		}
		if k != key {
			if _, err := Build(Source{Name: "acme", Version: "1.0.0", Created: day, Dir: source(t, nil), Key: k}); err == nil {
				t.Errorf("signed with %.20q", k)
			}
		}
	}
	for _, n := range []string{"", "UPPER", "a b", "a+b", "-a", "é", strings.Repeat("a", 64)} {
		if _, _, err := NewKey(n); err == nil {
			t.Errorf("a key called %q", n)
		}
	}
}

func signer(t testing.TB, key string) note.Signer {
	s, err := note.NewSigner(key)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Nothing grows: what is claimed is bounded before anything is made for it, and what is there is
// bounded before it is read.
func TestSizes(t *testing.T) {
	key, trust := keys(t)
	big := filepath.Join(t.TempDir(), "big.pack")
	f, err := os.Create(big)
	if err != nil {
		t.Fatal(err)
	}
	f.WriteString(magic)
	if err := f.Truncate(1 << 40); err != nil { // sparse
		t.Skip("no sparse files here: ", err)
	}
	f.Close()
	if _, err := Read(big, trust); !errors.Is(err, ErrTooLarge) {
		t.Errorf("a terabyte: %v", err)
	}
	dir := source(t, nil)
	if err := os.Truncate(filepath.Join(dir, "weights", "w.bin"), 1<<40); err != nil {
		t.Fatal(err)
	}
	if _, err := Build(Source{Name: "acme", Version: "1.0.0", Created: day, Dir: dir, Key: key}); !errors.Is(err, ErrTooLarge) {
		t.Errorf("weights of a terabyte: %v", err)
	}
	many := map[string]string{}
	for i := range MaxFiles + 1 {
		many[fmt.Sprintf("weights/w%d", i)] = "x"
	}
	if _, err := Build(Source{Name: "acme", Version: "1.0.0", Created: day, Dir: source(t, many), Key: key}); !errors.Is(err, ErrTooLarge) {
		t.Errorf("many files: %v", err)
	}
	// A manifest that claims more than the pack holds, each file within its limit.
	m := &Manifest{Name: "acme", Version: "1.0.0", Created: day, Files: []File{{Path: "examples.jsonl", Size: 1}}}
	for i := range 8 {
		m.Files = append(m.Files, File{Path: fmt.Sprintf("weights/w%d", i), Size: MaxBytes / 8})
	}
	if _, err := Open(packed(signed(t, key, string(m.encode())), "x"), trust); !errors.Is(err, ErrTooLarge) {
		t.Errorf("a claim of 64 MiB and a byte: %v", err)
	}
	m.Files = m.Files[:2]
	if _, err := Open(packed(signed(t, key, string(m.encode())), "x"), trust); !errors.Is(err, ErrDamaged) {
		t.Errorf("a claim of 8 MiB: %v", err)
	}
	if _, err := Open([]byte(magic+"99999999\n"), trust); !errors.Is(err, ErrDamaged) {
		t.Errorf("a manifest that is not there: %v", err)
	}
}
