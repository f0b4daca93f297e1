// Package price knows what models cost: a dated table of patterns and prices, kept as data. The one
// that comes with the release holds example list prices; check them with your provider, and override
// them with a file. All money is in micro-units of the table's currency (a millionth of a dollar), as
// integers.
package price

import (
	_ "embed"
	"math/bits"

	"sallyport.dev/sallyport/internal/iam/glob"
	"sallyport.dev/sallyport/internal/iam/quota"
)

// Price is what a million tokens cost, in micro-units of the currency.
type Price struct {
	Input      int64 // read afresh
	Cached     int64 // read from the provider's cache
	CacheWrite int64 // written to it
	Output     int64
}

// Entry prices the models that a pattern fits; * stands for any run of bytes, and case counts.
type Entry struct {
	Model string
	Price
}

// Table is a list of prices. It is not changed after it was parsed, so it is safe for concurrent use.
type Table struct {
	Version  string
	Dated    string // YYYY-MM-DD
	Currency string // ISO 4217
	// Entries are looked through in order; the first that fits counts.
	Entries []Entry
	// Unknown prices what no entry fits. Unless the table says otherwise it is the dearest known price
	// of each column: a model that nobody priced is not free.
	Unknown Price
}

//go:embed prices.json
var example []byte

// Example is the table that comes with the release.
func Example() (*Table, error) { return Parse("prices.json", example) }

// Of finds a model's price. known is false where the price is Unknown's.
func (t *Table) Of(model string) (p Price, known bool) {
	for i := range t.Entries {
		if glob.Match(t.Entries[i].Model, model) {
			return t.Entries[i].Price, true
		}
	}
	return t.Unknown, false
}

// Cost is what the tokens cost, rounded up, at most quota.MaxAmount. It implements quota.Pricer.
func (t *Table) Cost(model string, n quota.Counts) (micro int64, known bool) {
	p, known := t.Of(model)
	var hi, lo uint64
	add := func(tokens, price int64) {
		h, l := bits.Mul64(uint64(max(tokens, 0)), uint64(price))
		var carry uint64
		lo, carry = bits.Add64(lo, l, 0)
		hi, _ = bits.Add64(hi, h, carry) // four products of 63 and 40 bits
	}
	add(n.Input, p.Input)
	add(n.Cached, p.Cached)
	add(n.CacheWrite, p.CacheWrite)
	add(n.Output, p.Output)
	const million = 1_000_000
	if hi >= million {
		return quota.MaxAmount, known
	}
	q, rest := bits.Div64(hi, lo, million)
	if rest > 0 {
		q++
	}
	return int64(min(q, quota.MaxAmount)), known
}

// Over is the table with the entries of another before its own, and everything else that it says.
func (t *Table) Over(base *Table) *Table {
	m := *t
	m.Entries = append(append([]Entry(nil), t.Entries...), base.Entries...)
	if t.Unknown == dearest(t.Entries) {
		m.Unknown = dearest(m.Entries)
	}
	return &m
}

func dearest(es []Entry) (p Price) {
	for _, e := range es {
		p.Input, p.Cached = max(p.Input, e.Input), max(p.Cached, e.Cached)
		p.CacheWrite, p.Output = max(p.CacheWrite, e.CacheWrite), max(p.Output, e.Output)
	}
	return p
}
