package durable

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestWriteFileReplacesWhole(t *testing.T) {
	p := filepath.Join(t.TempDir(), "k")
	for _, s := range []string{"first", "second, longer", ""} {
		if err := WriteFile(p, []byte(s), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(p)
		if err != nil || string(got) != s {
			t.Fatalf("got %q, %v", got, err)
		}
	}
	st, _ := os.Stat(p)
	if st.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", st.Mode())
	}
	left, _ := os.ReadDir(filepath.Dir(p))
	if len(left) != 1 {
		t.Errorf("left over: %v", left)
	}
}

func TestWriteFileFailsWithoutTrace(t *testing.T) {
	dir := t.TempDir()
	p := filepath.Join(dir, "k")
	if err := os.MkdirAll(filepath.Join(p, "in the way"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := WriteFile(p, []byte("x"), 0o600); err == nil {
		t.Fatal("a directory was replaced")
	}
	left, _ := os.ReadDir(dir)
	if len(left) != 1 {
		t.Errorf("left over: %v", left)
	}
}

func TestCreateRefusesExisting(t *testing.T) {
	p := filepath.Join(t.TempDir(), "f")
	f, err := Create(p, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := Create(p, 0o600); !errors.Is(err, os.ErrExist) {
		t.Fatalf("got %v", err)
	}
}

// A full device breaks the file for good, whatever comes later.
func TestErrorIsFinal(t *testing.T) {
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skip("no /dev/full here")
	}
	f, err := Open("/dev/full")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte("x"), 0); err == nil {
		t.Fatal("a full device took a byte")
	}
	if _, err := f.WriteAt([]byte("x"), 0); !errors.Is(err, ErrBroken) {
		t.Errorf("write after an error: %v", err)
	}
	for name, call := range map[string]func() error{
		"Datasync": f.Datasync, "Sync": f.Sync, "Reread": f.Reread,
		"Truncate": func() error { return f.Truncate(0) },
	} {
		if err := call(); !errors.Is(err, ErrBroken) {
			t.Errorf("%s after an error: %v", name, err)
		}
	}
}

func TestLockIsExclusive(t *testing.T) {
	p := filepath.Join(t.TempDir(), "lock")
	a, err := Lock(p)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Lock(p); !errors.Is(err, ErrLocked) {
		t.Fatalf("second lock: %v", err)
	}
	a.Close()
	b, err := Lock(p)
	if err != nil {
		t.Fatal(err)
	}
	b.Close()
}

func TestReserveTakesRoom(t *testing.T) {
	p := filepath.Join(t.TempDir(), "reserve")
	if err := Reserve(p, 200<<10); err != nil {
		t.Fatal(err)
	}
	st, err := os.Stat(p)
	if err != nil || st.Size() != 200<<10 {
		t.Fatalf("%v %v", st, err)
	}
	if err := Remove(p); err != nil {
		t.Fatal(err)
	}
	if err := Remove(p); err != nil {
		t.Errorf("removing nothing: %v", err)
	}
}

func TestMkdirAll(t *testing.T) {
	p := filepath.Join(t.TempDir(), "a", "b", "c")
	for range 2 {
		if err := MkdirAll(p, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(p, "f")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := MkdirAll(file, 0o700); err == nil {
		t.Error("a file passed for a directory")
	}
}

func TestRereadKeepsContent(t *testing.T) {
	f, err := Create(filepath.Join(t.TempDir(), "f"), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte("hello"), 0); err != nil {
		t.Fatal(err)
	}
	if err := f.Reread(); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 5)
	if _, err := f.ReadAt(b, 0); err != nil || string(b) != "hello" {
		t.Fatalf("%q %v", b, err)
	}
}
