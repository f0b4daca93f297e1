package corpus

import (
	"encoding/xml"
	"fmt"
	"strings"
	"unicode/utf16"
)

// style is how a record is written.
type style struct {
	format string // json, python, yaml, xml, lines, table, csv
	indent string // of JSON, "" for one line
	gap    string // after JSON's separators on one line
	ascii  bool   // other than ASCII as \u escapes
	block  bool   // YAML: texts of several lines as blocks
	item   string // XML's names
	root   string
}

func drawStyle(e *expander, v *value) style {
	s := style{gap: e.of("", " ", " "), ascii: e.oneIn(6), block: e.oneIn(2), item: e.of("item", "entry", "record", "row", "result"), root: e.of("response", "results", "data", "root", "list")}
	switch d := e.IntN(100); {
	case d < 24:
		s.format = "json"
	case d < 42:
		s.format, s.indent = "json", e.of("  ", "  ", "    ", "\t", " ")
	case d < 58:
		s.format = "python"
	case d < 72:
		s.format = "yaml"
	case d < 79:
		s.format = "xml"
	case d < 90:
		s.format = "lines"
	case d < 95 && flat(v):
		s.format = "table"
	case flat(v):
		s.format = "csv"
	default:
		s.format = "json"
	}
	return s
}

// flat says whether v is a list of objects without inner ones.
func flat(v *value) bool {
	if !v.list || len(v.kids) == 0 {
		return false
	}
	for _, k := range v.kids {
		for _, leaf := range k.kids {
			if leaf.list || len(leaf.keys) > 0 {
				return false
			}
		}
	}
	return true
}

func (s style) render(v *value) string {
	var b strings.Builder
	switch s.format {
	case "json", "python":
		s.json(&b, v, "\n")
	case "yaml":
		s.yaml(&b, v, "")
	case "xml":
		fmt.Fprintf(&b, "<%s>", s.root)
		s.xml(&b, v, "\n  ")
		fmt.Fprintf(&b, "\n</%s>", s.root)
	case "lines":
		s.lines(&b, v, "")
	case "table", "csv":
		s.table(&b, v)
	}
	return strings.TrimSpace(b.String())
}

func (s style) json(b *strings.Builder, v *value, nl string) {
	open, shut := "{", "}"
	if v.list {
		open, shut = "[", "]"
	}
	if !v.list && len(v.keys) == 0 {
		b.WriteString(s.scalar(v))
		return
	}
	b.WriteString(open)
	for i, k := range v.kids {
		if i > 0 {
			b.WriteByte(',')
		}
		if s.indent != "" {
			b.WriteString(nl + s.indent)
		} else if i > 0 {
			b.WriteString(s.sep())
		}
		if !v.list {
			b.WriteString(s.quote(v.keys[i]) + ":")
			if s.indent != "" {
				b.WriteByte(' ')
			} else {
				b.WriteString(s.sep())
			}
		}
		s.json(b, k, nl+s.indent)
	}
	if s.indent != "" && len(v.kids) > 0 {
		b.WriteString(nl)
	}
	b.WriteString(shut)
}

func (s style) sep() string {
	if s.format == "python" {
		return " "
	}
	return s.gap
}

func (s style) scalar(v *value) string {
	if v.raw {
		if s.format == "python" {
			return capitalBool(v.text)
		}
		return v.text
	}
	return s.quote(v.text)
}

func capitalBool(t string) string {
	if t == "true" || t == "false" {
		return capital(t)
	}
	return t
}

