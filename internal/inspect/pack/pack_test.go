package pack

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"sallyport.dev/sallyport/internal/inspect/detect"
	"sallyport.dev/sallyport/internal/inspect/rules"
)

// engine is the constructor of the tests: the real rules engine.
func engine(p *Pack) (detect.Detector, error) {
	if p == nil {
		return rules.Default()
	}
	return rules.Load(rules.Options{FS: p.Files, Bare: !p.Extends, Salt: fmt.Sprintf("%x", p.Digest)})
}

const examples = `{"text":"watch the purple walrus swim","channel":"user","want":"attack","category":"injection"}
{"text":"watch the grey walrus swim","channel":"document","want":"allow"}
`

func walrus(colour string) string {
	return fmt.Sprintf("title = \"test\"\n[[rules]]\nid = \"walrus\"\ncategory = \"injection\"\nscore = 0.9\nregex = '''\\b%[1]s walrus\\b'''\n[rules.examples]\nmatch = [\"a %[1]s walrus\", \"the %[1]s walrus\"]\nmiss = [\"a walrus\", \"%[1]s\"]\n", colour)
}

var day = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)

// keys are made once: a key pair to sign with, and its trust.
func keys(t testing.TB) (private string, trust *Trust) {
	t.Helper()
	private, public, err := NewKey("test-key")
	if err != nil {
		t.Fatal(err)
	}
	if trust, err = NewTrust([]string{public}); err != nil {
		t.Fatal(err)
	}
	return private, trust
}

