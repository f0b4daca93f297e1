package rows

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func write(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "ours.jsonl")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestEach(t *testing.T) {
	var got []Row
	err := Each(write(t, `{"id":"1","text":"a","label":"injection","source":"x","lic":"nc"}`+"\n"+`{"id":"2","text":"b","label":"harmful_request"}`+"\n"), func(r *Row) error {
		got = append(got, *r)
		return nil
	})
	if err != nil || len(got) != 2 {
		t.Fatalf("%v, %v", got, err)
	}
	if got[0].Shippable() || !got[1].Shippable() || got[1].Source != "ours" {
		t.Errorf("%+v", got)
	}
	if yes, counts := got[0].Attack(); !yes || !counts {
		t.Error("an injection counts as an attack")
	}
	if _, counts := got[1].Attack(); counts {
		t.Error("a plain harmful request counts on neither side")
	}
	err = Each(write(t, "{}\n{\n"), func(*Row) error { return nil })
	if err == nil || !strings.Contains(err.Error(), "ours.jsonl:2") {
		t.Errorf("a broken line: %v", err)
	}
	if err := Each("nowhere", nil); err == nil {
		t.Error("a file that is not there was read")
	}
}

// What is held back is a twelfth, and a pair is never divided.
func TestHeld(t *testing.T) {
	held := 0
	for i := range 12000 {
		id := strings.Repeat("x", i%7) + string(rune('a'+i%26)) + string(rune(0x4e00+i))
		a, b := Row{ID: id, Source: "s", Pair: "p" + id}, Row{ID: id + "!", Source: "s", Pair: "p" + id}
		if a.Held() != b.Held() {
			t.Fatal("a pair was divided")
		}
		if a.Held() {
			held++
		}
	}
	if held < 800 || held > 1200 {
		t.Errorf("%d of 12000 held back", held)
	}
}

// A withheld carrier or family keeps a row from training; only what is new in both is measured.
func TestWithheld(t *testing.T) {
	for _, c := range []struct {
		carrier, family string
		any, both       bool
	}{
		{"", "atk.polite", false, false},
		{"readme", "atk.override", false, false},
		{"readme", "atk.polite", true, false},
		{"wiki", "atk.override", true, false},
		{"wiki", "atk.polite", true, true},
		{"wiki", "neg.none", true, true},
		{"readme", "neg.none", false, false},
	} {
		r := Row{Carrier: c.carrier, Family: c.family}
		if any, both := r.Withheld(); any != c.any || both != c.both {
			t.Errorf("%s, %s: %v %v", c.carrier, c.family, any, both)
		}
	}
}

// Every row is for one thing at most, and the licence counts only where weights are given away.
func TestPart(t *testing.T) {
	id := func(held bool) string {
		for i := 0; ; i++ {
			if r := (Row{ID: string(rune('a' + i)), Source: "s"}); r.Held() == held {
				return r.ID
			}
		}
	}
	for _, c := range []struct {
		name string
		row  Row
		ship Part
		any  Part
	}{
		{"an attack", Row{ID: id(false), Label: "injection", Licence: "permissive"}, Trained, Trained},
		{"held", Row{ID: id(true), Label: "benign", Licence: "cc-by-sa"}, Fitted, Fitted},
		{"no licence", Row{ID: id(false), Label: "benign", Licence: "nc"}, OutLicence, Trained},
		{"unknown licence, held", Row{ID: id(true), Label: "jailbreak", Licence: "unknown"}, OutLicence, Fitted},
		{"harmful", Row{ID: id(false), Label: "harmful_request", Licence: "permissive"}, OutNeither, OutNeither},
		{"system", Row{ID: id(true), Label: "benign", Channel: "system", Licence: "permissive"}, OutSystem, OutSystem},
		{"withheld", Row{ID: id(true), Label: "injection", Carrier: "wiki", Family: "atk.override", Licence: "permissive"}, OutNew, OutNew},
		{"encoded", Row{ID: id(false), Label: "injection", Family: "obf_hex", Licence: "permissive"}, OutEncoded, OutEncoded},
		{"encoded and benign", Row{ID: id(false), Label: "benign", Family: "obf_hex", Licence: "permissive"}, Trained, Trained},
	} {
		c.row.Source = "s"
		if a, b := c.row.Part(true), c.row.Part(false); a != c.ship || b != c.any {
			t.Errorf("%s: %q and %q", c.name, a, b)
		}
	}
}

// Leaving a source out leaves out what was made of its rows, and nothing else's.
func TestFrom(t *testing.T) {
	for _, c := range []struct {
		row  Row
		want bool
	}{
		{Row{Source: "a"}, true},
		{Row{Source: "ab"}, false},
		{Row{Source: "x", Base: "a-00012"}, true},
		{Row{Source: "x", Base: "ab-00012"}, false},
		{Row{Source: "frame_jailbreak", ID: "frame-a-1"}, true},
		{Row{Source: "", ID: "a-1"}, false},
	} {
		if got := c.row.From([]string{"", "a"}); got != c.want {
			t.Errorf("%+v: %v", c.row, got)
		}
	}
	if (&Row{}).From([]string{""}) {
		t.Error("no source is a source")
	}
}
