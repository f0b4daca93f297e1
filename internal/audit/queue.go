package audit

import (
	"sync"
	"sync/atomic"
	"time"
)

// entry is one record on its way to the writer.
type entry struct {
	next  *entry
	kind  string
	id    string // of begin and finish
	body  []byte
	state atomic.Uint32
	done  chan error // one result; unused where nobody waits
	timer *time.Timer
	alone bool // nobody waits for it
}

// States of an entry. The caller moves it to given up or late, the writer to taken and written.
const (
	entryWaiting uint32 = iota
	entryTaken          // its bytes are with the writer
	entryGivenUp        // the caller left before that: it is not written
	entryLate           // the caller left after that: it may be written, and the writer must say so
	entryWritten        // the result is in done
)

// pool keeps entries for reuse; every log has its own.
type pool struct{ p sync.Pool }

func (p *pool) get(kind, id string) *entry {
	e, _ := p.p.Get().(*entry)
	if e == nil {
		e = &entry{done: make(chan error, 1), timer: time.NewTimer(time.Hour)}
		e.timer.Stop()
	}
	e.kind, e.id, e.body, e.alone = kind, id, e.body[:0], false
	e.state.Store(entryWaiting)
	return e
}

// put gives an entry back. Only the last one who knows it may do so.
func (p *pool) put(e *entry) {
	if cap(e.body) > 64<<10 {
		e.body = nil
	}
	e.next, e.id = nil, ""
	p.p.Put(e)
}

// queue hands entries from any number of callers to the one writer without a lock.
type queue struct {
	head atomic.Pointer[entry]
	wake chan struct{} // capacity 1
}

// push adds an entry. The one that finds the queue empty wakes the writer.
func (q *queue) push(e *entry) {
	for {
		old := q.head.Load()
		e.next = old
		if q.head.CompareAndSwap(old, e) {
			if old == nil {
				q.nudge()
			}
			return
		}
	}
}

func (q *queue) nudge() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// take empties the queue into to, oldest first.
func (q *queue) take(to []*entry) []*entry {
	from := len(to)
	for e := q.head.Swap(nil); e != nil; {
		next := e.next
		e.next = nil
		to = append(to, e)
		e = next
	}
	for i, j := from, len(to)-1; i < j; i, j = i+1, j-1 {
		to[i], to[j] = to[j], to[i]
	}
	return to
}
