package audit

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// VerifyOptions say what is known about a log from elsewhere. Without either, whoever can write the
// directory can make up a whole new history with a new key.
type VerifyOptions struct {
	// Checkpoint is one that was kept elsewhere (see Options.OnCheckpoint). The log must contain
	// everything it covers, unchanged.
	Checkpoint []byte
	// PublicKey is the key that must have signed, as Log.PublicKey gives it; empty: that of the
	// directory, which a kept checkpoint must name.
	PublicKey string
}

// Report is what Verify found.
type Report struct {
	OK bool `json:"ok"`
	// FirstBad is the sequence number of the first record that is wrong or missing; 0: none. Where
	// records were replaced by a consistent forgery only a range can be known: FirstBad..LastBad.
	FirstBad int64  `json:"first_bad,omitempty"`
	LastBad  int64  `json:"last_bad,omitempty"`
	Problem  string `json:"problem,omitempty"` // what is wrong with it
	Records  int64  `json:"records"`           // good records, from the first
	Signed   int64  `json:"signed"`            // of them, covered by a signed checkpoint
	Calls    int64  `json:"calls"`             // calls begun, or ended without having begun
	InFlight int64  `json:"in_flight"`         // begun, not finished
	Gaps     int64  `json:"gaps"`              // gap records
	Tail     int64  `json:"tail"`              // bytes of an unfinished write at the end; nothing of it was acknowledged
	Origin   string `json:"origin"`            // name of the log, bound to its key
}

func (r *Report) fail(first, last int64, format string, args ...any) {
	if r.Problem != "" {
		return
	}
	r.FirstBad, r.LastBad, r.Problem = first, max(first, last), fmt.Sprintf(format, args...)
}

// Verify reads the log in dir from its first byte and checks every hash, the chain, the sequence,
// the pairing of begin and finish, and the Merkle root at every signed checkpoint. It needs nothing
// but the directory, changes nothing, and may run beside the writer. An error means that it could
// not read; what it found wrong is in the report.
func Verify(dir string, o VerifyOptions) (Report, error) {
	v := &verification{dir: dir}
	if err := v.keys(o); err != nil {
		return v.r, err
	}
	if v.r.Problem == "" {
		if err := v.records(); err != nil {
			return v.r, err
		}
	}
	v.r.OK = v.r.Problem == ""
	return v.r, nil
}

type verification struct {
	dir      string
	r        Report
	verifier note.Verifier
	marks    []checkpoint // stored and kept, by size
	markErr  error        // what is wrong with the stored ones after the last of marks
	checked  int          // marks that were compared
	st       state
	before   tlog.Hash // hash of the record before the newest
}

// keys reads the key and the checkpoints. The checkpoints come first: they cover what was durable
// when they were read, and so what is read of the records afterwards.
func (v *verification) keys(o VerifyOptions) error {
	vkey := strings.TrimSpace(o.PublicKey)
	stored, err := os.ReadFile(filepath.Join(v.dir, publicFile))
	if err != nil && (vkey == "" || !errors.Is(err, os.ErrNotExist)) {
		return err
	}
	own := strings.TrimSpace(string(stored))
	if vkey == "" {
		vkey = own
	} else if _, err := verifierOf(vkey); err != nil {
		return err
	} else if own != vkey {
		v.r.fail(1, 0, "the log's key is not the one that was kept")
		return nil
	}
	if v.verifier, err = verifierOf(vkey); err != nil {
		v.r.fail(1, 0, "%s: %v", publicFile, err)
		return nil
	}
	v.r.Origin = v.verifier.Name()
	v.marks, _, v.markErr = loadCheckpoints(filepath.Join(v.dir, checkpointFile), v.verifier)
	if errors.Is(v.markErr, os.ErrNotExist) || v.markErr == nil && len(v.marks) == 0 {
		v.markErr = fmt.Errorf("there are no checkpoints")
	}
	if len(o.Checkpoint) == 0 {
		return nil
	}
	kept, err := openCheckpoint(o.Checkpoint, v.verifier)
	if err != nil {
		v.r.fail(1, 0, "the kept checkpoint of %q is not signed by this log's key: %v", capped(originIn(o.Checkpoint), maxName), err)
		return nil
	}
	v.marks = append(v.marks, kept)
	slices.SortStableFunc(v.marks, func(a, b checkpoint) int {
		switch {
		case a.size < b.size:
			return -1
		case a.size > b.size:
			return 1
		}
		return 0
	})
	return nil
}

