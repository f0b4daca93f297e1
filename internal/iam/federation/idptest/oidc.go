package idptest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/go-jose/go-jose/v4"
)

// StartZitadel runs zitadel's example provider on a port; its issuer is http://localhost:PORT/, its
// client "web" with "secret", its person "test-user@localhost" with "verysecure".
func StartZitadel(t testing.TB, port int, redirect string) *Process {
	t.Helper()
	cmd := exec.Command(Zitadel(t))
	cmd.Env = append(os.Environ(), fmt.Sprint("PORT=", port), "REDIRECT_URI="+redirect)
	return Start(t, fmt.Sprintf("http://localhost:%d/.well-known/openid-configuration", port), cmd)
}

// NodeOP is npm's oidc-provider: any person, any password; the groups are those of the environment.
type NodeOP struct {
	port int
	env  []string
	keys map[string]string // by kid
	run  *Process
	t    testing.TB
}

// StartNode runs one; its client is "sallyport" with "a-secret-of-the-test".
func StartNode(t testing.TB, redirect string, env ...string) *NodeOP {
	t.Helper()
	dir := filepath.Join(Parts(), "node")
	if _, err := exec.LookPath("node"); err != nil {
		Missing(t, "node is not installed")
	}
	if _, err := os.Stat(filepath.Join(dir, "node_modules", "oidc-provider")); err != nil {
		Missing(t, "oidc-provider is not installed: run `npm ci --ignore-scripts` in test/idp/node")
	}
	o := &NodeOP{t: t, port: Port(t), keys: map[string]string{}}
	o.env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), fmt.Sprint("PORT=", o.port), "REDIRECT_URI=" + redirect, "GROUPS=staff,admins"}, env...)
	o.Restart("k1")
	return o
}

// Issuer is its issuer.
func (o *NodeOP) Issuer() string { return Local(o.port) }

// Restart starts it anew, with the keys of a name and further settings. It remembers nobody.
func (o *NodeOP) Restart(kid string, env ...string) {
	o.t.Helper()
	if o.run != nil {
		o.run.Stop()
	}
	if o.keys[kid] == "" {
		o.keys[kid] = privateJWKS(o.t, kid)
	}
	cmd := exec.Command("node", "op.js")
	cmd.Dir = filepath.Join(Parts(), "node")
	cmd.Env = append(append(slices.Clone(o.env), "JWKS="+o.keys[kid]), env...)
	o.run = Start(o.t, o.Issuer()+"/.well-known/openid-configuration", cmd)
}

func privateJWKS(t testing.TB, kid string) string {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	r, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{
		{Key: r, KeyID: kid + "-rsa", Use: "sig", Algorithm: "RS256"}, {Key: k, KeyID: kid, Use: "sig", Algorithm: "ES256"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
