package wire

import (
	"bytes"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"sallyport.dev/sallyport/internal/gate"
	"sallyport.dev/sallyport/internal/strictjson"
)

// Scope is what is known about the place of a value: whose words it holds and how to name it.
type Scope struct {
	Channel gate.Channel
	Role    string
	Turn    int
	// Free is set in objects whose names are the caller's own (schemas, arguments, metadata): their
	// names are read as text, and no name is structure.
	Free bool
	// Settled is set once a message or item has said whose words it holds; a role further in says
	// nothing, so that a part of a tool result cannot call itself system text.
	Settled bool
	// Sealed is set where a changed byte breaks the provider's signature; nothing there is edited.
	Sealed bool
}

// Grammar is what a dialect knows about its JSON. Everything it does not know is text.
type Grammar struct {
	// Names are the names that have a meaning. A name outside free objects that is one of these in
	// another letter case or folding is refused: decoders differ on it (CVE-2020-16250 class).
	Names map[string]bool
	// Values are the names whose strings are structure: identifiers and enumerations. They are
	// still read as text unless they look like one.
	Values map[string]bool
	// Enter adjusts the scope for the value at node i, before its children are read. It may record
	// what cannot be read and say that the value is done.
	Enter func(w *Walk, i int, key string, s *Scope) (done bool)
	// Nested are the names whose strings hold JSON (tool-call arguments).
	Nested map[string]bool
}

// Walk reads one document.
type Walk struct {
	Doc     *strictjson.Doc
	Reading *gate.Reading
	Grammar *Grammar

	path   []byte
	folded map[string]string
}

// Ambiguous is the refusal of a body that two parsers could read differently.
func Ambiguous(message string) *gate.Problem {
	return &gate.Problem{Status: http.StatusBadRequest, Code: gate.CodeAmbiguous, Message: message}
}

// Run reads the value at node i and all below it.
func (w *Walk) Run(i int, s Scope) error { return w.value(i, "", s) }

// At is the path of the value being read.
func (w *Walk) At() string { return string(w.path) }

// Unread notes something that cannot be read at the current place.
func (w *Walk) Unread(k gate.UninspectedKind, bytes int) {
	w.Reading.Uninspected = append(w.Reading.Uninspected, gate.Uninspected{Kind: k, Path: w.At(), Bytes: bytes})
}

// Offer notes a tool that the model may use.
func (w *Walk) Offer(name string) {
	if !slices.Contains(w.Reading.Tools, name) {
		w.Reading.Tools = append(w.Reading.Tools, name)
	}
}

// maxTexts bounds how many texts one body may hold: each costs far more than its bytes.
const maxTexts = 100_000

var problemTexts = &gate.Problem{Status: http.StatusRequestEntityTooLarge, Code: gate.CodeTooLarge, Message: "The body holds more separate texts than this gateway reads."}

func (w *Walk) value(i int, key string, s Scope) error {
	if len(w.Reading.Segments) > maxTexts || len(w.Reading.Uninspected) > maxTexts {
		return problemTexts
	}
	if w.Grammar.Enter != nil && w.Grammar.Enter(w, i, key, &s) {
		return nil
	}
	n := w.Doc.Nodes[i]
	switch n.Kind {
	case strictjson.String:
		if w.Grammar.Values[key] && !s.Free && structural(w.Doc.Raw[n.Start+1:n.End-1]) {
			return nil
		}
		w.Text(i, s)
		if w.Grammar.Nested[key] && !s.Free {
			w.nested(i, s)
		}
	case strictjson.Array:
		first := len(w.Reading.Segments)
		k := 0
		for c := range w.Doc.Children(i) {
			at := len(w.path)
			w.path = append(strconv.AppendInt(append(w.path, '['), int64(k), 10), ']')
			cs := s
			if at == 0 || turns[key] && s.Turn < 0 {
				cs.Turn = k
			}
			if err := w.value(c, key, cs); err != nil {
				return err
			}
			w.path = w.path[:at]
			k++
		}
		w.join(first, key, s)
	case strictjson.Object:
		if !s.Free {
			if err := w.names(i); err != nil {
				return err
			}
		}
		for c := range w.Doc.Children(i) {
			name := w.Doc.Key(c)
			at := len(w.path)
			if at > 0 {
				w.path = append(w.path, '.')
			}
			w.path = append(w.path, name...)
			if s.Free || !w.Grammar.Names[string(name)] {
				w.name(name, s)
			}
			if err := w.value(c, nameString(name), s); err != nil {
				return err
			}
			w.path = w.path[:at]
		}
	}
	return nil
}

// turns are the arrays whose elements are turns of the conversation.
var turns = map[string]bool{"messages": true, "input": true, "items": true, "output": true, "data": true, "content": true}

// Text makes the string at node i a segment.
func (w *Walk) Text(i int, s Scope) {
	n := w.Doc.Nodes[i]
	if n.End-n.Start <= 2 {
		return
	}
	c := gate.JSONString
	if s.Sealed {
		c = gate.Nowhere
	}
	w.Reading.Segments = append(w.Reading.Segments, gate.Segment{
		Text: w.Doc.Text(i), Role: s.Role, Channel: s.Channel, Path: w.At(), Turn: s.Turn,
		Place: gate.Place{Span: gate.Span{Start: int(n.Start) + 1, End: int(n.End) - 1}, Coding: c},
	})
}

