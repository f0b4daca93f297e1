package test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"

	"sallyport.dev/sallyport/internal/gate"
	"sallyport.dev/sallyport/internal/iam"
	"sallyport.dev/sallyport/internal/iam/jwks"
	"sallyport.dev/sallyport/internal/iam/jwtbearer"
	"sallyport.dev/sallyport/internal/iam/spiffe"
	"sallyport.dev/sallyport/internal/proxy"
	"sallyport.dev/sallyport/internal/proxy/headguard"
	"sallyport.dev/sallyport/internal/secret"
	"sallyport.dev/sallyport/internal/store/sqlite"
)

// identities is one trust domain's authority and our own SVID in it.
type identities struct {
	*x509svid.SVID
	*x509bundle.Bundle
	ca *tls.Certificate
}

func issue(t *testing.T, by *tls.Certificate, id string, authority bool) *tls.Certificate {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	u, _ := url.Parse(id)
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: id}, URIs: []*url.URL{u}, NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour),
		IsCA: authority, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature}
	parent, key := tmpl, any(k)
	if authority {
		tmpl.KeyUsage = x509.KeyUsageCertSign
	} else {
		parent, key = by.Leaf, by.PrivateKey
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, k.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, _ := x509.ParseCertificate(der)
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: k, Leaf: leaf}
}

// seesPeer is a stage that notes whom a call was made by.
type seesPeer struct{ last atomic.Value }

func (*seesPeer) Name() string { return "sees peer" }
func (s *seesPeer) Admit(_ context.Context, x *gate.Exchange) (gate.Decision, error) {
	s.last.Store(x.Peer)
	return gate.Decision{}, nil
}

// A caller's SPIFFE id reaches the stages over HTTP/1.1 and HTTP/2, and one that is revoked is
// refused on the connection it has, which then ends.
func TestPeerReachesTheStages(t *testing.T) {
	const planner = "spiffe://prod.example/planner"
	ca := issue(t, nil, "spiffe://prod.example", true)
	own := issue(t, ca, "spiffe://prod.example/gateway", false)
	td := spiffeid.RequireTrustDomainFromString("prod.example")
	src := identities{
		&x509svid.SVID{ID: spiffeid.RequireFromString("spiffe://prod.example/gateway"), Certificates: []*x509.Certificate{own.Leaf}, PrivateKey: own.PrivateKey.(*ecdsa.PrivateKey)},
		x509bundle.FromX509Authorities(td, []*x509.Certificate{ca.Leaf}), ca}
	var revoked atomic.Bool
	s, err := spiffe.New(spiffe.Options{Source: src, Allow: []string{"spiffe://prod.example/*"}, Revoked: func(string) bool { return revoked.Load() }})
	if err != nil {
		t.Fatal(err)
	}
	see := &seesPeer{}
	var g *proxy.Gateway
	f := newFaulty(t, false, func(o *proxy.Options) {
		o.Arrive.Stages = append(o.Arrive.Stages, see)
		o.Peer = s.Identity
		if g, err = proxy.New(*o); err != nil {
			t.Fatal(err)
		}
	})
	f.up.Answer(jsonReply(200, `{"ok":true}`, nil))
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: g, ConnContext: headguard.ConnContext, ReadHeaderTimeout: 5 * time.Second}
	go func() { _ = srv.Serve(headguard.ListenTLS(ln, s.ServerTLS(), 0)) }()
	t.Cleanup(func() { _ = srv.Close() })
	cert := issue(t, ca, planner, false)
	for _, protocol := range []string{"h1", "h2"} {
		c := client(protocol, nil)
		tr := c.Transport.(*http.Transport)
		tr.TLSClientConfig = &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{*cert}} //nolint:gosec // the client's side is not under test
		ask := func() (int, bool) {
			req, _ := http.NewRequest("POST", "https://"+ln.Addr().String()+good.target, bytes.NewReader(good.body))
			req.Header.Set("Content-Type", "application/json")
			req.Header.Set("Authorization", "Bearer sk-x")
			res, err := c.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			_, _ = io.Copy(io.Discard, res.Body) // or the connection is not used again
			return res.StatusCode, res.Close
		}
		see.last.Store("")
		if status, _ := ask(); status != 200 || see.last.Load() != planner {
			t.Errorf("%s: %d, the stage saw %q", protocol, status, see.last.Load())
		}
		before := len(f.up.Seen())
		revoked.Store(true)
		see.last.Store("")
		if status, closed := ask(); status != 401 || see.last.Load() != "" || protocol == "h1" && !closed || len(f.up.Seen()) != before {
			t.Errorf("%s, revoked: %d, closed %v, the stage saw %q", protocol, status, closed, see.last.Load())
		}
		revoked.Store(false)
	}
	// Without TLS nobody is a peer, whatever they say.
	see.last.Store("x")
	if res := do(t, f.URL, good.with("X-Forwarded-Client-Cert", "URI="+planner)); res.status != 200 || see.last.Load() != "" {
		t.Errorf("%d, the stage saw %q", res.status, see.last.Load())
	}
}

