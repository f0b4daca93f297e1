package token

// unknownLetter is the cost of a letter that no word covers.
const unknownLetter = -14

// Words says where words begin, after the first, in a run of ASCII letters that was written without
// spaces: the cut into pieces of the vocabulary that can begin a word which is the likeliest.
func (v *Vocab) Words(run string) []int {
	start, ok := v.trie.walk(0, space)
	if !ok {
		return nil
	}
	n := len(run)
	best, from := make([]float32, n+1), make([]int32, n+1)
	for i := range best {
		best[i] = -1e30
	}
	best[0] = 0
	t := &v.trie
	for i := range n {
		if s := best[i] + unknownLetter; s > best[i+1] {
			best[i+1], from[i+1] = s, int32(i)
		}
		node := start
		for j := i; j < n; j++ {
			next := t.base[node] + int32(run[j]|0x20) + 1
			if t.check[next] != node {
				break
			}
			node = next
			if id := t.id[node]; id >= 0 {
				if s := best[i] + v.score[id]; s > best[j+1] {
					best[j+1], from[j+1] = s, int32(i)
				}
			}
		}
	}
	var at []int
	for j := from[n]; j > 0; j = from[j] {
		at = append(at, int(j))
	}
	for i, j := 0, len(at)-1; i < j; i, j = i+1, j-1 {
		at[i], at[j] = at[j], at[i]
	}
	return at
}

// walk goes from a node along s.
func (t *trie) walk(node int32, s string) (int32, bool) {
	for i := range len(s) {
		next := t.base[node] + int32(s[i]) + 1
		if t.check[next] != node {
			return 0, false
		}
		node = next
	}
	return node, true
}
