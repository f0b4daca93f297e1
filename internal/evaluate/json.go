package evaluate

import (
	"encoding/json"
	"fmt"
	"io"
	"unicode/utf8"
)

// WriteJSON writes the report as one indented JSON object of ASCII alone, so that it is safe on a
// terminal too. A figure that cannot be computed is null.
func (rep *Report) WriteJSON(w io.Writer) error {
	b, err := json.MarshalIndent(rep, "", "  ")
	if err != nil {
		return fmt.Errorf("evaluate: %w", err)
	}
	out := make([]byte, 0, len(b)+1)
	for len(b) > 0 {
		c, n := utf8.DecodeRune(b)
		switch {
		case c < 0x7f: // controls are escaped already; line feeds are the indentation
			out = append(out, byte(c))
		case c > 0xffff:
			c -= 0x10000
			out = fmt.Appendf(out, `\u%04x\u%04x`, 0xd800+c>>10, 0xdc00+c&0x3ff)
		default:
			out = fmt.Appendf(out, `\u%04x`, c)
		}
		b = b[n:]
	}
	_, err = w.Write(append(out, '\n'))
	return err
}
