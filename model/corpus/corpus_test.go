package corpus

import (
	"encoding/csv"
	"encoding/json"
	"encoding/xml"
	goparser "go/parser"
	"go/token"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
)

func rowsOf(seed uint64, n int, o Options) []Row { return slices.Collect(Generate(seed, n, o)) }

func TestGrammarsAreWhole(t *testing.T) {
	if err := base.check(nil); err != nil {
		t.Error(err)
	}
	for l, g := range langs {
		if err := g.check(base); err != nil {
			t.Errorf("%s: %v", l, err)
		}
		if len(g.rules["s.any"]) == 0 || len(named(g, "atk.")) == 0 || len(named(g, "neg.")) == 0 {
			t.Errorf("%s lacks sentences, payloads or innocent texts", l)
		}
	}
	probe := newGrammar()
	if err := probe.add("probe", "@a\n{b} {!nothing}"); err != nil {
		t.Fatal(err)
	}
	if probe.check(nil) == nil {
		t.Error("a rule that is nowhere given passes the check")
	}
	used := newGrammar()
	for _, r := range recs {
		for _, f := range r.fields {
			used.rules["x"] = append(used.rules["x"], f.value)
		}
		used.rules["x"] = append(append(used.rules["x"], r.tasks...), r.root...)
		if len(r.tasks) == 0 {
			t.Errorf("%s has no task", r.name)
		}
	}
	used.order = []string{"x"}
	if err := used.check(base); err != nil {
		t.Error(err)
	}
	for _, c := range named(base, "doc.") {
		if len(base.words[c]) < 3 {
			t.Errorf("%s lacks its channel, group and format", c)
		}
	}
}

func TestSameSeedSameRows(t *testing.T) {
	a, b, c := rowsOf(7, 1500, Options{}), rowsOf(7, 1500, Options{}), rowsOf(8, 1500, Options{})
	if len(a) != 1500 {
		t.Fatalf("%d rows", len(a))
	}
	same := 0
	for i := range a {
		if a[i].Text != b[i].Text || a[i].Task != b[i].Task || a[i].Pair != b[i].Pair {
			t.Fatalf("row %d differs", i)
		}
		if a[i].Text == c[i].Text {
			same++
		}
	}
	if same > 15 {
		t.Errorf("another seed gives %d of the same texts", same)
	}
}

func common(a, b string) (front, back int) {
	for front < len(a) && front < len(b) && a[front] == b[front] {
		front++
	}
	for back < len(a)-front && back < len(b)-front && a[len(a)-1-back] == b[len(b)-1-back] {
		back++
	}
	return front, back
}

func TestPairsDifferByWhatWasPutInAlone(t *testing.T) {
	groups := map[string][]Row{}
	for _, r := range rowsOf(3, 8000, Options{}) {
		groups[r.Pair] = append(groups[r.Pair], r)
	}
	bare, decoys := 0, 0
	for _, g := range groups {
		for _, a := range g {
			if strings.ContainsAny(a.Text, string([]rune{markOpen, markClose})) || strings.IndexFunc(a.Text, func(r rune) bool { return r >= holeBase && r < holeBase+16 }) >= 0 {
				t.Fatalf("a mark is left in %q", a.Text)
			}
			if (a.Label == Injection) != (a.Span != nil) {
				t.Fatalf("%s: label %s, span %v", a.ID, a.Label, a.Span)
			}
			if a.Span == nil {
				continue
			}
			if s := a.Text[a.Span[0]:a.Span[1]]; strings.TrimSpace(s) == "" || !strings.HasPrefix(a.Family, "atk.") {
				t.Fatalf("%s: span %q of %s", a.ID, s, a.Family)
			}
			for _, b := range g {
				if b.Label != Benign {
					continue
				}
				front, back := common(a.Text, b.Text)
				switch {
				case b.Family == "neg.none" && a.Form != "replace" && (a.Position != "field" || json.Valid([]byte(a.Text))):
					// What is left when the payload and its wrapping go is the twin.
					if bare++; front+back < len(b.Text) {
						t.Fatalf("%s (%s, %s): the twin lacks what is outside of the payload:\n%s\n---\n%s", a.ID, a.Carrier, a.Form, a.Text, b.Text)
					}
				case a.Form == "sentence" || a.Form == "paragraph":
					if decoys++; front < a.Span[0]-2 || back < len(a.Text)-a.Span[1]-2 {
						t.Fatalf("%s and %s differ outside of the payload:\n%s\n---\n%s", a.ID, b.ID, a.Text, b.Text)
					}
				}
			}
		}
	}
	if bare < 500 || decoys < 500 {
		t.Errorf("only %d and %d pairs were compared", bare, decoys)
	}
}

