package audit

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"golang.org/x/mod/sumdb/tlog"
)

// state is where a log stands after its newest record.
type state struct {
	tree  tree             // tree.n is the number of records, and the newest one's sequence number
	prev  tlog.Hash        // of the newest record
	last  time.Time        // when it was written
	batch int64            // its batch
	open  map[string]int64 // calls begun and not finished, with the number of their begin
	first int64            // first record of the file it stands in
	off   int64            // end of it in that file
}

// badRecord says which record is the first that is wrong.
type badRecord struct {
	seq    int64
	why    string
	broken bool // its bytes are no record, as opposed to a record that does not belong there
	found  *head
}

func (b *badRecord) Error() string { return fmt.Sprintf("record %d: %s", b.seq, b.why) }

func bad(seq int64, format string, args ...any) error {
	return &badRecord{seq: seq, why: fmt.Sprintf(format, args...)}
}

// apply takes the next record of the chain, or says what is wrong with it.
func (s *state) apply(h *head) error {
	want := s.tree.n + 1
	switch {
	case h.seq > want:
		return bad(want, "missing: record %d follows record %d", h.seq, s.tree.n)
	case h.seq < want:
		return bad(want, "record %d stands in its place", h.seq)
	case h.prev != s.prev:
		return bad(want, "it does not follow record %d: one of the two was replaced", s.tree.n)
	case h.batch < 1 || h.batch > h.seq || h.batch < s.batch:
		return bad(want, "impossible batch %d", h.batch)
	}
	switch h.kind {
	case kindBegin:
		if s.open[h.id] != 0 {
			return bad(want, "call %s begins a second time", h.id)
		}
		s.open[h.id] = h.seq
	case kindFinish:
		if s.open[h.id] != h.begun {
			return bad(want, "call %s did not begin at record %d", h.id, h.begun)
		}
		delete(s.open, h.id)
	}
	s.tree.add(h.leaf)
	s.prev, s.batch = h.leaf, h.batch
	return nil
}

// header takes the first record of a file. Where s already stands before it the two must agree;
// otherwise s is set by it.
func (s *state) header(e *Event, first int64, origin string, h *head) error {
	if e.Segment == nil {
		return bad(first, "the file does not start with a segment record")
	}
	g := e.Segment
	if g.Version != segmentVersion {
		return bad(first, "segment version %d is not known", g.Version)
	}
	if origin != "" && g.Origin != origin {
		return bad(first, "it belongs to another log")
	}
	if e.Seq != first {
		return bad(first, "record %d stands in its place", e.Seq)
	}
	if s.open != nil && first != s.tree.n+1 {
		return bad(s.tree.n+1, "missing: the next file starts with record %d", first)
	}
	t, ok := treeOf(first-1, g.Tree)
	if !ok {
		return bad(first, "its tree has the wrong size")
	}
	open := make(map[string]int64, len(g.Open))
	for _, c := range g.Open {
		open[c.ID] = c.Seq
	}
	if s.open == nil {
		s.tree, s.prev, s.open = t, e.Prev, open
	} else if !maps.Equal(open, s.open) {
		return bad(first, "its list of open calls is wrong")
	} else if !slices.Equal(t.hashes(), s.tree.hashes()) {
		return bad(first, "its tree is not that of the records before it")
	}
	s.first = first
	return s.apply(h)
}

// replay reads a file from s.off on and applies its records until one is wrong or only a tail
// without a newline is left, which is no error. each, when set, sees every applied record.
func (s *state) replay(r io.ReaderAt, first int64, origin string, each func(h *head, line []byte) error) error {
	sl := newSealer()
	in := newLines(r, s.off)
	for {
		line, err := in.next()
		if err == errTail {
			return nil
		}
		if err != nil {
			return err
		}
		h, err := sl.head(line)
		if err != nil {
			return &badRecord{seq: max(s.tree.n+1, first), why: err.Error(), broken: true}
		}
		if s.off == 0 {
			e, derr := sl.decode(line)
			if derr != nil {
				return bad(first, "%v", derr)
			}
			err = s.header(e, first, origin, &h)
		} else {
			err = s.apply(&h)
		}
		if err != nil {
			var wrong *badRecord
			if errors.As(err, &wrong) {
				wrong.found = &h
			}
			return err
		}
		s.off = in.off
		if t, terr := time.Parse(time.RFC3339Nano, string(h.stamp[:])); terr == nil {
			s.last = t
		}
		if each != nil {
			if err := each(&h, line); err != nil {
				return err
			}
		}
	}
}
