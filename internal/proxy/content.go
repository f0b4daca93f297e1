package proxy

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"hash"

	"sallyport.dev/sallyport/internal/gate"
	"sallyport.dev/sallyport/internal/wire"
)

// ContentMode is what the record keeps of the words themselves.
type ContentMode string

const (
	ContentNone     ContentMode = "none"
	ContentHashed   ContentMode = "hashed"   // HMAC-SHA256 of the bytes: equal content can be found, nothing can be read
	ContentRedacted ContentMode = "redacted" // the text, with every finding cut out; hashed where that cannot be done
	ContentFull     ContentMode = "full"
)

// ContentOptions says what is kept, and under which key hashes are made.
type ContentOptions struct {
	Mode ContentMode
	Key  []byte
}

// maxContent bounds the text one record keeps of each side, in bytes; longer text is cut.
const maxContent = 64 << 10

// contentHash gathers what the record keeps of an answer while it is being sent.
type contentHash struct {
	h    hash.Hash
	text []byte
}

func (c *call) hash(b []byte) string {
	m := hmac.New(sha256.New, c.g.o.Content.Key)
	m.Write(b)
	return hex.EncodeToString(m.Sum(nil))
}

// keepRequest puts the request into the record as the content mode says.
func (c *call) keepRequest() {
	if c.rec.Content.Request != "" || len(c.x.Body) == 0 {
		return
	}
	switch c.g.o.Content.Mode {
	case ContentHashed:
		c.rec.Content.Request = c.hash(c.x.Body)
	case ContentFull:
		c.rec.Content.Request = cut(c.x.Plain)
	case ContentRedacted:
		if b, ok := redact(c.x.Plain, c.x.Reading, c.rec.Findings); ok {
			c.rec.Content.Request = cut(b)
		} else {
			c.rec.Content.Request = "hmac:" + c.hash(c.x.Body)
		}
	}
}

// sent notes bytes of the answer as they go to the caller.
func (c *call) sent(b []byte) {
	c.rec.SentBytes += int64(len(b))
	switch c.g.o.Content.Mode {
	case ContentHashed:
		if c.answer.h == nil {
			c.answer.h = hmac.New(sha256.New, c.g.o.Content.Key)
		}
		c.answer.h.Write(b)
	case ContentFull, ContentRedacted:
		if room := maxContent + 1 - len(c.answer.text); room > 0 {
			c.answer.text = append(c.answer.text, b[:min(room, len(b))]...)
		}
	}
}

// keepAnswer puts the answer into the record. A redacted answer with findings that the policy let
// through is kept only where nothing was found in it.
func (c *call) keepAnswer() {
	switch c.g.o.Content.Mode {
	case ContentHashed:
		if c.answer.h != nil {
			c.rec.Content.Answer = hex.EncodeToString(c.answer.h.Sum(nil))
		}
	case ContentFull:
		c.rec.Content.Answer = cut(c.answer.text)
	case ContentRedacted:
		for _, f := range c.rec.Findings {
			if f.Direction == gate.Answer && f.Action < gate.Sanitize {
				c.rec.Content.Answer = "hmac:" + c.hash(c.answer.text)
				return
			}
		}
		c.rec.Content.Answer = cut(c.answer.text)
	}
}

func cut(b []byte) string {
	if len(b) > maxContent {
		return string(b[:maxContent]) + "…"
	}
	return string(b)
}

func redact(body []byte, r *gate.Reading, fs []gate.Finding) ([]byte, bool) {
	if r == nil {
		return nil, false
	}
	var edits []gate.Edit
	for _, f := range fs {
		if f.Direction != gate.Request {
			continue
		}
		if f.Segment < 0 || f.Segment >= len(r.Segments) {
			return nil, false
		}
		edits = append(edits, gate.Edit{Segment: f.Segment, Start: f.Start, End: f.End, With: "[redacted]"})
	}
	if len(edits) == 0 {
		return body, true
	}
	b, err := wire.Splice(body, r.Segments, edits)
	return b, err == nil
}
