// Package builtin holds the weights that ship in the binary: what the detector is made of where no
// pack brings its own. How they were made, from what, and what they reach: model/CARD.md.
package builtin

import (
	"crypto/sha256"
	"embed"
	"io"
	"io/fs"
	"strconv"
	"sync"

	"sallyport.dev/sallyport/internal/inspect/classify"
)

//go:embed weights/vocab.txt weights/lexical.bin thresholds.json
var small embed.FS

// encoder stays where the binary holds it: a copy would double what the detector takes of memory.
//
//go:embed weights/encoder.bin
var encoder string

// files implements classify.Mapped.
type files struct{ embed.FS }

func (files) Mapped(name string) (string, bool) { return encoder, name == classify.EncoderFile }

// Digest names the weights: other weights have another.
var Digest = sync.OnceValue(func() (sum [sha256.Size]byte) {
	h := sha256.New()
	io.WriteString(h, encoder)
	err := fs.WalkDir(small, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := small.ReadFile(path)
		io.WriteString(h, path+"\x00"+strconv.Itoa(len(b))+"\x00")
		h.Write(b)
		return err
	})
	if err != nil {
		panic(err) // the files are part of the binary
	}
	h.Sum(sum[:0])
	return sum
})

// Options are the tiers of the built-in weights, without Rules, loaded once.
var Options = sync.OnceValues(func() (classify.Options, error) { return classify.Open(files{small}, false) })
