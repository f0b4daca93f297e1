// Package classify recognises injection and jailbreaks by meaning and by place. It puts the tiers
// together: the rules, a lexical model that reads every byte, and an encoder that reads the windows
// the other two do not clear; each over the text and over every reading somebody could have hidden an
// attack in. A stacker makes one number of it and a calibration turns that into a false-positive rate,
// so that an operator sets a budget and not a threshold.
//
// It promises that a verdict depends on the text and its channel alone, and that offsets are of the
// text as it came. Every byte is read by the rules and the lexical tier; the encoder reads at most
// Options.Windows windows of a text. It reads what a caller, a tool or a document says; the operator's
// own words and the model's are left to the rules.
package classify

import (
	"cmp"
	"errors"
	"math"
	"slices"
	"strings"
	"time"

	"sallyport.dev/sallyport/internal/gate"
	"sallyport.dev/sallyport/internal/inspect/detect"
	"sallyport.dev/sallyport/internal/inspect/lexical"
	"sallyport.dev/sallyport/internal/inspect/token"
	"sallyport.dev/sallyport/internal/inspect/turns"
)

// Encoder runs the network on one window: a control token and then the window's own.
type Encoder interface {
	// Run returns the logits of benign, injection, jailbreak and plainly harmful request, and per
	// token the log-odds that it is part of an attack. marks is valid until the next call.
	Run(ids []int32) (logits [4]float32, marks []float32, err error)
}

// DefaultBudget is the share of benign texts that may be called attacks.
const DefaultBudget = 0.005

// Options is what a classifier is made of.
type Options struct {
	Rules   detect.Detector
	Lexical *lexical.Model
	Vocab   *token.Vocab
	Encoder func() Encoder // one per worker; nil: no encoder tier
	Stack   *Stack         // nil: every number is 0, for fitting one
	// Readings returns what else a text may be read as. nil: the text alone.
	Readings func(text string) (rs []Reading, cut bool)
	Budget   float64 // 0: DefaultBudget
	Windows  int     // that the encoder reads of one text; 0: DefaultWindows
	Version  string
	// Strict makes a learned tier that cannot answer a failure of the whole detector. Otherwise the
	// rules decide alone and a finding of the category gate.Unread says so.
	Strict bool
	// Patience is how long a text waits for its turn; 0: DefaultPatience.
	Patience time.Duration
}

// sorted puts findings into the order that detect.Detector promises.
func sorted(fs []gate.Finding) {
	slices.SortStableFunc(fs, func(a, b gate.Finding) int {
		return cmp.Or(a.Start-b.Start, a.End-b.End, strings.Compare(a.Rule, b.Rule))
	})
}

// unread adds to what the rules found that the learned tiers did not read; strict, it fails as a whole.
func (c *Classifier) unread(seg *gate.Segment, fs []gate.Finding, err error) []gate.Finding {
	if c.o.Strict {
		panic(err) // the caller turns a detector's panic into the failure of the table
	}
	return append(slices.Clone(fs), gate.Finding{
		Category: gate.Unread, Rule: RuleUnavailable, Channel: seg.Channel, Path: seg.Path,
		Start: len(seg.Text), End: len(seg.Text), View: "raw",
	})
}

// without blanks the places of attacks that rules found, byte for byte.
func without(text []byte, fs []gate.Finding) (rest string, changed bool) {
	var b []byte
	for _, f := range fs {
		if !f.Category.Attack() || f.Start >= f.End {
			continue
		}
		if b == nil {
			b = slices.Clone(text)
		}
		for i := f.Start; i < f.End; i++ {
			b[i] = ' '
		}
	}
	return string(b), b != nil
}

// DefaultWindows is how many windows of a text the encoder reads. What is over is read by the rules and
// the lexical tier alone, as is every byte.
const DefaultWindows = 6

// DefaultPatience is how long a text waits for one of the workers.
const DefaultPatience = 150 * time.Millisecond

// Reading is another way to read a text, with the way back.
type Reading struct {
	View   string
	Text   string
	Source func(start, end int) (int, int)
	// Decoded are the ranges of Text that stand otherwise in the original: they are also read by
	// themselves, so that what is said around them does not thin them out.
	Decoded [][2]int
}

// Classifier implements detect.Rater.
type Classifier struct {
	o       Options
	workers chan *worker // as many as may work at once
}

var _ detect.Rater = (*Classifier)(nil)

// Category and rule names of learned findings.
const (
	RuleInjection = "learned-injection"
	RuleJailbreak = "learned-jailbreak"
	// RuleManyShot is found in a text that holds many invented answers of an assistant that agrees.
	RuleManyShot = "jailbreak-many-shot"
	// RuleUnread is found in a text that can be read in more ways than the limits of the readings
	// allow: what nobody looked at may hold anything, and no honest text met so far needs so many.
	RuleUnread = "unread-readings"
	// RuleUnavailable says that the learned tiers could not read a text.
	RuleUnavailable = "learned-unavailable"
)

const (
	unreadScore   = 0.75
	manyShotScore = 0.8
)

// New makes a classifier that works on at most n texts at once.
func New(o Options, n int) *Classifier {
	if o.Budget == 0 {
		o.Budget = DefaultBudget
	}
	if o.Windows == 0 {
		o.Windows = DefaultWindows
	}
	if o.Patience == 0 {
		o.Patience = DefaultPatience
	}
	c := &Classifier{o: o, workers: make(chan *worker, n)}
	for range n {
		c.workers <- newWorker(&c.o)
	}
	return c
}

