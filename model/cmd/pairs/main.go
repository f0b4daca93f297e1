// Command pairs measures matched pairs (of model/corpus): how many injections in documents and tool
// results are found at a rate of false alarms, and what taking them out leaves. Every row goes through
// the gateway's own inspection, as the result of a tool in a call.
//
//	pairs [-weights DIR] [-json] ROWS...
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"net/http"
	"os"
	"slices"
	"strings"
	"text/tabwriter"

	"sallyport.dev/sallyport/internal/gate"
	"sallyport.dev/sallyport/internal/inspect"
	"sallyport.dev/sallyport/internal/inspect/classify"
	"sallyport.dev/sallyport/internal/inspect/classify/builtin"
	"sallyport.dev/sallyport/internal/inspect/rules"
	"sallyport.dev/sallyport/internal/wire"
	"sallyport.dev/sallyport/internal/wire/openai"
	"sallyport.dev/sallyport/model/rows"
	"sallyport.dev/sallyport/model/tiers"
)

// group counts the rows of a family, a carrier, or all.
type group struct {
	attacks, found   int // at the threshold
	benign, alarms   int
	cut, removed     int // of the found: taken out by the gateway; of these, nothing of the payload is left
	kept, bytes      int // benign bytes left, of those there were
	asked, parsed    int // results that were JSON before, and still are
	verdicts, passed int // attacks flagged or more at the default budget; benign rows untouched
}

func main() {
	dir := flag.String("weights", "", "directory of weights; none: the built-in ones")
	rate := flag.Float64("rate", 0.01, "share of benign rows that may be called attacks")
	asJSON := flag.Bool("json", false, "print one JSON object, a member for each group")
	flag.Parse()
	c, err := open(*dir)
	if err != nil {
		log.Fatal(err)
	}
	in, err := inspect.New(inspect.Options{Detector: c, Dialects: map[gate.Dialect]wire.Dialect{gate.OpenAI: openai.Dialect{}}})
	if err != nil {
		log.Fatal(err)
	}
	type judged struct {
		row   rows.Row
		score float64
	}
	var all []judged
	var benign []float64
	for _, name := range flag.Args() {
		err := rows.Each(name, func(r *rows.Row) error {
			_, score := c.Rate(&gate.Segment{Channel: gate.ChannelTool, Text: []byte(r.Text), Turn: -1})
			all = append(all, judged{*r, score})
			if r.Label == "benign" {
				benign = append(benign, score)
			}
			return nil
		})
		if err != nil {
			log.Fatal(err)
		}
	}
	if len(benign) == 0 {
		log.Fatal("pairs: no benign rows")
	}
	slices.Sort(benign)
	threshold := benign[min(len(benign)-1, int(float64(len(benign))*(1-*rate)))]
	groups := map[string]*group{}
	for _, j := range all {
		for _, k := range []string{" all", "family " + j.row.Family, "carrier " + j.row.Carrier} {
			if groups[k] == nil {
				groups[k] = &group{}
			}
			groups[k].add(&j.row, j.score > threshold)
		}
		left, verdict, err := through(in, j.row.Text)
		if err != nil {
			log.Fatalf("%s: %v", j.row.ID, err)
		}
		for _, k := range []string{" all", "family " + j.row.Family, "carrier " + j.row.Carrier} {
			groups[k].clean(&j.row, left, verdict)
		}
	}
	if *asJSON {
		if err := printJSON(groups); err != nil {
			log.Fatal(err)
		}
		return
	}
	fmt.Printf("threshold %.4f: %.2f %% of %d benign rows\n\n", threshold, *rate*100, len(benign))
	show(groups)
}

func open(dir string) (*classify.Classifier, error) {
	if dir != "" {
		return tiers.Open(dir, false)
	}
	o, err := builtin.Options()
	if err != nil {
		return nil, err
	}
	if o.Rules, err = rules.Default(); err != nil {
		return nil, err
	}
	return classify.New(o, 2), nil
}

func (g *group) add(r *rows.Row, flagged bool) {
	if r.Label == "benign" {
		g.benign++
		if flagged {
			g.alarms++
		}
		return
	}
	g.attacks++
	if flagged {
		g.found++
	}
}

// clean counts what the gateway made of a row: left is the text that went on.
func (g *group) clean(r *rows.Row, left string, verdict gate.Action) {
	if r.Label == "benign" {
		if verdict == gate.Allow {
			g.passed++
		}
		return
	}
	if verdict >= gate.Flag {
		g.verdicts++
	}
	if verdict != gate.Sanitize || len(r.Span) != 2 {
		return
	}
	g.cut++
	payload := r.Text[r.Span[0]:r.Span[1]]
	if remains(left, payload) < 0.2 {
		g.removed++
	}
	around := r.Text[:r.Span[0]] + r.Text[r.Span[1]:]
	g.bytes += len(around)
	g.kept += common(around, left)
	if json.Valid([]byte(r.Text)) {
		g.asked++
		if json.Valid([]byte(left)) {
			g.parsed++
		}
	}
}

