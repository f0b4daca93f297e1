package headguard

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"sallyport.dev/sallyport/internal/gate"
)

// served is a real http.Server behind the guard. It keeps what the handler saw.
type served struct {
	addr string
	mu   sync.Mutex
	seen []string // "POST /path body" of requests that passed
	no   []error  // verdicts against requests
}

func serve(t testing.TB, listen func(net.Listener) net.Listener) *served {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &served{addr: l.Addr().String()}
	srv := &http.Server{
		ConnContext:       ConnContext,
		ReadHeaderTimeout: 5 * time.Second,
		Protocols:         new(http.Protocols),
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if err := Check(r.Context(), r); err != nil {
				s.mu.Lock()
				s.no = append(s.no, err)
				s.mu.Unlock()
				w.Header().Set("Connection", "close")
				http.Error(w, err.Error(), http.StatusBadRequest)
				return
			}
			b, _ := io.ReadAll(r.Body)
			s.mu.Lock()
			s.seen = append(s.seen, r.Method+" "+r.RequestURI+" "+string(b))
			s.mu.Unlock()
			fmt.Fprintf(w, "%s %d tls=%v", r.Proto, len(b), r.TLS != nil)
		}),
	}
	srv.Protocols.SetHTTP1(true)
	srv.Protocols.SetHTTP2(true)
	srv.Protocols.SetUnencryptedHTTP2(true)
	go srv.Serve(listen(l))
	t.Cleanup(func() { srv.Close() })
	return s
}

// send writes raw bytes, split into the given pieces, and reads the statuses of all answers.
func (s *served) send(t testing.TB, pieces ...string) (statuses []int, closed bool) {
	t.Helper()
	c, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(5 * time.Second))
	for _, p := range pieces {
		if _, err := io.WriteString(c, p); err != nil {
			break
		}
	}
	c.(*net.TCPConn).CloseWrite()
	br := bufio.NewReader(c)
	for {
		resp, err := http.ReadResponse(br, nil)
		if err != nil {
			return statuses, true
		}
		io.Copy(io.Discard, resp.Body)
		if resp.StatusCode == http.StatusContinue {
			continue
		}
		statuses = append(statuses, resp.StatusCode)
	}
}

func lines(ls ...string) string { return strings.Join(ls, "\r\n") + "\r\n\r\n" }

// smuggled is what an attacker hides behind the first request.
const smuggled = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"

