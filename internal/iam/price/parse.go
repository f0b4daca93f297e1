package price

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"time"
	"unicode"
	"unicode/utf8"

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
//	models: [{model, input, output, cached, cache_write}], cached and cache_write being input's when absent.
func Parse(file string, raw []byte) (*Table, error) {
	p := &parser{file: file, raw: raw}
	if len(raw) > MaxFile {
		return nil, fmt.Errorf("price: read %s: more than %d bytes", file, MaxFile)
	}
	d, err := strictjson.Parse(raw, strictjson.Limits{Depth: 8, Nodes: 10 * maxEntries})
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
		case "models":
			t.Entries, err = p.entries(n)
		default:
			err = p.at(int(p.Nodes[n].KeyAt), "unknown member; expected version, dated, currency, note, unknown or models")
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
	t.Unknown = dearest(t.Entries)
	switch {
	case unknown < 0 || p.Str(unknown) == "dearest":
	case p.Kind(unknown) == strictjson.Object:
		e, err := p.price(unknown, false)
		if err != nil {
			return nil, err
		}
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
	e := Entry{Price: Price{-1, -1, -1, -1}}
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
		case name == "output":
			e.Output, err = p.amount(m)
		default:
			err = p.at(int(p.Nodes[m].KeyAt), "unknown member; expected model, input, cached, cache_write or output")
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
	if e.Cached < 0 {
		e.Cached = e.Input
	}
	if e.CacheWrite < 0 {
		e.CacheWrite = e.Input
	}
	return e, nil
}

func (p *parser) amount(n int) (int64, error) {
	v := string(p.Value(n))
	i, err := strconv.ParseInt(v, 10, 64)
	if p.Kind(n) != strictjson.Number || err != nil || i < 0 || i > maxPrice || v[0] == '-' {
		return 0, p.wrong(n, fmt.Sprintf("expected a whole number of micro-units for a million tokens, 0 to %d", int64(maxPrice)))
	}
	return i, nil
}
