package simulate

import (
	"encoding/base64"
	"fmt"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// script is what a call was told to do. A key without a value maps to the empty text.
type script map[string]string

const (
	markerStart = "[[simulate:"
	markerEnd   = "]]"
)

var known = regexp.MustCompile(`^(status|retry-after|message|say([2-9]|[1-9][0-9])?|choices|chunk|write|delay|ttft|tool|arguments|thinking|refusal|finish|size|extras|(reset|end|error|garbage|silence)-after|echo)$`)

// marker finds the script in a user's text; empty when there is none.
func marker(text string) string {
	_, rest, ok := strings.Cut(text, markerStart)
	if !ok {
		return ""
	}
	inner, _, ok := strings.Cut(rest, markerEnd)
	if !ok {
		return ""
	}
	return inner
}

// maxCount bounds every number in a script.
const maxCount = 64 << 20

func parseScript(text string) (script, error) {
	s := script{}
	for _, part := range strings.Split(text, ";") {
		key, value, _ := strings.Cut(part, "=")
		key = strings.TrimSpace(key)
		if key == "" {
			continue
		}
		var err error
		if plain, ok := strings.CutSuffix(key, "-base64"); ok {
			var b []byte
			b, err = base64.StdEncoding.DecodeString(strings.TrimSpace(value))
			key, value = plain, string(b)
		} else {
			value, err = url.PathUnescape(value)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: the value of %q cannot be decoded", SteerHeader, key)
		}
		if !known.MatchString(key) {
			return nil, fmt.Errorf("%s: unknown key %q", SteerHeader, key)
		}
		if err := check(key, value); err != nil {
			return nil, err
		}
		s[key] = value
	}
	return s, nil
}

// check refuses a number or a duration that cannot be read: a test with a typing error must fail.
func check(key, value string) error {
	switch {
	case key == "delay" || key == "ttft":
		if d, err := time.ParseDuration(value); err != nil || d < 0 {
			return fmt.Errorf("%s: %s takes a duration such as 50ms", SteerHeader, key)
		}
	case key == "status" || key == "retry-after" || key == "choices" || key == "chunk" || key == "write" ||
		key == "size" || strings.HasSuffix(key, "-after"):
		n, err := strconv.Atoi(value)
		least, most := 0, maxCount
		switch key {
		case "status":
			least, most = 200, 599
		case "choices":
			least, most = 1, 64
		case "chunk", "write":
			least = 1
		}
		if err != nil || n < least || n > most {
			return fmt.Errorf("%s: %s takes a number from %d to %d", SteerHeader, key, least, most)
		}
	}
	return nil
}

func (s script) has(key string) bool { _, ok := s[key]; return ok }

func (s script) text(key, otherwise string) string {
	if v, ok := s[key]; ok {
		return v
	}
	return otherwise
}

// number reads a number that parseScript has checked.
func (s script) number(key string, otherwise int) int {
	if v, ok := s[key]; ok {
		n, _ := strconv.Atoi(v)
		return n
	}
	return otherwise
}

func (s script) duration(key string) time.Duration {
	d, _ := time.ParseDuration(s[key])
	return d
}
