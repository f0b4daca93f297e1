package classify

import (
	"errors"
	"fmt"
	"io/fs"

	"sallyport.dev/sallyport/internal/inspect/lexical"
	"sallyport.dev/sallyport/internal/inspect/readings"
	"sallyport.dev/sallyport/internal/inspect/token"
	"sallyport.dev/sallyport/internal/nn"
)

// Files of a set of weights.
const (
	VocabFile   = "weights/vocab.txt"
	LexicalFile = "weights/lexical.bin"
	EncoderFile = "weights/encoder.bin"
	StackFile   = "thresholds.json"
)

// network is one worker's use of the encoder.
type network struct {
	e *nn.Encoder
	s nn.Scratch
}

// Run implements Encoder.
func (n *network) Run(ids []int32) (logits [4]float32, marks []float32, err error) {
	out, err := n.e.Run(ids, &n.s)
	if err != nil {
		return logits, nil, err
	}
	copy(logits[:], out.Logits)
	return logits, out.Spans, nil
}

// Mapped is a file system that has some of its files in memory as they are.
type Mapped interface {
	Mapped(name string) (string, bool)
}

func openEncoder(files fs.FS) (*nn.Encoder, error) {
	if m, ok := files.(Mapped); ok {
		if packed, ok := m.Mapped(EncoderFile); ok {
			return nn.OpenString(packed)
		}
	}
	packed, err := fs.ReadFile(files, EncoderFile)
	if err != nil {
		return nil, err
	}
	return nn.Open(packed)
}

// Open reads a set of weights: the files named above, the encoder's being optional. What it returns
// lacks Rules, and a Stack where bare is set.
func Open(files fs.FS, bare bool) (o Options, err error) {
	read := func(name string) (b []byte) {
		if err == nil {
			b, err = fs.ReadFile(files, name)
		}
		return b
	}
	vocab, lex := read(VocabFile), read(LexicalFile)
	var stack []byte
	if !bare {
		stack = read(StackFile)
	}
	if err != nil {
		return o, fmt.Errorf("weights: %w", err)
	}
	if o.Vocab, err = token.Load(vocab); err != nil {
		return o, err
	}
	for p := range places {
		if _, ok := o.Vocab.Control(p.String()); !ok {
			return o, fmt.Errorf("weights: the vocabulary has no control token %q", p)
		}
	}
	if o.Lexical, err = lexical.Load(lex); err != nil {
		return o, err
	}
	if !bare {
		if o.Stack, err = LoadStack(stack); err != nil {
			return o, err
		}
	}
	o.Readings = otherwise
	enc, err := openEncoder(files)
	if errors.Is(err, fs.ErrNotExist) {
		return o, nil
	}
	if err != nil {
		return o, fmt.Errorf("weights: encoder: %w", err)
	}
	if enc.Logits() != 4 || enc.Spans() != 1 || enc.Vocabulary() != o.Vocab.Size() {
		return o, fmt.Errorf("weights: encoder of %d logits, %d marks and %d tokens, for a vocabulary of %d",
			enc.Logits(), enc.Spans(), enc.Vocabulary(), o.Vocab.Size())
	}
	o.Encoder = func() Encoder { return &network{e: enc} }
	return o, nil
}

// leastDecoded is the shortest decoded range, in bytes, that is read by itself.
const leastDecoded = 40

// otherwise is what else a text may be read as.
func otherwise(text string) ([]Reading, bool) {
	rs, cut := readings.Of(text, readings.Limits{})
	if len(rs) == 0 {
		return nil, cut
	}
	out := make([]Reading, len(rs))
	for i := range rs {
		out[i] = Reading{rs[i].View, rs[i].Text, rs[i].Source, rs[i].Decoded(leastDecoded)}
	}
	return out, cut
}
