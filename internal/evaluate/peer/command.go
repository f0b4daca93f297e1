// Package peer lets other detectors be judged beside our own: a program that answers rows, or a file
// of scores that were made before.
package peer

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"

	"sallyport.dev/sallyport/internal/evaluate"
)

// maxLine is the longest answer that is read, in bytes.
const maxLine = 1 << 20

// Command is a program that reads JSON lines {"id","text","channel"} from standard input until its
// end and writes one JSON line for each, in any order: {"id", "score"?, "flagged"?, "ms"?}, or
// {"id", "error"}. The ids are ours. score is any number, higher is more of an attack; flagged is
// what the detector says at its own default; ms is how long it took. A line without an id may name
// its "version".
type Command struct {
	name, line string
	// Said, when set, is given what the program wrote to its standard error, at most the last 4 KB
	// of it. It may hold text of rows.
	Said    func(string)
	version string
}

// NewCommand makes a peer of a command line for the shell.
func NewCommand(name, line string) *Command { return &Command{name: name, line: line} }

// Name is the name that was given.
func (c *Command) Name() string { return c.name }

// Version is what the program said.
func (c *Command) Version() string { return c.version }

// Judge runs the program once for all rows.
func (c *Command) Judge(ctx context.Context, rows iter.Seq2[int, *evaluate.Row], answer func(int, evaluate.Answer)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-c", c.line)
	ownGroup(cmd)
	cmd.WaitDelay = 2 * time.Second
	said := &tail{most: 4 << 10}
	cmd.Stderr = said
	in, err := cmd.StdinPipe()
	if err != nil {
		return fmt.Errorf("start: %w", err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return fmt.Errorf("start: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start: %w", err)
	}
	var writing sync.WaitGroup
	writing.Go(func() {
		defer in.Close()
		w := bufio.NewWriterSize(in, 64<<10)
		e := json.NewEncoder(w)
		e.SetEscapeHTML(false)
		broken := false
		for i, row := range rows {
			if broken { // the program is gone; the rows are read to their end all the same
				continue
			}
			broken = e.Encode(question{strconv.Itoa(i), string(row.Text), row.Channel.String()}) != nil
		}
		if !broken {
			w.Flush()
		}
	})
	answers, bad, readErr := c.read(out, answer)
	if readErr != nil {
		cancel()
	}
	io.Copy(io.Discard, out)
	writing.Wait()
	waitErr := cmd.Wait()
	if c.Said != nil && said.Len() > 0 {
		c.Said(said.String())
	}
	switch {
	case readErr != nil:
		return readErr
	case waitErr != nil:
		return fmt.Errorf("ended with %w after %d answers", waitErr, answers)
	case bad > 0:
		return fmt.Errorf("%d of its lines are no answers", bad)
	}
	return nil
}

type question struct {
	ID      string `json:"id"`
	Text    string `json:"text"`
	Channel string `json:"channel"`
}

// read takes the answers.
func (c *Command) read(out io.Reader, answer func(int, evaluate.Answer)) (answers, bad int, err error) {
	sc := bufio.NewScanner(out)
	sc.Buffer(make([]byte, 64<<10), maxLine)
	for sc.Scan() {
		if len(bytes.TrimSpace(sc.Bytes())) == 0 {
			continue
		}
		l, ok := parseLine(sc.Bytes())
		switch i, numErr := strconv.Atoi(l.id); {
		case !ok:
			bad++
		case l.id == "":
			c.version = l.version
		case numErr != nil:
			bad++
		default:
			answers++
			answer(i, l.Answer)
		}
	}
	if errors.Is(sc.Err(), bufio.ErrTooLong) {
		return answers, bad, fmt.Errorf("one of its lines is longer than %d bytes", maxLine)
	}
	return answers, bad, sc.Err()
}

// tail keeps the last bytes that were written to it.
type tail struct {
	mu   sync.Mutex
	b    []byte
	most int
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.b = append(t.b, p...)
	if over := len(t.b) - t.most; over > 0 {
		t.b = t.b[over:]
	}
	return len(p), nil
}

func (t *tail) Len() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.b)
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.TrimSpace(string(t.b))
}
