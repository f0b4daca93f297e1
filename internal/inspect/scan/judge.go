package scan

import (
	"errors"
	"runtime"
	"sync"

	"sallyport.dev/sallyport/internal/gate"
)

// Judge reads single rows exactly as Run does, for whoever measures the detector. It is safe for
// concurrent use.
type Judge struct{ rows sync.Pool }

// Judgement is what is said of one row.
type Judgement struct {
	Score   float64     // as in Result
	Verdict gate.Action // as in Result
	Attack  gate.Action // the verdict as it would be without findings that are leaks, not attacks
}

// NewJudge makes a Judge. Channel and Workers of the options are not used.
func NewJudge(o Options) (*Judge, error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	return &Judge{rows: sync.Pool{New: func() any { return newRow(o) }}}, nil
}

// Text judges one text of a channel.
func (j *Judge) Text(text []byte, channel gate.Channel) (Judgement, error) {
	return j.judge(&gate.Reading{Segments: []gate.Segment{{Channel: channel, Turn: -1, Text: text}}})
}

// Messages judges a conversation: a JSON array in the shape of OpenAI's chat completions.
func (j *Judge) Messages(messages []byte) (Judgement, error) {
	reading, err := conversation(messages)
	if err != nil {
		return Judgement{}, err
	}
	return j.judge(reading)
}

func (j *Judge) judge(reading *gate.Reading) (got Judgement, err error) {
	defer func() {
		if p := recover(); p != nil {
			got, err = Judgement{}, errors.New("the detector failed on this row")
			if e, ok := p.(runtime.Error); ok {
				err = errors.New("the detector failed on this row: " + e.Error())
			}
		}
	}()
	r := j.rows.Get().(*row)
	fs, score, err := r.judge(reading)
	if err != nil {
		return Judgement{}, err
	}
	j.rows.Put(r) // not after a panic
	got = Judgement{Score: score, Verdict: verdict(reading.Segments, fs)}
	var attacks []gate.Finding
	for _, f := range fs {
		if f.Category.Attack() {
			attacks = append(attacks, f)
		}
	}
	got.Attack = verdict(reading.Segments, attacks)
	return got, nil
}
