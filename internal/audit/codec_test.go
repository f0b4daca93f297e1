package audit

import (
	"bytes"
	"encoding/json"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/mod/sumdb/tlog"
	"pgregory.net/rapid"

	"sallyport.dev/sallyport/internal/gate"
)

// lineOf seals one call, without its newline.
func lineOf(kind string, c call) []byte {
	b, _ := newSealer().seal(nil, &draft{seq: 7, time: []byte("2026-03-01T12:00:00.000000001Z"), kind: kind,
		body: appendCall(nil, c), batch: 5, prev: tlog.Hash{1, 2, 3}})
	return b[:len(b)-1]
}

func TestRoundTripKeepsEveryField(t *testing.T) {
	r := record("abc")
	e, err := Decode(lineOf(kindFinish, limit(r, 1<<20)))
	if err != nil {
		t.Fatal(err)
	}
	want := *r
	for _, d := range []*time.Duration{&want.Admitted, &want.Begun, &want.FirstByte, &want.Finished} {
		*d = d.Truncate(time.Microsecond)
	}
	if !reflect.DeepEqual(*e.Record, want) {
		t.Errorf("got  %+v\nwant %+v", *e.Record, want)
	}
	if e.Seq != 7 || e.Batch != 5 || e.Prev != (tlog.Hash{1, 2, 3}) || e.Kind != kindFinish {
		t.Errorf("%+v", e)
	}
	// No field of a record is left out: each one is set above.
	v := reflect.ValueOf(*r)
	for i := range v.NumField() {
		if v.Field(i).IsZero() {
			t.Errorf("the test's record does not set %s", v.Type().Field(i).Name)
		}
	}
}

// Whatever a caller writes, a line is one line of visible text that a strict parser reads back.
func TestHostileStrings(t *testing.T) {
	for _, s := range []string{
		"a\nb\r\x00\x1b[31m\x7f", "\u0085\u009b31m", "\u2028\u2029", "\u202eevil\u2066\u200f", "\ufeff\u200b\u2060",
		"\U000e0041\U000e0042", "\xff\xfe", "\xed\xa0\x80", "a\xc3", `"},{"seq":1`, `\u0000`, `","hash":"`,
		`,"batch":1,"prev":"` + strings.Repeat("A", 43) + `="`, "😀 ñ 漢字", "\ufffd", "\ufffe\uffff", "\ue000",
		strings.Repeat("\xff", 5000), strings.Repeat("é", 3000), strings.Repeat("x", 2048), strings.Repeat("x", 2049),
	} {
		r := record("id")
		r.Path, r.Model, r.Error, r.Content.Request, r.Principal.Name = s, s, s, s, s
		line := lineOf(kindBegin, limit(r, 1<<20))
		for _, c := range string(line) {
			if c != ' ' && !unicode.IsPrint(c) {
				t.Errorf("%q: %U is in the line", s, c)
			}
		}
		if !utf8.Valid(line) || !json.Valid(line) {
			t.Errorf("%q: not JSON: %s", s, line)
		}
		e, err := Decode(line)
		if err != nil {
			t.Errorf("%q: %v", s, err)
			continue
		}
		if len(s) <= maxText && e.Record.Path != valid(s) {
			t.Errorf("%q came back as %q", s, e.Record.Path)
		}
		if e.Record.Content.Request != valid(s) {
			t.Errorf("%q came back as %q", s, e.Record.Content.Request)
		}
		if len(e.Record.Path) > maxText || len(e.Record.Model) > maxName {
			t.Errorf("%q is not cut", s[:10])
		}
		if again := lineOf(kindBegin, e.call()); !bytes.Equal(again, line) {
			t.Errorf("%.40q: second encoding differs", s)
		}
	}
}

func TestOversizedRecords(t *testing.T) {
	r := record("id")
	r.Content.Request = strings.Repeat("é", 1000)
	for len(r.Findings) < 300 {
		r.Findings = append(r.Findings, r.Findings[0])
		r.Uninspected = append(r.Uninspected, r.Uninspected[0])
	}
	before := *r
	e, err := Decode(lineOf(kindFinish, limit(r, 101)))
	if err != nil {
		t.Fatal(err)
	}
	if len(e.Record.Content.Request) != 100 || e.RequestCut == nil || e.RequestCut.Bytes != 2000 || len(e.RequestCut.SHA256) != 64 || e.AnswerCut != nil {
		t.Errorf("%d %+v", len(e.Record.Content.Request), e.RequestCut)
	}
	if len(e.Record.Findings) != maxItems || e.Record.MoreFindings != 2+300-maxItems || e.UninspectedOmitted != len(r.Uninspected)-maxItems {
		t.Errorf("%d findings, %d omitted", len(e.Record.Findings), e.Record.MoreFindings)
	}
	if !reflect.DeepEqual(before, *r) {
		t.Error("the caller's record was changed")
	}
}

