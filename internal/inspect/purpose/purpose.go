// Package purpose asks of what tools and documents say whether it serves what the caller asked for. A
// text that arrives in a tool result may name an address and tell the model to use it; the words are
// those of an ordinary request, and only the place, and that the caller never spoke of it, tell the two
// apart (indirect prompt injection: Greshake et al., arXiv 2302.12173; OWASP LLM01:2025, ATLAS
// AML.T0051.001). So:
//
//   - a sentence of a tool result or a document that reads somewhat like an order to the model, and names
//     a destination that the caller and the operator did not, and has no word in common with what the
//     caller asked for, is a finding in the request (RuleOffTask);
//   - a tool call of the model whose arguments hold such a destination is a finding in the answer, and in
//     every later request that carries it (RuleTainted): the call follows the text, not the caller.
//
// It is a stateless reading of one request: destinations are mail addresses and URLs, at most maxValues
// of them are looked at, and a host counts as the caller's own where the caller named it.
package purpose

import (
	"bytes"
	"slices"
	"strings"
	"unicode"

	"sallyport.dev/sallyport/internal/gate"
	"sallyport.dev/sallyport/internal/inspect/detect"
	"sallyport.dev/sallyport/internal/inspect/finding"
	"sallyport.dev/sallyport/internal/inspect/sentence"
)

// Names of the rules, in findings.
const (
	RuleOffTask = "off-task-order"
	RuleTainted = "tainted-argument"
)

const (
	maxValues = 24        // destinations that are looked at, in one request
	maxText   = 256 << 10 // bytes of one text in which they are looked for
	maxOwn    = 64 << 10  // bytes of the caller's and the operator's words, the newest kept
	// suspect is the score, of a sentence read by itself, from which a destination in it is tainted, and
	// order that from which the sentence is a finding of its own where it has nothing to do with the task.
	suspect = 0.28
	order   = 0.33
	// leastWords is how many words an order has beside its destination.
	leastWords = 3
)

// Purpose is what was read of one request. A nil one knows nothing and finds nothing.
type Purpose struct {
	values  [][]byte // lower case
	longest int
	found   []gate.Finding
}

// Read looks at the texts of a request. det scores single sentences; where it is no detect.Rater nothing
// is known.
func Read(segs []gate.Segment, det detect.Detector) *Purpose {
	if w, ok := det.(detect.Wrapper); ok {
		det = w.First()
	}
	rater, ok := det.(detect.Rater)
	if !ok || !slices.ContainsFunc(segs, holds) {
		return nil
	}
	p := &Purpose{}
	own := ownWords(segs)
	asked := map[string]bool{}
	for _, w := range words(own) {
		asked[w] = true
	}
	left := maxValues
	for i := range segs {
		s := &segs[i]
		if !holds(*s) {
			continue
		}
		text := s.Text[:min(len(s.Text), maxText)]
		for at := 0; left > 0; {
			v, ok := next(text, at)
			if !ok {
				break
			}
			at = v.End
			value := lower(text[v.Start:v.End])
			if named(own, value) || named(own, host(value)) {
				continue
			}
			left--
			start, end := sentence.Around(string(text), v.Start, v.End)
			said := text[start:end]
			if len(bytes.Fields(bytes.Replace(lower(said), value, nil, -1))) < leastWords {
				continue // an address by itself asks for nothing
			}
			_, score := rater.Rate(&gate.Segment{Text: said, Channel: gate.ChannelTool, Turn: -1})
			if score < suspect {
				continue
			}
			p.add(value)
			if score >= order && !related(said, value, asked) {
				p.found = append(p.found, gate.Finding{
					Category: gate.Injection, Rule: RuleOffTask, Channel: s.Channel, Path: s.Path,
					Start: start, End: end, View: "raw", Score: max(0.5, score), Segment: i,
				})
			}
		}
	}
	if len(p.values) == 0 {
		return nil
	}
	return p
}

func (p *Purpose) add(value []byte) {
	if !slices.ContainsFunc(p.values, func(v []byte) bool { return bytes.Equal(v, value) }) {
		p.values = append(p.values, value)
		p.longest = max(p.longest, len(value))
	}
}

// Findings are the orders that serve nothing the caller asked for. Segment says which text each is in;
// what becomes of them is the policy's.
func (p *Purpose) Findings() []gate.Finding {
	if p == nil {
		return nil
	}
	return p.found
}

// Add adds to what was found in segs what this request says about them: orders off the task, where it
// is segs that were read, and tainted arguments.
func (p *Purpose) Add(r *finding.Reader, segs []gate.Segment, fs []gate.Finding) []gate.Finding {
	if r.Direction == gate.Request {
		for _, f := range p.Findings() {
			fs = r.Add(fs, segs, f)
		}
	}
	for i := range segs {
		for _, f := range p.Tainted(&segs[i]) {
			f.Segment = i
			fs = r.Add(fs, segs, f)
		}
	}
	return fs
}

// holds says whether a text came with data and could name a destination.
func holds(s gate.Segment) bool {
	return (s.Channel == gate.ChannelTool || s.Channel == gate.ChannelDocument) && s.Turn >= 0 && len(s.Joined) == 0 &&
		(bytes.IndexByte(s.Text, '@') >= 0 || bytes.Contains(s.Text, []byte("://")))
}

// ownWords is what the caller and the operator said, in lower case.
func ownWords(segs []gate.Segment) (own []byte) {
	for i := len(segs) - 1; i >= 0 && len(own) < maxOwn; i-- {
		switch segs[i].Channel {
		case gate.ChannelUser, gate.ChannelSystem, gate.ChannelDeveloper:
			if len(segs[i].Joined) == 0 {
				own = append(append(own, lower(segs[i].Text)...), '\n')
			}
		}
	}
	return own[:min(len(own), maxOwn)]
}

// related says whether a sentence shares a word with what was asked, other than its destination and the
// words that all sentences share.
func related(said, value []byte, asked map[string]bool) bool {
	rest := bytes.Replace(lower(said), value, nil, -1)
	return slices.ContainsFunc(words(rest), func(w string) bool { return asked[w] })
}

// words are the words of four letters and more that carry a meaning, without their endings. Scripts
// without spaces give runs, which is coarse: there more is unrelated.
func words(text []byte) []string {
	ws := strings.FieldsFunc(string(text), func(r rune) bool { return !unicode.IsLetter(r) })
	out := ws[:0]
	for _, w := range ws {
		if n := len(w); n >= 4 && !common[w] {
			out = append(out, w[:min(n, 5)])
		}
	}
	return out
}

var common = func() map[string]bool {
	m := map[string]bool{}
	for _, w := range strings.Fields(`about after again also assistant been before could does dont down each even every
		first from give have here into just know like make many mind more most much must need next only other over please
		right same shall should some such take tell than thank thanks that their them then there these they thing this
		those time today using very want well were what when where which while will with would your yours`) {
		m[w] = true
	}
	return m
}()
