package price

import (
	"math"
	"strings"
	"testing"

	"sallyport.dev/sallyport/internal/iam/quota"
)

const head = `{"version":"1","dated":"2026-01-31","currency":"USD","models":`

func TestTheExampleTableIsSound(t *testing.T) {
	tb, err := Example()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		model string
		in    int64
	}{{"gpt-5", 1_250_000}, {"gpt-5-2025-08-07", 1_250_000}, {"gpt-5-pro", 15_000_000}, {"gpt-4o-mini-2024-07-18", 150_000}, {"claude-opus-4-20250514", 15_000_000}, {"claude-opus-4-5-20251101", 5_000_000}, {"o1-pro", 150_000_000}} {
		if p, known := tb.Of(c.model); !known || p.Input != c.in {
			t.Errorf("%s: %+v %v", c.model, p, known)
		}
	}
	// Every entry is reached, and Unknown is at least as dear as each.
	for _, e := range tb.Entries {
		p, known := tb.Of(strings.ReplaceAll(e.Model, "*", ""))
		if u := tb.Unknown; !known || p != e.Price || u.Input < p.Input || u.Output < p.Output || u.Cached < p.Cached || u.CacheWrite < p.CacheWrite {
			t.Errorf("%s: %+v", e.Model, p)
		}
	}
	for _, m := range []string{"", "nobody-priced-this", "GPT-5", "ft:gpt-4o-mini:x", "gpt-5-x"} {
		if c, known := tb.Cost(m, quota.Counts{Output: 1e6}); known || c != tb.Unknown.Output || c < 600_000_000 {
			t.Errorf("%q costs %d, known %v", m, c, known)
		}
	}
}

func TestCost(t *testing.T) {
	tb, err := Parse("t", []byte(head+`[{"model":"m","input":3000000,"cached":300000,"cache_write":3750000,"output":15000000},{"model":"top","input":1000000000000,"output":1000000000000}]}`))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		model string
		n     quota.Counts
		want  int64
	}{
		{"m", quota.Counts{}, 0},
		{"m", quota.Counts{Input: 1}, 3},
		{"m", quota.Counts{Cached: 1}, 1}, // 0.3, rounded up
		{"m", quota.Counts{Input: 1000, Cached: 1000, CacheWrite: 1000, Output: 1000}, 3000 + 300 + 3750 + 15000},
		{"m", quota.Counts{Input: -5, Output: 1}, 15},
		{"top", quota.Counts{Input: math.MaxInt64, Cached: math.MaxInt64, CacheWrite: math.MaxInt64, Output: math.MaxInt64}, quota.MaxAmount},
		{"top", quota.Counts{Input: 1 << 40}, quota.MaxAmount},
	} {
		if got, known := tb.Cost(c.model, c.n); got != c.want || !known {
			t.Errorf("%s %+v: %d, want %d", c.model, c.n, got, c.want)
		}
	}
}

