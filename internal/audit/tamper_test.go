package audit

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/mod/sumdb/tlog"
)

// tampered is a closed log of a few records in one file, and what was kept of it.
type tampered struct {
	dir  string
	kept []byte
	key  string
	path string
	raw  []byte
	rows [][]byte // lines with their newline
}

func victim(t testing.TB, o Options) *tampered {
	t.Helper()
	v := &tampered{dir: t.TempDir()}
	o.OnCheckpoint = func(n []byte) { v.kept = n }
	l := open(t, v.dir, o)
	fill(t, l, 3)
	if err := l.Begin(t.Context(), record("open")); err != nil {
		t.Fatal(err)
	}
	closed(t, l)
	v.key = l.PublicKey()
	v.path = segmentPath(v.dir, 1)
	var err error
	if v.raw, err = os.ReadFile(v.path); err != nil {
		t.Fatal(err)
	}
	v.rows = bytes.SplitAfter(v.raw, []byte("\n"))
	v.rows = v.rows[:len(v.rows)-1]
	mustVerify(t, v.dir)
	return v
}

func (v *tampered) put(t testing.TB, b []byte) {
	t.Helper()
	if err := os.WriteFile(v.path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func (v *tampered) want(t testing.TB, first int64, what string, o VerifyOptions) {
	t.Helper()
	r := verified(t, v.dir, o)
	if r.OK || r.FirstBad != first {
		t.Errorf("%s: OK %v, first bad %d (%s), want %d", what, r.OK, r.FirstBad, r.Problem, first)
	}
}

// Every bit of every byte of the file: the record it belongs to is named.
func TestEveryFlippedBitIsNamed(t *testing.T) {
	v := victim(t, Options{})
	step := 1
	if testing.Short() {
		step = 37
	}
	at, row := 0, 0
	for i := 0; i < len(v.raw); i += step {
		for row < len(v.rows) && i >= at+len(v.rows[row]) {
			at += len(v.rows[row])
			row++
		}
		b := bytes.Clone(v.raw)
		b[i] ^= 1 << (i % 8)
		// Straight at the replay: the whole of Verify sleeps before it calls an end broken.
		var st state
		st.open = map[string]int64{}
		err := st.replay(bytes.NewReader(b), 1, "", nil)
		named := st.tree.n + 1
		if wrong, ok := err.(*badRecord); ok {
			named = wrong.seq
		} else if err != nil || st.tree.n == int64(len(v.rows)) {
			t.Fatalf("byte %d: %v", i, err)
		}
		if named != int64(row+1) {
			t.Fatalf("byte %d of record %d: %d is named", i, row+1, named)
		}
	}
	for _, i := range []int{0, 7, 20, len(v.rows[0]) - 1, len(v.rows[0]) + 30, len(v.raw) - 60, len(v.raw) - 2, len(v.raw) - 1} {
		b := bytes.Clone(v.raw)
		b[i] ^= 4
		v.put(t, b)
		row := bytes.Count(v.raw[:i], []byte("\n")) + 1
		v.want(t, int64(row), fmt.Sprintf("byte %d", i), VerifyOptions{})
	}
}

func TestEveryMovedRecordIsNamed(t *testing.T) {
	v := victim(t, Options{})
	n := len(v.rows)
	join := func(rows ...[]byte) []byte { return bytes.Join(rows, nil) }
	for i := range n {
		rest := v.rows[i+1:]
		v.put(t, join(join(v.rows[:i]...), join(rest...)))
		v.want(t, int64(i+1), fmt.Sprintf("record %d dropped", i+1), VerifyOptions{})
		v.put(t, join(join(v.rows[:i+1]...), v.rows[i], join(rest...)))
		v.want(t, int64(i+2), fmt.Sprintf("record %d duplicated", i+1), VerifyOptions{})
		if i+1 < n {
			sw := slices.Clone(v.rows)
			sw[i], sw[i+1] = sw[i+1], sw[i]
			v.put(t, join(sw...))
			v.want(t, int64(i+1), fmt.Sprintf("records %d and %d swapped", i+1, i+2), VerifyOptions{})
		}
	}
	for i := 1; i < len(v.raw); i += 97 {
		v.put(t, v.raw[:i])
		row := bytes.Count(v.raw[:i], []byte("\n")) + 1
		v.want(t, int64(row), fmt.Sprintf("cut to %d bytes", i), VerifyOptions{Checkpoint: v.kept})
	}
}

// resealed rewrites record i (from 0) with right hashes, and those after it up to upto.
func (v *tampered) resealed(t testing.TB, i, upto int, change func(body []byte) []byte) [][]byte {
	t.Helper()
	rows, s := slices.Clone(v.rows), newSealer()
	var prev tlog.Hash
	for k := i; k < upto; k++ {
		line := bytes.TrimSuffix(rows[k], []byte("\n"))
		h, err := s.head(line)
		if err != nil {
			t.Fatal(err)
		}
		if k == i {
			prev = h.prev
			line = change(bytes.Clone(line))
		}
		front := line[:len(line)-tailLen]
		b := append(bytes.Clone(front), prevMark...)
		b = append(b, prev.String()...)
		b = append(b, '"')
		leaf := s.leaf(b)
		b = append(append(append(b, hashMark[1:]...), leaf.String()...), "\"}\n"...)
		if _, err := s.head(b[:len(b)-1]); err != nil {
			t.Fatal(err)
		}
		rows[k], prev = b, leaf
	}
	return rows
}

func blocked(b []byte) []byte {
	return bytes.Replace(b, []byte(`"outcome":"completed"`), []byte(`"outcome":"forgotten"`), 1)
}

// An attacker who can compute hashes rewrites one record, or it and all after it.
func TestForgeriesAreNamed(t *testing.T) {
	v := victim(t, Options{})
	n := len(v.rows)
	for i := 1; i < 7; i++ {
		v.put(t, bytes.Join(v.resealed(t, i, i+1, blocked), nil))
		v.want(t, int64(i+1), fmt.Sprintf("record %d replaced", i+1), VerifyOptions{})
		forged := v.resealed(t, i, n, blocked)
		v.put(t, bytes.Join(forged, nil))
		for _, o := range []VerifyOptions{{}, {Checkpoint: v.kept}, {PublicKey: v.key}} {
			r := verified(t, v.dir, o)
			if r.OK || r.FirstBad == 0 || r.FirstBad > int64(i+1) || r.LastBad < int64(i+1) {
				t.Errorf("records from %d on forged: %+v", i+1, r)
			}
		}
		// An inserted record with right hashes: the place it claims is claimed twice.
		ins := slices.Insert(slices.Clone(v.rows), i, v.resealed(t, i, i+1, blocked)[i])
		v.put(t, bytes.Join(ins, nil))
		v.want(t, int64(i+1), fmt.Sprintf("record inserted before %d", i+1), VerifyOptions{})
	}
}

// Local checkpoints narrow a forgery down to the records between two of them.
func TestCheckpointsNarrowAForgery(t *testing.T) {
	v := &tampered{dir: t.TempDir()}
	for range 3 { // one checkpoint at each close
		l := open(t, v.dir, Options{})
		fill(t, l, 2)
		closed(t, l)
	}
	v.path = segmentPath(v.dir, 1)
	raw, _ := os.ReadFile(v.path)
	v.rows = bytes.SplitAfter(raw, []byte("\n"))
	v.rows = v.rows[:len(v.rows)-1]
	v.put(t, bytes.Join(v.resealed(t, 8, len(v.rows), blocked), nil))
	r := verified(t, v.dir, VerifyOptions{})
	if r.OK || r.FirstBad != 7 || r.LastBad != 11 || r.Signed != 6 {
		t.Errorf("%+v", r)
	}
}

func TestKeptCheckpointDetects(t *testing.T) {
	o := Options{SegmentBytes: 8 << 10}
	dir := t.TempDir()
	var kept [][]byte
	o.OnCheckpoint = func(n []byte) { kept = append(kept, n) }
	l := open(t, dir, o)
	fill(t, l, 5)
	closed(t, l)
	old := copyDir(t, dir)
	l = open(t, dir, o)
	fill(t, l, 20)
	closed(t, l)
	last := kept[len(kept)-1]
	if r := verified(t, dir, VerifyOptions{Checkpoint: last}); !r.OK {
		t.Fatal(r.Problem)
	}
	had := mustVerify(t, old).Records // without a kept checkpoint an old copy is whole
	if r := verified(t, old, VerifyOptions{Checkpoint: last}); r.OK || r.FirstBad != had+1 {
		t.Errorf("rollback of the directory: %+v", r)
	}
	// A fork: the old copy goes on with other calls, under the same key.
	l = open(t, old, small(Options{}))
	fill(t, l, 40)
	closed(t, l)
	if r := verified(t, old, VerifyOptions{Checkpoint: last}); r.OK || r.FirstBad <= had {
		t.Errorf("fork: %+v", r)
	}
	// A new history under a new key.
	fresh := t.TempDir()
	l2 := open(t, fresh, Options{})
	fill(t, l2, 60)
	closed(t, l2)
	for _, o := range []VerifyOptions{{Checkpoint: last}, {PublicKey: l.PublicKey()}} {
		if r := verified(t, fresh, o); r.OK || r.FirstBad != 1 {
			t.Errorf("new key: %+v", r)
		}
	}
	// The same, with the old public key put beside it.
	pub, _ := os.ReadFile(filepath.Join(dir, publicFile))
	os.WriteFile(filepath.Join(fresh, publicFile), pub, 0o600)
	if r := verified(t, fresh, VerifyOptions{Checkpoint: last}); r.OK {
		t.Errorf("new key behind the old name: %+v", r)
	}
	if _, err := Open(fresh, small(Options{})); err == nil {
		t.Error("opened with two keys that do not belong together")
	}
	if r := verified(t, dir, VerifyOptions{Checkpoint: append([]byte("x"), last...)}); r.OK {
		t.Error("a broken kept checkpoint was believed")
	}
}

func TestSwappedAndMissingFiles(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, Options{SegmentBytes: 6 << 10})
	fill(t, l, 20)
	closed(t, l)
	firsts, err := segments(dir)
	if err != nil || len(firsts) < 4 {
		t.Fatal(firsts, err)
	}
	v := &tampered{dir: copyDir(t, dir)}
	a, b := segmentPath(v.dir, firsts[1]), segmentPath(v.dir, firsts[2])
	os.Rename(a, a+"x")
	os.Rename(b, a)
	os.Rename(a+"x", b)
	v.want(t, firsts[1], "two files swapped", VerifyOptions{})
	for i, first := range firsts {
		v := &tampered{dir: copyDir(t, dir)}
		os.Remove(segmentPath(v.dir, first))
		v.want(t, firsts[i], fmt.Sprintf("file %d gone", i), VerifyOptions{})
		v = &tampered{dir: copyDir(t, dir)}
		os.Truncate(segmentPath(v.dir, first), 0)
		v.want(t, firsts[i], fmt.Sprintf("file %d empty", i), VerifyOptions{})
	}
}

// A log that was tampered with does not start.
func TestOpenRefuses(t *testing.T) {
	for name, spoil := range map[string]func(v *tampered){
		"last record cut":      func(v *tampered) { v.put(t, v.raw[:len(v.raw)-10]) },
		"a record cut out":     func(v *tampered) { v.put(t, bytes.Join(slices.Delete(slices.Clone(v.rows), 3, 4), nil)) },
		"a flipped bit":        func(v *tampered) { b := bytes.Clone(v.raw); b[2000] ^= 1; v.put(t, b) },
		"a forged history":     func(v *tampered) { v.put(t, bytes.Join(v.resealed(t, 2, len(v.rows), blocked), nil)) },
		"no records":           func(v *tampered) { os.Remove(v.path) },
		"no checkpoints":       func(v *tampered) { os.Remove(filepath.Join(v.dir, checkpointFile)) },
		"empty checkpoints":    func(v *tampered) { os.Truncate(filepath.Join(v.dir, checkpointFile), 0) },
		"no key":               func(v *tampered) { os.Remove(filepath.Join(v.dir, keyFile)) },
		"no public key":        func(v *tampered) { os.Remove(filepath.Join(v.dir, publicFile)) },
		"a spoiled checkpoint": func(v *tampered) { flipByte(t, filepath.Join(v.dir, checkpointFile), 80) },
		"another key": func(v *tampered) {
			s, p, _ := newKey()
			os.WriteFile(filepath.Join(v.dir, keyFile), []byte(s), 0o600)
			os.WriteFile(filepath.Join(v.dir, publicFile), []byte(p), 0o600)
		},
		"an odd file name": func(v *tampered) { os.WriteFile(filepath.Join(v.dir, "seg-7.log"), nil, 0o600) },
	} {
		v := victim(t, Options{})
		spoil(v)
		if l, err := Open(v.dir, small(Options{})); err == nil {
			l.Close()
			t.Errorf("%s: opened", name)
		}
		if r, err := Verify(v.dir, VerifyOptions{Checkpoint: v.kept}); err == nil && r.OK && name != "no key" {
			t.Errorf("%s: verified", name)
		}
	}
}

func flipByte(t testing.TB, path string, i int) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[i] ^= 1
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestEveryByteOfCheckpointsAndKeyCounts(t *testing.T) {
	v := victim(t, Options{})
	for _, name := range []string{checkpointFile, publicFile} {
		path := filepath.Join(v.dir, name)
		good, _ := os.ReadFile(path)
		for i := range good {
			if testing.Short() && i%9 != 0 {
				continue
			}
			if name == publicFile && i == len(good)-1 {
				continue // the newline after the key
			}
			flipByte(t, path, i)
			if r := verified(t, v.dir, VerifyOptions{}); r.OK {
				t.Errorf("%s, byte %d of %d: verified", name, i, len(good))
			}
			os.WriteFile(path, good, 0o600)
		}
	}
}
