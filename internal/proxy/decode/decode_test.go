package decode

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"

	"sallyport.dev/sallyport/internal/gate"
)

func pack(t testing.TB, encoding string, plain []byte) []byte {
	t.Helper()
	for _, name := range strings.Split(encoding, ",") {
		var out bytes.Buffer
		var w io.WriteCloser
		switch strings.TrimSpace(strings.ToLower(name)) {
		case "", "identity":
			continue
		case "gzip", "x-gzip":
			w = gzip.NewWriter(&out)
		case "deflate":
			w = zlib.NewWriter(&out)
		case "raw":
			w, _ = flate.NewWriter(&out, 6)
		case "br":
			w = brotli.NewWriter(&out)
		case "zstd":
			w, _ = zstd.NewWriter(&out)
		default:
			t.Fatalf("no encoder for %q", name)
		}
		w.Write(plain)
		w.Close()
		plain = out.Bytes()
	}
	return plain
}

func code(err error) gate.Code {
	var p *gate.Problem
	if errors.As(err, &p) {
		return p.Code
	}
	return ""
}

var all = []string{"", "identity", "gzip", "x-gzip", "GZip", "deflate", "br", "zstd", "gzip, br", "zstd,gzip", "deflate , zstd", "br,br", "identity, gzip"}

func TestBodyComesBack(t *testing.T) {
	random := make([]byte, 300<<10)
	for i := range random {
		random[i] = byte(rand.Uint32())
	}
	for _, plain := range [][]byte{nil, []byte("x"), []byte(strings.Repeat(`{"role":"user"} `, 5000)), random} {
		for _, enc := range all {
			got, err := Body(enc, pack(t, enc, plain), 10<<20, 0)
			if err != nil || !bytes.Equal(got, plain) {
				t.Errorf("%q, %d bytes: %v", enc, len(plain), err)
			}
			for _, wrap := range []func(io.Reader) io.Reader{func(r io.Reader) io.Reader { return r }, iotest.OneByteReader, iotest.DataErrReader} {
				r, err := Reader(enc, wrap(bytes.NewReader(pack(t, enc, plain))), 0)
				if err != nil {
					t.Fatal(err)
				}
				if got, err = io.ReadAll(r); err != nil || !bytes.Equal(got, plain) {
					t.Errorf("Reader %q, %d bytes: %v", enc, len(plain), err)
				}
				r.Close()
			}
		}
	}
}

func TestIdentityIsNotCopied(t *testing.T) {
	raw := []byte("abc")
	got, _ := Body("", raw, 10, 0)
	if &got[0] != &raw[0] {
		t.Error("copied")
	}
}

func TestUnknownCodings(t *testing.T) {
	for _, enc := range []string{"compress", "x-compress", "lzma", "gzip;q=1", "gzip, gzip, gzip", ",", "gzip,", " , gzip", "chunked", "aws-chunked", "dcb", "gz\x00ip", "gzip gzip", strings.Repeat("gzip,", 1000)} {
		if _, err := Body(enc, []byte("x"), 100, 0); code(err) != gate.CodeEncoding {
			t.Errorf("%q: %v", enc, err)
		}
		if _, err := Reader(enc, strings.NewReader("x"), 0); code(err) != gate.CodeUpstreamInvalid {
			t.Errorf("Reader %q: %v", enc, err)
		}
		if Known(enc) {
			t.Errorf("%q is known", enc)
		}
	}
}

