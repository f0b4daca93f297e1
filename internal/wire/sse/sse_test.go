package sse

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

func frames(stream []byte, cuts []byte) (fs [][]byte, rest []byte, err error) {
	s := NewSplitter(1 << 12)
	take := func(p []byte) {
		s.Write(p)
		for {
			f, ok := s.Next()
			if !ok {
				return
			}
			fs = append(fs, f)
		}
	}
	for len(stream) > 0 {
		n := len(stream)
		if len(cuts) > 0 {
			n = min(n, 1+int(cuts[0])%16)
			cuts = cuts[1:]
		}
		take(stream[:n])
		stream = stream[n:]
	}
	return fs, s.Rest(), s.Err()
}

func TestFramesByLineEnding(t *testing.T) {
	for name, c := range map[string]struct {
		in   string
		want []string
		rest string
	}{
		"LF":             {"data: a\n\ndata: b\n\n", []string{"data: a\n\n", "data: b\n\n"}, ""},
		"CRLF":           {"data: a\r\n\r\ndata: b\r\n\r\n", []string{"data: a\r\n\r\n", "data: b\r\n\r\n"}, ""},
		"CR":             {"data: a\r\rdata: b\r\rx", []string{"data: a\r\r", "data: b\r\r"}, "x"},
		"comments":       {": hi\n\ndata: a\n\n", []string{": hi\n\n", "data: a\n\n"}, ""},
		"empty events":   {"\n\n\n", []string{"\n", "\n", "\n"}, ""},
		"no end":         {"data: a\n", nil, "data: a\n"},
		"mark":           {"\xef\xbb\xbfdata: a\n\n", []string{"\xef\xbb\xbfdata: a\n\n"}, ""},
		"several lines":  {"event: x\ndata: a\ndata: b\nid: 1\n\n", []string{"event: x\ndata: a\ndata: b\nid: 1\n\n"}, ""},
		"newline inside": {"data: a\\n\\nb\n\n", []string{"data: a\\n\\nb\n\n"}, ""},
	} {
		fs, rest, err := frames([]byte(c.in), nil)
		if err != nil || string(rest) != c.rest || len(fs) != len(c.want) {
			t.Errorf("%s: %q rest %q %v", name, fs, rest, err)
			continue
		}
		for i := range fs {
			if string(fs[i]) != c.want[i] {
				t.Errorf("%s: frame %d is %q", name, i, fs[i])
			}
		}
	}
}

func TestAFrameOverTheLimitIsAnErrorAndSoIsAnEndlessLine(t *testing.T) {
	for _, in := range []string{"data: " + strings.Repeat("x", 5000) + "\n\n", strings.Repeat("y", 100000)} {
		s := NewSplitter(4096)
		for i := 0; i < len(in); i += 100 {
			s.Write([]byte(in[i:min(i+100, len(in))]))
			for {
				if _, ok := s.Next(); !ok {
					break
				}
			}
			if cap(s.buf) > 64<<10 {
				t.Fatalf("the buffer grew to %d", cap(s.buf))
			}
		}
		if !errors.Is(s.Err(), ErrTooLong) {
			t.Errorf("%.20q: %v", in, s.Err())
		}
	}
}

func TestFieldsKeepTheirPlaces(t *testing.T) {
	raw := []byte("event: e\r\ndata: {\"a\":\r\ndata:\"bc\"}\r\n: note\r\nid: 7\r\n\r\n")
	var e Event
	Fields(raw, &e)
	if string(e.Name) != "e" || string(e.Data) != "{\"a\":\n\"bc\"}" {
		t.Fatalf("%q %q", e.Name, e.Data)
	}
	at := bytes.Index(e.Data, []byte("bc"))
	span, ok := e.Span(Line{Start: at, End: at + 2})
	if !ok || string(raw[span.Start:span.End]) != "bc" {
		t.Fatalf("%v %v", span, ok)
	}
	if _, ok := e.Span(Line{Start: 0, End: len(e.Data)}); ok {
		t.Fatal("a span over two lines has no place")
	}
}

func FuzzSplitter(f *testing.F) {
	f.Add([]byte("data: a\n\ndata: b\r\n\r\n: c\r\rdata"), []byte{1, 2, 3})
	f.Add([]byte("\xef\xbb\xbf\n\r\n\r\r\n"), []byte{0, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, in, cuts []byte) {
		whole, rest, err := frames(in, nil)
		cut, rest2, err2 := frames(in, cuts)
		if (err == nil) != (err2 == nil) {
			t.Fatalf("error %v, in pieces %v", err, err2)
		}
		if err != nil {
			return
		}
		if !bytes.Equal(append(bytes.Join(whole, nil), rest...), in) {
			t.Fatal("bytes were lost")
		}
		if len(whole) != len(cut) || !bytes.Equal(rest, rest2) {
			t.Fatalf("%q in pieces is %q", whole, cut)
		}
		for i := range whole {
			if !bytes.Equal(whole[i], cut[i]) {
				t.Fatalf("frame %d: %q in pieces %q", i, whole[i], cut[i])
			}
			var e Event
			Fields(whole[i], &e)
			for _, l := range append(e.Lines, e.Other...) {
				if l.Start < 0 || l.End > len(whole[i]) || l.Start > l.End {
					t.Fatalf("line %v of %q", l, whole[i])
				}
			}
		}
	})
}
