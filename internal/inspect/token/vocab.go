// Package token cuts text into the pieces a learned detector was trained on: a unigram vocabulary
// (Kudo, "Subword Regularization", ACL 2018) decoded by Viterbi, with two rules of our own.
// Text can never produce a control token, whatever it spells: those ids are given by the caller
// alone. And nothing vanishes: a character the vocabulary lacks becomes the tokens of its UTF-8
// bytes, so that an unknown script is read and not skipped.
package token

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Vocab is a vocabulary ready for use. It is safe for concurrent use.
type Vocab struct {
	size     int
	bytes    [256]int32 // id of the token of a byte
	controls map[string]int32
	trie     trie
	score    []float32
}

// byteScore is the cost of one byte of a character that no piece covers: far below any piece, so that
// bytes are the last resort.
const byteScore = -25

// maxPiece bounds a piece in bytes.
const maxPiece = 96

// Load reads a vocabulary: a line per id, "kind TAB value TAB score", where kind is
//
//	piece    value is the quoted text (Go syntax), with U+2581 for the space before a word
//	byte     value is two hexadecimal digits; all 256 must be there
//	control  value is a name; text never becomes this token
//	unused   an id that is never produced
func Load(file []byte) (*Vocab, error) {
	v := &Vocab{controls: map[string]int32{}}
	for i := range v.bytes {
		v.bytes[i] = -1
	}
	var pieces []piece
	sc := bufio.NewScanner(bytes.NewReader(file))
	for sc.Scan() {
		id := int32(v.size)
		v.size++
		v.score = append(v.score, 0)
		f := strings.Split(sc.Text(), "\t")
		bad := func(why string) error { return fmt.Errorf("vocabulary line %d: %s", v.size, why) }
		if len(f) != 3 {
			return nil, bad("three fields expected")
		}
		switch f[0] {
		case "unused":
		case "control":
			if _, ok := v.controls[f[1]]; ok || f[1] == "" {
				return nil, bad("control name empty or used twice")
			}
			v.controls[f[1]] = id
		case "byte":
			b, err := strconv.ParseUint(f[1], 16, 8)
			if err != nil || v.bytes[b] >= 0 {
				return nil, bad("byte unreadable or used twice")
			}
			v.bytes[b] = id
		case "piece":
			s, err := strconv.Unquote(f[1])
			if err != nil || s == "" || len(s) > maxPiece || !utf8.ValidString(s) {
				return nil, bad("piece unreadable")
			}
			score, err := strconv.ParseFloat(f[2], 32)
			if err != nil || math.IsNaN(score) || score > 0 || score < -24 {
				return nil, bad("score is not between -24 and 0")
			}
			v.score[id] = float32(score)
			pieces = append(pieces, piece{s, id})
		default:
			return nil, bad("kind unknown")
		}
	}
	if err := sc.Err(); err != nil {
		return nil, err
	}
	for b, id := range v.bytes {
		if id < 0 {
			return nil, fmt.Errorf("vocabulary: no token for byte %02x", b)
		}
	}
	if len(pieces) == 0 {
		return nil, errors.New("vocabulary: no pieces")
	}
	return v, v.trie.build(pieces)
}

// Size is the number of ids: ids are below it.
func (v *Vocab) Size() int { return v.size }

// Control is the id of a control token, which text cannot produce.
func (v *Vocab) Control(name string) (int32, bool) {
	id, ok := v.controls[name]
	return id, ok
}
