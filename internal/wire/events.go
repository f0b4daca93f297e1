package wire

import (
	"bytes"
	"errors"
	"strconv"
	"strings"

	"sallyport.dev/sallyport/internal/gate"
	"sallyport.dev/sallyport/internal/strictjson"
	"sallyport.dev/sallyport/internal/wire/sse"
)

// ErrFrame is an event whose data cannot be read in one way only.
var ErrFrame = errors.New("wire: the event's data is not JSON that every parser reads alike")

// Events takes the frames of one stream apart: every string of an event becomes a text, either a
// piece of a lane or standing alone. It knows nothing of a dialect but what Lane tells it.
type Events struct {
	// Values are the names whose strings are structure (see Grammar).
	Values map[string]bool
	// Names are the names that have a meaning; one that differs only in letter case is refused, since
	// decoders differ on it. Free are the names below which names are somebody's own.
	Names, Free map[string]bool
	// Lane says to which lane the string at node i belongs, "" for none, and whose words it is.
	// name is the last name on its path, path the whole path within the event.
	Lane func(e *Events, i int, name string, path string) (lane string, c gate.Channel)
	// Unread says that the string at node i is not text, and what it is.
	Unread func(e *Events, i int, name string) (gate.UninspectedKind, bool)

	Doc  strictjson.Doc
	Type string // of the event in hand: the member "type", or the event field

	ev    sse.Event
	begun bool // a frame was read
	twin  bool // the frame in hand holds a name that differs from a known one in letter case
	free  bool // below a name of Free
	path  []byte
	paths map[string]string // the same few paths come in every event
	frame *gate.Frame
}

// maxPaths bounds how many paths a stream remembers.
const maxPaths = 256

func (e *Events) pathString() string {
	if s, ok := e.paths[string(e.path)]; ok {
		return s
	}
	s := string(e.path)
	if e.paths == nil {
		e.paths = map[string]string{}
	}
	if len(e.paths) < maxPaths {
		e.paths[s] = s
	}
	return s
}

// Take reads one frame. has is false for one without data; done is its data being exactly "[DONE]".
func (e *Events) Take(raw []byte) (f gate.Frame, has, done bool, err error) {
	f.Raw = raw
	sse.Fields(raw, &e.ev)
	if e.ev.Mark || e.ev.FirstMark && e.begun {
		return f, false, false, ErrFrame // data to some clients, an unknown field to others
	}
	e.begun = true
	for _, o := range e.ev.Other {
		if o.Len() > 0 && !structural(raw[o.Start:o.End]) {
			f.Texts = append(f.Texts, gate.Text{Segment: gate.Segment{Text: validUTF8(raw[o.Start:o.End]), Channel: gate.ChannelAssistant, Path: "comment", Turn: -1, Place: gate.Place{Span: o, Coding: gate.Verbatim}}})
		}
	}
	if !e.ev.HasData || len(e.ev.Data) == 0 {
		return f, false, false, nil
	}
	if string(e.ev.Data) == "[DONE]" {
		return f, false, true, nil
	}
	if err := e.Doc.Parse(e.ev.Data, strictjson.Limits{}); err != nil {
		return f, true, false, ErrFrame
	}
	e.Type = nameString(e.Doc.Text(e.Doc.Get(strictjson.Root, "type")))
	if e.Type == "" {
		e.Type = string(e.ev.Name)
	}
	e.path, e.frame, e.twin, e.free = e.path[:0], &f, false, false
	e.walk(strictjson.Root, "")
	if e.twin {
		return f, true, false, ErrFrame
	}
	return f, true, false, nil
}

func validUTF8(b []byte) []byte { return bytes.ToValidUTF8(b, []byte("\uFFFD")) }

