package finding

import (
	"slices"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"

	"sallyport.dev/sallyport/internal/gate"
)

func seg(text string, c gate.Coding, start int) gate.Segment {
	return gate.Segment{Text: []byte(text), Place: gate.Place{Span: gate.Span{Start: start, End: start + len(text)}, Coding: c}}
}

func at(segment, start, end int, c gate.Category) gate.Finding {
	return gate.Finding{Segment: segment, Start: start, End: end, Category: c, Action: gate.Sanitize}
}

func TestPlan(t *testing.T) {
	segs := []gate.Segment{
		seg("0123456789", gate.JSONString, 100),
		seg("abcdefghij", gate.Verbatim, 200),
		{Text: []byte("0123456789\nabcdefghij"), Place: gate.Place{Coding: gate.Nowhere}, Joined: []gate.Part{{Index: 0, At: 0}, {Index: 1, At: 11}}},
		seg("nowhere", gate.Nowhere, 0),
		{Text: []byte("in"), Place: gate.Place{Span: gate.Span{Start: 100, End: 110}, Coding: gate.NestedJSON, Inner: gate.Span{Start: 2, End: 4}}},
		seg("aé漢z", gate.Verbatim, 300),
		{Text: []byte("0123456789nowhere"), Place: gate.Place{Coding: gate.Nowhere}, Joined: []gate.Part{{Index: 0, At: 0}, {Index: 3, At: 10}}},
	}
	a, s := AttackMarker, SecretMarker
	for _, c := range []struct {
		name  string
		fs    []gate.Finding
		want  []gate.Edit
		stuck bool
	}{
		{"nothing to do", []gate.Finding{{Action: gate.Block}, {Action: gate.Flag}, {Action: gate.Allow}}, nil, false},
		{"one", []gate.Finding{at(0, 2, 4, gate.Secret)}, []gate.Edit{{Segment: 0, Start: 2, End: 4, With: s}}, false},
		{"overlaps become one", []gate.Finding{at(0, 5, 8, gate.Secret), at(0, 2, 6, gate.Injection)}, []gate.Edit{{Segment: 0, Start: 2, End: 8, With: a}}, false},
		{"within another", []gate.Finding{at(0, 1, 9, gate.Secret), at(0, 2, 3, gate.Secret)}, []gate.Edit{{Segment: 0, Start: 1, End: 9, With: s}}, false},
		{"apart", []gate.Finding{at(1, 0, 1, gate.Secret), at(0, 8, 10, gate.Jailbreak)}, []gate.Edit{{Segment: 0, Start: 8, End: 10, With: a}, {Segment: 1, Start: 0, End: 1, With: s}}, false},
		{"joined", []gate.Finding{at(2, 8, 14, gate.Injection)}, []gate.Edit{{Segment: 0, Start: 8, End: 10, With: a}, {Segment: 1, Start: 0, End: 3, With: ""}}, false},
		{"joined, in the separator only", []gate.Finding{at(2, 10, 11, gate.Injection)}, nil, true},
		{"joined, a part stands nowhere", []gate.Finding{at(6, 5, 15, gate.Injection)}, nil, true},
		{"nowhere", []gate.Finding{at(0, 1, 2, gate.Secret), at(3, 0, 3, gate.Secret)}, nil, true},
		{"no such segment", []gate.Finding{at(99, 0, 3, gate.Secret)}, nil, true},
		{"a string inside goes before the whole", []gate.Finding{at(0, 0, 6, gate.Secret), at(4, 0, 2, gate.Secret)}, []gate.Edit{{Segment: 4, Start: 0, End: 2, With: s}}, false},
		{"half a character", []gate.Finding{at(5, 2, 4, gate.Secret)}, []gate.Edit{{Segment: 5, Start: 1, End: 6, With: s}}, false},
		{"an impossible range takes all", []gate.Finding{at(0, 7, 3, gate.Secret)}, []gate.Edit{{Segment: 0, Start: 0, End: 10, With: s}}, false},
		{"beyond the end", []gate.Finding{at(0, -4, 99, gate.Secret)}, []gate.Edit{{Segment: 0, Start: 0, End: 10, With: s}}, false},
	} {
		edits, stuck := Plan(segs, c.fs)
		if !slices.Equal(edits, c.want) || (stuck != nil) != c.stuck {
			t.Errorf("%s: %+v, stuck %v", c.name, edits, stuck)
		}
	}
}

// Whatever is found, the edits of a text can be made one after the other, leave valid UTF-8 and
// nothing of what was found.
func TestPlanCoversEveryFinding(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringOf(rapid.SampledFrom([]rune("aé漢😀"))).Draw(t, "text")
		if text == "" {
			return
		}
		segs := []gate.Segment{seg(text, gate.Verbatim, 0)}
		var fs []gate.Finding
		for range rapid.IntRange(1, 6).Draw(t, "n") {
			s := rapid.IntRange(0, len(text)-1).Draw(t, "start")
			fs = append(fs, at(0, s, rapid.IntRange(s+1, len(text)).Draw(t, "end"), gate.Secret))
		}
		edits, stuck := Plan(segs, fs)
		if stuck != nil {
			t.Fatal("stuck")
		}
		if !utf8.Valid(Apply([]byte(text), edits)) {
			t.Fatal("half a character is left")
		}
		for _, f := range fs {
			if !slices.ContainsFunc(edits, func(e gate.Edit) bool { return e.Start <= f.Start && f.End <= e.End }) {
				t.Fatalf("%d..%d is not covered by %+v", f.Start, f.End, edits)
			}
		}
		for i := 1; i < len(edits); i++ {
			if edits[i].Start <= edits[i-1].End {
				t.Fatalf("overlap: %+v", edits)
			}
		}
	})
}

func TestReadReportsAJoinedFindingOnce(t *testing.T) {
	find := func(s *gate.Segment) (fs []gate.Finding) {
		for i := range s.Text {
			if s.Text[i] == 'x' && i+1 < len(s.Text) && s.Text[i+1] == 'y' {
				fs = append(fs, gate.Finding{Rule: "xy", Start: i, End: i + 2})
			}
		}
		return fs
	}
	segs := []gate.Segment{
		{Text: []byte("xy.x"), Path: "0"}, {Text: []byte("yxy"), Path: "1"},
		{Text: []byte("xy.xyxy"), Path: "joined", Joined: []gate.Part{{Index: 0, At: 0}, {Index: 1, At: 4}}},
	}
	r := Reader{Find: find}
	fs, err := r.Read(segs)
	if err != nil || len(fs) != 3 {
		t.Fatalf("%+v, %v", fs, err)
	}
	if j := fs[2]; j.Path != "joined" || j.Start != 3 || j.End != 5 {
		t.Errorf("the one across the border: %+v", j)
	}
}
