package audit

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/mod/sumdb/note"

	"sallyport.dev/sallyport/internal/durable"
)

// Names of the files of a log.
const (
	keyFile        = "key"         // the signing key, mode 0600
	publicFile     = "key.pub"     // the verifying key, safe to give away
	checkpointFile = "checkpoints" // every signed checkpoint, oldest first
	lockFile       = "lock"
	reserveFile    = "reserve"
	originPrefix   = "sallyport.dev/audit/"
)

var errKey = errors.New("not an audit key")

// originOf binds the name of a log to the key that signs it: nobody can sign the same name with
// another key.
func originOf(pub ed25519.PublicKey) string {
	sum := sha256.Sum256(pub)
	return originPrefix + hex.EncodeToString(sum[:16])
}

// newKey makes a signing key in the form of golang.org/x/mod/sumdb/note.
func newKey() (signer, verifier string, err error) {
	pub, priv, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return "", "", err
	}
	name := originOf(pub)
	if verifier, err = note.NewEd25519VerifierKey(name, pub); err != nil {
		return "", "", err
	}
	keyHash, _, _ := strings.Cut(strings.TrimPrefix(verifier, name+"+"), "+")
	const ed25519Alg = 1
	signer = fmt.Sprintf("PRIVATE+KEY+%s+%s+%s", name, keyHash,
		base64.StdEncoding.EncodeToString(append([]byte{ed25519Alg}, priv.Seed()...)))
	return signer, verifier, nil
}

// verifierOf reads a verifying key and checks that its name belongs to it.
func verifierOf(vkey string) (note.Verifier, error) {
	vkey = strings.TrimSpace(vkey)
	v, err := note.NewVerifier(vkey)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errKey, err)
	}
	// A verifying key is name+hash+base64, and base64 may hold a plus of its own.
	_, b64, _ := strings.Cut(strings.TrimPrefix(vkey, v.Name()+"+"), "+")
	raw, err := base64.StdEncoding.DecodeString(b64)
	if err != nil || len(raw) != 1+ed25519.PublicKeySize || v.Name() != originOf(ed25519.PublicKey(raw[1:])) {
		return nil, fmt.Errorf("%w: its name does not belong to it", errKey)
	}
	return v, nil
}

// loadKey reads the key of a log, or makes it where fresh says that there is no log yet.
func loadKey(dir string, fresh bool) (note.Signer, note.Verifier, string, error) {
	raw, err := os.ReadFile(filepath.Join(dir, keyFile))
	var vkey string
	switch {
	case errors.Is(err, os.ErrNotExist) && fresh:
		var skey string
		if skey, vkey, err = newKey(); err != nil {
			return nil, nil, "", err
		}
		raw = []byte(skey + "\n")
		if err := durable.WriteFile(filepath.Join(dir, publicFile), []byte(vkey+"\n"), 0o644); err != nil {
			return nil, nil, "", err
		}
		if err := durable.WriteFile(filepath.Join(dir, keyFile), raw, 0o600); err != nil {
			return nil, nil, "", err
		}
	case errors.Is(err, os.ErrNotExist):
		return nil, nil, "", errors.New("the signing key is missing and a new one would fork the record; put the key back or move the directory away")
	case err != nil:
		return nil, nil, "", err
	default:
		pub, err := os.ReadFile(filepath.Join(dir, publicFile))
		if err != nil {
			return nil, nil, "", err
		}
		vkey = strings.TrimSpace(string(pub))
	}
	signer, err := note.NewSigner(strings.TrimSpace(string(raw)))
	if err != nil {
		return nil, nil, "", fmt.Errorf("%w: %s", errKey, keyFile)
	}
	verifier, err := verifierOf(vkey)
	if err != nil {
		return nil, nil, "", err
	}
	if signer.Name() != verifier.Name() || signer.KeyHash() != verifier.KeyHash() {
		return nil, nil, "", fmt.Errorf("%s and %s do not belong together", keyFile, publicFile)
	}
	return signer, verifier, vkey, nil
}
