package envelope

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"sallyport.dev/sallyport/internal/secret"
)

// DefaultFile is the name, in the data directory, of the key that is made when none is configured.
const DefaultFile = "kek.key"

// maxKeyFile is room for an identity and its comments.
const maxKeyFile = 8 << 10

// LoadKEK reads a key from an environment variable (see ParseKEK) or from a file, which may also hold
// 32 bytes as they are. A file that everyone may read is refused.
func LoadKEK(ref secret.Ref) (KEK, error) {
	if ref.Env != "" || ref.File == "" {
		s, err := ref.Resolve()
		if err != nil {
			return KEK{}, fmt.Errorf("envelope: load the key-encryption key: %w", err)
		}
		return ParseKEK(s)
	}
	return loadFile(ref.File, 0o004)
}

// DefaultKEK reads the key in dir, or makes one there, readable by its owner only. Of several processes
// that start at once one makes it and all get the same. Whoever copies the whole directory has key
// and ciphertexts both: it protects a stolen database or its backup, not a stolen disk. Name a key
// elsewhere for that.
func DefaultKEK(dir string) (KEK, error) {
	path := filepath.Join(dir, DefaultFile)
	k, err := loadFile(path, 0o077)
	if !errors.Is(err, os.ErrNotExist) {
		return k, err
	}
	if err := create(path); err != nil {
		return KEK{}, fmt.Errorf("envelope: make a key-encryption key: %w", err)
	}
	return loadFile(path, 0o077)
}

func loadFile(path string, forbidden os.FileMode) (KEK, error) {
	f, err := os.Open(path)
	if err != nil {
		return KEK{}, fmt.Errorf("envelope: load the key-encryption key: %w", err)
	}
	defer f.Close()
	st, err := f.Stat() // the open file, so that nothing is swapped in between
	if err != nil {
		return KEK{}, fmt.Errorf("envelope: load the key-encryption key: %w", err)
	}
	if !st.Mode().IsRegular() {
		return KEK{}, fmt.Errorf("envelope: key file %s is not a regular file", path)
	}
	if st.Mode().Perm()&forbidden != 0 {
		return KEK{}, fmt.Errorf("envelope: key file %s can be read by others (mode %04o); run chmod 600 on it", path, st.Mode().Perm())
	}
	b, err := io.ReadAll(io.LimitReader(f, maxKeyFile+1))
	defer clear(b)
	switch {
	case err != nil:
		return KEK{}, fmt.Errorf("envelope: load the key-encryption key: %w", err)
	case len(b) > maxKeyFile:
		return KEK{}, fmt.Errorf("envelope: key file %s: %w", path, errForm)
	}
	var k KEK
	if len(b) == keySize {
		k, err = rawKEK(b)
	} else {
		k, err = ParseKEK(secret.New(string(b)))
	}
	if err != nil {
		return KEK{}, fmt.Errorf("key file %s: %w", path, err)
	}
	return k, nil
}

// create writes a new key under path, whole or not at all, unless there is one: link, unlike rename,
// never replaces.
func create(path string) error {
	dir := filepath.Dir(path)
	t, err := os.CreateTemp(dir, ".kek.*.tmp") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(t.Name())
	var key [keySize]byte
	_, _ = rand.Read(key[:])
	_, err = t.Write(key[:])
	clear(key[:])
	if err == nil {
		err = t.Sync()
	}
	if cerr := t.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	if err := os.Link(t.Name(), path); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync() // the name survives a crash, before anything is sealed under the key
}
