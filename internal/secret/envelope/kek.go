package envelope

import (
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"filippo.io/age"

	"sallyport.dev/sallyport/internal/secret"
)

// KEK is a key-encryption key: it wraps data keys and nothing else. It does not print. The zero value
// is none.
type KEK struct {
	id   string
	wrap *xaes
}

// ID names the key without giving it away: 16 hexadecimal digits of a hash under the key itself.
func (k KEK) ID() string { return k.id }

// IsZero says whether there is no key.
func (k KEK) IsZero() bool { return k.wrap == nil }

// String is the id.
func (k KEK) String() string { return "kek " + k.id }

// GoString is the id.
func (k KEK) GoString() string { return k.String() }

// Format is the id under every verb, so that %#v and %+v do not walk into the key schedule.
func (k KEK) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(k.String())) }

// LogValue is the id.
func (k KEK) LogValue() slog.Value { return slog.StringValue(k.String()) }

// newKEK separates what names the key from what wraps with it (RFC 5869), so that the id, which is
// stored in the clear, says nothing of the wrapping key.
func newKEK(material []byte, kind string) (KEK, error) {
	id, err := hkdf.Key(sha256.New, material, nil, "sallyport kek id v1 "+kind, 8)
	if err != nil {
		return KEK{}, fmt.Errorf("envelope: derive a key: %w", err)
	}
	w, err := hkdf.Key(sha256.New, material, nil, "sallyport kek wrap v1 "+kind, keySize)
	if err != nil {
		return KEK{}, fmt.Errorf("envelope: derive a key: %w", err)
	}
	var key [keySize]byte
	copy(key[:], w)
	k := KEK{id: hex.EncodeToString(id), wrap: newXAES(&key)}
	clear(w)
	clear(key[:])
	return k, nil
}

var errForm = errors.New("expected 32 random bytes in base64 or hexadecimal (openssl rand -base64 32), or an age identity (age-keygen)")

// ParseKEK reads a key from text: 32 bytes in hexadecimal or base64 (standard or URL alphabet, padded
// or not), or an age X25519 identity (AGE-SECRET-KEY-1..., with comment lines as age-keygen writes
// them). The error never holds a part of the text.
//
// Data keys are not encrypted to the identity's recipient: anyone who knows that public half could
// then put a data key of his own choosing into the store. The symmetric key is derived from the
// identity's secret half instead, so that only its holder can wrap.
func ParseKEK(s secret.String) (KEK, error) {
	text := strings.TrimSpace(s.Reveal())
	if strings.Contains(text, "AGE-SECRET-KEY-") {
		return ageKEK(text)
	}
	var b []byte
	var err error
	switch len(text) {
	case 64:
		b, err = hex.DecodeString(text)
	case 43, 44:
		t := strings.NewReplacer("-", "+", "_", "/").Replace(strings.TrimSuffix(text, "="))
		b, err = base64.RawStdEncoding.Strict().DecodeString(t)
	default:
		return KEK{}, fmt.Errorf("envelope: read a key-encryption key: %w", errForm)
	}
	if err != nil { // the library's error would quote a byte of the key
		return KEK{}, fmt.Errorf("envelope: read a key-encryption key: %w", errForm)
	}
	return rawKEK(b)
}

// rawKEK refuses what is clearly not 32 random bytes: a text of 32 letters, such as 16 bytes in
// hexadecimal (a random key is one with a chance under 2^-45), and one byte repeated.
func rawKEK(b []byte) (KEK, error) {
	defer clear(b)
	if len(b) != keySize {
		return KEK{}, fmt.Errorf("envelope: read a key-encryption key: %w", errForm)
	}
	text, same := true, true
	for _, c := range b {
		text = text && c >= ' ' && c <= '~'
		same = same && c == b[0]
	}
	if text || same {
		return KEK{}, fmt.Errorf("envelope: read a key-encryption key: these 32 bytes are not random: %w", errForm)
	}
	return newKEK(b, "raw")
}

func ageKEK(text string) (KEK, error) {
	ids, err := age.ParseIdentities(strings.NewReader(text))
	if err != nil {
		return KEK{}, errors.New("envelope: read an age identity: it is damaged") // err could quote it
	}
	if len(ids) != 1 {
		return KEK{}, fmt.Errorf("envelope: read an age identity: expected one, found %d; keep old ones in files of their own", len(ids))
	}
	x, ok := ids[0].(*age.X25519Identity)
	if !ok {
		return KEK{}, errors.New("envelope: read an age identity: expected an X25519 one (AGE-SECRET-KEY-1...)")
	}
	return newKEK([]byte(x.String()), "age x25519") // String is canonical: one spelling, one key
}
