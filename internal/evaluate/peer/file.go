package peer

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"iter"
	"maps"
	"os"

	"sallyport.dev/sallyport/internal/evaluate"
)

// File is scores that were made before: JSON lines {"id", "score"?, "flagged"?, "verdict"?, "ms"?},
// such as `sallyport scan` writes. They belong to rows by id; a second row with the same id has
// none.
type File struct {
	name   string
	scores map[string]evaluate.Answer
	bad    int
}

// NewFile reads a file of scores.
func NewFile(name, path string) (*File, error) {
	scores, bad, err := read(path)
	if err != nil {
		return nil, err
	}
	return &File{name, scores, bad}, nil
}

// Name is the name that was given.
func (f *File) Name() string { return f.name }

// Version is empty.
func (f *File) Version() string { return "" }

// Judge looks every row up.
func (f *File) Judge(_ context.Context, rows iter.Seq2[int, *evaluate.Row], answer func(int, evaluate.Answer)) error {
	scores := maps.Clone(f.scores)
	for i, row := range rows {
		if a, ok := scores[row.ID]; ok {
			delete(scores, row.ID)
			answer(i, a)
		}
	}
	if f.bad > 0 {
		return fmt.Errorf("%d of its lines are no scores, or name an id again", f.bad)
	}
	return nil
}

func read(path string) (scores map[string]evaluate.Answer, bad int, err error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, 0, err
	}
	defer file.Close()
	scores = map[string]evaluate.Answer{}
	br := bufio.NewReaderSize(file, maxLine)
	for {
		line, err := br.ReadSlice('\n')
		if err == bufio.ErrBufferFull { // findings and all: longer than any line we know
			return nil, 0, fmt.Errorf("one of its lines is longer than %d bytes", maxLine)
		}
		if err != nil && err != io.EOF {
			return nil, 0, fmt.Errorf("read scores: %w", err)
		}
		if len(bytes.TrimSpace(line)) > 0 {
			p, ok := parseLine(line)
			if _, twice := scores[p.id]; !ok || p.id == "" || twice {
				bad++
			} else {
				scores[p.id] = p.Answer
			}
		}
		if err == io.EOF {
			return scores, bad, nil
		}
	}
}