func TestBrokenBodies(t *testing.T) {
	plain := []byte(strings.Repeat("hello, sally. ", 500))
	flip := func(b []byte, at int) []byte { b = bytes.Clone(b); b[(at+len(b))%len(b)] ^= 0x40; return b }
	for _, enc := range []string{"gzip", "deflate", "br", "zstd", "gzip, zstd"} {
		good := pack(t, enc, plain)
		cases := map[string][]byte{
			"empty":         {},
			"plain text":    []byte(`{"model":"m"}`),
			"trailing byte": append(bytes.Clone(good), 'x'),
			"trailing NUL":  append(bytes.Clone(good), 0),
			"twice":         append(bytes.Clone(good), good...),
			"cut by one":    good[:len(good)-1],
			"cut in half":   good[:len(good)/2],
			"first byte":    good[:1],
		}
		if enc != "br" { // brotli has no checksum
			cases["checksum"] = flip(good, -2)
		}
		if enc == "deflate" {
			cases["raw deflate"] = pack(t, "raw", plain)
			cases["is gzip"] = pack(t, "gzip", plain)
		}
		if enc == "gzip" {
			cases["is zlib"] = pack(t, "deflate", plain)
		}
		for name, raw := range cases {
			if got, err := Body(enc, raw, 1<<20, 0); code(err) != gate.CodeAmbiguous || got != nil {
				t.Errorf("%s, %s: %d bytes, %v", enc, name, len(got), err)
			}
			if name == "twice" && enc == "zstd" {
				continue // frames in a row are one answer (RFC 8878 section 3.1); clients agree
			}
			r, err := Reader(enc, bytes.NewReader(raw), 0)
			if err == nil {
				_, err = io.ReadAll(r)
			}
			if code(err) != gate.CodeUpstreamInvalid {
				t.Errorf("Reader %s, %s: %v", enc, name, err)
			}
		}
	}
	skippable := append([]byte{0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0, 1, 2, 3, 4}, pack(t, "zstd", plain)...)
	if _, err := Body("zstd", skippable, 1<<20, 0); code(err) != gate.CodeAmbiguous {
		t.Errorf("skippable frame: %v", err)
	}
}

func TestBombs(t *testing.T) {
	zeros := make([]byte, 64<<20)
	var before, after runtime.MemStats
	for _, enc := range []string{"gzip", "deflate", "br", "zstd", "gzip, gzip", "zstd, br"} {
		bomb := pack(t, enc, zeros)
		runtime.GC()
		runtime.ReadMemStats(&before)
		_, err := Body(enc, bomb, 10<<20, 100)
		runtime.ReadMemStats(&after)
		if code(err) != gate.CodeTooLarge {
			t.Errorf("%s: %d bytes: %v", enc, len(bomb), err)
		}
		if used := after.TotalAlloc - before.TotalAlloc; used > 64<<20 {
			t.Errorf("%s: %d MiB allocated", enc, used>>20)
		}
		r, _ := Reader(enc, bytes.NewReader(bomb), 1<<20)
		if n, err := io.Copy(io.Discard, r); n != 1<<20 || code(err) != gate.CodeUpstreamInvalid {
			t.Errorf("Reader %s: %d bytes, %v", enc, n, err)
		}
	}
	// Within the limit, but over the ratio.
	if _, err := Body("gzip", pack(t, "gzip", zeros[:8<<20]), 10<<20, 100); code(err) != gate.CodeTooLarge {
		t.Errorf("ratio: %v", err)
	}
	// Over the ratio, but small.
	if got, err := Body("gzip", pack(t, "gzip", zeros[:FreeBytes]), 10<<20, 100); err != nil || len(got) != FreeBytes {
		t.Errorf("small: %v", err)
	}
	if _, err := Body("gzip", pack(t, "gzip", zeros[:FreeBytes+1]), 10<<20, 100); code(err) != gate.CodeTooLarge {
		t.Errorf("small + 1: %v", err)
	}
	// Exactly at the limit, and one over.
	text := []byte(strings.Repeat("abcdefgh", 1000))
	if _, err := Body("br", pack(t, "br", text), 8000, 0); err != nil {
		t.Errorf("at the limit: %v", err)
	}
	if _, err := Body("br", pack(t, "br", text), 7999, 0); code(err) != gate.CodeTooLarge {
		t.Errorf("over the limit: %v", err)
	}
	if _, err := Body("", text, 7999, 0); code(err) != gate.CodeTooLarge {
		t.Errorf("plain over the limit: %v", err)
	}
	// A zstd frame that claims a window of 1 GiB in 12 bytes.
	if _, err := Body("zstd", []byte{0x28, 0xb5, 0x2f, 0xfd, 0, 0xa0, 1, 0, 0}, 10<<20, 0); err == nil {
		t.Error("a window of 1 GiB was taken")
	}
}

