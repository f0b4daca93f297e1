package wire

import (
	"bytes"
	"mime"
	"strings"
	"unicode/utf8"

	"sallyport.dev/sallyport/internal/gate"
	"sallyport.dev/sallyport/internal/strictjson"
)

// Media is what a body says it is.
type Media uint8

const (
	MediaNone Media = iota
	MediaJSON
	MediaLines // one JSON text a line
	MediaMultipart
	MediaForm
	MediaText
	MediaOther
)

// MediaOf reads a Content-Type. A charset other than UTF-8 on something that is read is refused by
// the caller: the bytes would mean something else to the provider.
func MediaOf(contentType string) (m Media, params map[string]string, ok bool) {
	if contentType == "" {
		return MediaNone, nil, true
	}
	if strings.ContainsAny(contentType, ",\r\n") && !strings.Contains(contentType, "boundary=") {
		return MediaOther, nil, false
	}
	mt, params, err := mime.ParseMediaType(contentType)
	if err != nil {
		return MediaOther, nil, false
	}
	if cs := strings.ToLower(params["charset"]); cs != "" && cs != "utf-8" && cs != "utf8" && cs != "us-ascii" {
		return MediaOther, params, false
	}
	_, sub, _ := strings.Cut(mt, "/")
	switch {
	case mt == "multipart/form-data":
		return MediaMultipart, params, true
	case mt == "application/x-www-form-urlencoded":
		return MediaForm, params, true
	case sub == "x-ndjson", sub == "jsonl", sub == "x-jsonl", sub == "jsonlines", sub == "x-jsonlines":
		return MediaLines, params, true
	case sub == "json", strings.HasSuffix(sub, "+json"):
		return MediaJSON, params, true
	case strings.HasPrefix(mt, "text/"), sub == "xml", strings.HasSuffix(sub, "+xml"), sub == "javascript":
		return MediaText, params, true
	}
	return MediaOther, params, true
}

// maxValues bounds the values of one body, token ids included.
const maxValues = 2_000_000

// ReadJSON reads a JSON body under a grammar.
func ReadJSON(g *Grammar, body []byte, s Scope) (*gate.Reading, *strictjson.Doc, error) {
	r := &gate.Reading{}
	doc, err := strictjson.Parse(body, strictjson.Limits{Nodes: maxValues})
	if e, ok := err.(*strictjson.Error); ok && e.Code == strictjson.TooMany {
		return nil, nil, problemTexts
	}
	if err != nil {
		return nil, nil, Ambiguous("The body is not JSON that every parser reads alike (" + err.Error() + ").")
	}
	if k := doc.Kind(strictjson.Root); k != strictjson.Object && k != strictjson.Array {
		return nil, nil, Ambiguous("The body is a JSON value but no object.")
	}
	r.Segments = make([]gate.Segment, 0, 8)
	w := Walk{Doc: doc, Reading: r, Grammar: g}
	if err := w.Run(strictjson.Root, s); err != nil {
		return nil, nil, err
	}
	return r, doc, nil
}

// ReadBody reads a request body that is not plain JSON of an endpoint. json says that the endpoint
// takes JSON, so that a JSON body under another type is refused: the provider might read it.
func ReadBody(g *Grammar, contentType string, body []byte, s Scope, json bool) (*gate.Reading, error) {
	if len(body) == 0 {
		return &gate.Reading{}, nil
	}
	m, params, ok := MediaOf(contentType)
	if !ok {
		return nil, Ambiguous("The Content-Type cannot be read, or names a character set other than UTF-8.")
	}
	if m == MediaJSON {
		r, _, err := ReadJSON(g, body, s)
		return r, err
	}
	if m != MediaMultipart && json && looksJSON(body) {
		return nil, Ambiguous("The body is JSON, but its Content-Type says otherwise.")
	}
	r := &gate.Reading{}
	switch m {
	case MediaMultipart:
		return r, readMultipart(g, r, params["boundary"], contentType, body, s)
	case MediaLines:
		readLines(g, r, body, 0, s)
	case MediaForm:
		r.Segments = append(r.Segments, ReadTarget("", string(body))...)
	default:
		readLoose(g, r, body, 0, s, "")
		if len(r.Segments) == 0 {
			r.Uninspected = append(r.Uninspected, gate.Uninspected{Kind: gate.UninspectedType, Bytes: len(body)})
		}
	}
	return r, nil
}

// looksJSON: the first byte that is no white space (or byte-order mark) opens an object or array.
func looksJSON(b []byte) bool {
	b = bytes.TrimLeft(bytes.TrimPrefix(b, []byte("\xef\xbb\xbf")), " \t\r\n")
	return len(b) > 0 && (b[0] == '{' || b[0] == '[')
}