// HasEncoder says whether there is an encoder tier.
func (c *Classifier) HasEncoder() bool { return c.o.Encoder != nil }

// Version implements detect.Detector.
func (c *Classifier) Version() string { return c.o.Version }

// Lane implements detect.Detector. Streams carry the model's own words, which the rules read.
func (c *Classifier) Lane(seg *gate.Segment) detect.Lane { return c.o.Rules.Lane(seg) }

// Detect implements detect.Detector.
func (c *Classifier) Detect(seg *gate.Segment) []gate.Finding {
	fs, _ := c.Rate(seg)
	return fs
}

// Rate implements detect.Rater. The score is 0.5 where the share of benign texts that look as much
// like an attack is DefaultBudget, and more where it is smaller.
func (c *Classifier) Rate(seg *gate.Segment) (fs []gate.Finding, score float64) {
	fs = c.o.Rules.Detect(seg)
	if seg.Channel != gate.ChannelSystem && seg.Channel != gate.ChannelDeveloper {
		if answers, agree := turns.Shots(seg.Text); answers >= turns.LeastShots && agree*2 >= answers {
			fs = append(slices.Clone(fs), gate.Finding{
				Category: gate.Jailbreak, Rule: RuleManyShot, Channel: seg.Channel, Path: seg.Path,
				End: len(seg.Text), View: "raw", Score: manyShotScore,
			})
			sorted(fs)
		}
	}
	for _, f := range fs {
		if f.Category.Attack() {
			score = max(score, f.Score)
		}
	}
	place, ok := placeOf(seg.Channel)
	if !ok || len(seg.Text) == 0 {
		return fs, score
	}
	v, err := c.judge(string(seg.Text), place, fs)
	if err != nil {
		return c.unread(seg, fs, err), score
	}
	score = max(score, Score(v.p))
	n := len(fs)
	if v.cut {
		score = max(score, unreadScore)
		fs = append(slices.Clone(fs), gate.Finding{
			Category: gate.Injection, Rule: RuleUnread, Channel: seg.Channel, Path: seg.Path,
			End: len(seg.Text), View: "raw", Score: unreadScore,
		})
	}
	if v.p <= c.o.Budget {
		// What the rules found is explained. Only what is left can be a finding of its own.
		if rest, changed := without(seg.Text, fs); changed {
			if v, err = c.judge(rest, place, nil); err != nil {
				return c.unread(seg, fs, err), score
			}
		}
	}
	if v.p <= c.o.Budget {
		f := gate.Finding{
			Category: gate.Injection, Rule: RuleInjection, Channel: seg.Channel, Path: seg.Path,
			Start: v.start, End: v.end, View: v.view, Score: Score(v.p),
		}
		if v.jailbreak {
			f.Category, f.Rule = gate.Jailbreak, RuleJailbreak
		}
		fs = append(slices.Clone(fs), f)
	}
	if len(fs) > n {
		sorted(fs)
	}
	return fs, score
}

// Reasons why the learned tiers do not answer.
var (
	errBusy    = errors.New("classify: every worker was busy for too long")
	errNumber  = errors.New("classify: the score of a text is not a number")
	errEncoder = errors.New("classify: the encoder failed")
)

func (c *Classifier) worker() (*worker, error) {
	select {
	case w := <-c.workers:
		return w, nil
	default:
	}
	t := time.NewTimer(c.o.Patience)
	defer t.Stop()
	select {
	case w := <-c.workers:
		return w, nil
	case <-t.C:
		return nil, errBusy
	}
}

// judge reads a text with the next worker that is free.
func (c *Classifier) judge(text string, place Place, rules []gate.Finding) (verdict, error) {
	w, err := c.worker()
	if err != nil {
		return verdict{}, err
	}
	defer func() { c.workers <- w }()
	return w.read(text, place, rules)
}

// Weigh returns the evidence about the text as it came and about each of its readings, for fitting
// a stack.
func (c *Classifier) Weigh(text string, place Place) ([]Evidence, error) {
	w := <-c.workers
	defer func() { c.workers <- w }()
	rule := func(t string) float64 {
		return ruleScore(c.o.Rules.Detect(&gate.Segment{Text: []byte(t), Channel: channels[place]}))
	}
	v, err := w.one(text, place, rule(text), nil, "")
	es := []Evidence{v.evidence}
	if c.o.Readings != nil {
		rs, _ := c.o.otherwise(text)
		for _, r := range rs {
			if r.Text != "" && err == nil {
				v, err = w.one(r.Text, place, rule(r.Text), &r, "")
				es = append(es, v.evidence)
			}
		}
	}
	return es, err
}

// Score turns a false-positive rate into a number from 0 to 1 that grows as the rate falls.
func Score(p float64) float64 {
	return 1 / (1 + math.Sqrt(p/DefaultBudget))
}

// Place is where a text stands, as far as the classifier tells places apart.
type Place uint8

const (
	User Place = iota
	Tool
	Document
	places
)

var placeNames = [...]string{"user", "tool", "document"}

func (p Place) String() string { return placeNames[p] }

func placeOf(c gate.Channel) (Place, bool) {
	switch c {
	case gate.ChannelUser:
		return User, true
	case gate.ChannelTool:
		return Tool, true
	case gate.ChannelDocument:
		return Document, true
	}
	return 0, false
}
