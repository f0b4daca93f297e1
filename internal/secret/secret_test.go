package secret

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
)

const word = "hunter2-and-more"

func TestNothingPrintsASecret(t *testing.T) {
	s := New(word)
	type holder struct {
		S String  `json:"s" yaml:"s"`
		P *String `json:"p" yaml:"p"`
	}
	h := holder{s, &s}
	var outs []string
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%p", "%T %v", "%08.3f"} {
		outs = append(outs, fmt.Sprintf(verb, s), fmt.Sprintf(verb, &s), fmt.Sprintf(verb, h), fmt.Sprintf(verb, []String{s}), fmt.Sprintf(verb, map[string]String{"k": s}))
	}
	outs = append(outs, fmt.Sprint(s), fmt.Sprintln(h), fmt.Errorf("e: %w %v", os.ErrClosed, s).Error())
	j, err := json.Marshal(h)
	if err != nil {
		t.Fatal(err)
	}
	y, err := yaml.Marshal(h)
	if err != nil {
		t.Fatal(err)
	}
	k, err := json.Marshal(map[String]int{s: 1})
	if err != nil {
		t.Fatal(err)
	}
	outs = append(outs, string(j), string(y), string(k))
	var b bytes.Buffer
	for _, l := range []*slog.Logger{slog.New(slog.NewTextHandler(&b, nil)), slog.New(slog.NewJSONHandler(&b, nil))} {
		l.Info("m", "s", s, "p", &s, "h", h, slog.Group("g", "s", s))
	}
	outs = append(outs, b.String())
	for _, out := range outs {
		if strings.Contains(out, "hunter2") || strings.Contains(out, fmt.Sprintf("%x", "hunter2")) || strings.Contains(out, fmt.Sprintf("%X", "hunter2")) {
			t.Errorf("printed: %s", out)
		}
	}
	if s.Reveal() != word || New("").Reveal() != "" || (String{}).Reveal() != "" {
		t.Error("Reveal")
	}
	if !s.Equal(New(word)) || s.Equal(New(word+"x")) || s.Equal(String{}) || !(String{}).Empty() {
		t.Error("Equal, Empty")
	}
}

func TestResolve(t *testing.T) {
	dir := t.TempDir()
	file := func(name, content string, mode os.FileMode) Ref {
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(p, mode); err != nil {
			t.Fatal(err)
		}
		return Ref{File: p}
	}
	t.Setenv("SALLYPORT_TEST_SECRET", word)
	t.Setenv("SALLYPORT_TEST_EMPTY", "")
	for name, r := range map[string]Ref{
		"env": {Env: "SALLYPORT_TEST_SECRET"}, "file": file("plain", word, 0o600), "group may read": file("group", word, 0o640),
		"line break": file("lf", word+"\n", 0o400), "windows line break": file("crlf", word+"\r\n", 0o600),
	} {
		if s, err := r.Resolve(); err != nil || s.Reveal() != word {
			t.Errorf("%s: %v", name, err)
		}
	}
	if s, err := file("long", strings.Repeat("x", MaxBytes)+"\n", 0o600).Resolve(); err != nil || len(s.Reveal()) != MaxBytes {
		t.Errorf("longest: %v", err)
	}
	for want, r := range map[string]Ref{
		"is not set":                   {Env: "SALLYPORT_TEST_ABSENT"},
		"EMPTY is empty":               {Env: "SALLYPORT_TEST_EMPTY"},
		"reference is empty":           {},
		"both":                         {Env: "A", File: "b"},
		"no such file":                 {File: filepath.Join(dir, "absent")},
		"not a regular file":           {File: dir},
		"read by everyone (mode 0604)": file("world", word, 0o604),
		"nl is empty":                  file("nl", "\n", 0o600),
		"more than 65536 bytes":        file("huge", strings.Repeat("x", MaxBytes+1), 0o600),
		"huger holds more":             file("huger", strings.Repeat("x", MaxBytes*3), 0o600),
		"control character":            file("two", word+"\n\n", 0o600),
		"nul holds":                    file("nul", word+"\x00", 0o600),
		"not UTF-8":                    file("utf8", word+"\xff", 0o600),
	} {
		s, err := r.Resolve()
		if err == nil || !strings.Contains(err.Error(), want) || !s.Empty() {
			t.Errorf("%v: %v, want %q", r, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("printed: %v", err)
		}
	}
}