// What a table does not say: text's price for what is no text, the shorter cache's for the longer, the table's
// tiers and searches for a model's, and nothing cheaper for a tier.
func TestWhatATableLeavesOut(t *testing.T) {
	all := quota.Counts{Input: 1e6, AudioInput: 1e6, ImageInput: 1e6, Cached: 1e6, CacheWrite: 1e6, CacheHour: 1e6, Output: 1e6, AudioOut: 1e6, Searches: 2}
	for _, c := range []struct {
		table string
		tier  string
		want  int64
		known bool
	}{
		{head + `[{"model":"m","input":3,"output":5}]}`, "", 6*3 + 2*5, true},
		{head + `[{"model":"m","input":3,"cache_write":4,"output":5}]}`, "", 4*3 + 2*4 + 2*5, true},
		{head + `[{"model":"m","input":3,"cache_write":4,"cache_write_hour":9,"output":5,"audio_input":7,"image_input":8,"audio_output":11,"cached":1,"web_search":100}]}`, "", 3 + 7 + 8 + 1 + 4 + 9 + 5 + 11 + 200, true},
		{head + `[{"model":"m","input":3,"output":5}],"web_search":10,"tiers":{"flex":50}}`, "flex", 14 + 20, true},
		{head + `[{"model":"m","input":3,"output":5,"tiers":{"flex":25}}],"tiers":{"flex":50}}`, "flex", 7, true},
		{head + `[{"model":"m","input":3,"output":5}]}`, "flex", 28, true},
		{head + `[{"model":"m","input":3,"output":5}]}`, "batch", 28, true},
		{head + `[{"model":"m","input":3,"output":5}]}`, "priority", 56, true},
		{head + `[{"model":"m","input":3,"output":5,"tiers":{"priority":0}}]}`, "priority", 0, true},
		{head + `[{"model":"m","input":3,"output":5,"tiers":{"ultrafast":900}}]}`, "other", 9 * 28, false},
		{head + `[{"model":"m","input":1000000000000,"output":0,"tiers":{"fast":10000}}]}`, "fast", 100 * 6 * 1e12, true},
	} {
		tb, err := Parse("t", []byte(c.table))
		if err != nil {
			t.Fatal(err)
		}
		n := all
		n.Tier = c.tier
		if got, known := tb.Cost("m", n); got != c.want || known != c.known {
			t.Errorf("%s %s: %d, %v; want %d", c.table, c.tier, got, known, c.want)
		}
		if got, _ := tb.Cost("m", quota.Counts{Input: math.MaxInt64, Searches: math.MaxInt64, Tier: "fast"}); got < 0 || got > quota.MaxAmount {
			t.Errorf("%d", got)
		}
		if got, known := tb.Cost("another", n); got < c.want && c.known || known {
			t.Errorf("a model that is not priced costs less than the only one that is: %d", got)
		}
	}
}

func TestAFileOverridesTheExample(t *testing.T) {
	base, _ := Example()
	mine, err := Parse("mine", []byte(head+`[{"model":"gpt-5*","input":1,"output":2},{"model":"house","input":900000000,"output":1}]}`))
	if err != nil {
		t.Fatal(err)
	}
	m := mine.Over(base)
	if p, _ := m.Of("gpt-5-pro"); p.Output != 2 {
		t.Errorf("%+v", p)
	}
	if p, _ := m.Of("gpt-4o"); p.Output != 10_000_000 {
		t.Errorf("%+v", p)
	}
	if m.Unknown.Input != 900_000_000 || m.Unknown.Output != 600_000_000 {
		t.Errorf("unknown %+v", m.Unknown)
	}
	free, err := Parse("free", []byte(`{"unknown":{"input":0,"output":0},`+(head + `[{"model":"a","input":1,"output":2}]}`)[1:]))
	if err != nil {
		t.Fatal(err)
	}
	if c, known := free.Over(base).Cost("x", quota.Counts{Output: 1e9}); c != 0 || known {
		t.Errorf("what was declared free costs %d", c)
	}
}

