// Package corpus writes the tool results and documents that the detector learns from: the same mail,
// page, source file or JSON once as it is, once with an instruction to a model hidden in it, and once
// with an innocent sentence of the same kind in the same place (a request among people, a step for a
// reader, talk about attacks). What the three share can not give the label away, so what is learned
// is who is asked to do what.
//
// Texts come from grammars (data/): carriers, payload families and innocent families, each in its own
// words, in English and others. Carriers and families have names, so that whole ones can be held out.
package corpus

import (
	"embed"
	"path"
	"slices"
	"strings"
)

// The labels of a row.
const (
	Injection = "injection"
	Benign    = "benign"
)

// Row is one text. Span bounds the payload in bytes, half open; a benign row has none.
type Row struct {
	ID       string `json:"id"`
	Text     string `json:"text"`
	Label    string `json:"label"`
	Channel  string `json:"channel"` // tool or document
	Lang     string `json:"lang"`    // of the payload or, without one, of the carrier
	Source   string `json:"source"`
	Family   string `json:"family"` // atk.* or neg.*, neg.none where nothing was put in
	Carrier  string `json:"carrier"`
	Form     string `json:"form"`     // how it was put in: sentence, comment, field, …
	Position string `json:"position"` // start, middle, end or field
	Pair     string `json:"pair"`     // shared by rows that differ in what was put in alone
	Span     []int  `json:"span,omitempty"`
	Task     string `json:"task"` // what a user might have fetched it for
	Licence  string `json:"lic"`
}

// Options narrow what is written; the zero value writes everything.
type Options struct {
	Carriers, WithoutCarriers []string
	Families, WithoutFamilies []string // of payloads and of innocent insertions
	Langs, WithoutLangs       []string
}

//go:embed data
var files embed.FS

var (
	base  = loadGrammar("data/en")  // English, and what all languages share
	langs = loadLangs()             // but English
	recs  = loadRecords("data/rec") // tool results with fields
)

func read(dir string, f func(name, src string) error) {
	entries, err := files.ReadDir(dir)
	if err != nil {
		panic(err) // the files are part of the program
	}
	for _, entry := range entries {
		src, err := files.ReadFile(path.Join(dir, entry.Name()))
		if err == nil {
			err = f(entry.Name(), string(src))
		}
		if err != nil {
			panic("corpus: " + err.Error())
		}
	}
}

func loadGrammar(dir string) *grammar {
	g := newGrammar()
	read(dir, g.add)
	return g
}

func loadLangs() map[string]*grammar {
	out := map[string]*grammar{}
	read("data/lang", func(name, src string) error {
		g := newGrammar()
		out[strings.TrimSuffix(name, ".txt")] = g
		if err := g.add(name, src); err != nil {
			return err
		}
		// Every kind of sentence that an English carrier asks for is one of the language's own.
		for _, r := range named(base, "s.") {
			if _, own := g.rules[r]; !own {
				g.rules[r] = []node{{kind: reference, text: "s.any"}}
			}
		}
		frame, err := files.ReadFile("data/shared/frame.txt")
		if err != nil {
			return err
		}
		return g.add("frame.txt", string(frame))
	})
	return out
}

// named lists the rules of a prefix, sorted.
func named(g *grammar, prefix string) []string {
	var out []string
	for _, r := range g.order {
		if strings.HasPrefix(r, prefix) {
			out = append(out, r)
		}
	}
	slices.Sort(out)
	return out
}

// Families lists every family: atk.* carry a payload, neg.* do not.
func Families() []string {
	out := append(named(base, "atk."), named(base, "neg.")...)
	for _, l := range Langs() {
		if l != "en" {
			out = append(append(out, named(langs[l], "atk.")...), named(langs[l], "neg.")...)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// Langs lists the languages.
func Langs() []string {
	out := []string{"en"}
	for l := range langs {
		out = append(out, l)
	}
	slices.Sort(out)
	return out
}

// Carriers lists every kind of benign content.
func Carriers() []string {
	var out []string
	for _, c := range named(base, "doc.") {
		out = append(out, c[len("doc."):])
	}
	for _, r := range recs {
		out = append(out, r.name)
	}
	slices.Sort(out)
	return out
}

// fits says whether a rule with these words may stand in a carrier of the group: no words fit
// anywhere, group names fit there, !group fits anywhere else.
func fits(words []string, group string) bool {
	only := false
	for _, w := range words {
		if w == group {
			return true
		}
		if w == "!"+group {
			return false
		}
		only = only || w[0] != '!'
	}
	return !only
}
