package proxy

import (
	"context"
	"errors"
	"io"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"sallyport.dev/sallyport/internal/gate"
	"sallyport.dev/sallyport/internal/proxy/decode"
)

// letThrough sends the provider's answer to the caller in the way its kind allows: nothing to read,
// a stream, a text read whole, or bytes that cannot be read.
func (c *call) letThrough(ctx context.Context, cancel context.CancelCauseFunc, resp *http.Response) {
	c.maskHeader(resp.Header) // at once: what was overwritten has to be in the record
	if c.r.Method == http.MethodHead || resp.StatusCode == http.StatusNoContent || resp.StatusCode == http.StatusNotModified || resp.ContentLength == 0 {
		c.whole(resp, nil)
		return
	}
	// The answer was asked for plain. One that is encoded all the same is decoded to be read, and
	// goes on decoded.
	if enc := resp.Header.Get("Content-Encoding"); enc != "" && enc != "identity" {
		r, err := decode.Reader(enc, resp.Body, c.g.o.Limits.Answer)
		if err != nil {
			c.unreadable("unknown content encoding")
			return
		}
		resp.Body = struct {
			io.Reader
			io.Closer
		}{r, resp.Body}
		resp.Header.Del("Content-Encoding")
		resp.Header.Del("Content-Length")
		resp.ContentLength = -1
	}
	if secrets := c.secrets(); len(secrets) > 0 {
		resp.Body = &masking{ReadCloser: resp.Body, secrets: secrets, masked: &c.masked, end: func() { c.maskHeader(resp.Trailer) }}
	}
	mt, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if err != nil && resp.Header.Get("Content-Type") != "" {
		mt = "invalid"
	}
	if mt == "text/event-stream" {
		c.stream(ctx, cancel, resp)
		return
	}
	if kind, readable := kindOf(mt); !readable {
		c.opaque(ctx, resp, kind, nil)
		return
	}
	c.unary(ctx, resp, mt)
}

// kindOf says whether an answer of this media type is read as text, and what it is when it is not.
func kindOf(mt string) (gate.UninspectedKind, bool) {
	top, sub, _ := strings.Cut(mt, "/")
	switch {
	case top == "text", strings.HasSuffix(sub, "json"), strings.HasSuffix(sub, "jsonl"), strings.HasSuffix(sub, "xml"),
		sub == "x-ndjson", sub == "javascript", sub == "x-www-form-urlencoded":
		return 0, true
	case top == "image":
		return gate.UninspectedImage, false
	case top == "audio":
		return gate.UninspectedAudio, false
	case top == "video":
		return gate.UninspectedVideo, false
	case mt == "", sub == "octet-stream", sub == "binary":
		return gate.UninspectedFile, true // read as text where it is text
	case top == "application":
		return gate.UninspectedFile, false
	}
	return gate.UninspectedType, false
}

