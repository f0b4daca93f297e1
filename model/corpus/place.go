package corpus

import (
	"html"
	"strings"
)

// Kinds of places, as a grammar's {@kind} names them; {@} is a sentence among sentences.
//
//	p a paragraph of its own   l a line of its own   c a comment   h text that a reader does not see
//	s within a quoted string of code, JSON or YAML   a within an attribute's quotes
//	q within a quoted CSV field
const holeKinds = " plchsaq"

var formName = map[byte]string{
	' ': "sentence", 'p': "paragraph", 'l': "line", 'c': "comment", 'h': "hidden", 's': "string", 'a': "attribute", 'q': "cell",
}

// leaders begin a line's comment, by format; formats without one have <!-- -->.
var leaders = map[string]string{
	"go": "// ", "js": "// ", "java": "// ", "rust": "// ", "c": "// ", "py": "# ", "sh": "# ", "yaml": "# ", "toml": "# ",
	"ini": "; ", "sql": "-- ", "text": "# ", "ruby": "# ", "css": "/* ", "docker": "# ", "make": "# ",
}

// fit writes s so that it may stand in a text of the format at a place of the kind; the marks around
// the payload stay where the payload begins and ends. before is the text that comes before it.
func fit(e *expander, format string, k byte, before, s string) string {
	last := byte('\n')
	if before != "" {
		last = before[len(before)-1]
	}
	switch k {
	case 's':
		s = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "\t", `\t`).Replace(s)
		return spaced(last, s, `"`)
	case 'q':
		return spaced(last, strings.ReplaceAll(s, `"`, `""`), `"`)
	case 'a':
		return spaced(last, html.EscapeString(strings.ReplaceAll(s, "\n", " ")), `"`)
	case 'c':
		return onLine(before, comment(e, format, indent(before), s))
	case 'h':
		return onLine(before, hidden(e, format, s))
	}
	if format == "html" || format == "xml" {
		s = html.EscapeString(s)
	}
	sep := map[byte]string{' ': " ", 'p': "\n\n", 'l': "\n"}[k]
	switch {
	case k == ' ' && last == ' ':
		return s + " "
	case k == ' ' && strings.ContainsRune("。！？」", lastRune(before)):
		return s
	case last == '\n' || last == '>' && k == ' ':
		return s + sep
	case k == 'l' && format == "html":
		return sep + "<p>" + s + "</p>"
	}
	return sep + s
}

func lastRune(s string) rune {
	r := ' '
	for _, c := range s[max(0, len(s)-8):] {
		r = c
	}
	return r
}

func spaced(last byte, s, open string) string {
	if string(last) == open || last == ' ' {
		return s
	}
	return " " + s
}

func onLine(before, s string) string {
	if before == "" || strings.HasSuffix(before, "\n") {
		return s + "\n"
	}
	if strings.TrimRight(before, " \t") != before && indent(before) != "" { // stands indented already
		return s + "\n" + indent(before)
	}
	return "\n" + s
}

// indent is the white space that the last line begins with, if nothing else stands on it.
func indent(before string) string {
	line := before[strings.LastIndexByte(before, '\n')+1:]
	if strings.TrimSpace(line) != "" {
		return ""
	}
	return line
}

func comment(e *expander, format, in, s string) string {
	lead, ok := leaders[format]
	switch {
	case format == "css":
		return "/* " + strings.ReplaceAll(s, "*/", "* /") + " */"
	case !ok:
		s = strings.ReplaceAll(s, "--", "- -")
		if format == "md" && e.oneIn(3) && !strings.ContainsAny(s, "\n()") {
			return "[//]: # (" + s + ")"
		}
		return "<!-- " + s + " -->"
	case strings.Contains(s, "\n") || e.oneIn(5):
		if lead == "// " && e.oneIn(2) {
			return "/*\n" + in + " * " + strings.ReplaceAll(strings.ReplaceAll(s, "*/", "* /"), "\n", "\n"+in+" * ") + "\n" + in + " */"
		}
	}
	return lead + strings.ReplaceAll(s, "\n", "\n"+in+lead)
}

func hidden(e *expander, format, s string) string {
	s = html.EscapeString(s)
	if format == "md" && e.oneIn(3) {
		return "<details><summary>" + e.of("More", "Details", "Notes") + "</summary>" + s + "</details>"
	}
	style := e.of("display:none", "display: none;", "font-size:0", "font-size:1px;color:#fff", "color:white", "color:#ffffff;background:#fff",
		"visibility:hidden", "opacity:0", "position:absolute;left:-9999px", "height:0;overflow:hidden")
	tag := e.of("span", "div", "p")
	switch e.IntN(6) {
	case 0:
		return "<" + tag + " hidden>" + s + "</" + tag + ">"
	case 1:
		return "<" + tag + ` class="` + e.of("sr-only", "visually-hidden", "hidden", "note", "print-only") + `">` + s + "</" + tag + ">"
	case 2:
		return "<" + tag + ` aria-hidden="true">` + s + "</" + tag + ">"
	}
	return "<" + tag + ` style="` + style + `">` + s + "</" + tag + ">"
}
