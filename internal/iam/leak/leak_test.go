package leak

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sallyport.dev/sallyport/internal/iam/apikey"
	"sallyport.dev/sallyport/internal/secret"
)

func hasher(t testing.TB, pepper string) *apikey.Hasher {
	t.Helper()
	h, err := apikey.NewHasher(secret.New(pepper))
	if err != nil {
		t.Fatal(err)
	}
	return h
}

const pepper = "pepper-of-the-tests-0123456789"

func text(t apikey.Token) string { return t.Secret().Reveal() }

func digest(t apikey.Token) string {
	d := sha256.Sum256([]byte(text(t)))
	return hex.EncodeToString(d[:])
}

func TestList(t *testing.T) {
	h := hasher(t, pepper)
	var ks []apikey.Token
	for range 8 {
		ks = append(ks, apikey.Generate(apikey.NewID()))
	}
	sameID := apikey.Generate(ks[0].ID)
	broken := []byte(text(ks[5]))
	broken[30] ^= 1
	file := "\ufeff# found in public\n\n" + text(ks[0]) + "\r\n  OPENAI_API_KEY=\"" + text(ks[1]) + "\" # oops " + text(ks[2]) + "\n" +
		digest(ks[3]) + "\nsha256:" + strings.ToUpper(digest(ks[4])) + "\n" + text(ks[0]) + "\n" +
		string(broken) + "\nhello\n" + strings.Repeat("x", MaxLine+1) + text(ks[6]) + "\n" + strings.Repeat("g", 64) + "\nsp_live_\nsp_live_" + text(ks[7])
	path := filepath.Join(t.TempDir(), "leaks.txt")
	if err := os.WriteFile(path, []byte(file), 0o644); err != nil {
		t.Fatal(err)
	}
	l, err := Load(path, h)
	if err != nil {
		t.Fatal(err)
	}
	if want := (Counts{Lines: 13, Keys: 5, Digests: 2, Bad: 5}); l.Counts() != want {
		t.Errorf("%+v, want %+v", l.Counts(), want)
	}
	for i, want := range []struct{ holds, presented bool }{{true, true}, {true, true}, {true, true}, {false, true}, {false, true}, {false, false}, {false, false}, {true, true}} {
		if l.Holds(ks[i].ID, h.Sum(ks[i])) != want.holds || l.Presented(ks[i]) != want.presented {
			t.Errorf("key %d: want %+v", i, want)
		}
	}
	if l.Holds(sameID.ID, h.Sum(sameID)) || l.Presented(sameID) {
		t.Error("an id alone is a hit: anyone could have a key revoked by writing its id into a paste")
	}
	if l.Holds(ks[1].ID, h.Sum(ks[0])) || l.Holds("", h.Sum(ks[0])) || l.Holds(ks[0].ID+"x", h.Sum(ks[0])) {
		t.Error("a hash of another id")
	}
	if l.Holds(ks[0].ID, hasher(t, "another pepper altogether").Sum(ks[0])) {
		t.Error("another pepper")
	}
	if dump := fmt.Sprintf("%v %+v %#v", l, l, l); strings.Contains(dump, text(ks[0])[21:40]) || strings.Contains(dump, hex.EncodeToString([]byte(text(ks[0])[21:40]))) {
		t.Error("the list holds a key in the clear")
	}
}

