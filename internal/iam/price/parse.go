package price

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"time"
	"unicode"
	"unicode/utf8"

	"sallyport.dev/sallyport/internal/gate"
	"sallyport.dev/sallyport/internal/iam/glob"
	"sallyport.dev/sallyport/internal/strictjson"
)

// Bounds of a table.
const (
	// MaxFile is how many bytes a file of prices has at most.
	MaxFile    = 1 << 20
	maxEntries = 5000
	maxPattern = 200
	// maxPrice is a million of the currency for a million tokens.
	maxPrice = 1_000_000_000_000
)

// Parse reads a table. Its errors name the file, line and column and what was expected; nothing is
// guessed: unknown members, numbers that are not whole, and patterns that an earlier one covers are
// errors. The format is that of prices.json:
//
//	version, dated (YYYY-MM-DD), currency (three capitals), note (ignored),
//	unknown: "dearest", or a price; "dearest" when absent,
//	tiers: {flex, batch, priority, fast, ultrafast}, what service in a tier costs in hundredths of the usual;
//	       when absent flex and batch are no cheaper, the others as dear as any was known to be,
//	web_search: micro-units for one search of the web by the provider, 0 when absent,
//	models: [{model, and for a million tokens: input, output, and when absent the price in brackets:
//	         cached (input), cache_write (input), cache_write_hour (cache_write), audio_input (input),
//	         image_input (input), audio_output (output); tiers and web_search (the table's)}].
func Parse(file string, raw []byte) (*Table, error) {
	p := &parser{file: file, raw: raw, tiers: untold, search: absent}
	if len(raw) > MaxFile {
		return nil, fmt.Errorf("price: read %s: more than %d bytes", file, MaxFile)
	}
	d, err := strictjson.Parse(raw, strictjson.Limits{Depth: 8, Nodes: 24 * maxEntries})
	if err != nil {
		var e *strictjson.Error
		if errors.As(err, &e) {
			return nil, p.at(e.Offset, "not JSON in one reading only: "+string(e.Code))
		}
		return nil, fmt.Errorf("price: read %s: %w", file, err)
	}
	p.Doc = d
	return p.table()
}

type parser struct {
	file string
	raw  []byte
	*strictjson.Doc
	// Of the whole table; what was not said is absent.
	tiers  Tiers
	search int64
}

func (p *parser) at(offset int, what string) error {
	offset = min(offset, len(p.raw))
	before := p.raw[:offset]
	return fmt.Errorf("price: read %s:%d:%d: %s", p.file, 1+bytes.Count(before, []byte("\n")), offset-bytes.LastIndexByte(before, '\n'), what)
}

func (p *parser) wrong(node int, what string) error { return p.at(int(p.Nodes[node].Start), what) }

func (p *parser) table() (*Table, error) {
	t := &Table{}
	if p.Kind(strictjson.Root) != strictjson.Object {
		return nil, p.wrong(strictjson.Root, "expected an object")
	}
	seen := map[string]bool{}
	unknown := -1
	for n := range p.Children(strictjson.Root) {
		var err error
		name := string(p.Key(n))
		seen[name] = true
		switch name {
		case "version":
			t.Version, err = p.word(n, 40)
		case "currency":
			if t.Currency, err = p.word(n, 3); err == nil && !currency(t.Currency) {
				err = p.wrong(n, "expected three capital letters, such as USD")
			}
		case "dated":
			if t.Dated, err = p.word(n, 10); err == nil {
				if _, bad := time.Parse(time.DateOnly, t.Dated); bad != nil {
					err = p.wrong(n, "expected a date, such as 2026-01-31")
				}
			}
		case "note":
			_, err = p.word(n, 1000)
		case "unknown":
			unknown = n
		case "tiers":
			p.tiers, err = p.tierList(n)
		case "web_search":
			p.search, err = p.amount(n)
		case "models":
			t.Entries, err = p.entries(n)
		default:
			err = p.at(int(p.Nodes[n].KeyAt), "unknown member; expected version, dated, currency, note, unknown, tiers, web_search or models")
		}
		if err != nil {
			return nil, err
		}
	}
	for _, name := range []string{"version", "dated", "currency", "models"} {
		if !seen[name] {
			return nil, p.wrong(strictjson.Root, "there is no "+name)
		}
	}
	for i := range t.Entries {
		p.complete(&t.Entries[i].Price)
	}
	t.Unknown = dearest(t.Entries)
	switch {
	case unknown < 0 || p.Str(unknown) == "dearest":
	case p.Kind(unknown) == strictjson.Object:
		e, err := p.price(unknown, false)
		if err != nil {
			return nil, err
		}
		p.complete(&e.Price)
		t.Unknown = e.Price
	default:
		return nil, p.wrong(unknown, `expected "dearest" or a price`)
	}
	return t, nil
}

func currency(s string) bool {
	for i := range len(s) {
		if s[i] < 'A' || s[i] > 'Z' {
			return false
		}
	}
	return len(s) == 3
}

func (p *parser) word(n, most int) (string, error) {
	s := p.Str(n)
	if p.Kind(n) != strictjson.String || s == "" || len(s) > most {
		return "", p.wrong(n, fmt.Sprintf("expected a text of 1 to %d bytes", most))
	}
	for _, r := range s {
		if !unicode.IsPrint(r) || r == utf8.RuneError {
			return "", p.wrong(n, "expected text that can be printed")
		}
	}
	return s, nil
}

