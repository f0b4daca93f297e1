package shadow

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"sallyport.dev/sallyport/internal/gate"
	"sallyport.dev/sallyport/internal/inspect/detect"
	"sallyport.dev/sallyport/internal/inspect/policy"
	"sallyport.dev/sallyport/internal/inspect/scan"
)

// RowOptions is what a comparison of rows needs.
type RowOptions struct {
	Active, Candidate detect.Detector
	Policy            *policy.Policy // nil: the built-in policy
	Channel           gate.Channel   // of texts that name none
}

// chunk is how many bytes of rows are read by one detector and then by the other.
const chunk = 1 << 20

// Rows reads rows as scan does, with both detectors, and tells each verdict that differs, in the order
// of the rows.
func Rows(ctx context.Context, in io.Reader, o RowOptions, each func(Change) error) (sum Summary, err error) {
	br := bufio.NewReaderSize(in, 64<<10)
	first := 1
	for {
		var b []byte
		lines, end := 0, false
		for len(b) < chunk && !end {
			line, rerr := limitedLine(br)
			if rerr != nil && !errors.Is(rerr, io.EOF) {
				return sum, fmt.Errorf("read rows: %w", rerr)
			}
			end = rerr != nil
			if len(line) > 0 || !end {
				b = append(append(b, line...), '\n')
				lines++
			}
		}
		if err := compareRows(ctx, b, first, o, &sum, each); err != nil || end {
			return sum, err
		}
		first += lines
	}
}

// limitedLine reads a line without its end. Of one that is too long it keeps a piece that is no row.
func limitedLine(br *bufio.Reader) (line []byte, err error) {
	for {
		piece, err := br.ReadSlice('\n')
		if len(line) <= scan.MaxLine {
			line = append(line, piece...)
		}
		if err == bufio.ErrBufferFull {
			continue
		}
		if len(line) > scan.MaxLine {
			line = []byte("(too long)")
		}
		return bytes.TrimSuffix(line, []byte("\n")), err
	}
}

func compareRows(ctx context.Context, b []byte, first int, o RowOptions, sum *Summary, each func(Change) error) error {
	var out [2]bytes.Buffer
	for i, d := range []detect.Detector{o.Active, o.Candidate} {
		if err := scan.Run(ctx, bytes.NewReader(b), &out[i], scan.Options{Detector: d, Policy: o.Policy, Channel: o.Channel}); err != nil {
			return err
		}
	}
	a, c := bufio.NewScanner(&out[0]), bufio.NewScanner(&out[1])
	a.Buffer(nil, 64<<20)
	c.Buffer(nil, 64<<20)
	numbers := rowNumbers(b, first)
	for n := 0; a.Scan() && c.Scan(); n++ {
		av, id, aerr := rowVerdict(a.Bytes())
		cv, _, cerr := rowVerdict(c.Bytes())
		if aerr != nil || cerr != nil {
			sum.skip("a row that cannot be read", 1)
			continue
		}
		if sum.compare(av, cv) {
			ch := Change{ID: id, Active: av, Candidate: cv}
			if n < len(numbers) {
				ch.Line = numbers[n]
			}
			if err := each(ch); err != nil {
				return err
			}
		}
	}
	return errors.Join(a.Err(), c.Err())
}

// rowNumbers are the numbers of the lines that are rows: scan looks over blank ones.
func rowNumbers(b []byte, first int) (ns []int) {
	for line := range bytes.Lines(b) {
		if len(bytes.TrimSpace(line)) > 0 {
			ns = append(ns, first)
		}
		first++
	}
	return ns
}

func rowVerdict(line []byte) (v Verdict, id string, err error) {
	var r struct {
		ID       jsontext.Value `json:"id"`
		Verdict  string         `json:"verdict"`
		Findings []struct {
			Rule string `json:"rule"`
		} `json:"findings"`
	}
	if err := json.Unmarshal(line, &r); err != nil {
		return v, "", err
	}
	if r.Verdict == "" {
		return v, "", errors.New("a row that cannot be read")
	}
	v.Verdict = r.Verdict
	for _, f := range r.Findings {
		v.add(f.Rule)
	}
	slices.Sort(v.Rules)
	if r.ID.Kind() == '"' {
		text, err := jsontext.AppendUnquote(nil, r.ID)
		return v, string(text), err
	}
	return v, string(r.ID), nil
}
