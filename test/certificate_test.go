package test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/spiffe/go-spiffe/v2/proto/spiffe/workload"
	"google.golang.org/grpc"

	"sallyport.dev/sallyport/internal/iam/exchange"
	"sallyport.dev/sallyport/test/gatetest"
)

// workloadAPI is a SPIFFE Workload API, by gRPC over a Unix socket, that gives one SVID.
type workloadAPI struct {
	workload.UnimplementedSpiffeWorkloadAPIServer
	svid *workload.X509SVIDResponse
}

func (w *workloadAPI) FetchX509SVID(_ *workload.X509SVIDRequest, s grpc.ServerStreamingServer[workload.X509SVIDResponse]) error {
	if err := s.Send(w.svid); err != nil {
		return err
	}
	<-s.Context().Done()
	return nil
}

// domain starts the Workload API of a trust domain for a gateway, and returns its authority and its address.
func domain(t *testing.T, name string) (ca *tls.Certificate, socket string) {
	t.Helper()
	ca = issue(t, nil, "spiffe://"+name, true)
	id := "spiffe://" + name + "/gateway"
	own := issue(t, ca, id, false)
	key, err := x509.MarshalPKCS8PrivateKey(own.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "w.sock")
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer()
	workload.RegisterSpiffeWorkloadAPIServer(s, &workloadAPI{svid: &workload.X509SVIDResponse{Svids: []*workload.X509SVID{{SpiffeId: id, X509Svid: own.Certificate[0], X509SvidKey: key, Bundle: ca.Certificate[0]}}}})
	go func() { _ = s.Serve(ln) }()
	t.Cleanup(s.Stop)
	return ca, "unix://" + path
}

// workloadClient calls with a certificate; every call makes a connection of its own.
func workloadClient(cert *tls.Certificate) *http.Client {
	tr := &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13}} //nolint:gosec // the client's side is not under test
	if cert != nil {
		tr.TLSClientConfig.Certificates = []tls.Certificate{*cert}
	}
	return &http.Client{Transport: tr, Timeout: 20 * time.Second}
}

// sendOver is one call; status 0 is a connection that was refused.
func sendOver(t *testing.T, c *http.Client, url string, r request) got {
	t.Helper()
	req, err := http.NewRequest(r.method, url+r.target, strings.NewReader(string(r.body)))
	if err != nil {
		t.Fatal(err)
	}
	for k, vs := range r.header {
		req.Header[k] = vs
	}
	if r.contentType != "" {
		req.Header.Set("Content-Type", r.contentType)
	}
	res, err := c.Do(req)
	if err != nil {
		return got{}
	}
	defer res.Body.Close()
	b, _ := io.ReadAll(res.Body)
	return got{status: res.StatusCode, header: res.Header, body: b}
}

// becomes waits, two seconds and what a busy machine adds, for a call to end in one of these ways.
func becomes(t *testing.T, c *http.Client, url string, r request, want ...int) got {
	t.Helper()
	for start := time.Now(); ; time.Sleep(20 * time.Millisecond) { // a poll of another's work, bounded
		res := sendOver(t, c, url, r)
		for _, w := range want {
			if res.status == w {
				return res
			}
		}
		if time.Since(start) > 2500*time.Millisecond {
			t.Fatalf("still %d, want %d: %s", res.status, want, res.body)
		}
	}
}

