package audit

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"math"
	"slices"
	"strconv"
	"time"

	"sallyport.dev/sallyport/internal/gate"
)

// Limits of one record, so that a hostile call cannot make a line that nothing can carry.
const (
	maxID     = 128
	maxName   = 256  // names, models, rules, ids
	maxText   = 2048 // paths, reasons, errors
	maxItems  = 256  // findings, uninspected entries
	maxFields = 64   // of a note
	maxLine   = 64 << 20
)

// Cut says that a text was longer than the record keeps.
type Cut struct {
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"` // of the whole text, hexadecimal
}

// call is a gate.Record with what only the log knows of it.
type call struct {
	*gate.Record
	requestCut, answerCut *Cut
	uninspectedOmitted    int
}

var errID = errors.New("a call's id must be 1 to 128 letters, digits, '-', '_', '.' or ':'")

func checkID(id string) error {
	if id == "" || len(id) > maxID {
		return errID
	}
	for i := range len(id) {
		switch c := id[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '_', c == '.', c == ':':
		default:
			return errID
		}
	}
	return nil
}

// limit makes a call whose texts fit a record.
func limit(r *gate.Record, contentBytes int) call {
	c := call{Record: r}
	if len(r.Content.Request) > contentBytes/4 || len(r.Content.Answer) > contentBytes/4 {
		short := *r
		short.Content.Request, c.requestCut = cutContent(r.Content.Request, contentBytes)
		short.Content.Answer, c.answerCut = cutContent(r.Content.Answer, contentBytes)
		c.Record = &short
	}
	return c
}

func cutContent(s string, n int) (string, *Cut) {
	v := valid(s)
	if len(v) <= n {
		return v, nil
	}
	sum := sha256.Sum256([]byte(s))
	return cutAt(v, n), &Cut{Bytes: int64(len(s)), SHA256: hex.EncodeToString(sum[:])}
}

// appendCall appends the members of a call, each with a comma before it. What is zero is left out.
func appendCall(b []byte, c call) []byte {
	b = append(b, `,"id":`...)
	b = appendString(b, c.ID)
	if !c.Received.IsZero() {
		b = append(b, `,"received":"`...)
		b = appendTime(b, c.Received)
		b = append(b, '"')
	}
	if p := &c.Principal; p.Kind != "" || p.ID != "" || p.Name != "" {
		b = append(b, `,"principal":{"kind":`...)
		b = appendString(b, capped(p.Kind, maxName))
		b = text(b, "id", p.ID, maxName)
		b = text(b, "name", p.Name, maxName)
		b = text(b, "tenant", p.Tenant, maxName)
		b = text(b, "team", p.Team, maxName)
		b = text(b, "holder", p.Holder, maxName)
		b = text(b, "on_behalf_of", p.OnBehalfOf, maxName)
		b = append(b, '}')
	}
	if c.ClientAddr.IsValid() {
		// A zone names an interface in the caller's own words.
		b = append(b, `,"client":"`...)
		b = c.ClientAddr.WithZone("").AppendTo(b)
		b = append(b, '"')
	}
	b = text(b, "upstream", c.Upstream, maxName)
	b = text(b, "dialect", string(c.Dialect), maxName)
	b = text(b, "endpoint", c.Endpoint, maxName)
	b = text(b, "method", c.Method, maxName)
	b = text(b, "path", c.Path, maxText)
	b = text(b, "model", c.Model, maxName)
	b = flag(b, "streamed", c.Streamed)
	b = text(b, "policy", c.Policy, maxName)
	b = text(b, "mode", c.Mode, maxName)
	b = appendFindings(b, c)
	b = appendUninspected(b, c)
	b = appendDecision(b, &c.Decision)
	if c.WouldBe != gate.Allow {
		b = text(b, "would_be", c.WouldBe.String(), maxName)
	}
	b = flag(b, "sanitized", c.Sanitized)
	b = number(b, "status", int64(c.Status))
	b = text(b, "outcome", string(c.Outcome), maxName)
	b = text(b, "error", c.Error, maxText)
	if u := c.Usage; u != (gate.Usage{}) {
		b = append(b, `,"usage":{"input":`...)
		b = strconv.AppendInt(b, int64(u.Input), 10)
		b = append(b, `,"output":`...)
		b = strconv.AppendInt(b, int64(u.Output), 10)
		b = number(b, "cached_input", int64(u.CachedInput))
		b = number(b, "reasoning", int64(u.Reasoning))
		b = number(b, "cache_write", int64(u.CacheWrite))
		b = number(b, "cache_write_short", int64(u.CacheWriteShort))
		b = number(b, "audio_input", int64(u.AudioInput))
		b = number(b, "image_input", int64(u.ImageInput))
		b = number(b, "audio_output", int64(u.AudioOutput))
		b = number(b, "searches", int64(u.Searches))
		b = text(b, "tier", u.Tier, maxName)
		b = append(b, '}')
	}
	if s := c.Spend; s != (gate.Spend{}) {
		b = append(b, `,"spend":{"tokens":`...)
		b = strconv.AppendInt(b, s.Tokens, 10)
		b = number(b, "cost", s.Cost)
		b = flag(b, "estimated", s.Estimated)
		b = flag(b, "guessed", s.Guessed)
		b = append(b, '}')
	}
	b = text(b, "finish", c.Finish, maxName)
	b = number(b, "request_bytes", c.RequestBytes)
	b = number(b, "forward_bytes", c.ForwardBytes)
	b = number(b, "answer_bytes", c.AnswerBytes)
	b = number(b, "sent_bytes", c.SentBytes)
	b = number(b, "answer_text", c.AnswerText)
	b = number(b, "admitted_us", c.Admitted.Microseconds())
	b = number(b, "begun_us", c.Begun.Microseconds())
	b = number(b, "first_byte_us", c.FirstByte.Microseconds())
	b = number(b, "finished_us", c.Finished.Microseconds())
	return appendContent(b, c)
}

