package wire

import (
	"encoding/base64"
	"strings"
	"unicode/utf8"

	"sallyport.dev/sallyport/internal/gate"
	"sallyport.dev/sallyport/internal/strictjson"
)

// Embedded reads content that stands in a JSON string: a data: URL, base64 with a media type, a
// remote URL or an id. Text in it is decoded and read; the rest is noted as kind.
func (w *Walk) Embedded(i int, media string, kind gate.UninspectedKind, s Scope) {
	v := w.Doc.Text(i)
	if len(v) == 0 {
		return
	}
	data := string(v)
	if rest, ok := strings.CutPrefix(data, "data:"); ok {
		head, payload, found := strings.Cut(rest, ",")
		if !found {
			w.Text(i, s)
			return
		}
		media, data = head, payload
		if !strings.HasSuffix(head, ";base64") {
			w.Text(i, s) // percent-encoded text is read as it stands
			w.Unread(kind, len(v))
			return
		}
		media = strings.TrimSuffix(head, ";base64")
	} else if strings.Contains(data, "://") {
		w.Text(i, s)
		w.Unread(gate.UninspectedReference, 0)
		return
	}
	raw, err := base64.StdEncoding.DecodeString(data)
	if err != nil {
		if raw, err = base64.RawURLEncoding.DecodeString(strings.TrimRight(data, "=")); err != nil {
			w.Text(i, s)
			w.Unread(kind, len(v))
			return
		}
	}
	if k, binary := sniff(raw); binary {
		if k != gate.UninspectedFile {
			kind = k
		}
		w.Unread(kind, len(raw))
		return
	}
	if utf8.Valid(raw) {
		s.Channel = gate.ChannelDocument
		w.Read(raw, s)
		if strings.HasPrefix(media, "image/") || strings.HasPrefix(media, "audio/") {
			w.Unread(kind, len(raw))
		}
		return
	}
	w.Unread(kind, len(raw))
}

// TokenIDs says whether the value at node i is a list of numbers, or a list of such lists.
func (w *Walk) TokenIDs(i int) bool {
	n := w.Doc.Nodes[i]
	if n.Kind != strictjson.Array || n.Len == 0 {
		return false
	}
	first := w.Doc.Nodes[i+1].Kind
	return first == strictjson.Number || first == strictjson.Array && w.TokenIDs(i+1)
}

// Names makes a set of its arguments, each of which may hold several names. It is for package
// variables: every name is also remembered for nameString.
func Names(lists ...string) map[string]bool {
	m := map[string]bool{}
	for _, l := range lists {
		for _, n := range strings.Fields(l) {
			m[n] = true
			known[n] = n
		}
	}
	return m
}

// known holds every name of every grammar; it does not change once the program runs.
var known = map[string]string{}

// nameString is a name as a string, without an allocation where a grammar knows it.
func nameString(name []byte) string {
	if s, ok := known[string(name)]; ok {
		return s
	}
	return string(name)
}

// Int is the number at node i, 0 where there is none.
func Int(d *strictjson.Doc, i int) int {
	if d.Kind(i) != strictjson.Number {
		return 0
	}
	n := 0
	for _, c := range d.Value(i) {
		if c < '0' || c > '9' || n > 1<<40 {
			break
		}
		n = n*10 + int(c-'0')
	}
	return n
}

// Whole is the value of a number that is written with digits alone, 0 for any other: 1e6 must not be
// taken for 1.
func Whole(d *strictjson.Doc, i int) int {
	if d.Kind(i) != strictjson.Number {
		return 0
	}
	for _, c := range d.Value(i) {
		if c < '0' || c > '9' {
			return 0
		}
	}
	return Int(d, i)
}
