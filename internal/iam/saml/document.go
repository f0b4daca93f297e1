package saml

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/beevik/etree"
	xrv "github.com/mattermost/xml-roundtrip-validator"
)

// Bounds of a document.
const (
	maxDocument = 256 << 10
	maxDepth    = 32
	maxElements = 10_000
	// maxTree is how many elements a response may have: what the signature library walks.
	maxTree       = 1000
	maxAttributes = 64
)

// Namespaces.
const (
	nsProtocol  = "urn:oasis:names:tc:SAML:2.0:protocol"
	nsAssertion = "urn:oasis:names:tc:SAML:2.0:assertion"
	nsMetadata  = "urn:oasis:names:tc:SAML:2.0:metadata"
	nsSignature = "http://www.w3.org/2000/09/xmldsig#"
)

var declaration = regexp.MustCompile(`^<\?xml +version=["']1\.0["']( +encoding=["'](?i:utf-8)["'])?( +standalone=["'](yes|no)["'])? *\?>`)

// parse reads a document that has one reading only. It refuses: document types and with them
// entities, comments and CDATA (all that starts with "<!"), processing instructions, other encodings
// than UTF-8, what does not survive encoding/xml unchanged (CVE-2020-29509 and its kin), ids that
// stand twice, and what is too large, deep or wide. trusted lets comments and CDATA be, for files of
// the operator's.
func parse(raw []byte, limit int, trusted bool) (*etree.Element, error) {
	if len(raw) > limit {
		return nil, fmt.Errorf("larger than %d bytes", limit)
	}
	body := bytes.Trim(raw[len(declaration.Find(raw)):], " \t\r\n")
	switch {
	case !utf8.Valid(raw) || bytes.IndexByte(raw, 0) >= 0:
		return nil, errors.New("not UTF-8")
	case !trusted && bytes.Contains(body, []byte("<!")):
		return nil, errors.New("a document type, a comment or CDATA")
	case bytes.Contains(body, []byte("<?")):
		return nil, errors.New("a processing instruction, or a declaration other than XML 1.0 and UTF-8")
	}
	if err := measure(body); err != nil {
		return nil, err
	}
	if err := xrv.Validate(bytes.NewReader(body)); err != nil {
		return nil, errors.New("XML that parsers read differently")
	}
	doc := etree.NewDocument()
	doc.ReadSettings.ValidateInput = true
	if err := doc.ReadFromBytes(body); err != nil {
		return nil, errors.New("not well-formed XML")
	}
	var root *etree.Element
	for _, c := range doc.Child {
		switch c := c.(type) {
		case *etree.Element:
			if root != nil {
				return nil, errors.New("more than one root")
			}
			root = c
		case *etree.CharData:
			if !c.IsWhitespace() {
				return nil, errors.New("text outside the root")
			}
		case *etree.Comment: // trusted, or it would not be here
		default:
			return nil, errors.New("something outside the root")
		}
	}
	if root == nil {
		return nil, errors.New("no root")
	}
	ids := map[string]bool{}
	for el := range all(root) {
		if !named(el.Space, el.Tag, el.NamespaceURI()) {
			return nil, errors.New("a name without a namespace, or with an empty part")
		}
		for _, a := range el.Attr {
			if a.Space == "xmlns" && (a.Key == "xml" || a.Key == "xmlns" || a.Value == "") {
				return nil, errors.New("a namespace that may not be declared")
			}
			if a.Space != "xmlns" && !named(a.Space, a.Key, a.NamespaceURI()) {
				return nil, errors.New("a name without a namespace, or with an empty part")
			}
			if !strings.EqualFold(a.Key, "id") {
				continue
			}
			if ids[a.Value] {
				return nil, errors.New("an id that stands twice")
			}
			ids[a.Value] = true
		}
	}
	return root, nil
}

// named says whether a name is one that namespaces allow: with one colon at most, within the name,
// and a prefix that is declared (Namespaces in XML 1.0).
func named(prefix, local, uri string) bool {
	return local != "" && !strings.Contains(local, ":") && (prefix == "" || prefix == "xml" || uri != "")
}

// measure walks the tokens before a tree is built of them.
func measure(body []byte) error {
	d := xml.NewDecoder(bytes.NewReader(body))
	depth, elements := 0, 0
	for {
		t, err := d.Token()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return errors.New("not well-formed XML")
		}
		switch t := t.(type) {
		case xml.Directive:
			return errors.New("a document type")
		case xml.StartElement:
			depth, elements = depth+1, elements+1
			if depth > maxDepth || elements > maxElements || len(t.Attr) > maxAttributes {
				return errors.New("too deep, or too many elements or attributes")
			}
			if strings.Contains(t.Name.Local, ":") {
				return errors.New("a name with an empty part")
			}
			seen := map[xml.Name]bool{}
			for _, a := range t.Attr {
				if strings.Contains(a.Name.Local, ":") {
					return errors.New("a name with an empty part")
				}
				if seen[a.Name] {
					return errors.New("an attribute that stands twice")
				}
				seen[a.Name] = true
			}
		case xml.EndElement:
			depth--
		}
	}
}

// all walks an element and everything in it.
func all(el *etree.Element) func(func(*etree.Element) bool) {
	return func(yield func(*etree.Element) bool) {
		var walk func(*etree.Element) bool
		walk = func(e *etree.Element) bool {
			if !yield(e) {
				return false
			}
			for _, c := range e.ChildElements() {
				if !walk(c) {
					return false
				}
			}
			return true
		}
		walk(el)
	}
}

func count(el *etree.Element) (n int) {
	for range all(el) {
		n++
	}
	return n
}

func is(el *etree.Element, ns, tag string) bool {
	return el != nil && el.Tag == tag && el.NamespaceURI() == ns
}

// children are the direct children of this name.
func children(el *etree.Element, ns, tag string) []*etree.Element {
	var out []*etree.Element
	for _, c := range el.ChildElements() {
		if is(c, ns, tag) {
			out = append(out, c)
		}
	}
	return out
}

// only is the one direct child of this name; nil when there are none or several.
func only(el *etree.Element, ns, tag string) *etree.Element {
	if c := children(el, ns, tag); len(c) == 1 {
		return c[0]
	}
	return nil
}

// text is what an element holds, which must be text alone: a comment or an element in between would
// have some read the first part only (CVE-2017-11427 and its kin).
func text(el *etree.Element) (string, bool) {
	if el == nil {
		return "", false
	}
	var b strings.Builder
	for _, c := range el.Child {
		t, ok := c.(*etree.CharData)
		if !ok {
			return "", false
		}
		b.WriteString(t.Data)
	}
	return b.String(), true
}

// attribute is an attribute without a prefix.
func attribute(el *etree.Element, name string) string {
	for _, a := range el.Attr {
		if a.Space == "" && a.Key == name {
			return a.Value
		}
	}
	return ""
}

// instant reads a time, which SAML writes in UTC (core section 1.3.3).
func instant(s string) (time.Time, bool) {
	t, err := time.Parse(time.RFC3339Nano, s)
	return t, err == nil && strings.HasSuffix(s, "Z")
}
