package opinion

import (
	"crypto/sha256"
	"math/rand/v2"
	"time"
)

// budget allows a number of questions in any minute: not on average, but in every one.
type budget struct {
	asked []time.Time // ring of the last questions
	next  int
}

func newBudget(perMinute int) budget { return budget{asked: make([]time.Time, perMinute)} }

func (b *budget) take(now time.Time) bool {
	if last := b.asked[b.next]; !last.IsZero() && now.Sub(last) < time.Minute {
		return false
	}
	b.asked[b.next] = now
	b.next = (b.next + 1) % len(b.asked)
	return true
}

// Bounds of the breaker.
const (
	breakAfter = 5                // failures in a row
	restFirst  = 5 * time.Second  // of an open breaker, before one question is tried
	restMost   = 60 * time.Second // it doubles with every trial that fails
)

// breaker keeps questions from an endpoint that does not answer. After breakAfter failures in a row
// it rests, with jitter so that gateways do not try in step, and then lets one question through at a
// time until one is answered.
type breaker struct {
	failed int
	rest   time.Duration // 0: closed
	until  time.Time
	trying bool
}

// allow says whether a question may be sent; done must follow if it is.
func (b *breaker) allow(now time.Time) bool {
	if b.rest == 0 {
		return true
	}
	if b.trying || now.Before(b.until) {
		return false
	}
	b.trying = true
	return true
}

// done notes how a question ended, and says whether the breaker has opened or closed by it.
func (b *breaker) done(now time.Time, ok bool) (opened, closed bool) {
	if ok {
		closed = b.rest > 0
		*b = breaker{}
		return false, closed
	}
	b.failed++
	switch {
	case b.rest > 0 && !b.trying:
		return false, false // one sent before it opened
	case b.rest == 0 && b.failed < breakAfter:
		return false, false
	case b.rest == 0:
		b.rest, opened = restFirst, true
	default:
		b.rest = min(2*b.rest, restMost)
	}
	b.trying = false
	b.until = now.Add(b.rest + rand.N(b.rest/4))
	return opened, false
}

// maxRemembered bounds how many answers are remembered.
const maxRemembered = 4096

// memory holds the newest answers by the hash of the text.
type memory struct {
	answers map[[32]byte]bool
	order   [][32]byte
	next    int
}

func newMemory(n int) memory { return memory{answers: map[[32]byte]bool{}, order: make([][32]byte, n)} }

func keyOf(text []byte) [32]byte { return sha256.Sum256(text) }

func (m *memory) get(k [32]byte) (yes, ok bool) {
	yes, ok = m.answers[k]
	return yes, ok
}

func (m *memory) put(k [32]byte, yes bool) {
	if _, ok := m.answers[k]; ok {
		m.answers[k] = yes
		return
	}
	delete(m.answers, m.order[m.next])
	m.order[m.next] = k
	m.next = (m.next + 1) % len(m.order)
	m.answers[k] = yes
}
