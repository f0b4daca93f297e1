package readings

import (
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// kind says what a rune is to the reader of a word.
type kind uint8

const (
	kOther   kind = iota // signs, symbols, emoji: between words
	kSpace               // a space that is not ASCII
	kLetter              // a letter that stands for itself
	kTwin                // a letter of another script that is drawn like a Latin one
	kStyled              // an ASCII letter, digit or sign in another style
	kAccent              // a Latin letter with an accent
	kMark                // a mark on a letter
	kHidden              // shows nothing
	kJoiner              // shows nothing, and joins or parts letters in some scripts
	kChooser             // variation selector
	kTag                 // tag character
	kEmoji               // what selectors and joiners belong to
)

type script uint8

const (
	sNone script = iota
	sLatin
	sCyrillic
	sGreek
	sArmenian
	sCherokee
	sJoining // scripts that use joiners
	sOther
)

type info struct {
	kind   kind
	script script
	ascii  byte // what it is folded to
}

// twins maps letters to the Latin ones they are drawn like (a part of UTS 39's confusables).
const twins = "аaбbвbгrеeѕsіiјjкkмmнhоoпnрpсcтtуyхxһhӏlԁdԛqԝwѵvԍgъbьbАAВBЕEЅSІIЈJКKМMНHОOРPСCТTУYХXҺHӀlԀDԚQԜWѴVҮYүyЬbԌGЗ3" +
	"ҽeҟkғfѡwѕsґrїiёe" +
	"αaβbγyεeηnιiκkνvοoρpτtυuχxωwσoμuϲcϳjΑAΒBΕEΖZΗHΙIΚKΜMΝNΟOΡPΤTΥYΧXϹC" +
	"օoոnսuհhցgԁdզqՏSՕOյjɡgաwքp" +
	"ᎪAᏴBᏟCᎠDᎬEᎻHᎫJᏦKᏞLᎷMᏢPᏚSᎢTᏙVᎳWᏃZᎡRᎥiᏀGᏆTᎽYᏮbᏂhᏳuᏒR"

// styles maps letters in another style that have no decomposition to the ASCII one.
const styles = "ɪIɩiɢGɴNᴏOʀRᴇEᴀAʙBᴄCᴅDꜰFʜHᴊJᴋKʟLᴍMᴘPꜱSᴛTᴜUᴠVᴡWʏYᴢZǫQꞯQɑaᴦrƖlɛeɔoıiȷj" +
	"‐-‑-‒-–-—-―-−-‘'’'‚'‛'“\"”\"„\"‟\"′'″\"⁄/∕/∶:ː:․.…."

// turnedLow is a to z upside down.
const turnedLow = "ɐqɔpǝɟƃɥᴉɾʞlɯuodbɹsʇnʌʍxʎz"

const pages = 0x10000

var (
	tableOnce sync.Once
	table     *[pages]info
	// composed says which marks (0x300..) make one letter with which ASCII letter.
	composed [27][0x70]bool
)

func lookup(r rune) info {
	if r < pages {
		return table[r]
	}
	return astral(r)
}

// build makes the table once; it takes a few milliseconds.
func build() {
	t := new([pages]info)
	for r := rune(0x80); r < pages; r++ {
		switch {
		case r >= 0x3400 && r <= 0x9FFF, r >= 0xA000 && r <= 0xA63F, r >= 0xAC00 && r <= 0xD7A3:
			t[r] = info{kLetter, sOther, 0}
			continue
		case r >= 0xD800 && r <= 0xF8FF:
			continue
		}
		t[r] = classify(r)
	}
	for _, p := range []struct {
		pairs string
		kind  kind
	}{{twins, kTwin}, {styles, kStyled}} {
		rs := []rune(p.pairs)
		for i := 0; i+1 < len(rs); i += 2 {
			t[rs[i]] = info{p.kind, scriptOf(rs[i]), byte(rs[i+1])}
		}
	}
	for i, r := range []rune(turnedLow) {
		if r >= 0x80 && t[r].kind == kLetter {
			t[r] = info{kLetter, sLatin, 'a' + byte(i)}
		}
	}
	table = t
}

func scriptOf(r rune) script {
	switch {
	case r < 0x250 || r >= 0x250 && r < 0x2B0 || r >= 0x1D00 && r < 0x1DC0 || r >= 0x1E00 && r < 0x1F00 || r >= 0x2C60 && r < 0x2C80 || r >= 0xA720 && r < 0xA800:
		return sLatin
	case r >= 0x370 && r < 0x400 || r >= 0x1F00 && r < 0x2000:
		return sGreek
	case r >= 0x400 && r < 0x530:
		return sCyrillic
	case r >= 0x530 && r < 0x590:
		return sArmenian
	case r >= 0x13A0 && r < 0x1400 || r >= 0xAB70 && r < 0xABC0:
		return sCherokee
	case r >= 0x600 && r < 0x860 || r >= 0x8A0 && r < 0x1000 || r >= 0x1780 && r < 0x18B0 || r >= 0xFB50 && r < 0xFE00 || r >= 0xFE70 && r < 0xFEFF || r >= 0xA800 && r < 0xAC00:
		return sJoining
	}
	return sOther
}

func classify(r rune) info {
	switch {
	case r >= 0xFE00 && r <= 0xFE0F:
		return info{kChooser, sNone, 0}
	case r == 0x200C || r == 0x200D:
		return info{kJoiner, sNone, 0}
	case r == 0x115F || r == 0x1160 || r == 0x3164 || r == 0xFFA0 || r == 0x17B4 || r == 0x17B5 || r == 0x34F || r == 0x180E || r >= 0x180B && r <= 0x180D || r >= 0xFFF9 && r <= 0xFFFB:
		return info{kHidden, sNone, 0}
	case r == 0x2800 || unicode.Is(unicode.Zs, r):
		return info{kSpace, sNone, 0}
	case r < 0xA0 && r != 0x85 || r == 0xAD || r >= 0x2000 && unicode.Is(unicode.Cf, r) || r == 0x61C:
		return info{kHidden, sNone, 0}
	case r >= 0x300 && r <= 0x36F || r >= 0x483 && r <= 0x489 || r >= 0x1AB0 && r <= 0x1AFF || r >= 0x1DC0 && r <= 0x1DFF || r >= 0x20D0 && r <= 0x20FF || r >= 0xFE20 && r <= 0xFE2F:
		return info{kMark, sNone, 0}
	case r >= 0x249C && r <= 0x24B5:
		return info{kStyled, sLatin, byte('a' + r - 0x249C)}
	case r >= 0x2190 && r <= 0x2BFF && !(r >= 0x2460 && r <= 0x24FF):
		return info{kEmoji, sNone, 0}
	}
	var buf [utf8.UTFMax]byte
	d := norm.NFKD.Properties(buf[:utf8.EncodeRune(buf[:], r)]).Decomposition()
	if len(d) > 0 && d[0] < 0x80 {
		if len(d) == 1 {
			return info{kStyled, sLatin, d[0]}
		}
		if letterNo[d[0]] != 0 && r < 0x2000 {
			n := 0
			for i, c := range string(d) {
				if i > 0 && c >= 0x300 && c < 0x370 {
					composed[letterNo[d[0]]][c-0x300] = true
					n++
				}
			}
			if n == 1 || n == 2 {
				return info{kAccent, sLatin, d[0]}
			}
		}
	}
	if unicode.IsLetter(r) {
		return info{kLetter, scriptOf(r), 0}
	}
	return info{}
}

// mathDigits and so on: the styled alphabets beyond the first plane.
func astral(r rune) info {
	switch {
	case r >= 0x1D400 && r <= 0x1D6A3:
		k := (r - 0x1D400) % 52
		if k < 26 {
			return info{kStyled, sLatin, byte('A' + k)}
		}
		return info{kStyled, sLatin, byte('a' + k - 26)}
	case r >= 0x1D7CE && r <= 0x1D7FF:
		return info{kStyled, sLatin, byte('0' + (r-0x1D7CE)%10)}
	case r >= 0x1D6A8 && r <= 0x1D7CB:
		return info{kLetter, sGreek, 0}
	case r >= 0x1F110 && r <= 0x1F129:
		return info{kStyled, sLatin, byte('A' + r - 0x1F110)}
	case r >= 0x1F130 && r <= 0x1F149:
		return info{kStyled, sLatin, byte('A' + r - 0x1F130)}
	case r >= 0x1F150 && r <= 0x1F169:
		return info{kStyled, sLatin, byte('A' + r - 0x1F150)}
	case r >= 0x1F170 && r <= 0x1F189:
		return info{kStyled, sLatin, byte('A' + r - 0x1F170)}
	case r >= 0x1F1E6 && r <= 0x1F1FF:
		return info{kEmoji, sNone, byte('a' + r - 0x1F1E6)}
	case r >= 0x1F000 && r <= 0x1FBFF:
		return info{kEmoji, sNone, 0}
	case r >= 0xE0000 && r <= 0xE007F:
		return info{kTag, sNone, 0}
	case r >= 0xE0100 && r <= 0xE01EF:
		return info{kChooser, sNone, 0}
	case r >= 0x1BCA0 && r <= 0x1BCA3, r >= 0x1D173 && r <= 0x1D17A, r >= 0xE0080 && r <= 0xE00FF, r >= 0xE01F0 && r <= 0xE0FFF:
		return info{kHidden, sNone, 0}
	case r >= 0x20000 && r <= 0x3FFFF:
		return info{kLetter, sOther, 0}
	}
	if unicode.IsLetter(r) {
		return info{kLetter, sOther, 0}
	}
	return info{}
}

// flags are the region codes that two regional indicators make a flag of.
var flags = func() map[string]bool {
	m := map[string]bool{}
	for f := range strings.FieldsSeq("ac ad ae af ag ai al am ao aq ar as at au aw ax az ba bb bd be bf bg bh bi bj bl bm bn bo bq br bs bt bv bw by bz " +
		"ca cc cd cf cg ch ci ck cl cm cn co cp cr cu cv cw cx cy cz de dg dj dk dm do dz ea ec ee eg eh er es et eu fi fj fk fm fo fr ga gb gd ge gf gg gh gi " +
		"gl gm gn gp gq gr gs gt gu gw gy hk hm hn hr ht hu ic id ie il im in io iq ir is it je jm jo jp ke kg kh ki km kn kp kr kw ky kz la lb lc li lk lr ls lt " +
		"lu lv ly ma mc md me mf mg mh mk ml mm mn mo mp mq mr ms mt mu mv mw mx my mz na nc ne nf ng ni nl no np nr nu nz om pa pe pf pg ph pk pl pm pn pr ps pt " +
		"pw py qa re ro rs ru rw sa sb sc sd se sg sh si sj sk sl sm sn so sr ss st sv sx sy sz ta tc td tf tg th tj tk tl tm tn to tr tt tv tw tz ua ug um un us " +
		"uy uz va vc ve vg vi vn vu wf ws xk ye yt za zm zw") {
		m[f] = true
	}
	return m
}()
