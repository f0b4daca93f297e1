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