var attacks = []struct{ name, raw string }{
	{"CL.TE", lines("POST /1 HTTP/1.1", "Host: a", "Content-Length: 4", "Transfer-Encoding: chunked") + "0\r\n\r\n" + smuggled},
	{"TE.CL", lines("POST /1 HTTP/1.1", "Host: a", "Transfer-Encoding: chunked", "Content-Length: 4") + "5c\r\n" + smuggled},
	{"CL.TE, lower case", lines("POST /1 HTTP/1.1", "host: a", "content-length: 4", "transfer-encoding: chunked") + "0\r\n\r\n" + smuggled},
	{"CL 0 with TE", lines("POST /1 HTTP/1.1", "Host: a", "Content-Length: 0", "Transfer-Encoding: chunked") + "0\r\n\r\n"},
	{"two CL, same", lines("POST /1 HTTP/1.1", "Host: a", "Content-Length: 2", "Content-Length: 2") + "ab"},
	{"two CL, different", lines("POST /1 HTTP/1.1", "Host: a", "Content-Length: 2", "Content-Length: 40") + "ab" + smuggled},
	{"CL list", lines("POST /1 HTTP/1.1", "Host: a", "Content-Length: 2, 2") + "ab"},
	{"CL with plus", lines("POST /1 HTTP/1.1", "Host: a", "Content-Length: +2") + "ab"},
	{"CL negative", lines("POST /1 HTTP/1.1", "Host: a", "Content-Length: -1") + "ab"},
	{"CL hexadecimal", lines("POST /1 HTTP/1.1", "Host: a", "Content-Length: 0x2") + "ab"},
	{"CL with leading zero", lines("POST /1 HTTP/1.1", "Host: a", "Content-Length: 02") + "ab"},
	{"CL empty", lines("POST /1 HTTP/1.1", "Host: a", "Content-Length:") + "ab"},
	{"CL too big", lines("POST /1 HTTP/1.1", "Host: a", "Content-Length: 99999999999999999999") + "ab"},
	{"CL underscore", lines("POST /1 HTTP/1.1", "Host: a", "Content_Length: 2") + smuggled},
	{"TE underscore", lines("POST /1 HTTP/1.1", "Host: a", "Transfer_Encoding: chunked", "Content-Length: 5") + "0\r\n\r\n" + smuggled},
	{"two TE", lines("POST /1 HTTP/1.1", "Host: a", "Transfer-Encoding: chunked", "Transfer-Encoding: chunked") + "0\r\n\r\n"},
	{"TE chunked and identity", lines("POST /1 HTTP/1.1", "Host: a", "Transfer-Encoding: chunked", "Transfer-Encoding: identity") + "0\r\n\r\n"},
	{"TE list", lines("POST /1 HTTP/1.1", "Host: a", "Transfer-Encoding: gzip, chunked") + "0\r\n\r\n"},
	{"TE xchunked", lines("POST /1 HTTP/1.1", "Host: a", "Transfer-Encoding: xchunked") + "0\r\n\r\n" + smuggled},
	{"TE identity", lines("POST /1 HTTP/1.1", "Host: a", "Transfer-Encoding: identity") + "0\r\n\r\n"},
	{"TE other case", lines("POST /1 HTTP/1.1", "Host: a", "Transfer-Encoding: CHUNKED") + "0\r\n\r\n"},
	{"TE quoted", lines("POST /1 HTTP/1.1", "Host: a", `Transfer-Encoding: "chunked"`) + "0\r\n\r\n"},
	{"TE with tab", lines("POST /1 HTTP/1.1", "Host: a", "Transfer-Encoding:\tchunked") + "0\r\n\r\n"},
	{"TE with vertical tab", lines("POST /1 HTTP/1.1", "Host: a", "Transfer-Encoding: \vchunked") + "0\r\n\r\n"},
	{"TE folded", lines("POST /1 HTTP/1.1", "Host: a", "Transfer-Encoding:", " chunked") + "0\r\n\r\n"},
	{"TE behind a fold", lines("POST /1 HTTP/1.1", "Host: a", "X: y", " Transfer-Encoding: chunked", "Content-Length: 5") + "0\r\n\r\n" + smuggled},
	{"TE in HTTP/1.0 with CL", lines("POST /1 HTTP/1.0", "Host: a", "Transfer-Encoding: chunked", "Content-Length: 5") + "0\r\n\r\n" + smuggled},
	{"space before colon", lines("POST /1 HTTP/1.1", "Host: a", "Transfer-Encoding : chunked") + "0\r\n\r\n"},
	{"tab before colon", lines("POST /1 HTTP/1.1", "Host: a", "Content-Length\t: 2") + "ab"},
	{"space before name", lines("POST /1 HTTP/1.1", " Host: a", "Content-Length: 2") + "ab"},
	{"no colon", lines("POST /1 HTTP/1.1", "Host: a", "Content-Length 2") + "ab"},
	{"no name", lines("POST /1 HTTP/1.1", "Host: a", ": x") + "ab"},
	{"folded line", lines("POST /1 HTTP/1.1", "Host: a", "X-A: b", " c", "Content-Length: 2") + "ab"},
	{"folded line, tab", lines("POST /1 HTTP/1.1", "Host: a", "X-A: b", "\tc", "Content-Length: 2") + "ab"},
	{"bare LF", "POST /1 HTTP/1.1\nHost: a\nContent-Length: 2\n\nab"},
	{"one bare LF", "POST /1 HTTP/1.1\r\nHost: a\nContent-Length: 2\r\n\r\nab"},
	{"bare LF ends the head", "POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\nab"},
	{"bare CR in a value", "POST /1 HTTP/1.1\r\nHost: a\r\nX: b\rContent-Length: 0\r\nContent-Length: 2\r\n\r\nab"},
	{"CR CR LF", "POST /1 HTTP/1.1\r\nHost: a\r\nX: b\r\r\nContent-Length: 2\r\n\r\nab"},
	{"NUL in a value", lines("POST /1 HTTP/1.1", "Host: a", "X: b\x00c", "Content-Length: 2") + "ab"},
	{"NUL in a name", lines("POST /1 HTTP/1.1", "Host: a", "X\x00: b", "Content-Length: 2") + "ab"},
	{"no Host", lines("POST /1 HTTP/1.1", "Content-Length: 2") + "ab"},
	{"two Hosts", lines("POST /1 HTTP/1.1", "Host: a", "Host: b", "Content-Length: 2") + "ab"},
	{"two Hosts, same", lines("POST /1 HTTP/1.1", "Host: a", "host: a", "Content-Length: 2") + "ab"},
	{"two content types", lines("POST /1 HTTP/1.1", "Host: a", "Content-Type: application/json", "Content-Type: text/plain", "Content-Length: 2") + "ab"},
	{"Expect other", lines("POST /1 HTTP/1.1", "Host: a", "Expect: 200-ok", "Content-Length: 2") + "ab"},
	{"Expect empty", lines("POST /1 HTTP/1.1", "Host: a", "Expect:", "Content-Length: 2") + "ab"},
	{"absolute form, other host", lines("POST http://b/1 HTTP/1.1", "Host: a", "Content-Length: 2") + "ab"},
	{"absolute form, userinfo", lines("POST http://a@b/1 HTTP/1.1", "Host: b", "Content-Length: 2") + "ab"},
	{"absolute form, other scheme", lines("POST ftp://a/1 HTTP/1.1", "Host: a", "Content-Length: 2") + "ab"},
	{"authority form", lines("POST a:80 HTTP/1.1", "Host: a:80", "Content-Length: 2") + "ab"},
	{"CONNECT", lines("CONNECT a:443 HTTP/1.1", "Host: a:443")},
	{"CONNECT with a path", lines("CONNECT /1 HTTP/1.1", "Host: a")},
	{"two spaces in the request line", lines("POST  /1 HTTP/1.1", "Host: a", "Content-Length: 2") + "ab"},
	{"tab in the request line", lines("POST\t/1 HTTP/1.1", "Host: a", "Content-Length: 2") + "ab"},
	{"space in the target", lines("POST /1 /2 HTTP/1.1", "Host: a", "Content-Length: 2") + "ab"},
	{"HTTP/0.9", "GET /1\r\n\r\n"},
	{"HTTP/1.2", lines("GET /1 HTTP/1.2", "Host: a")},
	{"HTTP/2 preface with a method", lines("PRI * HTTP/2.0", "Host: a")},
	{"line before the request", "\r\n" + lines("GET /1 HTTP/1.1", "Host: a")},
}

