package envelope

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"filippo.io/age"

	"sallyport.dev/sallyport/internal/secret"
)

// Of a key nothing prints but its id, which is stored in the clear.
func TestAKEKDoesNotPrint(t *testing.T) {
	k := testKEK(t, 1)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		if got := fmt.Sprintf(verb, k); got != "kek "+k.ID() {
			t.Errorf("%s: %q", verb, got)
		}
	}
	if k.LogValue().String() != "kek "+k.ID() || k.GoString() != "kek "+k.ID() {
		t.Errorf("%v %s", k.LogValue(), k.GoString())
	}
}

func TestParseKEK(t *testing.T) {
	raw := make([]byte, 32)
	for i := range raw {
		raw[i] = byte(200 + 3*i)
	}
	want, err := rawKEK([]byte(string(raw)))
	if err != nil {
		t.Fatal(err)
	}
	for name, s := range map[string]string{
		"hex": hex.EncodeToString(raw), "HEX": strings.ToUpper(hex.EncodeToString(raw)), "base64": base64.StdEncoding.EncodeToString(raw),
		"raw base64": base64.RawStdEncoding.EncodeToString(raw), "url": base64.URLEncoding.EncodeToString(raw), "line": " " + base64.RawURLEncoding.EncodeToString(raw) + "\r\n",
	} {
		if k, err := ParseKEK(secret.New(s)); err != nil || k.ID() != want.ID() {
			t.Errorf("%s: %v", name, err)
		}
	}
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	k, err := ParseKEK(secret.New(id.String()))
	if err != nil {
		t.Fatal(err)
	}
	file, err := ParseKEK(secret.New("# created: today\n# public key: " + id.Recipient().String() + "\n" + id.String() + "\n"))
	if err != nil || file.ID() != k.ID() || k.ID() == want.ID() || len(k.ID()) != 16 {
		t.Error("an age identity", err)
	}
	m := newMemory()
	box := seal(t, ring(t, m, k), "a", place, canary)
	opens(t, ring(t, m, file), "a", place, box, canary)

	hybrid, err := age.GenerateHybridIdentity()
	if err != nil {
		t.Fatal(err)
	}
	zeros := strings.Repeat("00", 32)
	for name, s := range map[string]string{
		"empty": "", "short": "c2hvcnQ=", "31 bytes": base64.StdEncoding.EncodeToString(raw[:31]) + "A", "not hex": strings.Repeat("zy", 32),
		"zeros": zeros, "base64 zeros": base64.StdEncoding.EncodeToString(make([]byte, 32)), "a password": "correct horse battery staple 1234",
		"recipient": id.Recipient().String(), "two identities": id.String() + "\n" + id.String(), "damaged identity": id.String()[:40],
		"other age": hybrid.String(), "33 bytes": base64.StdEncoding.EncodeToString(append(raw, 1)),
		"letters": base64.StdEncoding.EncodeToString([]byte(hex.EncodeToString(raw[:16]))),
	} {
		k, err := ParseKEK(secret.New(s))
		if err == nil || !k.IsZero() {
			t.Errorf("%s was taken", name)
			continue
		}
		for i := 0; i+8 <= len(s); i++ { // no eight letters of it are in the error
			if part := s[i : i+8]; strings.Contains(err.Error(), part) && part != "AGE-SECR" && !strings.Contains("AGE-SECRET-KEY-", part) {
				t.Errorf("%s: the error holds %q", name, part)
			}
		}
	}
}

func TestLoadKEK(t *testing.T) {
	dir := t.TempDir()
	raw := "\xf1\xe2" + strings.Repeat("\x90\x07", 15)
	write := func(name, text string, mode os.FileMode) secret.Ref {
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(p, mode); err != nil {
			t.Fatal(err)
		}
		return secret.Ref{File: p}
	}
	want, err := LoadKEK(write("raw", raw, 0o600))
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("SALLYPORT_TEST_KEK", hex.EncodeToString([]byte(raw)))
	t.Setenv("SALLYPORT_TEST_NO_KEK", canary)
	for _, r := range []secret.Ref{write("text", base64.StdEncoding.EncodeToString([]byte(raw))+"\n", 0o440), {Env: "SALLYPORT_TEST_KEK"}} {
		if k, err := LoadKEK(r); err != nil || k.ID() != want.ID() {
			t.Errorf("%v: %v", r, err)
		}
	}
	for _, r := range []secret.Ref{
		{}, {File: filepath.Join(dir, "absent")}, {File: dir}, write("world", raw, 0o604), write("long", strings.Repeat("x", maxKeyFile+1), 0o600),
		write("empty", "", 0o600), write("password", canary, 0o600), {Env: "SALLYPORT_TEST_NO_KEK"}, {Env: "SALLYPORT_TEST_ABSENT"},
	} {
		if k, err := LoadKEK(r); err == nil || !k.IsZero() || strings.Contains(err.Error(), "canary") {
			t.Errorf("%v: %v", r, err)
		}
	}
}

func TestDefaultKEK(t *testing.T) {
	dir := t.TempDir()
	ids := make([]string, 16)
	var wg sync.WaitGroup
	for i := range ids {
		wg.Go(func() {
			k, err := DefaultKEK(dir)
			if err != nil {
				t.Error(err)
			}
			ids[i] = k.ID()
		})
	}
	wg.Wait()
	for _, id := range ids {
		if id == "" || id != ids[0] {
			t.Fatal("processes that start at once have different keys")
		}
	}
	es, err := os.ReadDir(dir)
	if err != nil || len(es) != 1 {
		t.Fatal(es, err)
	}
	path := filepath.Join(dir, DefaultFile)
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o600 || st.Size() != keySize {
		t.Fatal(st, err)
	}
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := DefaultKEK(dir); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Error(err)
	}
	if err := os.WriteFile(path, []byte("cut"), 0o600); err != nil {
		t.Fatal(err)
	}
	_ = os.Chmod(path, 0o600)
	if _, err := DefaultKEK(dir); err == nil {
		t.Error("a damaged key was replaced or taken")
	}
	if b, _ := os.ReadFile(path); string(b) != "cut" {
		t.Error("a damaged key was written over")
	}
	if _, err := DefaultKEK(filepath.Join(dir, "absent")); err == nil {
		t.Error("no directory")
	}
}
