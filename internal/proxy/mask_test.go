package proxy

import (
	"bytes"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"testing/iotest"

	"pgregory.net/rapid"
)

// However an answer comes in pieces, what goes out is the same with each secret overwritten.
func TestMasking(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		secrets := [][]byte{[]byte("sk-abcab"), []byte("abababab")}
		var in strings.Builder
		for range rapid.IntRange(0, 12).Draw(t, "parts") {
			in.WriteString(rapid.SampledFrom([]string{"sk-abcab", "abababab", "sk-", "a", "ab", "sk-abca", "x", "b", "sk-abc\n\n", "*"}).Draw(t, "part"))
		}
		m := &masking{ReadCloser: io.NopCloser(&pieces{t, []byte(in.String())}), secrets: secrets, masked: new(atomic.Bool), end: func() {}}
		var got bytes.Buffer
		buf := make([]byte, rapid.IntRange(1, 9).Draw(t, "buffer"))
		for {
			n, err := m.Read(buf)
			got.Write(buf[:n])
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		for _, s := range secrets {
			if bytes.Contains(got.Bytes(), s) {
				t.Fatalf("%q of %q holds %q", got.String(), in.String(), s)
			}
		}
		if got.Len() != in.Len() || !overwritten(in.String(), got.String()) {
			t.Fatalf("%q of %q", got.String(), in.String())
		}
	})
	if err := iotest.TestReader(&masking{ReadCloser: io.NopCloser(strings.NewReader("a sk-abcab b")), secrets: [][]byte{[]byte("sk-abcab")}, masked: new(atomic.Bool), end: func() {}}, []byte("a ******** b")); err != nil {
		t.Error(err)
	}
}

// overwritten says whether only letters of secrets were overwritten, with stars.
func overwritten(in, out string) bool {
	for i := range in {
		if in[i] != out[i] && (out[i] != '*' || !strings.ContainsRune("sk-abc", rune(in[i]))) {
			return false
		}
	}
	return true
}

// pieces is a reader that gives as much as it likes.
type pieces struct {
	t *rapid.T
	b []byte
}

func (p *pieces) Read(b []byte) (int, error) {
	if len(p.b) == 0 {
		return 0, io.EOF
	}
	n := rapid.IntRange(0, min(len(b), len(p.b))).Draw(p.t, "n")
	copy(b, p.b[:n])
	if p.b = p.b[n:]; len(p.b) == 0 && rapid.Bool().Draw(p.t, "end") {
		return n, io.EOF
	}
	return n, nil
}
