package strictjson

import (
	"encoding/binary"
	"math"
	"unicode/utf8"
)

type parser struct {
	b     []byte
	i     int
	nodes []Node
	lim   Limits
	stack []int // open containers
	names nameSet
}

// Parse reads one JSON text. raw is kept, not copied.
func Parse(raw []byte, lim Limits) (*Doc, error) {
	d := &Doc{Nodes: make([]Node, 0, 16+len(raw)/24)}
	if err := d.Parse(raw, lim); err != nil {
		return nil, err
	}
	return d, nil
}

// Parse is the function Parse into the memory of an old Doc, whose nodes are gone.
func (d *Doc) Parse(raw []byte, lim Limits) error {
	if lim.Depth == 0 {
		lim.Depth = 200
	}
	if lim.Nodes == 0 {
		lim.Nodes = 4_000_000
	}
	if lim.Key == 0 {
		lim.Key = 64 << 10
	}
	if lim.Num == 0 {
		lim.Num = 1024
	}
	if len(raw) > math.MaxInt32 {
		return &Error{TooLong, 0}
	}
	p := parser{b: raw, lim: lim, nodes: d.Nodes[:0]}
	if len(raw) >= 3 && raw[0] == 0xEF && raw[1] == 0xBB && raw[2] == 0xBF {
		return &Error{ByteOrder, 0}
	}
	err := p.text()
	d.Raw, d.Nodes = raw, p.nodes
	return err
}

func (p *parser) fail(c Code) error {
	if p.i >= len(p.b) && c == Syntax {
		c = UnexpectedEnd
	}
	return &Error{c, p.i}
}

func (p *parser) space() {
	for p.i < len(p.b) {
		switch p.b[p.i] {
		case ' ', '\t', '\n', '\r':
			p.i++
		default:
			return
		}
	}
}

// text is the whole document. It keeps its own stack, so that depth costs no goroutine stack.
func (p *parser) text() error {
	p.space()
	keyAt, keyEnd, keyEsc := -1, -1, false
	for {
		// A value begins here.
		if p.i >= len(p.b) {
			return p.fail(UnexpectedEnd)
		}
		if len(p.nodes) >= p.lim.Nodes {
			return p.fail(TooMany)
		}
		parent := -1
		if len(p.stack) > 0 {
			parent = p.stack[len(p.stack)-1]
			p.nodes[parent].Len++
		}
		n := Node{Start: int32(p.i), KeyAt: int32(keyAt), KeyEnd: int32(keyEnd), KeyEsc: keyEsc, Parent: int32(parent)}
		opened := false
		switch c := p.b[p.i]; {
		case c == '"':
			n.Kind = String
			esc, err := p.str()
			if err != nil {
				return err
			}
			n.Escaped = esc
		case c == '{' || c == '[':
			n.Kind = Object
			if c == '[' {
				n.Kind = Array
			}
			if len(p.stack) >= p.lim.Depth {
				return p.fail(TooDeep)
			}
			p.i++
			opened = true
		case c == '-' || c >= '0' && c <= '9':
			n.Kind = Number
			if err := p.num(); err != nil {
				return err
			}
		case c == 't':
			n.Kind = True
			if !p.word("true") {
				return p.fail(Syntax)
			}
		case c == 'f':
			n.Kind = False
			if !p.word("false") {
				return p.fail(Syntax)
			}
		case c == 'n':
			n.Kind = Null
			if !p.word("null") {
				return p.fail(Syntax)
			}
		default:
			return p.fail(Syntax)
		}
		n.End, n.Next = int32(p.i), int32(len(p.nodes)+1)
		p.nodes = append(p.nodes, n)
		if opened {
			p.stack = append(p.stack, len(p.nodes)-1)
			p.space()
			if p.i < len(p.b) && p.b[p.i] == closer(n.Kind) {
				if err := p.close(); err != nil {
					return err
				}
			} else {
				var err error
				if keyAt, keyEnd, keyEsc, err = p.name(n.Kind); err != nil {
					return err
				}
				continue
			}
		}
		// A value has ended: close what it closes, then on to its next sibling.
		for {
			p.space()
			if len(p.stack) == 0 {
				if p.i != len(p.b) {
					return p.fail(Trailing)
				}
				return nil
			}
			top := p.nodes[p.stack[len(p.stack)-1]].Kind
			if p.i >= len(p.b) {
				return p.fail(UnexpectedEnd)
			}
			if p.b[p.i] == ',' {
				p.i++
				p.space()
				var err error
				if keyAt, keyEnd, keyEsc, err = p.name(top); err != nil {
					return err
				}
				break
			}
			if p.b[p.i] != closer(top) {
				return p.fail(Syntax)
			}
			if err := p.close(); err != nil {
				return err
			}
		}
	}
}

func closer(k Kind) byte {
	if k == Object {
		return '}'
	}
	return ']'
}

// close ends the innermost container, which its closing byte has just been seen of.
func (p *parser) close() error {
	at := p.stack[len(p.stack)-1]
	p.stack = p.stack[:len(p.stack)-1]
	p.i++
	p.nodes[at].End, p.nodes[at].Next = int32(p.i), int32(len(p.nodes))
	if p.nodes[at].Kind == Object && p.nodes[at].Len > 1 {
		if off := p.names.duplicate(p.b, p.nodes, at); off >= 0 {
			p.i = off
			return p.fail(Duplicate)
		}
	}
	return nil
}