// A workload calls with its certificate and nothing else; what its service or agent may, and whether it may
// at all, the directory says, and a change counts within two seconds. An agent exchanges a person's token by
// its certificate.
func TestWorkloadsCallWithCertificates(t *testing.T) {
	ca, socket := domain(t, "prod.example")
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	doc, _ := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: k.Public(), KeyID: "k", Use: "sig"}}})
	t.Setenv("PROVIDER_KEY", "sk-of-the-provider")
	up := gatetest.NewUpstream(t)
	g := gatetest.Start(t, up, exchangeConfig(up, "https://corp.example", keep(t, t.TempDir(), "keys.json", string(doc)), "app",
		fmt.Sprintf("\n  spiffe: {socket: %q, allow: [\"spiffe://prod.example/*\", \"spiffe://prod.example/sa/*\"]}", socket)))
	a := administer(t, g)
	const one, planner = "spiffe://prod.example/one", "spiffe://prod.example/sa/planner"
	byOne, byPlanner, byOther := workloadClient(issue(t, ca, one, false)), workloadClient(issue(t, ca, planner, false)), workloadClient(issue(t, ca, "spiffe://prod.example/other", false))
	call := chat(question)

	spec := func(scopes, more string) string {
		return `{"name":"one","subjects":[{"issuer":"spiffe","subject":"` + one + `"}]` + scopes + more + `}`
	}
	const scopes = `,"scopes":{"upstreams":["openai"],"endpoints":["chat.*"],"models":["m*"]}`
	service := a.do("POST", "/tenants/default/services", spec("", ""))["id"].(string)
	becomes(t, byOne, g.URL, call, 403) // known, and nothing is allowed
	a.do("PUT", "/tenants/default/services/"+service, spec(scopes, ""))
	res := becomes(t, byOne, g.URL, call, 200)
	if p := toJSON(g.Event(res.header.Get("Sallyport-Id"))["principal"]); !strings.Contains(p, `"id":"spiffe:`+one+`"`) || !strings.Contains(p, `"holder":"`+service+`"`) || !strings.Contains(p, `"kind":"service"`) {
		t.Errorf("the record names %s", p)
	}
	if s := up.Seen(); s[len(s)-1].Header.Get("Authorization") != "Bearer sk-of-the-provider" {
		t.Errorf("the provider got %v", s[len(s)-1].Header)
	}
	before := len(up.Seen())
	for name, c := range map[string]struct {
		c      *http.Client
		r      request
		status int
	}{
		"another model":             {byOne, chat(`{"model":"x","messages":[]}`), 403},
		"another endpoint":          {byOne, request{method: "GET", target: "/v1/files"}, 403},
		"a certificate of nobody's": {byOther, call, 401},
		"with a wrong key":          {byOne, call.with("Authorization", "Bearer sp_live_wrong"), 401},
		"without a certificate":     {workloadClient(nil), call, 0},
		"another trust domain":      {workloadClient(issue(t, issue(t, nil, "spiffe://evil.example", true), "spiffe://evil.example/one", false)), call, 0},
		"an authority of its own":   {workloadClient(issue(t, issue(t, nil, "spiffe://prod.example", true), one, false)), call, 0},
		"a service exchanges":       {byOne, exchanging("", "a.b.c"), 400},
	} {
		if res := sendOver(t, c.c, g.URL, c.r); res.status != c.status {
			t.Errorf("%s: %d %s", name, res.status, res.body)
		}
	}
	if n := len(up.Seen()); n != before {
		t.Error("something was forwarded")
	}
	// Cedar knows it, and how it proved itself.
	p := a.do("POST", "/tenants/default/policies", quote(map[string]any{"name": "no certificates", "text": `forbid (principal == Service::"` + service + `", action, resource) when { context.amr.contains("mtls") };`}))["id"].(string)
	becomes(t, byOne, g.URL, call, 403)
	a.do("DELETE", "/tenants/default/policies/"+p, "")
	becomes(t, byOne, g.URL, call, 200)
	a.do("PUT", "/tenants/default/services/"+service, spec(scopes, `,"disabled":true`))
	becomes(t, byOne, g.URL, call, 401, 0)
	a.do("PUT", "/tenants/default/services/"+service, spec(scopes, ""))
	becomes(t, byOne, g.URL, call, 200)
	// Somebody else says the same of themselves: it is nobody's.
	other := a.do("POST", "/tenants/default/services", `{"name":"two","subjects":[{"issuer":"spiffe","subject":"spiffe://prod.example/o*"}]`+scopes+`}`)["id"].(string)
	becomes(t, byOne, g.URL, call, 401)
	becomes(t, byOther, g.URL, call, 200)
	a.do("DELETE", "/tenants/default/services/"+other, "")
	becomes(t, byOne, g.URL, call, 200)

	// An agent that is known by a pattern takes a person's token.
	user := a.do("POST", "/tenants/default/users", quote(map[string]any{"user_name": "p", "name": "P", "active": true, "links": []map[string]string{{"provider": "corp", "issuer": "https://corp.example", "subject": "p"}}}))["id"].(string)
	agent := a.do("POST", "/tenants/default/agents", `{"name":"planner","for":["`+user+`"],"subjects":[{"issuer":"spiffe","subject":"spiffe://prod.example/sa/*"}]`+scopes+`}`)["id"].(string)
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: k, KeyID: "k"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now().Unix()
	j, err := s.Sign([]byte(fmt.Sprintf(`{"iss":"https://corp.example","sub":"p","aud":"app","iat":%d,"exp":%d}`, now, now+600)))
	if err != nil {
		t.Fatal(err)
	}
	id, _ := j.CompactSerialize()
	becomes(t, byPlanner, g.URL, call, 200)
	ask := exchanging("", id)
	ask.header.Del("Authorization")
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(50 * time.Millisecond) { // the first key is published before it signs
		if res = sendOver(t, byPlanner, g.URL, ask); res.status != 503 || time.Now().After(end) {
			break
		}
	}
	token := issued(t, res)
	res = sendOver(t, byPlanner, g.URL, bearer(token))
	if p := toJSON(g.Event(res.header.Get("Sallyport-Id"))["principal"]); res.status != 200 || !strings.Contains(p, `"id":"`+agent+`"`) || !strings.Contains(p, `"on_behalf_of":"`+user+`"`) {
		t.Errorf("%d %s", res.status, p)
	}
	if keys := sendOver(t, byPlanner, g.URL, request{method: "GET", target: exchange.KeysPath}); keys.status != 200 || keys.header.Get("Content-Type") != "application/jwk-set+json" {
		t.Errorf("%d %v", keys.status, keys.header)
	}
	a.do("PUT", "/tenants/default/agents/"+agent, `{"name":"planner","for":["`+user+`"],"disabled":true,"subjects":[{"issuer":"spiffe","subject":"spiffe://prod.example/sa/*"}]`+scopes+`}`)
	becomes(t, byOne, g.URL, bearer(token), 401)
	becomes(t, byPlanner, g.URL, call, 401, 0)
}
