package pack

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/mod/sumdb/note"
)

const ed25519Alg = 1 // golang.org/x/mod/sumdb/note

// NewKey makes a key pair in the form of golang.org/x/mod/sumdb/note. The private half signs, the
// public half goes into inspect.packs.trusted_keys.
func NewKey(name string) (private, public string, err error) {
	if !KeyName.MatchString(name) {
		return "", "", errors.New("a key's name must be 1 to 63 lower-case letters, digits, dots and hyphens")
	}
	pub, priv, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return "", "", fmt.Errorf("make key: %w", err)
	}
	if public, err = note.NewEd25519VerifierKey(name, pub); err != nil {
		return "", "", fmt.Errorf("make key: %w", err)
	}
	hash, _, _ := strings.Cut(strings.TrimPrefix(public, name+"+"), "+")
	return fmt.Sprintf("PRIVATE+KEY+%s+%s+%s", name, hash, base64.StdEncoding.EncodeToString(append([]byte{ed25519Alg}, priv.Seed()...))), public, nil
}

// CheckKey says what is wrong with a public key.
func CheckKey(public string) error {
	if strings.HasPrefix(public, "PRIVATE") {
		return errors.New("this is a private key; want the public one")
	}
	v, err := note.NewVerifier(public)
	if err != nil || !KeyName.MatchString(v.Name()) {
		return errors.New("not a public key as `sallyport pack keygen` prints it")
	}
	return nil
}

// Trust is a set of public keys.
type Trust struct{ known []note.Verifier }

// NewTrust reads public keys. No key is trusted by default: then every pack but the built-in one is
// refused.
func NewTrust(keys []string) (*Trust, error) {
	t := &Trust{}
	for i, k := range keys {
		if err := CheckKey(k); err != nil {
			return nil, fmt.Errorf("trusted key %d: %w", i+1, err)
		}
		v, err := note.NewVerifier(k)
		if err != nil {
			return nil, fmt.Errorf("trusted key %d: %w", i+1, err)
		}
		t.known = append(t.known, v)
	}
	return t, nil
}

func sign(m *Manifest, key string) ([]byte, error) {
	s, err := note.NewSigner(strings.TrimSpace(key))
	if err != nil || !KeyName.MatchString(s.Name()) {
		return nil, errors.New("not a private key as `sallyport pack keygen` writes it")
	}
	if err := m.check(); err != nil {
		return nil, err
	}
	b, err := note.Sign(&note.Note{Text: string(m.encode())}, s)
	if err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	return b, nil
}

// open verifies a signed manifest. It must be the very bytes that signing makes: one signature, by a
// trusted key, in its one encoding (base64 alone would let some bits be flipped).
func (t *Trust) open(signed []byte) (*Manifest, string, error) {
	if len(signed) > maxManifest {
		return nil, "", fmt.Errorf("%w: the manifest", ErrTooLarge)
	}
	n, err := note.Open(signed, note.VerifierList(t.known...))
	var unsigned *note.UnverifiedNoteError
	switch {
	case errors.As(err, &unsigned):
		return nil, "", ErrUntrusted
	case err != nil:
		return nil, "", fmt.Errorf("%w: its signature does not hold", ErrDamaged)
	case len(n.Sigs) != 1 || len(n.UnverifiedSigs) != 0:
		return nil, "", fmt.Errorf("%w: want exactly one signature", ErrDamaged)
	}
	s := n.Sigs[0]
	raw, err := base64.StdEncoding.DecodeString(s.Base64)
	if err != nil || !bytes.Equal(signed, fmt.Appendf(nil, "%s\n\u2014 %s %s\n", n.Text, s.Name, base64.StdEncoding.EncodeToString(raw))) {
		return nil, "", fmt.Errorf("%w: the signature is not written in its one form", ErrDamaged)
	}
	m, err := parseManifest([]byte(n.Text))
	if err != nil {
		return nil, "", fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return m, s.Name, nil
}
