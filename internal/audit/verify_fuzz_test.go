package audit

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// FuzzVerify replaces n bytes at a place of one file of a closed log. Verify never panics, and never
// says OK of a log that is not byte for byte the one that was closed.
func FuzzVerify(f *testing.F) {
	v := victim(f, Options{})
	files := []string{filepath.Base(v.path), checkpointFile, publicFile}
	f.Add(uint8(0), uint32(0), uint16(0), []byte{})
	f.Add(uint8(0), uint32(900), uint16(1), []byte("x"))
	f.Add(uint8(0), uint32(len(v.raw)-1), uint16(1), []byte{})
	f.Add(uint8(0), uint32(len(v.raw)), uint16(0), []byte("{\"seq\":9\n"))
	f.Add(uint8(0), uint32(0), uint16(65535), []byte{})
	f.Add(uint8(1), uint32(10), uint16(3), []byte("999"))
	f.Add(uint8(1), uint32(0), uint16(2000), []byte{})
	f.Add(uint8(2), uint32(30), uint16(1), []byte("+"))
	f.Fuzz(func(t *testing.T, which uint8, at uint32, n uint16, with []byte) {
		name := files[int(which)%len(files)]
		path := filepath.Join(v.dir, name)
		good, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		from := int(at) % (len(good) + 1)
		to := min(from+int(n), len(good))
		b := bytes.Join([][]byte{good[:from], with, good[to:]}, nil)
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		defer os.WriteFile(path, good, 0o600)
		r, err := Verify(v.dir, VerifyOptions{Checkpoint: v.kept, PublicKey: v.key})
		if err != nil || !r.OK || bytes.Equal(b, good) {
			return
		}
		if name == publicFile && bytes.Equal(bytes.TrimSpace(b), bytes.TrimSpace(good)) {
			return
		}
		// An unfinished write after the last record is allowed, and reported; so is one of the
		// checkpoints, which the kept one makes up for.
		if name == files[0] && bytes.HasPrefix(b, good) {
			if extra := bytes.TrimRight(b[len(good):], "\x00"); r.Tail == int64(len(extra)) && !bytes.Contains(extra, []byte("\n")) {
				return
			}
		}
		if name == checkpointFile {
			raws, _, err := splitCheckpoints(b)
			before, _, _ := splitCheckpoints(good)
			if err == nil && len(raws) <= len(before) {
				for i := range raws {
					if !containsRaw(before, raws[i]) {
						t.Fatalf("a checkpoint that was never signed: %q", raws[i])
					}
				}
				return
			}
		}
		t.Fatalf("%s altered at %d and OK: %+v", name, from, r)
	})
}

func containsRaw(all [][]byte, raw []byte) bool {
	for _, a := range all {
		if bytes.Equal(a, raw) {
			return true
		}
	}
	return false
}