func TestAppendTime(t *testing.T) {
	for _, at := range []time.Time{{}, time.Unix(0, 1), time.Date(2026, 12, 31, 23, 59, 59, 999999999, time.FixedZone("x", -3600)),
		time.Date(9999, 1, 2, 3, 4, 5, 6, time.UTC)} {
		if got, want := string(appendTime(nil, at)), at.UTC().Format("2006-01-02T15:04:05.000000000Z"); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	if got := appendTime(nil, time.Date(12026, 1, 2, 3, 4, 5, 6, time.UTC)); len(got) != stampLen {
		t.Errorf("%s", got)
	}
}

func TestOddNumbers(t *testing.T) {
	for _, f := range []float64{math.NaN(), math.Inf(1), math.Inf(-1), 1e-300, 1e300, math.Copysign(0, -1), 0.1} {
		r := record("id")
		r.Findings[0].Score, r.Findings[0].Start = f, -1
		r.SentBytes, r.Finished = math.MinInt64, -time.Second
		if _, err := Decode(lineOf(kindFinish, limit(r, 1<<20))); err != nil {
			t.Errorf("%v: %v", f, err)
		}
	}
}

func TestNoteFields(t *testing.T) {
	many := map[string]string{"a\xff": "1", "a\xfe": "2", "": ""}
	for i := range 100 {
		many[strings.Repeat("k", i+1)] = strings.Repeat("v", 3000)
	}
	b, _ := newSealer().seal(nil, &draft{seq: 1, time: []byte("2026-03-01T12:00:00.000000001Z"), kind: kindNote, body: appendNote(nil, "x\n", many), batch: 1})
	e, err := Decode(b[:len(b)-1])
	if err != nil {
		t.Fatal(err)
	}
	if len(e.Note.Fields) != maxFields || e.Note.Event != "x\n" || e.Note.Fields["a\ufffd"] == "" {
		t.Errorf("%+v", e.Note)
	}
}

// Our compact range is the tree of x/mod/sumdb/tlog.
func TestTreeIsTlog(t *testing.T) {
	var ours tree
	var stored []tlog.Hash
	read := tlog.HashReaderFunc(func(is []int64) ([]tlog.Hash, error) {
		var hs []tlog.Hash
		for _, i := range is {
			hs = append(hs, stored[i])
		}
		return hs, nil
	})
	for n := range int64(300) {
		want, err := tlog.TreeHash(n, read)
		if err != nil || ours.root() != want {
			t.Fatalf("%d records: %v, want %v (%v)", n, ours.root(), want, err)
		}
		back, ok := treeOf(n, ours.hashes())
		if !ok || back.root() != want {
			t.Fatalf("%d records: not read back", n)
		}
		data := []byte{byte(n), byte(n >> 8)}
		if newSealer().leaf(data) != tlog.RecordHash(data) {
			t.Fatal("another leaf hash")
		}
		hs, err := tlog.StoredHashes(n, data, read)
		if err != nil {
			t.Fatal(err)
		}
		stored = append(stored, hs...)
		ours.add(tlog.RecordHash(data))
	}
	if _, ok := treeOf(5, nil); ok {
		t.Error("a tree without its nodes")
	}
}

func TestAppendStringIsStrict(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := string(rapid.SliceOf(rapid.Byte()).Draw(t, "s"))
		b := appendString(nil, s)
		var back string
		if err := json.Unmarshal(b, &back); err != nil || back != valid(s) {
			t.Fatalf("%q -> %s -> %q, %v", s, b, back, err)
		}
		n := rapid.IntRange(4, 40).Draw(t, "limit")
		if c := capped(s, n); len(valid(c)) > n || capped(valid(c), n) != valid(c) {
			t.Fatalf("capped %q to %d: %q", s, n, c)
		}
	})
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte("plain"), "gpt", int64(3), uint8(1))
	f.Add([]byte("a\"b\\c\n\u2028\u202e\xff"), "\x00\x7f", int64(-1), uint8(9))
	f.Add(lineOf(kindBegin, limit(record("x"), 100)), "", int64(math.MaxInt64), uint8(0))
	f.Add([]byte(`{"seq":1,"time":"`), `,"begun":5`, int64(0), uint8(2))
	f.Fuzz(func(t *testing.T, raw []byte, s string, n int64, k uint8) {
		if e, err := Decode(raw); err == nil && e.Record != nil {
			Decode(lineOf(e.Kind, e.call()))
		}
		r := &gate.Record{ID: "f", Path: string(raw), Model: s, Error: s, RequestBytes: n, Status: int(n), Finish: string(raw),
			Principal: gate.Principal{Kind: s, ID: string(raw)}, Content: gate.Content{Mode: s, Request: string(raw), Answer: s}}
		for range k % 8 {
			r.Findings = append(r.Findings, gate.Finding{Category: gate.Category(s), Path: string(raw), Start: int(n), Score: math.Float64frombits(uint64(n))})
			r.Uninspected = append(r.Uninspected, gate.Uninspected{Path: s, Bytes: int(n)})
		}
		line := lineOf(kindFinish, limit(r, 64))
		if bytes.ContainsAny(line, "\n\r\x00\x1b") {
			t.Fatalf("not one safe line: %q", line)
		}
		e, err := Decode(line)
		if err != nil {
			t.Fatalf("%v\n%s", err, line)
		}
		if again := lineOf(kindFinish, e.call()); !bytes.Equal(again, line) {
			t.Fatalf("second encoding differs\n%.600s\n%.600s", line, again)
		}
	})
}

func BenchmarkEncode(b *testing.B) {
	r, s := record("call-12345678"), newSealer()
	var body, out []byte
	b.ReportAllocs()
	for b.Loop() {
		body = appendCall(body[:0], limit(r, 1<<20))
		out, _ = s.seal(out[:0], &draft{seq: 7, time: []byte("2026-03-01T12:00:00.000000001Z"), kind: kindFinish, body: body, batch: 5})
	}
	b.SetBytes(int64(len(out)))
}