func appendFindings(b []byte, c call) []byte {
	fs, omitted := c.Findings, c.MoreFindings
	if len(fs) > maxItems {
		fs, omitted = fs[:maxItems], omitted+len(fs)-maxItems
	}
	for i := range fs {
		f := &fs[i]
		if i == 0 {
			b = append(b, `,"findings":[`...)
		} else {
			b = append(b, ',')
		}
		b = append(b, `{"category":`...)
		b = appendString(b, capped(string(f.Category), maxName))
		b = text(b, "rule", f.Rule, maxName)
		b = append(b, `,"direction":"`...)
		b = append(b, f.Direction.String()...)
		b = append(b, `","channel":"`...)
		b = append(b, f.Channel.String()...)
		b = append(b, '"')
		b = text(b, "path", f.Path, maxText)
		b = append(b, `,"start":`...)
		b = strconv.AppendInt(b, int64(f.Start), 10)
		b = append(b, `,"end":`...)
		b = strconv.AppendInt(b, int64(f.End), 10)
		b = text(b, "view", f.View, maxName)
		if f.Score != 0 && !math.IsNaN(f.Score) && !math.IsInf(f.Score, 0) {
			b = append(b, `,"score":`...)
			b = strconv.AppendFloat(b, f.Score, 'g', -1, 64)
		}
		b = append(b, `,"action":"`...)
		b = append(b, f.Action.String()...)
		b = append(b, '"')
		b = text(b, "span", f.Span, maxName)
		b = text(b, "excused", f.Excused, maxName)
		b = append(b, '}')
	}
	if len(fs) > 0 {
		b = append(b, ']')
	}
	return number(b, "findings_omitted", int64(omitted))
}

func appendUninspected(b []byte, c call) []byte {
	us, omitted := c.Uninspected, c.uninspectedOmitted
	if len(us) > maxItems {
		us, omitted = us[:maxItems], omitted+len(us)-maxItems
	}
	for i := range us {
		u := &us[i]
		if i == 0 {
			b = append(b, `,"uninspected":[`...)
		} else {
			b = append(b, ',')
		}
		b = append(b, `{"kind":"`...)
		b = append(b, u.Kind.String()...)
		b = append(b, `","direction":"`...)
		b = append(b, u.Direction.String()...)
		b = append(b, '"')
		b = text(b, "path", u.Path, maxText)
		b = number(b, "bytes", int64(u.Bytes))
		b = append(b, `,"action":"`...)
		b = append(b, u.Action.String()...)
		b = append(b, `"}`...)
	}
	if len(us) > 0 {
		b = append(b, ']')
	}
	return number(b, "uninspected_omitted", int64(omitted))
}

