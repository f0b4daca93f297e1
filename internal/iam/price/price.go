// Package price knows what models cost: a dated table of patterns and prices, kept as data. The one
// that comes with the release holds example list prices; check them with your provider, and override
// them with a file. All money is in micro-units of the table's currency (a millionth of a dollar), as
// integers.
package price

import (
	_ "embed"
	"math/bits"

	"sallyport.dev/sallyport/internal/gate"
	"sallyport.dev/sallyport/internal/iam/glob"
	"sallyport.dev/sallyport/internal/iam/quota"
)

// Price is what a million tokens cost, in micro-units of the currency.
type Price struct {
	Input      int64 // read afresh
	AudioInput int64
	ImageInput int64
	Cached     int64 // read from the provider's cache
	CacheWrite int64 // written to it
	CacheHour  int64 // written to it for long
	Output     int64
	AudioOut   int64

	Search int64 // one search of the web, in micro-units
	// Tiers are what service in a tier costs, in hundredths of the usual.
	Tiers Tiers
}

// Tiers are factors, in hundredths.
type Tiers struct{ Flex, Batch, Priority, Fast, Ultrafast int64 }

// of is the factor of one of gate's tiers. One that is not known costs the dearest.
func (t *Tiers) of(tier string) (hundredths int64, known bool) {
	switch tier {
	case "":
		return 100, true
	case gate.TierFlex:
		return t.Flex, true
	case gate.TierBatch:
		return t.Batch, true
	case gate.TierPriority:
		return t.Priority, true
	case gate.TierFast:
		return t.Fast, true
	case gate.TierUltrafast:
		return t.Ultrafast, true
	}
	return max(100, t.Flex, t.Batch, t.Priority, t.Fast, t.Ultrafast), false
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

// Cost is what the tokens and searches cost, rounded up, at most quota.MaxAmount. It implements quota.Pricer.
// known is false where the model, or the tier, is not priced.
func (t *Table) Cost(model string, n quota.Counts) (micro int64, known bool) {
	p, known := t.Of(model)
	var hi, lo uint64
	add := func(tokens, price int64) {
		h, l := bits.Mul64(uint64(max(tokens, 0)), uint64(price))
		var carry uint64
		lo, carry = bits.Add64(lo, l, 0)
		hi, _ = bits.Add64(hi, h, carry) // eight products of 63 and 40 bits
	}
	add(n.Input, p.Input)
	add(n.AudioInput, p.AudioInput)
	add(n.ImageInput, p.ImageInput)
	add(n.Cached, p.Cached)
	add(n.CacheWrite, p.CacheWrite)
	add(n.CacheHour, p.CacheHour)
	add(n.Output, p.Output)
	add(n.AudioOut, p.AudioOut)
	const million = 1_000_000
	factor, ok := p.Tiers.of(n.Tier)
	known = known && ok
	over, tokens := scale(hi, lo, uint64(factor), 100*million)
	shi, slo := bits.Mul64(uint64(max(n.Searches, 0)), uint64(p.Search)) // whatever the tier
	if over || shi > 0 || slo > quota.MaxAmount || tokens > quota.MaxAmount {
		return quota.MaxAmount, known
	}
	return int64(min(tokens+slo, quota.MaxAmount)), known
}

// scale is hi, lo times by over div, rounded up; over says that it is too large.
func scale(hi, lo, by, div uint64) (over bool, q uint64) {
	top, mid := bits.Mul64(hi, by)
	carry, low := bits.Mul64(lo, by)
	mid, c := bits.Add64(mid, carry, 0)
	if top+c > 0 || mid >= div {
		return true, 0
	}
	q, rest := bits.Div64(mid, low, div)
	if rest > 0 {
		q++
	}
	return false, q
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
		p.AudioInput, p.ImageInput, p.AudioOut = max(p.AudioInput, e.AudioInput), max(p.ImageInput, e.ImageInput), max(p.AudioOut, e.AudioOut)
		p.CacheHour, p.Search = max(p.CacheHour, e.CacheHour), max(p.Search, e.Search)
		p.Tiers = Tiers{max(p.Tiers.Flex, e.Tiers.Flex), max(p.Tiers.Batch, e.Tiers.Batch), max(p.Tiers.Priority, e.Tiers.Priority),
			max(p.Tiers.Fast, e.Tiers.Fast), max(p.Tiers.Ultrafast, e.Tiers.Ultrafast)}
	}
	return p
}
