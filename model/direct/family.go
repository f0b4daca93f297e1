package direct

import (
	"embed"
	"path"
	"slices"
	"strings"
)

// The labels of a row.
const (
	Injection = "injection"
	Jailbreak = "jailbreak"
	Benign    = "benign"
)

// Family is one kind of text: a technique, or a kind of innocent talk that is easily taken for one.
type Family struct {
	Name  string
	Label string
	Langs []string // in which it is phrased
}

//go:embed data
var files embed.FS

// A rule of this prefix is a family's root.
var rootOf = map[string]string{"inj.": Injection, "jb.": Jailbreak, "ben.": Benign}

var (
	grammars = loadGrammars()
	shared   = grammars["shared"]
	families = findFamilies()
	langs    = findLangs()
)

// loadGrammars reads data/<lang>_*.txt and data/<lang>.txt. The files are part of the program: a
// broken one is a bug, so it stops it.
func loadGrammars() map[string]*grammar {
	out := map[string]*grammar{}
	entries, err := files.ReadDir("data")
	if err != nil {
		panic(err)
	}
	for _, f := range entries {
		lang, _, _ := strings.Cut(strings.TrimSuffix(f.Name(), ".txt"), "_")
		src, err := files.ReadFile(path.Join("data", f.Name()))
		if err != nil {
			panic(err)
		}
		if out[lang] == nil {
			out[lang] = newGrammar()
		}
		if err := out[lang].add(f.Name(), string(src)); err != nil {
			panic("direct: " + err.Error())
		}
	}
	// Every language but English has the families of intl.txt, made of its own sentences.
	intl, err := files.ReadFile("data/intl.txt")
	if err != nil {
		panic(err)
	}
	for lang, g := range out {
		if lang == "en" || lang == "shared" || lang == "intl" {
			continue
		}
		if err := g.add("intl.txt", string(intl)); err != nil {
			panic("direct: " + err.Error())
		}
	}
	delete(out, "intl")
	return out
}

func findFamilies() []Family {
	at := map[string]int{}
	var out []Family
	for _, lang := range sortedKeys(grammars) {
		for _, rule := range grammars[lang].order {
			for prefix, label := range rootOf {
				if !strings.HasPrefix(rule, prefix) || lang == "shared" {
					continue
				}
				i, ok := at[rule]
				if !ok {
					i = len(out)
					at[rule] = i
					out = append(out, Family{Name: rule, Label: label})
				}
				out[i].Langs = append(out[i].Langs, lang)
			}
		}
	}
	slices.SortFunc(out, func(a, b Family) int { return strings.Compare(a.Name, b.Name) })
	return out
}

func findLangs() []string {
	var out []string
	for _, l := range sortedKeys(grammars) {
		if l != "shared" {
			out = append(out, l)
		}
	}
	return out
}

func sortedKeys[V any](m map[string]V) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

// Families lists every family, by name.
func Families() []Family { return slices.Clone(families) }

// Langs lists the languages, by code.
func Langs() []string { return slices.Clone(langs) }
