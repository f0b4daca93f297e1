package apikey

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"sallyport.dev/sallyport/internal/secret"
)

var form = regexp.MustCompile(`^sp_live_[a-z2-7]{12}_[0-9A-Za-z]{43}_[0-9A-Za-z]{6}$`)

func hasher(t testing.TB, pepper string) *Hasher {
	t.Helper()
	h, err := NewHasher(secret.New(pepper))
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestGeneratedKeysHaveTheFormAndDiffer(t *testing.T) {
	seen, letters := map[string]bool{}, map[byte]int{}
	for range 2000 {
		k := Generate(NewID())
		s := k.Secret().Reveal()
		if !form.MatchString(s) || len(s) != Len {
			t.Fatalf("form of a key with id %s", k.ID)
		}
		if got, ok := Parse(s); !ok || got != k {
			t.Fatalf("key with id %s is not read back", k.ID)
		}
		if seen[s] || seen[k.ID] {
			t.Fatal("drawn twice")
		}
		seen[s], seen[k.ID] = true, true
		for i := range secretLen {
			letters[k.body()[idLen+1+i]]++
		}
	}
	// 86,000 letters over 62: 1,387 each; a biased draw (byte mod 62) would give eight of them 25 % more.
	for c, n := range letters {
		if n < 1190 || n > 1590 {
			t.Errorf("letter %c drawn %d times", c, n)
		}
	}
	if len(letters) != 62 {
		t.Errorf("%d letters drawn", len(letters))
	}
}

func TestParseRefuses(t *testing.T) {
	good := Generate("abcdefghijkl").Secret().Reveal()
	recheck := func(s string) string { s = s[:Len-checkLen-1]; return s + "_" + check(s) }
	for name, s := range map[string]string{
		"nothing":             "",
		"a provider's key":    "sk-proj-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
		"another prefix":      recheck("sp_test_" + good[8:]),
		"one letter short":    good[:Len-1],
		"one letter more":     good + "0",
		"space before":        " " + good[:Len-1],
		"a wrong check":       good[:Len-1] + string('0'+(good[Len-1]-'0'+1)%10),
		"upper-case id":       recheck("sp_live_ABCDEFGHIJKL" + good[20:]),
		"id outside alphabet": recheck("sp_live_abcdefghijk1" + good[20:]),
		"no separator":        recheck("sp_live_abcdefghijklx" + good[21:]),
		"secret with a sign":  recheck(good[:30] + "-" + good[31:]),
		"secret with a NUL":   recheck(good[:30] + "\x00" + good[31:]),
		"secret not ASCII":    recheck(good[:30] + "ü" + good[32:]),
	} {
		if _, ok := Parse(s); ok {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, ok := Parse(recheck(good)); !ok {
		t.Error("the check of the test itself is wrong")
	}
}

func TestEveryMistypedLetterIsRefused(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := []byte(Generate(NewID()).Secret().Reveal())
		i := rapid.IntRange(0, len(s)-1).Draw(t, "at")
		b := rapid.Byte().Draw(t, "with")
		if s[i] == b {
			return
		}
		s[i] = b
		if _, ok := Parse(string(s)); ok {
			t.Fatalf("byte %d changed, and it is still a key", i)
		}
	})
}

func TestHash(t *testing.T) {
	h := hasher(t, "a pepper of good length")
	k, other := Generate("abcdefghijkl"), Generate("abcdefghijkl")
	if !h.Sum(k).Equal(h.Sum(k)) {
		t.Error("a hash is not stable")
	}
	if h.Sum(k).Equal(h.Sum(other)) {
		t.Error("two secrets, one hash")
	}
	moved := Token{ID: "bbbbbbbbbbbb", text: Prefix + "bbbbbbbbbbbb" + k.text[20:]}
	if h.Sum(k).Equal(h.Sum(moved)) {
		t.Error("the hash does not hold the id")
	}
	p := hasher(t, "another pepper of good length")
	if p.Sum(k).Equal(h.Sum(k)) || p.Version() == h.Version() {
		t.Error("the hash does not hold the pepper")
	}
	if hasher(t, "a pepper of good length").Version() != h.Version() || len(h.Version()) != 8 {
		t.Error("the version is not stable")
	}
	if _, err := NewHasher(secret.New("short")); err == nil {
		t.Error("a short pepper was accepted")
	}
}

func TestNothingPrints(t *testing.T) {
	k := Generate("abcdefghijkl")
	sec := k.Secret().Reveal()[21:]
	sum := hasher(t, "a pepper of good length").Sum(k)
	b, _ := json.Marshal(map[string]any{"t": k, "h": sum, "s": k.Secret()})
	out := fmt.Sprintf("%v %+v %#v %s %x %v %+v %#v %s %s %v", k, k, k, k, k.Secret(), sum, sum, sum, sum, b, struct{ T Token }{k})
	if strings.Contains(out, sec[:20]) || strings.Contains(out, fmt.Sprintf("%x", sum[:4])) || strings.Contains(out, fmt.Sprint(sum[0], " ", sum[1])) {
		t.Error(out)
	}
}

func FuzzParse(f *testing.F) {
	good := Generate("abcdefghijkl").Secret().Reveal()
	f.Add(good)
	f.Add("sp_live_")
	f.Add("")
	f.Add(strings.Repeat("_", Len))
	f.Fuzz(func(t *testing.T, s string) {
		k, ok := Parse(s)
		if ok != (form.MatchString(s) && len(s) == Len && check(s[:Len-checkLen-1]) == s[Len-checkLen:]) {
			t.Fatalf("Parse(%q) = %v", s, ok)
		}
		if ok && (k.Secret().Reveal() != s || k.ID != s[8:20]) {
			t.Fatal("read back differently")
		}
	})
}

// A key is found wherever it stands in a text, and what is no key is none.
func TestIn(t *testing.T) {
	k := Generate(NewID()).Secret().Reveal()
	wrong := k[:len(k)-1] + map[bool]string{true: "1", false: "0"}[k[len(k)-1] == '0']
	for s, want := range map[string]bool{
		k: true, "a=b; k=" + k: true, k + "&x": true, Prefix + k: true, "sp_live_sp_live_" + k: true, strings.ReplaceAll(k, "_", "%5f"): true, "%zz%5" + strings.ReplaceAll(k, "l", "%6C") + "%": true,
		"": false, wrong: false, k[:len(k)-1]: false, strings.ToUpper(k): false, "%" + k[1:]: false, "sp_live_": false, strings.Repeat("sp_live_", 40): false,
	} {
		if In(s) != want {
			t.Errorf("%q: %v", s, !want)
		}
	}
	if n := testing.AllocsPerRun(100, func() { In("Mozilla/5.0 (X11; Linux x86_64) sp_live_") }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}
