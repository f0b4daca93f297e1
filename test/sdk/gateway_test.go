package sdk

import (
	"fmt"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// bare says that the checks run through a proxy that inspects nothing instead of the gateway: it
// tells a fault of a check from a fault of the gateway.
func bare() bool { return os.Getenv("SALLYPORT_SDK_PROXY") == "bare" }

var build = sync.OnceValues(func() (string, error) {
	if bin := os.Getenv("SALLYPORT_BIN"); bin != "" {
		return bin, nil
	}
	dir, err := os.MkdirTemp("", "sallyport-sdk")
	if err != nil {
		return "", err
	}
	bin := filepath.Join(dir, "sallyport")
	out, err := exec.Command("go", "-C", filepath.Join("..", ".."), "build", "-o", bin, "./cmd/sallyport").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build the gateway: %w\n%s", err, out)
	}
	return bin, nil
})

// gateway starts one whose only upstream is given, and returns its address.
func gateway(t *testing.T, dialect, upstream string) string {
	t.Helper()
	if bare() {
		target, err := url.Parse(upstream)
		if err != nil {
			t.Fatal(err)
		}
		srv := httptest.NewServer(&httputil.ReverseProxy{FlushInterval: -1, Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.URL.RawQuery = r.In.URL.RawQuery
		}})
		t.Cleanup(srv.Close)
		return srv.URL
	}
	bin, err := build()
	if err != nil {
		t.Fatal(err)
	}
	dir, addr := t.TempDir(), freePort(t)
	config := filepath.Join(dir, "sallyport.yaml")
	text := fmt.Sprintf("listen: {address: %q}\ndata_dir: %s\nproxy:\n  allow_private: [127.0.0.0/8]\n  upstreams:\n    - {name: %s, dialect: %s, base_url: %q}\n",
		addr, filepath.Join(dir, "data"), dialect, dialect, upstream)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	start(t, exec.Command(bin, "serve", "--config", config), addr)
	return "http://" + addr
}
