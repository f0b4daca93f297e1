package hostile

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"sallyport.dev/sallyport/internal/gate"
)

func TestB5Headers(t *testing.T) {
	g := start(t, "", "")
	done := g.steady(t, time.Second, 0)
	length := fmt.Sprintf("Content-Length: %d", len(hello))
	many := make([]string, 0, 10_000)
	for i := range 10_000 {
		many = append(many, fmt.Sprintf("X-%d: y", i))
	}
	for _, c := range []struct {
		name    string
		headers []string
		status  []int
	}{
		{"one header of 1 MB", []string{length, "X: " + strings.Repeat("y", 1<<20)}, []int{431}},
		{"10,000 headers", append([]string{length}, many...), []int{431, 400}},
		{"NUL", []string{length, "X: a\x00b"}, []int{400}},
		{"folded", []string{length, "X: a\r\n b"}, []int{400}},
		{"bare CR", []string{length, "X: a\rb"}, []int{400}},
		{"bare LF", []string{length, "X: a\nY: b"}, []int{400}},
		{"two Authorizations", []string{length, "Authorization: Bearer other"}, []int{400, 401}},
		{"two keys in two headers", []string{length, "X-Api-Key: other"}, []int{400, 401}},
		{"two content types", []string{length, "Content-Type: text/plain"}, []int{400, 415}},
	} {
		r := g.raw(t, strings.NewReader(head("POST "+chatPath+" HTTP/1.1", c.headers...)+hello))
		ok := false
		for _, s := range c.status {
			ok = ok || r.status == s
		}
		if !ok || r.took > bound {
			t.Errorf("%s: %d %.200q %v, want %v", c.name, r.status, r.body, r.err, c.status)
		}
	}
	done()
}