func TestScan(t *testing.T) {
	mine, other := apikey.Generate(apikey.NewID()), apikey.Generate(apikey.NewID())
	h := hasher(t, pepper)
	store := map[string]apikey.Hash{mine.ID: h.Sum(mine)}
	match := func(k apikey.Token) bool { return h.Sum(k).Equal(store[k.ID]) }
	forged := apikey.Generate(mine.ID)
	hits, c, err := Scan(t.Context(), strings.NewReader(text(other)+"\n"+text(forged)+"\nx "+text(mine)+"\n"+digest(mine)), match)
	if err != nil || len(hits) != 1 || hits[0] != (Hit{3, mine.ID}) || c != (Counts{Lines: 4, Keys: 3, Digests: 1}) {
		t.Fatal(hits, c, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := Scan(ctx, strings.NewReader(text(mine)), match); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	line := text(mine) + "\n"
	hits, _, err = Scan(t.Context(), io.LimitReader(&endless{line: line}, int64(len(line))*(MaxHits+10)), match)
	if err != nil || len(hits) != MaxHits {
		t.Error(len(hits), err)
	}
}

type endless struct {
	line string
	rest string
}

func (e *endless) Read(p []byte) (int, error) {
	if e.rest == "" {
		e.rest = e.line
	}
	n := copy(p, e.rest)
	e.rest = e.rest[n:]
	return n, nil
}

type broken struct{ r io.Reader }

var errDisk = errors.New("bad disk")

func (b broken) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	if err == io.EOF {
		err = errDisk
	}
	return n, err
}

func TestFailures(t *testing.T) {
	h := hasher(t, pepper)
	k := apikey.Generate(apikey.NewID())
	if l, err := Read(t.Context(), broken{strings.NewReader(text(k) + "\n" + text(k)[:40])}, h); !errors.Is(err, errDisk) || l != nil || strings.Contains(err.Error(), "sp_live") {
		t.Error("half a list was taken for the whole", err)
	}
	dir := t.TempDir()
	for _, p := range []string{dir, filepath.Join(dir, "absent")} {
		if _, err := Load(p, h); err == nil {
			t.Error(p)
		}
	}
	if _, err := Read(t.Context(), strings.NewReader(""), nil); err == nil {
		t.Error("no hasher")
	}
	// A line without end takes no memory.
	if c, err := read(t.Context(), io.LimitReader(&endless{line: "sp_live_"}, 64<<20), nil, nil); err != nil || c != (Counts{Lines: 1, Bad: 1}) {
		t.Error(c, err)
	}
}

func TestMillionsOfLines(t *testing.T) {
	if testing.Short() {
		t.Skip("short")
	}
	const n = 1_000_000
	var b bytes.Buffer
	for i := range n {
		d := sha256.Sum256(fmt.Append(nil, i))
		b.WriteString(hex.EncodeToString(d[:]))
		b.WriteByte('\n')
	}
	k := apikey.Generate(apikey.NewID())
	b.WriteString(digest(k))
	start := time.Now()
	l, err := Read(t.Context(), &b, hasher(t, pepper))
	t.Logf("read %d lines in %v", n+1, time.Since(start))
	if err != nil || l.Counts().Digests != n+1 || !l.Presented(k) || l.Presented(apikey.Generate(k.ID)) {
		t.Fatal(err)
	}
	if a := testing.AllocsPerRun(100, func() { l.Presented(k) }); a > 2 { // secret.New and its text
		t.Errorf("%v allocations", a)
	}
}

func FuzzRead(f *testing.F) {
	h := hasher(f, pepper)
	k := apikey.Generate("abcdefghijkl")
	f.Add([]byte(text(k)+"\n"), true)
	f.Add([]byte("# c\r\nsha256:"+digest(k)), false)
	f.Add([]byte("sp_live_sp_live_"+text(k)), true)
	f.Add(bytes.Repeat([]byte("x"), MaxLine+3), false)
	f.Add([]byte("\n\n\x00\xff\n"), false)
	f.Fuzz(func(t *testing.T, data []byte, plant bool) {
		if plant {
			data = append(append(bytes.Clone(data), '\n'), text(k)...)
		}
		l, err := Read(t.Context(), bytes.NewReader(data), h)
		if err != nil {
			t.Fatal(err)
		}
		c := l.Counts()
		if c.Lines > bytes.Count(data, []byte("\n"))+1 || len(l.keys) > c.Keys || len(l.digests) > c.Digests || c.Bad > c.Lines {
			t.Fatalf("%+v", c)
		}
		if plant && !l.Presented(k) {
			t.Fatal("a whole key on a line of its own was missed")
		}
		hits, c2, err := Scan(t.Context(), bytes.NewReader(data), func(apikey.Token) bool { return true })
		if err != nil || c2 != c || len(hits) != c.Keys {
			t.Fatal(hits, c2, c, err)
		}
	})
}
