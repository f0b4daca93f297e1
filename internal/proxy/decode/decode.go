// Package decode undoes content codings (RFC 9110 section 8.4) so that what they hide can be read:
// gzip, deflate (zlib), br and zstd, at most two deep. It promises bounds: never more than the
// stated number of bytes comes out, windows are at most 16 MiB, and a body that two decoders could
// read differently (a second gzip member, bytes after the end, a wrong checksum) is refused.
package decode

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"

	"sallyport.dev/sallyport/internal/gate"
)

const (
	// MaxCodings is how many codings may be stacked.
	MaxCodings = 2
	// FreeBytes is how much may come out whatever the ratio: small bodies compress well.
	FreeBytes = 1 << 20
	// maxWindow bounds the memory a zstd frame may ask for (RFC 9659: 8 MB is what HTTP allows).
	maxWindow = 8 << 20
)

// Accept is the Accept-Encoding value that asks for nothing Reader cannot decode.
const Accept = "gzip, br, zstd"

var (
	errTooLarge = errors.New("decoded body over its limit")
	errTrailing = errors.New("bytes after the end of the encoded body")
	errUnknown  = errors.New("unknown content coding")
)

// codings parses a Content-Encoding value into the codings to undo, outermost first. Identity is
// left out. Header lines are joined by ", " before they come here.
func codings(encoding string) ([]string, error) {
	if encoding == "" {
		return nil, nil
	}
	parts := strings.Split(encoding, ",")
	if len(parts) > MaxCodings {
		return nil, errUnknown
	}
	var list []string
	for i := len(parts) - 1; i >= 0; i-- {
		switch name := strings.ToLower(strings.Trim(parts[i], " \t")); name {
		case "identity":
		case "gzip", "x-gzip":
			list = append(list, "gzip")
		case "deflate", "br", "zstd":
			list = append(list, name)
		default:
			return nil, errUnknown
		}
	}
	return list, nil
}

// Known says whether Body and Reader can undo a Content-Encoding value.
func Known(encoding string) bool {
	_, err := codings(encoding)
	return err == nil
}

// Body undoes a whole request body. At most limit bytes come out, and, beyond the first FreeBytes,
// at most ratio times len(raw); ratio 0 means 100. An uncoded body comes back as it is, not copied.
// Errors are *gate.Problem: 415 CodeEncoding for a coding that is not read, 413 CodeTooLarge for a
// body over its bounds, 400 CodeAmbiguous for one that is broken or goes on after its end.
func Body(encoding string, raw []byte, limit int64, ratio int) ([]byte, error) {
	list, err := codings(encoding)
	if err != nil {
		return nil, problem(err)
	}
	if int64(len(raw)) > limit {
		return nil, problem(errTooLarge)
	}
	if ratio <= 0 {
		ratio = 100
	}
	bound := min(limit, max(FreeBytes, int64(ratio)*int64(len(raw))))
	plain := raw
	for _, name := range list {
		if plain, err = undo(name, plain, bound); err != nil {
			return nil, problem(err)
		}
	}
	return plain, nil
}

func problem(err error) *gate.Problem {
	switch {
	case errors.Is(err, errTooLarge):
		return &gate.Problem{Status: http.StatusRequestEntityTooLarge, Code: gate.CodeTooLarge, Message: "The decoded request body is too large."}
	case errors.Is(err, errUnknown):
		return &gate.Problem{Status: http.StatusUnsupportedMediaType, Code: gate.CodeEncoding, Message: "The request's Content-Encoding is not supported; use identity, gzip, deflate, br or zstd."}
	}
	return &gate.Problem{Status: http.StatusBadRequest, Code: gate.CodeAmbiguous, Message: "The request body does not match its Content-Encoding."}
}

// undo decodes one layer.
func undo(name string, raw []byte, bound int64) ([]byte, error) {
	if name == "zstd" {
		if err := oneFrame(raw); err != nil {
			return nil, err
		}
	}
	in := bytes.NewReader(raw)
	d, err := open(name, in)
	if err != nil {
		return nil, err
	}
	plain, err := readAll(d, len(raw), bound)
	clean := err == nil
	d.release(clean)
	if err != nil {
		return nil, err
	}
	if in.Len() != 0 {
		return nil, errTrailing
	}
	return plain, nil
}

// readAll reads r to its end into a buffer that grows by what came, never by what was claimed.
func readAll(r io.Reader, hint int, bound int64) ([]byte, error) {
	buf := make([]byte, 0, int(min(int64(4*hint)+512, bound+1, 256<<10)))
	for {
		if len(buf) == cap(buf) {
			buf = append(buf, 0)[:len(buf)]
		}
		room := min(int64(cap(buf)), bound+1)
		n, err := r.Read(buf[len(buf):room])
		buf = buf[:len(buf)+n]
		if int64(len(buf)) > bound {
			return nil, errTooLarge
		}
		switch err {
		case nil:
		case io.EOF:
			return buf, nil
		default:
			return nil, err
		}
	}
}
