package readings

import (
	"sort"
	"strings"
	"unicode/utf8"
)

// Joined is what the turns or parts of a conversation say when they are read as one text.
type Joined struct {
	View string // "turns" joined as they are, "turns+space" with a space between them
	Text string

	parts []joinedPart
}

type joinedPart struct {
	out     int // where it begins in Text
	turn    int
	s, size int
}

// Range is a range of bytes of one turn.
type Range struct{ Turn, Start, End int }

const (
	turnEdge   = 512      // bytes read at each end of a longer turn
	acrossSize = 64 << 10 // bytes of all turns together; the last turns count
)

// Across joins the turns or parts of a conversation, over which an attack may be spread, with nothing
// and with a space between them. Of a long turn only the beginning and the end are read, and of a
// long conversation the last 64 KiB of that: what stands within a turn is read with the turn. It
// gives nothing for fewer than two turns that say something.
func Across(turns []string) []Joined {
	type piece struct{ turn, s, e int }
	var pieces []piece
	size := 0
	for i := len(turns) - 1; i >= 0 && size < acrossSize; i-- {
		t := turns[i]
		if strings.TrimSpace(t) == "" {
			continue
		}
		if len(t) <= 2*turnEdge {
			pieces = append(pieces, piece{i, 0, len(t)})
			size += len(t)
			continue
		}
		head, tail := turnEdge, len(t)-turnEdge
		for head > 0 && !utf8.RuneStart(t[head]) {
			head--
		}
		for tail < len(t) && !utf8.RuneStart(t[tail]) {
			tail++
		}
		pieces = append(pieces, piece{i, tail, len(t)}, piece{i, 0, head})
		size += len(t) - tail + head
	}
	if len(pieces) == 0 || pieces[0].turn == pieces[len(pieces)-1].turn {
		return nil
	}
	var out []Joined
	for _, x := range []struct{ view, sep string }{{"turns", ""}, {"turns+space", " "}} {
		j := Joined{View: x.view}
		var b strings.Builder
		for k := len(pieces) - 1; k >= 0; k-- {
			p := pieces[k]
			if k < len(pieces)-1 {
				if pieces[k+1].turn == p.turn {
					b.WriteByte('\n')
				} else {
					b.WriteString(x.sep)
				}
			}
			j.parts = append(j.parts, joinedPart{b.Len(), p.turn, p.s, p.e - p.s})
			b.WriteString(turns[p.turn][p.s:p.e])
		}
		j.Text = b.String()
		out = append(out, j)
	}
	return out
}

// Source gives the ranges of the turns that bytes start..end of the text came from, in their order;
// no range for what only parts them.
func (j *Joined) Source(start, end int) []Range {
	var out []Range
	i := max(0, sort.Search(len(j.parts), func(i int) bool { return j.parts[i].out > start })-1)
	for ; i < len(j.parts) && j.parts[i].out < end; i++ {
		p := j.parts[i]
		s, e := max(0, start-p.out), min(p.size, end-p.out)
		if s < e {
			out = append(out, Range{p.turn, p.s + s, p.s + e})
		}
	}
	return out
}
