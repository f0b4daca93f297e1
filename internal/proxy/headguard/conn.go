// Package headguard sees each HTTP/1 request head as it came over the wire. net/http repairs heads
// before a handler sees them: it drops Content-Length beside Transfer-Encoding, joins folded lines
// and takes bare line feeds. A request that another hop could frame differently is smuggling
// (RFC 9112 section 11.2), so a gateway must refuse it, and to do so it must see it.
//
// Listen wraps a listener. Each connection follows the framing of what it reads (heads, then
// Content-Length or chunked bodies) and keeps one verdict per head, in order; the handler takes
// its own with Check. Bodies are skipped, never copied. After a head that is refused the framing
// is unknown, so every later request of that connection is refused too.
//
// HTTP/2 connections pass untouched: the frames carry the framing, and x/net checks it.
package headguard

import (
	"context"
	"net"
	"sync"
)

// MaxHead is how long a head may get before the connection is given up on. It is above net/http's
// own default limit (1 MiB + 4 KiB) so that net/http's 431 comes first.
const MaxHead = 1<<20 + 64<<10

const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

type state uint8

const (
	inHead state = iota
	inBody
	inChunkSize
	inChunkData
	inChunkEnd
	inTrailer
	lost    // after a refusal: what follows cannot be framed
	foreign // HTTP/2
)

// Conn is a connection that watches its heads. One goroutine at a time reads it; Check may run
// beside.
type Conn struct {
	net.Conn

	state state
	first bool  // no head has been seen yet
	left  int64 // bytes of body or chunk still to come; in inChunkEnd, of its CRLF
	line  int   // length of the current chunk-size or trailer line
	size  int64 // of the chunk being announced
	prev  byte  // last byte of the current line
	ext   bool  // behind the ";" of a chunk-size line
	tail  int   // bytes of trailers so far
	buf   []byte

	mu   sync.Mutex
	seen head   // the next head to be judged; its line is empty when there is none
	more []head // those behind it, of a client that sends ahead
	bad  error
	off  bool // a request was served that was not seen; nothing passes any more
}

func newConn(c net.Conn) *Conn { return &Conn{Conn: c, first: true} }

// NetConn is the connection underneath.
func (c *Conn) NetConn() net.Conn { return c.Conn }

// CloseWrite lets http.Server end an answer before it closes, so that a caller who still sends can
// read why it was refused.
func (c *Conn) CloseWrite() error {
	if w, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return w.CloseWrite()
	}
	return c.Conn.Close()
}

// Read reads from the connection and follows the framing of what came.
func (c *Conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 && c.state != lost && c.state != foreign {
		c.follow(p[:n])
	}
	return n, err
}

func (c *Conn) follow(p []byte) {
	for len(p) > 0 {
		switch c.state {
		case inHead:
			p = c.head(p)
		case inBody, inChunkData:
			n := min(c.left, int64(len(p)))
			c.left -= n
			p = p[n:]
			if c.left == 0 {
				if c.state == inChunkData {
					c.state, c.left = inChunkEnd, 2
				} else {
					c.state = inHead
				}
			}
		case lost, foreign:
			return
		default:
			c.chunk(p[0])
			p = p[1:]
		}
	}
}

// head takes what p has of the current head and returns the rest.
func (c *Conn) head(p []byte) []byte {
	if len(c.buf) == 0 {
		// Mostly the head comes whole, and then nothing is copied.
		if h := parse(p); h.err == nil {
			c.accept(h)
			return p[h.end:]
		}
		c.buf = takeBuffer()
	}
	old := len(c.buf)
	c.buf = append(c.buf, p...)
	end := endOfHead(c.buf, max(0, old-3))
	if end < 0 && c.buf[0] != '\r' && c.buf[0] != '\n' {
		if len(c.buf) < MaxHead {
			return nil
		}
		c.drop()
		c.refuse(errTooLong)
		return nil
	}
	if end < 0 {
		end = len(c.buf)
	}
	whole, rest := c.buf[:end], p[end-old:]
	if c.first && string(whole) == preface[:18] {
		c.drop()
		c.state = foreign
		return nil
	}
	h := parse(whole)
	c.drop()
	if h.err != nil {
		c.refuse(h.err)
		return nil
	}
	c.accept(h)
	return rest
}

