package readings

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// gainful calls f for the stretches of words of t whose gains together are worth at least least; a
// word is what stands between white space. The best stretches are found as maximal sums.
func gainful(t string, least int, gain func(word string) int, f func(s, e int)) {
	sum, best := 0, 0
	from, to := 0, 0
	flush := func() {
		if best >= least {
			f(from, to)
		}
		sum, best = 0, 0
	}
	for i := 0; i < len(t); {
		if class[t[i]]&cSpace != 0 {
			i++
			continue
		}
		s := i
		for i < len(t) && class[t[i]]&cSpace == 0 && i-s < 256 {
			i++
		}
		g := gain(t[s:i])
		if sum == 0 {
			if g <= 0 {
				continue
			}
			from = s
		}
		sum += g
		switch {
		case sum > best:
			best, to = sum, i
		case sum <= 0 || sum < best-160:
			at := to
			ok := best >= least
			flush()
			if ok && at < s { // what follows is looked at anew
				i = at
			}
		}
		if i-from > 1024 && sum > 0 {
			flush()
		}
	}
	flush()
}

// rotation is one candidate way to turn a stretch back.
type rotation struct {
	view string
	m    [256]byte // what each byte becomes
}

var rotations = func() (r [26]rotation) { // 1..25 turn by that much; 0 is Atbash
	for n := range r {
		for c := range r[n].m {
			r[n].m[c] = byte(c)
		}
		for c := range 26 {
			to := (c + n) % 26
			if n == 0 {
				to = 25 - c
			}
			r[n].m['a'+c], r[n].m['A'+c] = byte('a'+to), byte('A'+to)
		}
		r[n].view = "rot" + strconv.Itoa(26-n)
	}
	r[0].view = "atbash"
	return
}()

var same = func() (r rotation) {
	for c := range r.m {
		r.m[c] = byte(c)
	}
	return
}()

var rot47 = func() (r rotation) {
	r.view = "rot47"
	for c := range r.m {
		r.m[c] = byte(c)
		if c > ' ' && c < 0x7f {
			r.m[c] = byte('!' + (c-'!'+47)%94)
		}
	}
	return
}()

// gain is how much likelier p is when it is turned.
func (r *rotation) gain(p string) int {
	a, b, gain := 0, 0, 0
	for i := 0; i <= len(p); i++ {
		x, y := 0, 0
		if i < len(p) {
			x, y = int(letterNo[p[i]]), int(letterNo[r.m[p[i]]])
		}
		if a = (a<<5 | x) & 0x7fff; a != 0 && (x != 0 || a>>5&31 != 0) {
			gain -= int(tri[a])
		}
		if b = (b<<5 | y) & 0x7fff; b != 0 && (y != 0 || b>>5&31 != 0) {
			gain += int(tri[b])
		}
	}
	return gain
}

// likely is likely of p turned, read last to first with back.
func (r *rotation) likely(p string, back bool) float64 {
	idx, sum, n := 0, 0, 0
	for i := range len(p) {
		c := p[i]
		if back {
			c = p[len(p)-1-i]
		}
		x := int(letterNo[r.m[c]])
		if x == 0 && idx&31 == 0 {
			continue
		}
		idx = (idx<<5 | x) & 0x7fff
		sum += int(tri[idx])
		n++
	}
	return float64(sum) / float64(max(n, 1))
}

func (r *rotation) turn(s string) string {
	out := make([]byte, len(s))
	for i := range len(s) {
		out[i] = r.m[s[i]]
	}
	return string(out)
}

// ciphers reads stretches that do not look like English turned by every rotation, by Atbash, last
// letter first, and word by word, and keeps what then reads like English.
func (l *lattice) ciphers(*mark) {
	t := l.text
	made := map[string]*builder{}
	get := func(view string) *builder {
		b := made[view]
		if b == nil {
			b = l.builder(view)
			made[view] = b
		}
		return b
	}
	gainful(t, 120, func(w string) int {

		sum, n := score(w)
		return 2*n - sum
	}, func(s, e int) {
		if e-s < 8 {
			return
		}
		p := t[s:e]
		sum, n := score(p)
		if n < 8 {
			return
		}
		here := float64(sum) / float64(n)
		bar := max(readable, here+8)
		if r := bestRotation(p, min(bar, 0), false); r != nil && r.gain(p) > 0 {
			// Of the stretch only what the rotation makes likelier.
			done := false
			gainful(p, 100, func(w string) int {
				return r.gain(w)
			}, func(a, b int) {
				a, b = widen(t, s+a, s+b, r)
				q := get(r.view)
				if a = max(a, q.pos); a < b && likely(r.turn(t[a:b])) >= readable {
					q.edit(a, b, r.turn(t[a:b]), scaled)
					done = true
				}
			})
			if done {
				return
			}
		}
		s, e = pad(t, s, e)
		p = t[s:e]
		if r := bestRotation(p, bar, true); r != nil {
			b := get(r.view + "+reversed")
			b.approach(s)
			if plain := r.turn(reversed(p)); utf8.ValidString(plain) {
				b.raw(plain, s, e, backward)
			}
			b.pos = e
			return
		}
		if same.likely(p, true) < bar {
			return
		}
		// Letters alone do not say whether the words stand last to first too: both are readings.
		b := get("reversed")
		b.approach(s)
		b.back(s, e)
		b.pos = e
		l.backWords(get("reversed-each-word"), s, e)
	})
	for _, view := range slices.Sorted(maps.Keys(made)) {
		l.add(made[view])
	}
}

