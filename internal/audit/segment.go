package audit

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	segmentPrefix  = "seg-"
	segmentSuffix  = ".log"
	segmentVersion = 1
)

// segmentName is the file whose first record has that sequence number.
func segmentName(first int64) string {
	return fmt.Sprintf("%s%016d%s", segmentPrefix, first, segmentSuffix)
}

// segments lists the first sequence numbers of the files of a log, in order.
func segments(dir string) ([]int64, error) {
	es, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var firsts []int64
	for _, e := range es {
		digits, ok := strings.CutPrefix(e.Name(), segmentPrefix)
		if digits, ok = cutSuffix(digits, ok); !ok {
			continue
		}
		n, err := strconv.ParseInt(digits, 10, 64)
		if err != nil || segmentName(n) != e.Name() {
			return nil, fmt.Errorf("%s is not the name of a segment", e.Name())
		}
		firsts = append(firsts, n)
	}
	slices.Sort(firsts)
	return firsts, nil
}

func cutSuffix(s string, ok bool) (string, bool) {
	if !ok {
		return s, false
	}
	return strings.CutSuffix(s, segmentSuffix)
}

// appendSegment appends the members of a segment record.
func appendSegment(b []byte, origin string, t *tree, open []OpenCall) []byte {
	b = number(b, "version", segmentVersion)
	b = text(b, "origin", origin, maxName)
	for i, h := range t.hashes() {
		if i == 0 {
			b = append(b, `,"tree":["`...)
		} else {
			b = append(b, `,"`...)
		}
		b = base64.StdEncoding.AppendEncode(b, h[:])
		b = append(b, '"')
	}
	if t.n > 0 {
		b = append(b, ']')
	}
	if len(open) == 0 {
		return b
	}
	ids, seqs := append(b, `,"open":[`...), []byte(nil)
	for i, c := range open {
		if i > 0 {
			ids, seqs = append(ids, ','), append(seqs, ',')
		}
		ids = appendString(ids, c.ID)
		seqs = strconv.AppendInt(seqs, c.Seq, 10)
	}
	b = append(ids, `],"open_seq":[`...)
	return append(append(b, seqs...), ']')
}

// lines reads a segment line by line. Lines of any length up to maxLine are read; the slice is
// valid until the next call.
type lines struct {
	r     io.ReaderAt
	off   int64 // of the next line
	buf   []byte
	pos   int // start of the next line in buf
	tries int // how often the next line was read anew
}

// A line that is being written may be seen with the zeros of the room taken in advance still in it:
// a read beside a write is not atomic, page by page. No record holds a zero, so such a line is read
// anew; one that stays so was not written like that by us, and its hash will say so.
const (
	rereads     = 50
	rereadAfter = time.Millisecond
)

func newLines(r io.ReaderAt, off int64) *lines { return &lines{r: r, off: off} }

// errTail is the end of the whole lines: what follows, if anything, has no newline.
var errTail = errors.New("no more whole lines")

// next returns the next line without its newline.
func (l *lines) next() ([]byte, error) {
	searched := 0
	for {
		if i := bytes.IndexByte(l.buf[l.pos+searched:], '\n'); i >= 0 {
			line := l.buf[l.pos : l.pos+searched+i]
			if l.tries < rereads && bytes.IndexByte(line, 0) >= 0 {
				l.tries++
				time.Sleep(rereadAfter)
				l.buf, l.pos, searched = l.buf[:0], 0, 0
				if err := l.fill(); err != nil && err != io.EOF {
					return nil, err
				}
				continue
			}
			l.tries = 0
			l.pos += len(line) + 1
			l.off += int64(len(line)) + 1
			return line, nil
		}
		searched = len(l.buf) - l.pos
		if searched > maxLine {
			return nil, errTail
		}
		// Zeros are room taken in advance: no line starts with one.
		if searched > 0 && l.buf[l.pos] == 0 {
			return nil, errTail
		}
		if err := l.fill(); err != nil {
			if err == io.EOF {
				err = errTail
			}
			return nil, err
		}
	}
}

func (l *lines) fill() error {
	rest := copy(l.buf, l.buf[l.pos:])
	l.buf, l.pos = l.buf[:rest], 0
	if cap(l.buf)-rest < 64<<10 {
		l.buf = append(make([]byte, 0, max(256<<10, 2*cap(l.buf))), l.buf...)
	}
	n, err := l.r.ReadAt(l.buf[rest:cap(l.buf)], l.off+int64(rest))
	l.buf = l.buf[:rest+n]
	if n > 0 {
		return nil
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	return err
}

// zeroTail says whether nothing but zeros follows off, and how many other bytes do.
func zeroTail(r io.ReaderAt, off int64) (nonzero int64, err error) {
	buf := make([]byte, 256<<10)
	for last := off; ; {
		n, err := r.ReadAt(buf, last)
		if i := len(bytes.TrimRight(buf[:n], "\x00")); i > 0 {
			nonzero = last + int64(i) - off
		}
		last += int64(n)
		if err == io.EOF {
			return nonzero, nil
		}
		if err != nil {
			return nonzero, err
		}
	}
}

func segmentPath(dir string, first int64) string { return filepath.Join(dir, segmentName(first)) }