func (c *Conn) accept(h head) {
	c.first = false
	if h.line != forServer {
		c.mu.Lock()
		if c.seen.line == "" {
			c.seen = h
		} else {
			c.more = append(c.more, h)
		}
		c.mu.Unlock()
	}
	switch {
	case h.length < 0:
		c.beginChunk()
	case h.length > 0:
		c.state, c.left = inBody, h.length
	}
}

func (c *Conn) beginChunk() {
	c.state, c.line, c.size, c.prev, c.ext, c.tail = inChunkSize, 0, 0, 0, false, 0
}

// chunk takes one byte of a chunk-size line, of the CRLF behind a chunk, or of the trailers. It
// is as strict as net/http's chunked reader or stricter, so that it never sees a later end.
func (c *Conn) chunk(b byte) {
	switch c.state {
	case inChunkSize:
		c.line++
		switch {
		case c.line > 256:
			c.refuse(errChunk)
		case c.prev == '\r':
			if b != '\n' || c.line < 3 {
				c.refuse(errChunk)
				return
			}
			if c.size == 0 {
				c.state, c.line, c.prev = inTrailer, 0, 0
				return
			}
			c.state, c.left = inChunkData, c.size
			return
		case b == '\r':
		case b == '\n' || b == 0:
			c.refuse(errChunk)
		case c.ext:
		case b == ';' && c.line > 1:
			c.ext = true
		default:
			d := hexDigit(b)
			if d < 0 || c.line > 15 {
				c.refuse(errChunk)
				return
			}
			c.size = c.size<<4 | int64(d)
		}
		c.prev = b
	case inChunkEnd:
		want := byte('\r')
		if c.left == 1 {
			want = '\n'
		}
		if b != want {
			c.refuse(errChunk)
			return
		}
		if c.left--; c.left == 0 {
			tail := c.tail
			c.beginChunk()
			c.tail = tail
		}
	case inTrailer:
		c.line++
		if c.tail++; c.tail > 64<<10 {
			c.refuse(errChunk)
			return
		}
		switch {
		case b == '\n' && c.prev != '\r', c.prev == '\r' && b != '\n':
			c.refuse(errChunk)
		case b == '\n' && c.line == 2:
			c.state = inHead
		case b == '\n':
			c.line, c.prev = 0, 0
			return
		}
		c.prev = b
	}
}

func hexDigit(b byte) int {
	switch {
	case '0' <= b && b <= '9':
		return int(b - '0')
	case 'a' <= b && b <= 'f':
		return int(b-'a') + 10
	case 'A' <= b && b <= 'F':
		return int(b-'A') + 10
	}
	return -1
}

func (c *Conn) refuse(err error) {
	c.state = lost
	c.mu.Lock()
	c.bad = err
	c.mu.Unlock()
}

// take gives the verdict about the next request that a handler serves.
func (c *Conn) take(method, target string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.off {
		return errUnseen
	}
	h := c.seen
	if c.seen = (head{}); len(c.more) > 0 {
		c.seen, c.more = c.more[0], c.more[1:]
	}
	switch {
	case h.is(method, target):
		return nil
	case c.bad == nil || h.line != "":
		// What was served is not what was seen; nothing after it can be trusted.
		c.off = true
		return errUnseen
	}
	return c.bad
}

func (c *Conn) drop() {
	if c.buf != nil {
		giveBuffer(c.buf)
		c.buf = nil
	}
}

var buffers sync.Pool // *[]byte

func takeBuffer() []byte {
	if b, ok := buffers.Get().(*[]byte); ok {
		return (*b)[:0]
	}
	return make([]byte, 0, 2048)
}

func giveBuffer(b []byte) {
	if cap(b) <= 16<<10 {
		buffers.Put(&b)
	}
}

type connKey struct{}

// ConnContext is for http.Server.ConnContext: it puts the connection where Check finds it.
func ConnContext(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, c)
}
