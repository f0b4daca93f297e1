package proxy

import (
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"sallyport.dev/sallyport/internal/gate"
	"sallyport.dev/sallyport/internal/proxy/decode"
)

var (
	problemTooLarge = &gate.Problem{Status: http.StatusRequestEntityTooLarge, Code: gate.CodeTooLarge, Message: "The request body is larger than this gateway takes."}
	problemTooSlow  = &gate.Problem{Status: http.StatusRequestTimeout, Code: gate.CodeTooSlow, Message: "The request body arrived too slowly."}
	problemMemory   = &gate.Problem{Status: http.StatusServiceUnavailable, Code: gate.CodeOverloaded, Message: "This gateway holds as many request bodies as it may.", RetryAfter: time.Second}
	problemBody     = &gate.Problem{Status: http.StatusBadRequest, Code: gate.CodeAmbiguous, Message: "The request body could not be read to its end."}
)

const bodyStep = 32 << 10

// readBody reads the whole body within its limits of size, memory and time, and undoes its content
// encoding. Reading all of it before anything is sent is also what keeps streamed answers whole.
func (c *call) readBody() *gate.Problem {
	lim := c.g.o.Limits
	n := c.r.ContentLength
	if n > lim.Body {
		return problemTooLarge
	}
	if n == 0 || c.r.Body == nil || c.r.Body == http.NoBody {
		return nil
	}
	size := n
	if n < 0 {
		size = bodyStep
	}
	if !c.grow(size) {
		return problemMemory
	}
	// A declared length is only a promise: memory follows what has arrived.
	buf := make([]byte, 0, min(size, 1<<20)+1)
	start := time.Now()
	for {
		if len(buf) == cap(buf) {
			if n < 0 && !c.grow(int64(cap(buf))) {
				return problemMemory
			}
			grown := make([]byte, len(buf), min(int64(2*cap(buf)), lim.Body+1))
			copy(grown, buf)
			buf = grown
		}
		due := start.Add(c.g.o.Timeouts.BodyGrace)
		if rate := c.g.o.Timeouts.BodyRate; rate > 0 {
			due = due.Add(time.Duration(len(buf)) * time.Second / time.Duration(rate))
		}
		_ = c.rc.SetReadDeadline(due)
		k, err := c.r.Body.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+k]
		c.rec.RequestBytes = int64(len(buf))
		if int64(len(buf)) > lim.Body {
			return problemTooLarge
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				return problemTooSlow
			}
			return problemBody
		}
	}
	// The deadline would end the connection's background read, and with it a long answer.
	_ = c.rc.SetReadDeadline(time.Time{})
	c.x.Body, c.x.Plain, c.x.Forward = buf, buf, buf
	enc := strings.Join(c.r.Header["Content-Encoding"], ",")
	if enc == "" {
		return nil
	}
	plain, err := decode.Body(enc, buf, lim.DecodedBody, maxRatio)
	if err != nil {
		var p *gate.Problem
		if errors.As(err, &p) {
			return p
		}
		return problemBody
	}
	if !c.grow(int64(len(plain))) {
		return problemMemory
	}
	c.x.Plain = plain
	return nil
}

// maxRatio is how many times larger than itself an encoded body may become.
const maxRatio = 100

func (c *call) grow(n int64) bool {
	if !c.g.o.Load.reserve(n, c.g.o.Limits.BodyMemory) {
		return false
	}
	c.reserved += n
	return true
}
