package page

import (
	"bytes"
	"math"
	"strings"
	"testing"

	"golang.org/x/net/html"

	"sallyport.dev/sallyport/internal/evaluate"
	"sallyport.dev/sallyport/internal/evaluate/metric"
)

const nasty = `<script>alert(1)</script>"'><img src=x onerror=alert(2)>&amp;</title></svg>` + "\x00"

func full() *evaluate.Report {
	f := .5
	r := metric.Wilson(1, 2)
	flagged := &evaluate.Flagged{N: 2, At: []*metric.Rate{r}, Flag: r, Sanitize: r, Block: r}
	g := evaluate.Group{Name: nasty, Rows: 4, AUC: &f, Attacks: flagged, Benign: flagged, Harmful: flagged, Trusted: flagged}
	s := &evaluate.System{Name: nasty, Version: nasty, Error: nasty, Scores: true, Verdicts: true,
		Points: []evaluate.OperatingPoint{{FPR: .01, Threshold: &f, Above: r}}, All: g,
		Macro:   &evaluate.Macro{AttackSources: 1, BenignSources: 1, Recall: []*float64{&f}, FPR: []*float64{nil}},
		Worst:   evaluate.Worst{Recall: []evaluate.Named{{Source: nasty, Rate: r}}, FPR: []evaluate.Named{{Source: nasty, Rate: r}}},
		By:      []evaluate.Breakdown{{Dimension: "source", Groups: []evaluate.Group{g, {Name: "bare", Rows: 1}}}},
		Pairs:   &evaluate.Pairs{N: 2, Ordered: r, Right: []*metric.Rate{r}},
		Latency: &evaluate.Latency{ByLength: []evaluate.LengthLatency{{Length: "<128 B", N: 1}}, PerKB: &evaluate.Percentiles{}},
		ROC:     []metric.Point{{}, {FPR: .001, Recall: .5}, {FPR: 1, Recall: 1}}, Histogram: map[evaluate.Label][]int{evaluate.Benign: {1, 2}},
		Calibration: metric.Calibration([]float64{.9}, []float64{.1}, 10)}
	kept := evaluate.Rewritten{Name: nasty, Family: nasty, Kept: []*metric.Rate{r, r}, Added: []*float64{&f, &f}}
	m := []evaluate.Mistake{{File: nasty, ID: nasty, Source: nasty, Excerpt: nasty, Verdict: "allow"}}
	return &evaluate.Report{Files: []evaluate.FileReport{{Name: nasty}}, Where: nasty, Threshold: nasty, Rows: 4, FPR: []float64{.01},
		Systems: []*evaluate.System{s, {Name: "bare"}}, Notes: []string{nasty}, Missed: m, Alarms: m,
		Evasion: &evaluate.Evasion{Transforms: []evaluate.Rewritten{kept}, Points: []evaluate.EvasionPoint{{Name: "x", Worst: &f, WorstName: nasty, MostName: nasty}}}}
}

// allowed is every element that the page itself has.
var allowed = map[string]bool{"html": true, "head": true, "meta": true, "title": true, "style": true, "body": true, "h1": true, "h2": true, "p": true, "ul": true, "li": true,
	"div": true, "table": true, "caption": true, "thead": true, "tbody": true, "tr": true, "th": true, "td": true, "bdi": true, "figure": true, "figcaption": true,
	"svg": true, "line": true, "rect": true, "circle": true, "path": true, "text": true}

// Even names that nothing has escaped before stay text.
func TestPageHoldsNothingActive(t *testing.T) {
	b, err := Render(full())
	if err != nil {
		t.Fatal(err)
	}
	svgs, seen := 0, 0
	z := html.NewTokenizer(bytes.NewReader(b))
	for z.Next() != html.ErrorToken {
		tok := z.Token()
		if tok.Type == html.TextToken && strings.Contains(tok.Data, "<script>alert(1)</script>") {
			seen++
		}
		if tok.Type != html.StartTagToken && tok.Type != html.SelfClosingTagToken {
			continue
		}
		if !allowed[tok.Data] {
			t.Errorf("an element <%s>", tok.Data)
		}
		if tok.Data == "svg" {
			svgs++
		}
		for _, a := range tok.Attr {
			if strings.HasPrefix(a.Key, "on") || a.Key == "href" || a.Key == "src" || a.Key == "style" {
				t.Errorf("an attribute %s on <%s>", a.Key, tok.Data)
			}
		}
	}
	if svgs != 6 || seen < 15 {
		t.Errorf("%d plots, %d names", svgs, seen)
	}
	for _, never := range []string{"NaN", "Inf", "http-equiv=\"refresh", "url(", "@import", "ZgotmplZ"} {
		if bytes.Contains(b, []byte(never)) {
			t.Errorf("%q on the page", never)
		}
	}
}

func TestEmptyReports(t *testing.T) {
	for _, rep := range []*evaluate.Report{{}, {Systems: []*evaluate.System{{}}}, {FPR: []float64{.01}, Systems: []*evaluate.System{{Name: "x", Macro: &evaluate.Macro{}}}, Evasion: &evaluate.Evasion{}}} {
		b, err := Render(rep)
		if err != nil || !bytes.HasSuffix(bytes.TrimSpace(b), []byte("</html>")) || bytes.Contains(b, []byte("<svg")) {
			t.Errorf("%v %s", err, b)
		}
	}
}

func TestLogAxis(t *testing.T) {
	for _, c := range []struct{ fpr, x float64 }{{0, 0}, {1e-9, 0}, {1e-4, 0}, {1e-3, .25}, {.01, .5}, {1, 1}} {
		if got := logX(c.fpr); math.Abs(got-c.x) > 1e-12 {
			t.Errorf("logX(%v) = %v, want %v", c.fpr, got, c.x)
		}
	}
}