// source writes a directory with the given files over those of a small good pack; an empty one is
// left out.
func source(t testing.TB, change map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	files := map[string]string{"rules/walrus.toml": walrus("purple"), "examples.jsonl": examples, "thresholds.json": `{"user":0.5}`, "weights/w.bin": "\x00\x01\xff"}
	for k, v := range change {
		files[k] = v
	}
	for name, text := range files {
		if text == "" {
			continue
		}
		p := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func build(t testing.TB, key, version string, change map[string]string) *Pack {
	t.Helper()
	p, err := Build(Source{Name: "acme", Version: version, Created: day, Dir: source(t, change), Key: key})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestAPackIsWhatWasSigned(t *testing.T) {
	key, trust := keys(t)
	made := build(t, key, "1.2.0", nil)
	p, err := Open(made.Bytes(), trust)
	if err != nil {
		t.Fatal(err)
	}
	if p.ID() != "acme@1.2.0" || p.Signer != "test-key" || !p.Created.Equal(day) || len(p.Files) != 4 || p.Digest != made.Digest {
		t.Errorf("%+v", p.Manifest)
	}
	if string(p.Files.Raw("weights/w.bin")) != "\x00\x01\xff" || string(p.Files.Raw("rules/walrus.toml")) != walrus("purple") {
		t.Error("the contents are not what was put in")
	}
	if again := build(t, key, "1.2.0", nil); !bytes.Equal(again.Bytes(), made.Bytes()) {
		t.Error("the same source gave other bytes")
	}
	d, err := Load(p, engine, "devel")
	if err != nil {
		t.Fatal(err)
	}
	other := build(t, key, "1.2.1", nil)
	e, err := Load(other, engine, "devel")
	if err != nil || d.Version() == e.Version() {
		t.Errorf("two packs, one detector version: %v", err)
	}
	dir := filepath.Join(t.TempDir(), "unpacked")
	if err := p.Unpack(dir); err != nil {
		t.Fatal(err)
	}
	if q, err := Read(dir, trust); err != nil || q.Digest != p.Digest {
		t.Errorf("unpacked: %v", err)
	}
	if err := fstest.TestFS(p.Files, "rules/walrus.toml", "weights/w.bin", "thresholds.json", "examples.jsonl"); err != nil {
		t.Error(err)
	}
}

// Every single bit, every truncation, and a byte more anywhere: refused, and for the right reason.
func TestEveryFlippedBitIsRefused(t *testing.T) {
	key, trust := keys(t)
	raw := build(t, key, "1.2.0", nil).Bytes()
	refused := func(what string, b []byte) {
		t.Helper()
		p, err := Open(b, trust)
		if err == nil || p != nil {
			t.Fatalf("%s: taken", what)
		}
		if !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrUntrusted) {
			t.Fatalf("%s: %v", what, err)
		}
	}
	b := bytes.Clone(raw)
	for i := range b {
		for bit := range 8 {
			b[i] ^= 1 << bit
			refused(fmt.Sprintf("byte %d bit %d", i, bit), b)
			b[i] = raw[i]
		}
		refused(fmt.Sprintf("cut at %d", i), raw[:i])
		for _, more := range []byte{0, '\n', ' ', raw[i]} {
			longer := append(append(bytes.Clone(raw[:i]), more), raw[i:]...)
			if !bytes.Equal(longer, raw) {
				refused(fmt.Sprintf("byte %#x put in at %d", more, i), longer)
			}
		}
	}
	refused("a byte more", append(bytes.Clone(raw), 0))
	refused("nothing", nil)
	if _, err := Open(raw, trust); err != nil {
		t.Fatalf("the pack itself: %v", err)
	}
	t.Logf("%d bits of %d bytes", 8*len(raw), len(raw))
}

// The same for a pack that is a directory, file by file.
func TestADirectoryIsCoveredToo(t *testing.T) {
	key, trust := keys(t)
	p := build(t, key, "1.2.0", nil)
	dir := filepath.Join(t.TempDir(), "d")
	if err := p.Unpack(dir); err != nil {
		t.Fatal(err)
	}
	for name := range map[string]bool{"pack.note": true, "rules/walrus.toml": true, "weights/w.bin": true, "examples.jsonl": true, "thresholds.json": true} {
		at := filepath.Join(dir, name)
		was, err := os.ReadFile(at)
		if err != nil {
			t.Fatal(err)
		}
		for i := range was {
			b := bytes.Clone(was)
			b[i] ^= 1 << (i % 8)
			if err := os.WriteFile(at, b, 0o644); err != nil {
				t.Fatal(err)
			}
			if _, err := Read(dir, trust); err == nil {
				t.Fatalf("%s byte %d: taken", name, i)
			}
		}
		if err := os.Remove(at); err != nil {
			t.Fatal(err)
		}
		if _, err := Read(dir, trust); !errors.Is(err, ErrDamaged) {
			t.Errorf("without %s: %v", name, err)
		}
		if err := os.WriteFile(at, was, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, extra := range []string{"rules/more.toml", "weights/more", "rules/.hidden.toml", "README", "weights/UPPER", "rules/a.txt", "more/x", "weights/sub/x", "rules/evil\x1b[31m.toml"} {
		at := filepath.Join(dir, extra)
		if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(at, []byte("x"), 0o644); err != nil {
			t.Fatal(err)
		}
		_, err := Read(dir, trust)
		if !errors.Is(err, ErrDamaged) {
			t.Errorf("with %q: %v", extra, err)
		}
		if err != nil && strings.ContainsFunc(err.Error(), func(r rune) bool { return r < ' ' || r > '~' }) {
			t.Errorf("with %q: the error holds it raw: %q", extra, err)
		}
		os.Remove(at)
		if d := filepath.Dir(extra); d != "rules" && d != "weights" && d != "." {
			os.Remove(filepath.Join(dir, d))
		}
	}
	if _, err := Read(dir, trust); err != nil {
		t.Fatalf("as it was: %v", err)
	}
}

func TestLinksAreRefused(t *testing.T) {
	key, trust := keys(t)
	p := build(t, key, "1.2.0", nil)
	outside := filepath.Join(t.TempDir(), "w.bin")
	if err := os.WriteFile(outside, p.Files.Raw("weights/w.bin"), 0o644); err != nil {
		t.Fatal(err)
	}
	for name, link := range map[string]string{"weights/w.bin": outside, "pack.note": "rules/walrus.toml", "rules/walrus.toml": "../thresholds.json"} {
		dir := filepath.Join(t.TempDir(), "d")
		if err := p.Unpack(dir); err != nil {
			t.Fatal(err)
		}
		at := filepath.Join(dir, name)
		os.Remove(at)
		if err := os.Symlink(link, at); err != nil {
			t.Fatal(err)
		}
		if _, err := Read(dir, trust); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s a link to the same bytes or others: %v", name, err)
		}
		if _, err := Build(Source{Name: "acme", Version: "1.0.0", Created: day, Dir: dir, Key: key}); err == nil {
			t.Errorf("%s: built from a link", name)
		}
	}
	// A whole directory by link, and the single file by link.
	dir := filepath.Join(t.TempDir(), "d")
	if err := p.Unpack(dir); err != nil {
		t.Fatal(err)
	}
	os.Rename(filepath.Join(dir, "weights"), filepath.Join(filepath.Dir(outside), "weights"))
	if err := os.Symlink(filepath.Join(filepath.Dir(outside), "weights"), filepath.Join(dir, "weights")); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(dir, trust); !errors.Is(err, ErrDamaged) {
		t.Errorf("weights by link: %v", err)
	}
	for _, special := range []string{"link", "fifo"} {
		at := filepath.Join(t.TempDir(), special)
		if special == "link" {
			if err := os.Symlink(outside, at); err != nil {
				t.Fatal(err)
			}
		} else if err := mkfifo(at); err != nil {
			t.Fatal(err)
		}
		if _, err := Read(at, trust); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v", special, err)
		}
	}
}

func TestContentsThatCannotBeLoaded(t *testing.T) {
	key, _ := keys(t)
	for name, c := range map[string]struct {
		change map[string]string
		want   error
	}{
		"a rule that misses its own example": {map[string]string{"rules/walrus.toml": strings.Replace(walrus("purple"), "a purple walrus", "a bird", 1)}, ErrContents},
		"no TOML":                            {map[string]string{"rules/walrus.toml": "[[["}, ErrContents},
		"an unknown key":                     {map[string]string{"rules/walrus.toml": walrus("purple") + "colour = 1\n"}, ErrContents},
		"no rules, so nothing is found":      {map[string]string{"rules/walrus.toml": ""}, ErrExamples},
		"an attack is not found":             {map[string]string{"examples.jsonl": strings.Replace(examples, "purple", "green", 1)}, ErrExamples},
		"another category":                   {map[string]string{"examples.jsonl": strings.Replace(examples, "injection", "secret", 1)}, ErrExamples},
		"what is allowed is found":           {map[string]string{"examples.jsonl": strings.Replace(examples, "grey", "purple", 1)}, ErrExamples},
		"no attack":                          {map[string]string{"examples.jsonl": examples[strings.Index(examples, "\n")+1:]}, ErrContents},
		"no text to allow":                   {map[string]string{"examples.jsonl": examples[:strings.Index(examples, "\n")+1]}, ErrContents},
		"a blank line":                       {map[string]string{"examples.jsonl": examples + "\n"}, ErrContents},
		"a member twice":                     {map[string]string{"examples.jsonl": strings.Replace(examples, `"want":"allow"`, `"want":"attack","want":"allow"`, 1)}, ErrContents},
		"an unknown member":                  {map[string]string{"examples.jsonl": strings.Replace(examples, `"want":"allow"`, `"want":"allow","x":"y"`, 1)}, ErrContents},
		"an unknown channel":                 {map[string]string{"examples.jsonl": strings.Replace(examples, `"user"`, `"nobody"`, 1)}, ErrContents},
		"a category where nothing is wanted": {map[string]string{"examples.jsonl": strings.Replace(examples, `"want":"allow"`, `"want":"allow","category":"secret"`, 1)}, ErrContents},
		"too many examples":                  {map[string]string{"examples.jsonl": strings.Repeat(examples, MaxExamples)}, ErrContents},
		"a hostile rule id":                  {map[string]string{"rules/walrus.toml": strings.Replace(walrus("purple"), `id = "walrus"`, `id = "\u001b[2J\u202e"`+"\nentropy = -1\nsecretGroup = 9", 1)}, ErrContents},
	} {
		p := build(t, key, "1.0.0", c.change)
		d, err := Load(p, engine, "devel")
		if !errors.Is(err, c.want) || d != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err != nil && strings.ContainsFunc(err.Error(), func(r rune) bool { return r < ' ' || r > '~' }) {
			t.Errorf("%s: the error holds it raw: %q", name, err)
		}
	}
	if _, err := Build(Source{Name: "acme", Version: "1.0.0", Created: day, Dir: source(t, map[string]string{"examples.jsonl": ""}), Key: key}); err == nil {
		t.Error("built without examples")
	}
	if _, err := Build(Source{Name: "acme", Version: "1.0.0", Created: day, Dir: source(t, map[string]string{"thresholds.json": `{"a":1,"a":2}`}), Key: key}); err == nil {
		t.Error("built with thresholds that can be read in two ways")
	}
	p := build(t, key, "1.0.0", nil)
	if _, err := Load(p, func(*Pack) (detect.Detector, error) { panic(p) }, "devel"); !errors.Is(err, ErrContents) {
		t.Errorf("a constructor that panics: %v", err)
	}
	p.Minimum = "1.5.0"
	for release, ok := range map[string]bool{"v1.5.0": true, "v1.4.9": false, "1.5.0-rc.1": false, "v2.0.0": true, "devel": true, "unknown": true, "v0.0.0-20260101120000-0123456789ab+dirty": true} {
		if _, err := Load(p, engine, release); (err == nil) != ok || (!ok && !errors.Is(err, ErrTooNew)) {
			t.Errorf("release %s: %v", release, err)
		}
	}
}
