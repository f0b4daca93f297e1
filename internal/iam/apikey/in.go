package apikey

import (
	"encoding/hex"
	"strings"
)

// In says whether a whole key, its check included, stands somewhere in s, percent-encoded (RFC 3986 section
// 2.1) or not. Where nothing is encoded it allocates nothing.
func In(s string) bool {
	return in(s) || strings.IndexByte(s, '%') >= 0 && in(unescape(s))
}

func in(s string) bool {
	for {
		i := strings.Index(s, Prefix)
		if i < 0 || len(s)-i < Len {
			return false
		}
		if _, ok := Parse(s[i : i+Len]); ok {
			return true
		}
		s = s[i+len(Prefix):]
	}
}

// unescape decodes what is percent-encoded, and leaves what only looks so.
func unescape(s string) string {
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			if c, err := hex.DecodeString(s[i+1 : i+3]); err == nil {
				b, i = append(b, c...), i+2
				continue
			}
		}
		b = append(b, s[i])
	}
	return string(b)
}
