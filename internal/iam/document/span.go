package document

import (
	"fmt"
	"time"
)

// Span is a duration that is written as text, such as "1h30m", since JSON has no word for one.
type Span time.Duration

// MarshalText implements encoding.TextMarshaler.
func (s Span) MarshalText() ([]byte, error) { return []byte(time.Duration(s).String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler. A span is never negative.
func (s *Span) UnmarshalText(b []byte) error {
	d, err := time.ParseDuration(string(b))
	if err != nil || d < 0 {
		return fmt.Errorf("document: expected a duration that is not negative, such as 90m or 720h")
	}
	*s = Span(d)
	return nil
}

// TextForm says what UnmarshalText reads: as a pattern (ECMA-262), and in words.
func (Span) TextForm() (pattern, words string) {
	return `^\+?(0|([0-9]*\.?[0-9]*(ns|us|µs|ms|s|m|h))+)$`, "a duration that is not negative, such as 90m or 720h"
}
