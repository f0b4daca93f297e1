// Package secret holds values that must never be printed, and the references by which a
// configuration names them.
package secret

import (
	"crypto/subtle"
	"encoding/json"
	"fmt"
	"log/slog"
)

// masked is what every way of printing a String shows.
const masked = "***"

// String is a text that does not print: fmt (every verb), encoding/json, YAML, text encoders and
// slog all show ***. The value leaves only through Reveal. The zero value is the empty secret.
type String struct{ s *string }

// New keeps s.
func New(s string) String { return String{&s} }

// Reveal is the value itself. Every call of it is a place to look at in review.
func (s String) Reveal() string {
	if s.s == nil {
		return ""
	}
	return *s.s
}

// Empty says whether there is nothing to keep.
func (s String) Empty() bool { return s.Reveal() == "" }

// Equal compares two secrets in a time that depends on their lengths only.
func (s String) Equal(t String) bool {
	return subtle.ConstantTimeCompare([]byte(s.Reveal()), []byte(t.Reveal())) == 1
}

// Format masks every verb, %#v and %x included.
func (s String) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(masked)) }

// String masks.
func (s String) String() string { return masked }

// GoString masks.
func (s String) GoString() string { return masked }

// LogValue masks.
func (s String) LogValue() slog.Value { return slog.StringValue(masked) }

// MarshalJSON masks.
func (s String) MarshalJSON() ([]byte, error) { return json.Marshal(masked) }

// MarshalText masks.
func (s String) MarshalText() ([]byte, error) { return []byte(masked), nil }

// MarshalYAML masks.
func (s String) MarshalYAML() (any, error) { return masked, nil }
