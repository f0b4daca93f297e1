package headguard

import (
	"bytes"
	"io"
	"net"
	"testing"
)

// replay is a connection that reads from a slice, in pieces of the given size.
type replay struct {
	net.Conn
	b    []byte
	step int
}

func (r *replay) Read(p []byte) (int, error) {
	if len(r.b) == 0 {
		return 0, io.EOF
	}
	n := copy(p, r.b[:min(r.step, len(r.b))])
	r.b = r.b[n:]
	return n, nil
}

func run(raw []byte, step int) (*Conn, []byte) {
	c := newConn(&replay{b: raw, step: step})
	got, _ := io.ReadAll(c)
	return c, got
}

// FuzzFollow: any cut of the same bytes gives the same verdicts, and the bytes pass unchanged.
func FuzzFollow(f *testing.F) {
	for _, a := range attacks {
		f.Add([]byte(a.raw), 7)
	}
	f.Add([]byte("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;x\r\nhello\r\n0\r\nT: u\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"), 3)
	f.Add([]byte(preface), 1)
	f.Fuzz(func(t *testing.T, raw []byte, step int) {
		if step < 1 || step > 64 {
			step = 1
		}
		a, all := run(raw, len(raw)+1)
		b, cut := run(raw, step)
		if !bytes.Equal(all, raw) || !bytes.Equal(cut, raw) {
			t.Fatal("bytes changed")
		}
		// A refusal may be named by another reason when cut, but never turned into a pass.
		if len(a.more) != len(b.more) || a.seen != b.seen || (a.bad == nil) != (b.bad == nil) || a.state != b.state {
			t.Fatalf("whole: %d heads, %v, state %d; cut by %d: %d heads, %v, state %d", len(a.more), a.bad, a.state, step, len(b.more), b.bad, b.state)
		}
	})
}

func TestHeadTooLong(t *testing.T) {
	raw := append([]byte("GET / HTTP/1.1\r\nHost: a\r\nX: "), bytes.Repeat([]byte("x"), MaxHead)...)
	c, _ := run(raw, 4096)
	if c.bad != errTooLong || c.buf != nil {
		t.Fatalf("%v, %d bytes kept", c.bad, len(c.buf))
	}
}

func TestMalformedChunksLoseTheConnection(t *testing.T) {
	for _, body := range []string{
		"5\nhello\r\n0\r\n\r\n", "5\r\nhello0\r\n\r\n", "5 \r\nhello\r\n0\r\n\r\n", " 5\r\nhello\r\n0\r\n\r\n", "\r\n", ";x\r\n", "0x5\r\nhello\r\n0\r\n\r\n",
		"-1\r\n", "ffffffffffffffff\r\n", "5\r\r\nhello", "5\rhello\r\n", "0\r\nX: y\n\r\n", "0\r\nX\ry\r\n\r\n", "5\r\nhello\n0\r\n\r\n", "g\r\n",
	} {
		c, _ := run([]byte("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"+body), 1<<16)
		if c.bad != errChunk || c.state != lost {
			t.Errorf("%q: %v, state %d", body, c.bad, c.state)
		}
	}
}

var typical = []byte("POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nUser-Agent: OpenAI/Go 3.96.0\r\nContent-Length: 5\r\n" +
	"Accept: application/json\r\nAuthorization: Bearer sk-0123456789012345678901234567890123456789\r\nContent-Type: application/json\r\n" +
	"X-Stainless-Arch: x64\r\nX-Stainless-Lang: go\r\nX-Stainless-Os: Linux\r\nX-Stainless-Package-Version: 3.96.0\r\nAccept-Encoding: gzip\r\n\r\nhello")

func BenchmarkFollow(b *testing.B) {
	c := newConn(nil)
	b.ReportAllocs()
	for b.Loop() {
		c.follow(typical)
		if err := c.take("POST", "/v1/chat/completions"); err != nil {
			b.Fatal(err)
		}
	}
}

// TestAnUnseenRequestEndsTheConnection: verdicts and requests out of step never come into step again.
func TestAnUnseenRequestEndsTheConnection(t *testing.T) {
	c := newConn(nil)
	c.follow(typical)
	if c.take("GET", "/other") == nil {
		t.Fatal("another request took the verdict")
	}
	c.follow(typical)
	if c.take("POST", "/v1/chat/completions") == nil {
		t.Fatal("passed after a mismatch")
	}
	if newConn(nil).take("GET", "/") == nil {
		t.Fatal("passed without a head")
	}
}
