package shadow

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"sallyport.dev/sallyport/internal/gate"
	"sallyport.dev/sallyport/internal/inspect"
	"sallyport.dev/sallyport/internal/inspect/scan"
	"sallyport.dev/sallyport/internal/wire"
	"sallyport.dev/sallyport/internal/wire/openai"
)

// Rows are numbered and counted right over blank lines, broken ones and the ends of pieces.
func TestRows(t *testing.T) {
	var in strings.Builder
	want := map[int]string{}
	broken := int64(0)
	n := 0
	line := func(s string) { n++; in.WriteString(s + "\n") }
	for i := 0; in.Len() < 2*chunk+chunk/2; i++ {
		switch i % 5 {
		case 0:
			line(fmt.Sprintf(`{"id":"row %d","text":%q}`, i, attack))
			want[n] = fmt.Sprintf("row %d", i)
		case 1:
			line("")
		case 2:
			line(`{"id":`)
			broken++
		default:
			line(fmt.Sprintf(`{"id":%d,"text":%q}`, i, strings.Repeat("benign ", 200)))
		}
	}
	in.WriteString(fmt.Sprintf(`{"id":"last","messages":[{"role":"user","content":%q}]}`, attack)) // no line end
	want[n+1] = "last"
	got := map[int]string{}
	sum, err := Rows(t.Context(), strings.NewReader(in.String()), RowOptions{Active: builtin(), Candidate: blind{builtin()}}, func(c Change) error {
		got[c.Line] = c.ID
		if c.Active.Verdict != "block" || c.Candidate.Verdict != "allow" || len(c.Active.Rules) == 0 || len(c.Candidate.Rules) != 0 {
			t.Errorf("%+v", c)
		}
		return nil
	})
	if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%d changes, want %d; %v", len(got), len(want), err)
	}
	if sum.Changed != int64(len(want)) || sum.Skipped["a row that cannot be read"] != broken || sum.Compared < sum.Changed*2 {
		t.Errorf("%+v, %d broken", sum, broken)
	}
	if sum, err := Rows(t.Context(), strings.NewReader(in.String()), RowOptions{Active: builtin(), Candidate: builtin()}, nil); err != nil || sum.Changed != 0 || sum.OtherFindings != 0 {
		t.Errorf("a pack and itself: %+v %v", sum, err)
	}
	long := strings.Repeat("a", scan.MaxLine+10) + "\n" + `{"id":1,"text":"hi"}`
	if sum, err := Rows(t.Context(), strings.NewReader(long), RowOptions{Active: builtin(), Candidate: builtin()}, nil); err != nil || sum.Compared != 1 || sum.Skipped["a row that cannot be read"] != 1 {
		t.Errorf("a line too long: %+v %v", sum, err)
	}
	if sum, err := Rows(t.Context(), strings.NewReader(""), RowOptions{Active: builtin(), Candidate: builtin()}, nil); err != nil || sum.Compared != 0 || len(sum.Honest()) != 1 {
		t.Errorf("no rows: %+v %v", sum, err)
	}
}

// What is no export is refused; hostile records are counted, never compared wrongly and never printed raw.
func TestRecordedHostile(t *testing.T) {
	o := RecordOptions{
		Active: inspector(t, builtin(), inspect.Monitor), Candidate: inspector(t, blind{builtin()}, inspect.Monitor),
		Dialects: map[gate.Dialect]wire.Dialect{gate.OpenAI: openai.Dialect{}},
	}
	call := func(more string) string {
		return `{"kind":"call","id":"i","dialect":"openai","method":"POST","path":"/v1/chat/completions"` + more + "}\n"
	}
	content := func(mode, request string) string {
		return fmt.Sprintf(`,"content":{"mode":%q,"request":%q}`, mode, request)
	}
	body := fmt.Sprintf(`{"model":"m","messages":[{"role":"user","content":%q}]}`, attack)
	for in, want := range map[string]Summary{
		call(content("full", body)):     {Compared: 1, Changed: 1, Changes: map[string]int64{"block to allow": 1}},
		call(content("redacted", body)): {Compared: 1, Changed: 1, Changes: map[string]int64{"block to allow": 1}},
		call(content("redacted", body) + `,"findings":[{"direction":"request"}]`): {Skipped: map[string]int64{"request: " + skipRedacted: 1}},
		call(content("full", "hmac:00")):                                          {Skipped: map[string]int64{"request: " + skipNotKept: 1}},
		call(content("hashed", "00")):                                             {Skipped: map[string]int64{"request: " + skipNotKept: 1}},
		call(""):                                                                  {Skipped: map[string]int64{"request: " + skipNotKept: 1}},
		call(content("full", body+"…")):                                           {Skipped: map[string]int64{"request: " + skipCut: 1}},
		call(content("full", body[:20])):                                          {Skipped: map[string]int64{"request: " + skipForm: 1}},
		strings.Replace(call(content("full", body)), "openai", "other", 1):        {Skipped: map[string]int64{"request: " + skipForm: 1}},
		`{"kind":"note","event":"start"}` + "\n\n" + `{"kind":"gap"}`:             {},
	} {
		sum, err := Recorded(t.Context(), strings.NewReader(in), o, func(Change) error { return nil })
		if err != nil || fmt.Sprint(sum) != fmt.Sprint(want) {
			t.Errorf("%.200s: %+v, want %+v; %v", in, sum, want, err)
		}
	}
	for _, in := range []string{"x", "[]", `{"kind":"call","kind":"note"}`, "{}{}", "\x1b[2J", call("") + "{"} {
		_, err := Recorded(t.Context(), strings.NewReader(in), o, func(Change) error { return nil })
		if err == nil || strings.Contains(err.Error(), "\x1b") {
			t.Errorf("%q: %v", in, err)
		}
	}
	if _, err := Recorded(t.Context(), bytes.NewReader(append(bytes.Repeat([]byte("a"), 65<<20), '\n')), o, nil); err == nil {
		t.Error("an endless line was read")
	}
}
