package rules

import "bytes"

type follow uint8

const (
	followNot   follow = iota
	followToken        // a secret that fills its window goes on for as long as its characters do
	followKey          // a private key goes on until its END line
)

const (
	maskBlock = 512       // view bytes reported at once
	maskLimit = 16 * 1024 // and in all: more than any key in use
)

// mask follows a secret that is longer than its rule's window and reports it block by block.
type mask struct {
	on     bool
	kind   follow
	rule   int
	from   int // not yet reported
	begun  int
	word   int // length of the current word
	short  int // short words in a row
	ending int // position after "-----END", 0 before it
}

func (k *mask) start(m *machine, rule int, kind follow, from, pos int) {
	if k.on {
		return
	}
	*k = mask{on: true, kind: kind, rule: rule, from: from, begun: from}
	for p := from; k.on && p < pos; p++ {
		k.step(m, p)
	}
}

var keyEnd = []byte("-----end")

func (k *mask) step(m *machine, pos int) {
	if pos-k.begun >= maskLimit {
		k.stop(m, pos)
		return
	}
	i := pos - m.text.Off
	c := m.text.Cas[i]
	fl := flags[c]
	switch k.kind {
	case followToken:
		if fl&flB64 == 0 && c != '=' && c != '.' {
			k.stop(m, pos)
			return
		}
	case followKey:
		if fl&flB64 == 0 && !bytes.ContainsRune([]byte("= \n\\:,\"'+"), rune(c)) {
			k.stop(m, pos)
			return
		}
		if fl&flB64 != 0 {
			k.word++
		} else if k.word > 0 {
			// Prose after a header that stands alone: not a key any more.
			if k.word >= 16 {
				k.short = 0
			} else if k.short++; k.short > 12 {
				k.stop(m, pos)
				return
			}
			k.word = 0
		}
		if lo := i + 1 - len(keyEnd); k.ending == 0 && lo >= 0 && bytes.Equal(m.text.Low[lo:i+1], keyEnd) {
			k.ending = pos + 1
		}
		if k.ending > 0 && (pos-k.ending > 4 && bytes.HasSuffix(m.text.Low[:i+1], keyEnd[:5]) || pos-k.ending > 64) {
			k.stop(m, pos+1)
			return
		}
	}
	if pos+1-k.from >= maskBlock {
		k.tell(m, pos+1)
	}
}

func (k *mask) tell(m *machine, pos int) {
	if pos = min(pos, m.text.End()); pos > k.from {
		m.report(k.rule, k.from, pos, "")
		m.setLast(k.rule, pos)
		k.from = pos
	}
}

func (k *mask) stop(m *machine, pos int) {
	if k.on {
		k.tell(m, pos)
		k.on = false
	}
}
