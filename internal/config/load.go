package config

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// Bounds of a configuration file, so that a hostile or mistaken one costs little. The line length
// bounds the depth of block nesting, which the YAML parser descends by recursion.
const (
	maxFile  = 1 << 20
	maxLine  = 1000
	maxLines = 20000
	maxDepth = 24
)

// Load reads the file at path over the defaults. An empty path is the default configuration.
func Load(path string) (*Config, error) {
	if path == "" {
		return Parse("", nil)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("config: %w", err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("config: %w", err)
	}
	if !st.Mode().IsRegular() {
		return nil, &Error{File: path, Message: "expected a regular file"}
	}
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("config: %w", err)
	}
	return Parse(path, data)
}

// Parse reads data over the defaults; name stands for the file in errors. It touches no file and
// no network: what the configuration refers to is checked by those who use it. The error is an
// Errors with everything that is wrong.
func Parse(name string, data []byte) (*Config, error) {
	c := Default()
	d := &decoder{file: name, at: map[string]*token.Position{}}
	if body := d.document(data); body != nil {
		d.into(body, c)
	}
	if len(d.errs) == 0 {
		d.validate(c)
	}
	if len(d.errs) > 0 {
		slices.SortStableFunc(d.errs, func(a, b *Error) int {
			if a.Line != b.Line {
				return a.Line - b.Line
			}
			return a.Col - b.Col
		})
		return nil, d.errs
	}
	return c, nil
}

// document parses the bytes into the one mapping they hold; nil when they hold none, or in error.
func (d *decoder) document(data []byte) ast.Node {
	if !d.bounded(data) {
		return nil
	}
	toks := lexer.Tokenize(string(data))
	if !d.shallow(toks) {
		return nil
	}
	f, err := d.parse(toks)
	if err != nil {
		return nil
	}
	var body ast.Node
	for _, doc := range f.Docs {
		if _, ok := doc.Body.(*ast.CommentGroupNode); ok || doc.Body == nil {
			continue
		}
		if body != nil {
			d.fail(posOf(doc.Body), "", oneDocument)
			return nil
		}
		body = doc.Body
	}
	return body
}

const oneDocument = "a second YAML document; expected one document per file"

// parse keeps a panic of the YAML library from ending the process: a configuration may be
// reloaded while calls are in flight.
func (d *decoder) parse(toks token.Tokens) (f *ast.File, err error) {
	defer func() {
		if r := recover(); r != nil {
			d.fail(nil, "", "not valid YAML")
			err = fmt.Errorf("panic: %v", r)
		}
	}()
	f, err = parser.Parse(toks, 0)
	if err != nil {
		d.syntax(err)
	}
	return f, err
}

func (d *decoder) bounded(data []byte) bool {
	if len(data) > maxFile {
		d.fail(nil, "", fmt.Sprintf("the file is longer than %s", Size(maxFile)))
		return false
	}
	if !utf8.Valid(data) {
		d.fail(nil, "", "the file is not UTF-8 text")
		return false
	}
	line := 0
	for l := range strings.Lines(string(data)) {
		line++
		if len(l) > maxLine || line > maxLines {
			d.fail(&token.Position{Line: line, Column: 1}, "", fmt.Sprintf("expected lines of at most %d bytes, and at most %d of them", maxLine, maxLines))
			return false
		}
		// The YAML library and other readers differ about these, so they are not let in at all.
		if i := strings.IndexFunc(l, func(r rune) bool {
			return (r < ' ' && r != '\n' && r != '\t' && r != '\r') || r == 0x7f || r == 0x85 || r == 0x2028 || r == 0x2029 || r == 0xfeff
		}); i >= 0 {
			d.fail(&token.Position{Line: line, Column: utf8.RuneCountInString(l[:i]) + 1}, "", "a control character, byte order mark or Unicode line break; expected plain text")
			return false
		}
		if i := strings.IndexByte(l, '\r'); i >= 0 && strings.TrimRight(l[i:], "\r\n") != "" {
			d.fail(&token.Position{Line: line, Column: i + 1}, "", "a carriage return within a line")
			return false
		}
		if indent := l[:len(l)-len(strings.TrimLeft(l, " \t"))]; strings.Contains(indent, "\t") {
			d.fail(&token.Position{Line: line, Column: strings.IndexByte(indent, '\t') + 1}, "", "a tab in the indentation; expected spaces")
			return false
		}
	}
	return true
}

// shallow refuses what a configuration has no use for and what makes YAML dangerous: deep nesting,
// anchors and aliases (which can grow without bound), merge keys, tags and directives.
func (d *decoder) shallow(toks token.Tokens) bool {
	depth, begun, ended := 0, false, false
	for _, t := range toks {
		bad := ""
		if ended && t.Type != token.CommentType {
			bad = oneDocument
		}
		switch t.Type {
		case token.DocumentHeaderType:
			if begun {
				bad = oneDocument
			}
		case token.DocumentEndType:
			ended = true
		case token.MappingStartType, token.SequenceStartType:
			if depth++; depth > maxDepth {
				bad = "nested too deep"
			}
		case token.MappingEndType, token.SequenceEndType:
			depth--
		case token.AnchorType:
			bad = "an anchor (&); write the value out"
		case token.AliasType:
			bad = "an alias (*); write the value out, or put it in quotes"
		case token.MergeKeyType:
			bad = "a merge key (<<); write the values out"
		case token.TagType:
			bad = "a tag (!); expected plain values"
		case token.DirectiveType:
			bad = "a directive (%); expected plain YAML"
		case token.MappingKeyType:
			bad = "a complex key (?); expected key: value"
		case token.SequenceEntryType:
			if t.Position.Column > 2*maxDepth*2 {
				bad = "nested too deep"
			}
		}
		begun = begun || t.Type != token.CommentType
		if bad != "" {
			d.fail(t.Position, "", bad)
			return false
		}
	}
	return true
}
