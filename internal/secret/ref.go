package secret

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode/utf8"
)

// MaxBytes is the most that a referenced secret may hold.
const MaxBytes = 64 << 10

// Ref says where a secret is, instead of what it is. Exactly one of the fields is set; the zero
// value refers to nothing.
type Ref struct {
	Env  string // name of an environment variable
	File string // path of a file
}

// IsZero says whether r refers to nothing.
func (r Ref) IsZero() bool { return r == Ref{} }

// String names the place, never the value: "env NAME", "file PATH".
func (r Ref) String() string {
	switch {
	case r.Env != "":
		return "env " + r.Env
	case r.File != "":
		return "file " + r.File
	}
	return "nothing"
}

// Resolve reads the secret. One trailing line break is dropped, since editors and `echo` add it.
// It refuses a variable that is not set, an empty value, a value over MaxBytes, one that is not
// UTF-8 or holds a line break or another control character, and a file that everyone may read.
func (r Ref) Resolve() (String, error) {
	var raw string
	switch {
	case r.Env != "" && r.File != "":
		return String{}, errors.New("secret: both env and file are given; name one")
	case r.Env != "":
		v, ok := os.LookupEnv(r.Env)
		if !ok {
			return String{}, fmt.Errorf("secret: environment variable %s is not set", r.Env)
		}
		raw = v
	case r.File != "":
		v, err := readFile(r.File)
		if err != nil {
			return String{}, err
		}
		raw = v
	default:
		return String{}, errors.New("secret: the reference is empty; name an env or a file")
	}
	raw = strings.TrimSuffix(strings.TrimSuffix(raw, "\n"), "\r")
	switch {
	case raw == "":
		return String{}, fmt.Errorf("secret: %s is empty", r)
	case len(raw) > MaxBytes:
		return String{}, fmt.Errorf("secret: %s holds more than %d bytes", r, MaxBytes)
	case !utf8.ValidString(raw):
		return String{}, fmt.Errorf("secret: %s is not UTF-8 text", r)
	case strings.ContainsFunc(raw, func(c rune) bool { return c < ' ' || c == 0x7f }):
		return String{}, fmt.Errorf("secret: %s holds a line break or another control character", r)
	}
	return New(raw), nil
}

func readFile(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("secret: %w", err)
	}
	defer f.Close()
	// The open file is asked, not the path, so that nothing can be swapped in between.
	st, err := f.Stat()
	if err != nil {
		return "", fmt.Errorf("secret: %w", err)
	}
	if !st.Mode().IsRegular() {
		return "", fmt.Errorf("secret: file %s is not a regular file", path)
	}
	if st.Mode().Perm()&0o004 != 0 {
		return "", fmt.Errorf("secret: file %s can be read by everyone (mode %04o); run chmod o-rwx on it", path, st.Mode().Perm())
	}
	b, err := io.ReadAll(io.LimitReader(f, MaxBytes+3)) // room for a line break beyond the limit
	if err != nil {
		return "", fmt.Errorf("secret: %w", err)
	}
	return string(b), nil
}
