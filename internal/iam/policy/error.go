package policy

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Error is one thing that is wrong with a policy or its examples, and where.
type Error struct {
	File    string `json:"file"`
	Line    int    `json:"line,omitzero"` // from 1; 0: the whole file
	Col     int    `json:"col,omitzero"`
	Policy  string `json:"policy,omitzero"`
	Message string `json:"message"`
}

func (e *Error) Error() string {
	where := e.File
	if e.Line > 0 {
		where = fmt.Sprintf("%s:%d:%d", e.File, e.Line, e.Col)
	}
	if e.Policy != "" {
		return where + ": policy " + e.Policy + ": " + e.Message
	}
	return where + ": " + e.Message
}

// Errors is everything that is wrong, in the order of the file.
type Errors []*Error

func (es Errors) Error() string {
	lines := make([]string, len(es))
	for i, e := range es {
		lines[i] = e.Error()
	}
	return strings.Join(lines, "\n")
}

// AsErrors finds the list in an error of Check or of Examples.
func AsErrors(err error) (Errors, bool) {
	var es Errors
	ok := errors.As(err, &es)
	return es, ok
}

// position is how cedar-go names a place in its messages.
var position = regexp.MustCompile(`(?:parse error at )?<input>:(\d+):(\d+):? ?`)

// syntaxError gives an error of the parser its place as numbers.
func syntaxError(file, id string, err error) *Error {
	msg := strings.TrimPrefix(err.Error(), "parser error: ")
	e := &Error{File: file, Policy: id, Line: 1, Col: 1, Message: msg}
	if m := position.FindStringSubmatchIndex(msg); m != nil {
		e.Line, _ = strconv.Atoi(msg[m[2]:m[3]])
		e.Col, _ = strconv.Atoi(msg[m[4]:m[5]])
		e.Message = msg[:m[0]] + msg[m[1]:]
	}
	return e
}

// place is where one statement stands in its file.
type place struct {
	file, policy, text string
	from, to           int // bytes of text
	line, col          int // of from
}

// error makes an Error at the first place in the statement where name stands as a word; at the
// statement's beginning where it does not, since Cedar's syntax tree has no places of its own.
func (p place) error(msg, name string) *Error {
	e := &Error{File: p.file, Line: p.line, Col: p.col, Policy: p.policy, Message: msg}
	if name == "" || p.from < 0 || p.to > len(p.text) || p.from > p.to {
		return e
	}
	s := p.text[p.from:p.to]
	for at := 0; ; {
		i := strings.Index(s[at:], name)
		if i < 0 {
			return e
		}
		at += i
		end := at + len(name)
		if (at == 0 || !wordByte(s[at-1])) && (end == len(s) || !wordByte(s[end])) {
			before := s[:at]
			if nl := strings.LastIndexByte(before, '\n'); nl >= 0 {
				e.Line += strings.Count(before, "\n")
				e.Col = utf8.RuneCountInString(before[nl+1:]) + 1
			} else {
				e.Col += utf8.RuneCountInString(before)
			}
			return e
		}
		at = end
	}
}

func wordByte(c byte) bool {
	return c == '_' || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}
