package main

import (
	"encoding/json"
	"io"
	"strconv"
	"strings"
)

// printJSON writes one value as indented JSON. HTML characters are escaped, which harms nothing.
func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// plainLines is plain for text of several lines.
func plainLines(s string) string {
	lines := strings.Split(s, "\n")
	for i, l := range lines {
		lines[i] = strings.NewReplacer(`\"`, `"`, `\\`, `\`).Replace(plain(l))
	}
	return strings.Join(lines, "\n")
}

// plain makes text from outside safe for a terminal: what is not printable ASCII is escaped.
func plain(s string) string {
	q := strconv.QuoteToASCII(s)
	return q[1 : len(q)-1]
}
