package evaluate

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"os"
	"slices"
	"strings"
	"sync/atomic"
)

// corpus is the rows of all files. It is read anew for each detector, so that no text is kept; what
// the figures need of a row is in its columns.
type corpus struct {
	o     *Options
	files []file
	dims  []*dimension // that are reported
	more  []*dimension // those, and source

	rows   []column
	pairs  map[uint64]uint32
	read   atomic.Int64 // compressed bytes of this pass
	size   int64        // of all files together; 0: unknown
	known  bool         // the columns are filled
	tallys []FileReport
}

type file struct {
	path      string
	report    bool // its rows may be reported
	threshold bool // its rows may set the threshold
}

// column is what is kept of a row.
type column struct {
	class     Class
	report    bool
	threshold bool
	verbatim  bool // a text, not a conversation
	latin     bool
	size      uint32 // bytes of text
	pair      uint32 // 0: none
	label     uint8
}

// dimension is a breakdown: a name and, per row, the number of its value.
type dimension struct {
	name   string
	parts  []string
	values []string
	index  map[string]uint32
	of     []uint32
}

// maxGroups bounds the values of one dimension; what comes later is together under "(more)".
const maxGroups = 4096

var labels = []Label{Benign, Injection, Jailbreak, HarmfulRequest}

func newCorpus(o *Options) (*corpus, error) {
	c := &corpus{o: o, pairs: map[uint64]uint32{}}
	if len(o.Files) == 0 {
		return nil, errors.New("no file of rows is named")
	}
	own := len(o.ThresholdFiles) == 0
	for _, f := range o.Files {
		c.files = append(c.files, file{f, true, own})
	}
	for _, f := range o.ThresholdFiles {
		c.files = append(c.files, file{f, false, true})
	}
	passes := len(o.Peers)
	if o.Scorer != nil {
		passes++
	}
	if len(o.Transforms)+len(o.Lookalikes) > 0 {
		passes++
	}
	for _, f := range c.files {
		if f.path == "-" {
			if passes > 1 {
				return nil, errors.New("standard input can be read once: name a file when there are peers or transforms")
			}
			c.size = -1
			continue
		}
		st, err := os.Stat(f.path)
		if err != nil {
			return nil, err
		}
		if !st.Mode().IsRegular() {
			if passes > 1 || st.IsDir() {
				return nil, fmt.Errorf("%s is not a regular file", Plain(f.path))
			}
			c.size = -1
		}
		if c.size >= 0 {
			c.size += st.Size()
		}
	}
	for _, by := range o.By {
		d := &dimension{name: by, parts: strings.Split(by, "+"), index: map[string]uint32{}}
		for _, p := range d.parts {
			if !slices.Contains(dimensions, p) {
				return nil, fmt.Errorf("breakdown by %q: want one of %s", by, strings.Join(dimensions, ", "))
			}
		}
		c.dims = append(c.dims, d)
	}
	c.more = c.dims
	if !slices.ContainsFunc(c.dims, func(d *dimension) bool { return d.name == "source" }) {
		c.more = append(slices.Clip(c.dims), &dimension{name: "source", parts: []string{"source"}, index: map[string]uint32{}})
	}
	return c, nil
}

// each calls yield for every row that counts, in order, with its number. The first time it fills the
// columns and tells of bad rows.
func (c *corpus) each(ctx context.Context, yield func(*Row) error) error {
	c.read.Store(0)
	next := 0
	for _, f := range c.files {
		tally := FileReport{Name: Readable(f.path)}
		err := c.eachOf(ctx, f, &tally, func(r *Row) error {
			r.index = next
			next++
			if c.known && next > len(c.rows) {
				return errors.New("the file grew while it was read")
			}
			return yield(r)
		})
		if err != nil {
			return fmt.Errorf("%s: %w", Plain(f.path), err)
		}
		if !c.known {
			c.tallys = append(c.tallys, tally)
		}
	}
	if c.known && next != len(c.rows) {
		return errors.New("a file changed while it was read")
	}
	c.known = true
	return nil
}

