package decode

import (
	"bufio"
	"errors"
	"io"
	"net/http"

	"sallyport.dev/sallyport/internal/gate"
)

// Reader undoes an answer's codings as it arrives: whatever the sender flushed can be read without
// waiting for more. At most limit bytes come out; limit 0 means no bound on the whole (a stream),
// the memory is bounded either way. Errors of Reader and of Read are *gate.Problem, 502
// CodeUpstreamInvalid, except an error of r itself, which comes back as it is. The decoder
// is given back at the end, at an error, or by Close, which does not close r and must not run
// beside a Read.
func Reader(encoding string, r io.Reader, limit int64) (io.ReadCloser, error) {
	list, err := codings(encoding)
	if err != nil {
		return nil, invalid("The provider's answer has a Content-Encoding that cannot be read.")
	}
	s := &stream{limit: limit}
	s.src.r = r
	var in io.Reader = &s.src
	for _, name := range list {
		in = &lazy{name: name, in: bufio.NewReaderSize(in, 4<<10)}
		s.layers = append(s.layers, in.(*lazy))
	}
	s.r = in
	return s, nil
}

func invalid(msg string) *gate.Problem {
	return &gate.Problem{Status: http.StatusBadGateway, Code: gate.CodeUpstreamInvalid, Message: msg}
}

// fetch remembers the source's own error, so that a broken connection is told from a broken code.
type fetch struct {
	r   io.Reader
	err error
}

func (f *fetch) Read(p []byte) (int, error) {
	n, err := f.r.Read(p)
	if err != nil && err != io.EOF {
		f.err = err
	}
	return n, err
}

type stream struct {
	src    fetch
	r      io.Reader
	layers []*lazy
	limit  int64
	out    int64
	err    error
}

func (s *stream) Read(p []byte) (int, error) {
	if s.err != nil {
		return 0, s.err
	}
	n, err := s.r.Read(p)
	s.out += int64(n)
	if s.limit > 0 && s.out > s.limit {
		n -= int(s.out - s.limit)
		err = invalid("The provider's answer is too large when decoded.")
	}
	var p0 *gate.Problem
	switch {
	case err == nil || err == io.EOF || errors.As(err, &p0):
	case s.src.err != nil:
		err = s.src.err
	default:
		err = invalid("The provider's answer does not match its Content-Encoding.")
	}
	if s.err = err; err != nil {
		s.release()
	}
	return n, err
}

func (s *stream) Close() error {
	if s.err == nil {
		s.err = errors.New("decode: read after Close")
	}
	s.release()
	return nil
}

func (s *stream) release() {
	for _, l := range s.layers {
		l.release()
	}
	s.layers = nil
}

// lazy opens its layer at the first Read, because opening reads the header and may wait for it.
type lazy struct {
	name   string
	in     *bufio.Reader
	d      layer
	opened bool
	done   bool
	failed bool
}

func (l *lazy) Read(p []byte) (int, error) {
	if l.done {
		return 0, io.EOF
	}
	if !l.opened {
		// No coding encodes to nothing, though zstd's decoder takes it for no frames at all.
		if _, err := l.in.Peek(1); err != nil {
			l.failed = true
			return 0, corrupt(err)
		}
		d, err := open(l.name, l.in)
		if err != nil {
			l.failed = true
			return 0, err
		}
		l.d, l.opened = d, true
	}
	n, err := l.d.Read(p)
	switch {
	case err == io.EOF:
		if _, peek := l.in.Peek(1); peek != io.EOF {
			l.failed = true
			if peek == nil {
				peek = errTrailing
			}
			return n, peek
		}
		l.done = true
	case err != nil:
		l.failed = true
	}
	return n, err
}

func (l *lazy) release() {
	if l.opened {
		l.d.release(l.done && !l.failed)
		l.d, l.opened, l.done = layer{}, false, true
	}
}
