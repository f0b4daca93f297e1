package headguard

import (
	"bytes"
	"errors"
	"strings"
)

// Reasons why a head is refused. They hold nothing of the caller's bytes.
var (
	errRequestLine = errors.New("malformed request line")
	errTarget      = errors.New("the request target and the Host header name different places")
	errConnect     = errors.New("CONNECT is not served")
	errLineEnd     = errors.New("a line of the head does not end in CRLF, or holds a bare CR")
	errNUL         = errors.New("NUL in the head")
	errFold        = errors.New("folded header line")
	errColon       = errors.New("header line without a name, or with space around its name")
	errHost        = errors.New("no Host header, or more than one")
	errLength      = errors.New("malformed or repeated Content-Length")
	errTransfer    = errors.New("a Transfer-Encoding other than one chunked")
	errBoth        = errors.New("both Content-Length and Transfer-Encoding")
	errTwin        = errors.New("a header name that could be read as a framing header")
	errType        = errors.New("more than one Content-Type")
	errExpect      = errors.New("an Expect other than 100-continue")
	errLeading     = errors.New("line ends before the request line")
	errTooLong     = errors.New("the head is too long")
	errChunk       = errors.New("malformed chunked body on this connection")
)

// head is what one request head says about itself.
type head struct {
	err    error
	line   string // "METHOD target"
	length int64  // of the body; -1: chunked
	end    int    // of the head, blank line included
}

// is says whether the head is that of a request as net/http read it.
func (h *head) is(method, target string) bool {
	return len(h.line) == len(method)+1+len(target) && h.line[:len(method)] == method && h.line[len(method)] == ' ' && h.line[len(method)+1:] == target
}

// endOfHead finds where the head that b begins with ends, blank line included, or -1. It ends where
// net/http would end it, bare line feeds included, so that both agree about what follows.
func endOfHead(b []byte, from int) int {
	for i := from; ; {
		n := bytes.IndexByte(b[i:], '\n')
		if n < 0 {
			return -1
		}
		i += n + 1
		if i < len(b) && b[i] == '\n' {
			return i + 1
		}
		if i+1 < len(b) && b[i] == '\r' && b[i+1] == '\n' {
			return i + 2
		}
		if i >= len(b) {
			return -1
		}
	}
}

// parse reads the head that b begins with, strictly (RFC 9112). A head without its end is refused.
func parse(b []byte) head {
	var h head
	if b[0] == '\r' || b[0] == '\n' {
		h.err = errLeading
		return h
	}
	line, rest, ok := cutLine(b)
	if !ok {
		h.err = errLineEnd
		return h
	}
	var r requestLine
	if h.err = r.read(line); h.err != nil {
		return h
	}
	var f fields
	for {
		if line, rest, ok = cutLine(rest); !ok {
			h.err = errLineEnd
			return h
		}
		if len(line) == 0 {
			break
		}
		if h.err = f.add(line); h.err != nil {
			return h
		}
	}
	h.end = len(b) - len(rest)
	b = b[:h.end]
	// Each LF follows a CR; with as many CRs as LFs, no CR stands alone.
	switch {
	case bytes.IndexByte(b, 0) >= 0:
		h.err = errNUL
	case bytes.Count(b, crByte) != bytes.Count(b, lfByte):
		h.err = errLineEnd
	default:
		h.err = f.judge(r)
	}
	if h.length = f.length; f.transfers == 1 {
		h.length = -1
	}
	h.line = string(line0(b, r))
	return h
}

// line0 is the request line without its version.
func line0(b []byte, r requestLine) []byte { return b[:len(r.method)+1+len(r.target)] }

var crByte, lfByte = []byte{'\r'}, []byte{'\n'}

func cutLine(b []byte) (line, rest []byte, ok bool) {
	i := bytes.IndexByte(b, '\n')
	if i < 1 || b[i-1] != '\r' {
		return nil, nil, false
	}
	return b[:i-1], b[i+1:], true
}

