package test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sallyport.dev/sallyport/test/gatetest"
)

// certificate makes a certificate for loopback, signed by itself, as PEM files.
func certificate(t *testing.T) (cert, key string, pool *x509.CertPool) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &k.PublicKey, k)
	if err != nil {
		t.Fatal(err)
	}
	kb, err := x509.MarshalECPrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	cp := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	os.WriteFile(cert, cp, 0o600)
	os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: kb}), 0o600)
	pool = x509.NewCertPool()
	pool.AppendCertsFromPEM(cp)
	return cert, key, pool
}

// client speaks exactly one protocol.
func client(protocol string, pool *x509.CertPool) *http.Client {
	p := new(http.Protocols)
	switch protocol {
	case "h2c":
		p.SetUnencryptedHTTP2(true)
	case "h2":
		p.SetHTTP2(true)
	default:
		p.SetHTTP1(true)
	}
	return &http.Client{Transport: &http.Transport{Protocols: p, DisableCompression: true, TLSClientConfig: &tls.Config{RootCAs: pool}}}
}

// HTTP/1.1 and HTTP/2, with and without TLS, on both sides: a call, a stream and a blocked call.
func TestProtocolsOnBothSides(t *testing.T) {
	cert, key, pool := certificate(t)
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	up := gatetest.NewUpstream(t)
	secure := httptest.NewUnstartedServer(up)
	secure.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
	secure.EnableHTTP2 = true
	secure.StartTLS()
	t.Cleanup(secure.Close)

	for _, front := range []string{"h1", "h2c", "tls+h1", "tls+h2"} {
		for _, back := range []string{"h1", "h2c", "tls+auto"} {
			t.Run(front+" to "+back, func(t *testing.T) {
				base, protocol, ca := up.URL, back, ""
				if back == "tls+auto" {
					base, protocol, ca = secure.URL, "auto", fmt.Sprintf(", ca_file: %q", cert)
				}
				yaml := fmt.Sprintf("proxy:\n  allow_private: [127.0.0.0/8]\n  upstreams:\n    - {name: openai, dialect: openai, base_url: %q, protocol: %s%s}\n", base, protocol, ca)
				g := gatetest.Start(t, up, yaml)
				url, speaks := g.URL, front
				if p, ok := strings.CutPrefix(front, "tls+"); ok {
					g.Close()
					b, _ := os.ReadFile(g.Config)
					b = bytes.Replace(b, []byte(`listen: {address: "127.0.0.1:0"}`), fmt.Appendf(nil, `listen: {address: "127.0.0.1:0", tls: {cert: %q, key: %q}}`, cert, key), 1)
					os.WriteFile(g.Config, b, 0o600)
					g.Open()
					url, speaks = g.URL, p
				}
				c := client(speaks, pool)
				call := func(body string) (*http.Response, string) {
					resp, err := c.Post(url+"/v1/chat/completions", "application/json", strings.NewReader(body))
					if err != nil {
						t.Fatal(err)
					}
					defer resp.Body.Close()
					b, err := io.ReadAll(resp.Body)
					if err != nil {
						t.Fatal(err)
					}
					return resp, string(b)
				}
				wantFront := map[string]int{"h1": 1, "h2c": 2, "h2": 2}[speaks]
				up.Answer(jsonReply(200, `{"ok":true}`, nil))
				resp, body := call(`{"model":"m","messages":[{"role":"user","content":"hi"}]}`)
				if resp.StatusCode != 200 || body != `{"ok":true}` || resp.ProtoMajor != wantFront {
					t.Fatalf("%s %d %s", resp.Proto, resp.StatusCode, body)
				}
				up.Answer(gatetest.Reply{Header: http.Header{"Content-Type": {"text/event-stream"}}, Chunks: [][]byte{[]byte(chatStream[:200]), []byte(chatStream[200:])}})
				if resp, body = call(`{"model":"m","stream":true,"messages":[{"role":"user","content":"hi"}]}`); body != chatStream {
					t.Errorf("stream: %d %q", resp.StatusCode, body)
				}
				n := len(up.Seen())
				if resp, body = call(`{"model":"m","messages":[{"role":"user","content":"` + hostile + `"}]}`); resp.StatusCode != 400 || len(up.Seen()) != n {
					t.Errorf("hostile: %d %s", resp.StatusCode, body)
				}
			})
		}
	}
}
