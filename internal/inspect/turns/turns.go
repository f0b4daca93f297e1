// Package turns reads a conversation as a whole: an attack that is spread over messages is in none
// of them. It makes texts of several turns, which are then read like any other.
package turns

import (
	"slices"

	"sallyport.dev/sallyport/internal/gate"
)

const (
	most      = 8        // turns that are read together
	mostBytes = 16 << 10 // of them together; the newest are kept
)

// Join returns segs with one more, the last user turns in order, where there are at least two of
// them. What it holds cannot be edited in place: a finding that is in no single turn can only block.
func Join(segs []gate.Segment) []gate.Segment {
	var parts []int
	size, turn, turns := 0, -2, 0
	for i := len(segs) - 1; i >= 0; i-- {
		s := &segs[i]
		if s.Channel != gate.ChannelUser || len(s.Joined) > 0 || s.Turn < 0 || len(s.Text) == 0 {
			continue
		}
		if s.Turn != turn {
			if turns == most {
				break
			}
			turns++
			turn = s.Turn
		}
		if size += len(s.Text) + 1; size > mostBytes {
			break
		}
		parts = append(parts, i)
	}
	if turns < 2 || len(parts) < 2 {
		return segs
	}
	slices.Reverse(parts)
	last := &segs[parts[len(parts)-1]]
	joined := gate.Segment{
		Role: last.Role, Channel: gate.ChannelUser, Path: "messages", Turn: -1,
		Place: gate.Place{Coding: gate.Nowhere},
	}
	for _, i := range parts {
		joined.Joined = append(joined.Joined, gate.Part{Index: i, At: len(joined.Text)})
		joined.Text = append(append(joined.Text, segs[i].Text...), '\n')
	}
	joined.Text = joined.Text[:len(joined.Text)-1]
	return append(slices.Clip(segs), joined)
}
