package server

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"sallyport.dev/sallyport/internal/config"
)

func TestTheDataDirectoryIsForItsOwnerAlone(t *testing.T) {
	cfg := config.Default()
	cfg.DataDir = filepath.Join(t.TempDir(), "a", "b")
	if err := os.MkdirAll(cfg.DataDir, 0o755); err != nil {
		t.Fatal(err)
	}
	first, err := openState(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if st, _ := os.Stat(cfg.DataDir); st.Mode().Perm() != 0o700 {
		t.Errorf("mode %04o", st.Mode().Perm())
	}
	second, err := openState(cfg)
	if err != nil || !bytes.Equal(first.hashKey, second.hashKey) || bytes.Equal(first.hashKey, first.pepper) {
		t.Errorf("keys do not stay, or are one: %v", err)
	}
	for _, name := range []string{"identity.key", "content.key", "pepper.key"} {
		if st, err := os.Stat(filepath.Join(cfg.DataDir, name)); err != nil || st.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v %v", name, st, err)
		}
	}
	if err := os.WriteFile(filepath.Join(cfg.DataDir, "pepper.key"), []byte("short"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := openState(cfg); err == nil {
		t.Error("a damaged key file was taken")
	}
	cfg.DataDir = t.TempDir()
	if err := os.Chmod(cfg.DataDir, 0o777|os.ModeSticky); err != nil {
		t.Fatal(err)
	}
	if _, err := openState(cfg); err == nil {
		t.Error("a directory shared with others was taken")
	}
	cfg.DataDir = ""
	if _, err := openState(cfg); err == nil {
		t.Error("no data directory was taken")
	}
}
