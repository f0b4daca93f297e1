package spiffe

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/proto/spiffe/workload"
	"google.golang.org/grpc"
)

// ca is a trust domain's authority.
type ca struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
	up   [][]byte // certificates between it and the root
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func (c *ca) issue(t *testing.T, tmpl *x509.Certificate, pub any) []byte {
	tmpl.SerialNumber, _ = rand.Int(rand.Reader, big.NewInt(1<<62))
	if tmpl.NotAfter.IsZero() {
		tmpl.NotBefore, tmpl.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	}
	parent, key := tmpl, c.key
	if c.cert != nil {
		parent = c.cert
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, pub, key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func newCA(t *testing.T, domain string, parent *ca) *ca {
	c := &ca{key: newKey(t)}
	tmpl := &x509.Certificate{Subject: pkix.Name{CommonName: domain}, URIs: ids(t, "spiffe://"+domain), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	by := c
	if parent != nil {
		by = parent
	}
	der := by.issue(t, tmpl, c.key.Public())
	c.cert, _ = x509.ParseCertificate(der)
	if parent != nil {
		c.up = append([][]byte{der}, parent.up...)
	}
	return c
}

func ids(t *testing.T, names ...string) (out []*url.URL) {
	for _, n := range names {
		u, err := url.Parse(n)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, u)
	}
	return out
}

// svid is a leaf for ids, with changes.
func (c *ca) svid(t *testing.T, edit func(*x509.Certificate), names ...string) *tls.Certificate {
	k := newKey(t)
	tmpl := &x509.Certificate{URIs: ids(t, names...), KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}}
	if edit != nil {
		edit(tmpl)
	}
	return &tls.Certificate{Certificate: append([][]byte{c.issue(t, tmpl, k.Public())}, c.up...), PrivateKey: k}
}

// agent is a Workload API, by gRPC over a Unix socket, with rotation at the test's word.
type agent struct {
	workload.UnimplementedSpiffeWorkloadAPIServer
	next chan *workload.X509SVIDResponse
}

func (a *agent) FetchX509SVID(_ *workload.X509SVIDRequest, s grpc.ServerStreamingServer[workload.X509SVIDResponse]) error {
	for {
		select {
		case r := <-a.next:
			if err := s.Send(r); err != nil {
				return err
			}
		case <-s.Context().Done():
			return nil
		}
	}
}

func startAgent(t *testing.T) (*agent, string) {
	sock := filepath.Join(t.TempDir(), "a.sock")
	ln, err := net.Listen("unix", sock)
	if err != nil {
		t.Fatal(err)
	}
	a, s := &agent{next: make(chan *workload.X509SVIDResponse, 1)}, grpc.NewServer()
	workload.RegisterSpiffeWorkloadAPIServer(s, a)
	go func() { _ = s.Serve(ln) }()
	t.Cleanup(s.Stop)
	return a, "unix://" + sock
}

const gateway, planner = "spiffe://prod.example/gateway", "spiffe://prod.example/ns/agents/sa/planner"

func (a *agent) rotate(t *testing.T, c *ca) *tls.Certificate {
	own := c.svid(t, nil, gateway)
	key, err := x509.MarshalPKCS8PrivateKey(own.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	a.next <- &workload.X509SVIDResponse{Svids: []*workload.X509SVID{{SpiffeId: gateway, X509Svid: own.Certificate[0], X509SvidKey: key, Bundle: c.cert.Raw}}}
	return own
}

type harness struct {
	*Server
	root    *ca
	agent   *agent
	source  interface{ Updated() <-chan struct{} }
	url     string
	revoked atomic.Value
	skip    atomic.Int64 // how far the clock of Identity is ahead
}

// start is an http.Server whose answers are the ids of its callers.
func start(t *testing.T) *harness {
	h := &harness{root: newCA(t, "prod.example", nil)}
	h.revoked.Store("")
	var addr string
	h.agent, addr = startAgent(t)
	h.agent.rotate(t, h.root)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	src, err := WorkloadAPI(ctx, addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = src.Close() })
	h.source = src
	h.Server, err = New(Options{Source: src, Allow: []string{"spiffe://prod.example/ns/agents/sa/*"},
		Revoked: func(id string) bool { return id == h.revoked.Load() }, Now: func() time.Time { return time.Now().Add(time.Duration(h.skip.Load())) }})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := tls.Listen("tcp", "127.0.0.1:0", h.ServerTLS())
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id, err := h.Identity(r.TLS)
		if err != nil {
			http.Error(w, err.Error(), http.StatusUnauthorized)
			return
		}
		_, _ = io.WriteString(w, id)
	}), ReadHeaderTimeout: 5 * time.Second}
	go func() { _ = s.Serve(ln) }()
	t.Cleanup(func() { _ = s.Close() })
	h.url = "https://" + ln.Addr().String()
	return h
}

func client(cert *tls.Certificate, top uint16) (*http.Client, *tls.Config) {
	c := &tls.Config{InsecureSkipVerify: true, MaxVersion: top, ClientSessionCache: tls.NewLRUClientSessionCache(8)} //nolint:gosec // the client's side is not under test
	if cert != nil {
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return cert, nil }
	}
	return &http.Client{Transport: &http.Transport{TLSClientConfig: c}}, c
}