func appendDecision(b []byte, d *gate.Decision) []byte {
	b = append(b, `,"decision":{"verdict":"`...)
	b = append(b, d.Verdict.String()...)
	b = append(b, '"')
	b = text(b, "stage", d.Stage, maxName)
	b = text(b, "reason", d.Reason, maxText)
	if p := d.Problem; p != nil {
		b = append(b, `,"code":`...)
		b = appendString(b, capped(string(p.Code), maxName))
		b = append(b, `,"status":`...)
		b = strconv.AppendInt(b, int64(p.Status), 10)
		b = text(b, "param", p.Param, maxText)
	}
	return append(b, '}')
}

func appendContent(b []byte, c call) []byte {
	if c.Content.Mode == "" {
		return b
	}
	b = append(b, `,"content":{"mode":`...)
	b = appendString(b, capped(c.Content.Mode, maxName))
	b = whole(b, "request", c.Content.Request, c.requestCut)
	b = whole(b, "answer", c.Content.Answer, c.answerCut)
	return append(b, '}')
}

func whole(b []byte, name, s string, cut *Cut) []byte {
	if s != "" {
		b = member(b, name)
		b = appendString(b, s)
	}
	if cut != nil {
		b = append(b, `,"`...)
		b = append(b, name...)
		b = append(b, `_cut":{"bytes":`...)
		b = strconv.AppendInt(b, cut.Bytes, 10)
		b = append(b, `,"sha256":`...)
		b = appendString(b, cut.SHA256)
		b = append(b, '}')
	}
	return b
}

func appendNote(b []byte, event string, fields map[string]string) []byte {
	b = append(b, `,"event":`...)
	b = appendString(b, capped(event, maxName))
	keys := make([]string, 0, len(fields))
	for k := range fields {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	if len(keys) == 0 {
		return b
	}
	b = append(b, `,"fields":{`...)
	seen := map[string]bool{}
	for _, k := range keys {
		name := valid(capped(k, maxName))
		if seen[name] || len(seen) == maxFields {
			continue
		}
		if len(seen) > 0 {
			b = append(b, ',')
		}
		seen[name] = true
		b = appendString(b, name)
		b = append(b, ':')
		b = appendString(b, capped(fields[k], maxText))
	}
	return append(b, '}')
}

// appendTime writes RFC 3339 in UTC with nine digits of the second, always 30 bytes, so that times
// sort as text. A year that does not fit is no time of ours and becomes the year 0.
func appendTime(b []byte, t time.Time) []byte {
	t = t.UTC()
	y, m, d := t.Date()
	if y < 0 || y > 9999 {
		y = 0
	}
	h, mi, s := t.Clock()
	b = append(digits(b, y, 4), '-')
	b = append(digits(b, int(m), 2), '-')
	b = append(digits(b, d, 2), 'T')
	b = append(digits(b, h, 2), ':')
	b = append(digits(b, mi, 2), ':')
	b = append(digits(b, s, 2), '.')
	return append(digits(b, t.Nanosecond(), 9), 'Z')
}

func digits(b []byte, v, n int) []byte {
	for range n {
		b = append(b, '0')
	}
	for i := len(b) - 1; v > 0; i, v = i-1, v/10 {
		b[i] += byte(v % 10)
	}
	return b
}

func member(b []byte, name string) []byte {
	b = append(b, ',', '"')
	b = append(b, name...)
	return append(b, '"', ':')
}

func text(b []byte, name, s string, limit int) []byte {
	if s == "" {
		return b
	}
	return appendString(member(b, name), capped(s, limit))
}

func number(b []byte, name string, n int64) []byte {
	if n == 0 {
		return b
	}
	return strconv.AppendInt(member(b, name), n, 10)
}

func flag(b []byte, name string, v bool) []byte {
	if !v {
		return b
	}
	return append(member(b, name), "true"...)
}
