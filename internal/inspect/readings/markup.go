package readings

import "strings"

// tag is one tag of a page.
type tag struct {
	s, e    int
	name    string
	attrs   string
	attrsAt int
	closing bool
	comment bool
}

// nextTag finds the first tag or comment from i on.
func nextTag(t string, i int) (tag, bool) {
	for {
		k := strings.IndexByte(t[i:], '<')
		if k < 0 || i+k+2 >= len(t) {
			return tag{}, false
		}
		s := i + k
		i = s + 1
		if strings.HasPrefix(t[s:], "<!--") {
			if e := indexFrom(t, "-->", s+4); e >= 0 {
				return tag{s: s, e: e + 3, comment: true}, true
			}
			return tag{s: s, e: len(t), comment: true}, true
		}
		g := tag{s: s}
		if t[i] == '/' {
			g.closing = true
			i++
		}
		if i >= len(t) || letterNo[t[i]] == 0 && t[i] != '!' {
			continue
		}
		n := i
		for n < len(t) && (class[t[n]]&(cLetter|cDigit) != 0 || t[n] == '-') {
			n++
		}
		if n < len(t) && t[n] == ':' {
			continue // <https://...>
		}
		// To the end of the tag, over quoted values.
		e, quote := n, byte(0)
		for ; e < len(t) && e-s < 8192; e++ {
			c := t[e]
			if quote != 0 {
				if c == quote {
					quote = 0
				}
				continue
			}
			if c == '"' || c == '\'' {
				if e > 0 && t[e-1] == '=' {
					quote = c
				}
			} else if c == '>' || c == '<' {
				break
			}
		}
		if e >= len(t) || t[e] != '>' {
			i = n
			continue
		}
		g.name, g.attrs, g.attrsAt, g.e = strings.ToLower(t[i:min(n, i+16)]), t[n:e], n, e+1
		return g, true
	}
}

// unseen attributes carry text that a page does not show, or not where it stands.
var unseenAttrs = []string{"alt", "title", "content", "value", "placeholder", "summary", "label", "aria-label", "aria-description", "data-", "srcdoc"}

var voidTags = map[string]bool{"img": true, "br": true, "hr": true, "input": true, "meta": true, "link": true, "wbr": true, "area": true, "base": true, "col": true, "embed": true, "source": true, "track": true}

// invisibleStyle says that a style shows nothing: no display, no size, no contrast, off the page.
func invisibleStyle(style string) bool {
	s := strings.Map(func(r rune) rune {
		if r == ' ' || r == '\n' || r == '\t' {
			return -1
		}
		if 'A' <= r && r <= 'Z' {
			r += 'a' - 'A'
		}
		return r
	}, style)
	for _, x := range []string{"display:none", "visibility:hidden", "visibility:collapse", "opacity:0;", "opacity:0.0", "font-size:0", "font-size:1px", "font-size:.", "left:-9", "top:-9", "text-indent:-9", "clip:rect(0", "clip-path:inset(50%", "clip-path:inset(100%", "max-height:0", "color:transparent"} {
		if strings.Contains(s, x) {
			return true
		}
	}
	if strings.HasSuffix(s, "opacity:0") || strings.Contains(s, "opacity:0\"") {
		return true
	}
	fore, back := property(s, "color:"), property(s, "background:")
	if back == "" {
		back = property(s, "background-color:")
	}
	return fore != "" && fore == back || (fore == "#fff" || fore == "white" || fore == "#ffffff") && (back == "" || back == "white" || back == "#fff" || back == "#ffffff")
}

// property is the value of a property in a style without white space.
func property(style, name string) string {
	for i := 0; ; {
		k := indexFrom(style, name, i)
		if k < 0 {
			return ""
		}
		i = k + len(name)
		if k > 0 && style[k-1] != ';' && style[k-1] != '{' {
			continue
		}
		v := style[i:]
		if e := strings.IndexAny(v, ";}"); e >= 0 {
			v = v[:e]
		}
		switch v {
		case "#fff", "#ffffff", "rgb(255,255,255)":
			v = "white"
		}
		return v
	}
}