// Tool results are data: whatever was put in, they must still parse. The structured styles are told
// apart by how a text begins.
func TestStructuredTextsParse(t *testing.T) {
	var o Options
	for _, r := range recs {
		o.Carriers = append(o.Carriers, r.name)
	}
	o.Carriers = append(o.Carriers, "config_json", "config_yaml")
	parsed := map[string]int{}
	for _, r := range rowsOf(5, 6000, o) {
		switch first := r.Text[0]; {
		case r.Carrier == "config_yaml":
			var v any
			if err := yaml.Unmarshal([]byte(r.Text), &v); err != nil {
				t.Fatalf("%s: %v\n%s", r.ID, err, r.Text)
			}
			parsed["config_yaml"]++
		case r.Carrier == "config_json" && r.Form == "comment":
		case (first == '{' || first == '[') && !strings.ContainsAny(r.Text[:3], "'") && strings.ContainsAny(r.Text[:min(len(r.Text), 30)], `"`):
			if !json.Valid([]byte(r.Text)) && !pythonic(r.Text) {
				t.Fatalf("%s is no JSON:\n%s", r.ID, r.Text)
			}
			parsed["json"]++
		case first == '<':
			d := xml.NewDecoder(strings.NewReader(r.Text))
			for {
				if _, err := d.Token(); err == io.EOF {
					break
				} else if err != nil {
					t.Fatalf("%s: %v\n%s", r.ID, err, r.Text)
				}
			}
			parsed["xml"]++
		}
	}
	for _, f := range []string{"json", "xml", "config_yaml"} {
		if parsed[f] < 50 {
			t.Errorf("only %d of %s", parsed[f], f)
		}
	}
}

func pythonic(s string) bool { return strings.Contains(s, "': ") || strings.Contains(s, ": '") }

// The styles are parsed one by one as well, around the worst payload known.
func TestStylesKeepHostilePayloads(t *testing.T) {
	const payload = "say \"x\", 'y', <b>&amp;</b>,\n# no, | yes: \\ {a}: [b] -- é 漢 😀\n\nend"
	for seed := range uint64(300) {
		e := newExpander(rand.New(rand.NewPCG(seed, 1)), "en")
		rec := recs[e.IntN(len(recs))]
		tree := rec.build(e, false)
		var leaves, objects []*value
		tree.prosaic(&leaves, &objects)
		leaves[0].text = payload
		for _, f := range []string{"json", "yaml", "xml", "csv"} {
			look := style{format: f, indent: e.of("", "  "), gap: " ", ascii: e.oneIn(2), block: e.oneIn(2), item: "item", root: "root"}
			if f == "csv" && !flat(tree) {
				continue
			}
			text := look.render(tree)
			var v any
			var err error
			switch f {
			case "json":
				err = json.Unmarshal([]byte(text), &v)
			case "yaml":
				err = yaml.Unmarshal([]byte(text), &v)
			case "xml":
				var x struct {
					Inner string `xml:",innerxml"`
				}
				err, v = xml.Unmarshal([]byte(text), &x), payload
			case "csv":
				v, err = csv.NewReader(strings.NewReader(text)).ReadAll()
			}
			if err != nil {
				t.Fatalf("%s: %v\n%s", f, err, text)
			}
			if !holds(v, payload) {
				t.Fatalf("%s lost the payload:\n%s", f, text)
			}
		}
	}
}

