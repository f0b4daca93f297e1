package readings

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

const bad = 0xff

func digitsOf(alphabet string) (t [256]uint8) {
	for i := range t {
		t[i] = bad
	}
	for i := range len(alphabet) {
		t[alphabet[i]] = uint8(i)
	}
	return
}

var (
	val64 = func() [256]uint8 {
		t := digitsOf("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")
		t['-'], t['_'] = 62, 63
		return t
	}()
	val32 = func() [256]uint8 {
		t := digitsOf("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567")
		for c := 'a'; c <= 'z'; c++ {
			t[c] = uint8(c - 'a')
		}
		return t
	}()
	val16 = func() [256]uint8 {
		t := digitsOf("0123456789abcdef")
		for c := 'A'; c <= 'F'; c++ {
			t[c] = uint8(c-'A') + 10
		}
		return t
	}()
)

// run is an encoded run: its characters without the white space between, and where they stand.
type run struct {
	s, e  int
	chars []byte
	at    []int32 // nil: without gaps, at[i] is s+i
	last  int     // characters before the last line, which may be a word of the text
}

func (r *run) pos(i int) int32 {
	if r.at == nil {
		return int32(r.s + i)
	}
	if i >= len(r.at) {
		return int32(r.e)
	}
	return r.at[i]
}

// base reads base64 (any alphabet, padded or not, over several lines), base32 and hex.
func (l *lattice) base(*mark) {
	t := l.text
	var builders [3]*builder
	for i, v := range []string{"base64", "base32", "hex"} {
		builders[i] = l.builder(v)
	}
	for i := 0; i < len(t); {
		if val64[t[i]] == bad {
			i++
			continue
		}
		e, mixed := token64(t, i)
		if e-i < 12 || mixed < 2 && e-i < 24 {
			i = e
			continue
		}
		r := gather(t, i, e)
		i = r.e
		l.decode(&builders, &r)
	}
	for _, b := range builders {
		l.add(b)
	}
}

// token64 is where the characters of the base64 alphabet from i on end, and how often they change
// between cases, letters and digits.
func token64(t string, i int) (e, mixed int) {
	prev := class[t[i]]
	e = i + 1
	for e < len(t) && val64[t[e]] != bad {
		k := class[t[e]]
		if (k^prev)&(cUpper|cDigit) != 0 {
			mixed++
		}
		prev = k
		e++
	}
	return e, mixed
}

// gather adds the lines that a run goes on in.
func gather(t string, s, e int) run {
	r := run{s: s, e: e}
	n := e - s
	for {
		k := r.e
		for k < len(t) && k < r.e+4 && class[t[k]]&cSpace != 0 {
			k++
		}
		if k == r.e || k >= len(t) || val64[t[k]] == bad || n < 12 {
			break
		}
		ne, mixed := token64(t, k)
		// The next word is of the run when it looks like it, or when a line before it was full.
		if mixed == 0 && n < 32 || ne-k < 2 {
			break
		}
		if r.at == nil {
			for i := r.s; i < r.e; i++ {
				r.chars, r.at = append(r.chars, t[i]), append(r.at, int32(i))
			}
		}
		r.last = len(r.chars)
		for i := k; i < ne; i++ {
			r.chars, r.at = append(r.chars, t[i]), append(r.at, int32(i))
		}
		r.e = ne
		if mixed < 2 && ne-k < n {
			break // the last line, or a word after it
		}
		n = ne - k
	}
	if r.at == nil {
		r.chars = []byte(t[s:e])
	}
	return r
}

// glance is how much of a run is decoded to see whether it begins elsewhere than where it stands.
const glance = 512

