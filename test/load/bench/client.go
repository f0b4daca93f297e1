package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strconv"
	"sync/atomic"
	"time"
)

// words make the prompts: plain ones, so that no rule finds anything.
var words = []string{"harbour", "morning", "ticket", "river", "market", "garden", "letter", "window", "boat", "winter",
	"bridge", "paper", "coffee", "island", "summer", "train", "north", "bread", "music", "table", "stone", "field",
	"light", "train", "house", "apple", "green", "water", "story", "clock", "road", "shoes"}

var serial atomic.Uint64

// prompt is about 200 bytes that no request before had.
func prompt(b []byte) []byte {
	b = append(b, "Question "...)
	b = strconv.AppendUint(b, serial.Add(1), 10)
	b = append(b, ": write two lines about"...)
	r := rand.Uint64()
	for range 24 {
		b = append(b, ' ')
		b = append(b, words[r%32]...)
		if r >>= 5; r < 32 {
			r = rand.Uint64()
		}
	}
	return append(b, '.')
}

// client is one kept-alive HTTP/1.1 connection. It knows just enough of HTTP to use little CPU, so
// that what is measured is what stands between it and the provider.
type client struct {
	c    net.Conn
	r    *bufio.Reader
	req  []byte
	body []byte
	head []byte
	got  []byte
}

func newClient(addr string, buffer int) (*client, error) {
	c, err := net.DialTimeout("tcp", addr, 5*time.Second)
	if err != nil {
		return nil, err
	}
	return &client{
		c: c, r: bufio.NewReaderSize(c, buffer),
		head: []byte("POST /v1/chat/completions HTTP/1.1\r\nHost: " + addr + "\r\nUser-Agent: bench\r\nAccept: application/json\r\n" +
			"Authorization: Bearer sk-bench-0123456789\r\nContent-Type: application/json\r\nContent-Length: "),
	}, nil
}

func (c *client) Close() { c.c.Close() }

func (c *client) send(model string, stream bool) error {
	c.body = append(c.body[:0], `{"model":"`...)
	c.body = append(c.body, model...)
	c.body = append(c.body, `","messages":[{"role":"user","content":"`...)
	c.body = prompt(c.body)
	c.body = append(c.body, `"}]`...)
	if stream {
		c.body = append(c.body, `,"stream":true`...)
	}
	c.body = append(c.body, '}')
	c.req = append(c.req[:0], c.head...)
	c.req = strconv.AppendInt(c.req, int64(len(c.body)), 10)
	c.req = append(c.req, "\r\n\r\n"...)
	c.req = append(c.req, c.body...)
	_, err := c.c.Write(c.req)
	return err
}

// header reads the head of an answer and returns its length, -1 for chunked.
func (c *client) header() (int, error) {
	length := -2
	for i := 0; ; i++ {
		line, err := c.r.ReadSlice('\n')
		if err != nil {
			return 0, err
		}
		switch {
		case i == 0:
			if !bytes.HasPrefix(line, []byte("HTTP/1.1 200")) {
				rest := make([]byte, c.r.Buffered())
				_, _ = io.ReadFull(c.r, rest)
				return 0, fmt.Errorf("answer %q %q", line, rest)
			}
		case len(line) == 2:
			if length == -2 {
				return 0, errors.New("answer without a length")
			}
			return length, nil
		case len(line) > 16 && line[0]|0x20 == 'c' && bytes.EqualFold(line[:16], []byte("content-length: ")):
			if length, err = strconv.Atoi(string(line[16 : len(line)-2])); err != nil {
				return 0, err
			}
		case len(line) > 18 && line[0]|0x20 == 't' && bytes.EqualFold(line[:18], []byte("transfer-encoding:")):
			length = -1
		}
	}
}

// call sends one request and wants exactly the simulator's answer.
func (c *client) call() error {
	if err := c.send("bench", false); err != nil {
		return err
	}
	n, err := c.header()
	if err != nil {
		return err
	}
	c.got = c.got[:0]
	if n >= 0 {
		c.got = append(c.got, make([]byte, n)...)
		_, err = io.ReadFull(c.r, c.got)
	} else {
		for err == nil {
			if err = c.chunk(); err == io.EOF {
				err = nil
				break
			}
		}
	}
	if err == nil && string(c.got) != answer {
		err = fmt.Errorf("an answer of %d bytes is not the provider's", len(c.got))
	}
	return err
}

// chunk reads one chunk into got; io.EOF after the last.
func (c *client) chunk() error {
	line, err := c.r.ReadSlice('\n')
	if err != nil {
		return noEOF(err)
	}
	n, err := strconv.ParseUint(string(bytes.TrimRight(line, "\r\n")), 16, 31)
	if err != nil {
		return err
	}
	at := len(c.got)
	c.got = append(c.got, make([]byte, n+2)...)
	if _, err := io.ReadFull(c.r, c.got[at:]); err != nil {
		return noEOF(err)
	}
	c.got = c.got[:at+int(n)]
	if n == 0 {
		return io.EOF
	}
	return nil
}

func noEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

var firstEvent = []byte("data: ")

// first sends a streamed request and returns once the first event is there, with the time it took.
func (c *client) first(model string) (time.Duration, error) {
	start := time.Now()
	if err := c.send(model, true); err != nil {
		return 0, err
	}
	n, err := c.header()
	if err != nil {
		return 0, err
	}
	if n != -1 {
		return 0, errors.New("a stream with a length")
	}
	c.got = c.got[:0]
	for !bytes.Contains(c.got, firstEvent) {
		if err := c.chunk(); err != nil {
			return 0, noEOF(err)
		}
	}
	return time.Since(start), nil
}

// rest reads a stream that first began to its end and wants the simulator's bytes.
func (c *client) rest() error {
	for {
		if err := c.chunk(); err == io.EOF {
			break
		} else if err != nil {
			return err
		}
	}
	want := len(event)*quick + len(final)
	if len(c.got) != want || !bytes.HasSuffix(c.got, []byte(final)) {
		return fmt.Errorf("a stream of %d bytes is not the provider's %d", len(c.got), want)
	}
	return nil
}

// drain reads a long stream until the connection is closed, keeping nothing. It returns the number
// of events that came.
func (c *client) drain() (events int) {
	for {
		c.got = c.got[:0]
		if err := c.chunk(); err != nil {
			return events
		}
		events += bytes.Count(c.got, firstEvent)
	}
}
