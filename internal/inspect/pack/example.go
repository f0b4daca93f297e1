package pack

import (
	"bytes"
	"errors"
	"fmt"
	"runtime"
	"slices"

	"sallyport.dev/sallyport/internal/gate"
	"sallyport.dev/sallyport/internal/inspect/detect"
	"sallyport.dev/sallyport/internal/strictjson"
)

// Example is one line of examples.jsonl: a text, and what the pack's detector must say about it.
type Example struct {
	Text    string
	Channel gate.Channel
	// Attack: something must be found; of Category, where there is one, otherwise an attack of any.
	// Not Attack: nothing at all may be found.
	Attack   bool
	Category gate.Category
}

// ParseExamples reads examples.jsonl: {"text", "channel", "want": "allow"|"attack", "category"?}, an
// object a line. There must be some of both kinds. Errors name a line, never what stands there.
func ParseExamples(b []byte) ([]Example, error) {
	var out []Example
	attacks := 0
	for n, line := range bytes.Split(bytes.TrimSuffix(b, []byte("\n")), []byte("\n")) {
		if n >= MaxExamples || len(line) > maxExampleRow {
			return nil, fmt.Errorf("%w: want at most %d examples of %d bytes", ErrTooLarge, MaxExamples, maxExampleRow)
		}
		e, err := parseExample(line)
		if err != nil {
			return nil, fmt.Errorf("example %d: %w", n+1, err)
		}
		if e.Attack {
			attacks++
		}
		out = append(out, e)
	}
	if attacks == 0 || attacks == len(out) {
		return nil, errors.New("there must be examples of attacks and of texts to allow")
	}
	return out, nil
}

func parseExample(line []byte) (e Example, err error) {
	d, err := strictjson.Parse(line, strictjson.Limits{Depth: 2, Nodes: 8})
	if err != nil {
		return e, err
	}
	if d.Kind(strictjson.Root) != strictjson.Object {
		return e, errors.New("want an object")
	}
	seen := 0
	for i := range d.Children(strictjson.Root) {
		if d.Kind(i) != strictjson.String {
			return e, errors.New("every member must be a string")
		}
		ok := true
		switch v := d.Str(i); string(d.Key(i)) {
		case "text":
			e.Text, ok = v, v != ""
			seen |= 1
		case "channel":
			e.Channel, ok = gate.ParseChannel(v)
			seen |= 2
		case "want":
			e.Attack, ok = v == "attack", v == "attack" || v == "allow"
			seen |= 4
		case "category":
			e.Category = gate.Category(v)
			ok = slices.Contains(gate.Categories(), e.Category)
		default:
			ok = false
		}
		if !ok {
			return e, errors.New(`want {"text", "channel", "want": "allow" or "attack", "category"?}`)
		}
	}
	if seen != 7 || (e.Category != "" && !e.Attack) {
		return e, errors.New(`want {"text", "channel", "want": "allow" or "attack"}, and "category" with attacks only`)
	}
	return e, nil
}

// Passes says whether a detector's findings are what the example wants.
func (e *Example) Passes(fs []gate.Finding) bool {
	if !e.Attack {
		return len(fs) == 0
	}
	return slices.ContainsFunc(fs, func(f gate.Finding) bool {
		if e.Category != "" {
			return f.Category == e.Category
		}
		return f.Category.Attack()
	})
}

// Load makes the detector of a verified pack and tries every example on it. release is this build of
// sallyport.
func Load(p *Pack, construct Construct, release string) (d detect.Detector, err error) {
	if !Runs(release, p.Minimum) {
		return nil, fmt.Errorf("%w: %s", ErrTooNew, p.Minimum)
	}
	// A constructor reads weights and tables that a signed pack holds, but a signed mistake must not
	// end a running gateway either.
	defer func() {
		if r := recover(); r != nil {
			what := "it panicked"
			if e, ok := r.(runtime.Error); ok {
				what = e.Error()
			}
			d, err = nil, fmt.Errorf("%w: %s", ErrContents, Plain(what))
		}
	}()
	if b := p.Files.Raw("thresholds.json"); b != nil {
		if _, err := strictjson.Parse(b, strictjson.Limits{}); err != nil {
			return nil, fmt.Errorf("%w: thresholds.json: %w", ErrContents, err)
		}
	}
	examples, err := ParseExamples(p.Files.Raw("examples.jsonl"))
	if err != nil {
		return nil, fmt.Errorf("%w: examples.jsonl: %w", ErrContents, err)
	}
	inner, err := construct(p)
	if err != nil {
		return nil, fmt.Errorf("%w: %s", ErrContents, Plain(err.Error()))
	}
	wrong, first := 0, 0
	for i := range examples {
		e := &examples[i]
		if !e.Passes(inner.Detect(&gate.Segment{Text: []byte(e.Text), Channel: e.Channel, Turn: -1})) {
			if wrong++; wrong == 1 {
				first = i + 1
			}
		}
	}
	if wrong > 0 {
		what := "is found although it should be allowed"
		if examples[first-1].Attack {
			what = "is not found"
		}
		return nil, fmt.Errorf("%w: %d of %d; the first is line %d of examples.jsonl, which %s", ErrExamples, wrong, len(examples), first, what)
	}
	return inner, nil
}