// name reads a member's name and its colon, in an object.
func (p *parser) name(in Kind) (at, end int, esc bool, err error) {
	if in != Object {
		return -1, -1, false, nil
	}
	if p.i >= len(p.b) || p.b[p.i] != '"' {
		return 0, 0, false, p.fail(Syntax)
	}
	at = p.i + 1
	if esc, err = p.str(); err != nil {
		return
	}
	if end = p.i - 1; end-at > p.lim.Key {
		return 0, 0, false, p.fail(TooLong)
	}
	p.space()
	if p.i >= len(p.b) || p.b[p.i] != ':' {
		return 0, 0, false, p.fail(Syntax)
	}
	p.i++
	p.space()
	return
}

func (p *parser) word(w string) bool {
	if len(p.b)-p.i < len(w) || string(p.b[p.i:p.i+len(w)]) != w {
		return false
	}
	p.i += len(w)
	return true
}

func (p *parser) num() error {
	start := p.i
	digits := func() bool {
		from := p.i
		for p.i < len(p.b) && p.b[p.i] >= '0' && p.b[p.i] <= '9' {
			p.i++
		}
		return p.i > from
	}
	if p.b[p.i] == '-' {
		p.i++
	}
	if p.i < len(p.b) && p.b[p.i] == '0' {
		p.i++
	} else if !digits() {
		return p.fail(Syntax)
	}
	if p.i < len(p.b) && p.b[p.i] == '.' {
		p.i++
		if !digits() {
			return p.fail(Syntax)
		}
	}
	if p.i < len(p.b) && (p.b[p.i] == 'e' || p.b[p.i] == 'E') {
		p.i++
		if p.i < len(p.b) && (p.b[p.i] == '+' || p.b[p.i] == '-') {
			p.i++
		}
		if !digits() {
			return p.fail(Syntax)
		}
	}
	if p.i-start > p.lim.Num {
		return p.fail(TooLong)
	}
	return nil
}

const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// plainBytes counts the bytes from b on that need no look: printable ASCII but for quote and
// backslash, eight at a time.
func plainBytes(b []byte) int {
	i := 0
	for len(b)-i >= 8 {
		w := binary.LittleEndian.Uint64(b[i:])
		quote := w ^ (ones * '"')
		slash := w ^ (ones * '\\')
		// A high bit is set where a byte is < 0x20, is '"' or '\\', or is not ASCII. Borrows can set
		// bits above a true one only, and the slow path looks again.
		if ((w-ones*0x20)|(quote-ones)|(slash-ones)|w)&highs != 0 {
			return i
		}
		i += 8
	}
	return i
}

// str reads a string from its opening quote on.
func (p *parser) str() (escaped bool, err error) {
	p.i++
	b := p.b
	for {
		p.i += plainBytes(b[p.i:])
		if p.i >= len(b) {
			return false, p.fail(UnexpectedEnd)
		}
		c := b[p.i]
		switch {
		case c == '"':
			p.i++
			return escaped, nil
		case c == '\\':
			escaped = true
			if err := p.escape(); err != nil {
				return false, err
			}
		case c < 0x20:
			return false, p.fail(ControlChar)
		case c < utf8.RuneSelf:
			p.i++
		default:
			r, n := utf8.DecodeRune(b[p.i:])
			if r == utf8.RuneError && n <= 1 {
				return false, p.fail(BadUTF8)
			}
			p.i += n
		}
	}
}

func (p *parser) escape() error {
	if p.i+1 >= len(p.b) {
		p.i = len(p.b)
		return p.fail(UnexpectedEnd)
	}
	switch p.b[p.i+1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		p.i += 2
		return nil
	case 'u':
	default:
		return p.fail(Syntax)
	}
	u, ok := hex4(p.b, p.i+2)
	if !ok {
		return p.fail(Syntax)
	}
	if u >= 0xDC00 && u < 0xE000 {
		return p.fail(Surrogate)
	}
	if u < 0xD800 || u >= 0xE000 {
		p.i += 6
		return nil
	}
	if p.i+7 >= len(p.b) || p.b[p.i+6] != '\\' || p.b[p.i+7] != 'u' {
		return p.fail(Surrogate)
	}
	if lo, ok := hex4(p.b, p.i+8); !ok || lo < 0xDC00 || lo >= 0xE000 {
		return p.fail(Surrogate)
	}
	p.i += 12
	return nil
}

func hex4(b []byte, at int) (u rune, ok bool) {
	if at+4 > len(b) {
		return 0, false
	}
	for _, c := range b[at : at+4] {
		switch {
		case c >= '0' && c <= '9':
			u = u<<4 | rune(c-'0')
		case c >= 'a' && c <= 'f':
			u = u<<4 | rune(c-'a'+10)
		case c >= 'A' && c <= 'F':
			u = u<<4 | rune(c-'A'+10)
		default:
			return 0, false
		}
	}
	return u, true
}
