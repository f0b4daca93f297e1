package audit

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// checkpoint says that a log had this root when it held so many records. Its text is that of a
// transparency log's checkpoint (C2SP tlog-checkpoint): origin, size, root, and one line more, the
// time of signing.
type checkpoint struct {
	origin string
	size   int64
	root   tlog.Hash
	time   time.Time
}

func (c *checkpoint) text() string {
	return fmt.Sprintf("%s\n%d\n%s\ntime %s\n", c.origin, c.size, c.root, appendTime(nil, c.time))
}

func (c *checkpoint) sign(s note.Signer) ([]byte, error) {
	return note.Sign(&note.Note{Text: c.text()}, s)
}

var errCheckpoint = errors.New("not a checkpoint")

// openCheckpoint reads a note and checks its signature.
func openCheckpoint(raw []byte, v note.Verifier) (c checkpoint, err error) {
	n, err := note.Open(raw, note.VerifierList(v))
	if err != nil {
		return c, err
	}
	// The note package takes base64 in more than one spelling.
	sig := raw[bytes.LastIndexByte(bytes.TrimSuffix(raw, []byte("\n")), ' ')+1:]
	if _, err := base64.StdEncoding.Strict().DecodeString(string(bytes.TrimSuffix(sig, []byte("\n")))); err != nil {
		return c, errCheckpoint
	}
	lines := strings.Split(n.Text, "\n")
	if len(lines) < 4 {
		return c, errCheckpoint
	}
	size, ok := parseNumber([]byte(lines[1]))
	root, err := parseHash([]byte(lines[2]))
	if !ok || err != nil {
		return c, errCheckpoint
	}
	if lines[0] != v.Name() {
		return c, fmt.Errorf("%w: it speaks of another log", errCheckpoint)
	}
	c = checkpoint{origin: lines[0], size: size, root: root}
	if stamp, ok := strings.CutPrefix(lines[3], "time "); ok {
		if c.time, err = time.Parse(time.RFC3339Nano, stamp); err != nil {
			return c, errCheckpoint
		}
	}
	return c, nil
}

// originIn is the origin line of a checkpoint that has not been verified.
func originIn(raw []byte) string {
	line, _, _ := bytes.Cut(raw, []byte("\n"))
	return string(line)
}

// In the file every checkpoint is preceded by one line with its length, so that a torn one at the
// end is told from one that was changed.
const checkpointMark = "checkpoint "

func frameCheckpoint(raw []byte) []byte {
	return append(strconv.AppendInt([]byte(checkpointMark), int64(len(raw)), 10), append([]byte("\n"), raw...)...)
}

// splitCheckpoints cuts a file into its notes. whole is the length of what is not torn; what
// follows it is the beginning of one more, or is not ours, which err says.
func splitCheckpoints(b []byte) (raws [][]byte, whole int, err error) {
	b = bytes.TrimRight(b, "\x00") // a length that was written before its bytes
	for whole < len(b) {
		rest := b[whole:]
		line, body, found := bytes.Cut(rest, []byte("\n"))
		if !found {
			if len(line) > len(checkpointMark)+18 || !strings.HasPrefix(checkpointMark, string(line[:min(len(line), len(checkpointMark))])) {
				return raws, whole, errCheckpoint
			}
			return raws, whole, nil
		}
		digits, ok := bytes.CutPrefix(line, []byte(checkpointMark))
		n, isNumber := parseNumber(digits)
		if !ok || !isNumber || n > 1<<20 {
			return raws, whole, errCheckpoint
		}
		if int64(len(body)) < n {
			if bytes.Contains(body, []byte("\n\n")) && bytes.HasSuffix(body, []byte("\n")) {
				return raws, whole, errCheckpoint // a whole note: its length was changed
			}
			return raws, whole, nil
		}
		raws = append(raws, body[:n])
		whole += len(line) + 1 + int(n)
	}
	return raws, whole, nil
}

// loadCheckpoints reads and verifies a whole file of checkpoints. They must grow.
func loadCheckpoints(path string, v note.Verifier) (cs []checkpoint, torn int, err error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, 0, err
	}
	raws, whole, err := splitCheckpoints(b)
	if err != nil {
		return nil, 0, fmt.Errorf("%s, byte %d: %w", checkpointFile, whole, err)
	}
	for i, raw := range raws {
		c, err := openCheckpoint(raw, v)
		if err != nil {
			return cs, 0, fmt.Errorf("%s, number %d: %w", checkpointFile, i+1, err)
		}
		if i > 0 && (c.size < cs[i-1].size || c.size == cs[i-1].size && c.root != cs[i-1].root) {
			return cs, 0, fmt.Errorf("%s, number %d: it contradicts the one before", checkpointFile, i+1)
		}
		cs = append(cs, c)
	}
	return cs, len(b) - whole, nil
}
