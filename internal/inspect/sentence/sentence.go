// Package sentence finds the sentences of a text, for what is cut out of it or read by itself. It knows
// lines, cells, tags and, in JSON, strings: what is taken out of those leaves the rest whole.
package sentence

import (
	"encoding/json"
	"strings"
)

// Span is a range of bytes of a text.
type Span struct{ Start, End int }

// Pieces are the sentences, lines, cells and strings that a range of a text touches.
func Pieces(text string, start, end int) (ps []Span) {
	quotes := isJSON(text)
	ends := func(i int) bool {
		return stops(text, i) || quotes && text[i] == '"' && (i == 0 || text[i-1] != '\\')
	}
	first, last := max(0, start-reach), min(len(text), end+reach)
	for start > first && !ends(start-1) {
		start--
	}
	for end < last && (end == 0 || !ends(end-1)) {
		end++
	}
	from := start
	for i := start; i < end; i++ {
		if ends(i) || i+1 == end {
			ps = append(ps, Span{from, i + 1})
			from = i + 1
		}
	}
	return ps
}

// reach is how far the beginning and the end of a sentence are looked for, in bytes.
const (
	reach  = 240
	across = 8 // bytes that n-grams reach into a sentence beside
)

// Around widens a range to the whole sentences it touches, so that what is cut
// out leaves no half of an order behind. It stays within one line, one table cell or tag, and, where the
// text is JSON, within one string, so that what is left can still be parsed.
func Around(text string, start, end int) (int, int) {
	from, to := 0, len(text)
	if isJSON(text) {
		from, to = literal(text, start, end)
		start, end = max(start, from), min(end, to)
	}
	if start >= end {
		return start, max(start, end)
	}
	// Blanks, and the end of the sentence before, are not what made the score.
	for start < end-1 && strings.IndexByte(" \t\r\n.!?;,:\"'>}])", text[start]) >= 0 {
		start++
	}
	for end > start+1 && strings.IndexByte(" \t\r\n", text[end-1]) >= 0 {
		end--
	}
	// A few bytes of the sentence after, or before, are n-grams that lie across the two.
	for i := end - 1; i > start && i >= end-across; i-- {
		if stops(text, i) {
			end = i + 1
			break
		}
	}
	for i := start; i < end-2*across && i < start+across; i++ {
		if stops(text, i) {
			start = i + 1
			break
		}
	}
	first := max(from, start-reach)
	for start > first && !stops(text, start-1) {
		start--
	}
	for start < end-1 && (text[start] == ' ' || text[start] == '\t' || text[start]&0xC0 == 0x80) {
		start++
	}
	last := min(to, end+reach)
	for end < last && (end == 0 || !stops(text, end-1)) && !wall(text[end]) {
		end++
	}
	for end < to && end < len(text) && text[end]&0xC0 == 0x80 {
		end++
	}
	if from > 0 || to < len(text) { // no half of an escape sequence
		start, end = whole(text, from, start, end, to)
	}
	return start, end
}

// wall is a byte that no sentence goes beyond.
func wall(c byte) bool {
	switch c {
	case '\n', '\r', '<', '>', '|', '{', '}':
		return true
	}
	return false
}

// stops says whether a sentence ends with the byte at i.
func stops(text string, i int) bool {
	c := text[i]
	if wall(c) {
		return true
	}
	switch c {
	case '.', '!', '?', ';':
		return i+1 == len(text) || strings.IndexByte(" \t\r\n\"')]}<\\", text[i+1]) >= 0
	case 'n':
		return i > 0 && text[i-1] == '\\' // a line break within a JSON string
	case 0x82, 0x81, 0x9f: // 。 ！ ？
		return i >= 2 && (text[i-2:i+1] == "。" || text[i-2:i+1] == "！" || text[i-2:i+1] == "？")
	}
	return false
}

func isJSON(text string) bool {
	t := strings.TrimLeft(text, " \t\r\n")
	return t != "" && (t[0] == '{' || t[0] == '[') && json.Valid([]byte(t))
}

// literal is the inside of the JSON string that holds most of start to end; where none holds any of
// it, it is empty: nothing can be cut out there.
func literal(text string, start, end int) (from, to int) {
	from, to, most := start, start, 0
	for i := 0; i < len(text) && i < end; i++ {
		if text[i] != '"' {
			continue
		}
		open := i + 1
		for i = open; i < len(text) && text[i] != '"'; i++ {
			if text[i] == '\\' {
				i++
			}
		}
		stop := min(i, len(text))
		if n := min(end, stop) - max(start, open); n > most {
			from, to, most = open, stop, n
		}
	}
	return from, to
}

// whole moves a range within a JSON string off the inside of its escape sequences.
func whole(text string, from, start, end, to int) (int, int) {
	s, e := start, end
	for i := from; i < to; {
		n := 1
		if text[i] == '\\' && i+1 < to {
			n = 2
			if text[i+1] == 'u' {
				n = 6
			}
		}
		next := min(i+n, to)
		if i < s && s < next {
			s = i
		}
		if i < e && e < next {
			e = next
		}
		i = next
	}
	return s, e
}
