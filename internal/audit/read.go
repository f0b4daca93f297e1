package audit

import (
	"errors"
	"iter"
	"os"
)

// Events reads the records of the log in dir in order, as far as they are written. It checks each
// record's own hash and its number; Verify checks the rest. After an error it ends.
func Events(dir string) iter.Seq2[*Event, error] {
	return func(yield func(*Event, error) bool) {
		r := &reader{dir: dir, seal: newSealer()}
		defer r.close()
		for {
			e, err := r.next()
			if err == errTail || !yield(e, err) || err != nil {
				return
			}
		}
	}
}

// reader reads records in order and can go on when there are more.
type reader struct {
	dir  string
	seal *sealer
	f    *os.File
	in   *lines
	n    int64 // records read
}

// end is a place in the record: a segment, and how many bytes of it.
type end struct {
	segment string
	size    int64
}

// tail is how far the record goes now. The room that a segment has taken in advance is counted with it, so
// some of what is written a moment later is before it.
func tail(dir string) (end, error) {
	firsts, err := segments(dir)
	if err != nil || len(firsts) == 0 {
		return end{}, err
	}
	last := segmentPath(dir, firsts[len(firsts)-1])
	st, err := os.Stat(last)
	if err != nil {
		return end{}, err
	}
	return end{last, st.Size()}, nil
}

// behind says whether everything before e was read.
func (r *reader) behind(e end) bool {
	if r.f == nil || e.segment == "" {
		return false
	}
	name := r.f.Name()
	return name > e.segment || name == e.segment && r.in.off >= e.size
}

// next returns the next record, or errTail when there is none yet.
func (r *reader) next() (*Event, error) {
	for {
		if r.f == nil {
			f, err := os.Open(segmentPath(r.dir, r.n+1))
			if errors.Is(err, os.ErrNotExist) {
				return nil, errTail
			}
			if err != nil {
				return nil, err
			}
			r.f, r.in = f, newLines(f, 0)
		}
		line, err := r.in.next()
		if err == errTail {
			r.in = newLines(r.f, r.in.off) // what it holds of the tail is old by the next time
			if line, err = r.in.next(); err == errTail {
				if _, serr := os.Stat(segmentPath(r.dir, r.n+1)); serr != nil {
					return nil, errTail
				}
				// There is a file that goes on; read what was written here before it began.
				r.in = newLines(r.f, r.in.off)
				if line, err = r.in.next(); err == errTail && r.in.off > 0 {
					r.close()
					continue
				}
			}
		}
		if err != nil {
			return nil, err
		}
		e, err := r.seal.decode(line)
		if err != nil {
			return nil, &badRecord{seq: r.n + 1, why: err.Error(), broken: true}
		}
		if e.Seq != r.n+1 {
			return nil, bad(r.n+1, "record %d stands in its place", e.Seq)
		}
		r.n++
		return e, nil
	}
}

func (r *reader) close() {
	if r.f != nil {
		r.f.Close()
		r.f = nil
	}
}
