package scan

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"

	"github.com/go-json-experiment/json/jsontext"

	"sallyport.dev/sallyport/internal/gate"
	"sallyport.dev/sallyport/internal/inspect/detect"
	"sallyport.dev/sallyport/internal/inspect/finding"
	"sallyport.dev/sallyport/internal/inspect/purpose"
	"sallyport.dev/sallyport/internal/inspect/turns"
	"sallyport.dev/sallyport/internal/wire/openai"
)

// row reads rows, one after the other.
type row struct {
	reader  finding.Reader
	channel gate.Channel
	score   float64 // of the row so far

	detector detect.Detector
}

func newRow(o Options) *row {
	r := &row{channel: o.Channel, detector: o.Detector}
	find := o.Detector.Detect
	if d, ok := o.Detector.(detect.Rater); ok {
		find = func(seg *gate.Segment) []gate.Finding {
			fs, s := d.Rate(seg)
			r.score = max(r.score, s)
			return fs
		}
	}
	r.reader = finding.Reader{Find: find, Table: o.Policy.Base(), Direction: gate.Request}
	return r
}

// scan never panics and never returns nil: a row gives a Result or a Failure.
func (r *row) scan(j *job) (answer any) {
	defer func() {
		if p := recover(); p != nil {
			what := "the detector failed on this row"
			if e, ok := p.(runtime.Error); ok {
				what += ": " + e.Error()
			}
			answer = Failure{j.line, what}
		}
	}()
	if j.err != nil {
		return Failure{j.line, j.err.Error()}
	}
	id, reading, err := r.parse(j.text)
	if err != nil {
		return Failure{j.line, err.Error()}
	}
	fs, score, err := r.judge(reading)
	if err != nil {
		return Failure{j.line, err.Error()}
	}
	res := Result{ID: id, Verdict: verdict(reading.Segments, fs).String(), Score: score, Findings: make([]Finding, len(fs))}
	for i, f := range fs {
		res.Findings[i] = Finding{f.Category, f.Rule, f.Channel.String(), f.Path, f.Start, f.End, f.View, f.Score, f.Category.OWASP(), f.Category.ATLAS(f.Channel)}
	}
	for _, u := range reading.Uninspected {
		if k := u.Kind.String(); !slices.Contains(res.Uninspected, k) {
			res.Uninspected = append(res.Uninspected, k)
		}
	}
	return res
}

// judge finds what is in a row and how much it looks like an attack.
func (r *row) judge(reading *gate.Reading) (fs []gate.Finding, score float64, err error) {
	r.score = 0
	reading.Segments = turns.Join(reading.Segments)
	if fs, err = r.reader.Read(reading.Segments); err != nil {
		return nil, 0, err
	}
	fs = purpose.Read(reading.Segments, r.detector).Add(&r.reader, reading.Segments, fs)
	return fs, max(r.score, finding.Score(fs)), nil
}

// verdict is the severest action. What cannot be taken out where it stands is blocked, as it would
// be in a request.
func verdict(segs []gate.Segment, fs []gate.Finding) gate.Action {
	w := finding.Worst(fs)
	switch {
	case w == nil:
		return gate.Allow
	case w.Action == gate.Sanitize:
		if _, stuck := finding.Plan(segs, fs); stuck != nil {
			return gate.Block
		}
	}
	return w.Action
}

// parse reads one row. Its errors name a place, never what stands there.
func (r *row) parse(line []byte) (id json.RawMessage, reading *gate.Reading, err error) {
	m, err := members(line)
	if err != nil {
		return nil, nil, err
	}
	if k := m["id"].Kind(); k != '"' && k != '0' {
		return nil, nil, errors.New(`"id" must be there and be a string or a number`)
	}
	id = json.RawMessage(m["id"])
	text, messages := m["text"], m["messages"]
	switch {
	case (text == nil) == (messages == nil):
		return nil, nil, errors.New(`want either "text" or "messages"`)
	case messages != nil:
		if m["channel"] != nil {
			return nil, nil, errors.New(`"channel" goes with "text"; in "messages" the role says it`)
		}
		reading, err = conversation(messages)
		return id, reading, err
	}
	seg := gate.Segment{Channel: r.channel, Turn: -1}
	if seg.Text, err = unquote("text", text); err != nil {
		return nil, nil, err
	}
	if c := m["channel"]; c != nil {
		name, err := unquote("channel", c)
		if err != nil {
			return nil, nil, err
		}
		var ok bool
		if seg.Channel, ok = gate.ParseChannel(string(name)); !ok {
			return nil, nil, fmt.Errorf(`"channel" must be one of %v`, gate.Channels())
		}
	}
	return id, &gate.Reading{Segments: []gate.Segment{seg}}, nil
}

// members reads the top level of an object: strict UTF-8, no name twice, nothing after it.
func members(line []byte) (map[string]jsontext.Value, error) {
	d := jsontext.NewDecoder(bytes.NewReader(line))
	if t, err := d.ReadToken(); err != nil || t.Kind() != '{' {
		return nil, errors.New("want one JSON object on the line")
	}
	m := map[string]jsontext.Value{}
	for {
		if d.PeekKind() == '}' {
			d.ReadToken()
			break
		}
		t, err := d.ReadToken()
		if err != nil {
			return nil, fmt.Errorf("not valid JSON near byte %d", d.InputOffset())
		}
		name := t.String()
		v, err := d.ReadValue()
		if err != nil {
			return nil, fmt.Errorf("not valid JSON near byte %d", d.InputOffset())
		}
		switch name {
		case "id", "text", "channel", "messages":
			m[name] = v.Clone()
		}
	}
	if _, err := d.ReadToken(); err != io.EOF {
		return nil, errors.New("want one JSON object on the line, and nothing after it")
	}
	return m, nil
}

func unquote(name string, v jsontext.Value) ([]byte, error) {
	if v.Kind() != '"' {
		return nil, fmt.Errorf("%q must be a string", name)
	}
	text, err := jsontext.AppendUnquote(nil, v)
	if err != nil {
		return nil, fmt.Errorf("%q is not a valid JSON string", name)
	}
	return text, nil
}

// conversation reads messages as the gateway reads a chat completion.
func conversation(messages jsontext.Value) (*gate.Reading, error) {
	if messages.Kind() != '[' {
		return nil, errors.New(`"messages" must be an array`)
	}
	d := jsontext.NewDecoder(bytes.NewReader(messages))
	for d.ReadToken(); d.PeekKind() != ']'; d.SkipValue() {
		if d.PeekKind() != '{' {
			return nil, errors.New(`every one of "messages" must be an object`)
		}
	}
	body := append([]byte(`{"model":"scan","messages":`), messages...)
	w := openai.Dialect{}
	reading, err := w.ReadRequest(w.Route("POST", "/v1/chat/completions"), "application/json", append(body, '}'))
	if err != nil {
		var p *gate.Problem
		if errors.As(err, &p) {
			return nil, errors.New(`"messages" cannot be read: ` + p.Message)
		}
		return nil, errors.New(`"messages" cannot be read`)
	}
	return reading, nil
}
