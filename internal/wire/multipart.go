package wire

import (
	"bytes"
	"mime"
	"net/textproto"
	"strconv"
	"strings"

	"sallyport.dev/sallyport/internal/gate"
)

const maxPartHead = 8 << 10

// readMultipart reads multipart/form-data (RFC 7578) in the one way that all parsers do, or refuses:
// CRLF line ends, a closing boundary, one name per part, no transfer encodings, no second boundary
// parameter.
func readMultipart(g *Grammar, r *gate.Reading, boundary, contentType string, body []byte, s Scope) error {
	if boundary == "" || len(boundary) > 70 || strings.Count(strings.ToLower(contentType), "boundary") != 1 {
		return Ambiguous("The multipart boundary is missing or given twice.")
	}
	delim := []byte("--" + boundary)
	if !bytes.HasPrefix(body, delim) {
		return Ambiguous("The multipart body does not begin with its boundary.")
	}
	at := len(delim)
	fields, files := map[string]bool{}, map[string]bool{}
	for n := 0; ; n++ {
		if bytes.HasPrefix(body[at:], []byte("--")) {
			if rest := body[at+2:]; len(bytes.Trim(rest, "\r\n")) > 0 {
				return Ambiguous("The multipart body goes on after its end.")
			}
			return nil
		}
		if !bytes.HasPrefix(body[at:], []byte("\r\n")) {
			return Ambiguous("The multipart body has a malformed boundary line.")
		}
		at += 2
		headEnd := bytes.Index(body[at:], []byte("\r\n\r\n"))
		if bytes.HasPrefix(body[at:], []byte("\r\n")) {
			return Ambiguous("A part of the multipart body has no name.")
		}
		if headEnd < 0 || headEnd > maxPartHead {
			return Ambiguous("A part of the multipart body has no end of its head, or a head that is too long.")
		}
		p, err := partHead(body[at : at+headEnd])
		if err != nil {
			return err
		}
		start := at + headEnd + 4
		// The delimiter belongs to the line break before it; a part may be empty, and then that is
		// the one that ended its head.
		next := bytes.Index(body[start-2:], append([]byte("\r\n"), delim...))
		if next < 0 {
			return Ambiguous("The multipart body has no closing boundary.")
		}
		end := max(start-2+next, start)
		at = start - 2 + next + 2 + len(delim)
		// A field given twice, or once as a field and once as a file, is read by the first or the
		// last; several files of one name are a list.
		if p.file == "" {
			if fields[p.name] && !strings.HasSuffix(p.name, "[]") || files[p.name] {
				return Ambiguous("A field of the multipart body is given twice.")
			}
			fields[p.name] = true
		} else {
			if fields[p.name] {
				return Ambiguous("A field of the multipart body is given twice.")
			}
			files[p.name] = true
		}
		p.read(g, r, body[start:end], start, s, n)
	}
}

type part struct{ name, file, media string }

func partHead(head []byte) (p part, err error) {
	if bytes.Contains(bytes.ReplaceAll(head, []byte("\r\n"), nil), []byte("\n")) || bytes.Contains(bytes.ReplaceAll(head, []byte("\r\n"), nil), []byte("\r")) {
		return p, Ambiguous("A part of the multipart body has bare line breaks in its head.")
	}
	seen := map[string]bool{}
	for _, line := range strings.Split(string(head), "\r\n") {
		name, value, ok := strings.Cut(line, ":")
		key := textproto.CanonicalMIMEHeaderKey(name)
		if !ok || strings.ContainsAny(name, " \t") || seen[key] {
			return p, Ambiguous("A part of the multipart body has a malformed head.")
		}
		seen[key] = true
		value = strings.TrimSpace(value)
		switch key {
		case "Content-Disposition":
			d, params, perr := mime.ParseMediaType(value)
			low := strings.ToLower(value)
			if perr != nil || d != "form-data" || params["name"] == "" || strings.Contains(low, "filename*") || strings.Contains(low, "name*") || strings.Count(low, "filename=") > 1 {
				return p, Ambiguous("A part of the multipart body has a name that can be read in two ways.")
			}
			p.name, p.file = params["name"], params["filename"]
			if _, has := params["filename"]; has && p.file == "" {
				p.file = "unnamed"
			}
		case "Content-Type":
			p.media = strings.ToLower(value)
		case "Content-Transfer-Encoding":
			if v := strings.ToLower(value); v != "binary" && v != "8bit" && v != "7bit" {
				return p, Ambiguous("A part of the multipart body has a transfer encoding.")
			}
		}
	}
	if p.name == "" {
		return p, Ambiguous("A part of the multipart body has no name.")
	}
	return p, nil
}

// read reads one part: a field as text, a file as whatever its bytes are.
func (p part) read(g *Grammar, r *gate.Reading, b []byte, base int, s Scope, n int) {
	if p.file != "" {
		if !structural([]byte(p.file)) {
			r.Segments = append(r.Segments, gate.Segment{Text: []byte(strings.ToValidUTF8(p.file, "\uFFFD")), Channel: s.Channel, Path: p.name + ".filename", Turn: -1, Place: gate.Place{Coding: gate.Nowhere}})
		}
		s.Channel = gate.ChannelDocument
		first := len(r.Segments)
		readLoose(g, r, b, base, s, p.name)
		if len(r.Segments) == first && len(b) > 0 && (len(r.Uninspected) == 0 || r.Uninspected[len(r.Uninspected)-1].Bytes != len(b)) {
			r.Uninspected = append(r.Uninspected, gate.Uninspected{Kind: gate.UninspectedFile, Path: p.name, Bytes: len(b)})
		}
		return
	}
	if p.name == "model" {
		r.Model = string(b)
	}
	if p.name == "stream" {
		r.Stream, _ = strconv.ParseBool(string(b))
	}
	readLoose(g, r, b, base, s, p.name)
}
