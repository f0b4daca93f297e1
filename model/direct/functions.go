package direct

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/url"
	"strings"
	"unicode"
)

// functions are what a grammar may call: small random things, and ways of writing a text otherwise.
var functions = map[string]func(*expander, string) string{
	"num":    func(e *expander, _ string) string { return fmt.Sprint(e.rng.IntN(90) + 2) },
	"digit":  func(e *expander, _ string) string { return fmt.Sprint(e.rng.IntN(8) + 2) },
	"big":    func(e *expander, _ string) string { return fmt.Sprint((e.rng.IntN(99) + 1) * 100) },
	"year":   func(e *expander, _ string) string { return fmt.Sprint(1950 + e.rng.IntN(76)) },
	"hex":    func(e *expander, _ string) string { return fmt.Sprintf("%08x", e.rng.Uint32()) },
	"code":   codeword,
	"name":   coined,
	"letter": func(e *expander, _ string) string { return string(rune('A' + e.rng.IntN(26))) },
	"gibber": gibberish,
	"rule": func(e *expander, _ string) string {
		return strings.Repeat(pick(e, "-", "=", "#", "*", "_", "~", "+"), e.rng.IntN(30)+3)
	},

	"b64":     func(_ *expander, s string) string { return base64.StdEncoding.EncodeToString([]byte(plain(s))) },
	"hexenc":  func(_ *expander, s string) string { return hex.EncodeToString([]byte(plain(s))) },
	"urlenc":  func(_ *expander, s string) string { return url.QueryEscape(plain(s)) },
	"rot13":   func(_ *expander, s string) string { return shift(plain(s), 13) },
	"caesar":  func(e *expander, s string) string { return shift(plain(s), 1+e.rng.IntN(24)) },
	"rev":     func(_ *expander, s string) string { return reversed(plain(s)) },
	"revword": func(_ *expander, s string) string { return reversedWords(plain(s)) },
	"leet":    func(_ *expander, s string) string { return leet.Replace(s) },
	"spaced":  func(_ *expander, s string) string { return spaced(plain(s)) },
	"morse":   func(_ *expander, s string) string { return morse(plain(s)) },
	"ascii":   func(_ *expander, s string) string { return codes(plain(s)) },
	"novowel": func(_ *expander, s string) string { return vowels.Replace(plain(s)) },
	"upper":   func(_ *expander, s string) string { return strings.ToUpper(s) },
	"lower":   func(_ *expander, s string) string { return strings.ToLower(s) },
	"snake":   func(_ *expander, s string) string { return snake(plain(s)) },
	"pig":     func(_ *expander, s string) string { return pig(plain(s)) },
	"vars":    func(e *expander, s string) string { return assigned(e, plain(s)) },
	"list":    func(_ *expander, s string) string { return listed(plain(s)) },
	"paren":   func(e *expander, s string) string { return hidden(e, plain(s)) },
	"slash":   func(_ *expander, s string) string { return strings.Join(strings.Fields(plain(s)), "/") },
	"acro":    func(_ *expander, s string) string { return acrostic(plain(s)) },
}

func pick(e *expander, of ...string) string { return of[e.rng.IntN(len(of))] }

// plain drops the marks, which must not be encoded.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		if r == markOpen || r == markClose || r == markHole {
			return -1
		}
		return r
	}, s)
}

var (
	leet   = strings.NewReplacer("a", "4", "e", "3", "i", "1", "o", "0", "s", "5", "t", "7", "A", "4", "E", "3", "O", "0")
	vowels = strings.NewReplacer("a", "", "e", "", "i", "", "o", "", "u", "")
	heads  = strings.Fields("ka zo ma ve ni ru el ta or vi be no lu xa qui dra my the sa ko al hy po ce fa gri")
	tails  = strings.Fields("ra dex lon mir tus via gon zen nor pha lix bot ius ara eth ron sis ka dan mus rix o la vex")
)

// coined makes a name that no list of known personas holds.
func coined(e *expander, _ string) string {
	s := heads[e.rng.IntN(len(heads))]
	if e.rng.IntN(2) == 0 {
		s += heads[e.rng.IntN(len(heads))]
	}
	s += tails[e.rng.IntN(len(tails))]
	switch e.rng.IntN(8) {
	case 0:
		return strings.ToUpper(s)
	case 1:
		return capital(s) + fmt.Sprintf("-%d", e.rng.IntN(99)+1)
	case 2:
		return capital(s) + "GPT"
	case 3:
		return capital(s) + pick(e, " X", " Prime", " Zero", " AI", " v2", " Ultra", "Bot")
	case 4:
		n := 3 + e.rng.IntN(3)
		up := make([]byte, n)
		for i := range up {
			up[i] = byte('A' + e.rng.IntN(26))
		}
		return string(up)
	}
	return capital(s)
}

func codeword(e *expander, _ string) string {
	switch e.rng.IntN(4) {
	case 0:
		return fmt.Sprintf("%s-%d", strings.ToUpper(heads[e.rng.IntN(len(heads))]+tails[e.rng.IntN(len(tails))]), e.rng.IntN(9000)+1000)
	case 1:
		return fmt.Sprint(e.rng.IntN(900000) + 100000)
	case 2:
		return heads[e.rng.IntN(len(heads))] + tails[e.rng.IntN(len(tails))] + fmt.Sprint(e.rng.IntN(100))
	}
	return fmt.Sprintf("%04x%s", e.rng.IntN(65536), heads[e.rng.IntN(len(heads))])
}

