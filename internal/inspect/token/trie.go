package token

import (
	"fmt"
	"slices"
	"strings"
)

type piece struct {
	text string
	id   int32
}

// trie is a double array (Aoe, 1989): the child of node n by byte b is base[n]+b+1 when check of
// that place is n.
type trie struct {
	base, check []int32
	id          []int32 // of the piece that ends here, or -1
}

func (t *trie) grow(n int) {
	for len(t.base) < n {
		t.base, t.check, t.id = append(t.base, 0), append(t.check, -1), append(t.id, -1)
	}
}

func (t *trie) build(pieces []piece) error {
	slices.SortFunc(pieces, func(a, b piece) int { return strings.Compare(a.text, b.text) })
	type span struct {
		node     int32
		from, to int // of pieces that share the first depth bytes
		depth    int
	}
	t.grow(512)
	t.check[0] = 0
	queue := []span{{0, 0, len(pieces), 0}}
	free, start := 1, 1 // the first free place, and where the search begins
	var labels []byte
	var children []span
	for len(queue) > 0 {
		s := queue[0]
		queue = queue[1:]
		if p := pieces[s.from]; len(p.text) == s.depth {
			if s.to-s.from > 1 && len(pieces[s.from+1].text) == s.depth {
				return fmt.Errorf("vocabulary: piece %q is there twice", p.text)
			}
			t.id[s.node] = p.id
			s.from++
		}
		labels, children = labels[:0], children[:0]
		for i := s.from; i < s.to; {
			b, j := pieces[i].text[s.depth], i
			for j < s.to && pieces[j].text[s.depth] == b {
				j++
			}
			labels = append(labels, b)
			children = append(children, span{from: i, to: j, depth: s.depth + 1})
			i = j
		}
		if len(labels) == 0 {
			continue
		}
		// A crowded stretch is not searched again: a few places are lost and the build stays quick.
		base, tried := max(0, start-1-int(labels[0])), 0
		for !t.fits(base, labels) {
			base++
			tried++
		}
		if tried > 64 {
			start = max(start, base+1+int(labels[0])-32)
		}
		t.base[s.node] = int32(base)
		for i, b := range labels {
			children[i].node = int32(base + int(b) + 1)
			t.check[children[i].node] = s.node
		}
		for free < len(t.check) && t.check[free] >= 0 {
			free++
		}
		start = max(start, free)
		queue = append(queue, children...)
	}
	t.grow(len(t.base) + 257)
	return nil
}

func (t *trie) fits(base int, labels []byte) bool {
	t.grow(base + 258)
	for _, b := range labels {
		if t.check[base+int(b)+1] >= 0 {
			return false
		}
	}
	return true
}