func TestSmugglingIsRefused(t *testing.T) {
	if len(attacks) < 24 {
		t.Fatal("the table shrank")
	}
	for _, a := range attacks {
		for _, how := range []string{"whole", "after a good one", "byte by byte", "in halves"} {
			t.Run(a.name+"/"+how, func(t *testing.T) {
				t.Parallel()
				s := serve(t, Listen)
				var got []int
				want := 0
				switch how {
				case "whole":
					got, _ = s.send(t, a.raw)
				case "after a good one":
					want = 1
					got, _ = s.send(t, lines("POST /0 HTTP/1.1", "Host: a", "Content-Length: 3")+"abc"+a.raw)
				case "byte by byte":
					got, _ = s.send(t, strings.Split(a.raw, "")...)
				case "in halves":
					got, _ = s.send(t, a.raw[:len(a.raw)/2], a.raw[len(a.raw)/2:])
				}
				s.mu.Lock()
				defer s.mu.Unlock()
				if len(s.seen) != want {
					t.Fatalf("passed: %q", s.seen)
				}
				for i, st := range got {
					if i >= want && st < 400 {
						t.Fatalf("answers %v", got)
					}
				}
				// At most the attack itself is answered; nothing behind it is served.
				if len(got) > want+1 || len(s.no) > 1 {
					t.Fatalf("answers %v, verdicts %v", got, s.no)
				}
				for _, err := range s.no {
					var p *gate.Problem
					if !errors.As(err, &p) || p.Status != 400 || p.Code != gate.CodeAmbiguous {
						t.Fatalf("verdict %v", err)
					}
				}
			})
		}
	}
}