func get(c *http.Client, url string) (string, *tls.ConnectionState, error) {
	res, err := c.Get(url)
	if err != nil {
		return "", nil, err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if res.StatusCode != 200 {
		return "", res.TLS, errors.New(string(b))
	}
	return string(b), res.TLS, err
}

func TestWhoMayConnect(t *testing.T) {
	h := start(t)
	other := newCA(t, "evil.example", nil)
	ok := func(c *ca) *tls.Certificate { return c.svid(t, nil, planner) }
	for name, c := range map[string]struct {
		cert *tls.Certificate
		top  uint16
		want string
	}{
		"allowed":                     {ok(h.root), 0, planner},
		"under an intermediate":       {ok(newCA(t, "prod.example", h.root)), 0, planner},
		"TLS 1.2":                     {ok(h.root), tls.VersionTLS12, ""},
		"no certificate":              {nil, 0, ""},
		"another trust domain":        {other.svid(t, nil, "spiffe://evil.example/ns/agents/sa/planner"), 0, ""},
		"our id by another authority": {ok(other), 0, ""},
		"two ids":                     {h.root.svid(t, nil, planner, "spiffe://prod.example/ns/agents/sa/b"), 0, ""},
		"an id and a URL":             {h.root.svid(t, nil, planner, "https://x.example"), 0, ""},
		"a name, no id":               {h.root.svid(t, func(c *x509.Certificate) { c.Subject.CommonName = planner }), 0, ""},
		"a DNS name, no id":           {h.root.svid(t, func(c *x509.Certificate) { c.DNSNames = []string{"planner"} }), 0, ""},
		"an id outside the patterns":  {h.root.svid(t, nil, "spiffe://prod.example/ns/other/sa/planner"), 0, ""},
		"an id a segment longer":      {h.root.svid(t, nil, planner+"/x"), 0, ""},
		"the gateway itself":          {h.root.svid(t, nil, gateway), 0, ""},
		"expired": {h.root.svid(t, func(c *x509.Certificate) {
			c.NotBefore, c.NotAfter = time.Now().Add(-2*time.Hour), time.Now().Add(-time.Minute)
		}, planner), 0, ""},
		"not valid yet": {h.root.svid(t, func(c *x509.Certificate) {
			c.NotBefore, c.NotAfter = time.Now().Add(time.Hour), time.Now().Add(2*time.Hour)
		}, planner), 0, ""},
		"an authority as a leaf":     {h.root.svid(t, func(c *x509.Certificate) { c.IsCA, c.BasicConstraintsValid = true, true }, planner), 0, ""},
		"a leaf that may sign":       {h.root.svid(t, func(c *x509.Certificate) { c.KeyUsage |= x509.KeyUsageCertSign }, planner), 0, ""},
		"for servers only":           {h.root.svid(t, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }, planner), 0, ""},
		"without extended key usage": {h.root.svid(t, func(c *x509.Certificate) { c.ExtKeyUsage = nil }, planner), 0, planner},
	} {
		cl, _ := client(c.cert, c.top)
		got, _, err := get(cl, h.url)
		if got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%s: %q, %v", name, got, err)
		}
		cl.CloseIdleConnections()
	}
}

// A connection goes on while our SVID and the authority change; a new one sees the new ones; a
// revoked or expired caller is refused on the connection it has, and cannot resume a session.
func TestRotationAndEnd(t *testing.T) {
	h := start(t)
	cert := h.root.svid(t, nil, planner)
	cl, conf := client(cert, 0)
	_, first, err := get(cl, h.url)
	if err != nil {
		t.Fatal(err)
	}
	next := newCA(t, "prod.example", nil)
	own := h.agent.rotate(t, next)
	// Reads of the update are not lost: the channel says that one has come.
	for range 2 {
		select {
		case <-h.source.Updated():
		case <-time.After(10 * time.Second):
			t.Fatal("the SVID has not changed")
		}
		if c, err := h.ServerTLS().GetCertificate(nil); err == nil && string(c.Certificate[0]) == string(own.Certificate[0]) {
			break
		}
	}
	if id, st, err := get(cl, h.url); err != nil || id != planner || st.PeerCertificates[0].SerialNumber.Cmp(first.PeerCertificates[0].SerialNumber) != 0 {
		t.Errorf("the open connection: %q, %v", id, err)
	}
	fresh, _ := client(next.svid(t, nil, planner), 0)
	if id, st, err := get(fresh, h.url); err != nil || id != planner || string(st.PeerCertificates[0].Raw) != string(own.Certificate[0]) {
		t.Errorf("a new connection: %q, %v", id, err)
	}
	old, _ := client(cert, 0)
	if _, _, err := get(old, h.url); err == nil {
		t.Error("a certificate of the authority that is gone was accepted")
	}
	cl.CloseIdleConnections()
	again := &http.Client{Transport: &http.Transport{TLSClientConfig: conf}}
	if _, _, err := get(again, h.url); err == nil {
		t.Error("a session was resumed past the verification")
	}
	h.revoked.Store(planner)
	if _, _, err := get(fresh, h.url); err == nil {
		t.Error("a revoked caller goes on with its connection")
	}
	h.revoked.Store("")
	if _, _, err := get(fresh, h.url); err != nil {
		t.Errorf("not revoked any more: %v", err)
	}
	h.skip.Store(int64(2 * time.Hour))
	if _, _, err := get(fresh, h.url); err == nil {
		t.Error("an expired caller goes on with its connection")
	}
}

func TestIdentityWithoutCertificate(t *testing.T) {
	h := start(t)
	for _, c := range []*tls.ConnectionState{nil, {}, {HandshakeComplete: true}} {
		if id, err := h.Identity(c); err == nil || id != "" {
			t.Errorf("%q", id)
		}
	}
	if _, err := New(Options{Source: h.o.Source}); err == nil {
		t.Error("nobody allowed: accepted")
	}
	if _, err := New(Options{Source: h.o.Source, Allow: []string{"spiffe://*/x"}}); err == nil {
		t.Error("any trust domain: accepted")
	}
	if _, err := New(Options{Allow: []string{planner}}); err == nil {
		t.Error("no source: accepted")
	}
}
