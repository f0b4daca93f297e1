package purpose

import (
	"bytes"

	"sallyport.dev/sallyport/internal/inspect/sentence"
)

// next is the first mail address or URL of text that ends after at.
func next(text []byte, at int) (v sentence.Span, ok bool) {
	for i := at; i < len(text); i++ {
		switch text[i] {
		case '@':
			s, e := i, i+1
			for s > at && i-s < 64 && local(text[s-1]) {
				s--
			}
			for e < len(text) && e-i < 255 && domain(text[e]) {
				e++
			}
			for e > i && !alnum(text[e-1]) {
				e--
			}
			if s < i && bytes.IndexByte(text[i:e], '.') > 0 {
				return sentence.Span{Start: s, End: e}, true
			}
		case ':':
			if !bytes.HasPrefix(text[i:], []byte("://")) {
				continue
			}
			s, e := i, i+3
			for s > at && i-s < 12 && alnum(text[s-1]) {
				s--
			}
			for e < len(text) && e-i < 512 && inURL(text[e]) {
				e++
			}
			for e > i+3 && !alnum(text[e-1]) && text[e-1] != '/' && text[e-1] != '=' {
				e--
			}
			if s < i && e > i+6 {
				return sentence.Span{Start: s, End: e}, true
			}
		}
	}
	return v, false
}

// host is the part of a destination by which a caller would know it: the host of a URL, the address of
// a mailbox.
func host(value []byte) []byte {
	_, rest, ok := bytes.Cut(value, []byte("://"))
	if !ok {
		return value
	}
	if i := bytes.IndexAny(rest, "/?#"); i >= 0 {
		rest = rest[:i]
	}
	if i := bytes.LastIndexByte(rest, '@'); i >= 0 {
		rest = rest[i+1:]
	}
	return bytes.TrimPrefix(rest, []byte("www."))
}

// named says whether a destination stands whole in text: "me.example" is not named by "acme.example", nor
// "acme.example" by "docs.acme.example". A host without a dot is a word like others, and names nothing.
func named(text, what []byte) bool {
	if bytes.IndexByte(what, '.') < 0 {
		return false
	}
	for at := 0; ; {
		i := bytes.Index(text[at:], what)
		if i < 0 {
			return false
		}
		s, e := at+i, at+i+len(what)
		before := s == 0 || !local(text[s-1]) && text[s-1] != '@' || text[s-1] == '/' || bytes.HasSuffix(text[:s], []byte("www.")) ||
			bytes.IndexByte([]byte("`'*_="), text[s-1]) >= 0
		after := e == len(text) || !domain(text[e]) ||
			text[e] == '.' && (e+1 == len(text) || !alnum(text[e+1])) // the end of a sentence
		if before && after {
			return true
		}
		at = s + 1
	}
}

func alnum(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || c >= 0x80
}

func local(c byte) bool  { return alnum(c) || bytes.IndexByte([]byte(".!#$%&'*+/=?^_`{|}~-"), c) >= 0 }
func domain(c byte) bool { return alnum(c) || c == '.' || c == '-' }

func inURL(c byte) bool {
	return alnum(c) || bytes.IndexByte([]byte("-._~:/?#[]@!$&*+,;=%"), c) >= 0
}
