package opinion

import (
	"bytes"
	"context"
	"fmt"
	"sync"

	"sallyport.dev/sallyport/internal/gate"
)

// job is a question that no call waits for.
type job struct {
	call    string
	channel gate.Channel
	key     [32]byte
	text    []byte
}

// offer puts a question into the queue, or counts why not. It never waits.
func (s *Second) offer(id string, k [32]byte, seg *gate.Segment) bool {
	s.mu.Lock()
	defer s.mu.Unlock() // so that nothing is put into the queue after Run has emptied it
	if !s.closed && len(s.jobs) < cap(s.jobs) {
		s.jobs <- job{id, seg.Channel, k, bytes.Clone(seg.Text)} // the text is the call's own
		return true
	}
	s.n.dropped.Add(1)
	return false
}

// Run asks what waits, until ctx ends. What still waits then is reported as unanswered.
func (s *Second) Run(ctx context.Context) {
	if s.o.After {
		var wg sync.WaitGroup
		for range s.o.AtOnce {
			wg.Go(func() { s.work(ctx) })
		}
		wg.Wait()
	} else {
		<-ctx.Done()
	}
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	for {
		select {
		case j := <-s.jobs:
			s.n.dropped.Add(1)
			s.report(j, "unanswered")
		default:
			return
		}
	}
}

func (s *Second) work(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case j := <-s.jobs:
			s.settle(ctx, j)
		}
	}
}

func (s *Second) settle(ctx context.Context, j job) {
	defer func() {
		if r := recover(); r != nil {
			s.log.Error("second opinion: a question panicked", "id", j.call, "kind", fmt.Sprintf("%T", r)) // the value may hold text
			s.report(j, "unanswered")
		}
	}()
	s.mu.Lock()
	yes, known := s.memory.get(j.key) // the same text may have waited twice
	s.mu.Unlock()
	if known {
		s.n.remembered.Add(1)
	} else {
		ctx, cancel := context.WithTimeout(ctx, max(s.o.Deadline, AfterDeadline))
		defer cancel()
		var err error
		if yes, err = s.ask(ctx, j.key, j.text); err != nil {
			s.report(j, "unanswered")
			return
		}
	}
	if yes {
		s.log.Warn("second opinion: a text of a call that has passed is an attack", "id", j.call, "channel", j.channel.String())
		s.report(j, "attack")
		return
	}
	s.report(j, "no_attack")
}

func (s *Second) report(j job, answer string) {
	if s.o.Report != nil {
		s.o.Report(Report{Call: j.call, Channel: j.channel, Answer: answer})
	}
}
