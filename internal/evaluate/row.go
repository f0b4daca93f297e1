package evaluate

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"sallyport.dev/sallyport/internal/gate"
)

// MaxLine is the longest row that is read, in bytes.
const MaxLine = 16 << 20

// Label is what a row is said to be.
type Label string

// The labels.
const (
	Benign         Label = "benign"
	Injection      Label = "injection"       // override, leak or hijack, direct or indirect
	Jailbreak      Label = "jailbreak"       // a technique to lift the safety rules
	HarmfulRequest Label = "harmful_request" // a plain harmful question without a technique
)

// Row is one labelled text or conversation.
type Row struct {
	File, ID string
	Line     int
	// Text is the text, or the texts of Messages one after the other.
	Text     []byte
	Messages []byte // a JSON array in the shape of OpenAI's chat completions; nil: Text is judged
	Channel  gate.Channel
	Label    Label

	Lang, Source, Family, Licence, DevKind string
	// Pair joins rows that are the same text with and without an attack.
	Pair string

	index int
}

// Class is the side a row counts on.
type Class uint8

// The classes.
const (
	Positive Class = iota // an attack
	Negative              // benign
	Neutral               // a plain harmful request
	Trusted               // of a system or developer channel, whatever it says
	classes
)

// Class follows from channel and label.
func (r *Row) Class() Class {
	switch {
	case r.Messages == nil && r.Channel.Trust() == gate.TrustOperator:
		return Trusted
	case r.Label == Benign:
		return Negative
	case r.Label == HarmfulRequest:
		return Neutral
	}
	return Positive
}

// dimensions are what a report can be broken down by.
var dimensions = []string{"label", "channel", "lang", "length", "dev_kind", "source", "family", "lic", "class"}

// Dimensions lists what a row can be grouped and filtered by.
func Dimensions() []string { return append([]string(nil), dimensions...) }

// value is the row's value in a dimension; "-" stands for none.
func (r *Row) value(dimension string) string {
	v := ""
	switch dimension {
	case "label":
		v = string(r.Label)
	case "channel":
		if v = r.Channel.String(); r.Messages != nil {
			v = "conversation"
		}
	case "lang":
		v = r.Lang
	case "length":
		v = lengthBucket(len(r.Text))
	case "dev_kind":
		v = r.DevKind
	case "source":
		v = r.Source
	case "family":
		v = r.Family
	case "lic":
		v = r.Licence
	case "class":
		v = [...]string{"attack", "benign", "harmful_request", "trusted"}[r.Class()]
	}
	if v == "" {
		return "-"
	}
	return v
}

// Upper ends of the length buckets, in bytes of text.
var lengths = []struct {
	below int
	name  string
}{{128, "<128 B"}, {512, "128-511 B"}, {2048, "0.5-2 KB"}, {8192, "2-8 KB"}, {32768, "8-32 KB"}}

const longest = ">=32 KB"

func lengthBucket(n int) string {
	for _, l := range lengths {
		if n < l.below {
			return l.name
		}
	}
	return longest
}

// line is a row as it stands in the file. Members that are not named here are ignored.
type line struct {
	ID       jsontext.Value `json:"id"`
	Text     *string        `json:"text"`
	Messages jsontext.Value `json:"messages"`
	Label    string         `json:"label"`
	Channel  string         `json:"channel"`
	Lang     string         `json:"lang"`
	Source   string         `json:"source"`
	Family   string         `json:"family"`
	Licence  string         `json:"lic"`
	DevKind  string         `json:"dev_kind"`
	Pair     string         `json:"pair"`
}

// maxValue bounds what is kept of a group's name, in bytes.
const maxValue = 120

// parseRow reads one line. Its errors name a place, never what stands there.
func parseRow(file string, n int, text []byte) (*Row, error) {
	var l line
	if err := json.Unmarshal(text, &l); err != nil {
		return nil, explain(err)
	}
	r := &Row{File: file, Line: n, Label: Label(l.Label), Lang: l.Lang, Source: l.Source, Family: l.Family, Licence: l.Licence, DevKind: l.DevKind, Pair: l.Pair}
	for _, s := range []*string{&r.Lang, &r.Source, &r.Family, &r.Licence, &r.DevKind} {
		if len(*s) > maxValue {
			*s = strings.ToValidUTF8((*s)[:maxValue], "") + "..."
		}
	}
	if r.Source == "" { // as the trainer takes it
		r.Source, _, _ = strings.Cut(filepath.Base(file), ".")
	}
	switch l.ID.Kind() {
	case '"':
		id, err := jsontext.AppendUnquote(nil, l.ID)
		if err != nil {
			return nil, errors.New(`"id" is not a valid string`)
		}
		r.ID = string(id)
	case '0':
		r.ID = string(l.ID)
	default:
		return nil, errors.New(`"id" must be there and be a string or a number`)
	}
	switch r.Label {
	case Benign, Injection, Jailbreak, HarmfulRequest:
	default:
		return nil, fmt.Errorf(`"label" must be one of %v`, []Label{Benign, Injection, Jailbreak, HarmfulRequest})
	}
	if l.Channel != "" {
		var ok bool
		if r.Channel, ok = gate.ParseChannel(l.Channel); !ok {
			return nil, fmt.Errorf(`"channel" must be one of %v`, gate.Channels())
		}
	}
	messages := l.Messages.Kind() == '['
	switch {
	case l.Messages != nil && !messages && l.Messages.Kind() != 'n':
		return nil, errors.New(`"messages" must be an array`)
	case messages == (l.Text != nil):
		return nil, errors.New(`want either "text" or "messages"`)
	case messages:
		r.Messages = l.Messages
		var b []byte
		if err := texts(&b, l.Messages); err != nil {
			return nil, errors.New(`"messages" cannot be read`)
		}
		r.Text = b
	default:
		r.Text = []byte(*l.Text)
	}
	return r, nil
}

// texts gathers the strings that stand under "content", "text" and "arguments" in messages, for
// length, excerpts and peers that read nothing but text.
func texts(b *[]byte, v jsontext.Value) error {
	d := jsontext.NewDecoder(bytes.NewReader(v))
	var name string
	for {
		t, err := d.ReadToken()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if k := t.Kind(); k != '"' {
			continue
		}
		if kind, n := d.StackIndex(d.StackDepth()); kind == '{' && n%2 == 1 {
			name = t.String()
			continue
		}
		if name == "content" || name == "text" || name == "arguments" {
			if len(*b) > 0 {
				*b = append(*b, '\n')
			}
			*b = append(*b, t.String()...)
		}
	}
}

// explain says where a line is not a row, without a word of it.
func explain(err error) error {
	var sem *json.SemanticError
	if errors.As(err, &sem) {
		if sem.JSONPointer == "" {
			return errors.New("want one JSON object on the line")
		}
		return fmt.Errorf("%q is of the wrong kind", strings.TrimPrefix(string(sem.JSONPointer), "/"))
	}
	var syn *jsontext.SyntacticError
	if errors.As(err, &syn) {
		return fmt.Errorf("not valid JSON near byte %d", syn.ByteOffset)
	}
	return errors.New("not one JSON object")
}

// readLine reads to the end of a line, of which it keeps no more than MaxLine bytes. At the end of
// the input err is io.EOF, and there may be a last line.
func readLine(br *bufio.Reader) (line []byte, long bool, err error) {
	for {
		piece, err := br.ReadSlice('\n')
		if len(line)+len(piece) > MaxLine+1 {
			long, line = true, nil
		} else if !long {
			line = append(line, piece...)
		}
		if err != bufio.ErrBufferFull {
			return line, long, err
		}
	}
}
