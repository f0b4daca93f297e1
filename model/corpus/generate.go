package corpus

import (
	"fmt"
	"hash/fnv"
	"iter"
	"math/rand/v2"
	"slices"
	"strings"
)

// Shares in percent.
const (
	shareEnglish = 65
	shareMixed   = 22 // of the rest: payload and carrier in two languages
	shareRecords = 42 // tool results with fields, where the language allows both
	shareSecond  = 15 // a second payload for the same place
	shareBare    = 45 // the carrier as it is
	shareDecoy   = 78 // an innocent text in the payload's place
	shareLooks   = 18 // payload and innocent text in capitals, bold, brackets, …
)

// plan is what the options leave.
type plan struct {
	langs    []string
	carriers []string // rules doc.*
	multi    []string // those of them that every language has sentences for
	records  []*record
	families []string
}

func newPlan(o Options) plan {
	keep := func(name string, only, without []string) bool {
		return (len(only) == 0 || slices.Contains(only, name)) && !slices.Contains(without, name)
	}
	p := plan{}
	for _, l := range Langs() {
		if keep(l, o.Langs, o.WithoutLangs) {
			p.langs = append(p.langs, l)
		}
	}
	for _, c := range named(base, "doc.") {
		if keep(c[len("doc."):], o.Carriers, o.WithoutCarriers) {
			p.carriers = append(p.carriers, c)
			if slices.Contains(base.words[c], "multi") {
				p.multi = append(p.multi, c)
			}
		}
	}
	for _, r := range recs {
		if keep(r.name, o.Carriers, o.WithoutCarriers) {
			p.records = append(p.records, r)
		}
	}
	for _, f := range Families() {
		if keep(f, o.Families, o.WithoutFamilies) {
			p.families = append(p.families, f)
		}
	}
	return p
}

func (p plan) lang(r *rand.Rand) string {
	if slices.Contains(p.langs, "en") && (len(p.langs) == 1 || r.IntN(100) < shareEnglish) {
		return "en"
	}
	for {
		if l := p.langs[r.IntN(len(p.langs))]; l != "en" || len(p.langs) == 1 {
			return l
		}
	}
}

// Generate writes n rows, the same for the same seed and options. Rows of a pair follow each other.
// It yields fewer where the options leave nothing to write.
func Generate(seed uint64, n int, o Options) iter.Seq[Row] {
	return func(yield func(Row) bool) {
		p := newPlan(o)
		if len(p.langs) == 0 || len(p.carriers)+len(p.records) == 0 {
			return
		}
		seen := make(map[uint64]bool, n)
		for i, done := uint64(0), 0; done < n && i < uint64(n)*20+1000; i++ {
			for _, r := range p.pair(rand.New(rand.NewPCG(seed, i))) {
				h := fnv.New64a()
				h.Write([]byte(r.Text))
				if seen[h.Sum64()] {
					continue
				}
				seen[h.Sum64()] = true
				r.ID = fmt.Sprintf("indirect-%d-%d", seed, done)
				r.Pair = fmt.Sprintf("indirect-%d-p%d", seed, i)
				r.Source, r.Licence = "indirect", "permissive"
				if done++; !yield(r) || done >= n {
					return
				}
			}
		}
	}
}

// setting is one carrier with one place, into which texts can be put.
type setting struct {
	name, channel, group, lang, form, task string
	field                                  bool
	put                                    func(s string) string // "" leaves the place empty
}