// attribute calls f for each attribute with the place of its value.
func attributes(g tag, f func(name string, s, e int)) {
	a := g.attrs
	for i := 0; i < len(a); {
		if class[a[i]]&cSpace != 0 || a[i] == '/' {
			i++
			continue
		}
		n := i
		for i < len(a) && class[a[i]]&cSpace == 0 && a[i] != '=' {
			i++
		}
		name := strings.ToLower(a[n:i])
		if i >= len(a) || a[i] != '=' {
			f(name, 0, 0)
			continue
		}
		i++
		if i < len(a) && (a[i] == '"' || a[i] == '\'') {
			e := strings.IndexByte(a[i+1:], a[i])
			if e < 0 {
				return
			}
			f(name, g.attrsAt+i+1, g.attrsAt+i+1+e)
			i += e + 2
			continue
		}
		v := i
		for i < len(a) && class[a[i]]&cSpace == 0 {
			i++
		}
		f(name, g.attrsAt+v, g.attrsAt+i)
	}
}

// concealed collects what a reader of the page or the document does not see: comments, elements and
// attributes that are not shown, titles of links and definitions of Markdown.
func (l *lattice) concealed(*mark) {
	t := l.text
	b := l.builder("hidden")
	b.bare, b.always = true, true
	take := func(s, e int) {
		for s < e && class[t[s]]&cSpace != 0 {
			s++
		}
		for s < e && class[t[e-1]]&cSpace != 0 {
			e--
		}
		letters := 0
		for i := s; i < e && letters < 4; i++ {
			if class[t[i]]&cLetter != 0 || t[i] >= 0x80 {
				letters++
			}
		}
		if letters >= 4 && s >= b.pos {
			b.approach(s)
			b.copy(s, e)
			b.pos = e
		}
	}
	var classes []string // that a style sheet does not show
	inside, depth, from := "", 0, 0
	md := 0
	for i := 0; i < len(t); {
		g, ok := nextTag(t, i)
		end := len(t)
		if ok {
			end = g.s
		}
		if inside == "" {
			l.links(max(i, md), end, take)
		}
		md = end
		if !ok {
			break
		}
		i = g.e
		switch {
		case inside != "":
			if g.name == inside && !g.comment {
				if g.closing {
					depth--
				} else if !voidTags[g.name] {
					depth++
				}
				if depth == 0 {
					take(from, g.s)
					inside = ""
				}
			}
		case g.comment:
			take(min(g.s+4, g.e), max(g.e-3, min(g.s+4, g.e)))
		case g.name == "style" && !g.closing:
			e := indexFrom(t, "</style", g.e)
			if e < 0 {
				e = len(t)
			}
			classes = hiddenClasses(t[g.e:e], classes)
			i = e
		case g.name == "script" && !g.closing:
			if e := indexFrom(t, "</script", g.e); e >= 0 {
				i = e
			}
		case !g.closing:
			hide := g.name == "template" || g.name == "noscript"
			white, tiny := false, false
			attributes(g, func(name string, s, e int) {
				v := t[s:e]
				switch name {
				case "style":
					hide = hide || invisibleStyle(v)
				case "hidden":
					hide = true
				case "aria-hidden":
					hide = hide || v == "true"
				case "color":
					white = v == "white" || v == "#fff" || v == "#ffffff" || v == "#FFFFFF"
				case "size":
					tiny = v == "1" || v == "0"
				case "class", "id":
					for c := range strings.FieldsSeq(v) {
						for _, h := range classes {
							hide = hide || c == h
						}
					}
				}
				for _, a := range unseenAttrs {
					if name == a || a == "data-" && strings.HasPrefix(name, a) {
						if strings.IndexByte(v, ' ') > 0 || e-s >= 24 {
							take(s, e)
						}
					}
				}
			})
			if hide || white || g.name == "font" && tiny {
				if !voidTags[g.name] && !strings.HasSuffix(g.attrs, "/") {
					inside, depth, from = g.name, 1, g.e
				}
			}
		}
	}
	if inside != "" {
		take(from, len(t))
	}
	l.add(b)
}

// hiddenClasses adds the classes and ids that a style sheet does not show.
func hiddenClasses(css string, list []string) []string {
	for len(list) < 64 {
		open := strings.IndexByte(css, '{')
		if open < 0 {
			break
		}
		end := strings.IndexByte(css[open:], '}')
		if end < 0 {
			end = len(css) - open - 1
		}
		if invisibleStyle(css[open+1 : open+end]) {
			for sel := range strings.FieldsFuncSeq(css[:open], func(r rune) bool { return r == ' ' || r == ',' || r == '}' || r == '\n' || r == '>' }) {
				if k := strings.LastIndexAny(sel, ".#"); k >= 0 {
					list = append(list, sel[k+1:])
				}
			}
		}
		css = css[open+end+1:]
	}
	return list
}

