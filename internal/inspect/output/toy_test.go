package output

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"sallyport.dev/sallyport/internal/gate"
	"sallyport.dev/sallyport/internal/inspect/detect"
	"sallyport.dev/sallyport/internal/inspect/policy"
	"sallyport.dev/sallyport/internal/wire"
)

// The window's own properties are tested with a dialect and a detector that are as plain as can be;
// the real ones are in real_test.go.

// literals finds fixed strings. "!..." blocks (injection), "?..." is masked (secret), "~..." is
// flagged (injection in a system channel is).
type literals []string

func (ls literals) Version() string { return "literals" }

func (ls literals) Detect(seg *gate.Segment) []gate.Finding {
	return ls.in(string(seg.Text), 0, seg)
}

func (ls literals) in(text string, from int, seg *gate.Segment) (fs []gate.Finding) {
	for end := 1; end <= len(text); end++ {
		for _, l := range ls {
			if strings.HasSuffix(text[:end], l) && end > from {
				c := gate.Secret
				if l[0] == '!' {
					c = gate.Injection
				}
				fs = append(fs, gate.Finding{Category: c, Rule: l, Start: end - len(l), End: end, View: "raw", Score: 1, Channel: seg.Channel, Path: seg.Path})
			}
		}
	}
	return fs
}

func (ls literals) Lane(seg *gate.Segment) detect.Lane { return &litLane{ls: ls, seg: *seg} }

type litLane struct {
	ls   literals
	seg  gate.Segment
	text string
	told int
}

func (l *litLane) Write(p []byte) ([]gate.Finding, int) {
	l.text += string(p)
	fs := l.ls.in(l.text, l.told, &l.seg)
	l.told = len(l.text)
	open := 0
	for _, lit := range l.ls {
		for n := min(len(lit)-1, len(l.text)); n > open; n-- {
			if strings.HasSuffix(l.text, lit[:n]) {
				open = n
			}
		}
	}
	return fs, len(l.text) - open
}
func (l *litLane) Expire() ([]gate.Finding, int) { return nil, len(l.text) }
func (l *litLane) Close() []gate.Finding         { return nil }

// toy is a dialect: {"x":[["lane","text"],...],"close":["lane"],"skip":"image"}. A lane that ends in
// "#inner" or begins with "?" stands nowhere.
type toy struct{ stopped *gate.Problem }

func (d *toy) Stop(p *gate.Problem) []byte {
	d.stopped = p
	return []byte("data: stop\n\n")
}
func (d *toy) Fail(*gate.Problem) []byte { return []byte("data: fail\n\n") }
func (d *toy) Account() wire.Account     { return wire.Account{} }

func (d *toy) Read(raw []byte) (fr gate.Frame, err error) {
	fr.Raw = raw
	body := bytes.TrimSuffix(bytes.TrimPrefix(raw, []byte("data: ")), []byte("\n\n"))
	base := len("data: ")
	if bytes.Equal(body, []byte("[DONE]")) {
		fr.Closes, fr.Last = []string{"*"}, true
		return fr, nil
	}
	dec := jsontext.NewDecoder(bytes.NewReader(body))
	var strs []string
	var at []gate.Span
	for {
		t, err := dec.ReadToken()
		if err != nil {
			if dec.StackDepth() == 0 && len(strs) > 0 {
				break
			}
			return fr, errors.New("not JSON")
		}
		if t.Kind() == '"' {
			v := t.String()
			end := int(dec.InputOffset())
			q, _ := dec.StackIndex(dec.StackDepth())
			_ = q
			strs = append(strs, v)
			start := end - 1
			for start--; body[start] != '"' || body[start-1] == '\\'; start-- {
			}
			at = append(at, gate.Span{Start: base + start + 1, End: base + end - 1})
		}
	}
	if strs[0] == "panic" {
		panic(errors.New("secret text of the caller"))
	}
	mode := ""
	for i := 0; i < len(strs); i++ {
		switch strs[i] {
		case "x", "close", "skip":
			mode = strs[i]
			continue
		}
		switch mode {
		case "x":
			t := gate.Text{Lane: strs[i]}
			i++
			t.Text, t.Path, t.Channel = []byte(strs[i]), "lane["+t.Lane+"]", gate.ChannelAssistant
			t.Place = gate.Place{Span: at[i], Coding: gate.JSONString}
			if strings.HasSuffix(t.Lane, "#inner") || strings.HasPrefix(t.Lane, "?") {
				t.Place = gate.Place{Coding: gate.Nowhere}
			}
			if strings.HasPrefix(t.Lane, "sys") {
				t.Channel = gate.ChannelSystem
			}
			fr.Texts = append(fr.Texts, t)
		case "close":
			fr.Closes = append(fr.Closes, strs[i])
		case "skip":
			k, _ := gate.ParseUninspectedKind(strs[i])
			fr.Uninspected = append(fr.Uninspected, gate.Uninspected{Kind: k, Path: "part", Bytes: 10})
		}
	}
	return fr, nil
}

// f makes a frame of pairs of lane and text.
func f(pairs ...string) []byte {
	var b strings.Builder
	b.WriteString(`data: {"x":[`)
	for i := 0; i < len(pairs); i += 2 {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, `[%s,%s]`, quote(pairs[i]), quote(pairs[i+1]))
	}
	b.WriteString("]}\n\n")
	return []byte(b.String())
}

func quote(s string) string {
	b, err := jsontext.AppendQuote(nil, s)
	if err != nil {
		return strconv.Quote(s)
	}
	return string(b)
}

func closing(lane string) []byte { return []byte(`data: {"close":["` + lane + `"]}` + "\n\n") }

var done = []byte("data: [DONE]\n\n")

var t0 = time.Unix(1_000_000, 0)

type rig struct {
	t    testing.TB
	s    *Stream
	rec  *gate.Record
	ws   *toy
	out  bytes.Buffer
	end  *End
	err  error
	opts Options
}

func newRig(t testing.TB, lits ...string) *rig {
	r := &rig{t: t, rec: &gate.Record{}, ws: &toy{}, opts: Options{
		Detector: literals(lits), HoldTime: 5 * time.Second, HoldBytes: 4096,
		Uninspected: func(k gate.UninspectedKind) gate.Action {
			if k == gate.UninspectedAudio {
				return gate.Block
			}
			return gate.Flag
		},
	}}
	p, err := policy.New(policy.Options{})
	if err != nil {
		t.Fatal(err)
	}
	r.s = New(&r.opts, p.Base(), r.rec, r.ws)
	return r
}

func (r *rig) take(out []byte, end *End, err error) string {
	if r.end != nil || r.err != nil {
		if len(out) > 0 || end != nil || err != nil {
			r.t.Fatalf("after the end: %q, %v, %v", out, end, err)
		}
	}
	r.out.Write(out)
	if end != nil {
		r.end = end
		r.out.Write(end.Bytes)
	}
	if err != nil {
		r.err = err
	}
	return string(out)
}

// push gives a frame in a buffer that is overwritten afterwards, as a splitter's is.
func (r *rig) push(frame []byte) string {
	b := bytes.Clone(frame)
	out, end, err := r.s.Push(b, t0)
	got := r.take(out, end, err)
	for i := range b {
		b[i] = 'X'
	}
	return got
}

func (r *rig) close() string { return r.take(r.s.Close(t0)) }

func frames(fs ...[]byte) string { return string(bytes.Join(fs, nil)) }
