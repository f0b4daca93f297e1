package proxy

import (
	"hash/maphash"
	"sync"
	"sync/atomic"

	"sallyport.dev/sallyport/internal/gate"
)

// Load counts what is in flight: calls in total, calls per principal, bytes of request bodies in
// memory. It outlives a configuration, so that a reload forgets nothing. Its only locks are sharded
// by principal.
type Load struct {
	calls  atomic.Int64
	memory atomic.Int64
	cut    atomic.Bool
	seed   maphash.Seed
	shards [64]loadShard
}

type loadShard struct {
	mu sync.Mutex
	n  map[string]int
}

// NewLoad returns an empty count.
func NewLoad() *Load {
	l := &Load{seed: maphash.MakeSeed()}
	for i := range l.shards {
		l.shards[i].n = map[string]int{}
	}
	return l
}

// InFlight is the number of calls being served.
func (l *Load) InFlight() int64 { return l.calls.Load() }

// Cut says that the gateway ends and cuts what is still in flight: from now on a connection that is
// gone is not a client's doing.
func (l *Load) Cut() { l.cut.Store(true) }

// gone is the outcome of a call whose client's connection is gone.
func (l *Load) gone() gate.Outcome {
	if l.cut.Load() {
		return gate.OutcomeInterrupted
	}
	return gate.OutcomeClientAborted
}

func (l *Load) enter(max int64) bool {
	if l.calls.Add(1) > max {
		l.calls.Add(-1)
		return false
	}
	return true
}

func (l *Load) leave() { l.calls.Add(-1) }

func (l *Load) reserve(n, max int64) bool {
	if l.memory.Add(n) > max {
		l.memory.Add(-n)
		return false
	}
	return true
}

func (l *Load) release(n int64) { l.memory.Add(-n) }

func (l *Load) shard(key string) *loadShard {
	return &l.shards[maphash.String(l.seed, key)%uint64(len(l.shards))]
}

func (l *Load) enterKey(key string, max int) bool {
	s := l.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.n[key] >= max {
		return false
	}
	s.n[key]++
	return true
}

func (l *Load) leaveKey(key string) {
	s := l.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.n[key]--; s.n[key] <= 0 {
		delete(s.n, key)
	}
}
