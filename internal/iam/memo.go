package iam

import "sync/atomic"

// Memo is room at a key in memory for what others have reckoned from it, so that a call finds it without
// looking it up. It lives as long as this state of the key. Whoever keeps something there checks that
// what it was reckoned from still holds; each slot belongs to one package.
type Memo struct {
	Caller atomic.Value // of package policies
	Bounds atomic.Value // of package limits
	Place  atomic.Value // of package places
}

func (m *Memo) place() *atomic.Value {
	if m == nil {
		return nil
	}
	return &m.Place
}

// Memo is nil for a key that is not in the hot path's memory.
func (k *Key) Memo() *Memo { return k.memo }
