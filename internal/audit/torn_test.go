package audit

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// A crash leaves any prefix of the last write, followed by nothing or by zeros.
func TestTornTail(t *testing.T) {
	v := victim(t, Options{})
	n := len(v.rows)
	for name, zeros := range map[string]int{"cut": 0, "zeros": 4096} {
		t.Run(name, func(t *testing.T) {
			// The checkpoint of Close covers all; a crash has only the first one.
			first, _ := os.ReadFile(filepath.Join(v.dir, checkpointFile))
			raws, _, _ := splitCheckpoints(first)
			early := frameCheckpoint(raws[0])
			start := len(v.raw) - len(v.rows[n-1]) - len(v.rows[n-2])
			step := 13
			if testing.Short() {
				step = 499
			}
			for end := start; end <= len(v.raw); end += step {
				dir := copyDir(t, v.dir)
				os.WriteFile(filepath.Join(dir, checkpointFile), early, 0o600)
				os.WriteFile(segmentPath(dir, 1), append(bytes.Clone(v.raw[:end]), make([]byte, zeros)...), 0o600)
				whole := int64(bytes.Count(v.raw[:end], []byte("\n")))
				if r := verified(t, dir, VerifyOptions{}); !r.OK || r.Records != whole {
					t.Fatalf("%d bytes: %+v", end, r)
				}
				l := open(t, dir, Options{})
				fill(t, l, 1)
				closed(t, l)
				r := mustVerify(t, dir)
				if r.Records < whole+3 || r.InFlight != 0 {
					t.Fatalf("%d bytes: %+v", end, r)
				}
				torn, _ := filepath.Glob(filepath.Join(dir, "torn-*"))
				if want := len(v.raw[:end]) - len(bytes.Join(v.rows[:whole], nil)); (want > 0) != (len(torn) == 1) {
					t.Fatalf("%d bytes: kept %v", end, torn)
				}
			}
		})
	}
}

// A broken record with a later batch behind it was not torn by a crash.
func TestBrokenInTheMiddleIsNotATornTail(t *testing.T) {
	v := victim(t, Options{})
	f, _ := os.ReadFile(filepath.Join(v.dir, checkpointFile))
	raws, _, _ := splitCheckpoints(f)
	os.WriteFile(filepath.Join(v.dir, checkpointFile), frameCheckpoint(raws[0]), 0o600)
	for row := 1; row < len(v.rows)-1; row++ {
		b := bytes.Clone(v.raw)
		b[len(bytes.Join(v.rows[:row], nil))+100] ^= 1
		v.put(t, b)
		var wrong *badRecord
		if l, err := Open(v.dir, small(Options{})); !errors.As(err, &wrong) || wrong.seq != int64(row+1) {
			if l != nil {
				l.Close()
			}
			t.Fatalf("record %d: %v", row+1, err)
		}
	}
}