// readLoose reads bytes of unknown kind that start at offset base of the body: JSON, lines of JSON
// or text; other bytes are noted as unread, by what they are.
func readLoose(g *Grammar, r *gate.Reading, b []byte, base int, s Scope, path string) {
	if len(b) == 0 {
		return
	}
	if kind, binary := sniff(b); binary {
		r.Uninspected = append(r.Uninspected, gate.Uninspected{Kind: kind, Path: path, Bytes: len(b)})
		if !mostlyText(b) {
			return
		}
		// Words under a false signature, or with a broken byte among them, are still words.
		r.Segments = append(r.Segments, gate.Segment{
			Text: bytes.ToValidUTF8(b, []byte("\uFFFD")), Channel: s.Channel, Role: s.Role, Path: path, Turn: -1, Place: gate.Place{Coding: gate.Nowhere},
		})
		return
	}
	if looksJSON(b) {
		if readLines(g, r, b, base, s) {
			return
		}
	}
	r.Segments = append(r.Segments, gate.Segment{
		Text: b, Channel: s.Channel, Role: s.Role, Path: path, Turn: -1,
		Place: gate.Place{Span: gate.Span{Start: base, End: base + len(b)}, Coding: gate.Verbatim},
	})
}

// mostlyText says whether at most one byte in sixteen is neither printable nor valid UTF-8.
func mostlyText(b []byte) bool {
	odd := 0
	for i := 0; i < len(b); {
		r, n := utf8.DecodeRune(b[i:])
		if r == utf8.RuneError && n <= 1 || r < 0x20 && r != '\n' && r != '\r' && r != '\t' {
			odd++
		}
		i += n
	}
	return odd*16 <= len(b)
}

// readLines reads JSON texts, one a line, or one over all lines. Where some line is not JSON, the
// whole is read as one text too: what it says may run over lines. It says whether any line was JSON.
func readLines(g *Grammar, r *gate.Reading, b []byte, base int, s Scope) bool {
	if readOne(g, r, b, base, s, "") {
		return true
	}
	any, rest := false, false
	for at := 0; at < len(b); {
		end := at + bytes.IndexByte(b[at:], '\n')
		if end < at {
			end = len(b)
		}
		l := b[at:end]
		if len(bytes.TrimSpace(l)) > 0 {
			if looksJSON(l) && readOne(g, r, l, base+at, s, "") {
				any = true
			} else {
				rest = true
			}
		}
		at = end + 1
	}
	if rest {
		seg := gate.Segment{Text: b, Role: s.Role, Channel: s.Channel, Turn: -1, Place: gate.Place{Span: gate.Span{Start: base, End: base + len(b)}, Coding: gate.Verbatim}}
		if !utf8.Valid(b) {
			seg.Text, seg.Place = bytes.ToValidUTF8(b, []byte("\uFFFD")), gate.Place{Coding: gate.Nowhere}
		}
		r.Segments = append(r.Segments, seg)
	}
	return any || rest
}

// readOne reads one JSON text at offset base of the body.
func readOne(g *Grammar, r *gate.Reading, b []byte, base int, s Scope, path string) bool {
	doc, err := strictjson.Parse(b, strictjson.Limits{})
	if err != nil {
		return false
	}
	first, unread := len(r.Segments), len(r.Uninspected)
	w := Walk{Doc: doc, Reading: r, Grammar: g, path: []byte(path)}
	if w.Run(strictjson.Root, s) != nil {
		r.Segments, r.Uninspected = r.Segments[:first], r.Uninspected[:unread]
		return false
	}
	for k := first; k < len(r.Segments); k++ {
		if p := &r.Segments[k].Place; p.Coding != gate.Nowhere {
			p.Start += base
			p.End += base
		}
	}
	return true
}

// sniff says whether bytes are something other than text, and what.
func sniff(b []byte) (gate.UninspectedKind, bool) {
	has := func(p string) bool { return bytes.HasPrefix(b, []byte(p)) }
	switch {
	case has("\x89PNG"), has("\xff\xd8\xff"), has("GIF8"), has("BM") && !utf8.Valid(b), has("RIFF") && len(b) > 12 && string(b[8:12]) == "WEBP":
		return gate.UninspectedImage, true
	case has("ID3"), has("OggS"), has("fLaC"), has("RIFF"), has("\xff\xfb"), has("\xff\xf3"):
		return gate.UninspectedAudio, true
	case len(b) > 12 && string(b[4:8]) == "ftyp", has("\x1aE\xdf\xa3"):
		return gate.UninspectedVideo, true
	case has("%PDF"), has("PK\x03\x04"), has("\x1f\x8b"):
		return gate.UninspectedFile, true
	}
	if !utf8.Valid(b) || bytes.IndexByte(b, 0) >= 0 {
		return gate.UninspectedFile, true
	}
	return 0, false
}
