// Package opinion asks somebody else about texts that the detector is unsure of: a guard model or a
// moderation endpoint, over HTTP.
//
// It promises that a text is asked about only when its channel is user, tool or document, its attack
// score lies in the band and the detector found no attack in it; that an answer is worth a yes or a
// no and nothing more; that a yes adds a finding and a no takes none away; and that a text which
// should have been asked about and was not answered is said with a finding of category gate.Unread.
// Neither texts nor answers are ever logged. It dials nothing by itself: the caller brings the
// transport, and with it the bounds of what may be reached.
package opinion

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"sallyport.dev/sallyport/internal/gate"
	"sallyport.dev/sallyport/internal/inspect/detect"
)

// Rules of the findings.
const (
	RuleYes         = "second-opinion"             // the endpoint calls the text an attack
	RuleUnavailable = "second-opinion-unavailable" // the text should have been asked about, and there is no answer
	RulePending     = "second-opinion-pending"     // the call did not wait for the answer; a Report follows
)

// yesScore is the score of a text that the endpoint calls an attack: at least the operator's budget.
const yesScore = 0.5

// Defaults of Options.
const (
	DefaultLow       = 0.30
	DefaultHigh      = 0.60
	DefaultDeadline  = 300 * time.Millisecond
	DefaultPerMinute = 60
	DefaultAtOnce    = 4
	DefaultMaxText   = 64 << 10
	DefaultQueue     = 256
	// AfterDeadline is how long a question may take, at the least, where no call waits for it.
	AfterDeadline = 10 * time.Second
)

// Options is what a second opinion needs.
type Options struct {
	// First reads every text. Its score decides what is asked about.
	First detect.Rater
	// Transport reaches the endpoint. It should use no proxy and check the addresses it dials.
	Transport http.RoundTripper
	URL       string // of the endpoint, whole; nothing else is ever requested
	Protocol  Protocol
	Model     string
	Key       func() string // the bearer token; nil: none
	// After lets calls go on while their texts are asked about; Run must run. Otherwise they wait.
	After     bool
	Low, High float64 // the band [Low, High) of scores; both 0: the defaults
	// Deadline is what one call waits at most, however many of its texts are asked about. 0: the
	// default.
	Deadline  time.Duration
	PerMinute int // questions in any minute; 0: the default
	AtOnce    int // questions at the same time; 0: the default
	MaxText   int // bytes; a longer text is not asked about and said to be unread; 0: the default
	Queue     int // texts that wait, with After; 0: the default
	// Report is told what became of each question that no call waited for. It may be nil.
	Report func(Report)
	Log    *slog.Logger // nil: nothing is said
}

// Report is the answer to a question that no call waited for.
type Report struct {
	Call    string // id of the call
	Channel gate.Channel
	Answer  string // "attack", "no_attack" or "unanswered"
}

// Stats counts since New.
type Stats struct {
	Asked, Yes, No  int64 // questions sent; answers that could be read
	Unanswered      int64 // sent, without an answer that could be read in time
	Remembered      int64 // answered from memory
	Budget, Breaker int64 // not sent: the budget was spent, or every slot taken; the breaker was open
	Long, Dropped   int64 // not sent: the text was too long; the queue was full or the gateway ended
}

// Second is a detect.Rater with a second opinion. It is safe for concurrent use. Only texts in the
// band meet its lock.
type Second struct {
	o       Options
	client  *http.Client
	version string
	slots   chan struct{}
	jobs    chan job
	log     *slog.Logger

	mu     sync.Mutex
	budget budget
	brk    breaker
	memory memory
	closed bool // Run has ended

	n counts
}

type counts struct {
	asked, yes, no, unanswered, remembered, budget, breaker, long, dropped atomic.Int64
}

var (
	_ detect.Rater  = (*Second)(nil)
	_ detect.Caller = (*Second)(nil)
)