// gibberish looks like what a gradient search for suffixes leaves behind: pieces of words, code and
// signs in no order.
func gibberish(e *expander, _ string) string {
	bits := strings.Fields(`describing similarly Now write oppositely Me giving please revert with two sure ==interface Manuel WITH steps instead sentences ;)ish? ){ \" Three [/ ": tutorial ^{\ .") !-- ({ ` +
		"`` _{ pół Bedeutung titolo }} /** contr ización {}' === ~~ :@ lst \"] Sure( text formatting Again <- \\_ }}^ tagHelper Cher ++; weap eqn !!/ __ sprintf namespace ]{ 'd> %- .~ bullet ##(")
	n := 8 + e.rng.IntN(22)
	var b strings.Builder
	for i := range n {
		switch e.rng.IntN(6) {
		case 0:
			for range 2 + e.rng.IntN(5) {
				b.WriteByte(byte('a' + e.rng.IntN(26)))
			}
		case 1:
			b.WriteString(string(`!@#$%^&*(){}[]<>/\|;:'"~=+-_`[e.rng.IntN(28)]))
			b.WriteString(tails[e.rng.IntN(len(tails))])
		case 2:
			b.WriteString(capital(heads[e.rng.IntN(len(heads))] + tails[e.rng.IntN(len(tails))]))
		default:
			b.WriteString(bits[e.rng.IntN(len(bits))])
		}
		if i < n-1 && e.rng.IntN(4) > 0 {
			b.WriteByte(' ')
		}
	}
	return b.String()
}

func shift(s string, by int) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z':
			return 'a' + (r-'a'+rune(by))%26
		case r >= 'A' && r <= 'Z':
			return 'A' + (r-'A'+rune(by))%26
		}
		return r
	}, s)
}

func reversed(s string) string {
	r := []rune(s)
	for i, j := 0, len(r)-1; i < j; i, j = i+1, j-1 {
		r[i], r[j] = r[j], r[i]
	}
	return string(r)
}

func reversedWords(s string) string {
	w := strings.Fields(s)
	for i, j := 0, len(w)-1; i < j; i, j = i+1, j-1 {
		w[i], w[j] = w[j], w[i]
	}
	return strings.Join(w, " ")
}

func spaced(s string) string {
	var b strings.Builder
	for i, r := range s {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteRune(r)
	}
	return b.String()
}

var morseCode = strings.Fields(".- -... -.-. -.. . ..-. --. .... .. .--- -.- .-.. -- -. --- .--. --.- .-. ... - ..- ...- .-- -..- -.-- --..")

func morse(s string) string {
	var out []string
	for _, r := range strings.ToLower(s) {
		switch {
		case r >= 'a' && r <= 'z':
			out = append(out, morseCode[r-'a'])
		case r == ' ':
			out = append(out, "/")
		}
	}
	return strings.Join(out, " ")
}

func codes(s string) string {
	var out []string
	for _, r := range s {
		out = append(out, fmt.Sprint(int(r)))
	}
	return strings.Join(out, " ")
}

func snake(s string) string {
	w := strings.FieldsFunc(strings.ToLower(s), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) })
	return strings.Join(w[:min(len(w), 6)], "_")
}

func pig(s string) string {
	w := strings.Fields(s)
	for i, x := range w {
		if len(x) > 2 {
			w[i] = x[1:] + x[:1] + "ay"
		}
	}
	return strings.Join(w, " ")
}

// assigned splits a text over variables that are to be joined again.
func assigned(e *expander, s string) string {
	w := strings.Fields(s)
	n := 2 + e.rng.IntN(3)
	var b strings.Builder
	names := make([]string, 0, n)
	form := e.rng.IntN(4)
	for i := range n {
		lo, hi := i*len(w)/n, (i+1)*len(w)/n
		name := string(rune('a' + i))
		if form%2 == 1 {
			name = fmt.Sprintf("%s%d", pick(e, "part", "s", "var", "x", "chunk"), i+1)
		}
		names = append(names, name)
		piece := strings.Join(w[lo:hi], " ")
		if i < n-1 {
			piece += " "
		}
		fmt.Fprintf(&b, "%s = %q", name, piece)
		b.WriteString(pick(e, "\n", "; "))
	}
	b.WriteString(pick(e, "z = ", "print(", "now do ", "answer: ", "execute "))
	b.WriteString(strings.Join(names, " + "))
	return b.String()
}

func listed(s string) string {
	var b strings.Builder
	b.WriteByte('[')
	for i, w := range strings.Fields(s) {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%q", w)
	}
	return b.String() + "]"
}

var carriersOfLetters = strings.Fields("apple bread candle dance energy forest garden honest island jungle kitten lemon mountain night orange peaceful quiet river summer tender united velvet winter xylem yellow zebra happy lovely outcome mighty")

// hidden marks each letter of a text inside another word, in brackets.
func hidden(e *expander, s string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(s) {
		if r < 'a' || r > 'z' {
			b.WriteString("( )\n")
			continue
		}
		w := carriersOfLetters[e.rng.IntN(len(carriersOfLetters))]
		at := strings.IndexRune(w, r)
		if at < 0 {
			w, at = string(r)+w, 0
		}
		b.WriteString(w[:at] + "(" + string(r) + ")" + w[at+1:] + "\n")
	}
	return b.String()
}

func acrostic(s string) string {
	var out []string
	for _, r := range strings.ToLower(s) {
		for _, w := range carriersOfLetters {
			if rune(w[0]) == r {
				out = append(out, capital(w))
				break
			}
		}
	}
	return strings.Join(out, "\n")
}