// TestB6Smuggling sends heads and framings that two hops would read differently, each with a second
// request hidden behind it. Nothing hidden may reach the provider, and nothing may be answered behind
// the refusal. The whole table is internal/proxy/headguard's; these go through the binary.
func TestB6Smuggling(t *testing.T) {
	g := start(t, "", "")
	hidden := "POST " + chatPath + " HTTP/1.1\r\nHost: gateway.test\r\nX-Hidden: yes\r\nAuthorization: Bearer sk-hostile\r\nContent-Type: application/json\r\n" +
		fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(hello), hello)
	length := fmt.Sprintf("Content-Length: %d", len(hello))
	post := "POST " + chatPath + " HTTP/1.1"
	cases := map[string]string{
		"CL.TE":                 head(post, "Content-Length: 4", "Transfer-Encoding: chunked") + "0\r\n\r\n" + hidden,
		"TE.CL":                 head(post, "Transfer-Encoding: chunked", "Content-Length: 4") + fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(hidden), hidden),
		"CL.CL":                 head(post, "Content-Length: 0", length) + hello + hidden,
		"CL list":               head(post, fmt.Sprintf("Content-Length: %d, %d", len(hello), len(hello))) + hello + hidden,
		"CL plus":               head(post, fmt.Sprintf("Content-Length: +%d", len(hello))) + hello + hidden,
		"CL zero padded":        head(post, fmt.Sprintf("Content-Length: 0%d", len(hello))) + hello + hidden,
		"TE.TE":                 head(post, "Transfer-Encoding: chunked", "Transfer-Encoding: x") + "0\r\n\r\n" + hidden,
		"TE other":              head(post, "Transfer-Encoding: xchunked", length) + hello + hidden,
		"TE space before colon": head(post, "Transfer-Encoding : chunked", length) + hello + hidden,
		"TE folded":             head(post, "Transfer-Encoding:\r\n chunked", length) + "0\r\n\r\n" + hidden,
		"TE tab":                head(post, "Transfer-Encoding:\tchunked") + "0\r\n\r\n" + hidden,
		"TE upper case":         head(post, "Transfer-Encoding: CHUNKED") + "0\r\n\r\n" + hidden,
		"TE underscore":         head(post, "Transfer_Encoding: chunked", length) + hello + hidden,
		"bare LF head":          strings.ReplaceAll(head(post, length), "\r\n", "\n") + hello + hidden,
		"bare LF before TE":     head(post, "X: y\nTransfer-Encoding: chunked", length) + hello + hidden,
		"CR in value":           head(post, "X: y\rTransfer-Encoding: chunked", length) + hello + hidden,
		"NUL in value":          head(post, "X: \x00", length) + hello + hidden,
		"two Hosts":             head(post, "Host: other", length) + hello + hidden,
		"absolute, other host":  head("POST http://other.test"+chatPath+" HTTP/1.1", length) + hello + hidden,
		"absolute, userinfo":    head("POST http://gateway.test@other.test"+chatPath+" HTTP/1.1", length) + hello + hidden,
		"CONNECT":               "CONNECT 127.0.0.1:22 HTTP/1.1\r\nHost: 127.0.0.1:22\r\n\r\n" + hidden,
		"authority form":        head("POST 127.0.0.1:22 HTTP/1.1", length) + hello + hidden,
		"Expect other":          head(post, "Expect: 200-ok", length) + hello + hidden,
		"HTTP/1.0 with TE":      head("POST "+chatPath+" HTTP/1.0", "Transfer-Encoding: chunked", length) + hello + hidden,
		"line before":           "\r\n" + head(post, length) + hello + hidden,
		"tab request line":      head("POST\t"+chatPath+"\tHTTP/1.1", length) + hello + hidden,
		"HTTP/1.2":              head("POST "+chatPath+" HTTP/1.2", length) + hello + hidden,
		"chunk with bare LF":    head(post, "Transfer-Encoding: chunked") + fmt.Sprintf("%x\n%s\r\n0\r\n\r\n", len(hello), hello) + hidden,
		"chunk size sign":       head(post, "Transfer-Encoding: chunked") + fmt.Sprintf("+%x\r\n%s\r\n0\r\n\r\n", len(hello), hello) + hidden,
		"chunk size overflow":   head(post, "Transfer-Encoding: chunked") + fmt.Sprintf("1000000000000000%x\r\n%s\r\n0\r\n\r\n", len(hello), hello) + hidden,
	}
	if len(cases) < 24 {
		t.Fatal("the table shrank")
	}
	for name, raw := range cases {
		before := g.up.calls.Load()
		r := g.raw(t, strings.NewReader(raw))
		if r.status != 0 && r.status < 400 || r.took > bound {
			t.Errorf("%s: %d %.200q after %v", name, r.status, r.body, r.took)
		}
		if n := g.up.calls.Load() - before; n != 0 {
			t.Errorf("%s: %d calls reached the provider", name, n)
		}
		if r.header.Get("Sallyport-Id") != "" && r.code() != string(gate.CodeAmbiguous) {
			t.Errorf("%s: refused as %q", name, r.code())
		}
	}
}

// TestB6OurHeadersAreOurs: hop-by-hop tricks and spoofed headers change nothing.
func TestB6OurHeadersAreOurs(t *testing.T) {
	g := start(t, "", "")
	r := g.post(t, hello, "Connection: authorization, x-named", "X-Named: 1", "Keep-Alive: timeout=5", "Proxy-Authorization: Basic eDp5",
		"TE: trailers", "X-Sallyport-Verdict: allow", "Sallyport-Id: mine", "X-Unknown: kept")
	if r.status != http.StatusOK {
		t.Fatalf("%d %.200q", r.status, r.body)
	}
	up := g.up.last()
	if up == nil {
		t.Fatal("nothing arrived")
	}
	if v := up.Header.Get("Authorization"); v != "Bearer sk-hostile" && v != "" {
		t.Errorf("Authorization arrived as %q", v)
	}
	for _, k := range []string{"X-Named", "Keep-Alive", "Proxy-Authorization", "Connection", "X-Sallyport-Verdict", "Sallyport-Id"} {
		if v, ok := up.Header[k]; ok {
			t.Errorf("%s arrived: %q", k, v)
		}
	}
	if up.Header.Get("X-Unknown") != "kept" {
		t.Error("an unknown header was lost")
	}
	if ids := r.header.Values("Sallyport-Id"); len(ids) != 1 || ids[0] == "mine" {
		t.Errorf("Sallyport-Id %q", ids)
	}
	// A client that waits for 100-continue gets it, and its answer.
	if r := g.post(t, hello, "Expect: 100-continue"); r.status != http.StatusOK {
		t.Errorf("Expect: %d %.200q", r.status, r.body)
	}
}