// TestFlushedIsReadable: what the provider flushed comes out before the next byte arrives.
func TestFlushedIsReadable(t *testing.T) {
	type flusher interface {
		io.WriteCloser
		Flush() error
	}
	for enc, writer := range map[string]func(io.Writer) flusher{
		"gzip":    func(w io.Writer) flusher { return gzip.NewWriter(w) },
		"deflate": func(w io.Writer) flusher { return zlib.NewWriter(w) },
		"br":      func(w io.Writer) flusher { return brotli.NewWriter(w) },
		"zstd":    func(w io.Writer) flusher { z, _ := zstd.NewWriter(w, zstd.WithEncoderConcurrency(1)); return z },
	} {
		pr, pw := io.Pipe()
		r, _ := Reader(enc, pr, 0)
		next := make(chan struct{})
		go func() {
			w := writer(pw)
			for range 20 {
				io.WriteString(w, "data: {\"x\":1}\n\n")
				w.Flush()
				<-next
			}
			w.Close()
			pw.Close()
		}()
		buf := [15]byte{}
		for i := range 20 {
			if _, err := io.ReadFull(r, buf[:]); err != nil || string(buf[:]) != "data: {\"x\":1}\n\n" {
				t.Fatalf("%s, event %d: %q %v", enc, i, buf, err)
			}
			next <- struct{}{}
		}
		if rest, err := io.ReadAll(r); len(rest) != 0 || err != nil {
			t.Fatalf("%s: end: %q %v", enc, rest, err)
		}
	}
}

// TestBrokenConnectionIsNotABrokenCode: the transport's own error comes through.
func TestBrokenConnectionIsNotABrokenCode(t *testing.T) {
	reset := errors.New("connection reset")
	for _, enc := range []string{"", "gzip", "deflate", "br", "zstd", "gzip,br"} {
		raw := pack(t, enc, []byte(strings.Repeat("x1y2", 3000)))
		r, _ := Reader(enc, io.MultiReader(bytes.NewReader(raw[:len(raw)/2]), iotest.ErrReader(reset)), 0)
		if _, err := io.ReadAll(r); !errors.Is(err, reset) {
			t.Errorf("%q: %v", enc, err)
		}
	}
}

func TestProblemsCarryTheirStatus(t *testing.T) {
	for err, want := range map[error]int{errTooLarge: http.StatusRequestEntityTooLarge, errUnknown: http.StatusUnsupportedMediaType, errTrailing: http.StatusBadRequest, io.ErrUnexpectedEOF: http.StatusBadRequest} {
		if got := problem(err).Status; got != want {
			t.Errorf("%v: %d, want %d", err, got, want)
		}
	}
}

func FuzzBody(f *testing.F) {
	for i, enc := range []string{"gzip", "deflate", "br", "zstd", "zstd, gzip"} {
		f.Add(uint8(i), pack(f, enc, []byte(`{"model":"m","messages":[{"role":"user","content":"hi"}]}`)))
		f.Add(uint8(i), []byte{})
	}
	f.Add(uint8(3), []byte{0x28, 0xb5, 0x2f, 0xfd, 0, 0xa0, 1, 0, 0})
	f.Fuzz(func(t *testing.T, which uint8, raw []byte) {
		encs := []string{"gzip", "deflate", "br", "zstd", "zstd, gzip", "br, deflate"}
		enc := encs[int(which)%len(encs)]
		const limit = 4 << 20
		plain, err := Body(enc, raw, limit, 100)
		if err != nil && code(err) == "" {
			t.Fatalf("%v is not a problem", err)
		}
		if len(plain) > limit || len(plain) > max(FreeBytes, 100*len(raw)) {
			t.Fatalf("%d bytes out of %d", len(plain), len(raw))
		}
		r, _ := Reader(enc, iotest.OneByteReader(bytes.NewReader(raw)), limit)
		streamed, serr := io.ReadAll(r)
		r.Close()
		if err == nil && (serr != nil || !bytes.Equal(plain, streamed)) {
			t.Fatalf("whole and streamed differ: %v", serr)
		}
	})
}

func BenchmarkBodyGzip(b *testing.B) {
	raw := pack(b, "gzip", []byte(strings.Repeat(`{"role":"user","content":"hello"}`, 30)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Body("gzip", raw, 1<<20, 0); err != nil {
			b.Fatal(err)
		}
	}
}