// unary reads a whole answer, has it inspected, makes the record durable, and only then sends it.
func (c *call) unary(ctx context.Context, resp *http.Response, mt string) {
	lim := c.g.o.Limits.Answer
	body, err := readUpTo(resp.Body, resp.ContentLength, lim)
	if int64(len(body)) > lim {
		if c.g.o.Monitor {
			c.opaque(ctx, resp, gate.UninspectedFile, body)
			return
		}
		c.unreadable("answer over the limit")
		return
	}
	if err != nil {
		c.broken(err)
		return
	}
	if kind, _ := kindOf(mt); kind == gate.UninspectedFile && !utf8.Valid(body) {
		c.opaque(ctx, resp, kind, body)
		return
	}
	if resp.StatusCode == http.StatusPartialContent {
		// What stands on both sides of a range's edge was not read as one text.
		c.rec.Uninspected = append(c.rec.Uninspected, gate.Uninspected{Kind: gate.UninspectedReference, Direction: gate.Answer, Path: "partial content", Action: gate.Flag})
	}
	rd, err := c.d.ReadAnswer(c.route, resp.StatusCode, resp.Header.Get("Content-Type"), body)
	if err != nil {
		if !c.g.o.Monitor {
			c.unreadable(err.Error())
			return
		}
		c.rec.Uninspected = append(c.rec.Uninspected, gate.Uninspected{Kind: gate.UninspectedType, Direction: gate.Answer, Bytes: len(body), Action: gate.Flag})
		c.whole(resp, body)
		return
	}
	c.rec.Usage, c.rec.Finish = rd.Usage, rd.Finish
	if rd.Model != "" && c.rec.Model == "" {
		c.rec.Model = rd.Model
	}
	if d := decideUninspected(c.x, rd.Uninspected, gate.Answer, c.g.o.Uninspected, c.g.o.Monitor); d.Denied() {
		d.Stage = "shape"
		c.deny(d)
		return
	}
	out, d, err := c.g.o.Inspector.Answer(ctx, c.x, rd, body)
	if err != nil {
		if row := rowOf(err, gate.FailAnswerScan); !c.g.o.Admit.Opens(row) {
			c.g.o.Log.Error("cannot inspect answer", "id", c.rec.ID, "error", err)
			c.refuse(row.Problem(), gate.OutcomeFailed)
			return
		}
		c.rec.Uninspected = append(c.rec.Uninspected, gate.Uninspected{Kind: gate.UninspectedDetector, Direction: gate.Answer, Bytes: len(body), Action: gate.Flag})
		out = body
	}
	if d.Denied() {
		d.Stage = "answer"
		c.deny(d)
		return
	}
	if d.Verdict > c.rec.Decision.Verdict {
		d.Stage = "answer"
		c.rec.Decision = d
	}
	c.whole(resp, out)
}

// whole sends an answer that is complete, after its record is.
func (c *call) whole(resp *http.Response, body []byte) {
	c.rec.Status, c.rec.Outcome = resp.StatusCode, gate.OutcomeCompleted
	c.rec.FirstByte = time.Since(c.rec.Received)
	c.sent(body)
	if err := c.finish(); err != nil {
		p := rowOf(err, gate.FailRecordFinish).Problem()
		h, b := c.d.Refusal(p, c.rec.ID)
		c.write(p.Status, h, b)
		return
	}
	h := c.answerHeaders(resp)
	switch {
	case len(resp.Trailer) > 0:
		h.Del("Content-Length") // trailers need the chunked form (RFC 9112 7.1.2)
	case c.r.Method != http.MethodHead && (resp.ContentLength >= 0 || body != nil):
		h["Content-Length"] = []string{strconv.Itoa(len(body))}
	}
	if resp.StatusCode == http.StatusNoContent || resp.StatusCode == http.StatusNotModified {
		h.Del("Content-Length")
	}
	c.started = true
	c.deadline()
	c.w.WriteHeader(resp.StatusCode)
	if len(body) > 0 {
		_, _ = c.w.Write(body)
	}
	c.trailers(resp)
}

// opaque passes bytes that cannot be read, where the policy lets them, in pieces as they come. first
// is what was already read. The record is durable before the last piece.
func (c *call) opaque(ctx context.Context, resp *http.Response, kind gate.UninspectedKind, first []byte) {
	u := []gate.Uninspected{{Kind: kind, Bytes: int(max(resp.ContentLength, 0))}}
	if d := decideUninspected(c.x, u, gate.Answer, c.g.o.Uninspected, c.g.o.Monitor); d.Denied() {
		d.Stage = "shape"
		c.deny(d)
		return
	}
	at := len(c.rec.Uninspected) - 1
	c.answerHeaders(resp)
	c.rec.FirstByte = time.Since(c.rec.Received)
	total := int64(0)
	pass := func(b []byte) bool {
		total += int64(len(b))
		c.sent(b)
		if total == resp.ContentLength && !c.complete(at, total) {
			return false
		}
		if !c.started {
			c.started = true
			c.w.WriteHeader(resp.StatusCode)
		}
		c.deadline()
		if _, err := c.w.Write(b); err != nil {
			return false
		}
		return c.rc.Flush() == nil
	}
	ok := len(first) == 0 || pass(first)
	buf := make([]byte, 32<<10)
	var err error
	for ok && err == nil {
		var n int
		if n, err = resp.Body.Read(buf); n > 0 {
			ok = pass(buf[:n])
		}
	}
	switch {
	case !ok && !c.recorded:
		c.rec.Outcome = c.g.o.Load.gone()
		_ = c.finish()
		panic(http.ErrAbortHandler)
	case err != nil && err != io.EOF:
		c.broken(err)
	case !c.complete(at, total):
		panic(http.ErrAbortHandler)
	}
	if !c.started {
		c.started = true
		c.w.WriteHeader(resp.StatusCode)
	}
	c.trailers(resp)
}