// pair writes the rows of one setting.
func (p plan) pair(r *rand.Rand) []Row {
	lang := p.lang(r)
	carrierLang, textLang := lang, lang
	if lang != "en" && r.IntN(100) < shareMixed {
		if carrierLang = "en"; r.IntN(3) == 0 && slices.Contains(p.langs, "en") {
			carrierLang, textLang = lang, "en"
		}
	}
	set, ok := p.setting(r, carrierLang)
	if !ok {
		return nil
	}
	dress := drawLooks(r)
	var out []Row
	add := func(label, family, s string) {
		row := Row{Label: label, Family: family, Channel: set.channel, Carrier: set.name, Lang: textLang, Form: set.form, Task: set.task}
		if s != "" {
			s = string(markOpen) + s + string(markClose)
		} else {
			row.Lang = set.lang
		}
		row.Text, row.Span = unmark(set.put(s))
		if label == Benign {
			row.Span = nil
		}
		row.Position = position(row, set)
		out = append(out, row)
	}
	draw := func(prefix string) (family, text string) {
		own := base
		if textLang != "en" {
			own = langs[textLang]
		}
		var fit []string
		for _, f := range p.families {
			if strings.HasPrefix(f, prefix) && len(own.rules[f]) > 0 && fits(wordsOf(own, f), set.group) {
				fit = append(fit, f)
			}
		}
		if len(fit) == 0 {
			return "", ""
		}
		family = fit[r.IntN(len(fit))]
		e := newExpander(r, textLang)
		return family, dress(e, strings.TrimSpace(e.rule(family)))
	}
	times := 1
	if r.IntN(100) < shareSecond {
		times = 2
	}
	for range times {
		if f, s := draw("atk."); s != "" {
			add(Injection, f, s)
		}
	}
	if r.IntN(100) < shareDecoy {
		if f, s := draw("neg."); s != "" {
			add(Benign, f, s)
		}
	}
	if r.IntN(100) < shareBare || len(out) == 0 {
		add(Benign, "neg.none", "")
	}
	return out
}

func wordsOf(own *grammar, rule string) []string {
	if w, ok := own.words[rule]; ok {
		return w
	}
	return base.words[rule]
}

func newExpander(r *rand.Rand, lang string) *expander {
	return &expander{Rand: r, own: langs[lang], base: base, vars: map[string]string{}}
}

// unmark takes the marks out of a text and says where they bounded a payload.
func unmark(s string) (string, []int) {
	before, rest, _ := strings.Cut(s, string(markOpen))
	payload, after, ok := strings.Cut(rest, string(markClose))
	if !ok {
		return s, nil
	}
	return before + payload + after, []int{len(before), len(before) + len(payload)}
}

func position(r Row, set setting) string {
	switch {
	case set.field:
		return "field"
	case r.Span == nil:
		return ""
	case r.Span[0]*5 < len(r.Text) && r.Span[1]*5 < len(r.Text)*4 || r.Span[0] == 0:
		return "start"
	case r.Span[1]*5 > len(r.Text)*4:
		return "end"
	}
	return "middle"
}

func (p plan) setting(r *rand.Rand, lang string) (setting, bool) {
	docs := p.carriers
	if lang != "en" && len(p.multi) > 0 {
		docs = p.multi
	}
	share := shareRecords
	if lang != "en" {
		share = 25
	}
	if len(docs) == 0 || len(p.records) > 0 && r.IntN(100) < share {
		if len(p.records) == 0 {
			return setting{}, false
		}
		return recordSetting(r, p.records[r.IntN(len(p.records))], lang), true
	}
	return textSetting(r, docs[r.IntN(len(docs))], lang), true
}

func (e *expander) task(own, group string) string {
	if e.oneIn(3) || len(e.alternatives("task."+own)) == 0 {
		own = group
	}
	if len(e.alternatives("task."+own)) == 0 {
		own = "any"
	}
	return e.rule("task." + own)
}

// textSetting draws a carrier of prose, code or the like, and one of its places. A plain text can
// hold a payload before its beginning and after its end as well.
func textSetting(r *rand.Rand, rule, lang string) setting {
	e := newExpander(r, lang)
	words := base.words[rule]
	set := setting{name: rule[len("doc."):], channel: words[0], group: words[1], lang: lang}
	format := words[2]
	text := []rune(strings.TrimSpace(e.rule(rule)))
	var places []int
	for i, c := range text {
		if c >= holeBase && int(c-holeBase) < len(holeKinds) {
			places = append(places, i)
		}
	}
	at, kind := -1, byte('p')
	open := format == "text" || format == "md"
	if len(places) == 0 || open && e.oneIn(4) {
		if e.oneIn(2) {
			at = len(text)
		}
		kind = e.of("p", "p", "l", " ")[0]
		if !open {
			kind = 'c'
		}
	} else {
		at = places[e.IntN(len(places))]
		kind = holeKinds[text[at]-holeBase]
	}
	bare := func(s []rune) string {
		return string(slices.DeleteFunc(slices.Clone(s), func(c rune) bool { return c >= holeBase && int(c-holeBase) < len(holeKinds) }))
	}
	before, after := bare(text[:max(at, 0)]), bare(text[max(at, 0):])
	set.form = formName[kind]
	set.task = e.task(set.name, set.group)
	seed := r.Uint64()
	set.put = func(s string) string {
		if s == "" {
			return before + after
		}
		in := fit(newExpander(rand.New(rand.NewPCG(seed, 0)), lang), format, kind, before, s)
		if strings.TrimSpace(after) == "" {
			in = strings.TrimRight(in, "\n ")
		}
		return before + in + after
	}
	return set
}

