package test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"reflect"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"

	"sallyport.dev/sallyport/internal/strictjson"
	"sallyport.dev/sallyport/test/gatetest"
)

// reading is what one reader makes of a body: whether it accepts it and the members that decide
// what is run: model, messages (input), tools, stream.
type reading struct {
	OK     bool
	Fields []any
}

// encodingJSON reads as a provider written in Go would: names in any case.
func encodingJSON(body []byte, turns string) reading {
	f := make([]any, 4)
	chat := struct{ Model, Messages, Tools, Stream *any }{&f[0], &f[1], &f[2], &f[3]}
	var err error
	if turns == "input" {
		responses := struct{ Model, Input, Tools, Stream *any }{&f[0], &f[1], &f[2], &f[3]}
		err = json.Unmarshal(body, &responses)
	} else {
		err = json.Unmarshal(body, &chat)
	}
	return reading{err == nil, f}
}

// strictly says whether two strict readers, ours and a library's, accept.
func strictly(body []byte) (ours, theirs bool) {
	_, err := strictjson.Parse(body, strictjson.Limits{})
	d := jsontext.NewDecoder(bytes.NewReader(body))
	_, err2 := d.ReadValue()
	if err2 == nil {
		if _, err2 = d.ReadToken(); errors.Is(err2, io.EOF) {
			err2 = nil
		} else {
			err2 = errors.New("trailing data")
		}
	}
	return err == nil, err2 == nil
}

// nodeReader reads lines of base64 and answers with two readings a line: a lenient server's, which
// replaces what is not UTF-8, and a strict one's.
const nodeReader = `
const rl=require("readline").createInterface({input:process.stdin,crlfDelay:Infinity});
rl.on("line",l=>{const [turns,b64]=l.split(" ");const b=Buffer.from(b64||"","base64");
const read=f=>{try{const o=JSON.parse(new TextDecoder("utf-8",{fatal:f}).decode(b));const g=n=>o!==null&&typeof o==="object"&&Object.hasOwn(o,n)?o[n]:null;
return {OK:true,Fields:[g("model"),g(turns),g("tools"),g("stream")]}}catch(e){return {OK:false}}};
console.log(JSON.stringify([read(false),read(true)]))});`

