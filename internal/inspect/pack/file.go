package pack

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
)

// A pack as a single file: this word, the decimal length of the signed manifest, a line end, the
// signed manifest, and the files in the order of the manifest with nothing between or after them.
// There is no compression, so nothing can grow.
const magic = "sallyport-pack-1 "

func join(signed []byte, m *Manifest, files FS) []byte {
	n := len(magic) + 20 + len(signed)
	for _, f := range m.Files {
		n += int(f.Size)
	}
	b := append(make([]byte, 0, n), magic...)
	b = append(strconv.AppendInt(b, int64(len(signed)), 10), '\n')
	b = append(b, signed...)
	for _, f := range m.Files {
		b = append(b, files[f.Path]...)
	}
	return b
}

// Open verifies a pack given as a single file: its signature, and the size and hash of every file.
// The contents alias raw. Neither the examples nor what the contents mean is looked at: see Load.
func Open(raw []byte, t *Trust) (*Pack, error) {
	if len(raw) > MaxBytes {
		return nil, fmt.Errorf("%w: more than %d bytes", ErrTooLarge, MaxBytes)
	}
	rest, ok := bytes.CutPrefix(raw, []byte(magic))
	digits, _, ok2 := bytes.Cut(rest[:min(len(rest), 8)], []byte("\n"))
	n, err := strconv.Atoi(string(digits))
	if !ok || !ok2 || err != nil || strconv.Itoa(n) != string(digits) || n <= 0 || n > maxManifest {
		return nil, fmt.Errorf("%w: it does not begin as a pack", ErrDamaged)
	}
	rest = raw[len(magic)+len(digits)+1:]
	if n > len(rest) {
		return nil, fmt.Errorf("%w: it is cut off", ErrDamaged)
	}
	m, signer, err := t.open(rest[:n])
	if err != nil {
		return nil, err
	}
	p := &Pack{Manifest: *m, Files: FS{}, Digest: sha256.Sum256(raw), Signer: signer, raw: raw}
	rest = rest[n:]
	for _, f := range m.Files {
		if int64(len(rest)) < f.Size {
			return nil, fmt.Errorf("%w: file %s is cut off", ErrDamaged, f.Path)
		}
		body := rest[:f.Size:f.Size]
		if sha256.Sum256(body) != f.SHA256 {
			return nil, fmt.Errorf("%w: file %s is not what was signed", ErrDamaged, f.Path)
		}
		p.Files[f.Path] = body
		rest = rest[f.Size:]
	}
	if len(rest) > 0 {
		return nil, fmt.Errorf("%w: %d bytes stand after its end", ErrDamaged, len(rest))
	}
	return p, nil
}

// Read reads a pack from a file or from a directory with signed manifest (see Unpack) and verifies
// it. Links are not followed, and what is no plain file is refused.
func Read(name string, t *Trust) (*Pack, error) {
	st, err := os.Lstat(name)
	if err != nil {
		return nil, err
	}
	switch {
	case st.IsDir():
		return readDir(name, t)
	case !st.Mode().IsRegular():
		return nil, fmt.Errorf("%w: neither a plain file nor a directory", ErrDamaged)
	}
	raw, err := readFile(name)
	if err != nil {
		return nil, err
	}
	return Open(raw, t)
}

// readFile reads a plain file of at most MaxBytes.
func readFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readAll(f, MaxBytes)
}

func readAll(f *os.File, most int64) ([]byte, error) {
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() {
		return nil, errors.New("not a plain file")
	}
	if st.Size() > most {
		return nil, fmt.Errorf("%w: more than %d bytes", ErrTooLarge, most)
	}
	b := make([]byte, st.Size())
	if _, err := io.ReadFull(f, b); err != nil {
		return nil, err
	}
	return b, nil
}