// walk visits every string. An array element is known by its own index, where it has one: that is
// what stays the same from event to event.
func (e *Events) walk(i int, name string) {
	d := &e.Doc
	at := len(e.path)
	switch d.Nodes[i].Kind {
	case strictjson.String:
		e.text(i, name)
	case strictjson.Array:
		if name == "bytes" && e.spelled(i) {
			return
		}
		k := 0
		for c := range d.Children(i) {
			n := k
			if x := d.Get(c, "index"); x >= 0 {
				n = Int(d, x)
			}
			e.path = append(strconv.AppendInt(append(e.path, '['), int64(n), 10), ']')
			e.walk(c, name)
			e.path = e.path[:at]
			k++
		}
	case strictjson.Object:
		for c := range d.Children(i) {
			key := d.Key(c)
			if at > 0 {
				e.path = append(e.path, '.')
			}
			e.path = append(e.path, key...)
			if len(key) >= 24 || !structural(key) {
				e.frame.Texts = append(e.frame.Texts, gate.Text{Segment: gate.Segment{Text: key, Channel: gate.ChannelAssistant, Path: string(e.path), Turn: -1, Place: gate.Place{Coding: gate.Nowhere}}})
			}
			if !e.free && oddName(key) && e.foldsToKnown(key) {
				e.twin = true
			}
			name, free := nameString(key), e.free
			e.free = free || e.Free[name]
			e.walk(c, name)
			e.free, e.path = free, e.path[:at]
		}
	}
}

// foldsToKnown is asked only for names that are not plain lower case, which are few.
func (e *Events) foldsToKnown(key []byte) bool {
	if e.Names[string(key)] {
		return false
	}
	f := strictjson.Fold(key)
	for n := range e.Names {
		if len(n) <= len(f) && strictjson.Fold([]byte(n)) == f {
			return true
		}
	}
	return false
}

// spelled reads a list of byte values, in which log probabilities give each token once more: words
// can hide there like anywhere. They have no place to be edited in.
func (e *Events) spelled(i int) bool {
	b := Spelled(&e.Doc, i)
	if b == nil {
		return false
	}
	p := e.pathString()
	lane := ""
	if at := strings.IndexByte(p, ']'); at > 0 {
		lane = p[:at] + "].logprobs.bytes"
		if strings.Contains(p, "top_logprobs") {
			lane = ""
		}
	}
	e.frame.Texts = append(e.frame.Texts, gate.Text{Lane: lane, Segment: gate.Segment{Text: b, Channel: gate.ChannelAssistant, Path: p, Turn: -1, Place: gate.Place{Coding: gate.Nowhere}}})
	return true
}

// Spelled is the text of an array of byte values; nil where the array is something else.
func Spelled(d *strictjson.Doc, i int) []byte {
	n := d.Nodes[i]
	if n.Kind != strictjson.Array || n.Len == 0 {
		return nil
	}
	b := make([]byte, 0, n.Len)
	for c := range d.Children(i) {
		v := Int(d, c)
		if d.Kind(c) != strictjson.Number || v > 255 {
			return nil
		}
		b = append(b, byte(v))
	}
	return b
}

func (e *Events) text(i int, name string) {
	d := &e.Doc
	n := d.Nodes[i]
	if n.End-n.Start <= 2 {
		return
	}
	if e.Values[name] && structural(d.Raw[n.Start+1:n.End-1]) {
		return
	}
	if e.Unread != nil {
		if kind, ok := e.Unread(e, i, name); ok {
			e.frame.Uninspected = append(e.frame.Uninspected, gate.Uninspected{Kind: kind, Path: string(e.path), Bytes: int(n.End - n.Start)})
			return
		}
	}
	path := e.pathString()
	lane, channel := e.Lane(e, i, name, path)
	t := gate.Text{Lane: lane, Segment: gate.Segment{Text: d.Text(i), Channel: channel, Path: path, Turn: -1}}
	if span, ok := e.ev.Span(gate.Span{Start: int(n.Start) + 1, End: int(n.End) - 1}); ok {
		t.Place = gate.Place{Span: span, Coding: gate.JSONString}
	} else {
		t.Place.Coding = gate.Nowhere
	}
	e.frame.Texts = append(e.frame.Texts, t)
}

// Base64ish says whether a JSON string holds only characters of base64, so that no words can hide.
func Base64ish(v []byte) bool {
	for _, b := range v {
		switch {
		case b >= 'a' && b <= 'z', b >= 'A' && b <= 'Z', b >= '0' && b <= '9', b == '+', b == '/', b == '=', b == '-', b == '_', b == '"':
		default:
			return false
		}
	}
	return true
}
