package rules

import (
	"bytes"
	"reflect"
	"slices"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"

	"sallyport.dev/sallyport/internal/gate"
)

func engine(t testing.TB) *Engine {
	t.Helper()
	e, err := Default()
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func detectText(e *Engine, text string) []gate.Finding {
	return e.Detect(&gate.Segment{Text: []byte(text), Channel: gate.ChannelUser})
}

// stream reads text in pieces and checks everything a lane promises on the way.
func stream(t testing.TB, e *Engine, text []byte, cuts func(rest int) int) []gate.Finding {
	l := e.Lane(&gate.Segment{Channel: gate.ChannelUser})
	var all []gate.Finding
	clear := 0
	for at := 0; at < len(text); {
		n := min(max(cuts(len(text)-at), 0), len(text)-at)
		piece := bytes.Clone(text[at : at+n])
		found, c := l.Write(piece)
		for i := range piece {
			piece[i] = 0xff // the lane must not keep the caller's bytes
		}
		at += n
		if c < clear || c > at {
			t.Fatalf("clear %d after %d at %d", c, clear, at)
		}
		for _, f := range found {
			if f.Start < clear {
				t.Fatalf("finding %s %d..%d (%s) begins before clear %d in %q", f.Rule, f.Start, f.End, f.View, clear, text)
			}
		}
		if held := at - c; held > 3*RunLimit {
			t.Fatalf("%d bytes held at %d", held, at)
		}
		clear = c
		all = append(all, found...)
	}
	for _, f := range l.Close() {
		if f.Start < clear {
			t.Fatalf("closing finding %s %d..%d (%s) begins before clear %d in %q", f.Rule, f.Start, f.End, f.View, clear, text)
		}
		all = append(all, f)
	}
	slices.SortStableFunc(all, order)
	return all
}

func checkSame(t testing.TB, e *Engine, text []byte, cuts func(int) int) {
	whole := e.Detect(&gate.Segment{Text: text, Channel: gate.ChannelUser})
	pieces := stream(t, e, text, cuts)
	if len(whole)+len(pieces) > 0 && !reflect.DeepEqual(whole, pieces) {
		t.Fatalf("text %q\nwhole  %+v\npieces %+v", text, whole, pieces)
	}
	for _, f := range whole {
		if f.Start < 0 || f.End <= f.Start || f.End > len(text) {
			t.Fatalf("finding %+v outside of %d bytes", f, len(text))
		}
		if utf8.Valid(text) && (!utf8.RuneStart(text[f.Start]) || f.End < len(text) && !utf8.RuneStart(text[f.End])) {
			t.Fatalf("finding %+v cuts a rune of %q", f, text)
		}
	}
}

func TestLaneAgreesWithDetect(t *testing.T) {
	e := engine(t)
	gen := texts(e)
	rapid.Check(t, func(r *rapid.T) {
		text := []byte(gen.Draw(r, "text"))
		size := rapid.IntRange(1, 40).Draw(r, "size")
		checkSame(t, e, text, func(int) int { return rapid.IntRange(0, size).Draw(r, "n") })
	})
}

// FuzzLane cuts a text where the second argument says.
func FuzzLane(f *testing.F) {
	e := engine(f)
	for i, r := range e.rules {
		for _, x := range r.src.Examples.Match {
			f.Add([]byte(expand(x, i)), []byte{1, byte(i), 3})
		}
	}
	f.Fuzz(func(t *testing.T, text, cuts []byte) {
		if !utf8.Valid(text) {
			return // texts are valid UTF-8 (gate.Segment); pieces may cut a rune
		}
		k := 0
		checkSame(t, e, text, func(int) int {
			if len(cuts) == 0 {
				return 1
			}
			k++
			return int(cuts[k%len(cuts)])%64 + k%2
		})
	})
}

// The signs of markup are lost in letter-spaced text; what is left of them is no finding.
func TestMarkupIsNoWord(t *testing.T) {
	e, err := Default()
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"a   d e c a f   i n s t e a d   C o r r e c t", "c o n s t a n t   c o n s t r u c t i o n   w o r k"} {
		if fs := e.Detect(&gate.Segment{Channel: gate.ChannelUser, Text: []byte(text)}); len(fs) > 0 {
			t.Errorf("%q: %v", text, fs)
		}
	}
}
