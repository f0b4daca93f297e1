// Package scan inspects rows of text offline: JSON lines in, JSON lines out, in the same order.
//
// A row is {"id","text","channel"?} or {"id","messages":[...]}, the latter in the shape of OpenAI's
// chat completions and read as a whole conversation. Members that are not named here are ignored. A
// row that cannot be read in one way only gives an error line with its number, and the run goes on.
// No line of the output holds text of a row, except its id.
package scan

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"sallyport.dev/sallyport/internal/gate"
	"sallyport.dev/sallyport/internal/inspect/detect"
	"sallyport.dev/sallyport/internal/inspect/policy"
)

// MaxLine is the longest line that is read, in bytes.
const MaxLine = 16 << 20

// Options is what a run needs.
type Options struct {
	Detector detect.Detector
	Policy   *policy.Policy // nil: the built-in policy; its rules for an upstream, a model or a key do not apply
	Channel  gate.Channel   // of texts that name none
	Workers  int            // 0: 2
}

func (o *Options) complete() error {
	if o.Detector == nil {
		return errors.New("scan: a detector is needed")
	}
	if o.Policy == nil {
		p, err := policy.New(policy.Options{})
		if err != nil {
			return fmt.Errorf("scan: make built-in policy: %w", err)
		}
		o.Policy = p
	}
	return nil
}

// Result is one line of the output.
type Result struct {
	ID      json.RawMessage `json:"id"`
	Verdict string          `json:"verdict"` // what the gateway would do with it in a request
	// Score is the highest score of an attack (injection, jailbreak, prompt extraction), 0 to 1,
	// whatever the policy says.
	Score    float64   `json:"score"`
	Findings []Finding `json:"findings"`
	// Uninspected names the kinds of parts that were not read, such as images.
	Uninspected []string `json:"uninspected,omitempty"`
}

// Finding is one finding of a row. Start and End are bytes of the decoded text, Path says of which
// in a conversation.
type Finding struct {
	Category gate.Category `json:"category"`
	Rule     string        `json:"rule"`
	Channel  string        `json:"channel"`
	Path     string        `json:"path,omitempty"`
	Start    int           `json:"start"`
	End      int           `json:"end"`
	View     string        `json:"view"`
	Score    float64       `json:"score"`
	OWASP    string        `json:"owasp,omitempty"` // OWASP Top 10 for LLM Applications
	ATLAS    string        `json:"atlas,omitempty"` // MITRE ATLAS technique
}

// Failure is the line that stands for a row that could not be read.
type Failure struct {
	Line  int    `json:"line"` // from 1
	Error string `json:"error"`
}

// job is one row on its way; its answer arrives on done.
type job struct {
	line int
	text []byte
	err  error
	done chan any
}

// Run scans in until its end. It returns an error only when in cannot be read, out cannot be
// written, or ctx ends.
func Run(ctx context.Context, in io.Reader, out io.Writer, o Options) error {
	if err := o.complete(); err != nil {
		return err
	}
	if o.Workers <= 0 {
		o.Workers = 2
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()

	// order keeps the rows in the order they came; work is the same rows, for whoever is free.
	order, work := make(chan *job, 4*o.Workers), make(chan *job)
	readErr := make(chan error, 1)
	go func() {
		defer close(order)
		defer close(work)
		readErr <- feed(ctx, in, order, work)
	}()
	for range o.Workers {
		go func() {
			r := newRow(o)
			for j := range work {
				j.done <- r.scan(j)
				j.text = nil
			}
		}()
	}
	if err := drain(ctx, out, order); err != nil {
		return err
	}
	return <-readErr
}

// feed cuts in into rows.
func feed(ctx context.Context, in io.Reader, order, work chan<- *job) error {
	br := bufio.NewReaderSize(in, 64<<10)
	for n := 1; ; n++ {
		text, long, err := readLine(br)
		if err != nil && err != io.EOF {
			return fmt.Errorf("scan: read line %d: %w", n, err)
		}
		if long || len(bytes.TrimSpace(text)) > 0 {
			j := &job{line: n, text: text, done: make(chan any, 1)}
			if long {
				j.text, j.err = nil, fmt.Errorf("the line is longer than %d bytes", MaxLine)
			}
			for _, c := range []chan<- *job{order, work} {
				select {
				case c <- j:
				case <-ctx.Done():
					return ctx.Err()
				}
			}
		}
		if err == io.EOF {
			return nil
		}
	}
}

// readLine reads to the end of a line, of which it keeps no more than MaxLine bytes.
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

// drain writes the answers in order, and lets them go whenever the next is not there yet.
func drain(ctx context.Context, out io.Writer, order <-chan *job) error {
	bw := bufio.NewWriterSize(out, 64<<10)
	enc := json.NewEncoder(bw)
	enc.SetEscapeHTML(false) // an id is echoed as it came
	for {
		var j *job
		var answer any
		select {
		case j = <-order:
		case <-ctx.Done(): // also where in gives nothing and does not end
			return errors.Join(ctx.Err(), bw.Flush())
		}
		if j == nil {
			break
		}
		select {
		case answer = <-j.done:
		default:
			if err := bw.Flush(); err != nil {
				return fmt.Errorf("scan: write: %w", err)
			}
			select {
			case answer = <-j.done:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		if err := enc.Encode(answer); err != nil {
			return fmt.Errorf("scan: write: %w", err)
		}
		if len(order) == 0 {
			if err := bw.Flush(); err != nil {
				return fmt.Errorf("scan: write: %w", err)
			}
		}
	}
	if err := bw.Flush(); err != nil {
		return fmt.Errorf("scan: write: %w", err)
	}
	return nil
}