func TestErrorsHaveAPlace(t *testing.T) {
	one := `[{"model":"m","input":1,"output":2}]`
	for _, c := range []struct{ text, place, what string }{
		{``, "1:1", "JSON"},
		{`[]`, "1:1", "object"},
		{"{\n  \"version\": \"1\",\n  \"version\": \"2\"}", "3:", "duplicate_name"},
		{"\n{}", "2:1", "no version"},
		{head + one + `,"more":1}`, "1:", "unknown member"},
		{head + `[]}`, "1:63", "1 to"},
		{head + `{}}`, "1:63", "list"},
		{head + `[1]}`, "1:64", "object"},
		{head + `[{"input":1,"output":2}]}`, "1:64", "no model"},
		{head + `[{"model":"m","output":2}]}`, "1:64", "no input"},
		{head + `[{"model":"m","input":2}]}`, "1:64", "no output"},
		{head + `[{"model":"","input":1,"output":2}]}`, "1:", "text"},
		{head + `[{"model":"a\u0007","input":1,"output":2}]}`, "1:", "printed"},
		{head + `[{"model":"m","input":1.5,"output":2}]}`, "1:", "whole"},
		{head + `[{"model":"m","input":1e3,"output":2}]}`, "1:", "whole"},
		{head + `[{"model":"m","input":-1,"output":2}]}`, "1:", "whole"},
		{head + `[{"model":"m","input":-0,"output":2}]}`, "1:", "whole"},
		{head + `[{"model":"m","input":"1","output":2}]}`, "1:", "whole"},
		{head + `[{"model":"m","input":1000000000001,"output":2}]}`, "1:", "whole"},
		{head + `[{"model":"m","input":1,"output":2,"free":true}]}`, "1:", "unknown member"},
		{head + `[{"model":"m*","input":1,"output":2},{"model":"mini","input":1,"output":2}]}`, "1:", "covers"},
		{strings.Replace(head, "2026-01-31", "2026-02-30", 1) + one + `}`, "1:", "date"},
		{strings.Replace(head, "USD", "usd", 1) + one + `}`, "1:", "capital"},
		{`{"unknown":"free",` + (head + one + `}`)[1:], "1:12", "dearest"},
		{`{"unknown":{"model":"x","input":1,"output":1},` + (head + one + `}`)[1:], "1:", "unknown member"},
		{head + one + `}x`, "1:", "JSON"},
		{`{"tiers":50,` + (head + one + `}`)[1:], "1:10", "tiers"},
		{`{"tiers":{"Flex":50},` + (head + one + `}`)[1:], "1:12", "unknown tier"},
		{`{"tiers":{"flex":10001},` + (head + one + `}`)[1:], "1:18", "hundredths"},
		{`{"tiers":{"flex":0.5},` + (head + one + `}`)[1:], "1:18", "hundredths"},
		{`{"web_search":-1,` + (head + one + `}`)[1:], "1:", "whole"},
		{head + `[{"model":"m","input":1,"output":2,"tiers":{"slow":1}}]}`, "1:", "unknown tier"},
		{head + `[{"model":"m","input":1,"output":2,"audio_output":"1"}]}`, "1:", "whole"},
		{strings.Repeat(" ", MaxFile+1), "", "more than"},
	} {
		_, err := Parse("prices.json", []byte(c.text))
		if err == nil || !strings.Contains(err.Error(), "prices.json:"+c.place) || !strings.Contains(err.Error(), c.what) {
			t.Errorf("%.80s\n\t%v, want %s %q", c.text, err, c.place, c.what)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(head+`[{"model":"m*","input":3000000,"cached":300000,"output":15000000}]}`), "m1")
	f.Add([]byte(`{"unknown":{"input":0,"output":9},`+head[1:]+`[{"model":"a*b*","input":1,"output":2}]}`), "axb")
	f.Add([]byte(`{"models":[{"model":"\u002a","input":0,"output":0}]}`), "")
	f.Add(example, "gpt-5-mini")
	f.Add([]byte(`{"tiers":{"flex":50},"web_search":1,`+head[1:]+`[{"model":"a","input":1,"output":2,"audio_input":3,"tiers":{"fast":0}}]}`), "a")
	f.Fuzz(func(t *testing.T, raw []byte, model string) {
		tb, err := Parse("f", raw)
		if err != nil {
			if tb != nil || !strings.HasPrefix(err.Error(), "price: read f:") || strings.ContainsAny(err.Error(), "\n\x00\x1b") {
				t.Fatalf("%v %v", tb, err)
			}
			return
		}
		if len(tb.Entries) == 0 || tb.Currency == "" || tb.Dated == "" {
			t.Fatalf("accepted %+v", tb)
		}
		for _, tier := range []string{"", "flex", "batch", "priority", "fast", "ultrafast", "other", "x"} {
			if c, _ := tb.Cost(model, quota.Counts{Input: 1 << 62, AudioOut: 1 << 62, Searches: 1 << 62, Tier: tier}); c < 0 || c > quota.MaxAmount {
				t.Fatalf("%s: %d", tier, c)
			}
		}
		small, k1 := tb.Cost(model, quota.Counts{Input: 10, Output: 10})
		large, k2 := tb.Cost(model, quota.Counts{Input: 1 << 45, Cached: 7, Output: 1 << 62})
		if small < 0 || large < small || large > quota.MaxAmount || k1 != k2 {
			t.Fatalf("%d, %d", small, large)
		}
		for _, e := range tb.Entries {
			if p, known := tb.Of(e.Model); !known || p.Input < 0 || p.Input > maxPrice {
				t.Fatalf("%q: %+v", e.Model, p)
			}
		}
	})
}
