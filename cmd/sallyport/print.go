package main

import (
	"encoding/json"
	"io"
	"strconv"
)

// printJSON writes one value as indented JSON. HTML characters are escaped, which harms nothing.
func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// plain makes text from outside safe for a terminal: what is not printable ASCII is escaped.
func plain(s string) string {
	q := strconv.QuoteToASCII(s)
	return q[1 : len(q)-1]
}
