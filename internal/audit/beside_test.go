package audit

import (
	"bytes"
	"context"
	"io"
	"testing"
	"testing/synctest"
)

// halfSeen is a file whose first reads still find zeros where data is on its way.
type halfSeen struct {
	data     []byte
	from, to int
	reads    int // that see the zeros
}

func (h *halfSeen) ReadAt(p []byte, off int64) (int, error) {
	d := bytes.Clone(h.data)
	if h.reads > 0 {
		h.reads--
		clear(d[h.from:h.to])
	}
	return bytes.NewReader(d).ReadAt(p, off)
}

// What is read beside the writer is read whole: a page that was not there yet is asked for again.
func TestLineSeenWhileItIsWritten(t *testing.T) {
	data := []byte("first\nsecond line\nthird\n\x00\x00\x00")
	for from := 6; from < 17; from++ {
		for to := from + 1; to <= 17; to++ {
			synctest.Test(t, func(t *testing.T) {
				l := newLines(&halfSeen{data: data, from: from, to: to, reads: 3}, 0)
				for _, want := range []string{"first", "second line", "third"} {
					if line, err := l.next(); string(line) != want || err != nil {
						t.Fatalf("zeros %d..%d: %q, %v; want %q", from, to, line, err, want)
					}
				}
				if _, err := l.next(); err != errTail {
					t.Fatalf("after the last line: %v", err)
				}
			})
		}
	}
}

// Zeros that stay are no line of ours, and are handed on for their hash to be found wrong.
func TestZerosThatStay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLines(bytes.NewReader([]byte("a\x00b\nnext\n")), 0)
		if line, err := l.next(); string(line) != "a\x00b" || err != nil {
			t.Fatalf("%q, %v", line, err)
		}
		if line, err := l.next(); string(line) != "next" || err != nil {
			t.Fatalf("%q, %v", line, err)
		}
	})
}

// An export beside a busy writer sees no broken record.
func TestExportBesideTheWriter(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, Options{})
	// So much is written beside each export, and no more: each reads from the beginning, and would never
	// end beside a writer that is faster.
	more := make(chan struct{}, 8)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range more {
			fill(t, l, 20)
		}
	}()
	rounds := 20
	if testing.Short() {
		rounds = 10
	}
	for range rounds {
		for range cap(more) {
			more <- struct{}{}
		}
		if err := Export(context.Background(), dir, io.Discard, ExportOptions{}); err != nil {
			t.Error(err)
			break
		}
	}
	close(more)
	<-done
	closed(t, l)
}
