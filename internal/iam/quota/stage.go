package quota

import (
	"context"
	"errors"

	"sallyport.dev/sallyport/internal/gate"
)

// Pricer knows what tokens of a model cost, in micro-units of the currency. known is false where it
// does not and had to assume a price. It must be safe for concurrent use.
type Pricer interface {
	Cost(model string, n Counts) (micro int64, known bool)
}

// StageOptions makes a Stage.
type StageOptions struct {
	Engine *Engine
	// Bounds says which limits hold for a call, once its body has been read; nil: none. An error closes.
	Bounds func(x *gate.Exchange) (*Prepared, error)
	// Prices; nil: nothing costs anything, and bounds of cost never refuse.
	Prices Pricer
	// Ceiling is how many output tokens are reserved for a caller who names no maximum; 0: 4096.
	Ceiling int64
	// AnswerBytes is how many bytes of answer are reserved; 0: 16 KiB. A longer answer is charged when
	// it has ended.
	AnswerBytes int64
}

// Stage is the gate's stage of limits. Admit reserves, Settle settles; the proxy calls both.
type Stage struct{ o StageOptions }

// NewStage checks the options.
func NewStage(o StageOptions) (*Stage, error) {
	if o.Engine == nil || o.Bounds == nil {
		return nil, errors.New("quota: make stage: no engine, or no bounds")
	}
	if o.Ceiling < 0 || o.AnswerBytes < 0 || o.Ceiling > MaxAmount/maxAnswers {
		return nil, errors.New("quota: make stage: a ceiling that is negative or too large")
	}
	if o.Ceiling == 0 {
		o.Ceiling = 4096
	}
	if o.AnswerBytes == 0 {
		o.AnswerBytes = 16 << 10
	}
	return &Stage{o}, nil
}

// held is what a call on its way has reserved.
type held struct {
	r      Reservation // zero where no limit holds
	est    Amounts
	tokens Counts
}

// Name implements gate.Stage.
func (*Stage) Name() string { return "quota" }

// Admit implements gate.Stage. Limits that cannot be shared are kept locally (gate.FailLimits) and are
// no error here; a bound that makes no sense is one, and closes.
func (s *Stage) Admit(ctx context.Context, x *gate.Exchange) (gate.Decision, error) {
	h := &held{tokens: expect(x, s.o.Ceiling)}
	h.est = Amounts{Requests: 1, Tokens: h.tokens.Total(), Bytes: int64(len(x.Body)) + s.o.AnswerBytes}
	if s.o.Prices != nil && h.tokens != (Counts{}) {
		h.est.Cost, _ = s.o.Prices.Cost(x.Reading.Model, h.tokens)
	}
	bounds, err := s.o.Bounds(x)
	if err != nil {
		return gate.Decision{}, err
	}
	if bounds != nil && len(bounds.bounds) > 0 {
		if ex := s.o.Engine.reserve(ctx, &h.r, bounds, &h.est); ex != nil {
			return gate.Deny(refusal(ex), ex.Bound.Unit.String()+" of "+ex.Bound.Subject), nil
		}
	}
	x.Reserved = h
	return gate.Decision{}, nil
}

// Settle ends what Admit began, however the call ended, and writes into the record what it was charged
// with. It is proxy.Options.Settle. A call that was refused further on has made a request and sent
// bytes; it has used no tokens.
func (s *Stage) Settle(x *gate.Exchange) {
	h, ok := x.Reserved.(*held)
	if !ok || x.Record == nil {
		return
	}
	// Should the reckoning panic, what was reserved stands, and the call's place is free.
	defer func() { h.r.Settle(h.est) }()
	rec := x.Record
	c, estimated := reckon(x, h.tokens)
	used := Amounts{Requests: 1, Tokens: c.Total(), Bytes: rec.RequestBytes + rec.AnswerBytes}
	guessed := false
	if s.o.Prices != nil && (c.Total() > 0 || c.Searches > 0) {
		model := rec.Model
		if x.Reading != nil && x.Reading.Model != "" {
			model = x.Reading.Model
		}
		cost, known := s.o.Prices.Cost(model, c)
		used.Cost, guessed = cost, !known
	}
	rec.Spend = gate.Spend{Tokens: used.Tokens, Cost: used.Cost, Estimated: estimated, Guessed: guessed}
	h.r.Settle(used)
}
