package audit

import (
	"crypto/sha256"
	"math/bits"

	"golang.org/x/mod/sumdb/tlog"
)

// tree is the compact range of a Merkle tree (RFC 6962) over the records so far: node i is the
// hash of a full subtree of 2^i records, present where bit i of n is set.
type tree struct {
	n     int64
	nodes [63]tlog.Hash
}

func (t *tree) add(leaf tlog.Hash) {
	i := 0
	for ; t.n>>i&1 == 1; i++ {
		leaf = tlog.NodeHash(t.nodes[i], leaf)
	}
	t.nodes[i] = leaf
	t.n++
}

// root is the hash tlog.TreeHash gives for the same records.
func (t *tree) root() (h tlog.Hash) {
	if t.n == 0 {
		return sha256.Sum256(nil) // RFC 6962, section 2.1
	}
	first := true
	for m := t.n; m != 0; m &= m - 1 {
		i := bits.TrailingZeros64(uint64(m))
		if first {
			h, first = t.nodes[i], false
			continue
		}
		h = tlog.NodeHash(t.nodes[i], h)
	}
	return h
}

// hashes lists the nodes, largest subtree first.
func (t *tree) hashes() []tlog.Hash {
	var hs []tlog.Hash
	for i := 62; i >= 0; i-- {
		if t.n>>i&1 == 1 {
			hs = append(hs, t.nodes[i])
		}
	}
	return hs
}

// treeOf is the inverse of hashes for a tree of n records.
func treeOf(n int64, hs []tlog.Hash) (t tree, ok bool) {
	if n < 0 || bits.OnesCount64(uint64(n)) != len(hs) {
		return t, false
	}
	t.n = n
	for i := 62; i >= 0; i-- {
		if n>>i&1 == 1 {
			t.nodes[i], hs = hs[0], hs[1:]
		}
	}
	return t, true
}