// TestGoodRequestsPass: every ordinary form, alone and all of them pipelined on one connection.
func TestGoodRequestsPass(t *testing.T) {
	good := []struct{ raw, want string }{
		{lines("GET /g HTTP/1.1", "Host: a"), "GET /g "},
		{lines("GET /v1/models?x=1&y=%20;z HTTP/1.1", "Host: a:8080", "Accept: */*"), "GET /v1/models?x=1&y=%20;z "},
		{lines("POST /p HTTP/1.1", "Host: a", "Content-Length: 5") + "hello", "POST /p hello"},
		{lines("POST /p HTTP/1.1", "Host: a", "Content-Length:5") + "he\r\n\r", "POST /p he\r\n\r"},
		{lines("POST /head-in-body HTTP/1.1", "Host: a", fmt.Sprint("Content-Length: ", len(smuggled))) + smuggled, "POST /head-in-body " + smuggled},
		{lines("POST /c HTTP/1.1", "Host: a", "Transfer-Encoding: chunked") + "5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n", "POST /c hello world"},
		{lines("POST /c HTTP/1.1", "Host: a", "Transfer-Encoding: chunked") + "A;x=y\r\n0123456789\r\n0\r\n\r\n", "POST /c 0123456789"},
		{lines("POST /t HTTP/1.1", "Host: a", "Transfer-Encoding: chunked", "Trailer: X") + "1\r\na\r\n0\r\nX: y\r\n\r\n", "POST /t a"},
		{lines("POST /c0 HTTP/1.1", "Host: a", "Transfer-Encoding: chunked") + "0\r\n\r\n", "POST /c0 "},
		{lines("POST /e HTTP/1.1", "Host: a", "Content-Length: 0"), "POST /e "},
		{lines("POST /x HTTP/1.1", "Host: a", "Expect: 100-continue", "Content-Length: 2") + "ab", "POST /x ab"},
		{lines("GET http://a/abs HTTP/1.1", "Host: A"), "GET http://a/abs "},
		{lines("GET /long HTTP/1.1", "Host: a", "X-Long: "+strings.Repeat("z", 20000)), "GET /long "},
		{lines("DELETE /d HTTP/1.1", "Host: a", "X-Empty:", "X-Utf: ü"), "DELETE /d "},
	}
	var all strings.Builder
	s := serve(t, Listen)
	for i, g := range good {
		for _, pieces := range [][]string{{g.raw}, strings.Split(g.raw, ""), {g.raw[:len(g.raw)-3], g.raw[len(g.raw)-3:]}} {
			if len(pieces) > 5000 {
				continue
			}
			if got, _ := s.send(t, pieces...); len(got) != 1 || got[0] != 200 {
				t.Errorf("%d: %v, verdicts %v", i, got, s.no)
			}
			if got := s.seen[len(s.seen)-1]; got != g.want {
				t.Errorf("%d: saw %q, want %q", i, got, g.want)
			}
		}
		all.WriteString(g.raw)
	}
	s.seen = nil
	got, _ := s.send(t, all.String())
	if len(got) != len(good) || len(s.no) > 0 {
		t.Fatalf("pipelined: %v, verdicts %v", got, s.no)
	}
	for i, g := range good {
		if s.seen[i] != g.want {
			t.Errorf("pipelined %d: %q", i, s.seen[i])
		}
	}
	// "OPTIONS *" is net/http's own; the request behind it keeps its own verdict.
	if got, _ := s.send(t, lines("OPTIONS * HTTP/1.1", "Host: a")+lines("GET /after HTTP/1.1", "Host: a")); len(got) != 2 || got[1] != 200 {
		t.Fatalf("OPTIONS *: %v %v", got, s.no)
	}
}