// quote writes a string as JSON or Python does. The marks stay as they are.
func (s style) quote(t string) string {
	q := byte('"')
	if s.format == "python" && !(strings.Contains(t, "'") && !strings.Contains(t, `"`)) {
		q = '\''
	}
	var b strings.Builder
	b.WriteByte(q)
	for _, r := range t {
		switch {
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\t':
			b.WriteString(`\t`)
		case r == '\\' || r == rune(q):
			b.WriteByte('\\')
			b.WriteRune(r)
		case r < 0x20:
			fmt.Fprintf(&b, `\u%04x`, r)
		case r > 0x7e && s.ascii && s.format == "json" && r != markOpen && r != markClose:
			if r > 0xffff {
				hi, lo := utf16.EncodeRune(r)
				fmt.Fprintf(&b, `\u%04x\u%04x`, hi, lo)
			} else {
				fmt.Fprintf(&b, `\u%04x`, r)
			}
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte(q)
	return b.String()
}

func (s style) yaml(b *strings.Builder, v *value, in string) {
	if !v.list && len(v.keys) == 0 {
		b.WriteString(s.yamlScalar(v, in) + "\n")
		return
	}
	for i, k := range v.kids {
		if i > 0 || in == "" {
			b.WriteString(in)
		}
		nested := k.list || len(k.keys) > 0
		if v.list {
			b.WriteString("- ")
			s.yaml(b, k, in+"  ")
			continue
		}
		b.WriteString(v.keys[i] + ":")
		if nested {
			b.WriteString("\n" + in + "  ")
			s.yaml(b, k, in+"  ")
		} else {
			b.WriteByte(' ')
			s.yaml(b, k, in+"  ")
		}
	}
}

func (s style) yamlScalar(v *value, in string) string {
	t := v.text
	if v.raw {
		return t
	}
	bare := strings.NewReplacer(string(markOpen), "", string(markClose), "").Replace(t)
	switch {
	case s.block && strings.Contains(bare, "\n") && bare == strings.TrimSpace(bare) && !strings.Contains(bare, "\n\n "):
		// The mark may not stand before the indentation that the block needs.
		return "|-\n" + in + "  " + strings.ReplaceAll(t, "\n", "\n"+in+"  ")
	case !strings.Contains(bare, "\n") && s.block && bare != "" && bare == strings.TrimSpace(bare):
		return "'" + strings.ReplaceAll(t, "'", "''") + "'"
	}
	return style{format: "yaml"}.quote(t)
}

func (s style) xml(b *strings.Builder, v *value, nl string) {
	if !v.list && len(v.keys) == 0 {
		xml.EscapeText(b, []byte(v.text))
		return
	}
	for i, k := range v.kids {
		name := s.item
		if !v.list {
			name = v.keys[i]
		}
		name = strings.TrimLeft(name, "_")
		b.WriteString(nl + "<" + name + ">")
		s.xml(b, k, nl+"  ")
		if k.list || len(k.keys) > 0 {
			b.WriteString(nl)
		}
		b.WriteString("</" + name + ">")
	}
}

// lines writes "Key: value" lines, items parted by a blank line.
func (s style) lines(b *strings.Builder, v *value, in string) {
	for i, k := range v.kids {
		if v.list && (k.list || len(k.keys) > 0) {
			if i > 0 {
				b.WriteString("\n")
			}
			s.lines(b, k, in)
			continue
		}
		if v.list {
			b.WriteString(in + "- " + k.text + "\n")
			continue
		}
		name := v.keys[i]
		if s.ascii || s.block {
			name = capital(strings.ReplaceAll(name, "_", " "))
		}
		b.WriteString(in + name + ":")
		if k.list || len(k.keys) > 0 {
			b.WriteString("\n")
			s.lines(b, k, in+"  ")
		} else {
			b.WriteString(" " + k.text + "\n")
		}
	}
}

// table writes a flat list as a Markdown table or CSV.
func (s style) table(b *strings.Builder, v *value) {
	var keys []string
	for _, row := range v.kids {
		for _, k := range row.keys {
			known := false
			for _, have := range keys {
				known = known || have == k
			}
			if !known {
				keys = append(keys, k)
			}
		}
	}
	line := func(cells []string) {
		if s.format == "csv" {
			b.WriteString(strings.Join(cells, ",") + "\n")
		} else {
			b.WriteString("| " + strings.Join(cells, " | ") + " |\n")
		}
	}
	line(keys)
	if s.format == "table" {
		b.WriteString(strings.Repeat("|---", len(keys)) + "|\n")
	}
	for _, row := range v.kids {
		cells := make([]string, len(keys))
		for i, k := range keys {
			for j, have := range row.keys {
				if have != k {
					continue
				}
				t := row.kids[j].text
				if s.format == "csv" && strings.ContainsAny(t, ",\"\n") {
					t = `"` + strings.ReplaceAll(t, `"`, `""`) + `"`
				} else if s.format == "table" {
					t = strings.NewReplacer("|", `\|`, "\n", "<br>").Replace(t)
				}
				cells[i] = t
			}
		}
		line(cells)
	}
}