// links calls take for the titles and alternative texts of Markdown links and the definitions that
// are not shown, in t[s:e].
func (l *lattice) links(s, e int, take func(s, e int)) {
	t := l.text[:e]
	quotedPart := func(i int) int {
		for i < len(t) && (t[i] == ' ' || t[i] == '\t') {
			i++
		}
		if i >= len(t) || strings.IndexByte("\"'(", t[i]) < 0 {
			return i
		}
		q := t[i]
		if q == '(' {
			q = ')'
		}
		line := len(t)
		if k := strings.IndexByte(t[i:], '\n'); k >= 0 {
			line = i + k
		}
		if k := strings.LastIndexByte(t[i+1:line], q); k >= 0 {
			take(i+1, i+1+k)
			return i + k + 2
		}
		return i
	}
	last := s
	for i := s; i < len(t); {
		k := strings.IndexByte(t[i:], ']')
		if k < 0 || i+k+1 >= len(t) {
			return
		}
		i += k + 1
		switch t[i] {
		case '(':
			// [text](address "title"), ![text](address)
			lo := max(s, i-512, last)
			if open := strings.LastIndexByte(t[lo:i-1], '['); open >= 0 && lo+open > 0 && t[lo+open-1] == '!' {
				take(lo+open+1, i-1)
			}
			last = i
			a := i + 1
			for a < len(t) && a < i+512 && t[a] != ' ' && t[a] != ')' && t[a] != ']' && t[a] != '\n' {
				a++
			}
			if a < len(t) && t[a] == ' ' {
				i = quotedPart(a)
			}
		case ':':
			// [name]: address "title", at the beginning of a line
			lo := max(s, i-256)
			open := strings.LastIndexByte(t[lo:i], '[')
			if open < 0 || lo+open > 0 && t[lo+open-1] != '\n' && t[lo+open-1] != ' ' && t[lo+open-1] != '>' {
				continue
			}
			a := i + 1
			for a < len(t) && t[a] == ' ' {
				a++
			}
			for a < len(t) && t[a] != ' ' && t[a] != '\n' {
				a++
			}
			if a < len(t) && t[a] == ' ' {
				i = quotedPart(a)
			}
		}
	}
}

// blocks are tags that part words, as a space does.
var blocks = func() map[string]bool {
	m := map[string]bool{}
	for w := range strings.FieldsSeq("p div br hr li ul ol dl dt dd tr td th table thead tbody h1 h2 h3 h4 h5 h6 section article header footer main nav aside pre blockquote form fieldset option select button title head body html script style template noscript iframe img input textarea figure figcaption details summary !doctype") {
		m[w] = true
	}
	return m
}()

// unbroken reads words without the tags, comments and emphasis that part their letters.
func (l *lattice) unbroken(*mark) {
	t := l.text
	b := l.builder("unbroken")
	letter := func(i int) bool { return i >= 0 && i < len(t) && (class[t[i]]&cLetter != 0 || t[i] >= 0x80) }
	tags := 0
	if strings.IndexByte(t, '<') >= 0 {
		for i := 0; ; {
			g, ok := nextTag(t, i)
			if !ok {
				break
			}
			i = g.e
			s, block := g.s, blocks[g.name]
			empty := g.name == "wbr" || strings.HasPrefix(t[g.s:], "<!--") // shows nothing
			for {
				n, ok := nextTag(t[:min(len(t), i+8192)], i)
				if !ok || n.s != i {
					break
				}
				i = n.e
				empty = true
				block = block || blocks[n.name]
			}
			if !block && (letter(s-1) && letter(i) || empty && (letter(s-1) || letter(i))) {
				b.edit(s, i, "", whole)
				tags++
			}
		}
		if tags > 0 {
			l.add(b)
		}
		b = l.builder("unbroken")
	}
	words := 0
	for i := 1; i < len(t); i++ {
		c := t[i]
		if c != '*' && c != '_' && c != '`' && c != '~' || t[i-1] == c || !letter(i-1) {
			continue
		}
		e := i
		for e < len(t) && t[e] == c {
			e++
		}
		if e-i >= 2 && letter(e) {
			b.edit(i, e, "", whole)
			words++
		}
	}
	if words > 0 {
		l.add(b)
	}
}
