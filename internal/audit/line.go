package audit

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"hash"
	"strconv"

	"golang.org/x/mod/sumdb/tlog"
)

// Kinds of records.
const (
	kindBegin   = "begin"
	kindFinish  = "finish"
	kindNote    = "note"
	kindSegment = "segment"
	kindGap     = "gap"
)

// A record is one line:
//
//	{"seq":N,"time":"T","kind":"K",…members…[,"begun":N][,"clock_back":true],"batch":N,"prev":"P","hash":"H"}
//
// H is the RFC 6962 leaf hash of everything before `,"hash":`, so it is also the record's leaf in
// the Merkle tree; P is the H of the record before. batch is the number of the first record that
// was not yet durable when this one was written: nothing of a batch is acknowledged before all of
// it is durable, so a record that is broken while one of a later batch follows was not torn by a
// crash but changed afterwards.
const (
	hashLen  = 44 // base64 of 32 bytes
	prevMark = `,"prev":"`
	hashMark = `","hash":"`
	tailLen  = len(prevMark) + hashLen + len(hashMark) + hashLen + len(`"}`)
)

// sealer finishes lines. It keeps its hash state between lines and is used by one goroutine.
type sealer struct{ h hash.Hash }

func newSealer() *sealer { return &sealer{sha256.New()} }

var leafPrefix = []byte{0}

func (s *sealer) leaf(b []byte) (sum tlog.Hash) {
	s.h.Reset()
	s.h.Write(leafPrefix)
	s.h.Write(b)
	s.h.Sum(sum[:0])
	return sum
}

// draft is what a line is made of, beside the members of its kind.
type draft struct {
	seq       int64
	time      []byte // as appendTime writes it
	kind      string
	body      []byte // members, each with a comma before it
	begun     int64
	clockBack bool
	batch     int64
	prev      tlog.Hash
}

// seal appends the line of d with its newline, and returns its leaf hash.
func (s *sealer) seal(b []byte, d *draft) ([]byte, tlog.Hash) {
	from := len(b)
	b = append(b, `{"seq":`...)
	b = strconv.AppendInt(b, d.seq, 10)
	b = append(b, `,"time":"`...)
	b = append(b, d.time...)
	b = append(b, `","kind":"`...)
	b = append(b, d.kind...)
	b = append(b, '"')
	b = append(b, d.body...)
	b = number(b, "begun", d.begun)
	b = flag(b, "clock_back", d.clockBack)
	b = append(b, `,"batch":`...)
	b = strconv.AppendInt(b, d.batch, 10)
	b = append(b, prevMark...)
	b = base64.StdEncoding.AppendEncode(b, d.prev[:])
	b = append(b, '"')
	leaf := s.leaf(b[from:])
	b = append(b, hashMark[1:]...)
	b = base64.StdEncoding.AppendEncode(b, leaf[:])
	return append(b, '"', '}', '\n'), leaf
}

// head is what the chain needs to know of a line, found without reading its members.
type head struct {
	seq   int64
	kind  string
	id    string // of begin and finish
	begun int64
	batch int64
	prev  tlog.Hash
	leaf  tlog.Hash // computed, and equal to the line's own
	stamp [stampLen]byte
}

const stampLen = len("2006-01-02T15:04:05.000000000Z")

var (
	errShape = errors.New("not a record")
	errHash  = errors.New("its content does not match its hash")
)

// head reads a line without its newline. It fails unless the line's own hash is right.
func (s *sealer) head(line []byte) (h head, err error) {
	n := len(line) - tailLen
	if n < 0 || !bytes.HasPrefix(line[n:], []byte(prevMark)) ||
		string(line[len(line)-2:]) != `"}` ||
		string(line[len(line)-2-hashLen-len(hashMark):][:len(hashMark)]) != hashMark {
		return h, errShape
	}
	h.leaf = s.leaf(line[:len(line)-2-hashLen-len(hashMark)+1])
	var own [hashLen]byte
	base64.StdEncoding.Encode(own[:], h.leaf[:])
	if !bytes.Equal(own[:], line[len(line)-2-hashLen:len(line)-2]) {
		return h, errHash
	}
	if h.prev, err = parseHash(line[n+len(prevMark):][:hashLen]); err != nil {
		return h, errShape
	}
	rest := line[:n]
	var ok bool
	if rest, h.batch, ok = lastNumber(rest, `"batch":`); !ok {
		return h, errShape
	}
	rest = bytes.TrimSuffix(rest, []byte(`,"clock_back":true`))
	if short, n, ok := lastNumber(rest, `"begun":`); ok {
		rest, h.begun = short, n
	}
	return h, h.front(rest)
}

// front reads seq, kind and id from the beginning of a line.
func (h *head) front(b []byte) error {
	b, ok := bytes.CutPrefix(b, []byte(`{"seq":`))
	if !ok {
		return errShape
	}
	i := bytes.IndexByte(b, ',')
	if i < 0 {
		return errShape
	}
	if h.seq, ok = parseNumber(b[:i]); !ok {
		return errShape
	}
	b, ok = bytes.CutPrefix(b[i:], []byte(`,"time":"`))
	if !ok || len(b) < stampLen {
		return errShape
	}
	copy(h.stamp[:], b)
	if b, ok = bytes.CutPrefix(b[stampLen:], []byte(`","kind":"`)); !ok {
		return errShape
	}
	if i = bytes.IndexByte(b, '"'); i < 0 {
		return errShape
	}
	switch k := string(b[:i]); k {
	case kindBegin, kindFinish:
		h.kind = k
		if b, ok = bytes.CutPrefix(b[i+1:], []byte(`,"id":"`)); !ok {
			return errShape
		}
		if i = bytes.IndexByte(b, '"'); i < 0 {
			return errShape
		}
		h.id = string(b[:i])
		return checkID(h.id)
	case kindNote, kindSegment, kindGap:
		h.kind = k
		return nil
	}
	return errShape
}

// lastNumber takes the last member off b, when it is the number of that name.
func lastNumber(b []byte, name string) (rest []byte, n int64, ok bool) {
	i := bytes.LastIndexByte(b, ',')
	if i < 0 {
		return b, 0, false
	}
	digits, ok := bytes.CutPrefix(b[i+1:], []byte(name))
	if !ok {
		return b, 0, false
	}
	n, ok = parseNumber(digits)
	return b[:i], n, ok
}

// parseNumber reads a number in the one way in which we write it.
func parseNumber(b []byte) (int64, bool) {
	if len(b) == 0 || len(b) > 18 || b[0] == '0' && len(b) > 1 {
		return 0, false
	}
	var n int64
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	return n, true
}

func parseHash(b []byte) (h tlog.Hash, err error) {
	var out [33]byte
	n, err := base64.StdEncoding.Strict().Decode(out[:], b)
	if err != nil || n != len(h) {
		return h, errShape
	}
	copy(h[:], out[:])
	return h, nil
}