// bestRotation is the rotation or Atbash after which p reads like English, nil for none.
func bestRotation(p string, bar float64, back bool) *rotation {
	var count [26]int
	total := 0
	for i := range len(p) {
		if x := letterNo[p[i]]; x != 0 {
			count[x-1]++
			total++
		}
	}
	// The three likeliest by their letters alone are read.
	var top [3]int
	var worth [3]float64
	for i := range worth {
		worth[i] = -1e9
	}
	for n := range rotations {
		v := 0.0
		for c, k := range count {
			if k > 0 {
				v += float64(k) * mono[letterNo[rotations[n].m['a'+c]]]
			}
		}
		for i := range worth {
			if v > worth[i] {
				copy(worth[i+1:], worth[i:])
				copy(top[i+1:], top[i:])
				worth[i], top[i] = v, n
				break
			}
		}
	}
	var best *rotation
	for i, n := range top {
		// The letters of English are worth half a bit each; those of no language less than nothing.
		if worth[i] < -0.3*float64(total) {
			break
		}
		if v := rotations[n].likely(p, back); v >= bar {
			best, bar = &rotations[n], v
		}
	}
	return best
}

// widen takes in the words on both sides that r makes likelier too.
func widen(t string, s, e int, r *rotation) (int, int) {
	s, e = pad(t, s, e)
	better := func(w string, last bool) bool {
		a, n := score(w)
		b, _ := score(r.turn(w))
		return n > 0 && (b > a || last && n <= 5 && b > a-60)
	}
	for range 4 {
		k := s
		for k > 0 && class[t[k-1]]&cSpace != 0 {
			k--
		}
		w := k
		for w > 0 && w > k-40 && class[t[w-1]]&cSpace == 0 {
			w--
		}
		if w == k || !better(t[w:k], w == 0 || t[w-1] == '\n' || w > 1 && strings.IndexByte(":\"'(`", t[w-2]) >= 0) {
			break
		}
		s = w
	}
	for range 4 {
		k := e
		for k < len(t) && class[t[k]]&cSpace != 0 {
			k++
		}
		w := k
		for w < len(t) && w < k+40 && class[t[w]]&cSpace == 0 {
			w++
		}
		if w == k || !better(t[k:w], false) {
			break
		}
		e = w
	}
	return s, e
}

// pad moves both ends to white space, so that no rune and no word is cut.
func pad(t string, s, e int) (int, int) {
	for k := 0; s > 0 && class[t[s-1]]&cSpace == 0 && k < 64; k++ {
		s--
	}
	for k := 0; e < len(t) && class[t[e]]&cSpace == 0 && k < 64; k++ {
		e++
	}
	// A short word more at either end of the line belongs to it.
	for k := 1; k <= 10 && s >= k; k++ {
		if s == k || t[s-k-1] == '\n' {
			s -= k
			break
		}
	}
	for k := 1; k <= 10 && e+k <= len(t); k++ {
		if e+k == len(t) || t[e+k] == '\n' {
			e += k
			break
		}
	}
	return s, e
}

func reversed(p string) string {
	out := make([]byte, len(p))
	for i := range len(p) {
		out[len(p)-1-i] = p[i]
	}
	return string(out)
}

// backWords reads every word of s..e last letter first; what stands at its ends stays there.
func (l *lattice) backWords(b *builder, s, e int) {
	t := l.text
	b.approach(s)
	for i := s; i < e; {
		k := i
		for i < e && class[t[i]]&cSpace != 0 {
			i++
		}
		b.copy(k, i)
		k = i
		for i < e && class[t[i]]&cSpace == 0 {
			i++
		}
		b.back(k, i)
	}
	b.pos = e
}

func letterCount(s string) (n int) {
	for i := range len(s) {
		if letterNo[s[i]] != 0 {
			n++
		}
	}
	return n
}

// rot47 reads words of signs.
func (l *lattice) rot47(*mark) {
	b := l.builder("rot47")
	t := l.text
	gainful(t, 160, func(w string) int {
		signs := 0
		for i := range len(w) {
			if class[w[i]]&(cSign|cLeet|cB64|cMorse|cDigit) != 0 {
				signs++
			}
		}
		if signs*6 < len(w) {
			return -20
		}
		sum, m := score(rot47.turn(w))
		if m*3 < len(w)*2 {
			return -4 * len(w)
		}
		return min(sum, 14*m) - 2*m
	}, func(s, e int) {
		if e-s < 10 {
			return
		}
		s, e = pad(t, s, e)
		for range 3 { // words of signs beside it that turn into letters
			k := s
			for k > 0 && class[t[k-1]]&cSpace != 0 {
				k--
			}
			w := k
			for w > 0 && k-w < 64 && class[t[w-1]]&cSpace == 0 {
				w--
			}
			if n, m := letterCount(t[w:k]), letterCount(rot47.turn(t[w:k])); w == k || m <= n {
				break
			}
			s = w
		}
		text := rot47.turn(t[s:e])
		if sum, n := score(text); n >= 10 && float64(sum) >= readable*float64(n) && n*3 >= len(text)*2 {
			b.edit(s, e, text, scaled)
		}
	})
	l.add(b)
}