// New makes a second opinion.
func New(o Options) (*Second, error) {
	switch {
	case o.First == nil || o.Transport == nil:
		return nil, errors.New("opinion: a first detector and a transport are needed")
	case !slices.Contains(Protocols(), o.Protocol):
		return nil, fmt.Errorf("opinion: unknown protocol %q", o.Protocol)
	}
	if u, err := url.Parse(o.URL); err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return nil, errors.New("opinion: the endpoint is not an http or https URL")
	}
	if o.Low == 0 && o.High == 0 {
		o.Low, o.High = DefaultLow, DefaultHigh
	}
	if !(0 <= o.Low && o.Low < o.High && o.High <= 1) {
		return nil, errors.New("opinion: the band is not 0 <= low < high <= 1")
	}
	if o.Deadline < 0 || o.PerMinute < 0 || o.AtOnce < 0 || o.MaxText < 0 || o.Queue < 0 {
		return nil, errors.New("opinion: a bound cannot be negative")
	}
	fill(&o.Deadline, DefaultDeadline)
	fill(&o.PerMinute, DefaultPerMinute)
	fill(&o.AtOnce, DefaultAtOnce)
	fill(&o.MaxText, DefaultMaxText)
	fill(&o.Queue, DefaultQueue)
	s := &Second{o: o, log: o.Log, client: &http.Client{
		Transport:     o.Transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	// Everything that an answer depends on and that is known here. What stands behind the address is
	// not.
	sum := sha256.Sum256(fmt.Appendf(nil, "%q %q %q %v %v %v %d", o.URL, o.Protocol, o.Model, o.After, o.Low, o.High, o.MaxText))
	s.version = "/opinion-" + hex.EncodeToString(sum[:8])
	s.slots = make(chan struct{}, o.AtOnce)
	s.jobs = make(chan job, o.Queue)
	s.budget = newBudget(o.PerMinute)
	s.memory = newMemory(maxRemembered)
	return s, nil
}

func fill[T int | time.Duration](v *T, d T) {
	if *v == 0 {
		*v = d
	}
}

// Version implements detect.Detector.
func (s *Second) Version() string { return s.o.First.Version() + s.version }

// Lane implements detect.Detector. Streams carry the model's own words, which are not asked about.
func (s *Second) Lane(seg *gate.Segment) detect.Lane { return s.o.First.Lane(seg) }

// Detect implements detect.Detector for a text that is the only one of its call.
func (s *Second) Detect(seg *gate.Segment) []gate.Finding {
	fs, _ := s.Rate(seg)
	return fs
}

// First implements detect.Wrapper: what only wants a score asks nobody outside.
func (s *Second) First() detect.Rater { return s.o.First }

// Rate implements detect.Rater.
func (s *Second) Rate(seg *gate.Segment) ([]gate.Finding, float64) {
	left := s.o.Deadline
	return s.rate("", &left, seg)
}

// Call implements detect.Caller.
func (s *Second) Call(id string) func(*gate.Segment) []gate.Finding {
	left := s.o.Deadline
	return func(seg *gate.Segment) []gate.Finding {
		fs, _ := s.rate(id, &left, seg)
		return fs
	}
}

// Stats counts what was asked and what was not.
func (s *Second) Stats() Stats {
	return Stats{
		Asked: s.n.asked.Load(), Yes: s.n.yes.Load(), No: s.n.no.Load(), Unanswered: s.n.unanswered.Load(),
		Remembered: s.n.remembered.Load(), Budget: s.n.budget.Load(), Breaker: s.n.breaker.Load(),
		Long: s.n.long.Load(), Dropped: s.n.dropped.Load(),
	}
}

// grey says whether a text is asked about.
func (s *Second) grey(seg *gate.Segment, fs []gate.Finding, score float64) bool {
	switch seg.Channel {
	case gate.ChannelUser, gate.ChannelTool, gate.ChannelDocument:
	default:
		return false
	}
	// The score is checked so that one that is not a number is outside.
	return score >= s.o.Low && score < s.o.High && len(seg.Text) > 0 &&
		!slices.ContainsFunc(fs, func(f gate.Finding) bool { return f.Category.Attack() })
}

// rate reads a text. left is what its call may still wait.
func (s *Second) rate(id string, left *time.Duration, seg *gate.Segment) ([]gate.Finding, float64) {
	fs, score := s.o.First.Rate(seg)
	if !s.grey(seg, fs, score) {
		return fs, score
	}
	if len(seg.Text) > s.o.MaxText {
		s.n.long.Add(1)
		return s.unread(seg, fs, RuleUnavailable), score
	}
	k := keyOf(seg.Text)
	s.mu.Lock()
	yes, known := s.memory.get(k)
	s.mu.Unlock()
	switch {
	case known:
		s.n.remembered.Add(1)
	case s.o.After:
		if !s.offer(id, k, seg) {
			return s.unread(seg, fs, RuleUnavailable), score
		}
		return s.unread(seg, fs, RulePending), score
	default:
		// A question that has too little time would fail for want of it and be held against the
		// endpoint.
		if *left < s.o.Deadline/2 {
			s.n.unanswered.Add(1)
			return s.unread(seg, fs, RuleUnavailable), score
		}
		began := time.Now()
		ctx, cancel := context.WithTimeout(context.Background(), *left)
		var err error
		yes, err = s.ask(ctx, k, seg.Text)
		cancel()
		*left -= time.Since(began)
		if err != nil {
			return s.unread(seg, fs, RuleUnavailable), score
		}
	}
	if !yes {
		return fs, score
	}
	score = max(score, yesScore)
	f := gate.Finding{
		Category: gate.Injection, Rule: RuleYes, Channel: seg.Channel, Path: seg.Path,
		End: len(seg.Text), View: "raw", Score: score,
	}
	if seg.Channel == gate.ChannelUser {
		f.Category = gate.Jailbreak
	}
	// It starts at 0: nothing stands before it but what starts there too and ends earlier.
	at := 0
	for at < len(fs) && fs[at].Start == 0 && fs[at].End <= f.End {
		at++
	}
	return slices.Insert(slices.Clone(fs), at, f), score
}

// unread adds to what was found that the second opinion is missing.
func (s *Second) unread(seg *gate.Segment, fs []gate.Finding, rule string) []gate.Finding {
	return append(slices.Clone(fs), gate.Finding{
		Category: gate.Unread, Rule: rule, Channel: seg.Channel, Path: seg.Path,
		Start: len(seg.Text), End: len(seg.Text), View: "raw",
	})
}
