package jwtbearer

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"sallyport.dev/sallyport/internal/iam"
)

// The claims of a bound service-account token, as a Kubernetes API server writes them
// (kubernetes/pkg/serviceaccount/claims.go), with its members and their order.
type (
	ref struct {
		Name string `json:"name"`
		UID  string `json:"uid"`
	}
	private struct {
		Namespace string `json:"namespace,omitempty"`
		Node      *ref   `json:"node,omitempty"`
		Pod       *ref   `json:"pod,omitempty"`
		Secret    *ref   `json:"secret,omitempty"`
		Svcacct   ref    `json:"serviceaccount"`
		WarnAfter int64  `json:"warnafter,omitempty"`
	}
	bound struct {
		Audience  []string `json:"aud"`
		Expires   int64    `json:"exp,omitempty"`
		Issued    int64    `json:"iat"`
		Issuer    string   `json:"iss"`
		ID        string   `json:"jti,omitempty"`
		Private   private  `json:"kubernetes.io"`
		NotBefore int64    `json:"nbf"`
		Subject   string   `json:"sub"`
	}
)

const cluster = "https://kubernetes.default.svc.cluster.local"

// apiServer mints as the token authenticator of Kubernetes does: RS256, the key's id the SHA-256 of
// its PKIX form, and no typ.
func apiServer(t *testing.T, k *rsa.PrivateKey) (kid string, mint func(bound) string) {
	der, err := x509.MarshalPKIXPublicKey(&k.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(der)
	kid = base64.RawURLEncoding.EncodeToString(sum[:])
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: jose.JSONWebKey{Key: k, KeyID: kid}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return kid, func(b bound) string {
		raw, err := json.Marshal(b)
		if err != nil {
			t.Fatal(err)
		}
		jws, err := signer.Sign(raw)
		if err != nil {
			t.Fatal(err)
		}
		tok, err := jws.CompactSerialize()
		if err != nil {
			t.Fatal(err)
		}
		return tok
	}
}

func TestKubernetes(t *testing.T) {
	w := newWorld(t)
	kid, mint := apiServer(t, oneRSA())
	src := &published{}
	src.set(t, keypair{kid, crypto.Signer(oneRSA())})
	rule := ServiceAccount("agents", "planner")
	rule.Scopes, rule.Tenant = all, "acme"
	v, err := New(Options{Now: w.moment, Issuers: []Issuer{{
		Name: "k8s", URL: cluster, Audiences: []string{"sallyport"}, Keys: w.keys(t, src), Rules: []Rule{rule},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	good := func() bound {
		return bound{
			Audience: []string{"sallyport"}, Issuer: cluster, Subject: "system:serviceaccount:agents:planner",
			Issued: start.Unix(), NotBefore: start.Unix(), Expires: start.Add(time.Hour).Unix(), ID: "5d2f1c66-28a1-4b5e-9f3c-6f0f3b5f5c11",
			Private: private{Namespace: "agents", Node: &ref{"node-1", "n"}, Pod: &ref{"planner-7d9", "p"}, Svcacct: ref{"planner", "s"}},
		}
	}
	id, err := v.Verify(ctx, mint(good()))
	if err != nil {
		t.Fatal(err)
	}
	if id.ID != "k8s:system:serviceaccount:agents:planner" || id.Kind != iam.KindService || id.Tenant != "acme" || id.Claims["kubernetes.io/pod/uid"] != "p" {
		t.Errorf("%+v", id)
	}
	for name, c := range map[string]struct {
		edit func(*bound)
		want error
	}{
		"for the API server":        {func(b *bound) { b.Audience = []string{cluster} }, errAudience},
		"of another cluster":        {func(b *bound) { b.Issuer = "https://kubernetes.default.svc" }, errIssuer},
		"of another namespace":      {func(b *bound) { b.Subject, b.Private.Namespace = "system:serviceaccount:default:planner", "default" }, errRule},
		"of another account":        {func(b *bound) { b.Subject, b.Private.Svcacct.Name = "system:serviceaccount:agents:other", "other" }, errRule},
		"sub against its namespace": {func(b *bound) { b.Private.Namespace = "default" }, errRule},
		"bound to a secret":         {func(b *bound) { b.Private.Pod, b.Private.Secret = nil, &ref{"x", "y"} }, errRule},
		"bound to nothing":          {func(b *bound) { b.Private.Pod = nil }, errRule},
		"extended to a year": {func(b *bound) {
			b.Expires, b.Private.WarnAfter = start.Add(365*24*time.Hour).Unix(), start.Add(3607*time.Second).Unix()
		}, errLong},
		"a legacy one without end": {func(b *bound) { b.Expires = 0 }, errTimes},
		"expired":                  {func(b *bound) { b.Issued, b.Expires = start.Add(-time.Hour).Unix(), start.Add(-time.Minute).Unix() }, errExpired},
	} {
		b := good()
		c.edit(&b)
		if got := refused(t, v, mint(b)); got != reason(c.want) {
			t.Errorf("%s: %q, want %q", name, got, reason(c.want))
		}
	}
}
