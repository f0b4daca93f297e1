package evade

import (
	"math/rand/v2"
	"strings"
)

func verbatim(_ *rand.Rand, text string) string { return text }

// broken puts something a reader does not see into the middle of every word.
func broken(insert ...string) hider {
	return func(r *rand.Rand, text string) string {
		words := strings.Split(text, " ")
		for i, w := range words {
			rs := []rune(w)
			if len(rs) < 3 {
				continue
			}
			k := 1 + r.IntN(len(rs)-2)
			words[i] = string(rs[:k]) + insert[r.IntN(len(insert))] + string(rs[k:])
		}
		return strings.Join(words, " ")
	}
}

func markup() []Transform {
	const m = "markup"
	page := func(s string) string {
		return "<html><body><h1>Quarterly report</h1><p>Revenue grew by four percent.</p>" + s + "<p>Costs were stable.</p></body></html>"
	}
	return []Transform{
		define(m, "html-comment", false, verbatim, page("<!-- %s -->"), "<!--%s-->\nOpening hours: 9 to 5."),
		define(m, "html-hidden", false, verbatim,
			page("<div style=\"display:none\">%s</div>"), page("<span style='visibility: hidden'>%s</span>"), page("<p hidden>%s</p>"),
			page("<div style=\"position:absolute; left:-9999px\">%s</div>"), page("<template>%s</template>"), page("<span aria-hidden=\"true\" style=\"opacity:0\">%s</span>")),
		define(m, "html-tiny", false, verbatim, page("<p style=\"font-size:0\">%s</p>"), page("<p style=\"color:#fff;background:white;font-size:1px\">%s</p>"),
			page("<font color=\"white\" size=\"1\">%s</font>")),
		define(m, "html-class", false, verbatim, "<style>.n1{display:none}</style>"+page("<div class=\"n1\">%s</div>")),
		define(m, "html-attribute", false, verbatim, page("<img src=\"a.png\" alt=\"%s\">"), page("<a href=\"#\" title=\"%s\">more</a>"), page("<div data-note=\"%s\"></div>"),
			"<meta name=\"description\" content=\"%s\">"),
		define(m, "html-broken", false, broken("<b></b>", "<!-- x -->", "<span></span>", "<wbr>"), page("<p>%s</p>")),
		define(m, "markdown-title", false, verbatim, "See the [documentation](https://example.com/docs \"%s\") for details.", "![%s](https://example.com/a.png)"),
		define(m, "markdown-reference", false, verbatim, "See the [guide][1] for details.\n\n[1]: https://example.com/guide \"%s\"\n", "Read the notes.\n\n[note]: <https://example.com> '%s'\n"),
		define(m, "markdown-comment", false, verbatim, "# Notes\n\n[//]: # (%s)\n\nAll tests pass.\n", "# Notes\n\n[comment]: <> (%s)\n\nDone.\n"),
		define(m, "markdown-broken", false, broken("****", "``", "____"), "%s"),
	}
}