// remains is the share of the payload's words, in runs of three, that are still there.
func remains(left, payload string) float64 {
	w := strings.Fields(payload)
	if len(w) < 3 {
		if strings.Contains(left, payload) {
			return 1
		}
		return 0
	}
	n := 0
	for i := range len(w) - 2 {
		if strings.Contains(left, strings.Join(w[i:i+3], " ")) {
			n++
		}
	}
	return float64(n) / float64(len(w)-2)
}

// common is how many bytes of a are still in b, in their order (the longest common subsequence).
func common(a, b string) int {
	last, row := make([]int, len(b)+1), make([]int, len(b)+1)
	for i := range len(a) {
		for j := range len(b) {
			if a[i] == b[j] {
				row[j+1] = last[j] + 1
			} else {
				row[j+1] = max(row[j], last[j+1])
			}
		}
		last, row = row, last
	}
	return last[len(b)]
}

// through sends a text through the gateway's inspection as the result of a tool, and returns the text
// that would go on, and the verdict.
func through(in *inspect.Inspector, text string) (string, gate.Action, error) {
	content, err := json.Marshal(text)
	if err != nil {
		return "", 0, err
	}
	body := []byte(`{"model":"m","messages":[{"role":"user","content":"Go on."},{"role":"assistant","content":null,"tool_calls":[{"id":"c","type":"function","function":{"name":"look","arguments":"{}"}}]},{"role":"tool","tool_call_id":"c","content":` + string(content) + `}]}`)
	d := openai.Dialect{}
	x := &gate.Exchange{
		Dialect: gate.OpenAI, Upstream: "openai", Method: "POST", Path: "/v1/chat/completions",
		Header: http.Header{"Content-Type": {"application/json"}}, Body: body, Plain: body, Forward: body, Record: &gate.Record{},
	}
	rt := d.Route(x.Method, x.Path)
	x.Endpoint = rt.Endpoint
	if x.Reading, err = d.ReadRequest(rt, "application/json", body); err != nil {
		return "", 0, err
	}
	dec, err := in.Admit(context.Background(), x)
	if err != nil {
		return "", 0, err
	}
	if dec.Denied() {
		return "", gate.Block, nil
	}
	var out struct {
		Messages []struct{ Content *string }
	}
	if err := json.Unmarshal(x.Forward, &out); err != nil {
		return "", 0, fmt.Errorf("what would leave is no JSON: %w", err)
	}
	v := dec.Verdict
	if x.Changed {
		v = gate.Sanitize
	}
	return *out.Messages[2].Content, v, nil
}

func show(groups map[string]*group) {
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	defer w.Flush()
	fmt.Fprintln(w, "group\tattacks\trecall\tbenign\talarms\tflagged\tuntouched\tcut\tpayload gone\tbytes kept\tstill JSON\t")
	share := func(a, b int) string {
		if b == 0 {
			return "-"
		}
		return fmt.Sprintf("%.4f", float64(a)/float64(b))
	}
	names := make([]string, 0, len(groups))
	for n := range groups {
		names = append(names, n)
	}
	slices.Sort(names)
	for _, n := range names {
		g := groups[n]
		fmt.Fprintf(w, "%s\t%d\t%s\t%d\t%s\t%s\t%s\t%d\t%s\t%s\t%s\t\n", strings.TrimSpace(n), g.attacks, share(g.found, g.attacks), g.benign,
			share(g.alarms, g.benign), share(g.verdicts, g.attacks), share(g.passed, g.benign), g.cut, share(g.removed, g.cut), share(g.kept, g.bytes), share(g.parsed, g.asked))
	}
}

// printJSON says the same as show; a share of nothing is null.
func printJSON(groups map[string]*group) error {
	share := func(a, b int) any {
		if b == 0 {
			return nil
		}
		return float64(a) / float64(b)
	}
	out := map[string]map[string]any{}
	for n, g := range groups {
		out[strings.TrimSpace(n)] = map[string]any{
			"attacks": g.attacks, "recall": share(g.found, g.attacks), "benign": g.benign, "alarms": share(g.alarms, g.benign),
			"flagged": share(g.verdicts, g.attacks), "untouched": share(g.passed, g.benign), "cut": g.cut,
			"payload_gone": share(g.removed, g.cut), "bytes_kept": share(g.kept, g.bytes), "still_json": share(g.parsed, g.asked),
		}
	}
	return json.NewEncoder(os.Stdout).Encode(out)
}