// Keys of a field that a tool result may or may not have.
var extraKeys = strings.Fields("note notes comment remarks description message info hint instructions _comment details disclaimer footer caption subject summary memo extra about bio title status_message warning text")

// recordSetting draws a tool's result and a field of it: one that is there and grows or is replaced,
// or one that is not.
func recordSetting(r *rand.Rand, rec *record, lang string) setting {
	e := newExpander(r, lang)
	tree := rec.build(e, lang != "en" && !e.oneIn(4))
	look := drawStyle(e, tree)
	set := setting{name: rec.name, channel: "tool", group: rec.group, lang: lang, field: true}
	set.task = e.node(rec.tasks[e.IntN(len(rec.tasks))])
	var leaves, objects []*value
	tree.prosaic(&leaves, &objects)
	mode := e.IntN(100)
	if len(leaves) > 0 && mode < 75 {
		leaf := leaves[e.IntN(len(leaves))]
		was := leaf.text
		sep := e.of(" ", " ", " ", "\n", "\n\n")
		set.form = []string{"append", "prepend", "replace"}[min(mode/30, 2)]
		set.put = func(s string) string {
			leaf.text = was
			switch {
			case s == "":
			case mode < 30:
				leaf.text = was + sep + s
			case mode < 40:
				leaf.text = s + sep + was
			default:
				leaf.text = s
			}
			return look.render(tree)
		}
		if mode >= 40 {
			set.form = "replace"
		}
		return set
	}
	set.form = "field"
	object := objects[e.IntN(len(objects))]
	key, i := extraKeys[e.IntN(len(extraKeys))], e.IntN(len(object.keys)+1)
	if slices.Contains(object.keys, key) {
		key += "_2"
	}
	keys, kids := object.keys, object.kids
	set.put = func(s string) string {
		object.keys, object.kids = keys, kids
		if s != "" {
			object.keys = slices.Insert(slices.Clone(keys), i, key)
			object.kids = slices.Insert(slices.Clone(kids), i, &value{text: s})
		}
		return look.render(tree)
	}
	return set
}

// drawLooks chooses how all texts of a setting are dressed.
func drawLooks(r *rand.Rand) func(*expander, string) string {
	if r.IntN(100) >= shareLooks {
		return func(_ *expander, s string) string { return s }
	}
	k, head := r.IntN(11), r.IntN(12)
	return func(_ *expander, s string) string {
		if strings.ContainsAny(s, "\n") && k > 1 {
			return s
		}
		switch k {
		case 0:
			return strings.ToUpper(s)
		case 1:
			return strings.ToLower(s)
		case 2:
			return "**" + s + "**"
		case 3:
			return "[" + strings.TrimRight(s, ".") + "]"
		case 4:
			return `"` + s + `"`
		case 5:
			return "(" + s + ")"
		case 6:
			return "*** " + s + " ***"
		case 7:
			return "> " + s
		case 8:
			return "- " + s
		case 9:
			return strings.TrimRight(s, ".!") + "!!!"
		}
		return []string{"Note: ", "NOTE: ", "IMPORTANT: ", "Important: ", "PS: ", "P.S. ", "Reminder: ", "Attention: ", "!! ", "N.B. ", "FYI: ", "TODO: "}[head] + s
	}
}
