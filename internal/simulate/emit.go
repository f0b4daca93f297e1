package simulate

import (
	"net"
	"net/http"
	"strconv"
)

// frame is one event of a stream.
type frame struct {
	event string // empty: no event field
	data  string
	delta bool // the script's delay goes before it
}

func data(v any) frame                     { return frame{data: encode(v)} }
func deltaFrame(event string, v any) frame { return frame{event: event, data: encode(v), delta: true} }

func event(name string, v any) frame { return frame{event: name, data: encode(v)} }

func (f frame) bytes() []byte {
	b := make([]byte, 0, len(f.data)+len(f.event)+24)
	if f.event != "" {
		b = append(append(append(b, "event: "...), f.event...), '\n')
	}
	return append(append(append(b, "data: "...), f.data...), "\n\n"...)
}

// json sends a whole answer.
func (c *call) json(status int, v any) { c.whole(status, "application/json", []byte(encode(v))) }

func (c *call) whole(status int, contentType string, body []byte) {
	h := c.w.Header()
	h.Set("Content-Type", contentType)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	if c.script.has("reset-after") {
		if c.script.number("reset-after", 0) > 0 {
			c.w.WriteHeader(status)
			_ = c.write(body[:len(body)/2])
		}
		c.reset()
	}
	c.w.WriteHeader(status)
	_ = c.write(body)
}

// write sends bytes in the pieces that the script asks for, and flushes each.
func (c *call) write(b []byte) error {
	rc := http.NewResponseController(c.w)
	n := c.script.number("write", len(b))
	for len(b) > 0 {
		k := min(n, len(b))
		if _, err := c.w.Write(b[:k]); err != nil {
			return err
		}
		if err := rc.Flush(); err != nil {
			return err
		}
		b = b[k:]
	}
	return nil
}

// stream sends frames as the script says.
func (c *call) stream(frames []frame) {
	h := c.w.Header()
	h.Set("Content-Type", "text/event-stream; charset=utf-8")
	h.Set("Cache-Control", "no-cache")
	c.w.WriteHeader(http.StatusOK)
	if http.NewResponseController(c.w).Flush() != nil {
		return
	}
	if c.script.has("extras") {
		frames = c.extras(frames)
	}
	for i, f := range frames {
		if c.interfered(i) {
			return
		}
		if f.delta && !c.wait(c.script.duration("delay")) {
			return
		}
		if c.write(f.bytes()) != nil {
			return
		}
	}
	c.interfered(len(frames))
}

// interfered does what the script says happens after n frames, and says whether the stream is over.
func (c *call) interfered(n int) bool {
	at := func(key string) bool { return c.script.has(key) && c.script.number(key, 0) == n }
	switch {
	case at("reset-after"):
		c.reset()
	case at("end-after"):
		return true
	case at("error-after"):
		_ = c.write(c.errorFrame().bytes())
		return true
	case at("garbage-after"):
		_ = c.write([]byte("data: {\"choices\":[{\"delta\":{\"content\":\"torn\n\n"))
	case at("silence-after"):
		<-c.r.Context().Done()
		return true
	}
	return false
}

// extras adds what a client must be able to pass over.
func (c *call) extras(frames []frame) []frame {
	_ = c.write([]byte(": simulated comment\n\nretry: 3000\nid: 1\n\n"))
	unknown := object{"type": "simulated.unknown", "simulated": true, "choices": []any{}, "object": "chat.completion.chunk"}
	f := event("simulated.unknown", unknown)
	if !c.anthropic {
		f.event = "" // OpenAI's SDKs read every data line of a chat stream, whatever its event says
	}
	return append([]frame{f}, frames...)
}

// reset breaks the connection: RST on TCP, RST_STREAM on HTTP/2. It does not return.
func (c *call) reset() {
	conn, _, err := http.NewResponseController(c.w).Hijack()
	if err == nil {
		if t, ok := conn.(*net.TCPConn); ok {
			_ = t.SetLinger(0)
		}
		_ = conn.Close()
	}
	panic(http.ErrAbortHandler)
}
