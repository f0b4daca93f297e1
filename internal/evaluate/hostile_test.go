package evaluate

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// nasty is what a row may be named: terminal controls, directions, markup, line ends.
const nasty = "<script>alert(1)</script>\x1b[2J\u009b31m\u202e\u2066\"'`&\r\n\t\x00\x7f\U000e0041é"

func nastyReport(t *testing.T, errors int) *Report {
	q, _ := json.Marshal(nasty)
	n := string(q)
	more := `"source":` + n + `,"family":` + n + `,"lang":` + n + `,"dev_kind":` + n + `,"lic":` + n
	lines := []string{
		`{"id":` + n + `,"label":"injection","text":"0.1 allow SECRET ` + n[1:] + `,` + more + `}`,
		`{"id":` + n + `,"label":"benign","text":"0.9 block SECRET ` + n[1:] + `,` + more + `}`,
		row(1, "benign", "0.2 allow SECRET", ""), row(2, "benign", "0.2 allow SECRET", ""),
		`{"id":1,"label":` + n + `,"text":"SECRET"}`, `{` + n + `:1,` + n + `:2}`,
	}
	return evaluated(t, Options{Name: nasty, Version: nasty, Scorer: said{}, Files: []string{rowFile(t, "f", lines...)}, FPR: []float64{.4}, Errors: errors,
		By:         append(DefaultBy(), "lic", "source+family"),
		Transforms: []Transform{{Name: nasty, Family: nasty, Apply: func(s string, _ uint64) string { return s }}},
		Peers:      []Peer{&memory{name: nasty + "2", of: func(*Row) (Answer, bool) { return Answer{HasScore: true, Score: 1}, true }}},
		Problem: func(p Problem) {
			if strings.Contains(p.What, "SECRET") || strings.ContainsAny(p.What, "\x1b\u202e<") {
				t.Errorf("%q", p.What)
			}
		}})
}

func TestHostileNamesOnATerminal(t *testing.T) {
	for _, errors := range []int{0, 5} {
		rep := nastyReport(t, errors)
		if (len(rep.Missed) > 0) != (errors > 0) || (len(rep.Alarms) > 0) != (errors > 0) {
			t.Errorf("%d missed, %d alarms", len(rep.Missed), len(rep.Alarms))
		}
		var text, js bytes.Buffer
		if err := rep.WriteText(&text); err != nil {
			t.Fatal(err)
		}
		if err := rep.WriteJSON(&js); err != nil || !json.Valid(js.Bytes()) {
			t.Fatal(err)
		}
		for _, out := range []*bytes.Buffer{&text, &js} {
			for _, c := range out.Bytes() {
				if c != '\n' && (c < ' ' || c > '~') {
					t.Fatalf("byte %#x in the output", c)
				}
			}
			if strings.Contains(out.String(), "SECRET") != (errors > 0) {
				t.Errorf("text of rows, with %d asked for", errors)
			}
		}
		if strings.Contains(js.String(), "<script") {
			t.Error("markup in JSON")
		}
		var back Report
		if err := json.Unmarshal(js.Bytes(), &back); err != nil || back.Systems[0].Name != rep.Systems[0].Name {
			t.Errorf("JSON does not come back: %v", err)
		}
	}
}

func TestManyGroupsAreBounded(t *testing.T) {
	var lines []string
	for i := range maxGroups + 100 {
		lines = append(lines, row(i, "benign", "0 allow", fmt.Sprintf(`"lang":"l%d","family":"%d%s"`, i, i, strings.Repeat("x", i%300))))
	}
	rep := evaluated(t, Options{Files: []string{rowFile(t, "f", lines...)}, By: []string{"family", "lang"}})
	for _, b := range rep.Systems[0].By {
		if len(b.Groups) > maxGroups+1 {
			t.Errorf("%d groups by %s", len(b.Groups), b.Dimension)
		}
		for _, g := range b.Groups {
			if len(g.Name) > 2*maxValue {
				t.Errorf("a name of %d bytes", len(g.Name))
			}
		}
	}
	if last := rep.Systems[0].By[1].Groups; len(last) != maxGroups+1 || last[0].Name != "(more)" || last[0].Rows != 100 {
		t.Errorf("%d groups by lang, the largest %+v", len(last), last[0])
	}
}
