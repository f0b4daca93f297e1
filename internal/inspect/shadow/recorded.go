package shadow

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"

	"sallyport.dev/sallyport/internal/gate"
	"sallyport.dev/sallyport/internal/inspect"
	"sallyport.dev/sallyport/internal/strictjson"
	"sallyport.dev/sallyport/internal/wire"
)

// RecordOptions is what a comparison of recorded calls needs. Both inspectors should have mode
// Monitor, so that a call is read to its end.
type RecordOptions struct {
	Active, Candidate *inspect.Inspector
	Dialects          map[gate.Dialect]wire.Dialect
}

// Reasons why a recorded call, or a side of it, is not compared.
const (
	skipNotKept  = "its content was not kept (audit.content)"
	skipRedacted = "what was found in it was cut out (audit.content: redacted)"
	skipCut      = "it was longer than the record keeps"
	skipForm     = "its content cannot be read again"
)

// Recorded reads an export of the record and tells each verdict that differs: the active detector of
// today beside the candidate, both under today's policy. Only calls whose content was kept can be
// compared; the others are counted with the reason.
func Recorded(ctx context.Context, in io.Reader, o RecordOptions, each func(Change) error) (sum Summary, err error) {
	sc := bufio.NewScanner(in)
	sc.Buffer(make([]byte, 64<<10), 64<<20)
	for n := 1; sc.Scan(); n++ {
		if err := ctx.Err(); err != nil {
			return sum, err
		}
		line := bytes.TrimSpace(sc.Bytes())
		if len(line) == 0 {
			continue
		}
		d, err := strictjson.Parse(line, strictjson.Limits{})
		if err != nil || d.Kind(strictjson.Root) != strictjson.Object {
			return sum, fmt.Errorf("line %d is no line of `sallyport audit export`", n)
		}
		if d.Str(d.Get(strictjson.Root, "kind")) != "call" {
			continue
		}
		if err := recorded(ctx, d, o, &sum, each); err != nil {
			return sum, err
		}
	}
	if err := sc.Err(); err != nil {
		return sum, fmt.Errorf("read export: %w", err)
	}
	return sum, nil
}

func recorded(ctx context.Context, d *strictjson.Doc, o RecordOptions, sum *Summary, each func(Change) error) error {
	str := func(at int, name string) string { return d.Str(d.Get(at, name)) }
	root := strictjson.Root
	e := &exchange{
		dialect: gate.Dialect(str(root, "dialect")), method: str(root, "method"), path: str(root, "path"),
		endpoint: str(root, "endpoint"), upstream: str(root, "upstream"), contentType: "application/json",
		principal: gate.Principal{ID: str(d.Get(root, "principal"), "id")}, status: 200,
	}
	if n, err := strconv.Atoi(string(value(d, d.Get(root, "status")))); err == nil {
		e.status = n
	}
	w := o.Dialects[e.dialect]
	content := d.Get(root, "content")
	request, why := kept(d, content, "request", gate.Request)
	if why == "" && w == nil {
		why = skipForm
	}
	if why != "" {
		sum.skip("request: "+why, 1)
		return nil // without the request, nobody knows whose answer it is
	}
	rt := w.Route(e.method, e.path)
	e.plain = []byte(request)
	var err error
	if e.reading, err = w.ReadRequest(rt, e.contentType, e.plain); err != nil {
		sum.skip("request: "+skipForm, 1)
		return nil
	}
	tell := func(dir gate.Direction, judge func(*inspect.Inspector) (Verdict, error)) error {
		a, aerr := judge(o.Active)
		c, cerr := judge(o.Candidate)
		if aerr != nil || cerr != nil {
			if err := ctx.Err(); err != nil {
				return err
			}
			sum.skip(dir.String()+": a detector failed", 1)
			return nil
		}
		if !sum.compare(a, c) {
			return nil
		}
		return each(Change{ID: str(root, "id"), Direction: dir.String(), Active: a, Candidate: c})
	}
	if err := tell(gate.Request, func(in *inspect.Inspector) (Verdict, error) { return judgeRequest(ctx, in, e) }); err != nil {
		return err
	}
	body, why := kept(d, content, "answer", gate.Answer)
	if why != "" {
		if str(root, "outcome") == string(gate.OutcomeCompleted) {
			sum.skip("answer: "+why, 1)
		}
		return nil
	}
	return tell(gate.Answer, func(in *inspect.Inspector) (Verdict, error) {
		if d.Kind(d.Get(root, "streamed")) == strictjson.True {
			return judgeStream(in, e, w.Stream(rt), []byte(body))
		}
		r, err := w.ReadAnswer(rt, e.status, "application/json", []byte(body))
		if err != nil {
			return Verdict{}, err
		}
		return judgeAnswer(ctx, in, e, r, []byte(body))
	})
}

func value(d *strictjson.Doc, at int) []byte {
	if at < 0 {
		return nil
	}
	return d.Value(at)
}

// kept is the text the record has of one side, or why it has none that can be compared.
func kept(d *strictjson.Doc, content int, side string, dir gate.Direction) (text, why string) {
	text = d.Str(d.Get(content, side))
	switch mode := d.Str(d.Get(content, "mode")); {
	case mode != "full" && mode != "redacted", text == "", strings.HasPrefix(text, "hmac:"):
		return "", skipNotKept
	case d.Get(content, side+"_cut") >= 0, strings.HasSuffix(text, "…"):
		return "", skipCut
	case mode == "redacted" && foundIn(d, dir):
		return "", skipRedacted
	}
	return text, ""
}

func foundIn(d *strictjson.Doc, dir gate.Direction) bool {
	for i := range d.Children(d.Get(strictjson.Root, "findings")) {
		if d.Str(d.Get(i, "direction")) == dir.String() {
			return true
		}
	}
	return false
}

// Honest says in words what a summary could not compare, one line each, in order.
func (s *Summary) Honest() (lines []string) {
	for _, why := range sortedKeys(s.Skipped) {
		lines = append(lines, fmt.Sprintf("%d not compared: %s", s.Skipped[why], why))
	}
	if s.Compared == 0 {
		lines = append(lines, "nothing was compared: this says nothing about the candidate")
	}
	return lines
}
