package readings

import "strings"

// quoted undoes quoted-printable: =41, and = at the end of a line.
func (l *lattice) quoted(*mark) {
	t := l.text
	b := l.builder("quoted-printable")
	said := strings.Contains(t, "quoted-printable")
	soft := 0
	for i := 0; soft < 2; soft++ {
		k := indexFrom(t, "=\n", i)
		if k < 0 {
			if k = indexFrom(t, "=\r\n", i); k < 0 {
				break
			}
		}
		i = k + 1
	}
	isHex := func(i int) bool {
		return i+2 < len(t) && t[i] == '=' && val16[t[i+1]] != bad && val16[t[i+2]] != bad && t[i+1] < 'a' && t[i+2] < 'a'
	}
	for i := 0; i < len(t); {
		k := strings.IndexByte(t[i:], '=')
		if k < 0 {
			break
		}
		i += k
		if i+1 < len(t) && t[i+1] == '?' { // an encoded word is read by mimeWords
			if e := strings.Index(t[i:min(len(t), i+200)], "?="); e > 0 {
				i += e + 2
				continue
			}
		}
		if soft >= 2 || said {
			rest := t[i+1:]
			if strings.HasPrefix(rest, "\n") {
				b.edit(i, i+2, "", whole)
				i += 2
				continue
			}
			if strings.HasPrefix(rest, "\r\n") {
				b.edit(i, i+3, "", whole)
				i += 3
				continue
			}
		}
		if isHex(i) && (said || b.edits > 0 && b.pos == i || isHex(i+3)) {
			b.edit(i, i+3, string([]byte{val16[t[i+1]]<<4 | val16[t[i+2]]}), whole)
			i += 3
			continue
		}
		i++
	}
	l.add(b)
}

// mimeWords decodes =?charset?B?...?= and =?charset?Q?...?= (RFC 2047); white space between two of
// them is dropped.
func (l *lattice) mimeWords(*mark) {
	t := l.text
	b := l.builder("mime-word")
	for i := 0; ; {
		k := indexFrom(t, "=?", i)
		if k < 0 {
			break
		}
		i = k + 2
		set := strings.IndexByte(t[i:min(len(t), i+32)], '?')
		if set < 1 || i+set+3 >= len(t) || t[i+set+2] != '?' {
			continue
		}
		kind := t[i+set+1] | 0x20
		s := i + set + 3
		e := indexFrom(t, "?=", s)
		if e < 0 {
			break
		}
		if e-s > 2000 || kind != 'b' && kind != 'q' {
			continue
		}
		from := k
		if b.edits > 0 && strings.TrimSpace(t[b.pos:k]) == "" {
			from = b.pos
		}
		if kind == 'b' {
			r := run{s: s, e: e, chars: []byte(strings.TrimRight(t[s:e], "="))}
			ok := true
			for _, c := range r.chars {
				ok = ok && val64[c] != bad
			}
			if !ok {
				continue
			}
			out := unpack(r.chars, 6, &val64, 0)
			b.edit(from, s, "", whole)
			b.raw(string(out), s, e, scaled)
		} else {
			b.edit(from, s, "", whole)
			for p := s; p < e; {
				switch {
				case t[p] == '_':
					b.raw(" ", p, p+1, whole)
				case t[p] == '=' && p+2 < e && val16[t[p+1]] != bad && val16[t[p+2]] != bad:
					b.raw(string([]byte{val16[t[p+1]]<<4 | val16[t[p+2]]}), p, p+3, whole)
					p += 2
				default:
					b.copy(p, p+1)
				}
				p++
			}
		}
		b.pos = e + 2
		i = e + 2
	}
	l.add(b)
}

// uuencoded decodes what stands between "begin 644 name" and "end".
func (l *lattice) uuencoded(*mark) {
	t := l.text
	b := l.builder("uuencode")
	for i := 0; ; {
		k := indexFrom(t, "begin ", i)
		if k < 0 {
			break
		}
		i = k + 6
		nl := strings.IndexByte(t[i:], '\n')
		if nl < 4 || nl > 120 || !octal(t[i]) || !octal(t[i+1]) || !octal(t[i+2]) {
			continue
		}
		p := i + nl + 1
		var out []byte
		var at []int32
		for p < len(t) {
			e := strings.IndexByte(t[p:], '\n')
			if e < 0 {
				e = len(t) - p
			}
			line := strings.TrimSuffix(t[p:p+e], "\r")
			n := 0
			if line != "" {
				n = int(line[0]-' ') & 0x3f
			}
			if n == 0 || (n+2)/3*4 > len(line)-1+3 || line == "end" {
				break
			}
			for g := 1; g < len(line) && n > 0; g += 4 {
				v := uint32(0)
				for j := range 4 {
					v <<= 6
					if g+j < len(line) {
						v |= uint32(line[g+j]-' ') & 0x3f
					}
				}
				for j := 0; j < 3 && n > 0; j++ {
					out, at = append(out, byte(v>>(16-8*j))), append(at, int32(p+g))
					n--
				}
			}
			p = min(p+e+1, len(t))
		}
		if len(out) > 0 {
			l.emit(b, k, p, out, append(at, int32(p)))
		}
		i = max(i, p)
	}
	l.add(b)
}
