package rules

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"os"
	"sallyport.dev/sallyport/internal/gate"
	"sort"
	"testing"
)

func TestZP(t *testing.T) {
	e := engine(t)
	n := map[string]int{}
	text := benign(690)
	l := e.Lane(&gate.Segment{Channel: gate.ChannelAssistant}).(*lane)
	for at := 0; at < len(text); {
		k := 1
		for at+k < len(text) && text[at+k] != ' ' {
			k++
		}
		_, clear := l.Write(text[at : at+k])
		at += k
		if clear < at {
			why := "other"
			m := &l.m
			if len(m.cands) > 0 {
				why = e.rules[m.cands[0].rule].src.ID
			} else if d := m.prog.auto.depth[m.st/uint32(m.prog.auto.stride)]; d > 0 {
				why = "partial"
				p := string(text[at-int(d) : at])
			out:
				for _, r := range e.rules {
					for _, x := range r.literals {
						if len(x) > len(p) && x[:len(p)] == p {
							why += " " + r.src.ID + ":" + x
							break out
						}
					}
				}
			} else if m.runs.floor() < m.pos {
				why = "run"
			}
			n[why+" "+string(text[clear:at])]++
		}
	}
	fmt.Printf("%q\n", n)
}

func TestZZ(t *testing.T) {
	f, _ := os.Open("/work/shared/data/" + os.Getenv("ZZ") + ".jsonl.gz")
	z, _ := gzip.NewReader(f)
	sc := bufio.NewScanner(z)
	sc.Buffer(nil, 64<<20)
	e := engine(t)
	type st struct{ n, hit, bytes int }
	src := map[string]*st{}
	fp := map[string]int{}
	ex := map[string][]string{}
	sec := map[string]int{}
	for sc.Scan() {
		var r struct{ ID, Text, Label, Channel, Source string }
		json.Unmarshal(sc.Bytes(), &r)
		ch, _ := gate.ParseChannel(r.Channel)
		fs := e.Detect(&gate.Segment{Text: []byte(r.Text), Channel: ch})
		k := r.Label + " " + r.Channel + " " + r.Source
		if src[k] == nil {
			src[k] = &st{}
		}
		src[k].n++
		hit := false
		seen := map[string]bool{}
		for _, f := range fs {
			if f.Category == gate.Secret {
				if !seen[f.Rule] {
					sec[f.Rule+" "+f.View]++
				}
				seen[f.Rule] = true
				if len(ex[f.Rule]) < 3 {
					ex[f.Rule] = append(ex[f.Rule], r.Text[max(0, f.Start-40):min(len(r.Text), f.End+10)])
				}
				continue
			}
			hit = true
			if r.Label == "benign" && r.Channel != "system" && !seen[f.Rule] {
				seen[f.Rule] = true
				fp[f.Rule+" "+f.View]++
				if len(ex[f.Rule]) < 12 {
					ex[f.Rule] = append(ex[f.Rule], r.Source+": "+r.Text[max(0, f.Start-30):min(len(r.Text), f.Start+130)])
				}
			}
		}
		if hit {
			src[k].hit++
		}
	}
	var ks []string
	tot := map[string]*st{}
	for k, s := range src {
		ks = append(ks, k)
		var l, c string
		fmt.Sscan(k, &l, &c)
		if tot[l+" "+c] == nil {
			tot[l+" "+c] = &st{}
		}
		tot[l+" "+c].n += s.n
		tot[l+" "+c].hit += s.hit
	}
	sort.Strings(ks)
	for _, k := range ks {
		fmt.Printf("%-50s %6d %6d %6.2f%%\n", k, src[k].n, src[k].hit, 100*float64(src[k].hit)/float64(src[k].n))
	}
	for k, s := range tot {
		fmt.Printf("TOTAL %-44s %6d %6d %6.2f%%\n", k, s.n, s.hit, 100*float64(s.hit)/float64(s.n))
	}
	fmt.Println("FP rules", fp)
	fmt.Println("SECRETS", sec)
	for r := range fp {
		for _, x := range ex[r[:len(r)-1-len(r[lastSpace(r)+1:])]] {
			fmt.Printf("  %s: %.200q\n", r, x)
		}
	}
	for r := range sec {
		for _, x := range ex[r[:lastSpace(r)]] {
			fmt.Printf("  %s: %.160q\n", r, x)
		}
	}
}

func lastSpace(s string) int {
	for i := len(s) - 1; i >= 0; i-- {
		if s[i] == ' ' {
			return i
		}
	}
	return -1
}
