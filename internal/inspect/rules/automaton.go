package rules

// automaton finds many literals in one pass (Aho and Corasick, CACM 18(6), 1975). Literals that
// begin with a letter or digit match only where a word begins, which is one symbol of its own.
type automaton struct {
	class    [256]uint16 // symbol of a byte; 0: in no literal
	stride   int
	next     []uint32 // state*stride + symbol
	depth    []uint8  // bytes of text that a state stands for
	out      [][]hook // of the states from firstOut on
	firstOut uint32
}

// hook is what a found literal wakes.
type hook struct {
	len  int // bytes of the literal
	rule int // index of the rule; negative: a trigger
}

const (
	symOther    = 0
	symBoundary = 1
)

type pattern struct {
	text  string
	bound bool // only where a word begins
	hook  int
}

func alnum(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

func build(ps []pattern, boundaries bool) *automaton {
	a := &automaton{stride: 2}
	for _, p := range ps {
		for i := range len(p.text) {
			c := p.text[i]
			if a.class[c] == 0 {
				a.class[c] = uint16(a.stride)
				a.stride++
			}
		}
	}
	if a.class[' '] == 0 {
		a.class[' '] = uint16(a.stride)
		a.stride++
	}
	a.class['\n'] = a.class[' ']
	type node struct {
		kids  map[uint16]uint32
		depth uint8
		out   []hook
		fail  uint32
	}
	nodes := []node{{}}
	step := func(at uint32, sym uint16, d uint8) uint32 {
		if n, ok := nodes[at].kids[sym]; ok {
			return n
		}
		if nodes[at].kids == nil {
			nodes[at].kids = map[uint16]uint32{}
		}
		n := uint32(len(nodes))
		nodes[at].kids[sym] = n
		nodes = append(nodes, node{depth: nodes[at].depth + d})
		return n
	}
	for _, p := range ps {
		at := uint32(0)
		for i := range len(p.text) {
			c := p.text[i]
			if boundaries && alnum(c) && (i == 0 && p.bound || i > 0 && !alnum(p.text[i-1])) {
				at = step(at, symBoundary, 0)
			}
			at = step(at, a.class[c], 1)
		}
		nodes[at].out = append(nodes[at].out, hook{len(p.text), p.hook})
	}
	// Breadth first: failure links, then the full table.
	order := []uint32{0}
	full := make([]uint32, len(nodes)*a.stride)
	for k := 0; k < len(order); k++ {
		n := order[k]
		nd := &nodes[n]
		if n != 0 {
			nd.out = append(nd.out, nodes[nd.fail].out...)
		}
		for s := range a.stride {
			child, ok := nd.kids[uint16(s)]
			var via uint32
			if n != 0 {
				via = full[int(nd.fail)*a.stride+s]
			}
			if !ok {
				full[int(n)*a.stride+s] = via
				continue
			}
			nodes[child].fail = via
			full[int(n)*a.stride+s] = child
			order = append(order, child)
		}
	}
	// States that report come last, so that one comparison finds them.
	ids := make([]uint32, len(nodes))
	var id uint32
	for _, n := range order {
		if len(nodes[n].out) == 0 {
			ids[n] = id
			id++
		}
	}
	a.firstOut = id
	for _, n := range order {
		if len(nodes[n].out) > 0 {
			ids[n] = id
			id++
			a.out = append(a.out, nodes[n].out)
		}
	}
	a.next = make([]uint32, len(full))
	a.depth = make([]uint8, len(nodes))
	for n := range nodes {
		a.depth[ids[n]] = nodes[n].depth
		for s := range a.stride {
			// Rows are stored by their offset, which saves a multiplication per byte.
			a.next[int(ids[n])*a.stride+s] = ids[full[n*a.stride+s]] * uint32(a.stride)
		}
	}
	a.firstOut *= uint32(a.stride)
	return a
}