func holds(v any, s string) bool {
	switch v := v.(type) {
	case string:
		return v == s
	case map[string]any:
		for _, k := range v {
			if holds(k, s) {
				return true
			}
		}
	case []any:
		return slices.ContainsFunc(v, func(k any) bool { return holds(k, s) })
	case [][]string:
		return slices.ContainsFunc(v, func(row []string) bool { return slices.Contains(row, s) })
	}
	return false
}

func TestGoCodeParses(t *testing.T) {
	n := 0
	for _, r := range rowsOf(9, 300, Options{Carriers: []string{"code_go"}, Langs: []string{"en"}}) {
		if r.Form == "sentence" && strings.Contains(r.Text, "\n") {
			continue // a payload of several lines after a line comment is meant to look odd
		}
		if _, err := goparser.ParseFile(token.NewFileSet(), "x.go", r.Text, 0); err != nil {
			t.Errorf("%s (%s): %v\n%s", r.ID, r.Form, err, r.Text)
		}
		n++
	}
	if n < 50 {
		t.Errorf("only %d", n)
	}
}

func TestWholeFamiliesAndCarriersCanBeHeldOut(t *testing.T) {
	out := Options{WithoutFamilies: []string{"atk.override", "neg.todo"}, WithoutCarriers: []string{"readme", "weather"}, WithoutLangs: []string{"de"}}
	for _, r := range rowsOf(1, 4000, out) {
		if slices.Contains(out.WithoutFamilies, r.Family) || slices.Contains(out.WithoutCarriers, r.Carrier) || r.Lang == "de" {
			t.Fatalf("held out: %s %s %s", r.Family, r.Carrier, r.Lang)
		}
	}
	for _, r := range rowsOf(1, 500, Options{Carriers: []string{"readme"}, Families: []string{"atk.leak", "neg.todo"}, Langs: []string{"en"}}) {
		if r.Carrier != "readme" || !slices.Contains([]string{"atk.leak", "neg.todo", "neg.none"}, r.Family) {
			t.Fatalf("not asked for: %s %s", r.Family, r.Carrier)
		}
	}
	for range Generate(1, 10, Options{Carriers: []string{"nothing"}}) {
		t.Fatal("a carrier that is not there wrote a row")
	}
}

func TestDistribution(t *testing.T) {
	const n = 20000
	count, texts := map[string]int{}, map[string]int{}
	for _, r := range rowsOf(2, n, Options{}) {
		texts[r.Text]++
		count["family "+r.Family]++
		count["carrier "+r.Carrier]++
		count["lang "+r.Lang]++
		count[r.Channel]++
		count[r.Position]++
		count[r.Label]++
		if strings.HasPrefix(r.Family, "neg.") && r.Family != "neg.none" {
			count["decoy"]++
		}
		if r.Task == "" {
			count["no task"]++
		}
		if len(r.Text) < 30 || len(r.Text) > 3000 {
			count["odd length"]++
		}
	}
	if len(texts) < n*99/100 {
		t.Errorf("%d different texts of %d", len(texts), n)
	}
	for _, c := range []struct {
		what     string
		from, to int
	}{
		{Injection, 38, 55}, {"decoy", 25, 45}, {"tool", 25, 75}, {"document", 25, 75}, {"lang en", 60, 75}, {"no task", 0, 0}, {"odd length", 0, 2}, {"start", 1, 30}, {"middle", 4, 40}, {"end", 4, 40},
	} {
		if got := count[c.what] * 100 / n; got < c.from || got > c.to {
			t.Errorf("%s: %d %%, not %d to %d", c.what, got, c.from, c.to)
		}
	}
	for _, f := range Families() {
		if count["family "+f] < n/1000 {
			t.Errorf("%s: %d rows", f, count["family "+f])
		}
	}
	for _, c := range Carriers() {
		if count["carrier "+c] < n/500 {
			t.Errorf("%s: %d rows", c, count["carrier "+c])
		}
	}
}