type requestLine struct{ method, target []byte }

func (r *requestLine) read(line []byte) error {
	i := bytes.IndexByte(line, ' ')
	if i < 1 {
		return errRequestLine
	}
	rest := line[i+1:]
	j := bytes.IndexByte(rest, ' ')
	if j < 1 {
		return errRequestLine
	}
	if v := rest[j+1:]; string(v) != "HTTP/1.1" && string(v) != "HTTP/1.0" {
		return errRequestLine
	}
	for _, c := range line {
		if c < ' ' || c == 0x7f {
			return errRequestLine
		}
	}
	if r.method, r.target = line[:i], rest[:j]; string(r.method) == "CONNECT" {
		return errConnect
	}
	return nil
}

// forServer is the one request that net/http answers without the handler.
const forServer = "OPTIONS *"

// fields collects what the framing and routing headers say.
type fields struct {
	hosts, lengths, transfers int
	host                      []byte
	length                    int64
}

func (f *fields) add(line []byte) error {
	if line[0] == ' ' || line[0] == '\t' {
		return errFold
	}
	i := bytes.IndexByte(line, ':')
	if i < 1 || line[i-1] == ' ' || line[i-1] == '\t' {
		return errColon
	}
	name, value := line[:i], line[i+1:]
	switch len(name) {
	case 4:
		if equalFold(name, "host") {
			f.hosts++
			f.host = trim(value)
		}
	case 6:
		if equalFold(name, "expect") && !equalFold(trim(value), "100-continue") {
			return errExpect
		}
	case 14:
		if equalFold(name, "content-length") {
			f.lengths++
			return f.setLength(trim(value))
		}
		if equalFold(name, "content_length") {
			return errTwin
		}
	case 17:
		if equalFold(name, "transfer-encoding") {
			f.transfers++
			if string(trim(value)) != "chunked" {
				return errTransfer
			}
		} else if equalFold(name, "transfer_encoding") {
			return errTwin
		}
	}
	return nil
}

func (f *fields) setLength(v []byte) error {
	if len(v) == 0 || len(v) > 18 || (v[0] == '0' && len(v) > 1) {
		return errLength
	}
	f.length = 0
	for _, c := range v {
		if c < '0' || c > '9' {
			return errLength
		}
		f.length = f.length*10 + int64(c-'0')
	}
	return nil
}

func (f *fields) judge(r requestLine) error {
	switch {
	case f.hosts != 1:
		return errHost
	case f.transfers > 1:
		return errTransfer
	case f.lengths > 1:
		return errLength
	case f.lengths > 0 && f.transfers > 0:
		return errBoth
	}
	if r.target[0] == '/' {
		return nil
	}
	// Absolute form (RFC 9112 section 3.2.2): the authority must be the Host.
	target := string(r.target)
	var rest string
	switch {
	case target == "*" && string(r.method) == "OPTIONS":
		return nil
	case len(target) > 7 && strings.EqualFold(target[:7], "http://"):
		rest = target[7:]
	case len(target) > 8 && strings.EqualFold(target[:8], "https://"):
		rest = target[8:]
	default:
		return errRequestLine
	}
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		rest = rest[:i]
	}
	if rest == "" || !strings.EqualFold(rest, string(f.host)) {
		return errTarget
	}
	return nil
}

// trim removes spaces only: a tab beside a framing value is not what any client sends.
func trim(b []byte) []byte {
	for len(b) > 0 && b[0] == ' ' {
		b = b[1:]
	}
	for len(b) > 0 && b[len(b)-1] == ' ' {
		b = b[:len(b)-1]
	}
	return b
}

// equalFold compares ASCII letters without case; want is lower case and of the same length.
func equalFold(b []byte, want string) bool {
	if len(b) != len(want) {
		return false
	}
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != want[i] {
			return false
		}
	}
	return true
}