func (l *lattice) decode(b *[3]*builder, r *run) {
	if r.last > 0 {
		// Without the last word, should that be what keeps it from being hex or base32.
		q := run{s: r.s, e: int(r.at[r.last-1]) + 1, chars: r.chars[:r.last], at: r.at[:r.last]}
		if !all32(r.chars) && all32(q.chars) || len(q.chars) > 3 && !of(r.chars[2:], &val16) && of(q.chars[2:], &val16) {
			r = &q
		}
	}
	hex, b32, up, low := true, true, false, false
	for _, c := range r.chars {
		hex = hex && val16[c] != bad
		b32 = b32 && val32[c] != bad
		up = up || class[c]&cUpper != 0
		low = low || class[c]&(cLetter|cUpper) == cLetter
		if !hex && !b32 {
			break
		}
	}
	p := r.chars
	// 0x stands before some.
	if k := strings.IndexByte(string(p[:min(8, len(p))]), 'x'); k > 0 && !hex {
		q := run{s: r.s + k + 1, e: r.e, chars: p[k+1:]}
		if r.at != nil {
			q.at = r.at[k+1:]
			q.s = int(q.at[0])
		}
		if onlyHex(q.chars) && l.try(b[2], &q, 4, &val16, 0) {
			return
		}
	}
	if hex && l.try(b[2], r, 4, &val16, 0) || hex && len(p) > 32 && l.try(b[2], r, 4, &val16, 1) {
		return
	}
	if b32 && !(up && low) && len(p) >= 16 {
		for skip := range 8 {
			q := *r
			if q.chars = p[:min(len(p), 96)]; skip > 0 && !l.texty(&q, 5, &val32, skip) {
				continue
			}
			if l.try(b[1], r, 5, &val32, skip) {
				return
			}
		}
	}
	if len(p) < 12 {
		return
	}
	for skip := range 4 {
		q := *r
		if skip > 0 {
			q.chars = p[:min(len(p), glance)]
			if !l.texty(&q, 6, &val64, skip) {
				continue
			}
		}
		if l.try(b[0], r, 6, &val64, skip) {
			return
		}
	}
}

func of(p []byte, val *[256]uint8) bool {
	for _, c := range p {
		if val[c] == bad {
			return false
		}
	}
	return true
}

func all32(p []byte) bool {
	up, low := false, false
	for _, c := range p {
		up = up || class[c]&cUpper != 0
		low = low || class[c]&(cLetter|cUpper) == cLetter
	}
	return !(up && low) && of(p, &val32)
}

func onlyHex(p []byte) bool {
	return len(p) >= 8 && of(p, &val16)
}

// unpack decodes characters of bits bits each, beginning with the skip'th.
func unpack(p []byte, bits int, val *[256]uint8, skip int) []byte {
	out := make([]byte, 0, len(p)*bits/8+1)
	acc, n := uint32(0), 0
	for _, c := range p[min(skip, len(p)):] {
		acc = acc<<bits | uint32(val[c])
		if n += bits; n >= 8 {
			n -= 8
			out = append(out, byte(acc>>n))
		}
	}
	return out
}

// solid is how many bytes of text in a row are taken for text within bytes that are none.
const solid = 16

func stretches(b *builder, out []byte, f func(from, to int)) {
	b.each(out, 6, func(from, to int) {
		if n := to - from; n >= solid || n*10 >= len(out)*9 {
			f(from, to)
		}
	})
}

func (l *lattice) texty(r *run, bits int, val *[256]uint8, skip int) (found bool) {
	var b builder
	stretches(&b, unpack(r.chars, bits, val, skip), func(int, int) { found = true })
	return found
}

// try decodes a run and puts the text in it, if there is any, in its place.
func (l *lattice) try(b *builder, r *run, bits int, val *[256]uint8, skip int) bool {
	out := unpack(r.chars, bits, val, skip)
	if wide := unwiden(out); wide != nil {
		return l.put(b, r, wide, bits*2, skip)
	}
	return l.put(b, r, out, bits, skip)
}

// put puts decoded text in the place of the run; with bits over eight every byte stands for two.
func (l *lattice) put(b *builder, r *run, out []byte, bits, skip int) bool {
	any := false
	each := 8
	if bits > 8 {
		bits, each = bits/2, 16
	}
	char := func(i int) int { return skip + i*each/bits } // the character that byte i begins in
	stretches(b, out, func(from, to int) {
		s := int(r.pos(char(from)))
		if !any {
			b.approach(s)
		} else if int(r.pos(char(from))) > b.pos {
			b.raw(" ", b.pos, s, whole)
		}
		any = true
		// Evenly, line by line.
		for from < to {
			n := to - from
			if r.at != nil {
				n = 1
				for from+n < to && r.pos(char(from+n)) == r.pos(char(from))+int32(char(from+n)-char(from)) && r.pos(char(from+n)+1) == r.pos(char(from+n))+1 {
					n++
				}
			}
			// The map is even only over whole groups: three bytes are four characters of base64.
			group := bits
			for group%2 == 0 {
				group /= 2
			}
			if from*each%bits != 0 || n < group {
				n = 1
			} else {
				n -= n % group
			}
			last := char(from+n-1) + (((from+n-1)*each)%bits+each+bits-1)/bits // characters are shared between bytes
			e := min(int(r.pos(min(last, len(r.chars))-1))+1, r.e)
			s := int(r.pos(char(from)))
			b.raw(string(out[from:from+n]), s, e, evenly(n))
			from += n
			b.pos = max(b.pos, e)
		}
	})
	if any {
		b.pos = r.e
		for b.pos < len(b.text) && b.text[b.pos] == '=' {
			b.pos++
		}
	}
	return any
}

