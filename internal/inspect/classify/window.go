package classify

import "unicode/utf8"

// Windows of a text, in bytes: what the lexical and the encoder tier read at once. They overlap so
// that an attack of up to windowBytes-windowStride bytes lies whole in one of them.
const (
	windowBytes  = 512
	windowStride = 384
	slack        = 48 // a cut moves back at most so far, to a space
)

// Span is a range of bytes of a text.
type Span struct{ Start, End int }

// Windows cuts text into overlapping windows. Their places depend on the text alone; together they
// cover it. A text of at most windowBytes+slack bytes is one window.
func Windows(text string) []Span {
	if len(text) <= windowBytes+slack {
		return []Span{{0, len(text)}}
	}
	var ws []Span
	for start := 0; ; {
		end := start + windowBytes
		if end+slack >= len(text) {
			return append(ws, Span{start, len(text)})
		}
		ws = append(ws, Span{start, cut(text, end)})
		start = cut(text, start+windowStride)
	}
}

// cut is the last place at most slack before i where a word begins, or where a rune begins.
func cut(text string, i int) int {
	for j := i; j > i-slack; j-- {
		if c := text[j-1]; c == ' ' || c == '\n' || c == '\t' {
			return j
		}
	}
	for !utf8.RuneStart(text[i]) {
		i--
	}
	return i
}
