package opinion

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"time"
)

// maxAnswer bounds what is read of an answer, in bytes.
const maxAnswer = 64 << 10

// Why there is no answer.
var (
	errBudget  = errors.New("opinion: the budget is spent")
	errBreaker = errors.New("opinion: the endpoint rests after failures")
	errStatus  = errors.New("opinion: the endpoint did not answer with status 200")
	errLong    = errors.New("opinion: the answer is too long")
	errForm    = errors.New("opinion: the answer has not the form of the protocol")
	// errNeither is an answer in the right form that is neither yes nor no. The text may be the
	// reason, so it is not held against the endpoint.
	errNeither = errors.New("opinion: the answer is neither yes nor no")
)

// ask sends one question within the bounds. It waits for the answer and for nothing else.
func (s *Second) ask(ctx context.Context, k [32]byte, text []byte) (yes bool, err error) {
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	default:
		s.n.budget.Add(1)
		return false, errBudget
	}
	if err := s.admit(); err != nil {
		return false, err
	}
	s.n.asked.Add(1)
	answered := false
	defer func() { s.ended(k, yes, err, answered) }() // whatever happens, a trial must end
	yes, err = s.send(ctx, text)
	answered = true
	return yes, err
}

func (s *Second) admit() error {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.brk.allow(now) {
		s.n.breaker.Add(1)
		return errBreaker
	}
	if !s.budget.take(now) {
		s.brk.trying = false // no trial was made
		s.n.budget.Add(1)
		return errBudget
	}
	return nil
}

func (s *Second) ended(k [32]byte, yes bool, err error, answered bool) {
	ok := answered && (err == nil || errors.Is(err, errNeither))
	s.mu.Lock()
	opened, closed := s.brk.done(time.Now(), ok)
	if answered && err == nil {
		s.memory.put(k, yes)
	}
	s.mu.Unlock()
	switch {
	case !answered || err != nil:
		s.n.unanswered.Add(1)
	case yes:
		s.n.yes.Add(1)
	default:
		s.n.no.Add(1)
	}
	if opened {
		s.log.Warn("second opinion: the endpoint does not answer; it is left alone for a while", "failures", breakAfter, "error", plain(err))
	}
	if closed {
		s.log.Info("second opinion: the endpoint answers again")
	}
}

// plain is an error in words that hold nothing of what the endpoint has sent.
func plain(err error) string {
	for _, e := range []error{errStatus, errLong, errForm} {
		if errors.Is(err, e) {
			return e.Error()
		}
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return "no answer within the deadline"
	}
	// Nothing has come from the endpoint yet where dialling it failed.
	if op := (*net.OpError)(nil); errors.As(err, &op) && op.Op == "dial" {
		return op.Error()
	}
	return "the request failed"
}

// send asks and reads. Nothing is followed, and nothing of the answer is kept.
func (s *Second) send(ctx context.Context, text []byte) (bool, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.o.URL, bytes.NewReader(s.o.Protocol.question(s.o.Model, text)))
	if err != nil {
		return false, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "sallyport")
	if s.o.Key != nil {
		req.Header.Set("Authorization", "Bearer "+s.o.Key())
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return false, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return false, errStatus
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return false, err
	}
	if len(body) > maxAnswer {
		return false, errLong
	}
	return s.o.Protocol.answer(body)
}