func (v *verification) records() error {
	firsts, err := segments(v.dir)
	if err != nil {
		return err
	}
	if len(firsts) > 0 && firsts[0] != 1 {
		v.r.fail(1, firsts[0]-1, "missing: the first file starts with record %d", firsts[0])
		return nil
	}
	v.st.open = map[string]int64{}
	v.compare()
	for i := 0; i < len(firsts) && v.r.Problem == ""; i++ {
		if i > 0 {
			v.st.off = 0
		}
		last := i == len(firsts)-1
		if err := v.file(firsts[i], last); err != nil {
			return err
		}
		if !last {
			continue
		}
		// A writer may have gone on to a new file meanwhile; then this one is whole now.
		now, err := segments(v.dir)
		if err != nil {
			return err
		}
		if len(now) > len(firsts) {
			firsts = now
			if v.r.Problem == "" {
				if err := v.file(firsts[i], false); err != nil {
					return err
				}
			}
		}
	}
	v.r.Records, v.r.InFlight = v.st.tree.n, int64(len(v.st.open))
	if v.r.Problem == "" && v.checked < len(v.marks) {
		m := v.marks[len(v.marks)-1]
		v.r.fail(v.st.tree.n+1, m.size, "missing: a checkpoint of %s covers %d records", m.time.Format(time.RFC3339), m.size)
	}
	if v.r.Problem == "" && v.markErr != nil {
		v.r.fail(v.r.Signed+1, v.st.tree.n, "not covered by a good checkpoint: %v", v.markErr)
	}
	return nil
}

// file reads one file from v.st.off on. What looks broken at the end of the last one may be a write
// that is going on, and is looked at again.
func (v *verification) file(first int64, last bool) error {
	f, err := os.Open(segmentPath(v.dir, first))
	if err != nil {
		return err
	}
	defer f.Close()
	for try := 0; ; try++ {
		err = v.st.replay(f, first, v.r.Origin, v.each)
		var wrong *badRecord
		if !errors.As(err, &wrong) {
			break
		}
		if last && wrong.broken && try < 3 {
			time.Sleep(10 * time.Millisecond)
			continue
		}
		v.blame(f, wrong)
		return nil
	}
	if v.r.Problem != "" {
		return nil
	}
	if err != nil {
		return err
	}
	if v.st.off == 0 && !last {
		v.r.fail(first, 0, "missing: the file has no records")
		return nil
	}
	v.r.Tail, err = zeroTail(f, v.st.off)
	if err == nil && !last && v.r.Tail > 0 {
		v.r.fail(v.st.tree.n+1, 0, "the file ends with bytes that are no record")
	}
	return err
}

// each counts a good record and compares the checkpoints of that size.
func (v *verification) each(h *head, line []byte) error {
	switch {
	case h.kind == kindBegin, h.kind == kindFinish && h.begun == 0:
		v.r.Calls++
	case h.kind == kindGap:
		v.r.Gaps++
	}
	if !jsontext.Value(line).IsValid() {
		return bad(h.seq, "it is not JSON")
	}
	v.compare()
	if v.r.Problem != "" {
		return errFound
	}
	v.before = h.prev
	return nil
}

var errFound = errors.New("found")

func (v *verification) compare() {
	for ; v.checked < len(v.marks) && v.marks[v.checked].size <= v.st.tree.n; v.checked++ {
		m := v.marks[v.checked]
		if m.size < v.st.tree.n || v.st.tree.root() != m.root {
			v.r.fail(min(v.r.Signed+1, m.size), m.size, "one of these records was replaced: their root is not that of the checkpoint of %s", m.time.Format(time.RFC3339))
			return
		}
		v.r.Signed = m.size
	}
}

// blame finds out which record is the first bad one when two do not fit together.
func (v *verification) blame(f *os.File, wrong *badRecord) {
	n := v.st.tree.n
	v.r.Records = n
	h := wrong.found
	switch {
	case h == nil: // broken in itself
	case h.leaf == v.st.prev:
		v.r.fail(wrong.seq, 0, "record %d is repeated in its place", n)
		return
	case h.seq == n && h.prev == v.before && n > 0:
		v.r.fail(n, 0, "two different records claim this place")
		return
	case h.seq == n+1 && h.prev != v.st.prev && n > 0 && v.follows(f, h):
		v.r.fail(n, 0, "it was replaced: record %d does not follow it", h.seq)
		return
	}
	v.r.fail(wrong.seq, 0, "%s", wrong.why)
}

// follows says whether what comes after h is chained to h, or nothing comes after it.
func (v *verification) follows(f *os.File, h *head) bool {
	in := newLines(f, v.st.off)
	if _, err := in.next(); err != nil {
		return false
	}
	line, err := in.next()
	if err != nil {
		return err == errTail
	}
	next, err := newSealer().head(bytes.Clone(line))
	return err == nil && next.prev == h.leaf
}