func nodeReadings(t *testing.T, lies []lie, turns string) [][]reading {
	t.Helper()
	node, err := exec.LookPath("node")
	if err != nil {
		if os.Getenv("SALLYPORT_TEST_REQUIRE") == "all" {
			t.Fatal("node is required")
		}
		t.Log("no node: its JSON.parse is not compared")
		return nil
	}
	var in bytes.Buffer
	for _, l := range lies {
		in.WriteString(turns + " " + base64.StdEncoding.EncodeToString(l.body) + "\n")
	}
	cmd := exec.CommandContext(t.Context(), node, "-e", nodeReader)
	cmd.Stdin = &in
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	lines := bytes.Split(bytes.TrimSpace(out), []byte("\n"))
	if len(lines) != len(lies) {
		t.Fatalf("node answered %d of %d", len(lines), len(lies))
	}
	all := make([][]reading, len(lies))
	for i, line := range lines {
		if err := json.Unmarshal(line, &all[i]); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// send posts a body with exactly the given Content-Type and Content-Encoding lines.
func send(t *testing.T, tr *http.Transport, base string, s surface, l lie) got {
	t.Helper()
	req, err := http.NewRequestWithContext(context.Background(), "POST", base+s.target, bytes.NewReader(l.body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header = s.header.Clone()
	if req.Header == nil {
		req.Header = http.Header{"Authorization": {"Bearer sk-test"}}
	}
	req.Header["Content-Type"] = []string{"application/json"}
	if l.types != nil {
		req.Header["Content-Type"] = l.types
	}
	if l.coding != nil {
		req.Header["Content-Encoding"] = l.coding
	}
	resp, err := tr.RoundTrip(req)
	if err != nil {
		t.Fatalf("%s %s: %v", s.target, l.name, err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return got{status: resp.StatusCode, header: resp.Header, body: b}
}

// codeOf is the code of a refusal in the surface's own dialect; "" where it is in no such shape.
func codeOf(s surface, body []byte) string {
	var e struct {
		Type  string `json:"type"`
		Error struct{ Type, Code, Message string }
	}
	if json.Unmarshal(body, &e) != nil || !strings.HasPrefix(e.Error.Type, "invalid_request") && e.Error.Type != "request_too_large" {
		return ""
	}
	if s.target != "/v1/messages" {
		return e.Error.Code
	}
	if e.Type != "error" {
		return ""
	}
	code, _, _ := strings.Cut(e.Error.Message, ":")
	return code
}

// MUST SHOW 5: what two readers could take for different requests is refused, with a record, and
// never leaves; what all read alike passes unchanged.
func TestAmbiguousBodies(t *testing.T) {
	up := gatetest.NewUpstream(t)
	g := gatetest.Start(t, up, "")
	up.Answer(jsonReply(200, `{"ok":true}`, nil))
	tr := &http.Transport{DisableCompression: true}
	t.Cleanup(tr.CloseIdleConnections)
	refused, passed := map[string]string{}, map[string]string{}
	names, distinct, differ, strictOnly := map[string]bool{}, map[string]bool{}, 0, 0
	for _, s := range surfaces {
		all := append(lies(s), truths(s)...)
		node := nodeReadings(t, all, s.turns)
		for i, l := range all {
			what := s.target + " " + l.name
			if names[what] {
				t.Errorf("%s: two bodies of one name", what)
			}
			names[what] = true
			if !l.passes {
				distinct[string(l.body)+"\x00"+strings.Join(l.types, "\x00")+"\x01"+strings.Join(l.coding, "\x00")] = true
			}
			if l.plain() {
				ours, theirs := strictly(l.body)
				readers := []reading{encodingJSON(l.body, s.turns)}
				if node != nil {
					readers = append(readers, node[i]...)
				}
				var first *reading
				apart, anyOK := false, false
				for j := range readers {
					if r := &readers[j]; r.OK {
						anyOK = true
						if first == nil {
							first = r
						}
						apart = apart || !reflect.DeepEqual(first.Fields, r.Fields)
					}
				}
				switch {
				case apart:
					differ++
				case anyOK && !(ours && theirs):
					strictOnly++
				}
				// The rule, whatever the table says: readers apart, or a strict one that refuses.
				if l.passes && (apart || !ours || !theirs) {
					t.Errorf("%s: is in the table of what passes, but readers differ (%v, %v, %v)", what, apart, ours, theirs)
				}
			}
			before := len(up.Seen())
			r := send(t, tr, g.URL, s, l)
			seen := up.Seen()[before:]
			id := r.header.Get("Sallyport-Id")
			if l.passes {
				passed[id] = what
				if r.status != 200 || len(seen) != 1 || !bytes.Equal(seen[0].Body, l.body) {
					t.Errorf("%s: status %d, %d calls upstream, or other bytes: %.200s", what, r.status, len(seen), r.body)
				}
				continue
			}
			refused[id] = what
			code := codeOf(s, r.body)
			good := r.status == 400 && code == "ambiguous_request" || l.coding != nil && r.status == 415 && code == "unsupported_content_encoding"
			if !good || len(seen) != 0 {
				t.Errorf("%s: status %d, code %q, %d calls upstream: %.200s (%.120q)", what, r.status, code, len(seen), r.body, l.body)
			}
		}
	}
	if len(distinct) < 200 || len(passed) < 30 || len(refused)+len(passed) != len(names) {
		t.Errorf("%d distinct bodies refused, %d passed, %d ids for %d calls", len(distinct), len(passed), len(refused)+len(passed), len(names))
	}
	events := g.Events()
	for id, what := range refused {
		if e, ok := events[id]; !ok || e.Str("outcome") != "refused" {
			t.Errorf("%s: record %q says %q", what, id, e.Str("outcome"))
		}
	}
	for id, what := range passed {
		if e, ok := events[id]; !ok || e.Str("outcome") != "completed" {
			t.Errorf("%s: record %q says %q", what, id, e.Str("outcome"))
		}
	}
	if _, err := exec.LookPath("node"); err == nil && differ < 50 { // alone, encoding/json differs from nobody
		t.Errorf("only %d bodies set readers apart: the table has lost its teeth", differ)
	}
	t.Logf("%d lies refused (%d distinct) over %d endpoints, %d unusual bodies passed; lenient readers differed on %d, only strict ones refused %d", len(refused), len(distinct), len(surfaces), len(passed), differ, strictOnly)
}

// The same for forms: a part that two readers would cut, name or decode differently does not leave.
func TestAmbiguousForms(t *testing.T) {
	up := gatetest.NewUpstream(t)
	g := gatetest.Start(t, up, "")
	up.Answer(jsonReply(200, `{"ok":true}`, nil))
	tr := &http.Transport{DisableCompression: true}
	t.Cleanup(tr.CloseIdleConnections)
	s := surface{target: "/v1/files"}
	const ct, end = "multipart/form-data; boundary=B", "--B--\r\n"
	part := func(head, v string) string { return "--B\r\n" + head + "\r\n\r\n" + v + "\r\n" }
	field := func(name, v string) string { return part(`Content-Disposition: form-data; name="`+name+`"`, v) }
	file := part("Content-Disposition: form-data; name=\"file\"; filename=\"a.txt\"\r\nContent-Type: text/plain", "hello")
	good := field("purpose", "user_data") + file + end
	var ids []string
	for name, c := range map[string][2]string{
		"field twice":        {ct, field("model", "a") + field("model", "b") + end},
		"field and file":     {ct, field("file", "a") + file + end},
		"two boundaries":     {ct + "; boundary=C", good},
		"no boundary":        {"multipart/form-data", good},
		"other boundary":     {"multipart/form-data; boundary=C", good},
		"no end":             {ct, strings.TrimSuffix(good, end)},
		"epilogue":           {ct, good + "more"},
		"preamble":           {ct, "pre\r\n" + good},
		"bare LF":            {ct, strings.ReplaceAll(good, "\r\n", "\n")},
		"two filenames":      {ct, part(`Content-Disposition: form-data; name="a"; filename="a"; filename="b"`, "x") + end},
		"filename*":          {ct, part(`Content-Disposition: form-data; name="a"; filename="a"; filename*=UTF-8''b`, "x") + end},
		"two names":          {ct, part(`Content-Disposition: form-data; name="a"; name="b"`, "x") + end},
		"two dispositions":   {ct, part("Content-Disposition: form-data; name=\"a\"\r\nContent-Disposition: form-data; name=\"b\"", "x") + end},
		"no name":            {ct, part("Content-Disposition: form-data", "x") + end},
		"no disposition":     {ct, part("X: y", "x") + end},
		"base64":             {ct, part("Content-Disposition: form-data; name=\"a\"\r\nContent-Transfer-Encoding: base64", "aGk=") + end},
		"quoted-printable":   {ct, part("Content-Disposition: form-data; name=\"a\"\r\nContent-Transfer-Encoding: quoted-printable", "=68") + end},
		"boundary's prefix":  {ct, field("a", "x\r\n--BC") + end},
		"space before colon": {ct, part(`Content-Disposition : form-data; name="a"`, "x") + end},
		"folded head":        {ct, part("Content-Disposition: form-data;\r\n name=\"a\"", "x") + end},
	} {
		r := send(t, tr, g.URL, s, lie{types: []string{c[0]}, body: []byte(c[1])})
		ids = append(ids, r.header.Get("Sallyport-Id"))
		if code := codeOf(s, r.body); r.status != 400 || code != "ambiguous_request" {
			t.Errorf("%s: status %d, code %q: %.200s", name, r.status, code, r.body)
		}
	}
	if n := len(up.Seen()); n != 0 {
		t.Errorf("%d forms reached the upstream", n)
	}
	r := send(t, tr, g.URL, s, lie{types: []string{ct}, body: []byte(good)})
	if seen := up.Seen(); r.status != 200 || len(seen) != 1 || string(seen[0].Body) != good {
		t.Errorf("a good form: status %d: %.200s", r.status, r.body)
	}
	events := g.Events()
	for _, id := range ids {
		if events[id].Str("outcome") != "refused" {
			t.Errorf("record %q says %q", id, events[id].Str("outcome"))
		}
	}
}