// TestUnreadBodyDoesNotShiftVerdicts: the handler of the first request answers without reading.
func TestEarlyAnswerKeepsStep(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var verdicts []error
	srv := &http.Server{ConnContext: ConnContext, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		verdicts = append(verdicts, Check(r.Context(), r))
	})}
	go srv.Serve(Listen(l))
	defer srv.Close()
	s := &served{addr: l.Addr().String()}
	body := strings.Repeat(smuggled, 1000)
	got, _ := s.send(t, lines("POST /1 HTTP/1.1", "Host: a", fmt.Sprint("Content-Length: ", len(body)))+body+lines("GET /2 HTTP/1.1", "Host: a"))
	if len(got) != 2 || len(verdicts) != 2 || verdicts[0] != nil || verdicts[1] != nil {
		t.Fatalf("%v %v", got, verdicts)
	}
}

// TestRefusalReachesACallerWhoStillSends: without CloseWrite the connection would be reset, and the
// answer lost.
func TestRefusalReachesACallerWhoStillSends(t *testing.T) {
	s := serve(t, Listen)
	for range 20 {
		c, err := net.Dial("tcp", s.addr)
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(c, lines("POST /1 HTTP/1.1", "Host: a", "Transfer-Encoding: chunked", "Content-Length: 9"))
		go func() {
			for {
				if _, err := io.WriteString(c, strings.Repeat("x", 4096)); err != nil {
					return
				}
			}
		}()
		c.SetReadDeadline(time.Now().Add(5 * time.Second))
		if line, err := bufio.NewReader(c).ReadString('\n'); !strings.Contains(line, "400") {
			t.Fatalf("%q %v", line, err)
		}
		c.Close()
	}
}

func TestHTTP2Passes(t *testing.T) {
	s := serve(t, Listen)
	p := new(http.Protocols)
	p.SetUnencryptedHTTP2(true)
	c := &http.Client{Transport: &http.Transport{Protocols: p}}
	resp, err := c.Post("http://"+s.addr+"/h2c", "text/plain", strings.NewReader("hello"))
	if err != nil {
		t.Fatal(err)
	}
	b, _ := io.ReadAll(resp.Body)
	if string(b) != "HTTP/2.0 5 tls=false" {
		t.Fatalf("h2c: %s", b)
	}
	resp.Body.Close()
	c.CloseIdleConnections()

	config := certificate(t)
	s = serve(t, func(l net.Listener) net.Listener { return ListenTLS(l, config, 0) })
	for _, want := range []string{"HTTP/2.0 5 tls=true", "HTTP/1.1 5 tls=true"} {
		tr := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: strings.HasPrefix(want, "HTTP/2")} //nolint:gosec // own certificate
		resp, err := (&http.Client{Transport: tr}).Post("https://"+s.addr+"/t", "text/plain", strings.NewReader("hello"))
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		tr.CloseIdleConnections()
		if string(b) != want {
			t.Fatalf("got %s, want %s", b, want)
		}
	}
	// Smuggling inside TLS is seen, and a client that never shakes hands holds nobody up.
	idle, _ := net.Dial("tcp", s.addr)
	defer idle.Close()
	c1, err := tls.Dial("tcp", s.addr, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}}) //nolint:gosec // own certificate
	if err != nil {
		t.Fatal(err)
	}
	defer c1.Close()
	io.WriteString(c1, attacks[0].raw)
	c1.SetReadDeadline(time.Now().Add(5 * time.Second))
	head, _ := bufio.NewReader(c1).ReadString('\n')
	if !strings.Contains(head, "400") || len(s.no) != 1 {
		t.Fatalf("inside TLS: %q, verdicts %v", head, s.no)
	}
}

func certificate(t *testing.T) *tls.Config {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "a"}, NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, NextProtos: []string{"h2", "http/1.1"}}
}

func TestUnwatchedIsRefused(t *testing.T) {
	r, _ := http.NewRequest("GET", "http://a/", nil)
	if Check(context.Background(), r) == nil {
		t.Fatal("a request that nobody watched passed")
	}
	r.ProtoMajor, r.Method = 2, "PRI"
	if Check(context.Background(), r) == nil {
		t.Fatal("PRI passed")
	}
}