func (p *parser) entries(list int) ([]Entry, error) {
	if p.Kind(list) != strictjson.Array || p.Nodes[list].Len == 0 || p.Nodes[list].Len > maxEntries {
		return nil, p.wrong(list, fmt.Sprintf("expected a list of 1 to %d prices", maxEntries))
	}
	var es []Entry
	for n := range p.Children(list) {
		e, err := p.price(n, true)
		if err != nil {
			return nil, err
		}
		for _, before := range es {
			if glob.Match(before.Model, e.Model) {
				return nil, p.wrong(n, "an earlier pattern covers this one, so it would never count")
			}
		}
		es = append(es, e)
	}
	return es, nil
}

func (p *parser) price(n int, named bool) (Entry, error) {
	e := Entry{Price: Price{absent, absent, absent, absent, absent, absent, absent, absent, absent, untold}}
	if p.Kind(n) != strictjson.Object {
		return e, p.wrong(n, "expected an object with model, input and output")
	}
	for m := range p.Children(n) {
		var err error
		switch name := string(p.Key(m)); {
		case name == "model" && named:
			e.Model, err = p.word(m, maxPattern)
		case name == "input":
			e.Input, err = p.amount(m)
		case name == "cached":
			e.Cached, err = p.amount(m)
		case name == "cache_write":
			e.CacheWrite, err = p.amount(m)
		case name == "cache_write_hour":
			e.CacheHour, err = p.amount(m)
		case name == "audio_input":
			e.AudioInput, err = p.amount(m)
		case name == "image_input":
			e.ImageInput, err = p.amount(m)
		case name == "output":
			e.Output, err = p.amount(m)
		case name == "audio_output":
			e.AudioOut, err = p.amount(m)
		case name == "web_search":
			e.Search, err = p.amount(m)
		case name == "tiers":
			e.Tiers, err = p.tierList(m)
		default:
			err = p.at(int(p.Nodes[m].KeyAt), "unknown member; expected model, input, cached, cache_write, cache_write_hour, audio_input, image_input, output, audio_output, web_search or tiers")
		}
		if err != nil {
			return e, err
		}
	}
	switch {
	case named && e.Model == "":
		return e, p.wrong(n, "there is no model")
	case e.Input < 0:
		return e, p.wrong(n, "there is no input")
	case e.Output < 0:
		return e, p.wrong(n, "there is no output")
	}
	return e, nil
}

// absent is a price that was not said.
const absent = -1

var (
	untold = Tiers{absent, absent, absent, absent, absent}
	// cautious is what tiers cost where nobody says: nothing is cheaper than usual.
	cautious = Tiers{100, 100, 200, 600, 600}
)

// complete puts in what was not said.
func (p *parser) complete(e *Price) {
	or := func(v *int64, others ...int64) {
		for _, o := range others {
			if *v == absent {
				*v = o
			}
		}
	}
	or(&e.Cached, e.Input)
	or(&e.CacheWrite, e.Input)
	or(&e.CacheHour, e.CacheWrite)
	or(&e.AudioInput, e.Input)
	or(&e.ImageInput, e.Input)
	or(&e.AudioOut, e.Output)
	or(&e.Search, p.search, 0)
	or(&e.Tiers.Flex, p.tiers.Flex, cautious.Flex)
	or(&e.Tiers.Batch, p.tiers.Batch, cautious.Batch)
	or(&e.Tiers.Priority, p.tiers.Priority, cautious.Priority)
	or(&e.Tiers.Fast, p.tiers.Fast, cautious.Fast)
	or(&e.Tiers.Ultrafast, p.tiers.Ultrafast, cautious.Ultrafast)
}

// maxTier is a hundred times the usual price.
const maxTier = 10_000

func (p *parser) tierList(n int) (Tiers, error) {
	t := untold
	if p.Kind(n) != strictjson.Object {
		return t, p.wrong(n, "expected an object of tiers")
	}
	for m := range p.Children(n) {
		to := map[string]*int64{gate.TierFlex: &t.Flex, gate.TierBatch: &t.Batch, gate.TierPriority: &t.Priority, gate.TierFast: &t.Fast, gate.TierUltrafast: &t.Ultrafast}[string(p.Key(m))]
		if to == nil {
			return t, p.at(int(p.Nodes[m].KeyAt), "unknown tier; expected flex, batch, priority, fast or ultrafast")
		}
		v, err := p.amount(m)
		if err != nil || v > maxTier {
			return t, p.wrong(m, fmt.Sprintf("expected hundredths of the usual price, 0 to %d", maxTier))
		}
		*to = v
	}
	return t, nil
}

func (p *parser) amount(n int) (int64, error) {
	v := string(p.Value(n))
	i, err := strconv.ParseInt(v, 10, 64)
	if p.Kind(n) != strictjson.Number || err != nil || i < 0 || i > maxPrice || v[0] == '-' {
		return 0, p.wrong(n, fmt.Sprintf("expected a whole number of micro-units for a million tokens, 0 to %d", int64(maxPrice)))
	}
	return i, nil
}