func evenly(n int) how {
	if n == 1 {
		return whole
	}
	return scaled
}

// unwiden undoes UTF-16 of Latin text, as PowerShell encodes commands; nil when it is none.
func unwiden(p []byte) []byte {
	if len(p) < 16 {
		return nil
	}
	for i := 1; i < min(len(p), 64); i += 2 {
		if p[i] != 0 {
			return nil
		}
	}
	out := make([]byte, 0, len(p)/2)
	for i := 0; i+1 < len(p); i += 2 {
		c := p[i]
		if p[i+1] != 0 {
			c = 0
		}
		out = append(out, c)
	}
	return out
}

// bytesOfText says that p is text as a whole: UTF-8, and ASCII or for the most part letters.
func bytesOfText(p []byte) bool {
	if !utf8.Valid(p) {
		return false
	}
	letters, wide := 0, 0
	for _, r := range string(p) {
		if r >= 0x80 {
			wide += utf8.RuneLen(r)
		}
		if r < 0x80 && class[byte(r)]&(cLetter|cDigit|cSpace) != 0 || r >= 0x80 && unicode.IsLetter(r) {
			letters += utf8.RuneLen(r)
		}
	}
	return letters*3 >= len(p)*2 && (wide == 0 || wide*2 > len(p)) || wide == 0 && len(p) >= 24
}

var (
	valRFC = digitsOf("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%&()*+-;<=>?@^_`{|}~")
	valZ85 = digitsOf("0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#")
	valA85 = func() (t [256]uint8) {
		for i := range t {
			t[i] = bad
			if i >= '!' && i <= 'u' {
				t[i] = uint8(i - '!')
			}
		}
		return
	}()
)

// base85 reads the base85 of RFC 1924 (as Python and git write it), Z85, and Ascii85 between <~ and
// ~> or bare.
func (l *lattice) base85(*mark) {
	t := l.text
	b, a, z := l.builder("base85"), l.builder("ascii85"), l.builder("z85")
	for i := 0; i < len(t); {
		if class[t[i]]&(cLetter|cDigit|cSign|cLeet) == 0 {
			i++
			continue
		}
		s := i
		for i < len(t) && class[t[i]]&(cLetter|cDigit|cSign|cLeet) != 0 {
			i++
		}
		e := i
		if e-s < 16 {
			continue
		}
		if k := strings.Index(t[s:e], "<~"); k >= 0 {
			s += k + 2
			// Framed, it may go on over lines.
			if k := indexFrom(t, "~>", s); k >= 0 {
				e = k
				i = k + 2
			}
			l.try85(a, s, e, &valA85)
			continue
		}
		for s < e && strings.IndexByte("\"'`([:", t[s]) >= 0 {
			s++
		}
		if s+1 < e && t[s] == 'b' && (t[s+1] == '\'' || t[s+1] == '"') {
			s += 2
		}
		for e > s && strings.IndexByte("\"'`)],.:", t[e-1]) >= 0 {
			e--
		}
		_ = l.try85(b, s, e, &valRFC) || l.try85(a, s, e, &valA85) || l.try85(z, s, e, &valZ85)
	}
	l.add(b)
	l.add(a)
	l.add(z)
}

// try85 decodes t[s:e] until it is no text any more.
func (l *lattice) try85(b *builder, s, e int, val *[256]uint8) bool {
	t := l.text
	var out []byte
	var at []int32
	acc, n, first := uint64(0), 0, s
	done := func(k int) bool { // k bytes of a group
		if acc > 0xffffffff {
			return false
		}
		for i := range k {
			c := byte(acc >> (24 - 8*i))
			if class[c] == 0 && c < 0x80 {
				return false
			}
			out, at = append(out, c), append(at, int32(first))
		}
		return true
	}
	i := s
	ok := true
	for ; i < e && ok; i++ {
		c := t[i]
		if class[c]&cSpace != 0 {
			continue
		}
		if n == 0 {
			first = i
		}
		if val == &valA85 && c == 'z' && n == 0 {
			ok = false
			break
		}
		v := val[c]
		if v == bad {
			break
		}
		acc = acc*85 + uint64(v)
		if n++; n == 5 {
			ok = done(4)
			acc, n = 0, 0
		}
	}
	if ok && n > 1 {
		k := n - 1
		for ; n < 5; n++ {
			acc = acc*85 + 84
		}
		ok = done(k)
	}
	if len(out) < 8 || !ok && len(out) < 24 || !bytesOfText(out) {
		return false
	}
	return l.emit(b, s, i, out, append(at, int32(i)))
}