type document []byte

func (d document) JWKS(context.Context) ([]byte, error) { return d, nil }

// A bearer token opens the gateway and never leaves it: not to the provider, not in an answer.
func TestTokenNeverLeaves(t *testing.T) {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	doc, _ := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: k.Public(), KeyID: "k", Use: "sig"}}})
	set, err := jwks.New(jwks.Options{Source: document(doc)})
	if err != nil {
		t.Fatal(err)
	}
	if err := set.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	star := []string{"*"}
	v, err := jwtbearer.New(jwtbearer.Options{Issuers: []jwtbearer.Issuer{{Name: "idp", URL: "https://idp.example", Audiences: []string{"sallyport"}, Keys: set,
		Rules: []jwtbearer.Rule{{Subject: "*", Kind: iam.KindAgent, Scopes: iam.Scopes{Upstreams: star, Endpoints: star, Models: star}}}}}})
	if err != nil {
		t.Fatal(err)
	}
	db, err := sqlite.Open(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	who, err := iam.New(iam.Options{Mode: iam.ModeKeys, Pepper: secret.New("a pepper of this test alone, long enough"), Keys: db.Keys(), Tokens: v})
	if err != nil {
		t.Fatal(err)
	}
	f := newFaulty(t, false, func(o *proxy.Options) {
		o.Arrive.Stages[0], o.Admit.Stages[0] = who.Authenticate(), who.Authorize()
		o.StripCredentials = who.CredentialHeaders()
	})
	f.up.Answer(jsonReply(200, `{"ok":true}`, nil))
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: k, KeyID: "k"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now().Unix()
	jws, err := signer.Sign([]byte(fmt.Sprintf(`{"iss":"https://idp.example","sub":"a","aud":"sallyport","iat":%d,"exp":%d}`, now, now+600)))
	if err != nil {
		t.Fatal(err)
	}
	tok, _ := jws.CompactSerialize()
	sig := tok[strings.LastIndex(tok, ".")+1:]
	for _, h := range [][2]string{{"Authorization", "Bearer " + tok}, {"X-Api-Key", tok}} {
		r := good.with(h[0], h[1])
		if h[0] != "Authorization" {
			r = r.with("Authorization", "")
		}
		res := do(t, f.URL, r)
		if res.status != 200 || strings.Contains(fmt.Sprint(res.header)+string(res.body), sig) {
			t.Errorf("%s: %d %s", h[0], res.status, res.body)
		}
	}
	seen := f.up.Seen()
	if len(seen) != 2 {
		t.Fatalf("%d calls left", len(seen))
	}
	for _, s := range seen {
		if strings.Contains(fmt.Sprint(s.Header)+s.URI+string(s.Body), sig) {
			t.Errorf("the token left: %v", s.Header)
		}
	}
	for _, r := range f.records() {
		if r.Principal.ID != "idp:a" || strings.Contains(fmt.Sprintf("%+v", r), sig) {
			t.Errorf("recorded %+v", r.Principal)
		}
	}
}