// name reads an object's name as text: a name can carry words to the model too, but not be edited.
func (w *Walk) name(name []byte, s Scope) {
	if len(name) < 8 || structural(name) && !bytes.ContainsAny(name, " ") && len(name) < 24 {
		return
	}
	w.Reading.Segments = append(w.Reading.Segments, gate.Segment{
		Text: name, Role: s.Role, Channel: s.Channel, Path: w.At(), Turn: s.Turn, Place: gate.Place{Coding: gate.Nowhere},
	})
}

// Read adds text that has no place of its own in the body, such as a decoded part.
func (w *Walk) Read(text []byte, s Scope) {
	w.Reading.Segments = append(w.Reading.Segments, gate.Segment{
		Text: text, Role: s.Role, Channel: s.Channel, Path: w.At(), Turn: s.Turn, Place: gate.Place{Coding: gate.Nowhere},
	})
}

// nested reads the strings of JSON that stands in a string.
func (w *Walk) nested(i int, s Scope) {
	outer := w.Doc.Text(i)
	inner, err := strictjson.Parse(outer, strictjson.Limits{})
	if err != nil {
		return // read as the text it is; a view undoes its escapes
	}
	start, end := w.Doc.Inside(i)
	for k, n := range inner.Nodes {
		if n.KeyAt >= 0 && n.KeyEsc {
			w.name(inner.Key(k), s)
		}
		if n.Kind != strictjson.String || !n.Escaped {
			continue // without escapes the outer text reads the same
		}
		place := gate.Place{Span: gate.Span{Start: start, End: end}, Coding: gate.NestedJSON, Inner: gate.Span{Start: int(n.Start) + 1, End: int(n.End) - 1}}
		if s.Sealed {
			place = gate.Place{Coding: gate.Nowhere}
		}
		w.Reading.Segments = append(w.Reading.Segments, gate.Segment{
			Text: inner.Text(k), Role: s.Role, Channel: s.Channel, Path: w.At(), Turn: s.Turn, Place: place,
		})
	}
}

// join makes the texts of one list of parts also one text: an attack may be cut in two. It is read
// both with nothing and with a space between the parts.
func (w *Walk) join(first int, key string, s Scope) {
	if s.Free || !joins[key] {
		return
	}
	var parts []int
	size := 0
	for k := first; k < len(w.Reading.Segments); k++ {
		g := &w.Reading.Segments[k]
		if g.Joined == nil && g.Channel == s.Channel && len(g.Text) > 0 && joinable(g.Path) {
			parts = append(parts, k)
			size += len(g.Text) + 1
		}
	}
	if len(parts) < 2 {
		return
	}
	seps := []string{"", " "}
	if w.Reading.Segments[parts[0]].Path == w.At()+"[0].token" {
		seps = seps[:1] // tokens carry their own spaces
	}
	for _, sep := range seps {
		text := make([]byte, 0, size)
		joined := make([]gate.Part, 0, len(parts))
		for n, k := range parts {
			if n > 0 {
				text = append(text, sep...)
			}
			joined = append(joined, gate.Part{Index: k, At: len(text)})
			text = append(text, w.Reading.Segments[k].Text...)
		}
		w.Reading.Segments = append(w.Reading.Segments, gate.Segment{
			Text: text, Role: s.Role, Channel: s.Channel, Path: w.At(), Turn: s.Turn,
			Place: gate.Place{Coding: gate.Nowhere}, Joined: joined,
		})
	}
}

// joinable says whether a path ends as the texts do that a model reads one after the other: the
// text of a part, an element of a list of strings, a token of log probabilities (not of their
// alternatives).
func joinable(path string) bool {
	return strings.HasSuffix(path, "text") || strings.HasSuffix(path, "]") || strings.HasSuffix(path, ".text.value") ||
		strings.HasSuffix(path, ".token") && !strings.Contains(path, ".top_logprobs[")
}

// joins are the lists whose texts a model reads as one.
var joins = map[string]bool{"content": true, "system": true, "output": true, "input": true, "prompt": true, "summary": true, "instructions": true}

// names refuses an object with names that lenient decoders take for one another.
func (w *Walk) names(i int) error {
	odd := false
	for c := range w.Doc.Children(i) {
		odd = odd || oddName(w.Doc.Key(c))
	}
	if !odd {
		return nil
	}
	if w.folded == nil {
		w.folded = make(map[string]string, len(w.Grammar.Names))
		for n := range w.Grammar.Names {
			w.folded[strictjson.Fold([]byte(n))] = n
		}
	}
	seen := map[string]bool{}
	for c := range w.Doc.Children(i) {
		name := w.Doc.Key(c)
		f := strictjson.Fold(name)
		if known, ok := w.folded[f]; ok && known != string(name) {
			return Ambiguous("A name in the request differs from a known one only in letter case.")
		}
		if seen[f] {
			return Ambiguous("Two names of one object differ only in letter case.")
		}
		seen[f] = true
	}
	return nil
}

// oddName: a name that is only lower-case ASCII folds to nothing but itself.
func oddName(name []byte) bool {
	for _, b := range name {
		if b >= 'A' && b <= 'Z' || b >= 0x80 {
			return true
		}
	}
	return false
}

// structural says whether a value can only be an identifier or a word of an enumeration: at most 64
// bytes of letters, digits and . _ : / -, with no run of letters long enough to be prose.
func structural(v []byte) bool {
	if len(v) > 64 {
		return false
	}
	for _, b := range v {
		switch {
		case b >= 'a' && b <= 'z', b >= 'A' && b <= 'Z', b >= '0' && b <= '9', b == '.', b == '_', b == ':', b == '/', b == '-':
		default:
			return false
		}
	}
	return true
}