func (c *corpus) eachOf(ctx context.Context, f file, tally *FileReport, yield func(*Row) error) error {
	var raw io.Reader = os.Stdin
	if f.path != "-" {
		file, err := os.Open(f.path)
		if err != nil {
			return err
		}
		defer file.Close()
		raw = file
	}
	br := bufio.NewReaderSize(&counting{raw, &c.read}, 64<<10)
	if head, _ := br.Peek(2); bytes.Equal(head, []byte{0x1f, 0x8b}) {
		z, err := gzip.NewReader(br)
		if err != nil {
			return err
		}
		defer z.Close()
		br = bufio.NewReaderSize(z, 64<<10)
	}
	for n := 1; ; n++ {
		text, long, err := readLine(br)
		if err != nil && err != io.EOF {
			return fmt.Errorf("read line %d: %w", n, err)
		}
		if stop := ctx.Err(); stop != nil {
			return stop
		}
		end := err == io.EOF
		var r *Row
		switch {
		case long:
			err = fmt.Errorf("the line is longer than %d bytes", MaxLine)
		case len(bytes.TrimSpace(text)) == 0:
			err = nil
		default:
			r, err = parseRow(f.path, n, text)
		}
		switch {
		case err == io.EOF, err == nil && r == nil:
		case err != nil:
			tally.Bad++
			if !c.known && c.o.Problem != nil {
				c.o.Problem(Problem{File: f.path, Line: n, What: err.Error()})
			}
		default:
			tally.Rows++
			report, threshold := c.roles(f, r)
			if !report && !threshold {
				tally.Left++
				break
			}
			if !c.known {
				c.add(r, report, threshold)
			}
			if err := yield(r); err != nil {
				return err
			}
		}
		if end {
			return nil
		}
	}
}

// roles says what a row is for.
func (c *corpus) roles(f file, r *Row) (report, threshold bool) {
	report = f.report && c.o.Where.Match(r)
	threshold = f.threshold && r.Class() == Negative
	if c.o.ThresholdWhere.Empty() && f.report {
		return report, threshold && report
	}
	return report, threshold && c.o.ThresholdWhere.Match(r)
}

var pairSeed = maphash.MakeSeed()

func (c *corpus) add(r *Row, report, threshold bool) {
	col := column{class: r.Class(), report: report, threshold: threshold, verbatim: r.Messages == nil,
		latin: mostlyLatin(r.Text), size: uint32(len(r.Text)), label: uint8(slices.Index(labels, r.Label))}
	if r.Pair != "" && report {
		h := maphash.String(pairSeed, r.Source+"\x00"+r.Pair)
		if c.pairs[h] == 0 {
			c.pairs[h] = uint32(len(c.pairs) + 1)
		}
		col.pair = c.pairs[h]
	}
	c.rows = append(c.rows, col)
	for _, d := range c.more {
		d.add(r)
	}
}

func (d *dimension) add(r *Row) {
	values := make([]string, len(d.parts))
	for i, p := range d.parts {
		values[i] = r.value(p)
	}
	v := strings.Join(values, " + ")
	n, ok := d.index[v]
	if !ok {
		if len(d.values) >= maxGroups {
			v = "(more)"
			n, ok = d.index[v]
		}
		if !ok {
			n = uint32(len(d.values))
			d.values, d.index[v] = append(d.values, v), n
		}
	}
	d.of = append(d.of, n)
}

// mostlyLatin says that nine in ten letters are ASCII: a transform for ASCII letters keeps the text.
func mostlyLatin(text []byte) bool {
	ascii, other := 0, 0
	for _, b := range text {
		switch {
		case b|0x20 >= 'a' && b|0x20 <= 'z':
			ascii++
		case b >= 0xc0: // the first byte of a rune
			other++
		}
	}
	return ascii > 9*other
}

// done is how much of this pass is read.
func (c *corpus) done() float64 {
	if c.size <= 0 {
		return 0
	}
	return min(1, float64(c.read.Load())/float64(c.size))
}

type counting struct {
	r io.Reader
	n *atomic.Int64
}

func (c *counting) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n.Add(int64(n))
	return n, err
}