// complete records the end of an answer that was passed in pieces.
func (c *call) complete(at int, total int64) bool {
	if c.recorded {
		return true
	}
	if at >= 0 && at < len(c.rec.Uninspected) {
		c.rec.Uninspected[at].Bytes = int(total)
	}
	c.rec.Outcome = gate.OutcomeCompleted
	return c.finish() == nil
}

// answerHeaders puts the provider's end-to-end fields into the answer.
func (c *call) answerHeaders(resp *http.Response) http.Header {
	h := c.w.Header()
	id := h["Sallyport-Id"]
	copyHeaders(h, resp.Header)
	h["Sallyport-Id"] = id
	c.announce(h)
	if _, ok := h["Content-Type"]; !ok {
		h["Content-Type"] = nil // or net/http guesses one
	}
	if _, ok := h["Date"]; !ok {
		h["Date"] = nil
	}
	if c.rec.Sanitized {
		for _, k := range []string{"Content-Md5", "Digest", "Content-Digest", "Repr-Digest", "Etag"} {
			h.Del(k)
		}
	}
	for k := range resp.Trailer {
		h.Add("Trailer", k)
	}
	return h
}

// announce tells the caller of its limits. The provider's own fields stay as they are: where it sends
// one of the same name, ours take names of their own, all of them, since a policy of one and a count of
// the other would be read together.
func (c *call) announce(h http.Header) {
	if c.g.o.Announce == nil {
		return
	}
	ours, prefix := c.g.o.Announce(c.x), ""
	for k := range ours {
		if _, taken := h[k]; taken {
			prefix = "Sallyport-"
		}
	}
	for k, vs := range ours {
		h[prefix+k] = vs
	}
}

func (c *call) trailers(resp *http.Response) {
	declared := c.w.Header()["Trailer"]
	for k, vs := range resp.Trailer {
		if slices.Contains(declared, k) {
			c.w.Header()[k] = vs
		} else {
			c.w.Header()[http.TrailerPrefix+k] = vs
		}
	}
}

// unreadable ends a call whose answer cannot be inspected and so may not pass.
func (c *call) unreadable(why string) {
	c.rec.Error = "answer: " + why
	c.refuse(gate.FailAnswerScan.Row().Problem(), gate.OutcomeFailed)
}

// broken ends a call whose answer broke off. What the caller has is not made to look whole.
func (c *call) broken(err error) {
	c.rec.Error = "answer broke off"
	c.rec.Outcome = gate.OutcomeUpstreamAborted
	if c.r.Context().Err() != nil {
		c.rec.Outcome = c.g.o.Load.gone()
	}
	if !c.started {
		p := &gate.Problem{Status: http.StatusBadGateway, Code: gate.CodeUpstream, Message: "The provider's answer broke off."}
		if errors.Is(err, errIdle) {
			p = &gate.Problem{Status: http.StatusGatewayTimeout, Code: gate.CodeUpstreamTimeout, Message: "The provider fell silent."}
		}
		c.refuse(p, c.rec.Outcome)
		return
	}
	_ = c.finish()
	panic(http.ErrAbortHandler)
}

// readUpTo reads at most limit+1 bytes. A declared length is trusted for a first allocation only up
// to a mebibyte.
func readUpTo(r io.Reader, declared, limit int64) ([]byte, error) {
	size := int64(4 << 10)
	if declared > 0 {
		size = min(declared, limit, 1<<20) + 1
	}
	buf := make([]byte, 0, size)
	for {
		if len(buf) == cap(buf) {
			buf = append(buf, 0)[:len(buf)]
		}
		n, err := r.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		if int64(len(buf)) > limit {
			return buf, nil
		}
		if err == io.EOF {
			return buf, nil
		}
		if err != nil {
			return buf, err
		}
	}
}
